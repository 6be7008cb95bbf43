//! Conversations over the bridge's socket with real child processes.
#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod eras;
mod faults;
mod legacy;
mod modern;
mod own_process;
mod sse;
mod support;
