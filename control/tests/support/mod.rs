//! What the tests of whole programs share: running them, finding other people's, and asking them things.
//!
//! | module | holds |
//! |---|---|
//! | `process` | a child process whose output can be awaited, and that is gone when the test is |
//! | `gateway` | `ringway up` on free ports with a configuration and a state directory of its own |
//! | `peers` | Node, Python and the fixture package: where they are, and loud skipping where they are not |
//! | `suite` | the official conformance suite: running it, reading its checks, comparing two runs, baselines |
//! | `http` | one plain HTTP exchange, for probes |
//! | `counting` | processes and descriptors, from `/proc` |

#![allow(
    dead_code,
    reason = "every test file is a program of its own and uses a part of this"
)]

pub mod counting;
pub mod gateway;
pub mod http;
pub mod peers;
pub mod process;
pub mod suite;

use std::{io::Write, net::TcpListener, path::PathBuf};

/// A port that was free a moment ago, for programs that cannot be told to take any.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// `control/tests`.
pub fn tests_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Says something that a passing test shows too: the macros are captured, the stream is not.
pub fn say(text: impl std::fmt::Display) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "[{name}] {text}");
}
