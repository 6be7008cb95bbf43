//! Decides when each call starts, and keeps what happened to it.

pub mod progress;
