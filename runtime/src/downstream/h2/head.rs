//! Heads of HTTP/2, in and out, as the values both codecs share.

use crate::http::{Head, HeadFault};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use ringway_proto::{
    http::{
        Headers, Method,
        names::{self, Name},
    },
    http1::is_connection_field,
};

/// Reads a request's head. `h2` has refused what RFC 9113 §8.2 and §8.3 call malformed, connection fields among
/// it; here stands what two readers could still take differently.
pub(super) fn read(parts: &Parts, fields_max: usize) -> Result<Head, HeadFault> {
    if parts.headers.len() > fields_max {
        return Err(HeadFault::TooLarge);
    }
    let target = parts.uri.path_and_query().ok_or(HeadFault::Malformed)?.as_str();
    if !target.starts_with('/') || !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(HeadFault::Malformed);
    }
    let authority = authority(parts)?;
    let mut headers = Headers::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        if name != http::header::HOST {
            headers.push_bytes(name.as_str(), value);
        }
    }
    if headers.fault().is_some() {
        return Err(HeadFault::Malformed);
    }
    Ok(Head {
        method: Method::from_token(parts.method.as_str().as_bytes()),
        target: Bytes::copy_from_slice(target.as_bytes()),
        authority: Bytes::copy_from_slice(authority),
        headers,
    })
}

/// `:authority`, or `Host` in its absence; one that is there twice must say the same (RFC 9113 §8.3.1).
fn authority(parts: &Parts) -> Result<&[u8], HeadFault> {
    let stated = parts
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let mut hosts = parts
        .headers
        .get_all(http::header::HOST)
        .iter()
        .map(HeaderValue::as_bytes);
    let authority = match (stated, hosts.next(), hosts.next()) {
        (_, _, Some(_)) | (None, None, _) => return Err(HeadFault::Malformed),
        (Some(stated), Some(host), None) if !stated.eq_ignore_ascii_case(host) => {
            return Err(HeadFault::Malformed);
        }
        (Some(authority), _, None) | (None, Some(authority), None) => authority,
    };
    // Whoever decides by host must not be shown a user before it, or two hosts.
    let is_host = |b: &u8| b.is_ascii_graphic() && !b"@/?#\\\",<>".contains(b);
    if authority.is_empty() || !authority.iter().all(is_host) {
        return Err(HeadFault::Malformed);
    }
    Ok(authority)
}

/// An answer's fields; `None` when one of them cannot be sent.
pub(super) fn write(headers: &Headers, date: Bytes, length: Option<u64>) -> Option<HeaderMap> {
    if headers.fault().is_some() {
        return None;
    }
    let mut map = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers.named() {
        let name = match name {
            Name::Known(names::CONTENT_TYPE) => http::header::CONTENT_TYPE,
            name if is_connection_field(name.bytes()) => continue,
            name => HeaderName::from_bytes(name.bytes()).ok()?,
        };
        map.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    map.insert(http::header::DATE, HeaderValue::from_maybe_shared(date).ok()?);
    if let Some(length) = length {
        map.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Some(map)
}
