//! What a run leaves behind, and what it shows on the way.
//!
//! `model` is the report itself and `progress` the run's state while it goes on: the two seams to the engine.
//! `latency` turns the engine's histograms into the report's figures and back.

pub mod latency;
pub mod model;
pub mod progress;
