//! Every format that crosses a process boundary.
//!
//! Invariants: no I/O, no clock, and any input gives a value or an error, never a panic.

pub mod chunked;
pub mod header_value;
pub mod http;
pub mod http1;
pub mod json;
pub mod key;
pub mod revision;
pub mod rpc;
pub mod snapshot;
pub mod sse;
