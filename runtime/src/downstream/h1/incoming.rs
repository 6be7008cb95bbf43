//! Request bodies: read whole, capped, within their time; and what is done with one nobody wants.

use super::{After, Connection, Read};
use crate::{
    http::{BodyFault, Service},
    io,
};
use bytes::{Buf, Bytes, BytesMut};
use ringway_proto::{
    chunked::{Chunk, Decoder},
    http1::Framing,
};
use std::time::Instant;

/// Asks a client that waits for it to send its body (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// A stated length is believed this far ahead: room grows with what really arrives.
const ROOM_AHEAD: usize = 256 << 10;

/// What of a request's body stands between us and the next request.
pub(super) enum Unread {
    /// Nothing: the next request follows.
    Nothing,
    /// So many bytes, sent or to be sent.
    Bytes(u64),
    /// Nobody can tell where the next request begins.
    Unknown,
}

impl<S: Service> Connection<'_, S> {
    /// The state of a body that was not touched.
    pub(super) fn unread(&self, framing: Framing, expects: bool) -> Unread {
        match framing {
            Framing::None | Framing::Length(0) => Unread::Nothing,
            // Told no instead of "continue", the client may skip the body or send it all the same.
            _ if expects && self.buf.is_empty() => Unread::Unknown,
            Framing::Length(n) => Unread::Bytes(n),
            Framing::Chunked => Unread::Unknown,
        }
    }

    /// Reads the whole body, or tells what is wrong with it.
    pub(super) async fn read_body(
        &mut self,
        framing: Framing,
        bytes_max: usize,
        expects: bool,
    ) -> (Result<Bytes, BodyFault>, Unread) {
        let length = match framing {
            Framing::None | Framing::Length(0) => return (Ok(Bytes::new()), Unread::Nothing),
            Framing::Length(n) if n > bytes_max as u64 => {
                return (Err(BodyFault::TooLarge), self.unread(framing, expects));
            }
            // It fits: it is not more than a `usize`.
            Framing::Length(n) => Some(n as usize),
            Framing::Chunked => None,
        };
        if let Some(length) = length
            && length <= self.buf.len()
        {
            // The usual case: it came with its head.
            return (Ok(self.buf.split_to(length).freeze()), Unread::Nothing);
        }
        let deadline = Instant::now() + super::millis(self.hall.limits.body_timeout_ms);
        if expects && self.buf.is_empty() {
            let asked = self.stream.write_all(Bytes::from_static(CONTINUE));
            if !matches!(io::timeout_at(deadline, asked).await, Ok(Ok(()))) {
                return (Err(BodyFault::Malformed), Unread::Unknown);
            }
        }
        let body = match length {
            Some(length) => self.read_length(length, deadline).await,
            None => self.read_chunked(bytes_max, deadline).await,
        };
        let unread = if body.is_ok() {
            Unread::Nothing
        } else {
            Unread::Unknown
        };
        (body, unread)
    }

    async fn read_length(&mut self, length: usize, deadline: Instant) -> Result<Bytes, BodyFault> {
        while self.buf.len() < length {
            let missing = length - self.buf.len();
            self.buf.reserve(missing.min(ROOM_AHEAD.max(self.buf.len())));
            self.read_more(deadline).await?;
        }
        Ok(self.buf.split_to(length).freeze())
    }

    async fn read_chunked(&mut self, bytes_max: usize, deadline: Instant) -> Result<Bytes, BodyFault> {
        let mut decoder = Decoder::new();
        // One chunk is the usual case and is not copied.
        let mut only: Option<Bytes> = None;
        let mut whole = BytesMut::new();
        loop {
            match decoder.decode(&mut self.buf).map_err(|_| BodyFault::Malformed)? {
                Chunk::More => self.read_more(deadline).await?,
                Chunk::End => return Ok(only.unwrap_or_else(|| whole.freeze())),
                Chunk::Data(data) => {
                    let so_far = only.as_ref().map_or(whole.len(), Bytes::len);
                    if data.len() > bytes_max - so_far {
                        return Err(BodyFault::TooLarge);
                    }
                    if let Some(first) = only.take() {
                        whole.extend_from_slice(&first);
                        whole.extend_from_slice(&data);
                    } else if whole.is_empty() {
                        only = Some(data);
                    } else {
                        whole.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    async fn read_more(&mut self, deadline: Instant) -> Result<(), BodyFault> {
        match self.read_by(deadline).await {
            Read::Some => Ok(()),
            Read::Late => Err(BodyFault::Slow),
            Read::End => Err(BodyFault::Malformed),
        }
    }

    /// Whether the connection can be used again after throwing the rest of the body away.
    pub(super) fn can_discard(&self, unread: &Unread) -> bool {
        match unread {
            Unread::Nothing => true,
            Unread::Bytes(n) => *n <= self.hall.limits.discard_bytes_max as u64,
            Unread::Unknown => false,
        }
    }

    /// Throws the rest of the body away, after the answer.
    pub(super) async fn discard(&mut self, unread: Unread) -> After {
        let Unread::Bytes(mut left) = unread else {
            return After::Next;
        };
        let deadline = Instant::now() + super::millis(self.hall.limits.body_timeout_ms);
        loop {
            let here = self.buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.buf.advance(here);
            left -= here as u64;
            if left == 0 {
                return After::Next;
            }
            if !matches!(self.read_by(deadline).await, Read::Some) {
                return After::Cut;
            }
        }
    }
}
