//! Writes a scenario from what a server says of itself.
//!
//! The server's lists are read as any client would ([`look`]); arguments are made from each tool's `inputSchema`
//! ([`arguments`]); what comes out is a scenario for people to prune ([`write`]). Only what is said or evidently meant
//! to be harmless is called; everything else stands there commented out, because a load test calls thousands of times.

mod arguments;
mod look;
mod write;

pub use look::{Found, look};
pub use write::{Standing, check, head, standing, write};
