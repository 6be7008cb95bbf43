//! The deadlines of one call, and awaiting under them.

use super::fault::{Fault, FaultKind};
use crate::io;
use futures_util::FutureExt;
use ringway_core::limits::STREAM_SILENCE_MAX_MS;
use ringway_proto::snapshot::Timeouts;
use std::{
    future::Future,
    time::{Duration, Instant},
};

/// What is left of one call's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// When the call began, or last had to wait for something: as good as the present moment for what follows at
    /// once, and no question to the kernel.
    pub now: Instant,
    /// Name, connection, TLS, and waiting for a place in the pool.
    pub connect: Duration,
    /// From the last request byte to the response head; for long-lived requests the idle deadline.
    pub header: Duration,
    /// Between two pieces, either way; for long-lived requests the longest silence of a stream.
    pub idle: Duration,
    /// The end of the call; none for long-lived ones.
    pub total: Option<Instant>,
}

impl Clock {
    pub(super) fn start(timeouts: &Timeouts, long_lived: bool) -> Self {
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        let now = Instant::now();
        Self {
            now,
            connect: millis(timeouts.connect_ms),
            // A stream's head may come with its first event.
            header: millis(if long_lived {
                timeouts.idle_ms
            } else {
                timeouts.header_ms
            }),
            // Between two notifications days may pass; that the peer is alive, keep-alive probes tell.
            idle: millis(if long_lived {
                STREAM_SILENCE_MAX_MS
            } else {
                timeouts.idle_ms
            }),
            total: (!long_lived).then(|| now + millis(timeouts.total_ms)),
        }
    }

    /// The same clock after a wait.
    pub(super) fn later(&self) -> Self {
        Self {
            now: Instant::now(),
            ..*self
        }
    }

    /// When the first bytes of a request must have left.
    pub(super) fn write(&self) -> End {
        self.end_from(self.now, self.idle, FaultKind::IdleTimeout)
    }

    /// When a wait of `limit` that begins now must end, and what it means if it does.
    pub(super) fn end(&self, limit: Duration, kind: FaultKind) -> End {
        self.end_from(Instant::now(), limit, kind)
    }

    /// The same for a wait that began at `since`.
    pub(super) fn end_from(&self, since: Instant, limit: Duration, kind: FaultKind) -> End {
        let at = since + limit;
        match self.total {
            Some(total) if total < at => End {
                at: total,
                kind: FaultKind::TotalTimeout,
            },
            _ => End { at, kind },
        }
    }
}

/// The end of a wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub at: Instant,
    pub kind: FaultKind,
}

impl End {
    /// Awaits `future` until the end. What `future` owns is dropped then.
    pub(super) fn bound<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, FaultKind>> {
        let kind = self.kind;
        io::timeout_at(self.at, future).map(move |done| done.map_err(|_| kind))
    }

    /// The fault of a wait that reached its end.
    pub(super) fn fault(kind: FaultKind, sent: bool, waiting_for: &str) -> Fault {
        Fault {
            kind,
            sent,
            detail: format!("no {waiting_for} in time"),
        }
    }
}
