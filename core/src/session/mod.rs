//! Sessions of the legacy era, and other state that travels with the client.
//!
//! `Mcp-Session-Id` is a sealed [`SessionToken`]: whose session it is, at which endpoint, what was agreed, and
//! the ids of the sessions that servers behind it gave. Any replica opens it; nothing is stored. So a session
//! ends by expiry alone, and `DELETE` has nothing to forget here.
//!
//! A session id proves nothing about who sends it (security best practices of the specification): each request
//! is authenticated on its own, and a session opens only for the credential, tenant and endpoint it was made for.
//!
//! A header field has limits, so a token has: client facts are cut to what matters, and a leg that does not fit
//! is left out. The runtime then opens that upstream session anew when it is needed, as it does for one that the
//! upstream lost.
//!
//! [`Parked`] and [`ServerRequestId`] are the same idea for a call that waits for a person and for a server's
//! own request to the client.

mod parked;
mod question;
mod server_request;
mod wire;

pub use parked::{Parked, RequestDigest, request_digest};
pub use question::QuestionId;
pub use server_request::ServerRequestId;

use crate::{
    limits::{
        LEG_ID_BYTES_MAX, Limits, SESSION_CAPABILITIES_BYTES_MAX, SESSION_CLIENT_INFO_BYTES_MAX,
        SESSION_TOKEN_CHARS_MAX,
    },
    rejection::Rejection,
    seal::{Entropy, Purpose, Sealer, sealed_chars},
    snapshot::{Principal, one_line},
};
use bytes::Bytes;
use ringway_proto::{
    json::{self, Kind},
    revision::{Era, Revision},
};
use wire::{Reader, Writer};

/// What makes a session the same one, however often its token is sealed again.
pub type SessionId = [u8; 16];

/// A legacy session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionToken {
    /// Random; the session's identity.
    pub id: SessionId,
    /// The server whose own endpoint it is for; `None` for `/mcp`.
    pub server: Option<Box<str>>,
    /// The credential that opened it.
    pub credential: Box<str>,
    /// Its tenant.
    pub tenant: Box<str>,
    /// The revision that `initialize` agreed on; a legacy one.
    pub revision: Revision,
    /// Seconds since the epoch.
    pub issued_at_s: u64,
    /// Seconds since the epoch; from then on the session is unknown.
    pub expires_at_s: u64,
    /// The client's `capabilities`, an object, perhaps without some large members.
    pub capabilities: Bytes,
    /// The client's `clientInfo`, perhaps cut to name, title and version.
    pub client_info: Option<Bytes>,
    /// The sessions of servers behind this one.
    pub legs: Vec<Leg>,
}

/// A session that a server gave us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The server's name.
    pub server: Box<str>,
    /// Its `Mcp-Session-Id`; `None` for a server that gave none and is initialized all the same.
    pub session: Option<Box<str>>,
}

/// Format number inside the seal.
const FORMAT: u8 = 1;

impl SessionToken {
    /// A new session without legs. `capabilities` and `client_info` are the client's own JSON, already checked.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one fact of initialize, and all are needed"
    )]
    pub fn new(
        principal: &Principal,
        server: Option<&str>,
        revision: Revision,
        capabilities: Option<&[u8]>,
        client_info: Option<&[u8]>,
        now_s: u64,
        limits: &Limits,
        entropy: Entropy<'_>,
    ) -> Self {
        let mut id = SessionId::default();
        entropy(&mut id);
        Self {
            id,
            server: server.map(Into::into),
            credential: principal.credential.clone(),
            tenant: principal.tenant.clone(),
            revision,
            issued_at_s: now_s,
            expires_at_s: now_s.saturating_add(u64::from(limits.session_lifetime_s)),
            capabilities: capabilities.map_or_else(|| Bytes::from_static(b"{}"), bounded_capabilities),
            client_info: client_info.and_then(bounded_client_info),
            legs: Vec::new(),
        }
    }

    /// The `Mcp-Session-Id`. Legs beyond its bound are left out, the last first.
    pub fn seal(&self, sealer: &Sealer, entropy: Entropy<'_>) -> Result<String, Rejection> {
        let mut plain = self.write(&[]);
        for kept in 1..=self.legs.len() {
            let longer = self.write(&self.legs[..kept]);
            if sealed_chars(longer.len()) > SESSION_TOKEN_CHARS_MAX {
                break;
            }
            plain = longer;
        }
        sealer
            .seal(Purpose::Session, &plain, entropy)
            .ok_or(Rejection::Internal)
    }

    /// Opens a token for this caller at this endpoint. Anything amiss reads as a session that is not known, on
    /// which a client opens a new one.
    pub fn open(
        sealer: &Sealer,
        text: &[u8],
        principal: &Principal,
        server: Option<&str>,
        now_s: u64,
    ) -> Result<Self, Rejection> {
        let plain = sealer.open(Purpose::Session, text, SESSION_TOKEN_CHARS_MAX);
        let plain = plain.map_err(|_| Rejection::SessionUnknown)?;
        let token = Self::read(&plain).ok_or(Rejection::SessionUnknown)?;
        let ours = token.credential == principal.credential
            && token.tenant == principal.tenant
            && token.server.as_deref() == server
            && now_s < token.expires_at_s;
        if ours {
            Ok(token)
        } else {
            Err(Rejection::SessionUnknown)
        }
    }

    /// The leg to this server.
    pub fn leg(&self, server: &str) -> Option<&Leg> {
        self.legs.iter().find(|leg| *leg.server == *server)
    }

    /// Notes the session a server gave, in the place of an older one. An id too long to keep is forgotten.
    pub fn set_leg(&mut self, server: &str, session: Option<&str>) {
        self.legs.retain(|leg| *leg.server != *server);
        if session.is_none_or(|id| id.len() <= LEG_ID_BYTES_MAX) {
            self.legs.push(Leg {
                server: server.into(),
                session: session.map(Into::into),
            });
        }
    }

    fn write(&self, legs: &[Leg]) -> Vec<u8> {
        let mut w = Writer::default();
        w.byte(FORMAT)
            .fixed(&self.id)
            .optional(self.server.as_deref().map(str::as_bytes))
            .bytes(self.credential.as_bytes())
            .bytes(self.tenant.as_bytes())
            .bytes(self.revision.as_str().as_bytes())
            .number(self.issued_at_s)
            .number(self.expires_at_s)
            .bytes(&self.capabilities)
            .optional(self.client_info.as_deref())
            .number(legs.len() as u64);
        for leg in legs {
            w.bytes(leg.server.as_bytes())
                .optional(leg.session.as_deref().map(str::as_bytes));
        }
        w.out
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let mut r = Reader(plain);
        if r.byte()? != FORMAT {
            return None;
        }
        let mut token = Self {
            id: r.fixed()?,
            server: text(r.optional()?)?,
            credential: r.text()?,
            tenant: r.text()?,
            revision: Revision::parse(r.bytes()?).filter(|r| r.era() == Era::Legacy)?,
            issued_at_s: r.number()?,
            expires_at_s: r.number()?,
            capabilities: Bytes::copy_from_slice(r.bytes()?),
            client_info: r.optional()?.map(Bytes::copy_from_slice),
            legs: Vec::new(),
        };
        for _ in 0..r.number()? {
            token.legs.push(Leg {
                server: r.text()?,
                session: text(r.optional()?)?,
            });
        }
        r.end()?;
        Some(token)
    }
}

fn text(bytes: Option<&[u8]>) -> Option<Option<Box<str>>> {
    match bytes {
        None => Some(None),
        Some(bytes) => std::str::from_utf8(bytes).ok().map(|text| Some(text.into())),
    }
}

/// The object with as many of its members as fit, in order: large `experimental` ones fall away, the small ones
/// that decide what a server may ask for (`sampling`, `elicitation`, `roots`) stay.
fn bounded_capabilities(raw: &[u8]) -> Bytes {
    if json::kind(raw, json::root(raw)) != Some(Kind::Object) {
        return Bytes::from_static(b"{}");
    }
    let whole = one_line(raw);
    if whole.len() <= SESSION_CAPABILITIES_BYTES_MAX {
        return whole.into();
    }
    let mut out = b"{".to_vec();
    for (key, value) in json::members(&whole, json::root(&whole)) {
        // A comma or the closing brace, two quotes, a colon.
        if out.len() + key.len() + value.len() + 5 <= SESSION_CAPABILITIES_BYTES_MAX {
            if out.len() > 1 {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(key.of(&whole));
            out.extend_from_slice(b"\":");
            out.extend_from_slice(value.of(&whole));
        }
    }
    out.push(b'}');
    out.into()
}

/// The object, or its name, title and version where those fit.
fn bounded_client_info(raw: &[u8]) -> Option<Bytes> {
    let root = json::root(raw);
    if json::kind(raw, root) != Some(Kind::Object) {
        return None;
    }
    let whole = one_line(raw);
    if whole.len() <= SESSION_CLIENT_INFO_BYTES_MAX {
        return Some(whole.into());
    }
    let mut out = b"{".to_vec();
    for key in ["name", "version", "title"] {
        let value = json::member(raw, root, key)
            .map(|v| v.of(raw))
            .filter(|v| v.starts_with(b"\""));
        if let Some(value) =
            value.filter(|v| out.len() + key.len() + v.len() + 5 <= SESSION_CLIENT_INFO_BYTES_MAX)
        {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(format!("\"{key}\":").as_bytes());
            out.extend_from_slice(value);
        }
    }
    out.push(b'}');
    Some(out.into())
}

#[cfg(test)]
mod tests;
