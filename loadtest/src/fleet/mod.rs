//! Several generators that act as one: `run --generators a:7878,b:7878` drives `generator --listen` processes.
//!
//! ```text
//! coordinator                          generator
//!     │◄──── hello: version, nonce ────────│     greeting: both prove that they know the token
//!     │───── claim: nonce, proof ─────────►│     and neither says it
//!     │◄──── welcome: proof ───────────────│
//!     │───── prepare: its part ───────────►│     scenario and files; it connects and opens sessions
//!     │◄──── progress, about every second ─│     (from here on; silence means that it is lost)
//!     │◄──── ready ────────────────────────│
//!     │───── ping ×n, start in so long ───►│     no clock is compared with another machine's
//!     │◄──── done: its report ─────────────│     or failed: why
//! ```
//!
//! Each generator runs its part of the load (`part`) as a run of its own; the reports are merged (`merge`) with their
//! whole histograms, so percentiles are those of all calls together. A generator that is lost or fails ends the run
//! with its name; the others stop when their connection to the coordinator closes. A search is a run for each probe
//! (`search`).
//!
//! The token keeps strangers from using a generator. It does not hide what is said: scenarios may hold credentials, so
//! the network between coordinator and generators must be one's own (or a tunnel).

mod coordinator;
mod frame;
mod generator;
mod greeting;
mod live;
mod merge;
mod message;
mod part;
mod search;
#[cfg(test)]
mod tests;
mod token;

pub use coordinator::{FleetError, Orders, coordinate};
pub use generator::{Engine, Hooks, serve};
pub use merge::{MergeError, merge};
pub use part::{File, Part, parcel};
pub use search::lead;
pub use token::{BadToken, Token};

use std::time::Duration;

/// Both sides speak this version or do not speak at all. It moves with every change to what is said, the report's
/// format included.
pub const PROTOCOL: u32 = 1;
/// Most generators of one run; the coordinator reads a report of each into memory.
pub const GENERATORS_MAX: usize = 64;
/// Largest message before the greeting is over: anybody may say it.
const GREETING_BYTES_MAX: usize = 4 * 1024;
/// Largest message after it: a scenario with its files, or a report of 256 operations and 1,000 stages with three
/// histograms each, a few KiB apiece.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Connections whose greeting is not over, beyond which new ones wait to be accepted.
const GREETINGS_MAX: usize = 16;
/// To connect, and again to greet.
const GREETING_MAX: Duration = Duration::from_secs(5);
/// How often a generator tells how it stands.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// A generator that has said nothing for so long is lost. It speaks every second, from a thread of its own, so only a
/// machine or a network that has stopped is silent for this long.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A write that takes longer than this goes nowhere.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// From the order to start to the start: many round trips on any network.
const START_LEAD: Duration = Duration::from_millis(500);
/// Round trips measured to each generator; the shortest counts.
const PINGS: u32 = 5;
/// After an order to stop, generators report within this time or are given up.
const STOP_MAX: Duration = Duration::from_secs(30);
