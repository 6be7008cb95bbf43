//! HTTP/1.1 toward the client (RFC 9112): one request after the other on one connection.
//!
//! The loop below is the connection's life: a head, the service's judgement of it, the body, the answer, and
//! what becomes of the connection. Pipelined requests wait in the buffer until the answer before theirs is
//! written, so answers keep their order. `incoming` reads bodies, `outgoing` writes answers.
//!
//! While a call is under way the client is watched: if it closes, the call's future is dropped, which is how the
//! service and everything behind it learn of it. A client that shuts down its writing side counts as gone, as
//! with most servers; one that gets its answer within `watch_after_ms` never notices.

mod incoming;
mod outgoing;

use super::{Hall, Opened, linger, millis, wait};
use crate::{
    http::{Admitted, Head, HeadFault, Peer, Response, Service},
    io::{self, Deadline, Stream},
    worker::signal::Watch,
};
use bytes::BytesMut;
use incoming::Unread;
use outgoing::Shape;
use ringway_proto::{
    http::Method,
    http1::{self, HeadError, HeadLimits, RequestHead},
};
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    time::Instant,
};

/// A read is not begun with less room than this: it would take many to fill a head.
const READ_ROOM_MIN: usize = 512;
/// Lent to the kernel while we watch whether a client is still there.
const WATCH_READ_BYTES: usize = 256;
/// Room for what did not fit the first read.
const READ_MORE_BYTES: usize = 8 << 10;

/// Serves a connection to its end.
pub(super) fn serve<S: Service>(hall: &Rc<Hall<S>>, opened: Opened) -> impl Future<Output = ()> {
    let mut connection = Connection {
        hall,
        stream: opened.stream,
        buf: opened.buf,
        out: Vec::new(),
        deadline: Deadline::default(),
        peer: opened.peer,
        watch: hall.watch(),
        gone: false,
    };
    // Not an async function, whose arguments would stand beside the connection that is made of them.
    async move { connection.live().await }
}

/// A connection between and during requests.
struct Connection<'h, S> {
    hall: &'h Rc<Hall<S>>,
    stream: Stream,
    /// Read and not yet used: the rest of a body, the next request.
    buf: BytesMut,
    /// Memory for the next write.
    out: Vec<u8>,
    /// Of one wait after the other.
    deadline: Deadline,
    peer: Peer,
    watch: Watch,
    /// The client closed its side.
    gone: bool,
}

enum Next {
    Head(RequestHead),
    Fault(HeadFault),
    Quiet,
    End,
}

/// What becomes of the connection after an answer.
enum After {
    /// The next request.
    Next,
    /// There is none for now.
    Quiet,
    /// Closed in order: nothing more can come.
    Done,
    /// Closed by us while the client may still be sending.
    Linger,
    /// Dropped as it is, so that the client can tell an unfinished answer.
    Cut,
}

impl<S: Service> Connection<'_, S> {
    /// From the first request to the end.
    async fn live(&mut self) {
        let limits = &self.hall.limits;
        loop {
            // Boxed: the states of a call are large, and most connections have none under way. One box for a spell of
            // calls, not one for each.
            match Box::pin(self.busy()).await {
                After::Next => continue,
                After::Quiet => {
                    let end = Instant::now() + millis(limits.idle_timeout_ms);
                    if wait::long(&self.stream, &self.watch, end).await {
                        continue;
                    }
                }
                After::Done => {}
                After::Linger => {
                    return Box::pin(linger(&mut self.stream, millis(limits.linger_timeout_ms))).await;
                }
                After::Cut => return,
            }
            // Says goodbye, which under TLS is more than closing.
            let goodbye = io::timeout(millis(limits.linger_timeout_ms), self.stream.shutdown());
            let _ = Box::pin(goodbye).await;
            return;
        }
    }

    /// Requests one after the other, until there is none for a while or the connection ends.
    async fn busy(&mut self) -> After {
        loop {
            match self.turn().await {
                After::Next => {}
                other => {
                    self.out = Vec::new();
                    self.deadline.forget();
                    return other;
                }
            }
        }
    }

    /// One request, or none.
    async fn turn(&mut self) -> After {
        match self.next_head().await {
            Next::Head(head) => self.exchange(head).await,
            Next::Fault(fault) => {
                let response = self.hall.service.malformed(fault, self.peer);
                self.last_words(response).await
            }
            Next::Quiet => After::Quiet,
            Next::End => After::Done,
        }
    }

    /// Waits a moment for a request and reads its head, within its time from the first byte.
    async fn next_head(&mut self) -> Next {
        let limits = &self.hall.limits;
        let bounds = HeadLimits {
            head_bytes_max: limits.head_bytes_max,
            fields_max: limits.header_fields_max,
        };
        let mut deadline = None;
        loop {
            if !self.buf.is_empty() {
                match http1::parse_request(&mut self.buf, bounds) {
                    Ok(Some(head)) => return Next::Head(head),
                    Ok(None) => {}
                    Err(HeadError::TooLarge) => return Next::Fault(HeadFault::TooLarge),
                    Err(HeadError::Malformed(why)) => {
                        tracing::debug!("malformed request from {}: {why}", self.peer.remote);
                        return Next::Fault(HeadFault::Malformed);
                    }
                }
            }
            if self.buf.is_empty() {
                let (idle, grace) = (millis(limits.idle_timeout_ms), millis(limits.linger_timeout_ms));
                let buf = std::mem::take(&mut self.buf);
                let (stream, pause) = (&mut self.stream, &mut self.deadline);
                match wait::soon(stream, pause, buf, &self.watch, idle, grace).await {
                    wait::Soon::Bytes(buf) => self.buf = buf,
                    wait::Soon::Quiet => {
                        self.stream.release();
                        return Next::Quiet;
                    }
                    wait::Soon::End => return Next::End,
                }
                deadline = None;
                continue;
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + millis(limits.header_timeout_ms));
            match self.read_by(deadline).await {
                Read::Some => {}
                Read::Late => return Next::Fault(HeadFault::Slow),
                Read::End => return Next::End,
            }
        }
    }

    /// One request, from its head to the end of its answer.
    async fn exchange(&mut self, head: RequestHead) -> After {
        self.hall.vitals.requests.add_one();
        let shape = Shape {
            to_head: head.method == Method::Head,
            version_minor: head.version_minor,
        };
        let (framing, expects) = (head.framing, head.expect_continue);
        // An HTTP/1.0 client would need to be told in a field of its own that the connection stays.
        let keep_alive = head.keep_alive && head.version_minor > 0;
        let RequestHead {
            method,
            target,
            authority,
            headers,
            ..
        } = head;
        let service = &self.hall.service;
        let (response, unread) = match service.admit(
            Head {
                method,
                target,
                authority,
                headers,
            },
            self.peer,
        ) {
            Err(refusal) => (refusal, self.unread(framing, expects)),
            Ok(Admitted { body_bytes_max, call }) => {
                let (body, unread) = self.read_body(framing, body_bytes_max, expects).await;
                let answer = pin!(service.respond(call, body));
                match self.attended(answer).await {
                    Some(response) => (response, unread),
                    None => return self.abandoned(),
                }
            }
        };
        let again = keep_alive && !self.gone && !self.hall.draining() && self.can_discard(&unread);
        match self.write(response, shape, again).await {
            Err(_) => After::Cut,
            Ok(false) if self.gone || (!keep_alive && matches!(unread, Unread::Nothing)) => After::Done,
            Ok(false) => After::Linger,
            Ok(true) => self.discard(unread).await,
        }
    }

    /// The answer to something that was no request; nothing can follow it.
    async fn last_words(&mut self, response: Response) -> After {
        let shape = Shape {
            to_head: false,
            version_minor: 1,
        };
        match self.write(response, shape, false).await {
            Err(_) => After::Cut,
            Ok(_) => After::Linger,
        }
    }

    /// Waits for `work` while the client is there; `None` once it is gone. The first moments are not watched,
    /// since most calls are done by then. What the client sends meanwhile is kept for the next request, up to a
    /// bound; beyond it we stop looking (and reading), and a lost client shows when we write.
    async fn attended<F: Future + ?Sized>(&mut self, mut work: Pin<&mut F>) -> Option<F::Output> {
        let limits = &self.hall.limits;
        let unwatched = Instant::now() + millis(limits.watch_after_ms);
        if let Ok(output) = self.deadline.bound(unwatched, work.as_mut()).await {
            return Some(output);
        }
        while self.buf.len() < limits.watch_bytes_max {
            let mut buf = std::mem::take(&mut self.buf);
            if buf.is_empty() {
                // Not the request's memory, and little: calls and streams may be many and long.
                buf = BytesMut::with_capacity(WATCH_READ_BYTES);
            }
            let stop = pin!(poll_fn(|cx| work.as_mut().poll(cx)));
            let read = self.stream.read_append_until(buf, stop).await;
            self.buf = read.buf;
            self.gone = matches!(read.result, Some(Ok(0) | Err(_)));
            match read.stopped {
                Some(output) => return Some(output),
                None if self.gone => return None,
                None => {}
            }
        }
        Some(work.await)
    }

    fn abandoned(&self) -> After {
        self.hall.vitals.requests_abandoned.add_one();
        After::Cut
    }

    /// One read into the buffer. After `Late` the stream is only good for a last answer.
    async fn read_by(&mut self, deadline: Instant) -> Read {
        let mut buf = std::mem::take(&mut self.buf);
        if buf.capacity() - buf.len() < READ_ROOM_MIN {
            // A head or body that is more than usual: its reads grow with it.
            buf.reserve(READ_MORE_BYTES.max(buf.len()));
        }
        match io::timeout_at(deadline, self.stream.read_append(buf)).await {
            Err(io::Elapsed) => Read::Late,
            Ok((result, buf)) => {
                self.buf = buf;
                match result {
                    Ok(0) | Err(_) => {
                        self.gone = true;
                        Read::End
                    }
                    Ok(_) => Read::Some,
                }
            }
        }
    }
}

enum Read {
    Some,
    Late,
    End,
}
