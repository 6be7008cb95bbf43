//! `ringway-loadtest run`: run a scenario, or one call described by flags.

use super::{Exit, Failure, fleet::FleetFlags};
use crate::{
    engine::{self, RunError, Watching},
    report::{
        file, html,
        model::Report,
        progress::Progress,
        showing::{ShowArgs, Showing},
        terminal,
        thresholds::{self, Threshold},
    },
    scenario::{Scenario, flags::Flags},
};
use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

/// Its flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scenario file (TOML); flags replace what it says
    scenario: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    fleet: FleetFlags,
    /// Write the report here, JSON
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    json: Option<PathBuf>,
    /// Write the report here, one self-contained page
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    html: Option<PathBuf>,
    #[command(flatten)]
    show: ShowArgs,
    /// Only check the scenario
    #[arg(long, help_heading = "Report")]
    check: bool,
}

/// Does it.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let scenario = scenario(args.scenario.as_deref(), &args.flags)?;
    let rules = thresholds::parse_all(&scenario.thresholds).map_err(|wrong| {
        let said: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        Failure::Input(said.join("\n"))
    })?;
    if args.check {
        println!("{} reads well", scenario.name);
        return Ok(Exit::Success);
    }
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_interrupt(&stop)?;
    let progress = watch::Sender::new(Progress::default());
    let showing = args
        .show
        .start(&scenario.name, progress.subscribe())
        .map_err(Failure::Input)?;
    let watching = Watching {
        progress,
        stop,
        start: None,
    };
    let done = match args.fleet.generators.is_empty() {
        true => engine::run(scenario, watching).map_err(Failure::from),
        false => {
            let folder = args.scenario.as_deref().and_then(Path::parent);
            args.fleet
                .run(&scenario, folder.unwrap_or(Path::new("")), watching)
        }
    };
    // It settles when the engine's side of the feed is dropped.
    showing.settle();
    finish(done?, &rules, &args, showing)
}

/// Judges, shows and writes the report.
fn finish(mut report: Report, rules: &[Threshold], args: &Args, showing: Showing) -> Result<Exit, Failure> {
    report.thresholds = thresholds::judge(rules, &report);
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print!("{}", terminal::summary(&report, colours));
    if let Some(path) = &args.json {
        file::write(path, &report).map_err(|e| Failure::Input(e.to_string()))?;
    }
    if let Some(path) = &args.html {
        let page = html::page(std::slice::from_ref(&report)).map_err(|e| Failure::Input(e.to_string()))?;
        file::write_whole(path, page.as_bytes()).map_err(|e| Failure::Input(e.to_string()))?;
    }
    // Files first: a receiver of metrics may let us wait.
    for complaint in showing.finish(Some(&report)) {
        eprintln!("warning: {complaint}");
    }
    // Without rules nothing was demanded, and a limited generator is only said.
    let failed = !rules.is_empty() && report.thresholds.iter().any(|rule| !rule.held);
    Ok(if failed {
        Exit::ThresholdsFailed
    } else {
        Exit::Success
    })
}

/// The scenario of a file and flags, or of flags alone.
pub fn scenario(file: Option<&Path>, flags: &Flags) -> Result<Scenario, Failure> {
    let Some(path) = file else {
        return flags
            .scenario(None)
            .map_err(|findings| Failure::Input(findings.to_string()));
    };
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| Failure::Input(format!("{shown}: {e}")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    flags.scenario(Some((&text, folder))).map_err(|findings| {
        let lines: Vec<String> = findings
            .0
            .iter()
            .map(|finding| format!("{shown}: {finding}"))
            .collect();
        Failure::Input(lines.join("\n"))
    })
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Input(_) | RunError::Generator(_) => Self::Input(error.to_string()),
            RunError::Unreachable(_) => Self::Unreachable(error.to_string()),
        }
    }
}

/// The first interrupt ends the run and reports what was measured; the second one ends the program.
fn stop_on_interrupt(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    /// What shells call a program ended by an interrupt.
    const INTERRUPTED: i32 = 130;
    let stop = Arc::clone(stop);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Input(format!("no runtime: {e}")))?;
    let wait = move || {
        runtime.block_on(async {
            // Where interrupts cannot be heard the system's own way of ending remains.
            while tokio::signal::ctrl_c().await.is_ok() {
                if stop.swap(true, Ordering::Relaxed) {
                    std::process::exit(INTERRUPTED);
                }
            }
        });
    };
    std::thread::Builder::new()
        .name("interrupts".to_owned())
        .spawn(wait)
        .map_err(|e| Failure::Input(format!("no thread: {e}")))?;
    Ok(())
}
