//! A worker's numbers: counters and latency histograms with bounded labels.
//!
//! A worker counts in its own table, without locks; the admin endpoint asks every worker for a copy and adds
//! them up (`admin::metrics`). Names and labels are documented in `docs/metrics.md`, held to this file by a test.
//!
//! Counting a call allocates nothing once its series is there: the table is asked with borrowed labels.

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use hdrhistogram::Histogram;
use ringway_core::rejection::Rejection;
use std::{collections::HashMap, hash::BuildHasher, time::Duration};

/// Distinct label sets one worker keeps. Above it new ones are counted under [`OTHER`]: tools and tenants are
/// many, and what can grow without end does not belong in a metric.
pub const SERIES_MAX: usize = 5_000;

/// The label value of what did not fit.
pub const OTHER: &str = "_other";

/// Latencies are kept to two digits up to ten minutes; beyond, they count as ten minutes.
const LATENCY_MAX_US: u64 = 600_000_000;

/// What a call is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series<'a> {
    /// JSON-RPC method, or `other` for ones we do not know.
    pub method: &'static str,
    /// The server it went to; empty when none.
    pub server: &'a str,
    /// The tool or prompt, under its server's name; empty when none.
    pub tool: &'a str,
    /// The caller's tenant.
    pub tenant: &'a str,
    /// `ok`, or the reason why not.
    pub status: &'static str,
}

/// A series with its own copies of the labels, and what was counted under it.
#[derive(Clone, Debug)]
struct Row {
    method: &'static str,
    server: Box<str>,
    tool: Box<str>,
    tenant: Box<str>,
    status: &'static str,
    latency: Latency,
}

impl Row {
    fn new(series: Series<'_>, latency: Latency) -> Self {
        Self {
            method: series.method,
            server: series.server.into(),
            tool: series.tool.into(),
            tenant: series.tenant.into(),
            status: series.status,
            latency,
        }
    }

    fn series(&self) -> Series<'_> {
        Series {
            method: self.method,
            server: &self.server,
            tool: &self.tool,
            tenant: &self.tenant,
            status: self.status,
        }
    }
}

/// One worker's numbers.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    rows: HashTable<Row>,
    hasher: RandomState,
    /// Requests whose head could not be read, by reason.
    pub heads_refused: HashMap<&'static str, u64>,
    /// Calls under way.
    pub in_flight: u64,
    /// Connections toward servers, by server name.
    pub upstream: HashMap<String, Upstream>,
}

/// One server's connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upstream {
    /// Open now.
    pub open: u64,
    /// Of these, idle HTTP/1.1 ones.
    pub idle: u64,
    /// Calls waiting for one.
    pub waiting: u64,
    /// Opened, ever.
    pub dialled: u64,
    /// Calls over one opened before, ever.
    pub reused: u64,
    /// Calls sent twice because the first was certainly not processed, ever.
    pub retried: u64,
}

impl Upstream {
    /// Sums two servers' or workers' numbers.
    pub fn add(&mut self, other: &Self) {
        self.open += other.open;
        self.idle += other.idle;
        self.waiting += other.waiting;
        self.dialled += other.dialled;
        self.reused += other.reused;
        self.retried += other.retried;
    }
}

/// Count and distribution of one series.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Finished calls.
    pub count: u64,
    /// Sum of their durations.
    pub sum: Duration,
    /// Their distribution, in microseconds.
    pub histogram: Histogram<u32>,
}

impl Stats {
    /// Counts a finished call.
    pub fn finished(&mut self, series: Series<'_>, took: Duration) {
        let known = self.rows.len() < SERIES_MAX || self.row(series).is_some();
        let series = if known {
            series
        } else {
            Series {
                server: OTHER,
                tool: OTHER,
                tenant: OTHER,
                ..series
            }
        };
        let Some(latency) = self.latency(series) else {
            return;
        };
        latency.count += 1;
        latency.sum += took;
        let micros = u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX_US);
        latency
            .histogram
            .saturating_record(micros.clamp(1, LATENCY_MAX_US));
    }

    fn row(&self, series: Series<'_>) -> Option<&Row> {
        let hash = self.hasher.hash_one(series);
        self.rows.find(hash, |row| row.series() == series)
    }

    fn latency(&mut self, series: Series<'_>) -> Option<&mut Latency> {
        let hasher = &self.hasher;
        let found = self.rows.entry(
            hasher.hash_one(series),
            |row| row.series() == series,
            |row| hasher.hash_one(row.series()),
        );
        match found {
            Entry::Occupied(row) => Some(&mut row.into_mut().latency),
            Entry::Vacant(free) => {
                let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, 2).ok()?;
                let latency = Latency {
                    count: 0,
                    sum: Duration::ZERO,
                    histogram,
                };
                Some(&mut free.insert(Row::new(series, latency)).into_mut().latency)
            }
        }
    }

    /// Counts a request whose head could not be read.
    pub fn refused_head(&mut self, rejection: &Rejection) {
        *self.heads_refused.entry(rejection.reason()).or_default() += 1;
    }

    /// Every series.
    pub fn series(&self) -> impl Iterator<Item = (Series<'_>, &Latency)> {
        self.rows.iter().map(|row| (row.series(), &row.latency))
    }

    /// Adds another worker's numbers.
    pub fn add(&mut self, other: &Self) {
        for row in &other.rows {
            if let Some(own) = self.latency(row.series()) {
                own.count += row.latency.count;
                own.sum += row.latency.sum;
                // Same bounds, so the sum always fits.
                _ = own.histogram.add(&row.latency.histogram);
            }
        }
        for (reason, count) in &other.heads_refused {
            *self.heads_refused.entry(reason).or_default() += count;
        }
        self.in_flight += other.in_flight;
        for (server, upstream) in &other.upstream {
            self.upstream.entry(server.clone()).or_default().add(upstream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(tool: &str) -> Series<'_> {
        Series {
            method: "tools/call",
            server: "s",
            tool,
            tenant: "t",
            status: "ok",
        }
    }

    #[test]
    fn labels_do_not_grow_without_end() {
        let mut stats = Stats::default();
        for n in 0..SERIES_MAX + 10 {
            stats.finished(series(&n.to_string()), Duration::from_millis(1));
        }
        assert_eq!(stats.series().count(), SERIES_MAX + 1);
        let other = stats
            .series()
            .find(|(s, _)| s.tool == OTHER)
            .map(|(_, l)| l.count);
        assert_eq!(other, Some(10));
    }

    #[test]
    fn workers_add_up() {
        let (mut a, mut b) = (Stats::default(), Stats::default());
        a.finished(series("x"), Duration::from_millis(1));
        b.finished(series("x"), Duration::from_millis(3));
        b.finished(series("y"), Duration::from_secs(10_000));
        a.add(&b);
        let x = a.series().find(|(s, _)| s.tool == "x").unwrap().1;
        assert_eq!((x.count, x.sum), (2, Duration::from_millis(4)));
        assert_eq!(a.series().count(), 2);
    }
}
