//! Writing heads. The codec's own fields (`host`, framing, `connection`) are written here and only here: those of
//! them that stand in the list, left over from the other side, are passed over, so that a head can never state two
//! lengths. A field that would break out of its line is an error, and then nothing has been written.

use super::{CONNECTION_FIELDS, Framing, ResponseFraming, is_authority, is_origin_form};
use crate::http::names::{self, NameSet};
use crate::http::octets;
use crate::http::{FieldFault, Headers, Method, Name};

/// What a request's writer passes over: the connection's fields, and the host.
const FIELDS_OF_A_REQUEST: NameSet = CONNECTION_FIELDS.and(names::HOST);

/// Why a head cannot be written. The output is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteFault {
    /// A method without a token.
    #[error("method cannot be sent")]
    Method,
    /// A target that is not a path.
    #[error("request target cannot be sent")]
    Target,
    /// An authority with characters no host has.
    #[error("authority cannot be sent")]
    Authority,
    /// A status outside 100 to 599.
    #[error("status cannot be sent")]
    Status,
    /// A name that is no token.
    #[error("field name cannot be sent")]
    Name,
    /// A value with CR, LF, NUL or another control character.
    #[error("field value cannot be sent")]
    Value,
    /// A field that belongs to the codec ([`steers`]) where only others may stand.
    #[error("a field that steers the connection is not the caller's to send")]
    Steering,
    /// More text than any head may have.
    #[error("head too large to be sent")]
    TooLarge,
}

impl From<FieldFault> for WriteFault {
    fn from(fault: FieldFault) -> Self {
        match fault {
            FieldFault::Name => Self::Name,
            FieldFault::Value => Self::Value,
            FieldFault::TooLarge => Self::TooLarge,
        }
    }
}

/// Appends a request's head. `body` is written as `content-length` or `transfer-encoding`.
pub fn write_request_head(
    out: &mut Vec<u8>,
    method: Method,
    target: &[u8],
    authority: &[u8],
    headers: &Headers,
    body: Framing,
) -> Result<(), WriteFault> {
    if method == Method::Other {
        return Err(WriteFault::Method);
    }
    if !is_origin_form(target) {
        return Err(WriteFault::Target);
    }
    if !is_authority(authority) {
        return Err(WriteFault::Authority);
    }
    let before = out.len();
    out.extend_from_slice(method.token().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field(out, names::HOST, authority);
    if let Err(fault) = write_lines(out, headers, FIELDS_OF_A_REQUEST) {
        out.truncate(before);
        return Err(fault);
    }
    write_framing(out, body);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends a response's head. `keep_alive: false`, and a body until the connection closes, say `connection: close`.
pub fn write_response_head(
    out: &mut Vec<u8>,
    status: u16,
    headers: &Headers,
    body: ResponseFraming,
    keep_alive: bool,
) -> Result<(), WriteFault> {
    response_head(out, status, headers, None, body, keep_alive)
}

/// Appends a response's head that says its date.
pub fn write_dated_response_head(
    out: &mut Vec<u8>,
    status: u16,
    headers: &Headers,
    date: &[u8],
    body: ResponseFraming,
    keep_alive: bool,
) -> Result<(), WriteFault> {
    if !octets::is_value(date) {
        return Err(WriteFault::Value);
    }
    response_head(out, status, headers, Some(date), body, keep_alive)
}

#[inline]
fn response_head(
    out: &mut Vec<u8>,
    status: u16,
    headers: &Headers,
    date: Option<&[u8]>,
    body: ResponseFraming,
    keep_alive: bool,
) -> Result<(), WriteFault> {
    let before = out.len();
    match status {
        200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        202 => out.extend_from_slice(b"HTTP/1.1 202 Accepted\r\n"),
        100..600 => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(decimal(&mut [0; 20], u64::from(status)));
            out.push(b' ');
            out.extend_from_slice(reason_phrase(status).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        _ => return Err(WriteFault::Status),
    }
    if let Err(fault) = write_lines(out, headers, CONNECTION_FIELDS) {
        out.truncate(before);
        return Err(fault);
    }
    if let Some(date) = date {
        write_field(out, names::DATE, date);
    }
    match body {
        ResponseFraming::None | ResponseFraming::UntilClose => {}
        ResponseFraming::Length(length) => write_length(out, length),
        ResponseFraming::Chunked => write_field(out, names::TRANSFER_ENCODING, b"chunked"),
    }
    if !keep_alive || body == ResponseFraming::UntilClose {
        write_field(out, names::CONNECTION, b"close");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The usual phrase for a status; empty for unusual ones, which is allowed and which nobody reads.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

/// Writes all fields but those `left_out`. None of them can break out of its line: a list takes no such field.
pub(super) fn write_lines(out: &mut Vec<u8>, headers: &Headers, left_out: NameSet) -> Result<(), WriteFault> {
    if let Some(fault) = headers.fault() {
        return Err(fault.into());
    }
    match headers.lines() {
        Some(lines) if !headers.has_any(left_out) => out.extend_from_slice(lines),
        _ => {
            for (name, value) in headers.named() {
                match name {
                    Name::Known(known) if left_out.has(known) => {}
                    _ => write_field(out, name, value),
                }
            }
        }
    }
    Ok(())
}

pub(super) fn write_field<'n>(out: &mut Vec<u8>, name: impl Into<Name<'n>>, value: &[u8]) {
    match name.into() {
        Name::Known(known) => out.extend_from_slice(known.line().as_bytes()),
        Name::Other(text) => {
            out.extend_from_slice(text);
            out.extend_from_slice(b": ");
        }
    }
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_framing(out: &mut Vec<u8>, body: Framing) {
    match body {
        Framing::None => {}
        Framing::Length(length) => write_length(out, length),
        Framing::Chunked => write_field(out, names::TRANSFER_ENCODING, b"chunked"),
    }
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    write_field(out, names::CONTENT_LENGTH, decimal(&mut [0; 20], length));
}

/// `n` in decimal; 20 digits hold any `u64`.
fn decimal(digits: &mut [u8; 20], mut n: u64) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 || start == 0 {
            return &digits[start..];
        }
    }
}
