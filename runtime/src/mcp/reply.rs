//! What a method answers with, and how that becomes an HTTP response.
//!
//! A handler gives a [`Reply`]; only this file knows what it looks like on the wire. Streams are pulled: the
//! relay task behind [`Reply::Events`] waits in a channel of [`RELAY_MESSAGES_MAX`] messages until the client
//! has read, so back-pressure reaches the upstream by itself.

use super::answer::Messages;
use crate::{
    http::{Body, BodyStream, Broken, LocalFuture, Response, Source},
    io,
    upstream::ResponseBody,
};
use bytes::Bytes;
use ringway_proto::{
    http::Headers,
    rpc::{self, Shape},
    sse,
};
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages between a relay and a client that reads slower than the server sends. Small: each may be large.
pub const RELAY_MESSAGES_MAX: usize = 4;

/// A comment is sent on a stream that has been silent this long, so that proxies and clients keep it open.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// The answer to one POST or GET.
pub enum Reply {
    /// A notification or a response was taken (202).
    Accepted,
    /// One JSON-RPC message.
    Message(Bytes),
    /// One JSON-RPC message under a status its meaning requires (2026-07-28: 400, 404).
    MessageWithStatus(u16, Bytes),
    /// An upstream's body as it comes; nothing in it concerns the gateway.
    Passed {
        /// The upstream's status.
        status: u16,
        /// `application/json` or `text/event-stream`, as sent.
        content_type: Bytes,
        /// The body.
        body: ResponseBody,
    },
    /// An upstream's stream that belongs to no request, passed as it comes until it ends or must.
    PassedStream {
        /// As sent.
        content_type: Bytes,
        /// The body.
        body: ResponseBody,
        /// Resolves when the stream must end although its server goes on.
        lost: LocalFuture<'static, ()>,
    },
    /// A stream of messages.
    Events(Frames),
    /// The answer to `initialize`.
    Opened {
        /// The message.
        message: Bytes,
        /// The sealed session.
        session: Bytes,
    },
    /// Something was ended as asked (200, nothing to say).
    Done,
}

/// One event of a stream the gateway writes.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Event id, for streams that can be resumed.
    pub id: Option<Bytes>,
    /// One JSON-RPC message; empty for a priming event.
    pub data: Bytes,
    /// The last message: the stream ends after it.
    pub last: bool,
}

impl Frame {
    /// A message that others follow.
    pub fn note(data: impl Into<Bytes>) -> Self {
        Self {
            id: None,
            data: data.into(),
            last: false,
        }
    }

    /// The final message of a request's stream.
    pub fn last(data: impl Into<Bytes>) -> Self {
        Self {
            id: None,
            data: data.into(),
            last: true,
        }
    }

    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.data.len() + 64);
        sse::write_event(&mut out, Some("message"), self.id.as_deref(), &self.data);
        out.into()
    }
}

/// The frames of a relay, in order.
pub struct Frames {
    first: Option<Frame>,
    rest: mpsc::Receiver<Frame>,
}

impl Frames {
    /// All frames come from `rest`.
    pub fn new(rest: mpsc::Receiver<Frame>) -> Self {
        Self { first: None, rest }
    }

    /// The next frame; `None` when the relay is done. May be dropped and asked again.
    pub async fn next(&mut self) -> Option<Frame> {
        match self.first.take() {
            Some(frame) => Some(frame),
            None => self.rest.recv().await,
        }
    }

    /// A reply out of a relay: a lone answer becomes plain JSON, anything else a stream. `None` when the relay
    /// ended without a word.
    pub async fn into_reply(mut self) -> Option<Reply> {
        let first = self.next().await?;
        if first.last && first.id.is_none() {
            return Some(Reply::Message(first.data));
        }
        self.first = Some(first);
        Some(Reply::Events(self))
    }
}

impl Reply {
    /// The HTTP response.
    pub fn into_response(self) -> Response {
        match self {
            Self::Accepted => Response {
                status: 202,
                headers: Headers::default(),
                body: Body::Empty,
            },
            Self::Done => Response {
                status: 200,
                headers: Headers::default(),
                body: Body::Empty,
            },
            Self::Message(message) => json(200, message),
            Self::Opened { message, session } => {
                let mut response = json(200, message);
                response.headers.push("mcp-session-id", session);
                response
            }
            Self::MessageWithStatus(status, message) => json(status, message),
            Self::Passed {
                status,
                content_type,
                body,
            } => {
                let mut headers = Headers::of_type(&content_type);
                let events = content_type.starts_with(b"text/event-stream");
                if events {
                    stream_headers(&mut headers);
                }
                let body = match body.into_whole() {
                    Ok(whole) if !events => {
                        return Response {
                            status,
                            headers,
                            body: Body::Full(whole),
                        };
                    }
                    Ok(whole) => ResponseBody::whole(whole),
                    Err(body) => body,
                };
                let length = body.length();
                let source: Box<dyn Source> = if events {
                    Box::new(PassedEvents::new(body, Box::pin(std::future::pending())))
                } else {
                    Box::new(PassedBody(body))
                };
                Response {
                    status,
                    headers,
                    body: Body::Stream(BodyStream { length, source }),
                }
            }
            Self::PassedStream {
                content_type,
                body,
                lost,
            } => {
                let mut headers = Headers::of_type(&content_type);
                stream_headers(&mut headers);
                let source = Box::new(PassedEvents::new(body, lost));
                Response {
                    status: 200,
                    headers,
                    body: Body::Stream(BodyStream { length: None, source }),
                }
            }
            Self::Events(frames) => {
                let mut headers = Headers::of_type(b"text/event-stream");
                stream_headers(&mut headers);
                let source = Box::new(EventSource { frames, ended: false });
                Response {
                    status: 200,
                    headers,
                    body: Body::Stream(BodyStream { length: None, source }),
                }
            }
        }
    }
}

impl Reply {
    /// The one message of a reply that answers a request, for a batch; notes on the way are not kept.
    pub async fn into_message(self, bytes_max: usize) -> Option<Bytes> {
        match self {
            Self::Accepted | Self::Done => None,
            Self::Message(message) | Self::MessageWithStatus(_, message) | Self::Opened { message, .. } => {
                Some(message)
            }
            Self::Events(mut frames) => loop {
                let frame = frames.next().await?;
                if frame.last {
                    return Some(frame.data);
                }
            },
            Self::Passed {
                content_type, body, ..
            }
            | Self::PassedStream {
                content_type, body, ..
            } => {
                let mut messages = if content_type.starts_with(b"text/event-stream") {
                    Messages::events("", body, bytes_max)
                } else {
                    Messages::json("", body, bytes_max)
                };
                loop {
                    let doc = messages.next().await?.ok()?.doc;
                    let shape = rpc::scan(&doc).ok().map(|m| m.shape());
                    if matches!(shape, Some(Shape::Result | Shape::Error)) {
                        return Some(doc);
                    }
                }
            }
        }
    }
}

/// A whole JSON body.
pub fn json(status: u16, body: impl Into<Bytes>) -> Response {
    Response {
        status,
        headers: Headers::of_type(b"application/json"),
        body: Body::Full(body.into()),
    }
}

/// No cache keeps a stream, no proxy buffers it (specification 2026-07-28, "Streamable HTTP").
fn stream_headers(headers: &mut Headers) {
    headers.push("cache-control", "no-cache, no-transform");
    headers.push("x-accel-buffering", "no");
}

/// A JSON body passed on in pieces.
struct PassedBody(ResponseBody);

impl Source for PassedBody {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Bytes, Broken>>> {
        Box::pin(async { self.0.chunk().await.map(|piece| piece.map_err(|_| Broken)) })
    }
}

/// An event stream passed on in pieces, with heartbeats between whole events only.
struct PassedEvents {
    pieces: mpsc::Receiver<Result<Bytes, Broken>>,
    tail: Tail,
}

impl PassedEvents {
    /// Reading happens in a task of its own, so that a heartbeat never has to interrupt a read. The stream ends in
    /// good order when it is `lost`.
    fn new(mut body: ResponseBody, mut lost: LocalFuture<'static, ()>) -> Self {
        let (tx, pieces) = mpsc::channel(RELAY_MESSAGES_MAX);
        io::spawn(async move {
            loop {
                let piece = tokio::select! {
                    biased;
                    () = tx.closed() => return,
                    () = &mut lost => return,
                    piece = body.chunk() => piece,
                };
                let Some(piece) = piece else { return };
                let broken = piece.is_err();
                if tx.send(piece.map_err(|_| Broken)).await.is_err() || broken {
                    return;
                }
            }
        });
        Self {
            pieces,
            tail: Tail::default(),
        }
    }
}

impl Source for PassedEvents {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Bytes, Broken>>> {
        Box::pin(async {
            loop {
                match io::timeout(HEARTBEAT, self.pieces.recv()).await {
                    Ok(Some(Ok(piece))) => {
                        self.tail.push(&piece);
                        return Some(Ok(piece));
                    }
                    Ok(other) => return other,
                    Err(_) if self.tail.is_between_events() => return Some(Ok(HEARTBEAT_COMMENT)),
                    Err(_) => {}
                }
            }
        })
    }
}

const HEARTBEAT_COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Remembers whether the bytes so far end at an event boundary: a blank line, in any of the three line ends.
#[derive(Default)]
struct Tail {
    last: [u8; 4],
    seen: usize,
}

impl Tail {
    fn push(&mut self, piece: &[u8]) {
        let from = piece.len().saturating_sub(4);
        for byte in &piece[from..] {
            self.last.rotate_left(1);
            self.last[3] = *byte;
        }
        self.seen = self.seen.saturating_add(piece.len());
    }

    fn is_between_events(&self) -> bool {
        self.seen == 0
            || self.last.ends_with(b"\n\n")
            || self.last.ends_with(b"\r\r")
            || self.last.ends_with(b"\r\n\r\n")
    }
}

/// Frames written as events.
struct EventSource {
    frames: Frames,
    ended: bool,
}

impl Source for EventSource {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Bytes, Broken>>> {
        Box::pin(async {
            if self.ended {
                return None;
            }
            match io::timeout(HEARTBEAT, self.frames.next()).await {
                Ok(Some(frame)) => {
                    self.ended = frame.last;
                    Some(Ok(frame.encode()))
                }
                Ok(None) => None,
                Err(_) => Some(Ok(HEARTBEAT_COMMENT)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_stay_between_events() {
        let mut tail = Tail::default();
        assert!(tail.is_between_events(), "before the first byte");
        for (piece, between) in [
            (&b"data: {"[..], false),
            (b"}\r\n", false),
            (b"\r\n", true),
            (b"id: 1\ndata: x\n", false),
            (b"\n", true),
            (b"a\r", false),
            (b"\r", true),
        ] {
            tail.push(piece);
            assert_eq!(tail.is_between_events(), between, "{piece:?}");
        }
    }
}
