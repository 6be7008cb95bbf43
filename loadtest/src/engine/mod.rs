//! Decides when each call starts, and keeps what happened to it.
//!
//! How to read it: [`run`] is the story: find out what the target speaks, make everything ready ([`plan`]), start
//! the threads ([`thread`]), run phases of load, put the report together ([`assemble`]). `schedule` says when calls
//! are due, `flow` brings them to a `lane`, `pace` waits exactly, `record` counts. A call's latency counts from when
//! it was due: nothing that happens on the way, not even our own lateness, is left out of it.

mod assemble;
mod client;
mod conduct;
mod flow;
mod lane;
mod line;
mod meter;
mod pace;
mod phase;
mod plan;
pub mod progress;
mod record;
mod schedule;
pub(crate) mod search;
mod standing;
mod start;
mod tell;
#[cfg(test)]
mod tests;
mod thread;
mod timeline;

pub(crate) use assemble::{conditions, masked};
pub use start::StartSignal;

use crate::{
    mcp::{Dialect, GreetFailure, Greeter, discover},
    report::{model::Report, progress::Progress},
    scenario::{Scenario, Speak},
    wire::{BodyWish, Connection, Head, Method, Request, Target, TargetError, TargetOptions, Want},
};
use bytes::Bytes;
use client::Client;
use plan::Plan;
use ringway_proto::revision::{Era, Revision};
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::watch;

/// What a finished run's session may take to end.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario does not fit the target, or the target refuses us.
    #[error("{0}")]
    Input(String),
    /// The target could not be reached at all.
    #[error("{0}")]
    Unreachable(String),
    /// The generator itself failed.
    #[error("the generator failed: {0}")]
    Generator(String),
}

/// How a run is watched and ended.
#[derive(Debug)]
pub struct Watching {
    /// Where the run tells how it stands.
    pub progress: watch::Sender<Progress>,
    /// Set to end the run early; what was measured until then is reported.
    pub stop: Arc<AtomicBool>,
    /// Where several generators begin together: told when all is ready, and tells when to begin.
    pub start: Option<StartSignal>,
}

impl Default for Watching {
    /// Nobody watches.
    fn default() -> Self {
        Self {
            progress: watch::Sender::new(Progress::default()),
            stop: Arc::default(),
            start: None,
        }
    }
}

/// Runs a scenario from beginning to end. Blocks; must not be called from within a runtime.
pub fn run(scenario: Scenario, watching: Watching) -> Result<Report, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| RunError::Generator(e.to_string()))?;
    runtime.block_on(async {
        let targets = resolve(&scenario).await?;
        let dialect = settle(&scenario, &targets[0]).await?;
        let plan = Plan::new(scenario, dialect, targets).map_err(|e| RunError::Input(e.to_string()))?;
        conduct::conduct(Arc::new(plan), watching).await
    })
}

/// Resolves every URL of a scenario.
pub async fn resolve(scenario: &Scenario) -> Result<Vec<Target>, RunError> {
    let target = &scenario.target;
    let options = TargetOptions {
        http: target.http,
        trust: target.trust.clone(),
        server_name: target.server_name.clone(),
        client_identity: target.client_identity.clone(),
        tls_resumption: target.tls_resumption,
        connect_timeout: scenario.connections.connect_timeout,
        connect_to: target.connect_to.clone(),
    };
    let mut targets = Vec::new();
    for url in &target.urls {
        let resolved = Target::resolve(url, &options).await;
        targets.push(resolved.map_err(|error| match error {
            TargetError::Resolve { .. } => RunError::Unreachable(error.to_string()),
            error => RunError::Input(error.to_string()),
        })?);
    }
    Ok(targets)
}

/// Finds out what is spoken, as the first client.
pub async fn settle(scenario: &Scenario, target: &Target) -> Result<Dialect, RunError> {
    if let Speak::Exactly(Revision::V2026_07_28) | Speak::Newest(Era::Modern) = scenario.target.revision {
        return Ok(Dialect::of(Revision::NEWEST));
    }
    let client =
        Client::new(0, &scenario.clients, Era::Legacy).map_err(|e| RunError::Input(e.to_string()))?;
    let mut fields = scenario.target.headers.clone();
    fields.extend(client.credential());
    let greeter = Greeter {
        target,
        fields: &fields,
        timeout: scenario.calls.timeout,
    };
    let failed = |failure: GreetFailure| {
        let said = format!("{target}: {failure}");
        match failure.is_unreachable() {
            true => RunError::Unreachable(said),
            false => RunError::Input(format!("{said}{}", advice(&failure))),
        }
    };
    let opened = Connection::open(target).await;
    let mut connection = opened.map_err(|fault| failed(fault.into()))?;
    let greeted = discover(&greeter, &mut connection, scenario.target.revision)
        .await
        .map_err(failed)?;
    if let Some(session) = &greeted.session {
        client.greeted(Some(session));
        // A server that will not hear of it has a clock of its own.
        let _ = tokio::time::timeout(
            FAREWELL_MAX,
            farewell(&greeted.dialect, &client, &fields, &mut connection, target),
        )
        .await;
    }
    Ok(greeted.dialect)
}

async fn farewell(
    dialect: &Dialect,
    client: &Client,
    own: &[(String, String)],
    connection: &mut Connection,
    target: &Target,
) {
    let frame = dialect.frame(None, None);
    let session: Vec<_> = client
        .extra()
        .iter()
        .filter(|(name, _)| !own.iter().any(|(n, _)| name.as_str().eq_ignore_ascii_case(n)))
        .cloned()
        .collect();
    let fields: Vec<(&str, &str)> = frame
        .fields
        .iter()
        .chain(own)
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    if let Ok(head) = Head::new(target, Method::Delete, &fields) {
        let request = Request {
            head: &head,
            extra: &session,
            body: Bytes::new(),
        };
        let want = Want {
            body: BodyWish::Discard,
            ..Want::default()
        };
        let _ = connection.exchange(&request, &want).await;
    }
}

fn advice(failure: &GreetFailure) -> &'static str {
    match failure {
        GreetFailure::Refused {
            status: 401 | 403, ..
        } => "; give credentials with `[clients]`, --key or --keys-file",
        GreetFailure::Refused { status: 404, .. } => "; is the path right? MCP endpoints often end in /mcp",
        GreetFailure::Refused { .. } => {
            "; a target that is no MCP server can be called with `revision = \"modern\"` and `check = \"status\"`"
        }
        _ => "",
    }
}
