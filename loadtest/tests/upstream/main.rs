//! The built-in upstream, over real sockets.
//!
//! | file | what is talked about |
//! |---|---|
//! | `eras` | whole flows of both eras, and what each refuses |
//! | `http1` | the connection: pipelining, chunked bodies, large results, TLS |
//! | `http2` | the same over HTTP/2, and its own faults |
//! | `faults` | every fault, once, as a client sees it |
//! | `streams` | progress, held streams, cancellation |
//! | `admin` | the control endpoint |
//!
//! `client` is a plain blocking client that shows every byte it got.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic in a test is its report"
)]

mod admin;
mod client;
mod eras;
mod faults;
mod http1;
mod http2;
mod streams;

use ringway_loadtest::upstream::{self, Handle, Options};

/// A server with these options on a free port.
pub fn up(options: Options) -> Handle {
    upstream::serve(options).expect("the upstream starts")
}

/// Waits until something is so; nothing here takes a minute unless it hangs.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + client::PATIENCE;
    while !is() {
        assert!(
            std::time::Instant::now() < deadline,
            "{what}: not within {:?}",
            client::PATIENCE
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
