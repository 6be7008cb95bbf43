//! From tallies to the report, and the verdict on the generator itself.

use super::{meter::Strain, record::Tally, search::Ended, standing::Held};
use crate::report::{
    figures,
    model::{FORMAT, Headroom, Latency, Moment, Operation, Report, Saturation, Stage},
};
use crate::scenario::{Load, Scenario, Search, values};
use hdrhistogram::Histogram;
use ringway_proto::revision::{Era, Revision};
use std::time::Duration;

/// What stands in a report where a secret stood in the scenario.
const HIDDEN: &str = "(hidden)";

/// Everything a report is made of.
pub struct Facts<'f> {
    /// What was run.
    pub scenario: &'f Scenario,
    /// What was spoken.
    pub revision: &'f str,
    /// When measuring began.
    pub started_unix: f64,
    /// In the scenario's order.
    pub operations: &'f [Tally],
    /// In the order they ran.
    pub stages: &'f [StageFacts],
    /// By second.
    pub timeline: Vec<Moment>,
    /// The generator's own.
    pub lateness: &'f Histogram<u64>,
    /// Of the worst off thread.
    pub strain: Strain,
    /// Of a search.
    pub saturation: Option<Finding>,
    /// Of every thread.
    pub held: &'f [Held],
}

/// One stage.
#[derive(Debug)]
pub struct StageFacts {
    /// As in the report.
    pub load: String,
    /// As in the report.
    pub offered_per_s: Option<f64>,
    /// As in the report.
    pub from_s: f64,
    /// As in the report.
    pub to_s: f64,
    /// What became of its calls.
    pub tally: Tally,
}

impl StageFacts {
    /// Answers that came while it ran, a second.
    #[expect(clippy::cast_precision_loss, reason = "calls of one stage lie far below 2^53")]
    pub fn answered_per_s(&self) -> f64 {
        let length = self.to_s - self.from_s;
        if length > 0.0 {
            self.tally.ok_within as f64 / length
        } else {
            0.0
        }
    }
}

/// What a search found.
#[derive(Debug)]
pub struct Finding {
    /// As in the report.
    pub sustained_per_s: f64,
    /// As in the report.
    pub peak_per_s: f64,
    /// How it ended.
    pub ended: Ended,
    /// What the generator lacked, where that ended it.
    pub limited: String,
}

/// What the generator lacks, for people; empty when nothing.
pub fn limits(scenario: &Scenario, lateness: &Histogram<u64>, strain: Strain, open: bool) -> String {
    let generator = &scenario.generator;
    let mut lacks = Vec::new();
    if strain.busy < generator.busy_max && strain.pressed >= generator.busy_max {
        lacks.push(format!(
            "a generator thread used or waited for {} of a core, and got no more than {}: other programs took the rest",
            figures::percent(strain.pressed),
            figures::percent(strain.busy)
        ));
    }
    if strain.busy >= generator.busy_max {
        lacks.push(format!(
            "the busiest generator thread used {} of its core (at most {} leaves headroom)",
            figures::percent(strain.busy),
            figures::percent(generator.busy_max)
        ));
    }
    let late = Duration::from_nanos(lateness.value_at_quantile(0.99));
    if open && late > generator.lateness_p99_max {
        lacks.push(format!(
            "calls that were due and had a free connection started {} late (99th percentile; {} is allowed)",
            figures::time(late.as_secs_f64() * 1e6),
            values::show(generator.lateness_p99_max)
        ));
    }
    lacks.join("; ")
}

/// The report of a finished run, not judged yet.
pub fn report(facts: Facts<'_>) -> Report {
    let scenario = facts.scenario;
    let mut total = Tally::new();
    for tally in facts.operations {
        total.merge(tally);
    }
    let mut operations: Vec<Operation> = scenario
        .operations
        .iter()
        .zip(facts.operations)
        .map(|(operation, tally)| Operation {
            name: operation.name.clone(),
            method: operation.action.method().to_owned(),
            subject: operation.action.subject().map(str::to_owned),
            outcome: tally.outcome(),
        })
        .collect();
    operations.extend(held(&facts));
    let open = !matches!(scenario.load, Load::Closed { .. });
    let mut reason = limits(scenario, facts.lateness, facts.strain, open);
    if let Some(finding) = &facts.saturation {
        // A search goes where the generator may lack something; only what ended it counts.
        reason.clone_from(&finding.limited);
    }
    let measured: f64 = facts.stages.iter().map(|stage| stage.to_s - stage.from_s).sum();
    Report {
        format: FORMAT,
        label: scenario.name.clone(),
        target: scenario.target.urls.join(" "),
        started_unix: facts.started_unix,
        generator: format!(
            "ringway-loadtest {} (MCP {})",
            env!("CARGO_PKG_VERSION"),
            facts.revision
        ),
        scenario: masked(&scenario.text),
        warmup_s: scenario.load.warmup().as_secs_f64(),
        measured_s: measured,
        total: total.outcome(),
        operations,
        stages: facts
            .stages
            .iter()
            .map(|stage| Stage {
                load: stage.load.clone(),
                offered_per_s: stage.offered_per_s,
                answered_per_s: stage.answered_per_s(),
                from_s: stage.from_s,
                to_s: stage.to_s,
                outcome: stage.tally.outcome(),
            })
            .collect(),
        timeline: facts.timeline,
        saturation: facts.saturation.map(|finding| Saturation {
            sustained_per_s: finding.sustained_per_s,
            peak_per_s: finding.peak_per_s,
            conditions: match &scenario.load {
                Load::Search { search, .. } => conditions(search),
                Load::Open { .. } | Load::Closed { .. } => String::new(),
            },
            ended: finding.ended.as_str().to_owned(),
        }),
        headroom: Headroom {
            threads: u32::try_from(scenario.generator.threads).unwrap_or(u32::MAX),
            busiest_thread: facts.strain.busy,
            lateness: match open {
                true => Latency::of(facts.lateness),
                false => Latency::default(),
            },
            limited: !reason.is_empty(),
            reason,
        },
        thresholds: Vec::new(),
    }
}

/// What was held open, as operations of their own. They are no calls, and not among the total.
fn held(facts: &Facts<'_>) -> Vec<Operation> {
    let standing = facts.scenario.standing;
    let modern = Revision::parse(facts.revision.as_bytes()).is_some_and(|r| r.era() == Era::Modern);
    let stream = if modern { "subscriptions/listen" } else { "GET" };
    let mut found = Vec::new();
    for (asked, name, method, of) in [
        (
            standing.listen,
            "held streams",
            stream,
            (|held| &held.streams) as fn(&Held) -> &Tally,
        ),
        (standing.idle, "held idle connections", "connect", |held| {
            &held.idle
        }),
    ] {
        if asked == 0 {
            continue;
        }
        let mut all = Tally::new();
        for share in facts.held {
            all.merge(of(share));
        }
        found.push(Operation {
            name: name.to_owned(),
            method: method.to_owned(),
            subject: None,
            outcome: all.outcome(),
        });
    }
    found
}

/// A search's conditions, for people.
pub fn conditions(search: &Search) -> String {
    format!(
        "p99 <= {}, errors <= {}, answered >= {} of offered",
        values::show(search.p99_max),
        figures::percent(search.errors_max),
        figures::percent(search.achieved_min)
    )
}

/// The scenario without its secrets: a report is handed on.
pub fn masked(text: &str) -> String {
    let Ok(mut table) = text.parse::<toml::Table>() else {
        return String::new();
    };
    let mut found = false;
    if let Some(toml::Value::Array(keys)) = table.get_mut("clients").and_then(|c| c.get_mut("keys")) {
        found = true;
        for key in keys {
            *key = HIDDEN.into();
        }
    }
    if let Some(toml::Value::Table(headers)) = table.get_mut("target").and_then(|t| t.get_mut("headers")) {
        for (name, value) in headers.iter_mut() {
            let name = name.to_ascii_lowercase();
            if ["authorization", "cookie", "key", "token", "secret"]
                .iter()
                .any(|word| name.contains(word))
            {
                found = true;
                *value = HIDDEN.into();
            }
        }
    }
    match found {
        // Only then: a person's comments are worth keeping.
        true => toml::to_string_pretty(&table).unwrap_or_default(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_reach_a_report() {
        let text = "[target]\nurl = \"http://a/\"\n[target.headers]\nX-Api-Key = \"s1\"\nx-trace = \"t\"\n[clients]\nkeys = [\"s2\"]\n";
        let shown = masked(text);
        assert!(!shown.contains("s1") && !shown.contains("s2"), "{shown}");
        assert!(shown.contains("x-trace = \"t\""), "{shown}");
        let plain = "# mine\n[target]\nurl = \"http://a/\"\n";
        assert_eq!(masked(plain), plain);
    }
}
