//! The gateway's own state, sampled from outside: /proc, and the gauges of its metrics.

use super::{Scene, stage::StageError};
use serde::Serialize;
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// Between two samples.
const EVERY: Duration = Duration::from_secs(1);
/// Descriptors that may be open at the end beyond those at the start: probes of servers come and go.
const DESCRIPTORS_SLACK: u64 = 4;

/// Gauges of the gateway that must return to where they were.
const GAUGES: [&str; 4] = [
    "ringway_calls_in_flight",
    "ringway_upstream_connections",
    "ringway_upstream_connections_idle",
    "ringway_upstream_calls_waiting",
];

/// One look.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the start of the load.
    pub at_s: f64,
    /// Resident memory.
    pub rss_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// The gauges, summed over their labels, in the order of their table; empty when the gateway did not answer.
    pub gauges: Vec<u64>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rss_kib,
            descriptors,
            threads,
            ..
        } = self;
        write!(
            f,
            "{:.1} MiB, {descriptors} descriptors, {threads} threads",
            *rss_kib as f64 / 1024.0
        )?;
        if let [in_flight, open, idle, waiting] = self.gauges[..] {
            write!(
                f,
                ", {in_flight} calls under way, {open} upstream connections ({idle} idle, {waiting} calls waiting)"
            )?;
        }
        Ok(())
    }
}

/// All samples.
#[derive(Debug)]
pub struct Vitals {
    began: Instant,
    first: Sample,
    /// While there was load.
    pub loaded: Vec<Sample>,
    /// After it.
    pub last: Sample,
    /// Whether it let go of everything in time.
    pub settled: Option<Duration>,
}

impl Vitals {
    /// The state before any load.
    pub async fn begin(scene: &Scene) -> Result<Self, StageError> {
        let began = Instant::now();
        let first = sample(scene, began).await;
        if first.rss_kib == 0 || first.gauges.is_empty() {
            return Err(StageError::Own(format!(
                "the gateway cannot be watched: {first:?}"
            )));
        }
        Ok(Self {
            began,
            last: first.clone(),
            first,
            loaded: Vec::new(),
            settled: None,
        })
    }

    /// The state before any load.
    pub fn first(&self) -> &Sample {
        &self.first
    }

    /// Samples until `end`; says something every ten seconds.
    pub async fn watch_until(&mut self, scene: &Scene, end: Instant) {
        while Instant::now() < end {
            tokio::time::sleep_until((Instant::now() + EVERY).min(end)).await;
            let sample = sample(scene, self.began).await;
            if self.loaded.len().is_multiple_of(10) {
                let (right, excused, unexplained, wrong) = scene.tally.read().sums();
                eprintln!(
                    "soak: {:4.0} s  {right} right, {excused} excused, {unexplained} unexplained, {wrong} wrong; {sample}",
                    sample.at_s
                );
            }
            self.loaded.push(sample);
            if !scene.stage.gateway_lives() {
                eprintln!("soak: the gateway has ended");
                return;
            }
        }
    }

    /// Waits until the gateway holds no more than at the start.
    pub async fn settle(&mut self, scene: &Scene, within: Duration) {
        let from = Instant::now();
        while self.settled.is_none() && from.elapsed() < within && scene.stage.gateway_lives() {
            tokio::time::sleep(EVERY).await;
            self.last = sample(scene, self.began).await;
            if self.lets_go() {
                self.settled = Some(from.elapsed());
            }
        }
    }

    fn lets_go(&self) -> bool {
        let (first, last) = (&self.first, &self.last);
        let gauges = last.gauges.len() == GAUGES.len()
            && last.gauges[0] == 0
            && last
                .gauges
                .iter()
                .zip(&first.gauges)
                .all(|(last, first)| *last <= first + DESCRIPTORS_SLACK);
        gauges && last.descriptors <= first.descriptors + DESCRIPTORS_SLACK && last.threads <= first.threads
    }

    /// Median resident memory in the first and in the last part of the time after warm-up: a quarter of it is
    /// warm-up (a minute at most), a quarter (a minute at most) each part.
    pub fn memory_kib(&self) -> Option<(u64, u64)> {
        let part = (self.loaded.len() / 4).min(60);
        if part == 0 {
            return None;
        }
        let median = |samples: &[Sample]| {
            let mut all: Vec<u64> = samples.iter().map(|sample| sample.rss_kib).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        let last = self.loaded.len() - part;
        Some((median(&self.loaded[part..2 * part]), median(&self.loaded[last..])))
    }
}

async fn sample(scene: &Scene, began: Instant) -> Sample {
    let pid = scene.stage.gateway_pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let digits = line.map(|rest| rest.trim().trim_end_matches(" kB"));
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |list| list.count() as u64);
    let metrics = scene.stage.metrics().await.unwrap_or_default();
    Sample {
        at_s: began.elapsed().as_secs_f64(),
        rss_kib: number("VmRSS:"),
        descriptors,
        threads: number("Threads:"),
        gauges: gauges(&metrics),
    }
}

/// The sums of the gauges over their labels; empty when the text has none of them.
fn gauges(metrics: &str) -> Vec<u64> {
    if !metrics.contains(GAUGES[0]) {
        return Vec::new();
    }
    let sum = |name: &str| {
        let values = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let rest = if rest.starts_with('{') {
                rest.split_once("} ")?.1
            } else {
                rest.strip_prefix(' ')?
            };
            rest.trim().parse::<f64>().ok()
        });
        values.sum::<f64>() as u64
    };
    GAUGES.map(sum).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_summed_over_servers_and_not_mixed_up() {
        let text = "# HELP ringway_calls_in_flight x\nringway_calls_in_flight 3\n\
            ringway_upstream_connections{server=\"a\"} 2\nringway_upstream_connections{server=\"b\"} 5\n\
            ringway_upstream_connections_idle{server=\"a\"} 1\nringway_upstream_calls_waiting{server=\"a\"} 0\n";
        assert_eq!(gauges(text), [3, 7, 1, 0]);
        assert!(gauges("").is_empty());
    }
}
