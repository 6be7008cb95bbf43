//! How all generators stand together, for whoever watches.

use super::merge::mean_by;
use crate::report::progress::{Brief, Buckets, OperationProgress, Phase, Progress};

/// Many states as one. Percentiles of the last second cannot be merged and are the largest (p99, max), or the mean by
/// answers (p50).
pub fn together(parts: &[Progress]) -> Progress {
    let Some((first, rest)) = parts.split_first() else {
        return Progress::default();
    };
    let mut all = rest.iter().fold(first.clone(), |mut all, part| {
        // The slowest phase is where the run is.
        if rank(part.phase) < rank(all.phase) {
            all.phase = part.phase;
        }
        all.elapsed_s = all.elapsed_s.max(part.elapsed_s);
        all.planned_s = all.planned_s.or(part.planned_s);
        all.stage = all.stage.max(part.stage);
        all.stages = all.stages.or(part.stages);
        all.offered_per_s += part.offered_per_s;
        all.achieved_per_s += part.achieved_per_s;
        all.in_flight += part.in_flight;
        all.waiting += part.waiting;
        all.connections += part.connections;
        all.last = brief(all.last, part.last);
        all.overall = brief(all.overall, part.overall);
        all.busiest_thread = all.busiest_thread.max(part.busiest_thread);
        all.lateness_p99_us = all.lateness_p99_us.max(part.lateness_p99_us);
        all.limited |= part.limited;
        if all.operations.is_empty() {
            all.operations.clone_from(&part.operations);
        } else {
            for (one, other) in all.operations.iter_mut().zip(&part.operations) {
                add(one, other);
            }
        }
        all
    });
    if !rest.is_empty() && !all.load.is_empty() {
        all.load = format!("{} × {}", all.load, parts.len());
    }
    all
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Preparing => 0,
        Phase::Warmup => 1,
        Phase::Measuring => 2,
        Phase::Draining => 3,
        Phase::Done => 4,
    }
}

fn brief(one: Brief, other: Brief) -> Brief {
    Brief {
        p50: mean_by((one.p50, one.count), (other.p50, other.count)),
        p99: one.p99.max(other.p99),
        max: one.max.max(other.max),
        count: one.count + other.count,
    }
}

fn add(one: &mut OperationProgress, other: &OperationProgress) {
    one.due += other.due;
    one.ok += other.ok;
    one.bytes_out += other.bytes_out;
    one.bytes_in += other.bytes_in;
    for (kind, count) in &other.errors {
        *one.errors.entry(kind.clone()).or_insert(0) += count;
    }
    join(&mut one.latency, &other.latency);
    join(&mut one.service, &other.service);
}

fn join(one: &mut Buckets, other: &Buckets) {
    for (count, more) in one.counts.iter_mut().zip(other.counts) {
        *count += more;
    }
    one.sum_s += other.sum_s;
}
