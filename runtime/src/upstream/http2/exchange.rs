//! One request and its response on one HTTP/2 stream.

use super::{
    super::{
        Again, Failed, Response, ResponseBody,
        clock::{Clock, End},
        endpoint::Endpoint,
        fault::{Fault, FaultKind},
        request::Request,
    },
    Http2, Stream,
    resets::{Condemned, Resets},
};
use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::{HeaderMap, HeaderName, HeaderValue, uri::PathAndQuery};
use ringway_proto::http::{Headers, Method};
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
    let head = head(endpoint, request)?;
    let mut sender = stream.connection.send.borrow().clone();
    let whole = request.body.is_empty();
    // Never waits: this clone has no stream of its own waiting to open.
    let opened = match poll_fn(|cx| sender.poll_ready(cx)).await {
        Ok(()) => sender.send_request(head, whole),
        Err(error) => Err(error),
    };
    let (response, send) = opened.map_err(|error| {
        let fault = Fault::unsent(FaultKind::Reset, format!("the stream was not opened: {error}"));
        // Most often a GOAWAY that came a moment ago.
        Failed {
            fault,
            again: Again::Elsewhere,
        }
    })?;
    drop(sender);
    let mut live = Live {
        send: Some(send),
        response: Some(response),
        recv: None,
        sent_all: whole,
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
        let headers = fields(&parts.headers);
        let length = parts
            .headers
            .get("content-length")
            .and_then(|v| v.to_str().ok()?.parse().ok());
        let body = match self.at_hand().await? {
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
            Poll::Ready(Some(Err(error))) => {
                let mut failed = self.failed(&error);
                self.recv = None;
                // An answer has begun, so the request was processed whatever the error says.
                failed.fault.sent = true;
                return Err(failed.fault.into());
            }
        };
        self.received_all = true;
        self.recv = None;
        Ok(Some(piece))
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
                Ok(Some(Err(error))) => {
                    let mut failed = self.live.failed(&error);
                    self.live.recv = None;
                    // An answer has begun, so the request was processed whatever the error says.
                    failed.fault.sent = true;
                    return Some(Err(failed.fault));
                }
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

fn head(endpoint: &Endpoint, request: &Request) -> Result<http::Request<()>, Fault> {
    let impossible = |what: &str| Fault::unsent(FaultKind::Protocol, format!("{what} cannot be sent"));
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(endpoint.uri_scheme());
    uri.authority = Some(endpoint.uri_authority().clone());
    let target = PathAndQuery::from_maybe_shared(request.target.clone());
    uri.path_and_query = Some(target.map_err(|_| impossible("the target"))?);
    let mut head = http::Request::new(());
    *head.uri_mut() = http::Uri::from_parts(uri).map_err(|_| impossible("the target"))?;
    *head.version_mut() = http::Version::HTTP_2;
    *head.method_mut() = match request.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Delete => http::Method::DELETE,
        Method::Options => http::Method::OPTIONS,
        Method::Head => http::Method::HEAD,
        Method::Other => return Err(impossible("the method")),
    };
    request.check()?;
    let fixed = request.prefix.as_ref().map(|prefix| prefix.fields());
    let fixed_len = fixed.map_or(0, Headers::len);
    let mut headers = HeaderMap::with_capacity(fixed_len + request.headers.len() + 1);
    for (name, value) in fixed
        .into_iter()
        .flat_map(Headers::iter)
        .chain(request.headers.iter())
    {
        let name = HeaderName::from_bytes(name).map_err(|_| impossible("a header name"))?;
        let value = HeaderValue::from_bytes(value);
        headers.append(name, value.map_err(|_| impossible("a header value"))?);
    }
    if let Some(length) = request.length() {
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *head.headers_mut() = headers;
    Ok(head)
}

/// Copies the fields into one buffer and slices it: two allocations for the whole head.
fn fields(map: &HeaderMap) -> Headers {
    let bytes = map.iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
    let mut text = BytesMut::with_capacity(bytes);
    for (name, value) in map {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(value.as_bytes());
    }
    let mut text = text.freeze();
    let mut headers = Headers::with_capacity(map.len());
    for (name, value) in map {
        let name = text.split_to(name.as_str().len());
        headers.push_bytes(name, text.split_to(value.len()));
    }
    headers
}
