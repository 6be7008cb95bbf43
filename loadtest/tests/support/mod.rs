//! What several tests use.

pub mod sample;
