//! The control endpoint.

use crate::{
    client::{Answer, Client},
    up,
};
use ringway_loadtest::upstream::{Handle, Options};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn with_admin() -> Handle {
    up(Options {
        admin: Some(([127, 0, 0, 1], 0).into()),
        ..Options::default()
    })
}

fn ask(server: &Handle, method: &str, path: &str, body: &str) -> Answer {
    let mut client = Client::modern(server.admin.unwrap());
    client.raw(
        format!(
            "{method} {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    client.answer()
}

#[test]
fn stats_are_what_happened() {
    let server = with_admin();
    let mut client = Client::legacy(server.addr, "2025-06-18");
    client.call("echo", json!({ "text": "x" }));
    let stats = ask(&server, "GET", "/stats", "").json();
    assert_eq!(stats["counts"]["calls_echo"], 1);
    assert_eq!(
        (&stats["sessions_open"], &stats["connections_open"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(stats, serde_json::to_value(server.stats()).unwrap());
}

#[test]
fn faults_are_switched_while_serving() {
    let server = with_admin();
    let mut client = Client::modern(server.addr);
    assert_eq!(client.call("sized", json!({})).status, 200);
    let rules = json!({ "faults": [{ "kind": "http_error", "status": 502, "tool": "sized" }] }).to_string();
    let said = ask(&server, "POST", "/faults", &rules).json();
    assert_eq!(said["faults"][0]["kind"], "http_error");
    assert_eq!(client.call("sized", json!({})).status, 502);
    assert_eq!(ask(&server, "GET", "/faults", "").json(), said);
    assert_eq!(ask(&server, "DELETE", "/faults", "").json()["faults"], json!([]));
    assert_eq!(client.call("sized", json!({})).status, 200);
    assert_eq!(
        ask(&server, "GET", "/stats", "").json()["faults"],
        json!({ "http_error": 1 })
    );
}

#[test]
fn it_answers_while_everything_stalls() {
    let server = with_admin();
    let began = Instant::now();
    assert_eq!(
        ask(&server, "POST", "/faults", r#"{"stall_all_ms": 200}"#).json()["stalled"],
        true
    );
    let mut client = Client::modern(server.addr);
    let message = client.message("tools/list", json!({}));
    client.send(&message);
    assert_eq!(ask(&server, "GET", "/stats", "").json()["faults"]["stall_all"], 1);
    assert_eq!(client.answer().status, 200);
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[test]
fn sessions_are_forgotten_on_demand() {
    let server = with_admin();
    let mut client = Client::legacy(server.addr, "2025-06-18");
    assert_eq!(
        ask(&server, "DELETE", "/sessions", "").json(),
        json!({ "forgotten": 1 })
    );
    assert_eq!(client.call("echo", json!({ "text": "x" })).status, 404);
    assert_eq!(
        ask(
            &server,
            "POST",
            "/notify",
            r#"{"method": "notifications/tools/list_changed"}"#
        )
        .json(),
        json!({ "streams": 0 })
    );
}

#[test]
fn mistakes_are_answered_and_change_nothing() {
    let server = with_admin();
    ask(
        &server,
        "POST",
        "/faults",
        r#"{"faults": [{"kind": "stall", "tool": "nothing"}]}"#,
    );
    for (method, path, body, status) in [
        ("POST", "/faults", "{", 400),
        ("POST", "/faults", r#"{"faults": [{"kind": "explode"}]}"#, 400),
        (
            "POST",
            "/faults",
            r#"{"faults": [{"kind": "stall", "probability": 7}]}"#,
            400,
        ),
        ("POST", "/faults", r#"{"fault": []}"#, 400),
        ("POST", "/notify", r#"{"method": "tools/call"}"#, 400),
        ("PUT", "/stats", "", 405),
        ("GET", "/elsewhere", "", 404),
    ] {
        let answer = ask(&server, method, path, body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
    }
    let rules: Value = ask(&server, "GET", "/faults", "").json();
    assert_eq!(rules["faults"][0]["kind"], "stall");
}
