//! The judgement: what must be true at the end, each with what was seen.

use super::{
    Options, Scene,
    outcome::Kept,
    vitals::{Sample, Vitals},
};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, fmt, time::Duration};

/// Lines of the gateway's log that are shown of a panic.
const LOG_LINES_MAX: usize = 20;

/// One thing that must be true.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub what: &'static str,
    /// Whether it is.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// All that was checked.
    pub checks: Vec<Check>,
    /// What became of the calls.
    pub calls: Kept,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// `/stats` of the upstreams, since their last start.
    pub upstreams: Vec<Value>,
    /// Seconds of load.
    pub loaded_s: f64,
    /// Samples under load, one a second.
    pub samples: Vec<Sample>,
}

impl Verdict {
    pub(super) fn reach(
        scene: &Scene,
        options: &Options,
        vitals: Vitals,
        faults: BTreeMap<String, u64>,
        upstreams: Vec<Value>,
        ended: Result<(), String>,
        loaded: Duration,
    ) -> Self {
        let calls = scene.tally.read();
        let (right, excused, unexplained, wrong) = calls.sums();
        let mut checks = Vec::new();
        let mut check = |what, holds, seen: String| checks.push(Check { what, holds, seen });
        check(
            "no answer was wrong",
            wrong == 0,
            format!("{wrong} wrong, {right} right"),
        );
        check(
            "calls failed only while a fault explains it",
            unexplained == 0,
            format!("{unexplained} unexplained, {excused} excused"),
        );
        check(
            "every kind of client got right answers",
            calls.kinds.values().all(|c| c.right > 0),
            format!("{} kinds", calls.kinds.len()),
        );
        check(
            "faults were injected",
            !faults.is_empty(),
            format!("{} in {} kinds", faults.values().sum::<u64>(), faults.len()),
        );

        let log = scene.stage.log();
        let panics: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("panicked"))
            .take(LOG_LINES_MAX)
            .collect();
        check(
            "the gateway did not panic",
            panics.is_empty(),
            format!("{} panics {}", panics.len(), panics.join("; ")),
        );
        check(
            "descriptors, threads and connections returned to the start",
            vitals.settled.is_some(),
            match vitals.settled {
                Some(after) => format!(
                    "after {:.0} s; start: {}; end: {}",
                    after.as_secs_f64(),
                    vitals.first(),
                    vitals.last
                ),
                None => format!("start: {}; end: {}", vitals.first(), vitals.last),
            },
        );
        let memory = vitals.memory_kib();
        let grown = memory.map_or(u64::MAX, |(early, late)| late.saturating_sub(early));
        check(
            "memory did not grow beyond its bound after warm-up",
            grown <= options.rss_growth_mib_max * 1024,
            memory.map_or("too short a run to tell".to_owned(), |(early, late)| {
                let mib = |kib: u64| kib as f64 / 1024.0;
                format!(
                    "{:.1} MiB after warm-up, {:.1} MiB at the end, {} MiB more allowed",
                    mib(early),
                    mib(late),
                    options.rss_growth_mib_max
                )
            }),
        );
        check(
            "the gateway ended in order",
            ended.is_ok(),
            ended.err().unwrap_or_else(|| "exit code 0".to_owned()),
        );
        Self {
            checks,
            calls,
            faults,
            upstreams,
            loaded_s: loaded.as_secs_f64(),
            samples: vitals.loaded,
        }
    }

    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<12} {:>10} {:>10} {:>12} {:>8}",
            "clients", "right", "excused", "unexplained", "wrong"
        )?;
        for (kind, counts) in &self.calls.kinds {
            let excused: u64 = counts.excused.values().sum();
            writeln!(
                f,
                "{kind:<12} {:>10} {excused:>10} {:>12} {:>8}",
                counts.right, counts.unexplained, counts.wrong
            )?;
        }
        let mut excused = BTreeMap::<&str, u64>::new();
        for (what, count) in self.calls.kinds.values().flat_map(|counts| &counts.excused) {
            *excused.entry(what).or_default() += count;
        }
        writeln!(f, "\nexcused failures")?;
        for (what, count) in excused {
            writeln!(f, "{count:>8}  {what}")?;
        }
        writeln!(f, "\nfaults")?;
        for (what, count) in &self.faults {
            writeln!(f, "{count:>8}  {what}")?;
        }
        for (title, list) in [
            ("wrong answers", &self.calls.wrong),
            ("unexplained failures", &self.calls.unexplained),
        ] {
            if !list.is_empty() {
                writeln!(f, "\n{title} (the first of them)")?;
            }
            for text in list {
                writeln!(f, "  {text}")?;
            }
        }
        writeln!(f)?;
        for Check { what, holds, seen } in &self.checks {
            writeln!(f, "{} {what}: {seen}", if *holds { "ok  " } else { "FAIL" })?;
        }
        Ok(())
    }
}
