//! The bridge: one local server, presented as Streamable HTTP on a Unix socket.
//!
//! ```text
//! HTTP clients ─► listener ─► serve ─┬─► modern ─┐                      ┌─ stdio: a local process
//!                                    └─► legacy ─┴─► peer ◄─► duplex ◄──┤
//!                                         │           ▲                 └─ sse: a legacy HTTP+SSE server
//!                                       session     calls
//! ```
//!
//! [`server`] decides what runs when; [`handshake`] finds out the era; [`peer`] routes messages; [`reply`] turns
//! them into HTTP. Messages are never written anew: [`message`] replaces ids and tokens in the bytes as they came.

#![expect(
    clippy::result_large_err,
    reason = "the error is the answer, built once and sent"
)]

mod calls;
mod duplex;
mod handshake;
mod legacy;
pub(crate) mod listener;
mod message;
mod modern;
mod peer;
mod reply;
mod serve;
pub(crate) mod server;
mod session;
mod sse;
mod stdio;
