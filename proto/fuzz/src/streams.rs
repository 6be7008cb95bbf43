//! Streams that arrive in pieces, and header values.

use bytes::{Bytes, BytesMut};
use ringway_proto::chunked::{CHUNK_END, Chunk, ChunkFault, Decoder, LAST_CHUNK, chunk_head};
use ringway_proto::header_value::{decode, encode, matches_json};
use ringway_proto::json::{self, Kind, Span};
use ringway_proto::sse::{Event, Parser, SseFault, write_event};

/// A chunked body means the same however it is cut. Input: the size of the pieces, then the wire.
pub fn chunked(input: &[u8]) {
    let Some((step, wire)) = input.split_first() else {
        return;
    };
    let whole = unchunk(wire, wire.len());
    assert_eq!(unchunk(wire, usize::from(*step)), whole);
    let Ok((body, _, true)) = whole else { return };

    let mut again = Vec::new();
    for piece in body.chunks(usize::from(*step).max(1) * 3) {
        chunk_head(&mut again, piece.len());
        again.extend_from_slice(piece);
        again.extend_from_slice(CHUNK_END);
    }
    again.extend_from_slice(LAST_CHUNK);
    assert_eq!(unchunk(&again, 11), Ok((body, Vec::new(), true)));
}

fn unchunk(wire: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, bool), ChunkFault> {
    let (mut decoder, mut buf, mut body) = (Decoder::new(), BytesMut::new(), Vec::new());
    for piece in wire.chunks(step.max(1)) {
        buf.extend_from_slice(piece);
        while let Chunk::Data(data) = decoder.decode(&mut buf)? {
            assert!(!data.is_empty());
            body.extend_from_slice(&data);
        }
    }
    Ok((body, buf.to_vec(), decoder.is_done()))
}

/// Events are the same for any cut of the stream, the same as a plain reading of the specification gives, and
/// survive being written. Input: the size of the pieces, then the stream.
pub fn sse(input: &[u8]) {
    let Some((step, stream)) = input.split_first() else {
        return;
    };
    for bound in [1 << 20, 24] {
        let whole = events(stream, stream.len(), bound);
        assert_eq!(events(stream, usize::from(*step), bound), whole);
        assert_eq!(events(stream, 1, bound), whole);
        for event in whole.iter().flatten() {
            let held = event.data.len() + event.name.as_ref().map_or(0, Bytes::len);
            assert!(held <= bound);
        }
    }
    let events: Vec<Event> = events(stream, stream.len(), 1 << 20)
        .into_iter()
        .map(|event| event.expect("fits"))
        .collect();
    assert_eq!(events, by_the_book(stream));
    for event in events {
        let name = event.name.as_deref().map(std::str::from_utf8);
        let Ok(name) = name.transpose() else { continue };
        let mut out = Vec::new();
        write_event(&mut out, name, event.id.as_deref(), &event.data);
        let again = self::events(&out, 5, 1 << 21);
        assert_eq!(again, [Ok(Event { retry: None, ..event })]);
    }
}

fn events(stream: &[u8], step: usize, bound: usize) -> Vec<Result<Event, SseFault>> {
    let mut parser = Parser::new(bound);
    let mut seen = Vec::new();
    for piece in stream.chunks(step.max(1)) {
        parser.push(Bytes::copy_from_slice(piece));
        while let Some(event) = parser.next() {
            seen.push(event);
        }
    }
    seen
}

/// The parsing rules of WHATWG HTML §9.2.6 as slowly as they are written, with our one addition: blocks that have an
/// id or a retry time are events without data.
fn by_the_book(stream: &[u8]) -> Vec<Event> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut lines = vec![Vec::new()];
    let mut bytes = stream.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if(|next| **next == b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            other => lines.last_mut().expect("never empty").push(*other),
        }
    }
    lines.pop();
    let (mut out, mut event, mut data) = (Vec::new(), Event::default(), None::<Vec<u8>>);
    for line in lines {
        if line.is_empty() {
            let event = std::mem::take(&mut event);
            let data = data.take();
            if data.is_some() || event.id.is_some() || event.retry.is_some() {
                let data = data.map_or(Bytes::new(), |mut data| {
                    data.pop();
                    Bytes::from(data)
                });
                out.push(Event { data, ..event });
            }
            continue;
        }
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        let value = Bytes::copy_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        match name {
            b"data" => {
                let data = data.get_or_insert_default();
                data.extend_from_slice(&value);
                data.push(b'\n');
            }
            b"event" => event.name = Some(value),
            b"id" if !value.contains(&0) => event.id = Some(value),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                if let Some(ms) = std::str::from_utf8(&value)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                {
                    event.retry = Some(ms);
                }
            }
            _ => {}
        }
    }
    out
}

/// Any text survives being encoded; any header that has a text agrees with that text in a body and no other. Input:
/// a header value, a line break, a JSON value.
pub fn header_value(input: &[u8]) {
    let split = input.iter().position(|b| *b == b'\n').unwrap_or(input.len());
    let (header, value) = input.split_at(split);
    let value = value.get(1..).unwrap_or_default();
    let span = Span::new(0, value.len());

    for text in [header, value]
        .into_iter()
        .filter_map(|bytes| std::str::from_utf8(bytes).ok())
    {
        let carried = encode(text);
        assert!(carried.bytes().all(|b| matches!(b, b' '..=b'~')), "{carried:?}");
        assert_eq!(decode(carried.as_bytes()).expect("ours"), text);
        assert_eq!(decode(format!(" \t{carried} ").as_bytes()).expect("ours"), text);
        let mut quoted = Vec::new();
        json::write_string(&mut quoted, text);
        assert!(matches_json(
            carried.as_bytes(),
            &quoted,
            Span::new(0, quoted.len())
        ));
    }
    let said = decode(header);
    let agrees = matches_json(header, value, span);
    assert!(!agrees || said.is_ok());
    let Ok(said) = said else { return };
    if json::check(value, 0).is_err() || json::root(value) != span {
        return;
    }
    match json::kind(value, span) {
        Some(Kind::String) => assert_eq!(agrees, json::string(value, span).is_some_and(|text| text == said)),
        Some(Kind::Number) => {
            let number = std::str::from_utf8(value).expect("checked");
            if let (Ok(a), Ok(b)) = (said.parse::<i128>(), number.parse::<i128>()) {
                let canonical = said.parse::<i128>().is_ok_and(|n| n.to_string() == said);
                assert!(a == b || !agrees);
                assert!(agrees || a != b || !canonical);
            }
            if agrees {
                assert_eq!(
                    said.parse::<f64>().expect("a number"),
                    number.parse::<f64>().expect("a number")
                );
            }
        }
        Some(Kind::True) => assert_eq!(agrees, said == "true"),
        Some(Kind::False) => assert_eq!(agrees, said == "false"),
        _ => assert!(!agrees),
    }
}
