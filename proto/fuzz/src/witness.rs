//! A second reader of HTTP/1.1 heads: httparse, and our rules on top of what it finds, written the plain way. What
//! the crate's own parser takes, this one takes, and reads the same; what this one refuses, that one does not take.

use ringway_proto::http1::{Framing, HEAD_BYTES_MAX, HeadLimits, ResponseFraming};

/// A head as the witness reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen<F> {
    /// Method, path and authority; or status.
    pub start: Vec<Vec<u8>>,
    /// Names in lower case; a request's host is left out.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub version_minor: u8,
    pub framing: F,
    pub keep_alive: bool,
    pub expect_continue: bool,
    /// Bytes behind it.
    pub left: usize,
}

/// `None`: refused, or not all there.
pub fn request(mut wire: &[u8], limits: HeadLimits) -> Option<Seen<Framing>> {
    while let Some(rest) = wire.strip_prefix(b"\r\n") {
        wire = rest;
    }
    let mut storage = vec![httparse::EMPTY_HEADER; limits.fields_max];
    let mut request = httparse::Request::new(&mut storage);
    let seen = &wire[..wire.len().min(limits.head_bytes_max).min(HEAD_BYTES_MAX)];
    let httparse::Status::Complete(length) = request.parse(seen).ok()? else {
        return None;
    };
    let version_minor = request.version?;
    let all = lines(&seen[..length], request.headers)?;
    let (hosts, fields): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| name == b"host");
    if hosts.len() > 1 {
        return None;
    }
    let host = hosts.into_iter().next().map(|(_, host)| host);
    let (path, authority) = place(request.path?.as_bytes(), host)?;
    Some(Seen {
        start: vec![request.method?.as_bytes().to_vec(), path, authority],
        framing: framing(&fields, version_minor)?,
        keep_alive: keep_alive(&fields, version_minor),
        expect_continue: version_minor > 0
            && fields
                .iter()
                .any(|(name, value)| name == b"expect" && value.eq_ignore_ascii_case(b"100-continue")),
        fields,
        version_minor,
        left: wire.len() - length,
    })
}

/// `None`: refused, or not all there.
pub fn response(wire: &[u8], was_head: bool, limits: HeadLimits) -> Option<Seen<ResponseFraming>> {
    if wire.first() != Some(&b'H') {
        return None;
    }
    let mut storage = vec![httparse::EMPTY_HEADER; limits.fields_max];
    let mut response = httparse::Response::new(&mut storage);
    let seen = &wire[..wire.len().min(limits.head_bytes_max).min(HEAD_BYTES_MAX)];
    let httparse::Status::Complete(length) = response.parse(seen).ok()? else {
        return None;
    };
    let (version_minor, status) = (response.version?, response.code?);
    if !(100..600).contains(&status) {
        return None;
    }
    let fields = lines(&seen[..length], response.headers)?;
    let framing = match framing(&fields, version_minor)? {
        _ if was_head || status < 200 || status == 204 || status == 304 => ResponseFraming::None,
        Framing::None => ResponseFraming::UntilClose,
        Framing::Length(length) => ResponseFraming::Length(length),
        Framing::Chunked => ResponseFraming::Chunked,
    };
    Some(Seen {
        start: vec![status.to_string().into_bytes()],
        keep_alive: framing != ResponseFraming::UntilClose && keep_alive(&fields, version_minor),
        expect_continue: false,
        framing,
        fields,
        version_minor,
        left: wire.len() - length,
    })
}

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

fn lines(head: &[u8], fields: &[httparse::Header<'_>]) -> Option<Lines> {
    // httparse takes a bare LF for a line's end.
    if (0..head.len()).any(|at| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r')) {
        return None;
    }
    let line =
        |field: &httparse::Header<'_>| (field.name.to_ascii_lowercase().into_bytes(), field.value.to_vec());
    Some(fields.iter().map(line).collect())
}

fn place(target: &[u8], host: Option<Vec<u8>>) -> Option<(Vec<u8>, Vec<u8>)> {
    let target = std::str::from_utf8(target).ok()?;
    let lowered = target.to_ascii_lowercase();
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| lowered.starts_with(scheme));
    let (path, authority) = match scheme {
        None => (target, host?),
        Some(scheme) => {
            let rest = &target[scheme.len()..];
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority.as_bytes())) {
                return None;
            }
            (
                if path.is_empty() { "/" } else { path },
                authority.as_bytes().to_vec(),
            )
        }
    };
    let of_a_host = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(b);
    let fits = path.starts_with('/')
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        && !authority.is_empty()
        && authority.iter().all(of_a_host);
    fits.then(|| (path.as_bytes().to_vec(), authority))
}

fn all<'f>(fields: &'f Lines, name: &'f [u8]) -> impl Iterator<Item = &'f [u8]> {
    fields
        .iter()
        .filter(move |(n, _)| n == name)
        .map(|(_, value)| &value[..])
}

fn framing(fields: &Lines, version_minor: u8) -> Option<Framing> {
    let mut lengths = Vec::new();
    for value in all(fields, b"content-length") {
        if !value.iter().all(u8::is_ascii_digit) {
            return None;
        }
        lengths.push(std::str::from_utf8(value).ok()?.parse::<u64>().ok()?);
    }
    lengths.dedup();
    let codings: Vec<_> = all(fields, b"transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Some(Framing::None),
        ([length], []) => Some(Framing::Length(*length)),
        ([], [coding]) if version_minor > 0 && coding.eq_ignore_ascii_case(b"chunked") => {
            Some(Framing::Chunked)
        }
        _ => None,
    }
}

fn keep_alive(fields: &Lines, version_minor: u8) -> bool {
    let says = |word: &[u8]| {
        all(fields, b"connection")
            .flat_map(|value| value.split(|b| *b == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(word))
    };
    !says(b"close") && (version_minor > 0 || says(b"keep-alive"))
}
