//! When may a server that failed be started again?
//!
//! The first failure after a healthy run restarts at once: a crash is often one bad call. Each further one doubles
//! the wait, with jitter so that servers that died together do not come back together. Time is an argument.

use crate::limits::Limits;
use std::time::{Duration, Instant};

/// The failures of one server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Notes a failed start (`ran_for` zero) or a crash. `jitter` is between 0 and 1.
    pub(crate) fn failed(&mut self, now: Instant, ran_for: Duration, jitter: f64, limits: &Limits) {
        if ran_for >= limits.healthy_after {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let wait = match self.failures {
            1 => Duration::ZERO,
            n => {
                let doubled = limits.backoff_min.saturating_mul(1 << (n - 2).min(20));
                // Between half and all of it.
                doubled
                    .min(limits.backoff_max)
                    .mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
            }
        };
        self.until = Some(now + wait);
    }

    /// Notes that a retry cannot help soon (there is no such program): waits the longest at once.
    pub(crate) fn hopeless(&mut self, now: Instant, limits: &Limits) {
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + limits.backoff_max);
    }

    /// How long to wait still; `None` when a start may be tried.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.until
            .and_then(|until| until.checked_duration_since(now))
            .filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_health_forgives() {
        let (limits, now) = (Limits::default(), Instant::now());
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(now), None);
        let mut waits = Vec::new();
        for _ in 0..10 {
            backoff.failed(now, Duration::ZERO, 1.0, &limits);
            waits.push(backoff.wait(now).unwrap_or_default().as_millis());
        }
        assert_eq!(
            waits,
            [0, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
        );
        assert_eq!(backoff.wait(now + limits.backoff_max), None);
        backoff.failed(now, limits.healthy_after, 1.0, &limits);
        assert_eq!(backoff.wait(now), None);
    }

    #[test]
    fn jitter_shortens_by_up_to_half() {
        let (limits, now) = (Limits::default(), Instant::now());
        let mut backoff = Backoff::default();
        backoff.failed(now, Duration::ZERO, 0.0, &limits);
        backoff.failed(now, Duration::ZERO, 0.0, &limits);
        assert_eq!(backoff.wait(now), Some(limits.backoff_min / 2));
    }

    #[test]
    fn a_missing_program_waits_longest_at_once() {
        let (limits, now) = (Limits::default(), Instant::now());
        let mut backoff = Backoff::default();
        backoff.hopeless(now, &limits);
        assert_eq!(backoff.wait(now), Some(limits.backoff_max));
    }
}
