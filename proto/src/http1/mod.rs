//! HTTP/1.1 heads (RFC 9112), read strictly and written safely.
//!
//! A gateway stands between two parsers, so wherever a lenient reading exists the message is refused: bare LF, folded
//! lines, two ways to state a body's length, a transfer coding other than `chunked`, two hosts. Everything accepted
//! has exactly one reading, and the writer cannot be made to write a second one.
//!
//! [`parse_request`] and [`parse_response`] split a whole head off the front of the read buffer and leave the bytes
//! behind it (a body, the next request) where they are. Values are slices of the head; nothing is copied.

mod framing;
mod prefix;
mod read;
mod write;

pub use framing::{Framing, ResponseFraming};
pub use prefix::{Prefix, write_request};
pub use read::{parse_request, parse_response};
pub use write::{
    WriteFault, reason_phrase, write_dated_response_head, write_request_head, write_response_head,
};

use crate::http::names::{self, FieldName, NameSet};
use crate::http::octets::{self, AUTHORITY, TARGET};
use crate::http::{Headers, Method};
use bytes::Bytes;

/// Most fields any head may have, whatever [`HeadLimits`] say: lookups of unusual names pass over all of them.
pub const FIELDS_MAX: usize = 128;
/// Largest head, whatever [`HeadLimits`] say: offsets into it are 16 bits.
pub const HEAD_BYTES_MAX: usize = u16::MAX as usize;

/// Bounds on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the first of the start line to the last of the blank line.
    pub head_bytes_max: usize,
    /// Fields, `Host` included.
    pub fields_max: usize,
}

impl Default for HeadLimits {
    /// 16 KiB holds a large token and a large cookie; 100 fields is what others allow.
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * 1024,
            fields_max: 100,
        }
    }
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP/1.x, or something two parsers could read differently; the text says what.
    #[error("malformed head: {0}")]
    Malformed(&'static str),
    /// Larger than its bound, or more fields than allowed.
    #[error("head too large")]
    TooLarge,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Method token.
    pub method: Method,
    /// Path and query, beginning with `/`.
    pub target: Bytes,
    /// The one host this request is for: of `Host`, or of an absolute target.
    pub authority: Bytes,
    /// All fields in order, names in lower case, without `host`.
    pub headers: Headers,
    /// 0 or 1.
    pub version_minor: u8,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client wants to use the connection again.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
}

/// A response's head. Interim ones (1xx) are given like any other; the final one follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Status code, 100 to 599.
    pub status: u16,
    /// All fields in order, names in lower case.
    pub headers: Headers,
    /// 0 or 1.
    pub version_minor: u8,
    /// How the body is delimited.
    pub framing: ResponseFraming,
    /// Whether the connection can be used again after the body.
    pub keep_alive: bool,
}

/// Whether a field belongs to one connection and its framing, so that only a codec may write it (RFC 9110 §7.6.1).
/// Names in `Connection` itself come on top; see [`named_by_connection`].
pub fn is_connection_field(name: &[u8]) -> bool {
    FieldName::find(name).is_some_and(|name| CONNECTION_FIELDS.has(name))
}

const CONNECTION_FIELDS: NameSet = NameSet::of(&[
    names::CONNECTION,
    names::CONTENT_LENGTH,
    names::KEEP_ALIVE,
    names::PROXY_CONNECTION,
    names::TE,
    names::TRAILER,
    names::TRANSFER_ENCODING,
    names::UPGRADE,
]);
const STEERING_FIELDS: NameSet = CONNECTION_FIELDS.and(names::HOST).and(names::EXPECT);

/// Whether only we may write this field in a request: it belongs to the connection, names the host, or asks for an
/// interim answer that nobody here waits for.
pub fn steers(name: &[u8]) -> bool {
    FieldName::find(name).is_some_and(|name| STEERING_FIELDS.has(name))
}

/// Whether one of these fields [`steers`].
pub fn any_steers(headers: &Headers) -> bool {
    headers.has_any(STEERING_FIELDS)
}

/// Whether some `Connection` field names `name`, which makes it one that must not be forwarded.
pub fn named_by_connection(headers: &Headers, name: &[u8]) -> bool {
    framing::connection_options(headers).any(|option| option.eq_ignore_ascii_case(name))
}

/// Whether `authority` can stand in `Host`: the characters of a host and port, no user, not empty.
pub(crate) fn is_authority(authority: &[u8]) -> bool {
    !authority.is_empty() && octets::all(authority, AUTHORITY)
}

/// Whether `target` is in origin form: a path, perhaps a query, nothing invisible and no fragment.
pub(crate) fn is_origin_form(target: &[u8]) -> bool {
    target.starts_with(b"/") && octets::all(target, TARGET)
}

#[cfg(test)]
mod tests;
