//! When calls are due: the `[load]` table.

use super::{table::Section, values};
use std::time::Duration;

/// Fastest schedule that is taken: a thread reaches a tenth of it.
const RATE_MAX: f64 = 10e6;
/// Most calls at once in a closed loop; more than [`super::CONNECTIONS_MAX`] times a few streams helps no one.
const CONCURRENCY_MAX: u64 = 1_000_000;
const STEPS_MAX: usize = 1_000;

/// The load, in full.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Calls are due by a schedule, whatever becomes of those before them.
    Open {
        /// How they are spaced.
        arrivals: Arrivals,
        /// Calls of this time, at the first step's rate, are not counted.
        warmup: Duration,
        /// One after another.
        steps: Vec<Step>,
    },
    /// The schedule is raised until the target cannot follow.
    Search {
        /// How they are spaced.
        arrivals: Arrivals,
        /// Once before the first probe, at its rate.
        warmup: Duration,
        /// How to search.
        search: Search,
    },
    /// So many callers, each of whom waits for its answer before it calls again.
    Closed {
        /// How many.
        concurrency: usize,
        /// How long each pauses between two calls.
        think: Duration,
        /// Not counted.
        warmup: Duration,
        /// Counted.
        duration: Duration,
    },
}

/// How calls of an open load are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    Even,
    /// As independent callers would: exponential gaps.
    Poisson,
}

/// A stretch of an open load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Calls a second, reached at the end of the ramp.
    pub rate: f64,
    /// The whole step.
    pub duration: Duration,
    /// Its beginning, in which the rate goes evenly from the step before (from zero in the first) to `rate`.
    pub ramp: Duration,
}

/// A search for the highest rate that is borne.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The first probe's.
    pub rate_min: f64,
    /// Never beyond.
    pub rate_max: f64,
    /// Each probe's rate over the one before, until one fails.
    pub growth: f64,
    /// The search ends when the failing rate is so little above the borne one (a share).
    pub precision: f64,
    /// Measured, at each rate.
    pub probe: Duration,
    /// Before that, at the same rate, not counted.
    pub settle: Duration,
    /// A rate is borne while the latency's 99th percentile is at most this.
    pub p99_max: Duration,
    /// And the share of failed calls at most this.
    pub errors_max: f64,
    /// And answers come at this share of the rate, at least.
    pub achieved_min: f64,
}

impl Load {
    /// The time measured, where it is known beforehand.
    pub fn measured(&self) -> Option<Duration> {
        match self {
            Self::Open { steps, .. } => Some(steps.iter().map(|step| step.duration).sum()),
            Self::Closed { duration, .. } => Some(*duration),
            Self::Search { .. } => None,
        }
    }

    /// The time not counted at the beginning.
    pub fn warmup(&self) -> Duration {
        match self {
            Self::Open { warmup, .. } | Self::Search { warmup, .. } | Self::Closed { warmup, .. } => *warmup,
        }
    }

    /// Reads `[load]`; `None` after a finding that leaves nothing to run.
    pub(super) fn read(section: Section<'_, '_>) -> Option<Self> {
        let kinds = ["rate", "step", "search", "concurrency"];
        let given: Vec<&str> = kinds.into_iter().filter(|key| section.has(key)).collect();
        let warmup = section.duration("warmup").unwrap_or(Duration::from_secs(1));
        let duration = section.duration("duration");
        if duration.is_some_and(|time| time.is_zero()) {
            section.bad("duration", "must be above zero");
        }
        let measured = duration.unwrap_or(Duration::from_secs(10));
        let arrivals = match section.string("arrivals").as_deref() {
            None | Some("even") => Arrivals::Even,
            Some("poisson") => Arrivals::Poisson,
            Some(_) => {
                section.bad("arrivals", "must be \"even\" or \"poisson\"");
                Arrivals::Even
            }
        };
        let think = section.duration("think");
        let load = match given.as_slice() {
            ["rate"] => section.positive("rate").map(|rate| Self::Open {
                arrivals,
                warmup,
                steps: vec![Step {
                    rate,
                    duration: measured,
                    ramp: Duration::ZERO,
                }],
            }),
            ["step"] => {
                let steps: Vec<Step> = section
                    .sections("step")
                    .into_iter()
                    .filter_map(read_step)
                    .collect();
                if steps.is_empty() || steps.len() > STEPS_MAX {
                    section.bad(
                        "step",
                        &format!("must be given once at least, and {STEPS_MAX} times at most"),
                    );
                    return None;
                }
                Some(Self::Open {
                    arrivals,
                    warmup,
                    steps,
                })
            }
            ["search"] => section.section("search").map(|search| Self::Search {
                arrivals,
                warmup,
                search: read_search(search),
            }),
            ["concurrency"] => section
                .integer("concurrency", 1..CONCURRENCY_MAX + 1)
                .map(|n| Self::Closed {
                    concurrency: usize::try_from(n).unwrap_or(usize::MAX),
                    think: think.unwrap_or_default(),
                    warmup,
                    duration: measured,
                }),
            _ => {
                section.wrong(
                    "needs one of `rate`, `[[load.step]]`, `[load.search]` (open loop) and `concurrency` (closed loop), \
                     and only one",
                );
                None
            }
        };
        let closed = matches!(load, Some(Self::Closed { .. }));
        for (key, misplaced, belongs) in [
            ("think", !closed, "`concurrency`"),
            ("arrivals", closed, "`rate`, `step` or `search`"),
            (
                "duration",
                matches!(given.as_slice(), ["step" | "search"]),
                "`rate` or `concurrency`; steps and probes have their own",
            ),
        ] {
            if load.is_some() && misplaced && section.has(key) {
                section.bad(key, &format!("belongs to {belongs}"));
            }
        }
        for rate in load.iter().flat_map(Self::rates) {
            if rate > RATE_MAX {
                section.wrong(&format!("asks for {rate} calls/s; {RATE_MAX} is the most"));
            }
        }
        section.finish();
        load
    }

    fn rates(&self) -> Vec<f64> {
        match self {
            Self::Open { steps, .. } => steps.iter().map(|step| step.rate).collect(),
            Self::Search { search, .. } => vec![search.rate_min, search.rate_max],
            Self::Closed { .. } => Vec::new(),
        }
    }
}

fn read_step(section: Section<'_, '_>) -> Option<Step> {
    let rate = section.positive("rate");
    let duration = section.duration("duration");
    let ramp = section.duration("ramp").unwrap_or_default();
    if !section.has("rate") || !section.has("duration") {
        section.wrong("needs `rate` and `duration`");
    }
    if duration.is_some_and(|time| time.is_zero()) {
        section.bad("duration", "must be above zero");
    }
    if duration.is_some_and(|whole| ramp > whole) {
        section.bad("ramp", "is part of `duration` and cannot be longer");
    }
    section.finish();
    Some(Step {
        rate: rate?,
        duration: duration?,
        ramp,
    })
}

fn read_search(section: Section<'_, '_>) -> Search {
    let search = Search {
        rate_min: section.positive("rate_min").unwrap_or(100.0),
        rate_max: section.positive("rate_max").unwrap_or(1e6),
        growth: section.positive("growth").unwrap_or(1.6),
        precision: section.share("precision").unwrap_or(0.03),
        probe: section.duration("probe").unwrap_or(Duration::from_secs(5)),
        settle: section.duration("settle").unwrap_or(Duration::from_secs(1)),
        p99_max: section.duration("p99_max").unwrap_or(Duration::from_millis(10)),
        errors_max: section.share("errors_max").unwrap_or(0.001),
        achieved_min: section.share("achieved_min").unwrap_or(0.98),
    };
    if search.rate_min > search.rate_max {
        section.bad("rate_max", "must not lie below `rate_min`");
    }
    if search.growth < 1.05 {
        section.bad("growth", "must be 1.05 or more, or the search takes all day");
    }
    if search.precision < 0.001 {
        section.bad("precision", "finer than 0.1% is lost in the noise of any machine");
    }
    if search.probe < Duration::from_millis(200) {
        section.bad(
            "probe",
            &format!(
                "{} is too short to see a percentile in",
                values::show(search.probe)
            ),
        );
    }
    section.finish();
    search
}
