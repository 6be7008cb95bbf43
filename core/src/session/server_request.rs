//! The id under which a server's own request reaches a legacy client.
//!
//! Servers number their requests from zero, so on a merged session two of them collide; and the client's answer
//! comes as a separate POST, on any worker, with nothing but that id. So the id says where the answer belongs.
//! It is sealed, because whoever could make one up could answer a question that was put to somebody else.

use super::{
    SessionId,
    wire::{Reader, Writer},
};
use crate::{
    limits::{ID_BYTES_MAX, LEG_ID_BYTES_MAX, SERVER_REQUEST_ID_CHARS_MAX},
    seal::{Broken, Entropy, Purpose, Sealer},
};
use bytes::Bytes;

/// Where the answer to a server's request belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRequestId {
    /// The server that asked.
    pub server: Box<str>,
    /// Its session, when it has any.
    pub upstream_session: Option<Box<str>>,
    /// Its own id of the request: raw JSON, a number or a quoted string.
    pub id: Bytes,
}

/// Format number inside the seal.
const FORMAT: u8 = 1;

impl ServerRequestId {
    /// The id for the client of this session, without quotes; it needs no escapes. Fails when a part of it is
    /// beyond its bound.
    pub fn seal(&self, sealer: &Sealer, session: SessionId, entropy: Entropy<'_>) -> Result<String, Broken> {
        let upstream = self.upstream_session.as_deref().map(str::as_bytes);
        if self.id.len() > ID_BYTES_MAX || upstream.is_some_and(|u| u.len() > LEG_ID_BYTES_MAX) {
            return Err(Broken);
        }
        let mut w = Writer::default();
        w.byte(FORMAT)
            .fixed(&session)
            .bytes(self.server.as_bytes())
            .optional(upstream)
            .bytes(&self.id);
        sealer.seal(Purpose::ServerRequest, &w.out, entropy).ok_or(Broken)
    }

    /// Opens the id of an answer that came on this session.
    pub fn open(sealer: &Sealer, text: &[u8], session: SessionId) -> Result<Self, Broken> {
        let plain = sealer.open(Purpose::ServerRequest, text, SERVER_REQUEST_ID_CHARS_MAX)?;
        Self::read(&plain, session).ok_or(Broken)
    }

    fn read(plain: &[u8], session: SessionId) -> Option<Self> {
        let mut r = Reader(plain);
        if r.byte()? != FORMAT || r.fixed::<16>()? != session {
            return None;
        }
        let read = Self {
            server: r.text()?,
            upstream_session: super::text(r.optional()?)?,
            id: Bytes::copy_from_slice(r.bytes()?),
        };
        r.end()?;
        Some(read)
    }
}
