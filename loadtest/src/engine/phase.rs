//! What the conductor says to a thread, and what a thread says back.

use super::{
    meter::{Spent, Strain},
    record::{Counts, Record, Second},
    schedule::Segment,
    standing::Held,
};
use crate::scenario::Arrivals;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// A stretch of load that all threads run at once.
#[derive(Clone, Debug)]
pub struct Phase {
    /// When it begins.
    pub began: Instant,
    /// What is to be called when.
    pub segments: Vec<Segment>,
    /// How.
    pub kind: PhaseKind,
}

/// How a phase's calls come about.
#[derive(Clone, Copy, Debug)]
pub enum PhaseKind {
    /// By schedule.
    Open(Arrivals),
    /// By so many callers over all threads, with a pause between two calls.
    Closed(usize, Duration),
}

impl Phase {
    /// The time of each stage.
    pub fn windows(&self) -> Vec<(usize, Instant, Instant)> {
        let mut at = self.began;
        let mut windows = Vec::new();
        for segment in &self.segments {
            let end = at + segment.length;
            match (segment.stage, windows.last_mut()) {
                // A ramp and the plateau behind it are one stage.
                (Some(stage), Some((last, _, until))) if *last == stage => *until = end,
                (Some(stage), _) => windows.push((stage, at, end)),
                (None, _) => {}
            }
            at = end;
        }
        windows
    }

    /// When it ends.
    pub fn end(&self) -> Instant {
        self.began
            + self
                .segments
                .iter()
                .map(|segment| segment.length)
                .sum::<Duration>()
    }
}

/// What a thread tells.
#[derive(Debug)]
pub enum Word {
    /// Connected and greeted, as far as that went; the error is the first of those that failed.
    Ready {
        /// Connections that stand.
        connected: usize,
        /// The first failure.
        failure: Option<String>,
    },
    /// A second has passed.
    Tick(Box<Tick>),
    /// A phase is over.
    Done(Box<Done>),
    /// What was held open beside the calls, at the end.
    Held(Box<Held>),
    /// It cannot go on.
    Broken(String),
}

/// One second of one thread.
#[derive(Debug)]
pub struct Tick {
    /// Of the phase that began here.
    pub began: Instant,
    /// The how-manieth second of it.
    pub index: u64,
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
    /// Of this second.
    pub strain: Strain,
}

/// What became of a phase on one thread.
#[derive(Debug)]
pub struct Done {
    /// Which thread.
    pub thread: usize,
    /// Everything counted.
    pub record: Record,
    /// While calls were counted.
    pub spent: Spent,
}

impl Done {
    /// Lateness of counted calls.
    pub fn lateness(&self) -> &Histogram<u64> {
        &self.record.lateness
    }
}
