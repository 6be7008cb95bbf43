//! Answers: the head, and a body that is written whole or pulled chunk by chunk.
//!
//! Back-pressure is not pulling: the next chunk is asked for once, and while its predecessor is being written
//! nobody polls for it. Chunks that are ready together leave in one write. A body that breaks off, or is not as
//! long as its length said, ends the connection without the last chunk, so that no client takes it for complete
//! (RFC 9112 §8).

use super::Connection;
use crate::{
    http::{Body, BodyStream, Response, Service},
    io,
};
use bytes::Bytes;
use ringway_core::limits::ANSWER_GATHER_BYTES;
use ringway_proto::{
    chunked::{self, CHUNK_END, LAST_CHUNK},
    http::Headers,
    http1::{ResponseFraming, write_dated_response_head, write_response_head},
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Instant,
};

/// A whole answer up to this size is copied behind its head, and leaves with what other connections have to write;
/// copying more would cost more than a system call of its own.
const COPIED_BYTES_MAX: usize = 4 << 10;
/// Room for a usual head.
const HEAD_ROOM: usize = 512;

/// What of the request shapes the answer.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// It answers HEAD: no body whatever the head says.
    pub to_head: bool,
    /// HTTP/1.0 knows no chunks.
    pub version_minor: u8,
}

/// The answer did not go out whole: the client is gone, takes nothing, or the body broke.
pub(super) struct Unfinished;

impl<S: Service> Connection<'_, S> {
    /// Writes an answer; `true` if the connection can be used again.
    pub(super) async fn write(
        &mut self,
        response: Response,
        shape: Shape,
        again: bool,
    ) -> Result<bool, Unfinished> {
        let Response {
            status,
            headers,
            body,
        } = response;
        let date = self.hall.date.now();
        let framing = framing(status, &body, shape);
        let again = again && framing != ResponseFraming::UntilClose;
        let mut out = self.blank();
        if let Err(fault) = write_dated_response_head(&mut out, status, &headers, &date, framing, again) {
            tracing::error!("an answer cannot be sent: {fault}");
            let framing = ResponseFraming::Length(0);
            // With no fields of the service's in it, this one can.
            let _ = write_response_head(&mut out, 500, &Headers::default(), framing, again);
            self.send(out).await?;
            return Ok(again);
        }
        // Pieces of the buffer that the server's answer was read into, which may be read into again.
        drop(headers);
        match body {
            _ if shape.to_head || framing == ResponseFraming::None => self.send(out).await?,
            Body::Empty => self.send(out).await?,
            Body::Full(data) => self.send_with(out, data).await?,
            Body::Stream(stream) => {
                let sent = self.pull(out, stream, framing).await;
                if sent.is_err() && self.gone {
                    self.hall.vitals.requests_abandoned.add_one();
                }
                sent?;
            }
        }
        Ok(again)
    }

    /// Pulls a body to its end. `out` holds the head, which waits for the first chunk if that is ready.
    async fn pull(
        &mut self,
        mut out: Vec<u8>,
        stream: BodyStream,
        framing: ResponseFraming,
    ) -> Result<(), Unfinished> {
        let BodyStream { length, mut source } = stream;
        let mut left = length;
        let mut next = source.next();
        loop {
            let step = match once(next.as_mut()).await {
                Some(step) => step,
                None => {
                    if !out.is_empty() {
                        self.send(out).await?;
                        out = self.blank();
                    }
                    self.attended(next.as_mut()).await.ok_or(Unfinished)?
                }
            };
            let chunk = match step {
                Some(Ok(chunk)) => chunk,
                None if left.is_none_or(|left| left == 0) => break,
                // What came before the break was good.
                Some(Err(_)) | None => return self.break_off(out).await,
            };
            if let Some(left) = &mut left {
                match left.checked_sub(chunk.len() as u64) {
                    Some(less) => *left = less,
                    None => return self.break_off(out).await,
                }
            }
            if !chunk.is_empty() {
                out = self.send_chunk(out, chunk, framing).await?;
            }
            drop(next);
            next = source.next();
        }
        if framing == ResponseFraming::Chunked {
            out.extend_from_slice(LAST_CHUNK);
        }
        self.send(out).await
    }

    async fn break_off(&mut self, out: Vec<u8>) -> Result<(), Unfinished> {
        self.send(out).await?;
        Err(Unfinished)
    }

    /// Adds a chunk to what is to be written, and writes it when it is much; gives what is still to be written.
    async fn send_chunk(
        &mut self,
        mut out: Vec<u8>,
        chunk: Bytes,
        framing: ResponseFraming,
    ) -> Result<Vec<u8>, Unfinished> {
        let chunked = framing == ResponseFraming::Chunked;
        if chunked {
            chunked::chunk_head(&mut out, chunk.len());
        }
        if out.len() + chunk.len() <= ANSWER_GATHER_BYTES {
            out.extend_from_slice(&chunk);
        } else {
            self.send(out).await?;
            let sent = chunk.clone();
            self.send_bytes(chunk).await?;
            io::recycle(sent);
            out = self.blank();
        }
        if chunked {
            out.extend_from_slice(CHUNK_END);
        }
        Ok(out)
    }

    async fn send_with(&mut self, mut out: Vec<u8>, data: Bytes) -> Result<(), Unfinished> {
        if data.len() <= COPIED_BYTES_MAX {
            out.extend_from_slice(&data);
            drop(data);
            return self.send(out).await;
        }
        self.send_both(out, data).await
    }

    /// An empty buffer: the memory of the last answer, or new.
    fn blank(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.reserve(HEAD_ROOM);
        out
    }

    async fn send(&mut self, out: Vec<u8>) -> Result<(), Unfinished> {
        let stall = super::millis(self.hall.limits.write_stall_timeout_ms);
        let at = Instant::now() + stall;
        let (written, out) = self.stream.write_vec_within(out, at, stall).await;
        self.out = out;
        written.map_err(|error| self.unsent(&error))
    }

    async fn send_bytes(&mut self, data: Bytes) -> Result<(), Unfinished> {
        let stall = super::millis(self.hall.limits.write_stall_timeout_ms);
        let written = self.stream.write_all_within(data, stall).await;
        written.map_err(|error| self.unsent(&error))
    }

    /// A head and a large body, in one write if the client takes it.
    async fn send_both(&mut self, out: Vec<u8>, data: Bytes) -> Result<(), Unfinished> {
        let stall = super::millis(self.hall.limits.write_stall_timeout_ms);
        let (written, out) = self.stream.write_pair_within(out, data, stall).await;
        self.out = out;
        written.map_err(|error| self.unsent(&error))
    }

    fn unsent(&mut self, error: &std::io::Error) -> Unfinished {
        tracing::debug!("answer to {} not sent: {error}", self.peer.remote);
        self.gone = true;
        Unfinished
    }
}

/// How the body is delimited (RFC 9112 §6.3, RFC 9110 §6.4.1).
fn framing(status: u16, body: &Body, shape: Shape) -> ResponseFraming {
    match body {
        _ if matches!(status, 100..200 | 204 | 304) => ResponseFraming::None,
        Body::Empty => ResponseFraming::Length(0),
        Body::Full(data) => ResponseFraming::Length(data.len() as u64),
        Body::Stream(BodyStream {
            length: Some(length), ..
        }) => ResponseFraming::Length(*length),
        Body::Stream(_) if shape.version_minor > 0 => ResponseFraming::Chunked,
        Body::Stream(_) => ResponseFraming::UntilClose,
    }
}

/// Polls once: the output if it is there.
async fn once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
