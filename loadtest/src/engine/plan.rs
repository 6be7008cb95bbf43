//! The scenario, made ready: heads rendered, bodies compiled, weights summed. After this a call costs copies.

use crate::{
    mcp::{Dialect, Dressed, Expectation},
    scenario::{Action, Call, Cancel, Operation, Scenario, template::Template},
    wire::{Abandon, BodyWish, Head, Method, Target, TargetError, Want},
};
use http::HeaderName;
use rand::{Rng as _, rngs::SmallRng};
use ringway_proto::revision::Era;
use std::time::Duration;

/// A cancelled call whose server ends nothing is left so long after the cancellation.
const CANCEL_GRACE: Duration = Duration::from_millis(500);

/// Why a scenario cannot be run against this target.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A header or a URL.
    #[error("{0}")]
    Target(#[from] TargetError),
    /// A `Mcp-Param-` name.
    #[error("operation \"{operation}\": `{header}` is no header name")]
    Header {
        /// Of which operation.
        operation: String,
        /// As it stands there.
        header: String,
    },
    /// Something that the target's era does not have.
    #[error(
        "operation \"{0}\": `call = \"session\"` needs a revision with sessions, and the target speaks {1}"
    )]
    NoSessions(String, String),
}

/// Everything that threads share.
#[derive(Debug)]
pub struct Plan {
    /// What was asked for.
    pub scenario: Scenario,
    /// What is spoken.
    pub dialect: Dialect,
    /// Where connections go, in turn.
    pub targets: Vec<Target>,
    /// What is called.
    pub operations: Vec<Planned>,
    /// Sums of weights up to and including each operation's.
    weights: Vec<f64>,
    /// `notifications/cancelled`, to each target.
    pub cancellation: Vec<Head>,
    /// The end of a session, at each target.
    pub farewell: Vec<Head>,
}

/// An operation, ready to be called.
#[derive(Debug)]
pub struct Planned {
    /// What it does.
    pub deed: Deed,
    /// How.
    pub want: Want,
    /// What its answer must be.
    pub expectation: Expectation,
    /// The old era's cancellation: a notification so long after the beginning.
    pub notify_after: Option<Duration>,
}

/// What an operation does.
#[derive(Debug)]
pub enum Deed {
    /// One request.
    One(Step),
    /// Two, the second only after a good answer to the first.
    Two(Step, Step),
    /// A session with so many requests.
    Session(Step, u64),
}

/// One request.
#[derive(Debug)]
pub struct Step {
    /// For each target.
    pub heads: Vec<Head>,
    /// Its message.
    pub body: Template,
    /// `Mcp-Param-` headers that change with each call.
    pub mirrored: Vec<(HeaderName, Template)>,
}

impl Plan {
    /// Makes a scenario ready for targets that speak `dialect`.
    pub fn new(scenario: Scenario, dialect: Dialect, targets: Vec<Target>) -> Result<Self, PlanError> {
        let maker = Maker {
            scenario: &scenario,
            dialect: &dialect,
            targets: &targets,
        };
        let operations = scenario
            .operations
            .iter()
            .map(|operation| maker.operation(operation))
            .collect::<Result<_, _>>()?;
        let heads = |method, fields: &[(String, String)]| maker.heads(method, fields);
        let cancellation = heads(
            Method::Post,
            &dialect.frame(Some("notifications/cancelled"), None).fields,
        )?;
        let farewell = heads(Method::Delete, &dialect.frame(None, None).fields)?;
        let weights = scenario
            .operations
            .iter()
            .scan(0.0, |sum, operation| {
                *sum += operation.weight;
                Some(*sum)
            })
            .collect();
        Ok(Self {
            operations,
            weights,
            cancellation,
            farewell,
            dialect,
            targets,
            scenario,
        })
    }

    /// One of the operations, by weight.
    pub fn pick(&self, random: &mut SmallRng) -> usize {
        match self.weights.as_slice() {
            [] | [_] => 0,
            weights => {
                let place = random.random::<f64>() * weights[weights.len() - 1];
                weights
                    .partition_point(|sum| *sum <= place)
                    .min(weights.len() - 1)
            }
        }
    }
}

struct Maker<'p> {
    scenario: &'p Scenario,
    dialect: &'p Dialect,
    targets: &'p [Target],
}

impl Maker<'_> {
    fn operation(&self, operation: &Operation) -> Result<Planned, PlanError> {
        let step = |call| self.step(operation, call);
        let deed = match &operation.action {
            Action::Call(call) => Deed::One(step(call)?),
            Action::Pair(first, second) => Deed::Two(step(first)?, step(second)?),
            Action::Ping => {
                let method = match self.dialect.era {
                    Era::Legacy => "ping",
                    Era::Modern => "server/discover",
                };
                Deed::One(step(&Call::bare(method))?)
            }
            Action::Session { .. } if self.dialect.era == Era::Modern => {
                let (name, revision) = (operation.name.clone(), self.dialect.revision.clone());
                return Err(PlanError::NoSessions(name, revision));
            }
            Action::Session { call, calls } => Deed::Session(step(call)?, *calls),
        };
        let calls = &self.scenario.calls;
        let timeout = operation.timeout.unwrap_or(calls.timeout);
        let (abandon, notify_after) = match (operation.cancel, self.dialect.era) {
            (None, _) => (Abandon::Never, None),
            (Some(Cancel::AtFirstEvent), _) => (Abandon::AfterFirst, None),
            (Some(Cancel::After(time)), Era::Modern) => (Abandon::After(time), None),
            // Leaving is no cancellation in the old era: it is said, and the server given a moment to end the stream.
            (Some(Cancel::After(time)), Era::Legacy) => (Abandon::After(time + CANCEL_GRACE), Some(time)),
        };
        Ok(Planned {
            deed,
            want: Want {
                timeout: Some(timeout),
                body: BodyWish::Keep {
                    bytes_max: calls.answer_bytes_max,
                },
                event_bytes_max: calls.answer_bytes_max,
                read_bytes_per_s: operation.read_bytes_per_s,
                abandon,
            },
            expectation: Expectation::of(operation, calls.status_only),
            notify_after,
        })
    }

    fn step(&self, operation: &Operation, call: &Call) -> Result<Step, PlanError> {
        let Dressed { frame, body } = self.dialect.request(call, operation.progress);
        let mirrored = call.mirrored.iter().map(|(name, _, template)| {
            let header = format!("mcp-param-{}", name.to_ascii_lowercase());
            match HeaderName::from_bytes(header.as_bytes()) {
                Ok(header) => Ok((header, template.clone())),
                Err(_) => Err(PlanError::Header {
                    operation: operation.name.clone(),
                    header: name.clone(),
                }),
            }
        });
        Ok(Step {
            heads: self.heads(Method::Post, &frame.fields)?,
            body,
            mirrored: mirrored.collect::<Result<_, _>>()?,
        })
    }

    fn heads(&self, method: Method, fields: &[(String, String)]) -> Result<Vec<Head>, PlanError> {
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .chain(&self.scenario.target.headers)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let head = |target| Head::new(target, method, &fields);
        Ok(self.targets.iter().map(head).collect::<Result<_, _>>()?)
    }
}
