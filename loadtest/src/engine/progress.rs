//! What a run says of itself while it runs. The last word wins: a slow reader misses moments, never holds the run up.
//!
//! The engine fills `report::progress::Progress`, which the terminal, the metrics listener and pushes read.

pub use crate::report::progress::{Brief, Buckets, OperationProgress, Phase, Progress};

/// What a reader of progress holds.
pub type ProgressFeed = tokio::sync::watch::Receiver<Progress>;
