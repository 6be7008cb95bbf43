//! One call on one stream: the request out, the answer's head in, its body piece by piece.

use super::{Http2, Slot, fault_of};
use crate::wire::{
    fault::{Fault, Halt},
    message::{Answer, Content, Request},
    watch::{Alarm, Watch},
};
use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use std::{future::poll_fn, time::Instant};

/// The rest of one answer. Dropped before its end, it resets the stream.
pub(in crate::wire) struct Body<'c> {
    alarm: &'c mut Alarm,
    receive: RecvStream,
    /// The connection's flow control owes the peer so much of what was read.
    unreleased: usize,
    bytes_in: u64,
    length: Option<u64>,
    _slot: Slot,
}

impl Http2 {
    /// Sends a request and reads the head of its answer into `answer`.
    pub(in crate::wire) async fn begin<'c>(
        &'c mut self,
        request: &Request<'_>,
        answer: &mut Answer,
        watch: &mut Watch,
    ) -> Result<Body<'c>, Halt> {
        let slot = Slot::take(&self.shared)?;
        let (head, head_bytes) = head_of(request)?;
        let Self { send, alarm, .. } = self;
        watch
            .guard(alarm, poll_fn(|cx| send.poll_ready(cx)))
            .await?
            .map_err(|error| fault_of(&error).stale())?;

        answer.written = Instant::now();
        let (response, mut stream) = send
            .send_request(head, request.body.is_empty())
            .map_err(|error| fault_of(&error).stale())?;
        if !request.body.is_empty() {
            // All of it is in memory already; what the peer's window does not let through yet waits there.
            stream
                .send_data(request.body.clone(), true)
                .map_err(|error| fault_of(&error))?;
        }
        answer.bytes_out = head_bytes + request.body.len() as u64;

        let response = watch
            .guard(alarm, response)
            .await?
            .map_err(|error| fault_of(&error))?;
        answer.last = Instant::now();
        let (parts, receive) = response.into_parts();
        let field = |name: &str| parts.headers.get(name).map(http::HeaderValue::as_bytes);
        answer.status = parts.status.as_u16();
        answer.content = Content::of(field("content-type"));
        answer.session_id = field("mcp-session-id").map(Bytes::copy_from_slice);
        let length = field("content-length")
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| digits.parse().ok());
        let bytes_in = text_bytes(&parts.headers) + b":status200".len() as u64;
        answer.bytes_in = bytes_in;
        Ok(Body {
            alarm,
            receive,
            unreleased: 0,
            bytes_in,
            length,
            _slot: slot,
        })
    }
}

impl Body<'_> {
    /// The next piece and when it was here; `None` at the end.
    pub(in crate::wire) async fn piece(
        &mut self,
        watch: &mut Watch,
    ) -> Result<Option<(Bytes, Instant)>, Halt> {
        watch.allowance(self.alarm).await?;
        let owed = std::mem::take(&mut self.unreleased);
        if owed > 0 {
            self.receive
                .flow_control()
                .release_capacity(owed)
                .map_err(|error| fault_of(&error))?;
        }
        loop {
            let data = watch
                .guard(self.alarm, poll_fn(|cx| self.receive.poll_data(cx)))
                .await?;
            match data {
                None => return Ok(None),
                Some(Err(error)) => return Err(fault_of(&error).into()),
                // An empty DATA frame says nothing.
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.unreleased = data.len();
                    self.bytes_in += data.len() as u64;
                    watch.took(data.len());
                    return Ok(Some((data, Instant::now())));
                }
            }
        }
    }

    /// Bytes received in this exchange.
    pub(in crate::wire) fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// The body's length, where the peer told it.
    pub(in crate::wire) fn length(&self) -> Option<u64> {
        self.length
    }
}

/// The request's head, and its size as text.
fn head_of(request: &Request<'_>) -> Result<(http::Request<()>, u64), Fault> {
    let mut head = http::Request::new(());
    *head.method_mut() = request.head.method.http();
    *head.uri_mut() = request.head.uri.clone();
    *head.version_mut() = http::Version::HTTP_2;
    let mut fields = request.head.fields.clone();
    for (name, value) in request.extra {
        fields
            .try_append(name.clone(), value.clone())
            .map_err(|_| Fault::protocol("more header fields than can be sent"))?;
    }
    // Some servers want to know before the end how much is coming, as HTTP/1.1 tells them.
    if !request.body.is_empty() {
        fields.insert(http::header::CONTENT_LENGTH, request.body.len().into());
    }
    let bytes = text_bytes(&fields) + request.head.pseudo_bytes();
    *head.headers_mut() = fields;
    Ok((head, bytes))
}

/// Names and values as text, before compression.
fn text_bytes(fields: &HeaderMap) -> u64 {
    fields
        .iter()
        .map(|(name, value)| (name.as_str().len() + value.len()) as u64)
        .sum()
}
