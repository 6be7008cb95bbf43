//! Where a body ends (RFC 9112 §6): the rules that request smuggling lives on.

use super::HeadError;
use crate::http::Headers;

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// How a response's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Everything until the connection closes.
    UntilClose,
}

/// What the two framing fields say together. `None` from them both is left to the caller to interpret.
pub(super) fn framing(headers: &Headers, version_minor: u8) -> Result<Framing, HeadError> {
    let mut codings = headers.get_all("transfer-encoding");
    let length = content_length(headers)?;
    let Some(coding) = codings.next() else {
        return Ok(length.map_or(Framing::None, Framing::Length));
    };
    if length.is_some() {
        return Err(HeadError::Malformed("both content-length and transfer-encoding"));
    }
    if version_minor == 0 {
        return Err(HeadError::Malformed("transfer-encoding in HTTP/1.0"));
    }
    if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(HeadError::Malformed("transfer-encoding other than chunked"));
    }
    Ok(Framing::Chunked)
}

fn content_length(headers: &Headers) -> Result<Option<u64>, HeadError> {
    let mut agreed = None;
    for value in headers.get_all("content-length") {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(HeadError::Malformed("content-length is not a number"));
        }
        let length = std::str::from_utf8(value)
            .ok()
            .and_then(|digits| digits.parse::<u64>().ok());
        let Some(length) = length else {
            return Err(HeadError::Malformed("content-length does not fit 64 bits"));
        };
        if agreed.replace(length).is_some_and(|before| before != length) {
            return Err(HeadError::Malformed("content-lengths differ"));
        }
    }
    Ok(agreed)
}

/// Whether the connection may go on after this message (RFC 9112 §9.3).
pub(super) fn keep_alive(headers: &Headers, version_minor: u8) -> bool {
    let mut asked = false;
    for option in connection_options(headers) {
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        asked |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    version_minor > 0 || asked
}

/// The members of all `Connection` fields.
pub(super) fn connection_options(headers: &Headers) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all("connection")
        .flat_map(|value| value.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
}
