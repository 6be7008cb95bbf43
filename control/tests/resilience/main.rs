//! What the gateway does when things around it fail, through the real program.
//!
//! | file | what happens while calls are under way |
//! |---|---|
//! | `kill` | local servers are killed with SIGKILL |
//! | `restart` | remote servers of each era go away and come back, some without their sessions |
//! | `reload` | the configuration changes, breaks and is mended; keys come and go |
//! | `drain` | the gateway is told to stop, once and twice |
//! | `churn` | a thousand sessions, streams and processes come and go; what is left is counted |
//! | `slow` | clients hold streams and large answers that they do not read |
//!
//! Common to all: `gateway` runs the program, `client` is an agent of either era on plain sockets, `load` has many
//! of them call at once and keeps what became of every call, `upstream` is a server that counts what it executed.
//! No call may end otherwise than with its own answer or with an error that says what failed.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

#[path = "../support/mod.rs"]
mod support;

mod churn;
mod client;
mod drain;
mod gateway;
mod kill;
mod load;
mod reload;
mod restart;
mod slow;
mod upstream;

use std::time::{Duration, Instant};

/// Nothing here takes this long unless it hangs; a test that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that tells nobody of its changes.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `found` gives something.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(LOOK);
    }
}

/// Waits until something is so.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    eventually(what, || is().then_some(()));
}
