//! Every fault, once, as a client sees it over HTTP/1.1; those of HTTP/2 alone are in `http2`.

use crate::{
    client::{Answer, Client},
    until, up,
};
use ringway_loadtest::upstream::{
    Handle, Options, faults::FaultKind, options::AnswerKind, stats::Counter, text,
};
use serde_json::json;
use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

fn faulty(rule: &str) -> (Handle, Client) {
    let server = up(Options {
        faults: vec![rule.parse().unwrap()],
        ..Options::default()
    });
    let client = Client::modern(server.addr);
    (server, client)
}

fn call(client: &mut Client) -> Answer {
    client.call("sized", json!({ "bytes": 2000 }))
}

/// Sends the call and gives everything that comes until the connection ends, and how it ends.
fn broken(client: &mut Client) -> (Vec<u8>, ErrorKind) {
    let message = client.message(
        "tools/call",
        json!({ "name": "sized", "arguments": { "bytes": 2000 } }),
    );
    client.send(&message);
    client.rest()
}

fn counted(server: &Handle, kind: FaultKind) {
    until("the fault is counted", || server.stats().fault(kind) == 1);
    assert_eq!(server.stats().faults_total(), 1);
    assert_eq!(server.stats().get(Counter::CallsAnswered), 0);
}

#[test]
fn stall_for_ever() {
    let (server, mut client) = faulty("stall:tool=sized");
    let message = client.message("tools/call", json!({ "name": "sized", "arguments": {} }));
    client.send(&message);
    counted(&server, FaultKind::Stall);
    // Only this call stalls.
    assert_eq!(
        client.again().call("echo", json!({ "text": "x" })).result_text(),
        "x"
    );
    drop(client);
    until("the client is seen to leave", || {
        server.stats().get(Counter::ClientsGone) == 1
    });
}

#[test]
fn stall_for_a_time() {
    let (server, mut client) = faulty("stall:ms=80");
    let began = Instant::now();
    assert_eq!(call(&mut client).result_text().len(), 2000);
    assert!(began.elapsed() >= Duration::from_millis(80));
    assert_eq!(server.stats().fault(FaultKind::Stall), 1);
}

#[test]
fn stall_all() {
    let server = up(Options {
        threads: 2,
        ..Options::default()
    });
    let mut clients: Vec<Client> = (0..4).map(|_| Client::modern(server.addr)).collect();
    for client in &mut clients {
        call(client);
    }
    let began = Instant::now();
    server.stall_all(Duration::from_millis(150));
    for client in &mut clients {
        let message = client.message("tools/list", json!({}));
        client.send(&message);
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
        assert!(began.elapsed() >= Duration::from_millis(150));
    }
    assert_eq!(server.stats().fault(FaultKind::StallAll), 1);
    assert_eq!(call(&mut clients[0]).status, 200);
}

#[test]
fn reset_before_the_answer() {
    let (server, mut client) = faulty("reset");
    assert_eq!(broken(&mut client), (Vec::new(), ErrorKind::ConnectionReset));
    counted(&server, FaultKind::Reset);
}

#[test]
fn reset_amid_the_answer() {
    let (server, mut client) = faulty("reset:at=mid");
    let (got, how) = broken(&mut client);
    // A reset may overtake what was sent before it.
    assert!(got.is_empty() || got.starts_with(b"HTTP/1.1 200 OK\r\n") && got.len() < 2000);
    assert_eq!(how, ErrorKind::ConnectionReset);
    counted(&server, FaultKind::Reset);
}

#[test]
fn http_errors_with_retry_after() {
    for status in [503, 500, 429] {
        let (server, mut client) = faulty(&format!("http_error:status={status},retry_after_s=7"));
        let answer = call(&mut client);
        assert_eq!((answer.status, answer.header("retry-after")), (status, Some("7")));
        assert_eq!(client.request("tools/list", json!({})).status, 200);
        counted(&server, FaultKind::HttpError);
    }
}

#[test]
fn session_404() {
    let server = up(Options {
        faults: vec!["session_404:count=1".parse().unwrap()],
        ..Options::default()
    });
    // A call without a session has none to lose, and does not use the rule up.
    assert_eq!(call(&mut Client::modern(server.addr)).status, 200);
    let mut client = Client::legacy(server.addr, "2025-11-25");
    assert_eq!(call(&mut client).status, 404);
    assert_eq!(call(&mut client).status, 404);
    assert_eq!(server.stats().fault(FaultKind::Session404), 1);
    assert_eq!(server.stats().get(Counter::SessionsUnknown), 1);
    assert_eq!(call(&mut Client::legacy(server.addr, "2025-11-25")).status, 200);
}

#[test]
fn garbage_http() {
    let (server, mut client) = faulty("garbage_http");
    let (got, how) = broken(&mut client);
    assert!(!got.is_empty() && !got.starts_with(b"HTTP/"));
    assert_eq!(how, ErrorKind::UnexpectedEof);
    counted(&server, FaultKind::GarbageHttp);
}

#[test]
fn garbage_json() {
    let (server, mut client) = faulty("garbage_json");
    let answer = call(&mut client);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    counted(&server, FaultKind::GarbageJson);
}

#[test]
fn garbage_id() {
    let (server, mut client) = faulty("garbage_id:count=2");
    for id in [json!(5), json!("five")] {
        let mut message = client.message("tools/call", json!({ "name": "sized", "arguments": {} }));
        message["id"] = id.clone();
        let answer = client.post(&message).json();
        assert!(answer["result"].is_object() && answer["id"] != id, "{answer}");
        assert_eq!(answer["id"].is_number(), id.is_number());
    }
    assert_eq!(server.stats().fault(FaultKind::GarbageId), 2);
    assert!(call(&mut client).json()["result"].is_object());
}

#[test]
fn garbage_truncated() {
    let (server, mut client) = faulty("garbage_truncated");
    let answer = call(&mut client);
    assert!(answer.body.starts_with(b"{\"jsonrpc\"") && answer.body.len() > 500);
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    // HTTP itself is in order, so the connection goes on.
    assert_eq!(client.request("tools/list", json!({})).status, 200);
    counted(&server, FaultKind::GarbageTruncated);
}

#[test]
fn garbage_length_long() {
    let (server, mut client) = faulty("garbage_length_long");
    let message = client.message("tools/call", json!({ "name": "sized", "arguments": {} }));
    client.send(&message);
    assert_eq!(client.try_answer().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    counted(&server, FaultKind::GarbageLengthLong);
}

#[test]
fn garbage_length_short() {
    let (server, mut client) = faulty("garbage_length_short");
    let answer = call(&mut client);
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    // The rest of the body stands where the next answer should begin.
    let message = client.message("tools/list", json!({}));
    client.send(&message);
    assert!(
        !matches!(client.try_answer(), Ok(answer) if answer.status == 200 && answer.json()["result"]["tools"].is_array())
    );
    counted(&server, FaultKind::GarbageLengthShort);
}

#[test]
fn trickle() {
    let (server, mut client) = faulty("trickle:bytes=100,ms=2");
    let began = Instant::now();
    let got = call(&mut client).result_text();
    assert_eq!((got.len(), text::check(got.as_bytes())), (2000, Ok(())));
    assert!(began.elapsed() >= Duration::from_millis(40));
    until("it is counted", || server.stats().fault(FaultKind::Trickle) == 1);
    // Slow, but right.
    until("it is answered", || {
        server.stats().get(Counter::CallsAnswered) == 1
    });
}

#[test]
fn close_amid_the_body() {
    let (server, mut client) = faulty("close");
    let (got, how) = broken(&mut client);
    assert!(got.starts_with(b"HTTP/1.1 200 OK\r\n") && got.len() < 2000);
    assert_eq!(how, ErrorKind::UnexpectedEof);
    counted(&server, FaultKind::Close);
}

#[test]
fn faults_break_event_streams_as_well() {
    for (rule, kind) in [("close", FaultKind::Close), ("garbage_id", FaultKind::GarbageId)] {
        let server = up(Options {
            answer: AnswerKind::Sse,
            faults: vec![rule.parse().unwrap()],
            ..Options::default()
        });
        let mut client = Client::modern(server.addr);
        let message = client.message("tools/call", json!({ "name": "sized", "arguments": {} }));
        client.send(&message);
        match client.try_answer() {
            Ok(answer) => assert_ne!(answer.events()[0]["id"], message["id"]),
            Err(why) => assert_eq!((why.kind(), kind), (ErrorKind::UnexpectedEof, FaultKind::Close)),
        }
        counted(&server, kind);
    }
}

#[test]
fn faults_come_as_often_as_they_should() {
    let rules = [
        "reset:probability=0.1,tool=echo",
        "http_error:probability=0.2,tool=sized",
        "close:method=tools/list,count=1",
    ];
    let server = up(Options {
        faults: rules.map(|rule| rule.parse().unwrap()).to_vec(),
        ..Options::default()
    });
    let (mut resets, mut errors) = (0, 0);
    for _ in 0..300 {
        let mut client = Client::modern(server.addr);
        errors += u64::from(client.call("sized", json!({})).status == 503);
        let message = client.message(
            "tools/call",
            json!({ "name": "echo", "arguments": { "text": "x" } }),
        );
        client.send(&message);
        resets += u64::from(client.try_answer().is_err());
    }
    let stats = server.stats();
    assert_eq!(
        (stats.fault(FaultKind::Reset), stats.fault(FaultKind::HttpError)),
        (resets, errors)
    );
    assert!(
        (10..60).contains(&resets) && (30..100).contains(&errors),
        "{resets} {errors}"
    );
    let mut client = Client::modern(server.addr);
    let message = client.message("tools/list", json!({}));
    client.send(&message);
    assert!(client.try_answer().is_err());
    assert_eq!(
        Client::modern(server.addr)
            .request("tools/list", json!({}))
            .status,
        200
    );
    server.set_faults(Vec::new()).unwrap();
    for _ in 0..50 {
        call(&mut Client::modern(server.addr)).result_text();
    }
}
