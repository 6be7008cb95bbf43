//! What a stream says must not depend on how the network cut it.

use super::*;

fn pull(parser: &mut Parser) -> Vec<Event> {
    std::iter::from_fn(|| parser.next())
        .map(|event| event.expect("within bounds"))
        .collect()
}

/// Every event of `stream`, which must be the same for every way to cut it in two and for single bytes.
fn events(stream: &[u8]) -> Vec<Event> {
    let whole = {
        let mut parser = Parser::new(1 << 16);
        parser.push(Bytes::copy_from_slice(stream));
        pull(&mut parser)
    };
    for cut in 0..=stream.len() {
        let mut parser = Parser::new(1 << 16);
        parser.push(Bytes::copy_from_slice(&stream[..cut]));
        let mut seen = if cut % 2 == 0 {
            pull(&mut parser)
        } else {
            Vec::new()
        };
        parser.push(Bytes::copy_from_slice(&stream[cut..]));
        seen.extend(pull(&mut parser));
        assert_eq!(seen, whole, "cut at {cut}");
    }
    let mut parser = Parser::new(1 << 16);
    let mut seen = Vec::new();
    for byte in stream {
        parser.push(Bytes::copy_from_slice(&[*byte]));
        seen.extend(pull(&mut parser));
    }
    assert_eq!(seen, whole);
    whole
}

fn event(name: Option<&'static str>, data: &'static str, id: Option<&'static str>) -> Event {
    let bytes = |s: &'static str| Bytes::from_static(s.as_bytes());
    Event {
        name: name.map(bytes),
        data: bytes(data),
        id: id.map(bytes),
        retry: None,
    }
}

#[test]
fn the_three_line_ends_mean_the_same() {
    let meant = [
        event(Some("message"), "one", Some("7")),
        event(None, "two\nlines", None),
    ];
    let lf = "event: message\nid: 7\ndata: one\n\ndata: two\ndata: lines\n\n";
    for end in ["\n", "\r\n", "\r"] {
        assert_eq!(events(lf.replace('\n', end).as_bytes()), meant);
    }
    // Mixed: a CR that ends a line, then an LF that is a blank one only if no CR stood before it.
    assert_eq!(
        events(b"data: a\r\n\r\ndata: b\n\rdata: c\r\r"),
        [
            event(None, "a", None),
            event(None, "b", None),
            event(None, "c", None)
        ]
    );
}

#[test]
fn fields_come_in_any_order_and_shape() {
    assert_eq!(
        events(b"data: x\nid: 1\n\n"),
        [event(None, "x", Some("1"))],
        "rmcp's order"
    );
    assert_eq!(
        events(b"data:x\n\ndata:  x\n\ndata\n\n"),
        [
            event(None, "x", None),
            event(None, " x", None),
            event(None, "", None)
        ]
    );
    assert_eq!(
        events(b"event: a\nevent: b\nid: 1\nid: 2\ndata: x\n\n"),
        [event(Some("b"), "x", Some("2"))]
    );
    assert_eq!(events(b"data\ndata\n\n"), [event(None, "\n", None)]);
    assert_eq!(events(b"Data: no\nfoo: bar\n data: no\nfoo\n\n"), []);
    assert_eq!(
        events(b"data: {\"a\":\"b: c\"}\n\n"),
        [event(None, "{\"a\":\"b: c\"}", None)]
    );
}

#[test]
fn comments_and_a_byte_order_mark_are_passed_over() {
    assert_eq!(
        events(b": ping\n\n:\n\ndata: x\n: inside\ndata: y\n\n"),
        [event(None, "x\ny", None)]
    );
    assert_eq!(events(b"\xef\xbb\xbfdata: x\n\n"), [event(None, "x", None)]);
    assert_eq!(
        events(b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n"),
        [],
        "only one, and only at the start"
    );
    assert_eq!(events(b"\n\xef\xbb\xbfdata: x\n\n"), []);
}

#[test]
fn priming_events_are_given_for_their_id() {
    assert_eq!(events(b"id: 3::a\ndata: \n\n"), [event(None, "", Some("3::a"))]);
    assert_eq!(events(b"id: 3\n\n"), [event(None, "", Some("3"))]);
    assert_eq!(
        events(b"id\n\n"),
        [event(None, "", Some(""))],
        "an empty id resets"
    );
    assert_eq!(
        events(b"retry: 1500\n\n"),
        [Event {
            retry: Some(1500),
            ..Event::default()
        }]
    );
    assert_eq!(events(b"event: only\n\n"), []);
}

#[test]
fn bad_ids_and_retries_are_ignored() {
    assert_eq!(events(b"id: a\0b\ndata: x\n\n"), [event(None, "x", None)]);
    for retry in ["", "1.5", "-1", "+1", "x", " 1", "99999999999999999999"] {
        assert_eq!(
            events(format!("retry: {retry}\ndata: x\n\n").as_bytes()),
            [event(None, "x", None)],
            "{retry}"
        );
    }
}

#[test]
fn an_unfinished_event_is_not_an_event() {
    assert_eq!(events(b"data: x\n"), []);
    assert_eq!(events(b"data: x\n\ndata: y"), [event(None, "x", None)]);
    let between = |stream: &'static [u8]| {
        let mut parser = Parser::new(100);
        parser.push(Bytes::from_static(stream));
        pull(&mut parser);
        parser.is_between_events()
    };
    assert!(between(b"") && between(b"data: x\n\n") && between(b"data: x\r\n\r\n") && between(b": c\n"));
    assert!(!between(b"d") && !between(b"data: x\n") && !between(b"id: 1\n"));
}

#[test]
fn a_one_line_event_is_not_copied() {
    let piece = Bytes::from_static(b"id: 1\ndata: {\"x\":1}\n\n");
    let mut parser = Parser::new(100);
    parser.push(piece.clone());
    let event = parser.next().unwrap().unwrap();
    assert_eq!(event.data.as_ptr(), piece[12..].as_ptr());
    assert_eq!(event.id.unwrap().as_ptr(), piece[4..].as_ptr());
}

#[test]
fn events_are_bounded_and_the_fault_names_the_bound() {
    let fault = |stream: Vec<u8>, step: usize| {
        let mut parser = Parser::new(64);
        for piece in stream.chunks(step) {
            parser.push(Bytes::copy_from_slice(piece));
            if let Some(Err(fault)) = parser.next() {
                parser.push(Bytes::from_static(b"\n\ndata: x\n\n"));
                assert_eq!(parser.next(), None, "nothing after a fault");
                return Some(fault);
            }
        }
        None
    };
    let bound = SseFault::TooLarge { event_bytes_max: 64 };
    let large = Some(bound);
    for step in [1, 7, 1000] {
        assert_eq!(fault(vec![b'x'; 65], step), large, "a line without end");
        assert_eq!(
            fault([b":".as_slice(), &[b'x'; 64]].concat(), step),
            large,
            "a comment too"
        );
        assert_eq!(fault(b"data: 0123456789\n".repeat(6), step), large, "many lines");
        assert_eq!(fault(b"data\n".repeat(65), step), large, "many empty lines");
        assert_eq!(
            fault(b"id: 0123456789\n".repeat(7), step),
            large,
            "ids that replace each other"
        );
        assert_eq!(
            fault([b"data: ".as_slice(), &[b'x'; 58], b"\n\n"].concat(), step),
            None,
            "64 bytes of line fit"
        );
    }
    assert!(bound.to_string().contains("event_bytes_max (64 bytes)"));
}

#[test]
fn what_is_written_is_read() {
    let mut out = Vec::new();
    write_event(&mut out, Some("message"), Some(b"1::2"), b"{\"a\":1}");
    assert_eq!(out, b"event: message\nid: 1::2\ndata: {\"a\":1}\n\n");
    write_event(&mut out, None, Some(b"x"), b"");
    write_event(
        &mut out,
        Some("a\ndata: forged"),
        Some(b"1\rdata: forged"),
        b"one\r\ntwo\rthree\n\nfour\n",
    );
    out.extend_from_slice(KEEP_ALIVE);
    write_retry(&mut out, 250);
    assert_eq!(
        events(&out),
        [
            event(Some("message"), "{\"a\":1}", Some("1::2")),
            event(None, "", Some("x")),
            event(None, "one\ntwo\nthree\n\nfour\n", None),
            Event {
                retry: Some(250),
                ..Event::default()
            },
        ]
    );
}
