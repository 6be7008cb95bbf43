//! Reading heads: httparse finds the pieces, then names are lowered in place, the head is cut off the buffer, and
//! the pieces become slices of it.

use super::framing::{framing, keep_alive};
use super::{
    FIELDS_MAX, Framing, HEAD_BYTES_MAX, HeadError, HeadLimits, RequestHead, ResponseFraming, ResponseHead,
    is_authority, is_origin_form, names,
};
use crate::http::{Headers, Method};
use bytes::{Buf as _, Bytes, BytesMut};
use std::{mem::MaybeUninit, ops::Range};

/// Takes a request's head off the front of `buf`; `None` while it is not all there. Empty lines before it are
/// dropped (RFC 9112 §2.2). After an error the connection is of no further use.
pub fn parse_request(buf: &mut BytesMut, limits: HeadLimits) -> Result<Option<RequestHead>, HeadError> {
    while buf.starts_with(b"\r\n") {
        buf.advance(2);
    }
    let mut storage = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let seen = window(buf, limits);
    let parsed = request.parse_with_uninit_headers(seen, &mut storage[..limits.fields_max.min(FIELDS_MAX)]);
    let Some(length) = complete(parsed, seen, buf.len())? else {
        return Ok(None);
    };

    let method = Method::from_token(request.method.unwrap_or_default().as_bytes());
    let version_minor = request.version.unwrap_or_default();
    let target = place(seen, request.path.unwrap_or_default().as_bytes());
    let places = Places::of(seen, request.headers);
    let (head, headers, host) = places.cut(buf, length, true)?;

    let (target, authority) = target_and_authority(head.slice(target), host)?;
    Ok(Some(RequestHead {
        framing: framing(&headers, version_minor)?,
        keep_alive: keep_alive(&headers, version_minor),
        expect_continue: version_minor > 0
            && headers
                .get("expect")
                .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")),
        method,
        target,
        authority,
        headers,
        version_minor,
    }))
}

/// Takes a response's head off the front of `buf`; `None` while it is not all there. `request_was_head`: the
/// response answers a HEAD request and so has no body whatever it says.
pub fn parse_response(
    buf: &mut BytesMut,
    request_was_head: bool,
    limits: HeadLimits,
) -> Result<Option<ResponseHead>, HeadError> {
    // Whatever stands before the status line on a pooled connection was left over by the response before.
    if buf.first().is_some_and(|first| *first != b'H') {
        return Err(HeadError::Malformed("not a status line"));
    }
    let mut storage = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let seen = window(buf, limits);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        seen,
        &mut storage[..limits.fields_max.min(FIELDS_MAX)],
    );
    let Some(length) = complete(parsed, seen, buf.len())? else {
        return Ok(None);
    };

    let status = response.code.unwrap_or_default();
    if !(100..600).contains(&status) {
        return Err(HeadError::Malformed("status code out of range"));
    }
    let version_minor = response.version.unwrap_or_default();
    let (_, headers, _) = Places::of(seen, response.headers).cut(buf, length, false)?;

    let stated = framing(&headers, version_minor)?;
    let bodiless = request_was_head || matches!(status, 100..200 | 204 | 304);
    let framing = match stated {
        _ if bodiless => ResponseFraming::None,
        Framing::Length(length) => ResponseFraming::Length(length),
        Framing::Chunked => ResponseFraming::Chunked,
        Framing::None => ResponseFraming::UntilClose,
    };
    let keep_alive = framing != ResponseFraming::UntilClose && keep_alive(&headers, version_minor);
    Ok(Some(ResponseHead {
        status,
        headers,
        version_minor,
        framing,
        keep_alive,
    }))
}

/// The part of the buffer a head may fill.
fn window(buf: &[u8], limits: HeadLimits) -> &[u8] {
    &buf[..buf.len().min(limits.head_bytes_max).min(HEAD_BYTES_MAX)]
}

/// The head's length, once it is whole and has no line that another parser would end elsewhere.
fn complete(
    parsed: Result<httparse::Status<usize>, httparse::Error>,
    seen: &[u8],
    arrived: usize,
) -> Result<Option<usize>, HeadError> {
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if seen.len() < arrived => return Err(HeadError::TooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(reason(error)),
    };
    // httparse takes a bare LF for a line's end.
    if memchr::memchr_iter(b'\n', &seen[..length]).any(|at| at == 0 || seen[at - 1] != b'\r') {
        return Err(HeadError::Malformed("line ends without CR"));
    }
    Ok(Some(length))
}

fn reason(error: httparse::Error) -> HeadError {
    HeadError::Malformed(match error {
        httparse::Error::TooManyHeaders => return HeadError::TooLarge,
        httparse::Error::HeaderName => "bad field name",
        httparse::Error::HeaderValue => "bad field value",
        httparse::Error::NewLine => "bad line end",
        httparse::Error::Status => "bad status line",
        httparse::Error::Token => "bad request line",
        httparse::Error::Version => "unknown HTTP version",
    })
}

/// Where a piece found by httparse stands in the buffer it was found in. Nothing for an empty one, which need not
/// point into it.
fn place(buf: &[u8], piece: &[u8]) -> Range<usize> {
    match (piece.as_ptr() as usize).checked_sub(buf.as_ptr() as usize) {
        Some(start) if !piece.is_empty() && start + piece.len() <= buf.len() => start..start + piece.len(),
        _ => 0..0,
    }
}

/// Where names and values stand, so that the buffer can be changed and cut after httparse has let go of it.
struct Places {
    list: [[u16; 4]; FIELDS_MAX],
    count: usize,
}

impl Places {
    fn of(buf: &[u8], fields: &[httparse::Header<'_>]) -> Self {
        let mut places = Self {
            list: [[0; 4]; FIELDS_MAX],
            count: fields.len().min(FIELDS_MAX),
        };
        for (slot, field) in places.list.iter_mut().zip(fields) {
            let (name, value) = (place(buf, field.name.as_bytes()), place(buf, field.value));
            // The window is at most HEAD_BYTES_MAX long, so every offset fits.
            *slot = [name.start, name.end, value.start, value.end].map(|at| at as u16);
        }
        places
    }

    /// Lowers the names, cuts the head off, and gives it with its fields; `Host` apart if asked, at most one.
    fn cut(
        &self,
        buf: &mut BytesMut,
        length: usize,
        host_apart: bool,
    ) -> Result<(Bytes, Headers, Option<Bytes>), HeadError> {
        let places = &self.list[..self.count];
        let mut head = buf.split_to(length);
        for place in places {
            let [start, end, ..] = place.map(usize::from);
            head[start..end].make_ascii_lowercase();
        }
        let head = head.freeze();
        let mut headers = Headers::with_capacity(self.count);
        let mut host = None;
        for place in places {
            let [name_start, name_end, value_start, value_end] = place.map(usize::from);
            let value = head.slice(value_start..value_end);
            let name = &head[name_start..name_end];
            if host_apart && name == b"host" {
                if host.replace(value).is_some() {
                    return Err(HeadError::Malformed("more than one host"));
                }
            } else {
                let name = names::known(name).unwrap_or_else(|| head.slice(name_start..name_end));
                headers.push_bytes(name, value);
            }
        }
        Ok((head, headers, host))
    }
}

/// Path and host of a request. A proxy's absolute form carries the host itself (RFC 9112 §3.2.2 would let it win
/// over a different `Host`; we refuse the difference). `*` and CONNECT's form name nothing we serve.
fn target_and_authority(target: Bytes, host: Option<Bytes>) -> Result<(Bytes, Bytes), HeadError> {
    let (path, authority) = match absolute(&target) {
        None => (target, host.ok_or(HeadError::Malformed("no host"))?),
        Some(authority) => {
            let path = target.slice(authority.end..);
            let authority = target.slice(authority);
            if host.is_some_and(|host| !host.eq_ignore_ascii_case(&authority)) {
                return Err(HeadError::Malformed("target and host differ"));
            }
            let path = if path.is_empty() {
                Bytes::from_static(b"/")
            } else {
                path
            };
            (path, authority)
        }
    };
    if !is_authority(&authority) {
        return Err(HeadError::Malformed("bad host"));
    }
    if !is_origin_form(&path) {
        return Err(HeadError::Malformed("bad request target"));
    }
    Ok((path, authority))
}

/// Where the authority of an absolute target stands.
fn absolute(target: &[u8]) -> Option<Range<usize>> {
    let start = [&b"http://"[..], b"https://"]
        .iter()
        .find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
        })?
        .len();
    let length = target[start..]
        .iter()
        .position(|b| matches!(b, b'/' | b'?' | b'#'));
    Some(start..length.map_or(target.len(), |length| start + length))
}
