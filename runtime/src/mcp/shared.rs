//! What the workers of one process share: the snapshot, keys, bounds, tables of atomics, and letter boxes.
//!
//! Nothing here is locked on a request's path (DESIGN invariant 8). A worker that needs another one writes it a
//! [`Letter`]; a letter that finds a full box is dropped, and each kind says below what that costs.

use super::{access::Lines, aside::Retired, view::Live};
use arc_swap::ArcSwap;
use bytes::Bytes;
use ringway_core::{limits::Limits, seal::Sealer};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, oneshot};

use super::{reply::Frame, stats::Stats, streams::ready::Pending};

/// Letters a worker has not read yet. Thousands wait only if the worker hangs; then dropping is right.
pub const LETTERS_MAX: usize = 4_096;

/// One per process.
pub struct Shared {
    /// The live snapshot with its compiled endpoints.
    pub live: Arc<ArcSwap<Live>>,
    /// Takes down what was live.
    pub retired: Retired,
    /// Seals session ids, request states and rewritten ids.
    pub sealer: Sealer,
    /// Bounds.
    pub limits: Limits,
    /// Tells this process from its replicas inside sealed texts; random at start.
    pub replica: u64,
    /// Sessions ended by DELETE.
    pub ended: EndedSessions,
    /// Set once drain has begun: new sessions and streams are refused, calls go on.
    pub draining: AtomicBool,
    /// Access lines on their way to the log.
    pub lines: Lines,
    /// Letter boxes by worker number.
    pub boxes: Vec<async_channel::Sender<Letter>>,
}

pub use ringway_core::session::SessionId;

/// What workers write each other.
#[derive(Debug)]
pub enum Letter {
    /// A new snapshot is live. Lost: streams learn of it with the next one.
    Published,
    /// A drain has begun. Lost: streams are cut at its deadline.
    Draining,
    /// The client cancelled a request of its session. Lost: the call runs to its end, as if the cancellation
    /// had come too late.
    Cancel {
        /// The client's session.
        session: SessionId,
        /// Raw JSON id of the request.
        id: Bytes,
        /// The whole notification, to be passed on.
        doc: Bytes,
    },
    /// The client answered a request the gateway had put to it. Lost: that request times out.
    Answered {
        /// The waiting call.
        call: u64,
        /// Which of its questions.
        key: String,
        /// The raw result, or `None` for an error.
        result: Option<Bytes>,
    },
    /// A modern client goes on with a parked call. Lost: the reply channel closes and the client is told.
    Resume {
        /// The parked call.
        call: u64,
        /// Raw JSON object of answers by key.
        responses: Bytes,
        /// Raw JSON id under which the client repeated its request.
        id: Bytes,
        /// Raw progress token of the repeated request.
        progress_token: Option<Bytes>,
        /// Where the rest of the call's messages goes.
        frames: mpsc::Sender<Frame>,
    },
    /// A session's leg was opened or healed. Lost: the other worker opens one of its own.
    Leg {
        /// The client's session.
        session: SessionId,
        /// The server's name: letters outlive snapshots, names do too.
        server: String,
        /// The new leg; `None` forgets it.
        leg: Option<super::outbound::Leg>,
    },
    /// A session's log level toward modern servers.
    LogLevel {
        /// The client's session.
        session: SessionId,
        /// The level's name.
        level: String,
        /// Let go once this worker knows.
        pending: Pending,
    },
    /// A session's interest in a resource of a modern server.
    Watch {
        /// The client's session.
        session: SessionId,
        /// The server's name.
        server: String,
        /// The server's own URI.
        uri: String,
        /// Subscribed or not any more.
        on: bool,
        /// Let go once that stands at the server.
        pending: Pending,
    },
    /// A session is over: forget what is known of it.
    Ended(SessionId),
    /// The admin endpoint wants this worker's numbers.
    Stats(oneshot::Sender<Stats>),
}

impl Shared {
    /// Writes to one worker.
    pub fn write(&self, worker: usize, letter: Letter) {
        if let Some(to) = self.boxes.get(worker)
            && to.try_send(letter).is_err()
        {
            tracing::warn!(worker, "a worker's letter box is full; it may be stalled");
        }
    }

    /// Writes to all workers, the caller's own included.
    pub fn write_all(&self, letter: impl Fn() -> Letter) {
        for worker in 0..self.boxes.len() {
            self.write(worker, letter());
        }
    }

    /// Whether drain has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Seconds since the epoch; sessions and keys expire by it.
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// Cells of [`EndedSessions`]: at 8 bytes each this is half a megabyte, and holds a day of ended sessions of a
/// large fleet before old ones are overwritten.
const ENDED_CELLS: usize = 1 << 16;

/// Which sessions were ended by DELETE, as a table of atomics that never grows.
///
/// A sealed session id stays valid until it expires, so an end has to be remembered. Each session has one cell,
/// chosen by half of its random id and marked with the other half. A later end may take the same cell; then the
/// earlier session would be honoured again, by its own principal only, with its upstream legs gone: harmless.
pub struct EndedSessions(Box<[AtomicU64]>);

impl Default for EndedSessions {
    fn default() -> Self {
        Self((0..ENDED_CELLS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl EndedSessions {
    fn cell(&self, id: &SessionId) -> Option<(&AtomicU64, u64)> {
        let (place, mark) = id.split_at(8);
        let place = u64::from_le_bytes(place.try_into().ok()?) as usize % ENDED_CELLS;
        // Zero marks an empty cell.
        let mark = u64::from_le_bytes(mark.try_into().ok()?) | 1;
        self.0.get(place).map(|cell| (cell, mark))
    }

    /// Remembers an end. Relaxed: the cell carries no other data with it.
    pub fn insert(&self, id: &SessionId) {
        if let Some((cell, mark)) = self.cell(id) {
            cell.store(mark, Ordering::Relaxed);
        }
    }

    /// Whether this session was ended.
    pub fn contains(&self, id: &SessionId) -> bool {
        self.cell(id)
            .is_some_and(|(cell, mark)| cell.load(Ordering::Relaxed) == mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_session_stays_ended_and_others_do_not() {
        let ended = EndedSessions::default();
        let (a, mut b) = ([7; 16], [7; 16]);
        b[15] = 8;
        assert!(!ended.contains(&a));
        ended.insert(&a);
        assert!(ended.contains(&a));
        assert!(!ended.contains(&b), "the same cell, another mark");
    }
}
