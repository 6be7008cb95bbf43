//! HTTP responses: refusals, single answers, and event streams.

use super::{
    calls::{Answer, Ticket},
    message::{
        self, CAPABILITY_MISSING, HEADER_MISMATCH, INTERNAL_ERROR, METHOD_NOT_FOUND, VERSION_UNSUPPORTED,
    },
    session::{Next, Reader},
};
use crate::limits::Limits;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::Frame,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use ringway_proto::{revision::Era, sse};
use serde_json::json;
use std::{any::Any, io, sync::Arc, time::Duration};
use tokio::time::sleep;

/// Every response body of the bridge.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// Every response of the bridge.
pub(crate) type Reply = Response<Body>;

/// Why a server cannot take a request now.
#[derive(Clone, Debug)]
pub(crate) struct Unavailable {
    /// Stable, for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub text: Arc<str>,
    /// When to try again.
    pub retry_after: Duration,
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default().map_err(|never| match never {}).boxed_unsync());
    *reply.status_mut() = status;
    reply
}

/// 405 and what is allowed.
pub(crate) fn method_not_allowed(allow: &'static str) -> Reply {
    let mut reply = empty(StatusCode::METHOD_NOT_ALLOWED);
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// One JSON-RPC message.
pub(crate) fn json(status: StatusCode, message: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(message).map_err(|never| match never {}).boxed_unsync());
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// A JSON-RPC error; `id` as JSON text.
pub(crate) fn refusal(status: StatusCode, id: Option<&[u8]>, code: i64, text: &str) -> Reply {
    json(status, message::error(id, code, text, None))
}

/// 503 with the time after which to try again.
pub(crate) fn unavailable(server: &str, id: Option<&[u8]>, why: &Unavailable) -> Reply {
    let data = json!({
        "server": server,
        "reason": why.reason,
        "retryAfterMs": u64::try_from(why.retry_after.as_millis()).unwrap_or(u64::MAX),
    });
    let text = format!("server {server} {}", why.text);
    let mut reply = json(
        StatusCode::SERVICE_UNAVAILABLE,
        message::error(id, INTERNAL_ERROR, &text, Some(data)),
    );
    // Whole seconds, rounded up, never zero.
    let seconds = why.retry_after.as_millis().div_ceil(1000).max(1);
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        reply.headers_mut().insert(RETRY_AFTER, value);
    }
    reply
}

/// Waits for a call: JSON when its answer comes first, an event stream when something else does, or when nothing
/// has come for a while. `keep` lives until the response has been sent.
pub(crate) async fn of_call(
    mut ticket: Ticket,
    era: Era,
    limits: &Limits,
    keep: Box<dyn Any + Send>,
) -> Reply {
    let first = tokio::select! {
        biased;
        Some(note) = ticket.notes.recv() => event(&note),
        answer = &mut ticket.done => {
            return match answer {
                Ok(answer) => json(status(era, &answer), answer.message),
                // Only listens end so, and their acknowledgement comes first.
                Err(_) => refusal(StatusCode::OK, None, INTERNAL_ERROR, "the call has ended without an answer"),
            };
        }
        () = sleep(limits.head_within) => Bytes::from_static(sse::KEEP_ALIVE),
    };
    let state = Streaming {
        ticket,
        first: Some(first),
        over: false,
        heartbeat: limits.heartbeat,
        _keep: keep,
    };
    events(StreamBody::new(stream::unfold(state, Streaming::next)).boxed_unsync())
}

/// A session's event stream.
pub(crate) fn of_session(reader: Reader, limits: &Limits) -> Reply {
    let heartbeat = limits.heartbeat;
    let stream = stream::unfold((reader, true), move |(reader, first)| async move {
        if first {
            // So that the client sees at once that the stream is open.
            return Some((
                Ok(Frame::data(Bytes::from_static(sse::KEEP_ALIVE))),
                (reader, false),
            ));
        }
        let data = tokio::select! {
            next = reader.next() => match next {
                Next::Message(message) => event(&message),
                Next::Closed => return None,
            },
            () = sleep(heartbeat) => Bytes::from_static(sse::KEEP_ALIVE),
        };
        Some((Ok(Frame::data(data)), (reader, false)))
    });
    events(StreamBody::new(stream).boxed_unsync())
}

/// In the modern era some errors have an HTTP status of their own (specification 2026-07-28, Streamable HTTP).
fn status(era: Era, answer: &Answer) -> StatusCode {
    match (era, answer.code) {
        (Era::Modern, Some(METHOD_NOT_FOUND)) => StatusCode::NOT_FOUND,
        (Era::Modern, Some(HEADER_MISMATCH | CAPABILITY_MISSING | VERSION_UNSUPPORTED)) => {
            StatusCode::BAD_REQUEST
        }
        _ => StatusCode::OK,
    }
}

fn events(body: Body) -> Reply {
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    reply
}

fn event(message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 24);
    sse::write_event(&mut out, Some("message"), None, message);
    out.into()
}

/// A call's response stream.
struct Streaming {
    ticket: Ticket,
    first: Option<Bytes>,
    over: bool,
    heartbeat: Duration,
    _keep: Box<dyn Any + Send>,
}

impl Streaming {
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        if self.over {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some((Ok(Frame::data(first)), self));
        }
        let data = tokio::select! {
            // What came before the answer goes before the answer.
            biased;
            Some(note) = self.ticket.notes.recv() => event(&note),
            answer = &mut self.ticket.done => {
                self.over = true;
                match answer {
                    Ok(answer) => event(&answer.message),
                    // Cuts the stream, so that the client can tell it from an orderly end.
                    Err(_) => return Some((Err(io::Error::other("the call was dropped")), self)),
                }
            }
            () = sleep(self.heartbeat) => Bytes::from_static(sse::KEEP_ALIVE),
        };
        Some((Ok(Frame::data(data)), self))
    }
}
