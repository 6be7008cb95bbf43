//! Heads as clients, servers and attackers send them.

use super::*;
use bytes::BytesMut;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 1024,
    fields_max: 16,
};

/// Parses at once, and byte by byte; both must agree.
fn request(wire: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    let whole = parse_request(&mut BytesMut::from(wire), LIMITS);
    let mut buf = BytesMut::new();
    for (at, byte) in wire.iter().enumerate() {
        buf.extend_from_slice(&[*byte]);
        match parse_request(&mut buf, LIMITS) {
            Ok(None) => {}
            early => {
                if whole.is_ok() {
                    assert_eq!(early, whole, "after {at} bytes");
                }
                assert_eq!(early.is_err(), whole.is_err());
                break;
            }
        }
    }
    whole
}

fn read(wire: &str) -> RequestHead {
    request(wire.as_bytes())
        .unwrap_or_else(|error| panic!("{wire:?}: {error}"))
        .expect("a whole head")
}

fn response(wire: &str) -> Result<Option<ResponseHead>, HeadError> {
    parse_response(&mut BytesMut::from(wire), false, LIMITS)
}

fn answer(wire: &str) -> ResponseHead {
    response(wire)
        .unwrap_or_else(|error| panic!("{wire:?}: {error}"))
        .expect("a whole head")
}

#[track_caller]
fn refused(wire: &[u8]) {
    let outcome = request(wire);
    assert!(
        matches!(outcome, Err(HeadError::Malformed(_))),
        "{:?}: {outcome:?}",
        String::from_utf8_lossy(wire)
    );
}

#[test]
fn a_request_is_cut_off_the_buffer_and_lowered() {
    let mut buf = BytesMut::from(
        &b"POST /mcp?x=1 HTTP/1.1\r\nHost: gw.example:8443\r\nContent-Type:application/json \r\nMCP-Protocol-Version:\t2026-07-28\r\nX-Empty:\r\nContent-Length: 2\r\nAccept: a\r\naccept: b\r\n\r\n{}GET / HTTP/1.1\r\n"[..],
    );
    let start = buf.as_ptr() as usize;
    let head = parse_request(&mut buf, LIMITS).unwrap().unwrap();
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.target, "/mcp?x=1");
    assert_eq!(head.authority, "gw.example:8443");
    assert_eq!(head.headers.get("content-type").unwrap(), b"application/json");
    assert_eq!(head.headers.get("mcp-protocol-version").unwrap(), b"2026-07-28");
    assert_eq!(head.headers.get("x-empty").unwrap(), b"");
    assert_eq!(head.headers.get("host"), None);
    assert_eq!(
        head.headers
            .get_all("accept")
            .map(|v| v.to_vec())
            .collect::<Vec<_>>(),
        [b"a", b"b"]
    );
    assert_eq!(head.headers.len(), 6);
    assert_eq!(
        (head.framing, head.keep_alive, head.version_minor),
        (Framing::Length(2), true, 1)
    );
    assert!(!head.expect_continue);
    assert_eq!(buf, "{}GET / HTTP/1.1\r\n", "the bytes behind are left alone");
    assert_eq!(head.target.as_ptr() as usize, start + 5, "and nothing was copied");
}

#[test]
fn pipelined_requests_come_one_by_one() {
    let mut buf = BytesMut::from(
        &b"\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c"[..],
    );
    assert_eq!(parse_request(&mut buf, LIMITS).unwrap().unwrap().target, "/a");
    assert_eq!(parse_request(&mut buf, LIMITS).unwrap().unwrap().target, "/b");
    assert_eq!(parse_request(&mut buf, LIMITS).unwrap(), None);
    assert_eq!(buf, "GET /c");
}

#[test]
fn there_is_exactly_one_host() {
    refused(b"GET / HTTP/1.1\r\n\r\n");
    refused(b"GET / HTTP/1.0\r\n\r\n");
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n");
    for host in [
        "", "a b", "a,b", "user@a", "a/b", "a#", "a?", "\u{e9}", "a\\b", "a\"", "<a>",
    ] {
        refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    }
    for host in ["a", "[::1]:80", "127.0.0.1:0", "xn--x.example."] {
        assert_eq!(
            read(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).authority,
            host
        );
    }
}

#[test]
fn an_absolute_target_brings_its_host() {
    let head = read("GET http://a.example/x?y HTTP/1.1\r\nHost: A.example\r\n\r\n");
    assert_eq!(
        (head.target.as_ref(), head.authority.as_ref()),
        (&b"/x?y"[..], &b"a.example"[..])
    );
    let head = read("GET HTTPS://a.example:1 HTTP/1.1\r\n\r\n");
    assert_eq!(
        (head.target.as_ref(), head.authority.as_ref()),
        (&b"/"[..], &b"a.example:1"[..])
    );
    refused(b"GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n");
    refused(b"GET http:///x HTTP/1.1\r\nHost: b\r\n\r\n");
    refused(b"GET http://u@a/x HTTP/1.1\r\n\r\n");
    refused(b"GET http://a?x HTTP/1.1\r\n\r\n");
    refused(b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    refused(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    refused(b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n");
    refused("GET /é HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes());
}

fn framed(fields: &str) -> Framing {
    read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).framing
}

#[test]
fn a_body_has_one_length() {
    assert_eq!(framed(""), Framing::None);
    assert_eq!(framed("Content-Length: 0\r\n"), Framing::Length(0));
    assert_eq!(
        framed("Content-Length: 18446744073709551615\r\n"),
        Framing::Length(u64::MAX)
    );
    assert_eq!(
        framed("Content-Length: 7\r\nContent-Length: 7\r\n"),
        Framing::Length(7)
    );
    assert_eq!(framed("Transfer-Encoding: chunked\r\n"), Framing::Chunked);
    assert_eq!(framed("transfer-encoding: Chunked\r\n"), Framing::Chunked);
    for fields in [
        "Content-Length: 7\r\nContent-Length: 8\r\n",
        "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 7\r\n",
        "Content-Length: +7\r\n",
        "Content-Length: -7\r\n",
        "Content-Length: 7 7\r\n",
        "Content-Length: 7, 7\r\n",
        "Content-Length: 0x7\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
    ] {
        refused(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
    }
    refused(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn lines_and_fields_have_one_reading() {
    for wire in [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX y: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x7f\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x0bc\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"{\"jsonrpc\":\"2.0\"}",
    ] {
        refused(wire);
    }
    assert_eq!(
        read("GET / HTTP/1.1\r\nHost: a\r\nX: b\tc \u{e9}\r\n\r\n")
            .headers
            .get("x")
            .unwrap(),
        "b\tc \u{e9}".as_bytes()
    );
    assert_eq!(read("BREW / HTTP/1.1\r\nHost: a\r\n\r\n").method, Method::Other);
}

#[test]
fn heads_are_bounded() {
    let long = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(n));
    let fits = LIMITS.head_bytes_max - long(0).len();
    read(&long(fits));
    assert_eq!(request(long(fits + 1).as_bytes()), Err(HeadError::TooLarge));
    assert_eq!(request(&vec![b'G'; 1025]), Err(HeadError::TooLarge));
    assert_eq!(request(&vec![b'G'; 1024]), Ok(None));
    let many = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(n));
    assert_eq!(read(&many(15)).headers.len(), 15);
    assert_eq!(request(many(16).as_bytes()), Err(HeadError::TooLarge));
    // Limits beyond the table are the table's.
    let wide = HeadLimits {
        head_bytes_max: usize::MAX,
        fields_max: usize::MAX,
    };
    let parse = |text: String| parse_request(&mut BytesMut::from(text.as_str()), wide);
    assert!(parse(many(FIELDS_MAX - 1)).unwrap().is_some());
    assert_eq!(parse(many(FIELDS_MAX)), Err(HeadError::TooLarge));
    assert_eq!(parse(long(HEAD_BYTES_MAX)), Err(HeadError::TooLarge));
    // A big body behind a small head is not part of it.
    let mut buf = BytesMut::from(long(0).as_str());
    buf.resize(100_000, b'x');
    assert!(parse_request(&mut buf, LIMITS).unwrap().is_some());
}

#[test]
fn connections_close_when_either_side_says_so() {
    let keeps =
        |line: &str, fields: &str| read(&format!("GET / {line}\r\nHost: a\r\n{fields}\r\n")).keep_alive;
    assert!(keeps("HTTP/1.1", "") && keeps("HTTP/1.1", "Connection: x, y\r\n"));
    assert!(!keeps("HTTP/1.1", "Connection: Close\r\n") && !keeps("HTTP/1.1", "Connection: x ,\tclose\r\n"));
    assert!(!keeps(
        "HTTP/1.1",
        "Connection: keep-alive\r\nConnection: close\r\n"
    ));
    assert!(!keeps("HTTP/1.0", "") && keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keeps("HTTP/1.0", "Connection: keep-alive, close\r\n"));

    let head = read("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-hop , Y\r\nX-Hop: 1\r\n\r\n");
    assert!(named_by_connection(&head.headers, b"x-hop") && named_by_connection(&head.headers, b"y"));
    assert!(!named_by_connection(&head.headers, b"accept"));
}

#[test]
fn a_client_may_wait_for_100_continue() {
    let waits = |line: &str| {
        read(&format!(
            "POST / {line}\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n"
        ))
        .expect_continue
    };
    assert!(waits("HTTP/1.1") && !waits("HTTP/1.0"));
}

#[test]
fn responses_say_where_their_body_ends() {
    let head = answer(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    );
    assert_eq!(
        (head.status, head.framing, head.keep_alive),
        (200, ResponseFraming::Chunked, true)
    );
    assert_eq!(head.headers.get("content-type").unwrap(), b"text/event-stream");
    let head = answer("HTTP/1.1 200 \r\nContent-Length: 5\r\nConnection: close\r\n\r\n");
    assert_eq!(
        (head.framing, head.keep_alive),
        (ResponseFraming::Length(5), false)
    );
    let head = answer("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(
        (head.framing, head.keep_alive),
        (ResponseFraming::UntilClose, false)
    );
    let head = answer("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(
        (head.framing, head.keep_alive, head.version_minor),
        (ResponseFraming::Length(5), false, 0)
    );
    for status in [
        "100 Continue",
        "103 Early Hints",
        "204 No Content",
        "304 Not Modified",
    ] {
        let head = answer(&format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n"));
        assert_eq!(
            (head.framing, head.keep_alive),
            (ResponseFraming::None, true),
            "{status}"
        );
    }
    let mut buf = BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n");
    let head = parse_response(&mut buf, true, LIMITS).unwrap().unwrap();
    assert_eq!(
        (head.framing, buf.as_ref()),
        (ResponseFraming::None, &b"HTTP/1.1 200 OK\r\n"[..])
    );
}

#[test]
fn an_interim_response_comes_before_the_final_one() {
    let mut buf = BytesMut::from("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        parse_response(&mut buf, false, LIMITS).unwrap().unwrap().status,
        100
    );
    assert_eq!(
        parse_response(&mut buf, false, LIMITS).unwrap().unwrap().status,
        200
    );
    assert!(buf.is_empty());
}

#[test]
fn a_response_is_read_as_strictly_as_a_request() {
    for wire in [
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "garbage",
        "HTTP/1.1 99 x\r\n\r\n",
        "HTTP/1.1 600 x\r\n\r\n",
        "HTTP/1.1 000 x\r\n\r\n",
        "HTTP/1.1 2000 x\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert!(
            matches!(response(wire), Err(HeadError::Malformed(_))),
            "{wire:?}: {:?}",
            response(wire)
        );
    }
    assert_eq!(response("HTTP/1.1 200 OK\r\nX: y\r\n"), Ok(None));
    assert_eq!(
        response(&format!("HTTP/1.1 200 {}", "x".repeat(1024))),
        Err(HeadError::TooLarge)
    );
}

#[test]
fn what_is_written_is_read() {
    let mut headers = Headers::default();
    headers.push("content-type", "application/json");
    headers.push("mcp-name", "=?base64?4pyT?=");
    for leftover in [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "upgrade",
    ] {
        headers.push(leftover, "leftover");
    }
    for body in [
        Framing::None,
        Framing::Length(0),
        Framing::Length(u64::MAX),
        Framing::Chunked,
    ] {
        let mut out = b"before".to_vec();
        write_request_head(&mut out, Method::Post, b"/mcp?a", b"up:80", &headers, body).unwrap();
        let head = read(std::str::from_utf8(&out[6..]).unwrap());
        assert_eq!(
            (head.method, head.target.as_ref(), head.authority.as_ref()),
            (Method::Post, &b"/mcp?a"[..], &b"up:80"[..])
        );
        assert_eq!((head.framing, head.keep_alive), (body, true));
        assert_eq!(head.headers.get("mcp-name").unwrap(), b"=?base64?4pyT?=");
        assert_eq!(head.headers.len(), 2 + usize::from(body != Framing::None));
    }
    for (body, keep) in [
        (ResponseFraming::Length(12), true),
        (ResponseFraming::Chunked, false),
        (ResponseFraming::UntilClose, true),
    ] {
        let mut out = Vec::new();
        write_response_head(&mut out, 202, &headers, body, keep).unwrap();
        let head = answer(std::str::from_utf8(&out).unwrap());
        assert_eq!((head.status, head.framing), (202, body));
        assert_eq!(head.keep_alive, keep && body != ResponseFraming::UntilClose);
        assert_eq!(
            head.headers.get("host").unwrap(),
            b"leftover",
            "means nothing in a response, so it is data"
        );
    }
    let mut out = Vec::new();
    write_response_head(&mut out, 299, &Headers::default(), ResponseFraming::None, true).unwrap();
    assert_eq!(out, b"HTTP/1.1 299 \r\n\r\n");
}

#[test]
fn nothing_can_break_out_of_its_line() {
    let mut out = b"before".to_vec();
    for value in ["a\r\nX: y", "a\n", "\r", "\0", "\x7f", "\x1b"] {
        let mut headers = Headers::default();
        headers.push("x", value);
        let written = write_response_head(&mut out, 200, &headers, ResponseFraming::None, true);
        assert_eq!(written, Err(WriteFault::Value));
        let written = write_request_head(&mut out, Method::Get, b"/", b"a", &headers, Framing::None);
        assert_eq!(written, Err(WriteFault::Value));
    }
    for name in ["", "a b", "a:", "a\r\n", "\u{e9}"] {
        let mut headers = Headers::default();
        headers.push_bytes(name, "");
        let written = write_response_head(&mut out, 200, &headers, ResponseFraming::None, true);
        assert_eq!(written, Err(WriteFault::Name));
    }
    let none = Headers::default();
    let mut request = |method, target: &str, authority: &str| {
        write_request_head(
            &mut out,
            method,
            target.as_bytes(),
            authority.as_bytes(),
            &none,
            Framing::None,
        )
    };
    assert_eq!(request(Method::Get, "/a b", "a"), Err(WriteFault::Target));
    assert_eq!(request(Method::Get, "", "a"), Err(WriteFault::Target));
    assert_eq!(request(Method::Get, "/\r\n", "a"), Err(WriteFault::Target));
    assert_eq!(request(Method::Get, "/", "a\r\nx: y"), Err(WriteFault::Authority));
    assert_eq!(request(Method::Get, "/", ""), Err(WriteFault::Authority));
    assert_eq!(request(Method::Other, "/", "a"), Err(WriteFault::Method));
    assert_eq!(
        write_response_head(&mut out, 99, &none, ResponseFraming::None, true),
        Err(WriteFault::Status)
    );
    assert_eq!(out, b"before", "a refused head leaves nothing behind");
}

#[test]
fn a_prefix_is_checked_once_and_written_with_every_call() {
    let mut fixed = Headers::default();
    fixed.push("authorization", "Bearer secret");
    fixed.push("content-type", "application/json");
    let prefix = Prefix::new(Method::Post, b"/mcp", b"up:80", &fixed).unwrap();
    assert!(!format!("{prefix:?}").contains("secret"));
    let mut own = Headers::default();
    own.push("mcp-name", "add");
    for body in [Framing::None, Framing::Length(7), Framing::Chunked] {
        let (mut once, mut apart) = (Vec::new(), Vec::new());
        write_request(&mut once, &prefix, &own, body).unwrap();
        let mut all = prefix.fields().clone();
        all.push("mcp-name", "add");
        write_request_head(
            &mut apart,
            prefix.method(),
            prefix.target(),
            prefix.authority(),
            &all,
            body,
        )
        .unwrap();
        assert_eq!(once, apart);
    }

    let one = |name: &str, value: &str| {
        let mut headers = Headers::default();
        headers.push_bytes(name, value);
        headers
    };
    let mut out = b"before".to_vec();
    for (bad, fault) in [
        (one("x", "a\r\nhost: evil"), WriteFault::Value),
        (one("x:", "a"), WriteFault::Name),
        (one("host", "evil"), WriteFault::Steering),
        (one("content-length", "1"), WriteFault::Steering),
        (one("transfer-encoding", "chunked"), WriteFault::Steering),
        (one("expect", "100-continue"), WriteFault::Steering),
        (one("connection", "x"), WriteFault::Steering),
    ] {
        assert_eq!(Prefix::new(Method::Get, b"/", b"a", &bad).err(), Some(fault));
        assert_eq!(write_request(&mut out, &prefix, &bad, Framing::None), Err(fault));
    }
    assert_eq!(out, b"before", "a refused head leaves nothing behind");
    let none = Headers::default();
    let refused = |method, target: &str, authority: &str| {
        Prefix::new(method, target.as_bytes(), authority.as_bytes(), &none).unwrap_err()
    };
    assert_eq!(refused(Method::Other, "/", "a"), WriteFault::Method);
    assert_eq!(refused(Method::Get, "/ x", "a"), WriteFault::Target);
    assert_eq!(refused(Method::Get, "/", "a b"), WriteFault::Authority);
}

#[test]
fn an_answer_says_its_date() {
    let json = Headers::of_type(b"application/json");
    let mut out = Vec::new();
    let mut write =
        |date: &[u8]| write_dated_response_head(&mut out, 200, &json, date, ResponseFraming::Length(2), true);
    assert_eq!(write(b"now\r\nx: y"), Err(WriteFault::Value));
    write(b"Thu, 19 Nov 2026 12:00:00 GMT").unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: Thu, 19 Nov 2026 12:00:00 GMT\r\n\
         content-length: 2\r\n\r\n"
    );
}
