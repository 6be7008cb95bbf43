//! The flags of distributed runs, on both sides.

use super::Failure;
use crate::{
    engine::{self, Watching},
    fleet::{self, FleetError, Hooks, Orders, Part, Token},
    report::model::Report,
    scenario::{Load, Scenario},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the token is looked for when no file is named.
const TOKEN_VARIABLE: &str = "RINGWAY_LOADTEST_TOKEN";

/// Calls rarer than this do not meet anyway.
const STAGGER_MAX_S: f64 = 1.0;

/// The shared secret.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TokenFlags {
    /// File with the secret that coordinator and generators share; else RINGWAY_LOADTEST_TOKEN is it
    #[arg(long, value_name = "FILE", help_heading = "Distributed")]
    token_file: Option<PathBuf>,
}

impl TokenFlags {
    /// The token.
    pub fn token(&self) -> Result<Token, Failure> {
        let (text, place) = match &self.token_file {
            Some(path) => {
                let place = path.display().to_string();
                let text = std::fs::read_to_string(path);
                (
                    text.map_err(|e| Failure::Input(format!("--token-file {place}: {e}")))?,
                    place,
                )
            }
            None => {
                let text = std::env::var(TOKEN_VARIABLE).map_err(|_| {
                    Failure::Input(format!(
                        "generators need a shared secret: give --token-file, or set {TOKEN_VARIABLE}"
                    ))
                })?;
                (text, TOKEN_VARIABLE.to_owned())
            }
        };
        Token::new(&text).map_err(|e| Failure::Input(format!("{place}: {e}")))
    }
}

/// Of a run that others carry out.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FleetFlags {
    /// Have these generators run it, each its share: host:port,host:port
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        help_heading = "Distributed"
    )]
    pub generators: Vec<String>,
    #[command(flatten)]
    token: TokenFlags,
}

impl FleetFlags {
    /// Runs a scenario on the generators.
    pub fn run(&self, scenario: &Scenario, base: &Path, watching: Watching) -> Result<Report, Failure> {
        let (text, files) = fleet::parcel(&scenario.text, base).map_err(Failure::Input)?;
        let orders = Orders {
            generators: self.generators.clone(),
            token: self.token.token()?,
            scenario: text,
            files,
            stagger: stagger(&scenario.load),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::Input(format!("no runtime: {e}")))?;
        let (progress, stop) = (&watching.progress, &watching.stop);
        let run = async {
            match &scenario.load {
                Load::Search { search, warmup, .. } => {
                    fleet::lead(&orders, search, *warmup, progress, stop).await
                }
                Load::Open { .. } | Load::Closed { .. } => fleet::coordinate(&orders, progress, stop).await,
            }
        };
        let mut report = runtime.block_on(run)?;
        report.scenario = engine::masked(&scenario.text);
        Ok(report)
    }
}

/// One call's gap at the first rate.
fn stagger(load: &Load) -> Duration {
    match load {
        Load::Open { steps, .. } => steps.first().map_or(Duration::ZERO, |step| {
            Duration::from_secs_f64((1.0 / step.rate).min(STAGGER_MAX_S))
        }),
        Load::Search { .. } | Load::Closed { .. } => Duration::ZERO,
    }
}

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Orders(_) => Self::Input(error.to_string()),
            _ => Self::Fleet(error.to_string()),
        }
    }
}

/// What a generator runs its parts with.
#[derive(Clone, Copy, Debug)]
pub struct LoadEngine;

impl fleet::Engine for LoadEngine {
    fn run(&self, part: &Part, base: &Path, hooks: Hooks) -> Result<Report, String> {
        let scenario = Scenario::read(&part.scenario, base)
            .map_err(|findings| findings.to_string())?
            .share(part.index, part.of)?;
        let watching = Watching {
            progress: hooks.progress,
            stop: hooks.stop,
            start: Some(hooks.start),
        };
        engine::run(scenario, watching).map_err(|error| error.to_string())
    }
}
