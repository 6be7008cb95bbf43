//! Reading heads: one walk from the front of the buffer, which stops at the first octet that cannot be there, notes
//! where every field stands, and reads what the fields say of host, body and connection as it passes them. Then the
//! head is cut off the buffer, and unknown names are lowered in place.
//!
//! The walk never looks back, so a head that comes in pieces is judged as one that comes whole. Lines end with CR LF
//! and nothing else, fields are never folded, no white space stands before a colon: where a lenient reading exists,
//! there is a fault.

use super::framing::Meaning;
use super::{
    FIELDS_MAX, Framing, HEAD_BYTES_MAX, HeadError, HeadLimits, RequestHead, ResponseFraming, ResponseHead,
    is_authority,
};
use crate::http::octets::{self, TARGET, TOKEN};
use crate::http::{Content, FieldName, Method, Place};
use bytes::{Buf as _, Bytes, BytesMut};
use std::ops::Range;

/// Takes a request's head off the front of `buf`; `None` while it is not all there. Empty lines before it are
/// dropped (RFC 9112 §2.2). After an error the connection is of no further use.
pub fn parse_request(buf: &mut BytesMut, limits: HeadLimits) -> Result<Option<RequestHead>, HeadError> {
    while buf.starts_with(b"\r\n") {
        buf.advance(2);
    }
    let seen = window(buf, limits);
    if seen.is_empty() {
        return Ok(None);
    }
    let walked = request_line(seen).and_then(|line| Ok((fields(seen, line.end, limits, true)?, line)));
    let (fields, line) = match walked {
        Ok(walked) => walked,
        Err(stop) => return stop.outcome(seen.len() < buf.len()),
    };
    let meaning = &fields.meaning;
    let framing = meaning.framing(line.version_minor)?;
    let keep_alive = meaning.keep_alive(line.version_minor);
    let expect_continue = line.version_minor > 0 && meaning.expects_continue;
    let host = meaning.host;

    let (head, content) = cut(buf, fields);
    let (target, authority) = target_and_authority(&head, line.target, host)?;
    let headers = content.with_head(head);
    Ok(Some(RequestHead {
        method: line.method,
        target,
        authority,
        headers,
        version_minor: line.version_minor,
        framing,
        keep_alive,
        expect_continue,
    }))
}

/// Takes a response's head off the front of `buf`; `None` while it is not all there. `request_was_head`: the
/// response answers a HEAD request and so has no body whatever it says.
pub fn parse_response(
    buf: &mut BytesMut,
    request_was_head: bool,
    limits: HeadLimits,
) -> Result<Option<ResponseHead>, HeadError> {
    let seen = window(buf, limits);
    if seen.is_empty() {
        return Ok(None);
    }
    let walked = status_line(seen).and_then(|line| Ok((fields(seen, line.end, limits, false)?, line)));
    let (fields, line) = match walked {
        Ok(walked) => walked,
        Err(stop) => return stop.outcome(seen.len() < buf.len()),
    };
    let meaning = &fields.meaning;
    let stated = meaning.framing(line.version_minor)?;
    let bodiless = request_was_head || matches!(line.status, 100..200 | 204 | 304);
    let framing = match stated {
        _ if bodiless => ResponseFraming::None,
        Framing::Length(length) => ResponseFraming::Length(length),
        Framing::Chunked => ResponseFraming::Chunked,
        Framing::None => ResponseFraming::UntilClose,
    };
    let keep_alive = framing != ResponseFraming::UntilClose && meaning.keep_alive(line.version_minor);
    let (head, content) = cut(buf, fields);
    let headers = content.with_head(head);
    Ok(Some(ResponseHead {
        status: line.status,
        headers,
        version_minor: line.version_minor,
        framing,
        keep_alive,
    }))
}

/// The part of the buffer a head may fill.
fn window(buf: &[u8], limits: HeadLimits) -> &[u8] {
    &buf[..buf.len().min(limits.head_bytes_max).min(HEAD_BYTES_MAX)]
}

/// Why a walk did not come to its end.
enum Stop {
    /// What is there is right, and not all of it is there.
    Partial,
    Fault(HeadError),
}

impl Stop {
    fn outcome<T>(self, window_is_full: bool) -> Result<Option<T>, HeadError> {
        match self {
            Self::Partial if window_is_full => Err(HeadError::TooLarge),
            Self::Partial => Ok(None),
            Self::Fault(error) => Err(error),
        }
    }
}

impl From<HeadError> for Stop {
    fn from(error: HeadError) -> Self {
        Self::Fault(error)
    }
}

const fn fault(why: &'static str) -> Stop {
    Stop::Fault(HeadError::Malformed(why))
}

struct RequestLine {
    method: Method,
    target: Range<usize>,
    version_minor: u8,
    /// Where the fields begin.
    end: usize,
}

fn request_line(seen: &[u8]) -> Result<RequestLine, Stop> {
    const FAULT: Stop = fault("bad request line");
    let word = |from: usize, class: u8| {
        let rest = seen.get(from..).unwrap_or_default();
        match rest.iter().position(|b| !octets::is(*b, class)) {
            None => Err(Stop::Partial),
            Some(length) if length == 0 || rest[length] != b' ' => Err(FAULT),
            Some(length) => Ok(from..from + length),
        }
    };
    // A CR alone may become one of the empty lines that are dropped.
    if seen == b"\r" {
        return Err(Stop::Partial);
    }
    let method = match seen {
        [b'P', b'O', b'S', b'T', b' ', ..] => 0..4,
        _ => word(0, TOKEN)?,
    };
    let target = word(method.end + 1, TARGET)?;
    let (version_minor, version_end) = version(seen, target.end + 1)?;
    let end = line_end(seen, version_end)?;
    Ok(RequestLine {
        method: Method::from_token(&seen[method]),
        target,
        version_minor,
        end,
    })
}

struct StatusLine {
    status: u16,
    version_minor: u8,
    /// Where the fields begin.
    end: usize,
}

fn status_line(seen: &[u8]) -> Result<StatusLine, Stop> {
    const FAULT: Stop = fault("bad status line");
    // Anything else before the status line of a pooled connection was left over by the response before.
    if seen.first().is_some_and(|first| *first != b'H') {
        return Err(fault("not a status line"));
    }
    let (version_minor, mut at) = version(seen, 0)?;
    let mut status = 0;
    for (nth, octet) in seen[at..].iter().take(4).enumerate() {
        match octet {
            b' ' if nth == 0 => {}
            b'0'..=b'9' if nth > 0 => status = status * 10 + u16::from(octet - b'0'),
            _ => return Err(FAULT),
        }
        at += 1;
    }
    // The phrase may be missing, and the space before it with it.
    let end = match seen.get(at) {
        Some(b' ') => octets::control(&seen[at..]).map_or(seen.len(), |length| at + length),
        _ => at,
    };
    let end = line_end(seen, end)?;
    if !(100..600).contains(&status) {
        return Err(fault("status code out of range"));
    }
    Ok(StatusLine {
        status,
        version_minor,
        end,
    })
}

/// Reads `HTTP/1.0` or `HTTP/1.1`: the minor version, and where it ends.
fn version(seen: &[u8], at: usize) -> Result<(u8, usize), Stop> {
    let rest = &seen[at..];
    match rest.first_chunk() {
        Some(b"HTTP/1.1") => Ok((1, at + 8)),
        Some(b"HTTP/1.0") => Ok((0, at + 8)),
        None if b"HTTP/1.".starts_with(rest) => Err(Stop::Partial),
        _ => Err(fault("unknown HTTP version")),
    }
}

/// Passes CR LF.
fn line_end(seen: &[u8], at: usize) -> Result<usize, Stop> {
    match seen.get(at..).unwrap_or_default() {
        [b'\r', b'\n', ..] => Ok(at + 2),
        [] | [b'\r'] => Err(Stop::Partial),
        _ => Err(fault("bad line end")),
    }
}

/// What the walk over the fields gives.
struct Fields {
    content: Box<Content>,
    meaning: Meaning,
    /// Where the head ends.
    end: usize,
    /// Whether a name is not known, and may have capitals.
    unknown: bool,
}

/// Walks from the first field to the end of the empty line. `Host` is kept out of a request's list.
fn fields(seen: &[u8], start: usize, limits: HeadLimits, request: bool) -> Result<Fields, Stop> {
    const BAD_NAME: Stop = fault("bad field name");
    let mut content = Content::of_head();
    let mut meaning = Meaning::default();
    let mut unknown = false;
    let mut left = limits.fields_max.min(FIELDS_MAX);
    let mut rest = &seen[start..];
    loop {
        match rest {
            [b'\r', b'\n', behind @ ..] => {
                let end = seen.len() - behind.len();
                return Ok(Fields {
                    content,
                    meaning,
                    end,
                    unknown,
                });
            }
            [] | [b'\r'] => return Err(Stop::Partial),
            _ if left == 0 => return Err(HeadError::TooLarge.into()),
            _ => left -= 1,
        }
        let name_at = seen.len() - rest.len();
        let Some((name, [_, behind @ ..])) = octets::colon(rest).and_then(|at| rest.split_at_checked(at))
        else {
            return Err(if is_token(rest) { Stop::Partial } else { BAD_NAME });
        };
        let known = FieldName::find(name);
        if known.is_none() && !is_token(name) {
            return Err(BAD_NAME);
        }
        let (value, behind) = value(behind)?;
        // The window is at most HEAD_BYTES_MAX long, so every place fits.
        let place = Place::new(
            seen.len() - behind.len() - 2 - value.padded_length,
            value.text.len(),
        );
        rest = behind;
        match known {
            Some(known) if meaning.note(known, value.text, place, request)? => {}
            Some(known) => content.fields.push_known(known, place),
            None => {
                unknown = true;
                content.fields.push_other(Place::new(name_at, name.len()), place);
            }
        }
    }
}

#[inline(never)]
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && octets::all(text, TOKEN)
}

struct Value<'a> {
    /// Without the white space around it.
    text: &'a [u8],
    /// With the white space behind it.
    padded_length: usize,
}

/// What stands between a colon and the line's end, and what is behind that.
#[inline(always)]
fn value(rest: &[u8]) -> Result<(Value<'_>, &[u8]), Stop> {
    // Nearly always one space stands before it and none behind.
    let padded = match rest {
        [b' ', behind @ ..] if behind.first().is_some_and(|b| *b > b' ') => behind,
        _ => without_blanks_before(rest),
    };
    let end = octets::control(padded).ok_or(Stop::Partial)?;
    let (text, line_end) = padded.split_at_checked(end).ok_or(Stop::Partial)?;
    let behind = match line_end {
        [b'\r', b'\n', behind @ ..] => behind,
        [] | [b'\r'] => return Err(Stop::Partial),
        [b'\r' | b'\n', ..] => return Err(fault("bad line end")),
        _ => return Err(fault("bad field value")),
    };
    let value = Value {
        text: match text {
            [.., 0..=b' '] => without_blanks_behind(text),
            _ => text,
        },
        padded_length: end,
    };
    Ok((value, behind))
}

#[cold]
fn without_blanks_before(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', behind @ ..] = text {
        text = behind;
    }
    text
}

#[cold]
fn without_blanks_behind(mut text: &[u8]) -> &[u8] {
    while let [before @ .., b' ' | b'\t'] = text {
        text = before;
    }
    text
}

/// Cuts the head off the buffer, its names lowered.
fn cut(buf: &mut BytesMut, fields: Fields) -> (Bytes, Box<Content>) {
    let mut head = buf.split_to(fields.end);
    if fields.unknown {
        for name in fields.content.fields.other_names() {
            head[name].make_ascii_lowercase();
        }
    }
    (head.freeze(), fields.content)
}

/// Path and host of a request. A proxy's absolute form carries the host itself (RFC 9112 §3.2.2 would let it win
/// over a different `Host`; we refuse the difference). `*` and CONNECT's form name nothing we serve.
fn target_and_authority(
    head: &Bytes,
    target: Range<usize>,
    host: Option<Place>,
) -> Result<(Bytes, Bytes), HeadError> {
    let (path, authority) = match absolute(&head[target.clone()]) {
        None => (
            match &head[target.clone()] {
                // What nearly every client asks for; not counting a reference saves two atomic operations.
                b"/mcp" => Bytes::from_static(b"/mcp"),
                _ => head.slice(target),
            },
            head.slice(host.ok_or(HeadError::Malformed("no host"))?.range()),
        ),
        Some(authority) => {
            let target = head.slice(target);
            let path = target.slice(authority.end..);
            let authority = target.slice(authority);
            if host.is_some_and(|host| !host.of(head).eq_ignore_ascii_case(&authority)) {
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
    if path.first() != Some(&b'/') {
        return Err(HeadError::Malformed("bad request target"));
    }
    Ok((path, authority))
}

/// Where the authority of an absolute target stands.
fn absolute(target: &[u8]) -> Option<Range<usize>> {
    if target.starts_with(b"/") {
        return None;
    }
    let start = [&b"http://"[..], b"https://"]
        .iter()
        .find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
        })?
        .len();
    let length = target[start..].iter().position(|b| matches!(b, b'/' | b'?'));
    Some(start..length.map_or(target.len(), |length| start + length))
}
