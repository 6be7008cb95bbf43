//! The search for the highest rate that is borne: up by a factor until a rate fails, then halving the gap between
//! the highest that was borne and the lowest that failed.
//!
//! One failure may be the machine's noise, so a rate fails only when it fails twice in a row.

use super::record::Tally;
use crate::scenario::Search;
use std::time::Duration;

/// Most probes of one search: with a factor of 1.05 over three powers of ten, and the halving.
const PROBES_MAX: usize = 200;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Between two rates close enough.
    Found,
    /// The highest rate allowed is borne.
    RateMaxReached,
    /// The generator could not make a higher rate.
    GeneratorLimited,
    /// It was stopped.
    Stopped,
}

impl Ended {
    /// As in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::RateMaxReached => "rate_max_reached",
            Self::GeneratorLimited => "generator_limited",
            Self::Stopped => "stopped",
        }
    }
}

/// What one probe showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Every condition held.
    Borne,
    /// One did not.
    Failed,
    /// One did not, and the generator had no headroom.
    Limited,
}

/// See the module.
#[derive(Debug)]
pub struct Searcher {
    plan: Search,
    /// The highest rate that was borne; zero before any was.
    borne: f64,
    failed: Option<f64>,
    /// The next probe's rate, and whether it is a second try.
    next: f64,
    again: bool,
    probes: usize,
    ended: Option<Ended>,
}

impl Searcher {
    /// At its beginning.
    pub fn new(plan: Search) -> Self {
        Self {
            borne: 0.0,
            failed: None,
            next: plan.rate_min,
            again: false,
            probes: 0,
            ended: None,
            plan,
        }
    }

    /// The rate to probe next; none when the search is over.
    pub fn next(&self) -> Option<f64> {
        self.ended.is_none().then_some(self.next)
    }

    /// The highest rate that was borne.
    pub fn borne(&self) -> f64 {
        self.borne
    }

    /// How it ended; `Stopped` while it has not.
    pub fn ended(&self) -> Ended {
        self.ended.unwrap_or(Ended::Stopped)
    }

    /// Takes note of the probe of [`Searcher::next`].
    pub fn note(&mut self, probe: Probe) {
        let rate = self.next;
        self.probes += 1;
        match probe {
            Probe::Borne => self.borne = rate,
            Probe::Failed | Probe::Limited if !self.again => {
                self.again = true;
                return;
            }
            Probe::Failed => self.failed = Some(rate),
            Probe::Limited => {
                self.ended = Some(Ended::GeneratorLimited);
                return;
            }
        }
        self.again = false;
        self.next = match self.failed {
            None if rate >= self.plan.rate_max => {
                self.ended = Some(Ended::RateMaxReached);
                return;
            }
            None => (rate * self.plan.growth).min(self.plan.rate_max),
            Some(failed) if self.borne == 0.0 || failed - self.borne <= self.plan.precision * failed => {
                self.ended = Some(Ended::Found);
                return;
            }
            Some(failed) => f64::midpoint(self.borne, failed),
        };
        if self.probes >= PROBES_MAX {
            self.ended = Some(Ended::Found);
        }
    }
}

/// Whether a probe met every condition.
#[expect(clippy::cast_precision_loss, reason = "calls of one probe lie far below 2^53")]
pub fn bears(search: &Search, rate: f64, answered_per_s: f64, tally: &Tally) -> bool {
    let p99 = Duration::from_nanos(tally.latency.value_at_quantile(0.99));
    let failed = tally.failed() as f64;
    let share = failed / (tally.due as f64).max(1.0);
    tally.ok > 0
        && p99 <= search.p99_max
        && share <= search.errors_max
        && answered_per_s >= rate * search.achieved_min
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Search {
        Search {
            rate_min: 100.0,
            rate_max: 100_000.0,
            growth: 1.6,
            precision: 0.03,
            probe: Duration::from_secs(1),
            settle: Duration::ZERO,
            p99_max: Duration::from_millis(10),
            errors_max: 0.001,
            achieved_min: 0.98,
        }
    }

    fn search(plan: Search, mut target: impl FnMut(f64) -> Probe) -> (f64, Ended, usize) {
        let mut searcher = Searcher::new(plan);
        let mut probes = 0;
        while let Some(rate) = searcher.next() {
            searcher.note(target(rate));
            probes += 1;
        }
        (searcher.borne(), searcher.ended(), probes)
    }

    #[test]
    fn it_finds_where_a_target_gives_way() {
        for limit in [150.0, 7_777.0, 60_000.0] {
            let (borne, ended, probes) = search(plan(), |rate| {
                if rate <= limit {
                    Probe::Borne
                } else {
                    Probe::Failed
                }
            });
            assert!(borne <= limit && borne >= limit * 0.95, "{limit}: {borne}");
            assert_eq!(ended, Ended::Found);
            assert!(probes < 40, "{probes}");
        }
    }

    #[test]
    fn one_hiccup_does_not_end_it() {
        let mut hiccups = 3;
        let (borne, ..) = search(plan(), |rate| {
            if rate > 400.0 && hiccups > 0 && hiccups % 2 == 1 {
                hiccups -= 1;
                return Probe::Failed;
            }
            hiccups -= i32::from(hiccups > 0 && rate > 400.0);
            if rate <= 5_000.0 {
                Probe::Borne
            } else {
                Probe::Failed
            }
        });
        assert!(borne > 4_700.0, "{borne}");
    }

    #[test]
    fn it_knows_other_ends() {
        assert_eq!(search(plan(), |_| Probe::Borne).1, Ended::RateMaxReached);
        let (borne, ended, _) = search(plan(), |_| Probe::Failed);
        assert_eq!((borne, ended), (0.0, Ended::Found));
        let (borne, ended, _) = search(plan(), |rate| {
            if rate < 900.0 {
                Probe::Borne
            } else {
                Probe::Limited
            }
        });
        assert_eq!(ended, Ended::GeneratorLimited);
        assert!(borne > 0.0);
        assert_eq!(Searcher::new(plan()).ended(), Ended::Stopped);
    }
}
