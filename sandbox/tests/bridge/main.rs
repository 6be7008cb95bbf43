//! Conversations over the bridge's socket with real child processes.

mod modern;
mod support;
