//! One server at the far end of a [`Duplex`], used by many clients at once.
//!
//! Outward, [`Peer::begin`] gives each call a number of ours, and clients' notifications and answers go as they are.
//! What comes back is the business of [`inward`].

mod inward;

use super::{
    calls::{Abandon, Answer, Call, CallId, Calls, Ticket},
    duplex::{Duplex, Link},
    handshake::Greeting,
    message,
    session::{Outbox, Session, Sessions},
};
use crate::limits::Limits;
use bytes::Bytes;
use ringway_proto::{revision::Era, rpc::Message};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::timeout,
};

/// Numbers below are the handshake's.
const FIRST_CALL: CallId = 16;

/// Who hears messages that belong to no call.
pub(crate) enum Audience {
    /// Nobody: the modern era ties every message to a request.
    Nobody,
    /// All sessions of a shared process.
    All(Arc<Sessions>),
    /// The one session whose process this is.
    One(Arc<Outbox>),
}

/// A call to begin.
pub(crate) struct Begin {
    pub doc: Bytes,
    pub message: Message,
    pub session: Option<Arc<Session>>,
    pub subscribes: Option<String>,
    /// Put in the place of the level asked for.
    pub level: Option<&'static str>,
    pub place: OwnedSemaphorePermit,
}

/// A running server.
pub(crate) struct Peer {
    /// The server's name.
    pub name: Arc<str>,
    /// What it said first.
    pub greeting: Greeting,
    /// What carries its messages.
    pub link: Link,
    /// When the handshake was finished.
    pub since: Instant,
    audience: Audience,
    outgoing: mpsc::Sender<Bytes>,
    calls: Mutex<Calls>,
    /// Its requests that a client has yet to answer: ids as JSON text.
    asked: Mutex<HashSet<Bytes>>,
    ended: watch::Sender<Option<Arc<str>>>,
    told_of_noise: AtomicBool,
    stopped: AtomicBool,
    limits: Arc<Limits>,
    this: Weak<Self>,
}

impl Peer {
    /// Takes over a channel after its handshake.
    pub(crate) fn start(
        name: Arc<str>,
        duplex: Duplex,
        greeting: Greeting,
        audience: Audience,
        limits: Arc<Limits>,
    ) -> Arc<Self> {
        let Duplex {
            outgoing,
            incoming,
            link,
        } = duplex;
        let peer = Arc::new_cyclic(|this| Self {
            name,
            greeting,
            link,
            since: Instant::now(),
            audience,
            outgoing,
            calls: Mutex::new(Calls::starting_at(FIRST_CALL)),
            asked: Mutex::default(),
            ended: watch::Sender::new(None),
            told_of_noise: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            limits,
            this: this.clone(),
        });
        tokio::spawn(inward::route(peer.clone(), incoming));
        peer
    }

    /// Whether it speaks the modern or the legacy era with us.
    pub(crate) fn era(&self) -> Era {
        self.greeting.era()
    }

    /// Whether it serves one session alone.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.audience, Audience::One(_))
    }

    /// Ends it on purpose; does not wait.
    pub(crate) fn stop(&self) {
        // Relaxed: read after the end has been announced through a channel.
        self.stopped.store(true, Ordering::Relaxed);
        self.link.stop();
    }

    /// Whether the end was on purpose.
    pub(crate) fn was_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether it can take calls.
    pub(crate) fn alive(&self) -> bool {
        self.ended.borrow().is_none() && !self.was_stopped()
    }

    /// Waits for its end; gives a sentence on how it was.
    pub(crate) async fn ended(&self) -> Arc<str> {
        match self.ended.subscribe().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(how)) => how.clone(),
            Ok(None) | Err(_) => Arc::from("ended"),
        }
    }

    /// Number of calls under way.
    pub(crate) fn calls_under_way(&self) -> usize {
        self.calls().len()
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, HashSet<Bytes>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a client's request. The error says how the server ended.
    pub(crate) async fn begin(&self, begin: Begin) -> Result<Ticket, Arc<str>> {
        let Begin {
            doc,
            message,
            session,
            subscribes,
            level,
            place,
        } = begin;
        let client_id = message
            .id
            .map(|id| Bytes::copy_from_slice(id.of(&doc)))
            .unwrap_or_default();
        let token = message::progress_token(&message).map(|token| Bytes::copy_from_slice(token.of(&doc)));
        let (notes, noted) = mpsc::channel(self.limits.call_queue_max);
        let (done, answered) = oneshot::channel();
        let call = Call {
            client_id,
            token,
            session,
            subscribes,
            wants_log: message.meta().is_some_and(|meta| meta.log_level.is_some()),
            listens: message.method(&doc) == Some("subscriptions/listen"),
            notes,
            done,
            since: Instant::now(),
            detached: None,
            _place: place,
        };
        let gone = || self.how_it_ended();
        let id = self.calls().add(call).map_err(|_| gone())?;
        let abandoned: Weak<dyn Abandon> = self.this.clone();
        let ticket = Ticket {
            id,
            notes: noted,
            done: answered,
            abandoned,
        };
        let outward = message::outward(&doc, &message, id, level).ok_or_else(gone)?;
        // Not sent: either the writer has stopped, or the server does not read and the deadline is over. The router
        // answers the call in both cases.
        let sent = timeout(
            self.limits.call_deadline,
            self.outgoing.send(message::single_line(outward)),
        )
        .await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(server = %self.name, "a call could not be sent");
        }
        Ok(ticket)
    }

    /// Sends a client's notification, or its answer, as it is. False when the server takes nothing any more.
    pub(crate) async fn send(&self, doc: Bytes) -> bool {
        self.outgoing.send(message::single_line(doc)).await.is_ok()
    }

    /// Sends a request of our own; its answer is dropped.
    pub(crate) fn send_own(&self, method: &str, params: serde_json::Value) {
        let id = self.calls().number();
        self.send_now(message::request(id, method, params));
    }

    /// Sends a client's answer to a request of the server. False when the server asked no such thing.
    pub(crate) async fn answer_server(&self, doc: Bytes, message: &Message) -> bool {
        let known = message.id.is_some_and(|id| self.asked().remove(id.of(&doc)));
        known && self.send(doc).await
    }

    /// A legacy client cancels a call of its session: the server is told, and the waiting exchange ends now, because
    /// a server need not answer what was cancelled.
    pub(crate) fn cancel(&self, session: &Arc<Session>, client_id: &[u8], why: &str) {
        let call = {
            let mut calls = self.calls();
            calls
                .find(session, client_id)
                .and_then(|id| Some((id, calls.take(id)?)))
        };
        if let Some((id, call)) = call {
            self.send_now(message::cancelled(id, why));
            self.fail(call, "cancelled", "the request was cancelled by its client");
        }
    }

    /// Ends every call of a session that has ended.
    pub(crate) fn cancel_all(&self, session: &Arc<Session>) {
        let calls: Vec<(CallId, Call)> = {
            let mut calls = self.calls();
            let ids = calls.such(|call| call.session.as_ref().is_some_and(|s| Arc::ptr_eq(s, session)));
            ids.into_iter()
                .filter_map(|id| Some((id, calls.take(id)?)))
                .collect()
        };
        for (id, call) in calls {
            self.send_now(message::cancelled(id, "the session has ended"));
            self.fail(call, "session_ended", "the session has ended");
        }
    }

    /// Ends every listen in an orderly way: the server is about to stop.
    pub(crate) fn end_listens(&self) {
        let listens = self.calls().such(|call| call.listens);
        for id in listens {
            self.send_now(message::cancelled(id, "the gateway ends the subscription"));
            self.end_listen(id);
        }
    }

    /// Sends without waiting. A server that does not read loses what it would have been told.
    fn send_now(&self, message: Bytes) {
        if self.outgoing.try_send(message).is_err() {
            tracing::debug!(server = %self.name, "a server does not read; a message to it is dropped");
        }
    }

    fn fail(&self, call: Call, reason: &str, text: &str) {
        let message = message::failure(&call.client_id, &self.name, reason, text);
        let _ = call.done.send(Answer {
            message,
            code: Some(message::INTERNAL_ERROR),
        });
    }

    fn how_it_ended(&self) -> Arc<str> {
        self.ended
            .borrow()
            .clone()
            .unwrap_or_else(|| Arc::from("has just ended"))
    }
}

impl Abandon for Peer {
    fn abandon(&self, id: CallId) {
        match self.era() {
            Era::Modern => {
                // Taken out already when it was answered.
                let call = self.calls().take(id);
                if call.is_some() {
                    self.send_now(message::cancelled(id, "the client closed the response"));
                }
            }
            Era::Legacy => self.calls().detach(id, Instant::now()),
        }
    }
}
