//! One request and its response on one HTTP/2 stream.

use super::{
    super::{
        Again, Failed, Response, ResponseBody,
        clock::{Clock, End},
        endpoint::Endpoint,
        fault::{Fault, FaultKind},
        request::Request,
    },
    Http2, Stream, head,
    resets::{Condemned, Resets},
};
use crate::io::recycled;
use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use ringway_core::limits::UPSTREAM_HOLD_BYTES_MAX;
use ringway_proto::http::accept::is_event_stream;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Instant,
};

/// Sends `request` and awaits the response head. Dropping this, or the body it gives, resets the stream.
pub(in super::super) async fn exchange(
    stream: Stream,
    endpoint: &Endpoint,
    request: &Request,
    clock: &Clock,
) -> Result<Response, Failed> {
    let head = stream.connection.beginnings.head(endpoint, request)?;
    let whole = request.body.is_empty();
    let (response, mut send) = stream.connection.send(head, whole).map_err(not_opened)?;
    // A small body goes with its head. `h2` keeps it should there be no room for it.
    let sent_all = whole || request.body.len() <= AT_ONCE_BYTES_MAX;
    if sent_all && !whole {
        send.send_data(request.body.clone(), true).map_err(not_opened)?;
    }
    let mut live = Live {
        send: Some(send),
        response: Some(response),
        recv: None,
        sent_all,
        received_all: false,
        stream: Some(stream),
    };
    let head = match live.send_body(request.body.clone(), clock).await? {
        Some(head) => head,
        None => {
            let end = clock.end(clock.header, FaultKind::HeaderTimeout);
            let awaited = end.bound(live.head()).await;
            awaited.map_err(|kind| End::fault(kind, true, "response head"))??
        }
    };
    live.respond(head, *clock).await
}

/// Bodies up to this are given to `h2` without asking for room: one frame of the smallest size a peer may demand, well
/// within the window any peer grants a stream at first. More would stand twice in memory while the peer makes no room.
const AT_ONCE_BYTES_MAX: usize = 16 << 10;

/// Most often a GOAWAY that came a moment ago.
fn not_opened(error: h2::Error) -> Failed {
    let fault = Fault::unsent(FaultKind::Reset, format!("the stream was not opened: {error}"));
    Failed {
        fault,
        again: Again::Elsewhere,
    }
}

/// A stream in use. Dropped before both sides are done, it is reset.
struct Live {
    send: Option<SendStream<Bytes>>,
    response: Option<ResponseFuture>,
    recv: Option<RecvStream>,
    sent_all: bool,
    received_all: bool,
    /// Some until dropped.
    stream: Option<Stream>,
}

/// The rest of a response on a stream.
pub(in super::super) struct Http2Body {
    live: Live,
    clock: Clock,
    length: Option<u64>,
    /// Bytes given to the caller whose window has not been given back: they were still in use.
    unreleased: usize,
    /// Came with the head.
    ahead: Option<Bytes>,
    /// When the wait for the next chunk began; a caller may give up waiting and come back.
    waiting_since: Option<Instant>,
}

impl Live {
    /// Sends the body as far as the peer's window allows, and stops early when the peer answers first.
    async fn send_body(
        &mut self,
        mut body: Bytes,
        clock: &Clock,
    ) -> Result<Option<http::Response<RecvStream>>, Failed> {
        while !self.sent_all {
            let end = clock.end(clock.idle, FaultKind::IdleTimeout);
            let (Some(send), Some(response)) = (self.send.as_mut(), self.response.as_mut()) else {
                return Ok(None);
            };
            send.reserve_capacity(body.len());
            let mut response = pin!(response);
            let step = poll_fn(|cx| {
                // A refusal or an early answer counts more than room to send.
                if let Poll::Ready(head) = response.as_mut().poll(cx) {
                    return Poll::Ready(Step::Head(head));
                }
                loop {
                    match send.capacity() {
                        0 => match send.poll_capacity(cx) {
                            Poll::Ready(Some(Ok(_))) => {}
                            Poll::Ready(_) => return Poll::Ready(Step::Closed),
                            Poll::Pending => return Poll::Pending,
                        },
                        room => return Poll::Ready(Step::Room(room)),
                    }
                }
            });
            let step = end
                .bound(step)
                .await
                .map_err(|kind| End::fault(kind, true, "room for the body"))?;
            match step {
                Step::Head(head) => {
                    self.response = None;
                    return Ok(Some(head.map_err(|error| self.failed(&error))?));
                }
                Step::Room(room) => {
                    let piece = body.split_to(room.min(body.len()));
                    self.sent_all = body.is_empty();
                    if send.send_data(piece, body.is_empty()).is_err() {
                        return Ok(None);
                    }
                }
                // The response future knows why.
                Step::Closed => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn head(&mut self) -> Result<http::Response<RecvStream>, Failed> {
        let Some(response) = self.response.take() else {
            return Err(Fault::sent(FaultKind::Reset, "the stream has ended").into());
        };
        // Kept in `self` while it is awaited, so that giving up resets the stream at our pace.
        let response = self.response.insert(response);
        let head = response.await;
        self.response = None;
        head.map_err(|error| self.failed(&error))
    }

    async fn respond(mut self, head: http::Response<RecvStream>, clock: Clock) -> Result<Response, Failed> {
        let (parts, recv) = head.into_parts();
        self.received_all = recv.is_end_stream();
        self.recv = Some(recv);
        if self
            .connection()
            .is_some_and(|c| parts.headers.len() > c.fields_max)
        {
            return Err(Fault::sent(FaultKind::TooLarge, "the response head has too many fields").into());
        }
        let headers = head::fields(&parts.headers);
        let length = parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse().ok());
        let mut piece = self.at_hand().await?;
        // A refusal is one by its head, whatever becomes of its body.
        if !self.received_all
            && parts.status.is_success()
            && let Some(length) = length.and_then(worth_waiting)
            && !parts
                .headers
                .get(CONTENT_TYPE)
                .is_some_and(|v| is_event_stream(v.as_bytes()))
        {
            piece = Some(self.rest(piece, length, &clock).await?);
        }
        let body = match piece {
            Some(piece) if self.received_all => ResponseBody::whole(piece),
            piece => ResponseBody::http2(Http2Body {
                live: self,
                clock,
                length,
                unreleased: 0,
                ahead: piece,
                waiting_since: None,
            }),
        };
        Ok(Response {
            status: parts.status.as_u16(),
            headers,
            body,
        })
    }

    /// The piece of the body that came with the head, if one did; small bodies come whole.
    async fn at_hand(&mut self) -> Result<Option<Bytes>, Failed> {
        if self.received_all {
            self.recv = None;
            return Ok(Some(Bytes::new()));
        }
        let Some(recv) = self.recv.as_mut() else {
            return Ok(None);
        };
        let piece = match poll_fn(|cx| Poll::Ready(recv.poll_data(cx))).await {
            Poll::Pending => return Ok(None),
            Poll::Ready(None) => Bytes::new(),
            Poll::Ready(Some(Ok(piece))) => {
                if !recv.is_end_stream() {
                    return Ok(Some(piece));
                }
                piece
            }
            Poll::Ready(Some(Err(error))) => return Err(self.broken_off(&error).into()),
        };
        self.received_all = true;
        self.recv = None;
        Ok(Some(piece))
    }

    /// The whole body of a stated length, of which `first` is here. `h2` holds the peer to what it stated.
    async fn rest(&mut self, first: Option<Bytes>, length: usize, clock: &Clock) -> Result<Bytes, Failed> {
        // In one frame, from a peer that makes use of our frame size, or put together from several.
        let mut only = first.unwrap_or_default();
        let mut whole = BytesMut::new();
        // No window is given back: all of it is within the stream's first one, and goes back with the stream.
        while let Some(recv) = self.recv.as_mut() {
            let end = clock.end(clock.idle, FaultKind::IdleTimeout);
            let piece = match end.bound(recv.data()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(self.broken_off(&error).into()),
                Err(kind) => return Err(End::fault(kind, true, "piece of the body").into()),
            };
            let ended = recv.is_end_stream();
            if only.is_empty() && whole.is_empty() {
                only = piece;
            } else {
                if whole.is_empty() {
                    whole = recycled(length);
                    whole.extend_from_slice(&std::mem::take(&mut only));
                }
                whole.extend_from_slice(&piece);
            }
            if ended {
                break;
            }
        }
        self.received_all = true;
        self.recv = None;
        Ok(if whole.is_empty() { only } else { whole.freeze() })
    }

    /// The fault of a body that ends before its time.
    fn broken_off(&mut self, error: &h2::Error) -> Fault {
        let mut failed = self.failed(error);
        self.recv = None;
        // An answer has begun, so the request was processed whatever the error says.
        failed.fault.sent = true;
        failed.fault
    }

    fn connection(&self) -> Option<&Http2> {
        self.stream.as_ref().map(|s| &*s.connection)
    }

    /// Sorts an error by what it says about the request.
    fn failed(&mut self, error: &h2::Error) -> Failed {
        // Nothing is left to reset.
        self.sent_all = true;
        self.received_all = true;
        let refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
        // `h2` gives a peer's GOAWAY to exactly those streams that are above its last stream id.
        let above_last = error.is_go_away() && error.is_remote();
        if refused || above_last {
            // RFC 9113 §8.7: not processed in any way, so safe to send again.
            let fault = Fault::unsent(
                FaultKind::Reset,
                format!("the server refused the stream: {error}"),
            );
            return Failed {
                fault,
                again: Again::Elsewhere,
            };
        }
        let kind = if error.is_library() {
            FaultKind::Protocol
        } else {
            FaultKind::Reset
        };
        let ended = self.connection().and_then(|c| c.ended.borrow().clone());
        let detail = match ended {
            Some(why) if error.is_io() => why,
            _ => error.to_string(),
        };
        Fault::sent(kind, detail).into()
    }
}

/// The length to wait for, where waiting costs less than passing on in pieces.
fn worth_waiting(length: u64) -> Option<usize> {
    let length = usize::try_from(length).ok()?;
    (length <= UPSTREAM_HOLD_BYTES_MAX).then_some(length)
}

enum Step {
    Head(Result<http::Response<RecvStream>, h2::Error>),
    Room(usize),
    Closed,
}

impl Drop for Live {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if self.sent_all && self.received_all {
            drop((self.response.take(), self.recv.take(), self.send.take()));
            return drop(stream);
        }
        Resets::reset(Condemned {
            send: self.send.take(),
            response: self.response.take(),
            recv: self.recv.take(),
            stream,
        });
    }
}

impl Http2Body {
    pub(in super::super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next piece; the peer may send as much again only now, when the last one has been dealt with.
    pub(in super::super) async fn chunk(&mut self) -> Option<Result<Bytes, Fault>> {
        if let Some(piece) = self.ahead.take() {
            self.unreleased = piece.len();
            if !piece.is_empty() {
                return Some(Ok(piece));
            }
        }
        loop {
            let recv = self.live.recv.as_mut()?;
            if self.unreleased > 0 {
                // Fails only on a stream that has ended, where no window is needed.
                let _ = recv
                    .flow_control()
                    .release_capacity(std::mem::take(&mut self.unreleased));
            }
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            let end = self
                .clock
                .end_from(since, self.clock.idle, FaultKind::IdleTimeout);
            let received = end.bound(recv.data()).await;
            self.waiting_since = None;
            match received {
                Err(kind) => {
                    self.live.recv = None;
                    return Some(Err(End::fault(kind, true, "piece of the body")));
                }
                Ok(None) => {
                    self.live.received_all = true;
                    self.live.recv = None;
                    return None;
                }
                Ok(Some(Err(error))) => return Some(Err(self.live.broken_off(&error))),
                Ok(Some(Ok(piece))) => {
                    if recv.is_end_stream() {
                        self.live.received_all = true;
                        self.live.recv = None;
                    } else {
                        self.unreleased = piece.len();
                    }
                    if !piece.is_empty() {
                        return Some(Ok(piece));
                    }
                }
            }
        }
    }

    /// Whether the body was read to its end (or failed).
    pub(in super::super) fn is_done(&self) -> bool {
        self.live.recv.is_none() && self.ahead.is_none()
    }
}
