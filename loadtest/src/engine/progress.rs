//! What a run says of itself while it runs, for the live terminal. The last word wins: a slow reader misses
//! moments, never holds the run up.

use crate::report::model::Moment;
use tokio::sync::watch;

/// How the run stands; published a few times a second.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Seconds since measuring began; negative in warm-up.
    pub at_s: f64,
    /// Seconds to be measured in all, when that is known beforehand (a search's is not).
    pub of_s: Option<f64>,
    /// The present stage or probe, for people: `2000/s`, `64 connections`.
    pub load: String,
    /// Calls a second the schedule asks for now; none in a closed loop.
    pub offered_per_s: Option<f64>,
    /// The last whole second.
    pub moment: Moment,
    /// Answered as they should be, since measuring began.
    pub ok: u64,
    /// Failed, since measuring began.
    pub failed: u64,
    /// The kinds of failure seen most, since measuring began: kind and count, most frequent first.
    pub errors: Vec<(String, u64)>,
    /// CPU time of the busiest generator thread over the last second, 0 to 1.
    pub busiest_thread: f64,
    /// The generator's own lateness at its 99th percentile over the last second, microseconds.
    pub lateness_p99_us: f64,
    /// The run is over; nothing follows.
    pub done: bool,
}

/// What a reader of progress holds.
pub type ProgressFeed = watch::Receiver<Progress>;
