//! What a run is doing now: the seam between the engine, which fills a [`Progress`] about once a second, and whoever
//! shows it (the terminal, the metrics listener, pushes).
//!
//! The engine keeps one `tokio::sync::watch` of it; showers look at the latest and may miss some. Everything that
//! counts is therefore cumulative over the time measured (warm-up excluded), except where a name says otherwise.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The state of a run at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// As in the report.
    pub label: String,
    /// As in the report.
    pub target: String,
    /// Where the run is.
    pub phase: Phase,
    /// Seconds since the start of warm-up.
    pub elapsed_s: f64,
    /// Seconds that warm-up and all stages take together, where that is known beforehand.
    pub planned_s: Option<f64>,
    /// Which stage is running, counted from 1; zero during warm-up.
    pub stage: usize,
    /// How many stages there are, where that is known beforehand.
    pub stages: Option<usize>,
    /// What the load is now, for people: `2000/s`, `64 connections`.
    pub load: String,
    /// Calls a second that fell due in the last second; in a closed loop, those that were started.
    pub offered_per_s: f64,
    /// Good answers that came in the last second.
    pub achieved_per_s: f64,
    /// Calls under way.
    pub in_flight: u64,
    /// Calls that are due and wait for a connection.
    pub waiting: u64,
    /// Open connections.
    pub connections: u64,
    /// Of the answers that came in the last second, warm-up included.
    pub last: Brief,
    /// Of all answers.
    pub overall: Brief,
    /// All operations, in the scenario's order.
    pub operations: Vec<OperationProgress>,
    /// CPU time of the busiest generator thread over the last second, 0 to 1.
    pub busiest_thread: f64,
    /// The generator's own lateness at its 99th percentile over the last second, microseconds.
    pub lateness_p99_us: f64,
    /// Whether the generator, not the target, seems to set the pace.
    pub limited: bool,
}

impl Progress {
    /// Failures by kind over all operations.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        for (kind, count) in self.operations.iter().flat_map(|o| &o.errors) {
            *sum.entry(kind.clone()).or_insert(0) += count;
        }
        sum
    }

    /// Good answers over all operations.
    #[must_use]
    pub fn ok(&self) -> u64 {
        self.operations.iter().map(|o| o.ok).sum()
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Connections are opened, sessions are made, tools are listed.
    #[default]
    Preparing,
    /// Calls are made and not counted.
    Warmup,
    /// Calls are made and counted.
    Measuring,
    /// No more calls fall due; those under way are awaited.
    Draining,
    /// All is counted.
    Done,
}

impl Phase {
    /// One word for people and labels.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Warmup => "warm-up",
            Self::Measuring => "measuring",
            Self::Draining => "draining",
            Self::Done => "done",
        }
    }
}

/// A distribution in four figures, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// How many; the other figures are zero when none.
    pub count: u64,
    #[allow(missing_docs)]
    pub p50: f64,
    #[allow(missing_docs)]
    pub p99: f64,
    #[allow(missing_docs)]
    pub max: f64,
}

impl Brief {
    /// Of a histogram of nanoseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "times far below 2^53 ns, 104 days")]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p99: at(0.99),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

/// One operation's counts so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OperationProgress {
    /// As in the report.
    pub name: String,
    /// As in the report.
    pub method: String,
    /// As in the report.
    pub subject: Option<String>,
    /// Calls that fell due.
    pub due: u64,
    /// Good answers.
    pub ok: u64,
    /// Failures by kind, as in the report.
    pub errors: BTreeMap<String, u64>,
    /// Bytes of requests.
    pub bytes_out: u64,
    /// Bytes of answers.
    pub bytes_in: u64,
    /// From the due time to the last byte.
    pub latency: Buckets,
    /// From the first byte written to the last byte.
    pub service: Buckets,
}

/// Upper bounds of the exported buckets, seconds: 1-2.5-5 from 100 µs to 10 s, finer where good gateways live.
pub const BUCKET_BOUNDS_S: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 10.0,
];

/// A cumulative histogram as monitoring systems want it: few fixed buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Buckets {
    /// How many were at most the bound at the same place in [`BUCKET_BOUNDS_S`] and above the one before it; the
    /// last counts those above all bounds.
    pub counts: [u64; BUCKET_BOUNDS_S.len() + 1],
    /// Seconds, summed (within the histogram's precision).
    pub sum_s: f64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            counts: [0; BUCKET_BOUNDS_S.len() + 1],
            sum_s: 0.0,
        }
    }
}

impl Buckets {
    /// Of a histogram of nanoseconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "sums far below 2^53 ns lose nothing that is shown"
    )]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let mut buckets = Self::default();
        for step in histogram.iter_recorded() {
            let seconds = step.value_iterated_to() as f64 / 1e9;
            let count = step.count_since_last_iteration();
            let place = BUCKET_BOUNDS_S.partition_point(|bound| *bound < seconds);
            buckets.counts[place] += count;
            buckets.sum_s += seconds * count as f64;
        }
        buckets
    }

    /// How many in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_was_recorded() {
        let mut counted = Histogram::<u64>::new(3).expect("three digits");
        for micros in [40u64, 90, 250, 4_000, 30_000_000] {
            counted.record(micros * 1_000).expect("recorded");
        }
        let buckets = Buckets::of(&counted);
        assert_eq!(buckets.count(), 5);
        assert_eq!(buckets.counts[0], 1, "40 µs");
        assert_eq!(buckets.counts[1], 1, "90 µs");
        assert_eq!(buckets.counts[3], 1, "250 µs");
        assert_eq!(buckets.counts[BUCKET_BOUNDS_S.len()], 1, "30 s");
        assert!((buckets.sum_s - 30.004_38).abs() < 0.05, "{}", buckets.sum_s);
    }

    #[test]
    fn bounds_rise() {
        assert!(BUCKET_BOUNDS_S.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
