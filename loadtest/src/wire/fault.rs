//! Why a call got no answer.
//!
//! A fault is about the connection and the protocol, never about what an answer says: an answer with status 503 is
//! an answer. Texts are for people and say where; the kind's key is what reports count by.

use std::{borrow::Cow, fmt, io};

/// What went wrong, coarsely; [`FaultKind::key`] is the key in a report's `errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No TCP connection in time, or refused.
    Connect,
    /// The TLS handshake failed, or a record was bad.
    Tls,
    /// The answer was not there in the time allowed.
    Timeout,
    /// The peer reset the connection or the stream.
    Reset,
    /// The peer closed the connection before the answer was complete.
    Closed,
    /// The peer said that it did nothing with the call (HTTP/2 REFUSED_STREAM, or GOAWAY before it).
    Refused,
    /// What came is not HTTP as it should be, or beyond a bound.
    Protocol,
}

impl FaultKind {
    /// The key in a report.
    pub fn key(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
        }
    }
}

/// A call that got no answer, or a connection that could not be opened.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Of which kind.
    pub kind: FaultKind,
    /// What happened, for people.
    pub text: Cow<'static, str>,
    /// The connection had been idle and the peer had given it up: nothing of an answer came. A client would send
    /// the call again on a fresh connection.
    pub stale: bool,
}

impl Fault {
    /// A fault.
    pub fn new(kind: FaultKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            text: text.into(),
            stale: false,
        }
    }

    /// The key in a report.
    pub fn key(&self) -> &'static str {
        self.kind.key()
    }

    /// Same, but the call may be sent again (see [`Fault::stale`]).
    pub(super) fn stale(mut self) -> Self {
        self.stale = true;
        self
    }

    /// A failed read or write; `doing` says which.
    pub(super) fn of_io(doing: &'static str, error: &io::Error) -> Self {
        let kind = of_io_kind(error);
        Self::new(kind, format!("{doing}: {error}"))
    }

    pub(super) fn protocol(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FaultKind::Protocol, text)
    }

    pub(super) fn closed(text: &'static str) -> Self {
        Self::new(FaultKind::Closed, text)
    }
}

/// What a failed read or write of the stream below means.
pub(super) fn of_io_kind(error: &io::Error) -> FaultKind {
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some()) {
        return FaultKind::Tls;
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            FaultKind::Reset
        }
        io::ErrorKind::TimedOut => FaultKind::Timeout,
        _ => FaultKind::Closed,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key(), self.text)
    }
}

impl std::error::Error for Fault {}

/// Why an exchange ended before its answer was complete: a fault, or by the caller's own wish.
#[derive(Debug)]
pub(super) enum Halt {
    Fault(Fault),
    Abandoned,
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
