//! Arithmetic of outcomes: rates, shares of failure, the sum of several without losing their distributions, and which
//! of a report's outcomes speaks for the run.

use hdrhistogram::Histogram;

use super::{
    latency::BadHistogram,
    model::{Latency, Outcome, Report, Stage},
};

/// Rates nearer than this share are the same probe of a search, which rounds what it reports.
const SAME_RATE: f64 = 0.005;

impl Report {
    /// The stage at the load that a saturation search found, where there was one.
    #[must_use]
    pub fn borne(&self) -> Option<&Stage> {
        let found = self.saturation.as_ref()?.sustained_per_s;
        let at_found = |stage: &&Stage| {
            stage
                .offered_per_s
                .is_some_and(|rate| (rate / found - 1.0).abs() < SAME_RATE)
        };
        self.stages.iter().rev().find(at_found)
    }

    /// The calls that speak for the run: all of them, or of a saturation search those at the load it found (what
    /// happened at its other probes says little of the target).
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        self.borne().map_or(&self.total, |stage| &stage.outcome)
    }

    /// Whether calls fell due by a schedule, rather than when others ended.
    #[must_use]
    pub fn is_open_loop(&self) -> bool {
        self.stages.iter().any(|stage| stage.offered_per_s.is_some())
    }

    /// The label, or a word where there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.label.is_empty() { "run" } else { &self.label }
    }
}

impl Outcome {
    /// Calls that failed, of whatever kind.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Calls that ended, well or not.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ok.saturating_add(self.failed())
    }

    /// Good answers a second over that many seconds; none over no time.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn rate(&self, seconds: f64) -> Option<f64> {
        (seconds > 0.0).then(|| self.ok as f64 / seconds)
    }

    /// Failures over calls that ended; none when none did.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn failed_share(&self) -> Option<f64> {
        let ended = self.ended();
        (ended > 0).then(|| self.failed() as f64 / ended as f64)
    }

    /// Adds another's calls to these.
    ///
    /// # Errors
    /// When one of the histograms cannot be read; the counts are then added and the distributions are not.
    pub fn absorb(&mut self, other: &Self) -> Result<(), BadHistogram> {
        self.due = self.due.saturating_add(other.due);
        self.ok = self.ok.saturating_add(other.ok);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        for (kind, count) in &other.errors {
            let sum = self.errors.entry(kind.clone()).or_insert(0);
            *sum = sum.saturating_add(*count);
        }
        self.latency = sum(&self.latency, &other.latency)?;
        self.service = sum(&self.service, &other.service)?;
        self.first_event = match (&self.first_event, &other.first_event) {
            (Some(one), Some(two)) => Some(sum(one, two)?),
            (one, two) => one.as_ref().or(two.as_ref()).cloned(),
        };
        Ok(())
    }
}

/// Two distributions as one.
///
/// # Errors
/// When one of them cannot be read.
pub fn sum(one: &Latency, two: &Latency) -> Result<Latency, BadHistogram> {
    let mut merged: Option<Histogram<u64>> = None;
    for histogram in [one.histogram()?, two.histogram()?].into_iter().flatten() {
        match &mut merged {
            Some(merged) => {
                merged.auto(true);
                merged
                    .add(&histogram)
                    .map_err(|reason| BadHistogram::Encoding(reason.to_string()))?;
            }
            None => merged = Some(histogram),
        }
    }
    Ok(merged.as_ref().map(Latency::of).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(micros: u64, calls: u64, kind: &str) -> Outcome {
        let mut counted = Histogram::<u64>::new(3).expect("three digits");
        counted.record_n(micros * 1_000, calls).expect("recorded");
        Outcome {
            due: calls + 1,
            ok: calls,
            errors: [(kind.to_owned(), 1)].into(),
            latency: Latency::of(&counted),
            service: Latency::of(&counted),
            ..Outcome::default()
        }
    }

    #[test]
    fn a_sum_keeps_both_distributions() {
        let mut all = outcome(100, 90, "reset");
        all.absorb(&outcome(50_000, 10, "timeout")).expect("readable");
        assert_eq!((all.due, all.ok, all.failed(), all.ended()), (102, 100, 2, 102));
        assert_eq!(all.latency.count, 100);
        assert!(
            (all.latency.p50 - 100.0).abs() < 1.0 && all.latency.p99 > 49_000.0,
            "{:?}",
            all.latency
        );
        let share = all.failed_share().expect("calls ended");
        assert!((share - 2.0 / 102.0).abs() < 1e-12);
    }

    #[test]
    fn a_sum_with_nothing_is_the_same() {
        let mut all = Outcome::default();
        assert!(all.failed_share().is_none());
        all.absorb(&outcome(100, 90, "reset")).expect("readable");
        assert_eq!(all.latency.count, 90);
    }
}
