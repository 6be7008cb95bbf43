//! `ringway-loadtest run`, read through its JSON report.

use super::{
    super::{
        failure::{Context, Failure, Result, write},
        place::Placement,
        work::{Answered, Http, Pace, Searched, Work},
    },
    Generator,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Our own load tester, by its binary.
pub struct Loadtest {
    /// Where it was built.
    pub program: PathBuf,
}

/// The parts of its report that a comparison needs; the whole is `loadtest/src/report/model.rs`.
#[derive(Deserialize)]
struct Report {
    total: Outcome,
    stages: Vec<Stage>,
    headroom: Headroom,
    saturation: Option<Saturation>,
}

#[derive(Deserialize)]
struct Saturation {
    sustained_per_s: f64,
    peak_per_s: f64,
    ended: String,
}

/// A comparison has one.
#[derive(Deserialize)]
struct Stage {
    answered_per_s: f64,
}

#[derive(Deserialize)]
struct Outcome {
    ok: u64,
    errors: BTreeMap<String, u64>,
    latency: Latency,
}

#[derive(Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

#[derive(Deserialize)]
struct Headroom {
    limited: bool,
}

impl Generator for Loadtest {
    fn name(&self) -> &'static str {
        "ringway-loadtest"
    }

    fn run(&self, work: &Work, placement: &Placement, dir: &Path) -> Result<Answered> {
        let (report, keys) = (dir.join("run.json"), dir.join("key"));
        let mut command = placement.on_load_cpu(&self.program);
        command.arg("run").args(["--url", &work.url]);
        command.args(["--tool", &work.tool]);
        command.args(["--arguments", &work.arguments.to_string()]);
        command.args(["--connections", &work.connections.to_string()]);
        let duration = format!("{}s", work.duration.as_secs_f64());
        let time = if work.pace == Pace::Search {
            "--probe"
        } else {
            "--duration"
        };
        command.args([time, &duration]);
        command.args(["--warmup", "0s"]);
        command.args(["--revision", work.era.name()]);
        command.args([
            "--http",
            match work.http {
                Http::One => "1.1",
                Http::Two => "2",
            },
        ]);
        match work.pace {
            Pace::Closed => drop(command.args(["--concurrency", &work.connections.to_string()])),
            Pace::Constant(rate) => drop(command.args(["--rate", &rate.to_string()])),
            Pace::Poisson(rate) => drop(command.args(["--rate", &rate.to_string(), "--poisson"])),
            Pace::Search => drop(command.arg("--search")),
        }
        if let Some(ca) = &work.ca {
            command.arg("--ca-file").arg(ca);
        }
        if let Some(key) = &work.key {
            write(&keys, key)?;
            command.arg("--keys-file").arg(&keys);
        }
        command.arg("--json").arg(&report);
        let _ = std::fs::remove_file(&report);
        let output = command.output().context("run ringway-loadtest")?;
        let text = std::fs::read(&report).map_err(|_| {
            Failure::new(format!(
                "ringway-loadtest wrote no report ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ))
        })?;
        let report: Report = serde_json::from_slice(&text).context(report.display())?;
        let errors: Vec<String> = report
            .total
            .errors
            .iter()
            .map(|(k, n)| format!("{k}: {n}"))
            .collect();
        Ok(Answered {
            ok: report.total.ok,
            failed: report.total.errors.values().sum(),
            errors: errors.join(", "),
            per_s: match &report.saturation {
                Some(found) => found.sustained_per_s,
                None => report.stages.last().map_or(0.0, |stage| stage.answered_per_s),
            },
            p50_us: report.total.latency.p50,
            p99_us: report.total.latency.p99,
            limited: report.headroom.limited,
            search: report.saturation.map(|found| Searched {
                peak_per_s: found.peak_per_s,
                ended: found.ended,
            }),
        })
    }
}
