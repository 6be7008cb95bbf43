//! The four cells: old and new clients × old and new servers, through the merged and the single endpoint.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is the report of a test"
)]

mod mcp_support;

use mcp_support::{Client, Described, Request, Running, Upstream, Wire, document};
use serde_json::{Value, json};

fn content(text: &str) -> Value {
    json!({"content":[{"type":"text","text":text}]})
}

fn modern_server() -> Upstream {
    Upstream::start(|request: &Request, wire: &mut Wire| {
        let message = request.json();
        match request.rpc_method().as_str() {
            "tools/call" => {
                let said = message["params"]["arguments"]["say"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let mut result = content(&said);
                result["resultType"] = json!("complete");
                wire.json(&json!({"result": result, "jsonrpc":"2.0", "id": message["id"]}));
            }
            other => wire.answer(
                404,
                &[("content-type", "application/json")],
                &json!({"jsonrpc":"2.0","id":message["id"],"error":{"code":-32601,"message":other}})
                    .to_string(),
            ),
        }
    })
}

fn legacy_server() -> Upstream {
    Upstream::legacy(|request: &Request, wire: &mut Wire| {
        let message = request.json();
        match request.rpc_method().as_str() {
            "tools/call" => {
                let said = message["params"]["arguments"]["say"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                wire.events();
                // A priming event, then the answer, as servers of this era send them.
                wire.chunk("id: e1\ndata: \n\n");
                wire.event(&json!({"jsonrpc":"2.0","id":message["id"],"result":content(&said)}));
                wire.end();
                wire.close();
            }
            _ => wire.answer(202, &[], ""),
        }
    })
}

fn modern_call(client: &mut Client, path: &str, name: &str, say: &str) -> mcp_support::Answer {
    client.modern(
        path,
        json!("a-1"),
        "tools/call",
        json!({"name":name,"arguments":{"say":say}}),
    )
}

fn legacy_call(client: &mut Client, path: &str, session: &str, name: &str, say: &str) -> Value {
    let body =
        json!({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":name,"arguments":{"say":say}}});
    let headers = [
        ("mcp-session-id", session),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    client.send(path, &headers, &body.to_string());
    let head = client.head();
    assert_eq!(head.status, 200);
    if head.header("content-type") == Some("text/event-stream") {
        let event = client.event().expect("an answer");
        while client.chunk().is_some() {}
        return event;
    }
    let length: usize = head.header("content-length").expect("a length").parse().unwrap();
    serde_json::from_slice(&client.bytes(length)).unwrap()
}

#[test]
fn modern_client_modern_server() {
    let upstream = modern_server();
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["echo"])]));
    let mut client = running.client();
    for (path, name) in [("/mcp", "m__echo"), ("/servers/m/mcp", "echo")] {
        let answer = modern_call(&mut client, path, name, "hi");
        assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
        let body = answer.json();
        assert_eq!(
            (&body["id"], &body["result"]["content"][0]["text"]),
            (&json!("a-1"), &json!("hi"))
        );
    }
    let seen = upstream.seen();
    for request in &seen {
        assert_eq!(
            request.header("mcp-name"),
            Some("echo"),
            "header and body carry the server's own name"
        );
        assert_eq!(request.json()["params"]["name"], "echo");
        assert_eq!(request.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(request.header("authorization"), None);
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn legacy_client_legacy_server() {
    let upstream = legacy_server();
    let running = Running::start(&document(1, vec![Described::legacy("l", &upstream, &["echo"])]));
    let mut client = running.client();
    for (path, name) in [("/mcp", "l__echo"), ("/servers/l/mcp", "echo")] {
        let session = client.open_session(path, &json!({}));
        let body = legacy_call(&mut client, path, &session, name, "hi");
        assert_eq!(
            (&body["id"], &body["result"]["content"][0]["text"]),
            (&json!(7), &json!("hi")),
            "{body}"
        );
    }
}

#[test]
fn legacy_client_modern_server() {
    let upstream = modern_server();
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["echo"])]));
    let mut client = running.client();
    for (path, name) in [("/mcp", "m__echo"), ("/servers/m/mcp", "echo")] {
        let session = client.open_session(path, &json!({"sampling":{}}));
        let body = legacy_call(&mut client, path, &session, name, "hi");
        assert_eq!(
            (&body["id"], &body["result"]["content"][0]["text"]),
            (&json!(7), &json!("hi")),
            "{body}"
        );
    }
    let call = upstream.wait_for("tools/call");
    let meta = &call.json()["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(
        meta["io.modelcontextprotocol/clientCapabilities"],
        json!({"sampling":{}})
    );
    assert_eq!(call.header("mcp-session-id"), None);
}

#[test]
fn modern_client_legacy_server() {
    let upstream = legacy_server();
    let running = Running::start(&document(1, vec![Described::legacy("l", &upstream, &["echo"])]));
    let mut client = running.client();
    for (path, name) in [("/mcp", "l__echo"), ("/servers/l/mcp", "echo")] {
        let body = modern_call(&mut client, path, name, "hi").json();
        assert_eq!(
            (&body["id"], &body["result"]["content"][0]["text"]),
            (&json!("a-1"), &json!("hi")),
            "{body}"
        );
        assert_eq!(body["result"]["resultType"], "complete");
    }
    let call = upstream.wait_for("tools/call");
    assert_eq!(
        call.header("mcp-session-id"),
        Some("s1"),
        "one session is held for this caller"
    );
    assert!(
        call.json()["params"]["_meta"]
            .get("io.modelcontextprotocol/protocolVersion")
            .is_none()
    );
}

#[test]
fn a_servers_request_becomes_a_round_trip_for_a_modern_client() {
    // The server asks in the middle of a call and finishes when the answer has come over its other POST.
    let (answered_tx, answered_rx) = std::sync::mpsc::channel::<Value>();
    let answered_rx = std::sync::Mutex::new(answered_rx);
    let upstream = Upstream::legacy(move |request, wire| {
        let message = request.json();
        if request.rpc_method() == "tools/call" {
            wire.events();
            wire.event(
                &json!({"jsonrpc":"2.0","id":0,"method":"elicitation/create","params":{"message":"who?"}}),
            );
            let answer = answered_rx
                .lock()
                .unwrap()
                .recv_timeout(mcp_support::PATIENCE)
                .expect("an answer");
            let text = answer["result"]["content"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            wire.event(&json!({"jsonrpc":"2.0","id":message["id"],"result":content(&text)}));
            wire.end();
            wire.close();
        } else {
            if message.get("result").is_some() {
                answered_tx.send(message).unwrap();
            }
            wire.answer(202, &[], "");
        }
    });
    let running = Running::start(&document(1, vec![Described::legacy("l", &upstream, &["ask"])]));
    let params = || {
        json!({"name":"l__ask","arguments":{},
        "_meta":{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}})
    };
    let first = running
        .client()
        .modern("/mcp", json!(1), "tools/call", params())
        .json();
    assert_eq!(first["result"]["resultType"], "input_required", "{first}");
    let requests = first["result"]["inputRequests"].as_object().unwrap();
    let (key, asked) = requests.iter().next().unwrap();
    assert_eq!(asked["method"], "elicitation/create");
    // Another connection, so very likely another worker.
    let mut retry = params();
    retry["inputResponses"] = json!({key: {"action":"accept","content":{"name":"Ada"}}});
    retry["requestState"] = first["result"]["requestState"].clone();
    let second = running
        .client()
        .modern("/mcp", json!(2), "tools/call", retry.clone())
        .json();
    assert_eq!(
        (&second["id"], &second["result"]["content"][0]["text"]),
        (&json!(2), &json!("Ada")),
        "{second}"
    );
    // The state is spent.
    let third = running
        .client()
        .modern("/mcp", json!(3), "tools/call", retry)
        .json();
    assert_eq!(third["error"]["data"]["reason"], "parked_call_gone", "{third}");
}

#[test]
fn a_round_trip_becomes_a_request_to_a_legacy_client() {
    let upstream = Upstream::start(|request, wire| {
        let message = request.json();
        let responses = &message["params"]["inputResponses"];
        let result = if responses.is_object() {
            assert_eq!(message["params"]["requestState"], "opaque");
            content(responses["k"]["content"]["name"].as_str().unwrap_or_default())
        } else {
            json!({"resultType":"input_required","requestState":"opaque",
                "inputRequests":{"k":{"method":"elicitation/create","params":{"message":"who?"}}}})
        };
        wire.json(&json!({"jsonrpc":"2.0","id":message["id"],"result":result}));
    });
    let running = Running::start(&document(1, vec![Described::modern("m", &upstream, &["ask"])]));
    let mut client = running.client();
    let session = client.open_session("/mcp", &json!({"elicitation":{}}));
    let headers = [
        ("mcp-session-id", session.as_str()),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let call = json!({"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"m__ask"}}).to_string();
    client.send("/mcp", &headers, &call);
    assert_eq!(client.head().status, 200);
    let asked = client.event().expect("a request");
    assert_eq!(asked["method"], "elicitation/create");
    let answer =
        json!({"jsonrpc":"2.0","id":asked["id"],"result":{"action":"accept","content":{"name":"Ada"}}});
    let accepted = running.client().post("/mcp", &headers, &answer.to_string());
    assert_eq!(accepted.status, 202);
    let last = client.event().expect("the answer");
    assert_eq!(
        (&last["id"], &last["result"]["content"][0]["text"]),
        (&json!("c"), &json!("Ada")),
        "{last}"
    );
}
