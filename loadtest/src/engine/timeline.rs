//! Seconds of all threads, put together.

use super::{
    meter::Strain,
    phase::Tick,
    record::{Counts, Second},
};
use crate::report::{model::Moment, progress::Brief};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A second of all threads.
#[derive(Debug)]
pub struct Whole {
    heard: usize,
    /// What came in it.
    pub second: Second,
    /// Since the phase began.
    pub counts: Vec<Counts>,
    /// Calls under way.
    pub in_flight: u64,
    /// Calls that wait.
    pub waiting: u64,
    /// Connections that stand.
    pub connections: u64,
    /// Of the worst off thread.
    pub strain: Strain,
}

/// See the module.
#[derive(Debug)]
pub struct Timeline {
    threads: usize,
    /// Seconds that not all threads have told of.
    pending: BTreeMap<u64, (Instant, Whole)>,
    moments: Vec<Moment>,
}

impl Timeline {
    /// Of so many threads.
    pub fn new(threads: usize) -> Self {
        Self {
            threads,
            pending: BTreeMap::new(),
            moments: Vec::new(),
        }
    }

    /// Adds one thread's second. When all have told of it: when it began, and what it was.
    pub fn hear(&mut self, tick: &Tick, measures_from: Instant) -> Option<(Instant, Whole)> {
        let at = tick.began + Duration::from_secs(tick.index);
        let (_, whole) = self.pending.entry(tick.index).or_insert_with(|| {
            let none = Whole {
                heard: 0,
                second: Second::new(),
                counts: vec![Counts::default(); tick.counts.len()],
                in_flight: 0,
                waiting: 0,
                connections: 0,
                strain: Strain::default(),
            };
            (at, none)
        });
        whole.heard += 1;
        whole.second.merge(&tick.second);
        for (all, own) in whole.counts.iter_mut().zip(&tick.counts) {
            all.merge(own);
        }
        whole.in_flight += tick.in_flight;
        whole.waiting += tick.waiting;
        whole.connections += tick.connections;
        whole.strain = whole.strain.worse(tick.strain);
        if whole.heard < self.threads {
            return None;
        }
        let (at, whole) = self.pending.remove(&tick.index)?;
        self.moments.push(moment(at, &whole, measures_from));
        Some((at, whole))
    }

    /// The phase is over: no more is heard of the seconds that some threads did not have.
    pub fn flush(&mut self, measures_from: Instant) {
        for (at, whole) in std::mem::take(&mut self.pending).into_values() {
            self.moments.push(moment(at, &whole, measures_from));
        }
    }

    /// As a report has it.
    pub fn into_moments(self) -> Vec<Moment> {
        self.moments
    }
}

fn moment(at: Instant, whole: &Whole, measures_from: Instant) -> Moment {
    let brief = Brief::of(&whole.second.latency);
    Moment {
        at_s: seconds_between(measures_from, at),
        due: whole.second.due,
        ok: whole.second.ok,
        failed: whole.second.failed,
        p50: brief.p50,
        p99: brief.p99,
        max: brief.max,
        in_flight: whole.in_flight + whole.waiting,
        connections: whole.connections,
    }
}

/// From one moment to another, negative when that lies before it.
pub fn seconds_between(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(after) => after.as_secs_f64(),
        None => -from.duration_since(to).as_secs_f64(),
    }
}
