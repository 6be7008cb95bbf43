//! What a run leaves behind, and what it shows on the way.
//!
//! `model` is the report itself and `progress` the run's state while it goes on: the two seams to the engine.
//! `latency` turns the engine's histograms into the report's figures and back, `outcome` adds outcomes up, `file`
//! reads and writes. `thresholds` judges, `compare` sets runs side by side, and `terminal`, `markdown` and `html` show;
//! `figures` spells numbers the same way in all three. `push` tells monitoring systems of the run; `showing` is all of
//! it as the `run` command uses it.

pub mod compare;
pub mod figures;
pub mod file;
pub mod html;
pub mod latency;
pub mod markdown;
pub mod model;
pub mod outcome;
pub mod progress;
pub mod push;
pub mod showing;
pub mod terminal;
pub mod thresholds;
