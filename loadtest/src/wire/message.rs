//! What is sent and what comes back: [`Head`], [`Request`], [`Want`], [`Answer`].
//!
//! A head is rendered once for all the calls that share it, so that a call costs a copy of finished bytes and no
//! formatting but its body's length.

use super::{Target, TargetError};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::time::{Duration, Instant};

/// Largest body that is kept unless the caller says otherwise; the largest results are 16 MiB.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest event that is kept; a result may come as one.
pub const EVENT_BYTES_MAX: usize = BODY_BYTES_MAX;

/// What a request can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A message.
    Post,
    /// A stream of the server's own messages.
    Get,
    /// The end of a session.
    Delete,
    /// What a metrics gateway is to hold, in place of what it held.
    Put,
}

impl Method {
    pub(super) fn http(self) -> http::Method {
        match self {
            Self::Post => http::Method::POST,
            Self::Get => http::Method::GET,
            Self::Delete => http::Method::DELETE,
            Self::Put => http::Method::PUT,
        }
    }
}

/// The part of a request that many calls share.
#[derive(Clone, Debug)]
pub struct Head {
    pub(super) method: Method,
    /// For HTTP/1.1: start line and fields, up to where the body's length is said.
    pub(super) rendered: Vec<u8>,
    /// For HTTP/2.
    pub(super) uri: Uri,
    pub(super) fields: HeaderMap,
}

impl Head {
    /// A head for `target`'s own path. Fields that frame or route the message (`host`, `content-length`,
    /// `connection`, `transfer-encoding`…) are the connection's business and refused.
    pub fn new(target: &Target, method: Method, fields: &[(&str, &str)]) -> Result<Self, TargetError> {
        Self::with_path(target, method, target.path(), fields)
    }

    /// A head for another path on `target`.
    pub fn with_path(
        target: &Target,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Self, TargetError> {
        let uri = target.uri(path)?;
        let mut rendered = Vec::with_capacity(512);
        for part in [
            method.http().as_str(),
            " ",
            path,
            " HTTP/1.1\r\nhost: ",
            target.authority(),
            "\r\n",
        ] {
            rendered.extend_from_slice(part.as_bytes());
        }
        let mut map = HeaderMap::with_capacity(fields.len());
        for (name, value) in fields {
            let wrong = |why: String| TargetError::Field {
                name: (*name).to_owned(),
                why,
            };
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|e| wrong(e.to_string()))?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|e| wrong(e.to_string()))?;
            if key == "host" || ringway_proto::http1::is_connection_field(key.as_str().as_bytes()) {
                return Err(wrong("is written by the connection itself".to_owned()));
            }
            write_field(&mut rendered, &key, &value);
            map.append(key, value);
        }
        Ok(Self {
            method,
            rendered,
            uri,
            fields: map,
        })
    }

    /// The pseudo-fields of HTTP/2 as text.
    pub(super) fn pseudo_bytes(&self) -> u64 {
        let method = self.method.http();
        let parts = [
            ":method",
            method.as_str(),
            ":scheme",
            self.uri.scheme_str().unwrap_or_default(),
            ":authority",
            self.uri.authority().map_or("", http::uri::Authority::as_str),
            ":path",
            self.uri.path(),
            self.uri.query().unwrap_or_default(),
        ];
        parts.iter().map(|part| part.len() as u64).sum()
    }
}

pub(super) fn write_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// One call to send.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What it shares with others.
    pub head: &'a Head,
    /// Fields of this call alone; mostly none.
    pub extra: &'a [(HeaderName, HeaderValue)],
    /// The message; empty for GET and DELETE.
    pub body: Bytes,
}

/// What to do with an answer's body. Events are always read one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyWish {
    /// Give it; larger than this is a protocol fault.
    Keep {
        /// The bound.
        bytes_max: usize,
    },
    /// Only count it.
    Discard,
}

/// When the caller walks away: the HTTP/1.1 connection is closed, the HTTP/2 stream reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Abandon {
    /// Never.
    #[default]
    Never,
    /// So long after the call began.
    After(Duration),
    /// As soon as something of the answer's body (or its first event) has come.
    AfterFirst,
}

/// How one exchange is to go.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// From the call's start to the answer's last byte; none for streams that are held open.
    pub timeout: Option<Duration>,
    /// What becomes of the body.
    pub body: BodyWish,
    /// Largest event taken.
    pub event_bytes_max: usize,
    /// Read no faster than this (a slow client); none reads as fast as it comes.
    pub read_bytes_per_s: Option<u32>,
    /// When to walk away.
    pub abandon: Abandon,
}

impl Default for Want {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(30)),
            body: BodyWish::Keep {
                bytes_max: BODY_BYTES_MAX,
            },
            event_bytes_max: EVENT_BYTES_MAX,
            read_bytes_per_s: None,
            abandon: Abandon::Never,
        }
    }
}

/// What an answer's body is, by its `content-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `application/json`.
    Json,
    /// `text/event-stream`.
    Events,
    /// Anything else, named or not.
    Other,
}

impl Content {
    /// Reads a `content-type`.
    pub fn of(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::Other };
        let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
        let media = value[..end].trim_ascii();
        if media.eq_ignore_ascii_case(b"application/json") {
            Self::Json
        } else if media.eq_ignore_ascii_case(b"text/event-stream") {
            Self::Events
        } else {
            Self::Other
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With the answer's last byte.
    Complete,
    /// By [`Want::abandon`].
    Abandoned,
    /// By the listener, or by dropping a stream that was being read.
    Stopped,
}

/// An answer, or what there was of it when the caller walked away.
///
/// Drop it before the next call on an HTTP/1.1 connection: its body is a slice of the connection's read buffer, which
/// is used again once nobody holds it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status; 0 when the call was abandoned before the answer's head came.
    pub status: u16,
    /// What the body is.
    pub content: Content,
    /// The `mcp-session-id` field.
    pub session_id: Option<Bytes>,
    /// The body as asked for; of an event stream the data of the last event that had any.
    pub body: Bytes,
    /// Bytes of the body, kept or not, as they came (events with their framing).
    pub body_bytes: u64,
    /// Events that came.
    pub events: u64,
    /// Bytes sent: head and body; over HTTP/2 the fields as text before compression, no frame heads.
    pub bytes_out: u64,
    /// Bytes received, likewise.
    pub bytes_in: u64,
    /// When the request's first byte was written.
    pub written: Instant,
    /// When the first byte of the body was here; of an event stream its first event.
    pub first: Option<Instant>,
    /// When the last byte was here.
    pub last: Instant,
    /// How it ended.
    pub ended: Ended,
}

impl Answer {
    pub(super) fn begun(written: Instant, bytes_out: u64) -> Self {
        Self {
            status: 0,
            content: Content::Other,
            session_id: None,
            body: Bytes::new(),
            body_bytes: 0,
            events: 0,
            bytes_out,
            bytes_in: 0,
            written,
            first: None,
            last: written,
            ended: Ended::Stopped,
        }
    }
}

/// What a listener says after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More, please.
    Continue,
    /// Walk away now.
    Stop,
}
