//! Several reports of one scenario as one.
//!
//! Counts are added and histograms merged, so every percentile of the total, of operations and of stages is that of
//! all calls together. Two things have no histogram to merge: the timeline's percentiles, of which the largest (p99,
//! max) or the mean by answers (p50) is taken, and the busiest thread, which is the busiest of all.

use crate::report::{
    figures,
    latency::BadHistogram,
    model::{FORMAT, Headroom, Moment, Operation, Report, Stage},
    outcome::sum,
};
use std::collections::BTreeMap;

/// Why reports cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// There are none.
    #[error("no report to merge")]
    None,
    /// They are not of one scenario, or of one release.
    #[error("{generator}: {what} differ from those of {first}; are they reports of one run?")]
    Differ {
        /// Whose report it is.
        generator: String,
        /// The first report's owner.
        first: String,
        /// What differs.
        what: &'static str,
    },
    /// A histogram that is none.
    #[error("{generator}: {why}")]
    Histogram {
        /// Whose report it is.
        generator: String,
        /// What is wrong.
        why: BadHistogram,
    },
}

/// Merges reports, each with the name of its generator.
pub fn merge(parts: &[(String, Report)]) -> Result<Report, MergeError> {
    let Some(((first, report), rest)) = parts.split_first() else {
        return Err(MergeError::None);
    };
    let mut all = report.clone();
    for (generator, part) in rest {
        let differ = |what| MergeError::Differ {
            generator: generator.clone(),
            first: first.clone(),
            what,
        };
        if (part.format, all.format) != (FORMAT, FORMAT) {
            return Err(differ("formats"));
        }
        let named = |operations: &[Operation]| operations.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
        if named(&part.operations) != named(&all.operations) {
            return Err(differ("operations"));
        }
        if part.stages.len() != all.stages.len() {
            return Err(differ("stages"));
        }
        absorb(&mut all, part).map_err(|why| MergeError::Histogram {
            generator: generator.clone(),
            why,
        })?;
    }
    for (at, stage) in all.stages.iter_mut().enumerate() {
        let loads: Vec<&str> = parts
            .iter()
            .filter_map(|(_, report)| Some(report.stages.get(at)?.load.as_str()))
            .collect();
        stage.load = load(stage.offered_per_s, &loads);
    }
    all.timeline = timeline(parts);
    all.headroom = headroom(parts)?;
    if parts.len() > 1 {
        all.generator = format!("{} × {} generators", all.generator, parts.len());
    }
    Ok(all)
}

/// Runs of one scenario after each other as one: stages and seconds follow each other by the clock.
pub(super) fn concatenate(runs: Vec<Report>) -> Result<Report, MergeError> {
    let mut runs = runs.into_iter();
    let mut all = runs.next().ok_or(MergeError::None)?;
    for run in runs {
        follow(&mut all, run).map_err(|why| MergeError::Histogram {
            generator: "a probe".to_owned(),
            why,
        })?;
    }
    Ok(all)
}

fn follow(all: &mut Report, run: Report) -> Result<(), BadHistogram> {
    let later_s = run.started_unix - all.started_unix;
    all.measured_s += run.measured_s;
    all.total.absorb(&run.total)?;
    for (one, other) in all.operations.iter_mut().zip(&run.operations) {
        one.outcome.absorb(&other.outcome)?;
    }
    all.stages.extend(run.stages.into_iter().map(|stage| Stage {
        from_s: stage.from_s + later_s,
        to_s: stage.to_s + later_s,
        ..stage
    }));
    all.timeline.extend(run.timeline.into_iter().map(|moment| Moment {
        at_s: moment.at_s + later_s,
        ..moment
    }));
    all.headroom.busiest_thread = all.headroom.busiest_thread.max(run.headroom.busiest_thread);
    all.headroom.lateness = sum(&all.headroom.lateness, &run.headroom.lateness)?;
    Ok(())
}

fn absorb(all: &mut Report, part: &Report) -> Result<(), BadHistogram> {
    all.started_unix = all.started_unix.min(part.started_unix);
    all.warmup_s = all.warmup_s.max(part.warmup_s);
    all.measured_s = all.measured_s.max(part.measured_s);
    all.total.absorb(&part.total)?;
    for (one, other) in all.operations.iter_mut().zip(&part.operations) {
        one.outcome.absorb(&other.outcome)?;
    }
    for (one, other) in all.stages.iter_mut().zip(&part.stages) {
        one.outcome.absorb(&other.outcome)?;
        one.to_s = one.to_s.max(other.to_s);
        one.offered_per_s = match (one.offered_per_s, other.offered_per_s) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        one.answered_per_s += other.answered_per_s;
    }
    Ok(())
}

/// What a stage's load was, over all generators: a rate is known, of callers the numbers in the texts are added.
fn load(offered_per_s: Option<f64>, loads: &[&str]) -> String {
    let first = loads.first().copied().unwrap_or_default();
    if loads.len() == 1 {
        return first.to_owned();
    }
    if let Some(rate) = offered_per_s {
        let ramp = if first.starts_with("to ") { "to " } else { "" };
        return format!("{ramp}{}", figures::rate(rate));
    }
    let number = |load: &&str| load.split_once(' ')?.0.parse::<u64>().ok();
    match (
        loads.iter().map(number).sum::<Option<u64>>(),
        first.split_once(' '),
    ) {
        (Some(sum), Some((_, rest))) => format!("{sum} {rest}"),
        _ => format!("{first} on each of {} generators", loads.len()),
    }
}

fn timeline(parts: &[(String, Report)]) -> Vec<Moment> {
    let mut seconds: BTreeMap<i64, Moment> = BTreeMap::new();
    for moment in parts.iter().flat_map(|(_, report)| &report.timeline) {
        #[expect(clippy::cast_possible_truncation, reason = "seconds of a run")]
        let second = moment.at_s.round() as i64;
        seconds
            .entry(second)
            .and_modify(|sum| add(sum, moment))
            .or_insert_with(|| moment.clone());
    }
    seconds.into_values().collect()
}

fn add(sum: &mut Moment, other: &Moment) {
    sum.p50 = mean_by((sum.p50, sum.ok), (other.p50, other.ok));
    sum.p99 = sum.p99.max(other.p99);
    sum.max = sum.max.max(other.max);
    sum.due += other.due;
    sum.ok += other.ok;
    sum.failed += other.failed;
    sum.in_flight += other.in_flight;
    sum.connections += other.connections;
}

/// The mean of two figures, each of so many.
#[expect(clippy::cast_precision_loss, reason = "weights")]
pub(super) fn mean_by(one: (f64, u64), two: (f64, u64)) -> f64 {
    let all = one.1 + two.1;
    if all == 0 {
        return 0.0;
    }
    (one.0 * one.1 as f64 + two.0 * two.1 as f64) / all as f64
}

fn headroom(parts: &[(String, Report)]) -> Result<Headroom, MergeError> {
    let mut all = Headroom::default();
    let mut reasons = Vec::new();
    for (generator, report) in parts {
        let part = &report.headroom;
        all.threads = all.threads.saturating_add(part.threads);
        all.busiest_thread = all.busiest_thread.max(part.busiest_thread);
        all.limited |= part.limited;
        all.lateness = sum(&all.lateness, &part.lateness).map_err(|why| MergeError::Histogram {
            generator: generator.clone(),
            why,
        })?;
        if part.limited {
            reasons.push(match parts.len() {
                1 => part.reason.clone(),
                _ => format!("{generator}: {}", part.reason),
            });
        }
    }
    all.reason = reasons.join("; ");
    Ok(all)
}

#[cfg(test)]
pub(in crate::fleet) mod tests;
