//! The calls under way at one peer: whose they are, and where their answers go.
//!
//! A call is known to the peer under a number of ours, which is also its progress token and, for a listen, its
//! subscription id; so one look finds the call of any message that belongs to one. A [`Ticket`] is the client's end
//! of a call. Dropping it says "the client is gone": in the modern era that cancels the call, in the legacy era it
//! only marks it (specification 2025-11-25, "Sending Messages to the Server": a disconnect is no cancellation).

use super::session::Session;
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Instant,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// A call's number.
pub(crate) type CallId = u64;

/// The final message of a call.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The response, under the client's id.
    pub message: Bytes,
    /// Its error code, when it is an error.
    pub code: Option<i64>,
}

/// One call under way.
pub(crate) struct Call {
    /// The client's id, as JSON text.
    pub client_id: Bytes,
    /// The client's progress token, as JSON text.
    pub token: Option<Bytes>,
    /// The legacy session it belongs to.
    pub session: Option<Arc<Session>>,
    /// A resource this call subscribes its session to; undone when it fails.
    pub subscribes: Option<String>,
    /// The client asked for log messages.
    pub wants_log: bool,
    /// It is a `subscriptions/listen`.
    pub listens: bool,
    /// Messages before the answer.
    pub notes: mpsc::Sender<Bytes>,
    /// The answer.
    pub done: oneshot::Sender<Answer>,
    /// When it began.
    pub since: Instant,
    /// When its client went away.
    pub detached: Option<Instant>,
    /// Its place among the calls of the server, held as long as the call is.
    pub _place: OwnedSemaphorePermit,
}

/// All calls of one peer.
#[derive(Default)]
pub(crate) struct Calls {
    next: CallId,
    under_way: HashMap<CallId, Call>,
    /// Set once the peer has ended; nothing is added any more.
    closed: bool,
}

impl Calls {
    /// An empty table whose first number is `first`.
    pub(crate) fn starting_at(first: CallId) -> Self {
        Self {
            next: first,
            ..Self::default()
        }
    }

    /// A number for a request of our own, whose answer nobody waits for.
    pub(crate) fn number(&mut self) -> CallId {
        let id = self.next;
        self.next += 1;
        id
    }

    /// Adds a call; gives it back when the peer has ended.
    #[expect(clippy::result_large_err, reason = "the error is the argument")]
    pub(crate) fn add(&mut self, call: Call) -> Result<CallId, Call> {
        if self.closed {
            return Err(call);
        }
        let id = self.number();
        self.under_way.insert(id, call);
        Ok(id)
    }

    /// Takes a call out.
    pub(crate) fn take(&mut self, id: CallId) -> Option<Call> {
        self.under_way.remove(&id)
    }

    /// A call under way.
    pub(crate) fn get(&self, id: CallId) -> Option<&Call> {
        self.under_way.get(&id)
    }

    /// Marks a call as one whose client is gone.
    pub(crate) fn detach(&mut self, id: CallId, now: Instant) {
        if let Some(call) = self.under_way.get_mut(&id) {
            call.detached = Some(now);
        }
    }

    /// A session's call by the id its client gave it.
    pub(crate) fn find(&self, session: &Arc<Session>, client_id: &[u8]) -> Option<CallId> {
        let matches = |call: &Call| {
            call.client_id == client_id && call.session.as_ref().is_some_and(|s| Arc::ptr_eq(s, session))
        };
        self.under_way
            .iter()
            .find(|(_, call)| matches(call))
            .map(|(id, _)| *id)
    }

    /// The calls that fit, oldest first.
    pub(crate) fn such(&self, fits: impl Fn(&Call) -> bool) -> Vec<CallId> {
        let mut ids: Vec<CallId> = self
            .under_way
            .iter()
            .filter(|(_, call)| fits(call))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Closes the table and takes out every call.
    pub(crate) fn close(&mut self) -> Vec<Call> {
        self.closed = true;
        self.under_way.drain().map(|(_, call)| call).collect()
    }

    /// Number of calls under way.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }
}

/// What happens to a call when its client goes away.
pub(crate) trait Abandon: Send + Sync {
    /// The client of this call is gone.
    fn abandon(&self, id: CallId);
}

/// The client's end of a call.
pub(crate) struct Ticket {
    /// The call's number.
    pub id: CallId,
    /// Messages before the answer.
    pub notes: mpsc::Receiver<Bytes>,
    /// The answer; broken off when the call ends without one.
    pub done: oneshot::Receiver<Answer>,
    /// Told when this is dropped.
    pub abandoned: Weak<dyn Abandon>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(owner) = self.abandoned.upgrade() {
            owner.abandon(self.id);
        }
    }
}
