//! Calls under way that somebody may need to reach: to cancel them, to answer their questions, to resume them.
//!
//! Each worker knows its own; a message that arrives at another worker comes as a letter. Registration ends with
//! the guard, so a finished call cannot be reached.

use super::{outbound::Leg, reply::Frame, shared::SessionId};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};
use tokio::sync::mpsc;

/// Words waiting for one call: its questions are few and each is answered once.
const WORDS_MAX: usize = 32;

/// What reaches a call from outside.
#[derive(Debug)]
pub enum Word {
    /// The client answered one of its questions.
    Answered {
        /// Which.
        key: String,
        /// The raw result; `None` when the client answered with an error.
        result: Option<Bytes>,
    },
    /// The client repeated its request with answers.
    Resume {
        /// Raw JSON object of answers by key.
        responses: Bytes,
        /// Raw JSON id of the repeated request.
        id: Bytes,
        /// Its raw progress token.
        progress_token: Option<Bytes>,
        /// Where further messages go.
        frames: mpsc::Sender<Frame>,
    },
    /// The client does not want the answer any more.
    Cancel,
}

/// How a legacy client's request can be cancelled.
#[derive(Clone)]
pub enum InFlight {
    /// It runs on a leg: pass the notification on.
    Leg {
        /// The server's name.
        server: String,
        /// Its session.
        leg: Leg,
    },
    /// It runs as a call of ours.
    Call(u64),
}

/// The calls of one worker.
#[derive(Default)]
pub struct Calls {
    next: Cell<u64>,
    words: RefCell<HashMap<u64, mpsc::Sender<Word>>>,
    requests: RefCell<HashMap<(SessionId, Bytes), InFlight>>,
}

/// A reachable call; unreachable once dropped.
pub struct Registration {
    calls: Rc<Calls>,
    /// Its number on this worker.
    pub call: u64,
    request: Option<(SessionId, Bytes)>,
    /// What reaches it.
    pub words: mpsc::Receiver<Word>,
}

impl Calls {
    /// A number no other call of this worker has.
    pub fn number(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    /// Makes a call reachable by number, and by session and request id when a legacy client made it.
    pub fn register(self: &Rc<Self>, request: Option<(SessionId, Bytes)>) -> Registration {
        let call = self.number();
        let (tx, words) = mpsc::channel(WORDS_MAX);
        self.words.borrow_mut().insert(call, tx);
        if let Some(request) = &request {
            self.requests
                .borrow_mut()
                .insert(request.clone(), InFlight::Call(call));
        }
        Registration {
            calls: self.clone(),
            call,
            request,
            words,
        }
    }

    /// Makes a request that runs on a leg known for cancellation.
    pub fn note(self: &Rc<Self>, session: SessionId, id: Bytes, server: String, leg: Leg) -> LegRequest {
        let request = (session, id);
        self.requests
            .borrow_mut()
            .insert(request.clone(), InFlight::Leg { server, leg });
        LegRequest {
            calls: self.clone(),
            request,
        }
    }

    /// Where a client's request runs, if it runs here.
    pub fn in_flight(&self, session: SessionId, id: &Bytes) -> Option<InFlight> {
        self.requests.borrow().get(&(session, id.clone())).cloned()
    }

    /// Tells a call; false when there is no such call or it does not listen any more.
    pub fn tell(&self, call: u64, word: Word) -> bool {
        let to = self.words.borrow().get(&call).cloned();
        to.is_some_and(|to| to.try_send(word).is_ok())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.calls.words.borrow_mut().remove(&self.call);
        if let Some(request) = self.request.take() {
            self.calls.requests.borrow_mut().remove(&request);
        }
    }
}

/// A request on a leg; forgotten once dropped.
pub struct LegRequest {
    calls: Rc<Calls>,
    request: (SessionId, Bytes),
}

impl Drop for LegRequest {
    fn drop(&mut self) {
        self.calls.requests.borrow_mut().remove(&self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_reachable_until_it_ends() {
        let calls = Rc::new(Calls::default());
        let id = Bytes::from_static(b"7");
        let mut registration = calls.register(Some(([1; 16], id.clone())));
        assert!(matches!(calls.in_flight([1; 16], &id), Some(InFlight::Call(n)) if n == registration.call));
        assert!(
            calls.in_flight([2; 16], &id).is_none(),
            "another session's request of the same id"
        );
        assert!(calls.tell(registration.call, Word::Cancel));
        assert!(matches!(registration.words.try_recv(), Ok(Word::Cancel)));
        let number = registration.call;
        drop(registration);
        assert!(!calls.tell(number, Word::Cancel));
        assert!(calls.in_flight([1; 16], &id).is_none());
    }
}
