//! What must hold for any bytes whatsoever, one function per fuzz target.
//!
//! They are plain functions that panic when a property is broken, and use nothing of the fuzzer: the fuzz targets
//! call them with what the fuzzer found, `proto/tests/fuzz_smoke.rs` with every file of the checked-in corpus, and
//! the property tests with what they generate.

#![allow(clippy::expect_used, reason = "a panic here is the report")]

#[path = "http1.rs"]
mod http1_bodies;
#[path = "json.rs"]
mod json_bodies;
#[path = "streams.rs"]
mod stream_bodies;
#[path = "witness.rs"]
mod witness;

pub use http1_bodies::{http1_request, http1_response};
pub use json_bodies::{json_check, rpc_scan, snapshot_document, splice};
pub use stream_bodies::{chunked, header_value, sse};

/// A property: a panic says that it does not hold for these bytes.
pub type Body = fn(&[u8]);

/// Every target by name; corpus folders have the same names.
pub const TARGETS: [(&str, Body); 9] = [
    ("json_check", json_check),
    ("rpc_scan", rpc_scan),
    ("splice", splice),
    ("http1_request", http1_request),
    ("http1_response", http1_response),
    ("chunked", chunked),
    ("sse", sse),
    ("header_value", header_value),
    ("snapshot_document", snapshot_document),
];
