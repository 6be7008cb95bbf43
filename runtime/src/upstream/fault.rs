//! What can go wrong between us and a server, and the one thing a caller must know about it: can the server
//! have acted on the request?

use std::{fmt, io};

/// A failed exchange.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// Whether a byte of the request can have reached the server's logic. When false, sending the request again
    /// cannot make a tool run twice.
    pub sent: bool,
    /// For people; holds no secret and no body.
    pub detail: String,
}

/// What happened, by phase and by who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The name gave no address.
    Resolve,
    /// No address accepted a connection.
    Connect,
    /// Not connected in time: name, TCP and TLS together.
    ConnectTimeout,
    /// The TLS handshake failed, or the server agreed to no protocol we speak.
    Tls,
    /// No response head in time.
    HeaderTimeout,
    /// Nothing came, or nothing was taken, for too long.
    IdleTimeout,
    /// The call as a whole took too long.
    TotalTimeout,
    /// The connection or stream ended before its answer did.
    Reset,
    /// The server's bytes are not the protocol; or the request cannot be put into it (`sent` is then false).
    Protocol,
    /// Head or body above its bound.
    TooLarge,
    /// Every connection and every place in the queue is taken.
    PoolFull,
}

impl Fault {
    /// A fault before any byte of the request was written.
    pub(super) fn unsent(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            sent: false,
            detail: detail.into(),
        }
    }

    /// A fault after the server may have seen the request.
    pub(super) fn sent(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            sent: true,
            detail: detail.into(),
        }
    }

    /// A broken connection, in the kernel's or the TLS layer's words. Bytes that are not TLS are the peer's
    /// mistake, not a reset.
    pub(super) fn broken(during: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::InvalidData => FaultKind::Protocol,
            io::ErrorKind::TimedOut => FaultKind::IdleTimeout,
            _ => FaultKind::Reset,
        };
        Self::sent(kind, format!("{during}: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.detail)
    }
}

impl std::error::Error for Fault {}
