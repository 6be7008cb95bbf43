//! The HTTP/1.1 connection: pipelining, bodies in pieces, large results, latency, TLS.

use crate::{client::Client, up};
use ringway_loadtest::upstream::{Options, stats::Counter};
use serde_json::json;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = up(Options {
        latency: vec!["sleep=2ms".parse().unwrap()],
        ..Options::default()
    });
    let mut client = Client::modern(server.addr);
    let mut bytes = Vec::new();
    let tools = ["echo", "sleep", "sized", "echo", "error", "echo"];
    for (n, tool) in tools.iter().enumerate() {
        let mut message = client.message(
            "tools/call",
            json!({ "name": tool, "arguments": { "text": "x", "bytes": 40_000, "ms": 1 } }),
        );
        message["id"] = json!(n);
        bytes.extend(client.bytes(&message));
    }
    // One piece with everything, then the same in small ones.
    client.raw(&bytes);
    for n in 0..tools.len() {
        assert_eq!(client.answer().json()["id"], json!(n));
    }
    for piece in bytes.chunks(37) {
        client.raw(piece);
    }
    for n in 0..tools.len() {
        assert_eq!(client.answer().json()["id"], json!(n));
    }
    assert_eq!(server.stats().get(Counter::Connections), 1);
}

#[test]
fn bodies_may_be_chunked_or_wait_for_leave() {
    let server = up(Options::default());
    let mut client = Client::modern(server.addr);
    let text = "y".repeat(50_000);
    let body = client
        .message(
            "tools/call",
            json!({ "name": "echo", "arguments": { "text": text } }),
        )
        .to_string();
    let head = "POST / HTTP/1.1\r\nHost: t\r\nMCP-Protocol-Version: 2026-07-28\r\n";
    client.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
    for piece in body.as_bytes().chunks(9_999) {
        client.raw(format!("{:x}\r\n", piece.len()).as_bytes());
        client.raw(piece);
        client.raw(b"\r\n");
    }
    client.raw(b"0\r\n\r\n");
    assert_eq!(client.answer().result_text(), text);

    client.raw(
        format!(
            "{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    assert_eq!(client.head().unwrap().status, 100);
    client.raw(body.as_bytes());
    assert_eq!(client.answer().result_text(), text);
}

#[test]
fn sixteen_megabytes_arrive_whole() {
    let server = up(Options::default());
    let mut client = Client::modern(server.addr);
    let got = client.call("sized", json!({ "bytes": 16 << 20 })).result_text();
    assert_eq!(got.len(), 16 << 20);
    assert_eq!(ringway_loadtest::upstream::text::check(got.as_bytes()), Ok(()));
}

#[test]
fn a_connection_ends_when_its_client_says_so() {
    let server = up(Options::default());
    let mut client = Client::modern(server.addr);
    let message = client.message("ping", json!({}));
    let bytes = String::from_utf8(client.bytes(&message))
        .unwrap()
        .replace("Host:", "Connection: close\r\nHost:");
    client.raw(bytes.as_bytes());
    assert_eq!(client.answer().header("connection"), Some("close"));
    assert_eq!(client.rest(), (Vec::new(), std::io::ErrorKind::UnexpectedEof));
    crate::until("the connection is counted as closed", || {
        server.stats().connections_open == 0
    });
}

#[test]
fn what_is_not_http_is_told_so() {
    let server = up(Options::default());
    let mut client = Client::modern(server.addr);
    client.raw(b"\x01\x02\x03\x04 hello\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    let mut client = Client::modern(server.addr);
    client.raw(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n{\"not\": 1");
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_i64()),
        (400, Some(-32700))
    );
}

#[test]
fn latency_is_kept_also_below_a_millisecond() {
    let latency = ["uniform(300us,400us)", "sleep=60ms", "echo=0"].map(|rule| rule.parse().unwrap());
    for busy_poll in [false, true] {
        let server = up(Options {
            latency: latency.to_vec(),
            busy_poll,
            ..Options::default()
        });
        let mut client = Client::modern(server.addr);
        let mut least = |tool: &str| {
            let time = |_| {
                let began = Instant::now();
                client.call(tool, json!({ "text": "x" }));
                began.elapsed()
            };
            (0..5).map(time).min().unwrap()
        };
        assert!(least("sized") >= Duration::from_micros(300));
        assert!(least("sleep") >= Duration::from_millis(60));
        // Whatever the machine is doing, one of five is not 60 ms late.
        assert!(least("echo") < Duration::from_millis(60));
    }
}

#[test]
fn threads_share_sessions_and_sum_their_counts() {
    let server = up(Options {
        threads: 3,
        ..Options::default()
    });
    let first = Client::legacy(server.addr, "2025-06-18");
    for _ in 0..20 {
        assert_eq!(
            first.again().call("echo", json!({ "text": "x" })).result_text(),
            "x"
        );
    }
    assert_eq!(server.stats().get(Counter::CallsEcho), 20);
}

#[test]
fn a_stopped_server_is_gone() {
    let server = up(Options {
        threads: 2,
        admin: Some(([127, 0, 0, 1], 0).into()),
        ..Options::default()
    });
    let addr = server.addr;
    let mut client = Client::modern(addr);
    client.call("echo", json!({ "text": "x" }));
    server.stop();
    assert!(matches!(
        client.rest().1,
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
    ));
    assert!(TcpStream::connect(addr).is_err());
}

/// A certificate for localhost in files, and a client that trusts only it.
pub fn certificate(dir: &std::path::Path, alpn: &[&[u8]]) -> (Options, rustls::ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let options = Options {
        tls_certificate: Some(certificate),
        tls_key: Some(key),
        ..Options::default()
    };
    (options, config)
}

#[test]
fn calls_pass_through_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (options, config) = certificate(dir.path(), &[b"http/1.1"]);
    let server = up(options);
    assert!(server.url().starts_with("https://"));
    let tcp = TcpStream::connect(server.addr).unwrap();
    tcp.set_read_timeout(Some(crate::client::PATIENCE)).unwrap();
    let mut session =
        rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut tcp = tcp;
    let mut tls = rustls::Stream::new(&mut session, &mut tcp);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "sized", "arguments": { "bytes": 200_000 },
        "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" },
    } })
    .to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    tls.write_all(head.as_bytes()).unwrap();
    tls.write_all(body.as_bytes()).unwrap();
    let mut said = Vec::new();
    tls.read_to_end(&mut said).unwrap();
    assert!(said.starts_with(b"HTTP/1.1 200 OK\r\n") && said.len() > 200_000);
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
}
