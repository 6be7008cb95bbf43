//! What real peers rarely do, and hostile ones often: each gets the right answer, nothing hangs, nothing leaks.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is the report of a test"
)]

mod mcp_support;

use mcp_support::{Described, Running, Upstream, document};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

fn reason(body: &Value) -> &str {
    body["error"]["data"]["reason"].as_str().unwrap_or_default()
}

fn call(name: &str) -> Value {
    json!({"name": name, "arguments": {}})
}

/// A legacy server whose answer to `tools/call` is these exact chunks of an event stream; `{id}` is the id.
fn legacy_events(chunks: &'static [&'static str]) -> Upstream {
    Upstream::legacy(move |request, wire| {
        if request.rpc_method() != "tools/call" {
            return wire.answer(202, &[], "");
        }
        let id = request.json()["id"].to_string();
        wire.events();
        for chunk in chunks {
            wire.chunk(&chunk.replace("{id}", &id));
        }
        wire.end();
        wire.close();
    })
}

#[test]
fn event_streams_are_read_however_they_are_written() {
    let framings: [&'static [&'static str]; 6] = [
        // CRLF, as Python writes it.
        &["event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{\"content\":[]}}\r\n\r\n"],
        // No event line, data before id, as the Rust SDK writes it.
        &["data: {\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{\"content\":[]}}\nid: 0/0\n\n"],
        // Split inside the JSON, inside a line end, inside a field name.
        &[
            "da",
            "ta: {\"jsonrpc\":\"2.0\",\"id\":{id},\"re",
            "sult\":{\"content\":[]}}\r",
            "\n\r",
            "\n",
        ],
        // Priming event, comment, retry, then everything in one piece.
        &[
            ": hello\n\nid: 1\nretry: 3000\ndata:\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{\"content\":[]}}\n\n",
        ],
        // Data over two lines, bare carriage returns.
        &["data: {\"jsonrpc\":\"2.0\",\rdata: \"id\":{id},\"result\":{\"content\":[]}}\r\r"],
        // A message for an event type nobody knows comes first.
        &[
            "event: other\ndata: nonsense\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{\"content\":[]}}\n\n",
        ],
    ];
    for (n, chunks) in framings.into_iter().enumerate() {
        let upstream = legacy_events(chunks);
        let running = Running::start(&document(1, vec![Described::legacy("l", &upstream, &["t"])]));
        let body = running
            .client()
            .modern("/mcp", json!(n), "tools/call", call("l__t"))
            .json();
        assert_eq!(body["result"]["content"], json!([]), "framing {n}: {body}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_a_failure_of_its_server() {
    let upstream = legacy_events(&["data: {\"jsonrpc\":\"2.0\",\"id\":{id},"]);
    let running = Running::start(&document(1, vec![Described::legacy("l", &upstream, &["t"])]));
    let body = running
        .client()
        .modern("/mcp", json!(1), "tools/call", call("l__t"))
        .json();
    assert_eq!(reason(&body), "upstream_reset", "{body}");
    assert_eq!(
        upstream
            .seen()
            .iter()
            .filter(|r| r.rpc_method() == "tools/call")
            .count(),
        1,
        "never tried twice"
    );
}

#[test]
fn a_json_answer_cut_in_the_middle_never_looks_whole() {
    let cut_after = |length: usize| {
        Upstream::start(move |_, wire| {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
            wire.raw(format!("{head}: {length}\r\n\r\n{{\"jsonrpc\"").as_bytes());
            wire.close();
        })
    };
    // Nothing has left yet, so there is an answer.
    let upstream = cut_after(100_000);
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["t"])]));
    let body = running
        .client()
        .modern("/mcp", json!(1), "tools/call", call("m__t"))
        .json();
    assert_eq!(reason(&body), "upstream_reset", "{body}");
    assert_eq!(upstream.seen().len(), 1, "never tried twice");
    // A longer one is passed on as it comes.
    let upstream = cut_after(1_000_000);
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["t"])]));
    let mut client = running.client();
    client.send_modern("/mcp", json!(1), "tools/call", call("m__t"));
    assert!(
        client.is_cut(),
        "a client must be able to tell this from a whole answer"
    );
}

#[test]
fn an_answer_to_another_request_reaches_nobody() {
    let upstream = legacy_events(&[
        "data: {\"jsonrpc\":\"2.0\",\"id\":\"somebody-else\",\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"secret\"}]}}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{\"content\":[]}}\n\n",
    ]);
    let running = Running::start(&document(1, vec![Described::legacy("l", &upstream, &["t"])]));
    let body = running
        .client()
        .modern("/mcp", json!(1), "tools/call", call("l__t"))
        .json();
    assert!(!body.to_string().contains("secret"), "{body}");
}

#[test]
fn a_lost_session_is_opened_anew_and_the_client_does_not_notice() {
    // As the specification wants it (404), and as widely used servers do it (400 with a sentence).
    for (status, text) in [
        (404, "Session not found"),
        (400, "Bad Request: No valid session ID provided"),
    ] {
        let sessions = AtomicUsize::new(0);
        let upstream = Upstream::start(move |request, wire| {
            let message = request.json();
            match request.rpc_method().as_str() {
                "initialize" => {
                    let n = sessions.fetch_add(1, Ordering::SeqCst) + 1;
                    let result = json!({"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}});
                    let body = json!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string();
                    wire.answer(
                        200,
                        &[
                            ("content-type", "application/json"),
                            ("mcp-session-id", &format!("s{n}")),
                        ],
                        &body,
                    );
                }
                "tools/call" if request.header("mcp-session-id") == Some("s1") => {
                    let body = json!({"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":text}});
                    wire.answer(status, &[("content-type", "application/json")], &body.to_string());
                }
                "tools/call" => {
                    wire.json(&json!({"jsonrpc":"2.0","id":message["id"],"result":{"content":[]}}))
                }
                _ => wire.answer(202, &[], ""),
            }
        });
        let running = Running::start(&document(1, vec![Described::legacy("l", &upstream, &["t"])]));
        let mut client = running.client();
        let session = client.open_session("/mcp", &json!({}));
        let headers = [("mcp-session-id", session.as_str())];
        let body = json!({"jsonrpc":"2.0","id":5,"method":"tools/call","params":call("l__t")}).to_string();
        for _ in 0..2 {
            let answer = client.post("/mcp", &headers, &body);
            assert_eq!(
                answer.json()["result"]["content"],
                json!([]),
                "{status}: {:?}",
                answer.json()
            );
        }
        let calls = upstream
            .seen()
            .iter()
            .filter(|r| r.rpc_method() == "tools/call")
            .count();
        assert_eq!(
            calls, 3,
            "refused once, repeated once, then over the new session at once"
        );
    }
}

#[test]
fn sessions_are_their_owners_and_end() {
    let upstream = Upstream::legacy(|_, wire| wire.answer(202, &[], ""));
    let mut doc = document(1, vec![Described::legacy("l", &upstream, &["t"])]);
    let key = ringway_proto::key::format(&[9; 32]);
    doc.keys.push(ringway_proto::snapshot::ApiKey {
        id: "k".into(),
        hash: mcp_support::hash(&key),
        tenant: "other".into(),
        name: None,
        roles: vec!["all".into()],
        expires_at: None,
        interface: None,
    });
    let running = Running::start(&doc);
    let mut client = running.client();
    let session = client.open_session("/mcp", &json!({}));
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(
        client.post("/mcp", &[("mcp-session-id", &session)], ping).json()["result"],
        json!({})
    );
    let bearer = format!("Bearer {key}");
    let foreign = client.post(
        "/mcp",
        &[("mcp-session-id", &session), ("authorization", &bearer)],
        ping,
    );
    assert_eq!(
        (foreign.status, reason(&foreign.json())),
        (404, "session_unknown")
    );
    let elsewhere = client.post("/servers/l/mcp", &[("mcp-session-id", &session)], ping);
    assert_eq!(elsewhere.status, 404);
    let mut forged = session.clone().into_bytes();
    let last = forged.len() - 5;
    forged[last] ^= 1;
    let forged = String::from_utf8(forged).unwrap();
    assert_eq!(
        client.post("/mcp", &[("mcp-session-id", &forged)], ping).status,
        404
    );
    client.bare("DELETE", "/mcp", &[("mcp-session-id", &session)]);
    assert_eq!(client.answer().status, 200);
    // On every connection, so on every worker.
    for _ in 0..8 {
        assert_eq!(
            running
                .client()
                .post("/mcp", &[("mcp-session-id", &session)], ping)
                .status,
            404
        );
    }
}

#[test]
fn ambiguous_messages_are_refused_before_anything_leaves() {
    let upstream = Upstream::start(|_, wire| wire.json(&json!({})));
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["t"])]));
    let mut client = running.client();
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "m__t"),
    ];
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    for (body, wanted) in [
        (
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{{"name":"m__t",{meta}}}}}"#
            ),
            "envelope_invalid",
        ),
        (
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"m__t","name":"x",{meta}}}}}"#
            ),
            "envelope_invalid",
        ),
        (
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools/call","params":{{"name":"m__t",{meta}}}}}"#
            ),
            "envelope_invalid",
        ),
        (
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"m__t",{meta}}}}} trailing"#
            ),
            "json_malformed",
        ),
        (
            format!(
                r#"[{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"m__t",{meta}}}}}]"#
            ),
            "batch_not_allowed",
        ),
        ("{".to_owned(), "json_malformed"),
    ] {
        let answer = client.post("/mcp", &headers, &body);
        assert_eq!((answer.status, reason(&answer.json())), (400, wanted), "{body}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn invalid_utf8_is_refused() {
    let upstream = Upstream::start(|_, wire| wire.json(&json!({})));
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["t"])]));
    let mut client = running.client();
    let body = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"m__t\",\"arguments\":{\"x\":\"\xff\"}}}";
    client.raw(format!("POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: */*\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    client.raw(body);
    let answer = client.answer();
    assert_eq!((answer.status, reason(&answer.json())), (400, "json_malformed"));
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn headers_and_body_must_tell_the_same_story() {
    let upstream = Upstream::start(|_, wire| wire.json(&json!({})));
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["t"])]));
    let mut client = running.client();
    let body = |version: &str| {
        json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"m__t","_meta":{
            "io.modelcontextprotocol/protocolVersion":version,"io.modelcontextprotocol/clientCapabilities":{}}}}).to_string()
    };
    let version = ("mcp-protocol-version", "2026-07-28");
    type Case<'c> = (&'c [(&'c str, &'c str)], String, u16, i64);
    let cases: [Case<'_>; 7] = [
        (
            &[version, ("mcp-method", "tools/list"), ("mcp-name", "m__t")],
            body("2026-07-28"),
            400,
            -32020,
        ),
        (
            &[version, ("mcp-method", "tools/call"), ("mcp-name", "other")],
            body("2026-07-28"),
            400,
            -32020,
        ),
        (
            &[version, ("mcp-method", "tools/call")],
            body("2026-07-28"),
            400,
            -32020,
        ),
        (&[version, ("mcp-name", "m__t")], body("2026-07-28"), 400, -32020),
        (
            &[version, ("mcp-method", "tools/call"), ("mcp-name", "m__t")],
            body("2025-11-25"),
            400,
            -32020,
        ),
        (
            &[("mcp-method", "tools/call"), ("mcp-name", "m__t")],
            body("2026-07-28"),
            400,
            -32020,
        ),
        (
            &[("mcp-protocol-version", "2099-01-01")],
            body("2099-01-01"),
            400,
            -32022,
        ),
    ];
    for (headers, body, status, code) in cases {
        let answer = client.post("/mcp", headers, &body);
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_i64()),
            (status, Some(code)),
            "{headers:?}"
        );
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn methods_of_the_other_era_do_not_exist() {
    let upstream = Upstream::start(|_, wire| wire.json(&json!({})));
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["t"])]));
    let mut client = running.client();
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe"] {
        let answer = client.modern("/servers/m/mcp", json!(1), method, json!({}));
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_i64()),
            (404, Some(-32601)),
            "{method}"
        );
    }
    client.bare(
        "GET",
        "/mcp",
        &[
            ("accept", "text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
        ],
    );
    assert_eq!(client.answer().status, 405);
}

#[test]
fn the_door_judges_before_the_body() {
    let upstream = Upstream::start(|_, wire| wire.json(&json!({})));
    let mut doc = document(1, vec![Described::modern("m", &upstream, &["t"])]);
    doc.anonymous = None;
    let running = Running::start(&doc);
    let cases: [(&str, u16); 6] = [
        ("POST /mcp HTTP/1.1\r\nhost: evil.example\r\n", 403),
        (
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\n",
            403,
        ),
        ("POST /mcp HTTP/1.1\r\nhost: localhost\r\n", 401),
        ("POST /nowhere HTTP/1.1\r\nhost: localhost\r\n", 404),
        ("PUT /mcp HTTP/1.1\r\nhost: localhost\r\n", 405),
        (
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer rwk_nonsense\r\n",
            401,
        ),
    ];
    for (head, status) in cases {
        let mut client = running.client();
        // The body never comes, and the answer does not wait for it.
        client.raw(format!("{head}content-type: application/json\r\naccept: */*\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n").as_bytes());
        assert_eq!(client.head().status, status, "{head}");
    }
}

#[test]
fn a_modern_client_that_goes_away_cancels_at_both_kinds_of_server() {
    let (gone_tx, gone_rx) = std::sync::mpsc::channel();
    let modern = Upstream::start(move |_, wire| {
        gone_tx.send(wire.closed_by_peer()).unwrap();
        wire.close();
    });
    let legacy = Upstream::legacy(|request, wire| {
        if request.rpc_method() == "tools/call" {
            wire.events();
            let _ = wire.closed_by_peer();
            wire.close();
        } else {
            wire.answer(202, &[], "");
        }
    });
    let servers = vec![
        Described::modern("m", &modern, &["t"]),
        Described::legacy("l", &legacy, &["t"]),
    ];
    let running = Running::start(&document(1, servers));
    let mut client = running.client();
    client.send_modern("/mcp", json!(1), "tools/call", call("m__t"));
    modern.wait_for("tools/call");
    client.shutdown();
    assert!(
        gone_rx.recv_timeout(mcp_support::PATIENCE).unwrap(),
        "the upstream connection is closed"
    );
    let mut client = running.client();
    client.send_modern("/mcp", json!(1), "tools/call", call("l__t"));
    let call = legacy.wait_for("tools/call");
    client.shutdown();
    let cancelled = legacy.wait_for("notifications/cancelled");
    assert_eq!(cancelled.json()["params"]["requestId"], call.json()["id"]);
}

#[test]
fn a_legacy_client_cancels_with_words_and_not_by_leaving() {
    let (go_tx, go_rx) = std::sync::mpsc::channel::<()>();
    let go_rx = std::sync::Mutex::new(go_rx);
    let (done_tx, done_rx) = std::sync::mpsc::channel();
    let modern = Upstream::start(move |request, wire| {
        let _ = go_rx.lock().unwrap().recv_timeout(mcp_support::PATIENCE);
        wire.json(&json!({"jsonrpc":"2.0","id":request.json()["id"],"result":{"content":[],"resultType":"complete"}}));
        done_tx.send(()).unwrap();
    });
    let running = Running::start(&document(1, vec![Described::modern("m", &modern, &["t"])]));
    let mut client = running.client();
    let session = client.open_session("/mcp", &json!({}));
    let headers = [("mcp-session-id", session.as_str())];
    let body = json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":call("m__t")}).to_string();
    client.send("/mcp", &headers, &body);
    modern.wait_for("tools/call");
    client.shutdown();
    go_tx.send(()).unwrap();
    done_rx
        .recv_timeout(mcp_support::PATIENCE)
        .expect("the call ran to its end");
}

#[test]
fn one_dead_server_empties_no_list_and_delays_no_session() {
    let alive = Upstream::legacy(|_, wire| wire.answer(202, &[], ""));
    let dead = Described::new(
        "dead",
        "http://127.0.0.1:9/mcp",
        true,
        false,
        &[mcp_support::tool("t")],
    );
    let running = Running::start(&document(1, vec![dead, Described::legacy("l", &alive, &["t"])]));
    let mut client = running.client();
    let session = client.open_session("/mcp", &json!({}));
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let listed = client.post("/mcp", &[("mcp-session-id", &session)], list).json();
    let names: Vec<&str> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|t| t["name"].as_str())
        .collect();
    assert_eq!(names, ["dead__t", "l__t"]);
    let body = json!({"jsonrpc":"2.0","id":2,"method":"tools/call","params":call("dead__t")}).to_string();
    let failed = client.post("/mcp", &[("mcp-session-id", &session)], &body).json();
    assert_eq!(reason(&failed), "upstream_connect", "{failed}");
}

#[test]
fn a_publication_changes_lists_and_tells_listeners() {
    let upstream = Upstream::start(|_, wire| wire.json(&json!({})));
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["a"])]));
    let mut stream = running.client();
    stream.send_modern(
        "/mcp",
        json!("sub"),
        "subscriptions/listen",
        json!({"notifications":{"toolsListChanged":true}}),
    );
    assert_eq!(stream.head().status, 200);
    let ack = stream.event().unwrap();
    assert_eq!(ack["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(ack["params"]["notifications"], json!({"toolsListChanged":true}));
    assert_eq!(
        ack["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "sub"
    );
    running
        .gateway()
        .publish(&document(2, vec![Described::modern("m", &upstream, &["a", "b"])]))
        .unwrap();
    let changed = stream.event().unwrap();
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert_eq!(
        changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        "sub"
    );
    let listed = running
        .client()
        .modern("/mcp", json!(1), "tools/list", json!({}))
        .json();
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 2);
}
