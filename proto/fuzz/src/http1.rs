//! HTTP/1.1 heads: one reading however they arrive, and nothing lost or forged on the way out again.

use super::witness::{self, Seen};
use bytes::BytesMut;
use ringway_proto::http::{Headers, Method};
use ringway_proto::http1::{
    Framing, HeadError, HeadLimits, ResponseFraming, is_connection_field, parse_request, parse_response,
    write_request_head, write_response_head,
};

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 512,
    fields_max: 12,
};

/// A head as the parser gave it, and the bytes it left.
type Outcome<H> = Result<(Option<H>, Vec<u8>), HeadError>;

/// Input: the size of the pieces it arrives in, then the wire.
pub fn http1_request(input: &[u8]) {
    let Some((step, wire)) = input.split_first() else {
        return;
    };
    let parse = |buf: &mut BytesMut| parse_request(buf, LIMITS);
    let witnessed = witness::request(wire, LIMITS);
    let Ok((Some(head), left)) = agree(wire, *step, parse) else {
        assert_eq!(witnessed, None);
        return;
    };
    let witnessed = witnessed.expect("the witness takes it too");
    let method = std::mem::take(&mut witnessed.start.clone()[0]);
    assert_eq!(Method::from_token(&method), head.method);
    assert_eq!(
        Seen {
            start: vec![method, head.target.to_vec(), head.authority.to_vec()],
            fields: listed(&head.headers),
            version_minor: head.version_minor,
            framing: head.framing,
            keep_alive: head.keep_alive,
            expect_continue: head.expect_continue,
            left: left.len(),
        },
        witnessed
    );
    let raw = assert_no_doubt(wire, &left, &head.headers);
    assert!(raw.iter().filter(|name| *name == "host").count() <= 1);
    assert!(!head.headers.iter().any(|(name, _)| name == b"host"));
    if head.method == Method::Other {
        return;
    }
    let mut out = Vec::new();
    write_request_head(
        &mut out,
        head.method,
        &head.target,
        &head.authority,
        &head.headers,
        head.framing,
    )
    .expect("what was read can be written");
    // The writer adds a host and a length of its own.
    let wide = HeadLimits {
        head_bytes_max: usize::MAX,
        fields_max: LIMITS.fields_max + 2,
    };
    let again = parse_request(&mut BytesMut::from(&out[..]), wide)
        .expect("ours")
        .expect("whole");
    assert_eq!(
        (again.method, &again.target, again.framing),
        (head.method, &head.target, head.framing)
    );
    assert_eq!(again.authority, head.authority);
    assert_eq!(end_to_end(&again.headers), end_to_end(&head.headers));
    assert!(again.keep_alive);
}

/// Input: flags and the size of the pieces it arrives in, then the wire.
pub fn http1_response(input: &[u8]) {
    let Some((flags, wire)) = input.split_first() else {
        return;
    };
    let was_head = flags & 0x80 != 0;
    let parse = |buf: &mut BytesMut| parse_response(buf, was_head, LIMITS);
    let witnessed = witness::response(wire, was_head, LIMITS);
    let Ok((Some(head), left)) = agree(wire, flags & 0x7f, parse) else {
        assert_eq!(witnessed, None);
        return;
    };
    let seen = Seen {
        start: vec![head.status.to_string().into_bytes()],
        fields: listed(&head.headers),
        version_minor: head.version_minor,
        framing: head.framing,
        keep_alive: head.keep_alive,
        expect_continue: false,
        left: left.len(),
    };
    assert_eq!(Some(seen), witnessed);
    assert_no_doubt(wire, &left, &head.headers);
    assert!(head.framing != ResponseFraming::UntilClose || !head.keep_alive);
    let mut out = Vec::new();
    write_response_head(
        &mut out,
        head.status,
        &head.headers,
        head.framing,
        head.keep_alive,
    )
    .expect("what was read can be written");
    let wide = HeadLimits {
        head_bytes_max: usize::MAX,
        fields_max: LIMITS.fields_max + 2,
    };
    let again = parse_response(&mut BytesMut::from(&out[..]), was_head, wide)
        .expect("ours")
        .expect("whole");
    assert_eq!((again.status, again.keep_alive), (head.status, head.keep_alive));
    // A response that has no body whatever it says, such as 204, may state nothing.
    assert_eq!(again.framing, head.framing);
    assert_eq!(end_to_end(&again.headers), end_to_end(&head.headers));
}

/// Parses at once and in pieces; both must come to the same.
fn agree<H: PartialEq + std::fmt::Debug>(
    wire: &[u8],
    step: u8,
    mut parse: impl FnMut(&mut BytesMut) -> Result<Option<H>, HeadError>,
) -> Outcome<H> {
    let mut buf = BytesMut::from(wire);
    let whole = parse(&mut buf).map(|head| (head, buf.to_vec()));

    let mut buf = BytesMut::new();
    let mut rest = wire;
    let pieces = loop {
        let (piece, behind) = rest.split_at(rest.len().min(usize::from(step).max(1)));
        buf.extend_from_slice(piece);
        rest = behind;
        match parse(&mut buf) {
            Ok(None) if !rest.is_empty() => {}
            Ok(head) => break Ok((head, [&buf[..], rest].concat())),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(pieces, whole);
    whole
}

/// The raw head has no line another parser would see otherwise, and at most one statement of the body's length.
/// Gives the names on its lines.
fn assert_no_doubt(wire: &[u8], left: &[u8], headers: &Headers) -> Vec<String> {
    assert!(wire.ends_with(left), "the bytes behind the head are left alone");
    let head = String::from_utf8_lossy(&wire[..wire.len() - left.len()]).into_owned();
    assert!(head.ends_with("\r\n\r\n"));
    let lines: Vec<&str> = head.trim_start_matches("\r\n").split("\r\n").skip(1).collect();
    let names: Vec<String> = lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    assert!(
        !head.replace("\r\n", "").contains(['\r', '\n', '\0']),
        "a bare CR, LF or NUL"
    );
    let count = |name: &str| names.iter().filter(|n| *n == name).count();
    assert!(count("transfer-encoding") <= 1);
    assert!(
        count("transfer-encoding") == 0 || count("content-length") == 0,
        "two lengths"
    );
    assert!(headers.len() <= LIMITS.fields_max);
    for (name, value) in headers.iter() {
        assert!(
            !name.is_empty()
                && name
                    .iter()
                    .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
        );
        assert_eq!(
            value.trim_ascii().len(),
            value.len(),
            "whitespace is not part of a value"
        );
    }
    names
}

fn end_to_end(headers: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    let own = |name: &[u8]| is_connection_field(name);
    headers
        .iter()
        .filter(|(name, _)| !own(name))
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

fn listed(headers: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields = headers.iter();
    fields
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

/// Keeps the variants in step with the writer: a new way to delimit a body must be thought about here too.
const _: fn(Framing) = |framing| match framing {
    Framing::None | Framing::Length(_) | Framing::Chunked => {}
};
