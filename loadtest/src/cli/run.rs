//! `ringway-loadtest run`: run a scenario, or one call described by flags.

use super::{Exit, Failure};
use crate::{
    engine::{self, RunError, Watching},
    report::{figures, model::Report, progress::Progress, thresholds},
    scenario::{Scenario, flags::Flags},
};
use std::{
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
    /// Write the report here, JSON
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    json: Option<PathBuf>,
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
    let watching = Watching {
        progress: watch::Sender::new(Progress::default()),
        stop,
    };
    let mut report = engine::run(scenario, watching)?;
    let judged = !rules.is_empty();
    report.thresholds = thresholds::judge(&rules, &report);
    show(&report);
    if let Some(path) = &args.json {
        let text = serde_json::to_string(&report).map_err(|e| Failure::Input(e.to_string()))?;
        std::fs::write(path, text).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?;
    }
    match judged && report.thresholds.iter().any(|rule| !rule.held) {
        true => Ok(Exit::ThresholdsFailed),
        false => Ok(Exit::Success),
    }
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

#[expect(clippy::cast_precision_loss, reason = "calls of a run lie far below 2^53")]
fn show(report: &Report) {
    let total = &report.total;
    let rate = total.ok as f64 / report.measured_s.max(f64::EPSILON);
    println!("{} ({})", report.target, report.generator);
    println!(
        "  answered {} of {} due, {}",
        total.ok,
        total.due,
        figures::rate(rate)
    );
    for (name, latency) in [("latency", &total.latency), ("service", &total.service)] {
        let time = figures::time;
        println!(
            "  {name:8} p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            time(latency.p50),
            time(latency.p90),
            time(latency.p99),
            time(latency.p999),
            time(latency.max)
        );
    }
    for (why, count) in &total.errors {
        println!("  failed   {why}: {count}");
    }
    if let Some(found) = &report.saturation {
        println!(
            "  sustained {} (peak {}; {}; {})",
            figures::rate(found.sustained_per_s),
            figures::rate(found.peak_per_s),
            found.conditions,
            found.ended
        );
    }
    println!(
        "  generator: busiest thread {}, own lateness p99 {}{}",
        figures::percent(report.headroom.busiest_thread),
        figures::time(report.headroom.lateness.p99),
        if report.headroom.limited {
            format!("; LIMITED: {}", report.headroom.reason)
        } else {
            String::new()
        }
    );
    for rule in &report.thresholds {
        println!(
            "  {} {}: {}",
            if rule.held { "ok  " } else { "FAIL" },
            rule.rule,
            rule.seen
        );
    }
}
