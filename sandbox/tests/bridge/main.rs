//! Conversations over the bridge's socket with real child processes.

mod eras;
mod faults;
mod legacy;
mod modern;
mod own_process;
mod sse;
mod support;
