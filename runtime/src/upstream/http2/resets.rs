//! Resetting streams at a pace the peer bears.
//!
//! A cancelled call resets its stream with CANCEL. Many at once look like the "rapid reset" attack, and peers
//! answer by closing the connection under the calls that were going well. So resets beyond the pace wait; the
//! streams stay open (and keep their place in our count, as they do in the peer's) until their turn.

use super::Stream;
use crate::io;
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    time::{Duration, Instant},
};

pub(super) struct Resets {
    per_second: u32,
    /// When the present second began, and the resets in it.
    second: Cell<(Instant, u32)>,
    /// Bounded by the streams of the connection, each of which is here at most once.
    late: RefCell<VecDeque<Condemned>>,
    pacing: Cell<bool>,
}

/// A stream nobody waits for any more.
pub(super) struct Condemned {
    pub send: Option<SendStream<Bytes>>,
    pub response: Option<ResponseFuture>,
    pub recv: Option<RecvStream>,
    pub stream: Stream,
}

impl Resets {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.max(1),
            second: Cell::new((Instant::now(), 0)),
            late: RefCell::default(),
            pacing: Cell::new(false),
        }
    }

    /// Resets now, or later when this second has had its share.
    pub(super) fn reset(condemned: Condemned) {
        let connection = condemned.stream.connection.clone();
        let resets = &connection.resets;
        // A worker that ends drops what its tasks held; nothing can be put off there.
        let now_or_never = connection.ended.borrow().is_some() || io::running().is_none();
        if now_or_never || resets.spend(Instant::now()) {
            return condemned.execute();
        }
        resets.late.borrow_mut().push_back(condemned);
        if resets.pacing.replace(true) {
            return;
        }
        let pause = Duration::from_secs(1) / resets.per_second;
        drop(io::spawn(async move {
            loop {
                io::sleep(pause).await;
                let next = connection.resets.late.borrow_mut().pop_front();
                let Some(condemned) = next else { break };
                condemned.execute();
            }
            connection.resets.pacing.set(false);
        }));
    }

    /// Drops all that wait: the connection has ended.
    pub(super) fn flush(&self) {
        let late = std::mem::take(&mut *self.late.borrow_mut());
        drop(late);
    }

    fn spend(&self, now: Instant) -> bool {
        let (began, spent) = self.second.get();
        let (began, spent) = if now.duration_since(began) >= Duration::from_secs(1) {
            (now, 0)
        } else {
            (began, spent)
        };
        let may = spent < self.per_second && self.late.borrow().is_empty();
        self.second.set((began, spent + u32::from(may)));
        may
    }
}

impl Condemned {
    fn execute(mut self) {
        if let Some(send) = &mut self.send {
            send.send_reset(Reason::CANCEL);
        }
        // Unread data goes back to the connection's window with the handles.
        drop((self.response.take(), self.recv.take(), self.send.take()));
        drop(self.stream);
    }
}
