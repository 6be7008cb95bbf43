//! Conversations on the merged endpoint that need more than one exchange: requests of servers, streams, batches,
//! subscriptions across the eras, search mode, rights.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is the report of a test"
)]

mod mcp_support;

use mcp_support::{Described, PATIENCE, Running, Upstream, document};
use serde_json::{Value, json};
use std::sync::{Mutex, mpsc};

/// A legacy server that asks its client for a sample, under id 0, and answers with what it was given.
fn asking() -> Upstream {
    let (answered, answers) = mpsc::channel::<Value>();
    let answers = Mutex::new(answers);
    Upstream::legacy(move |request, wire| {
        let message = request.json();
        if request.rpc_method() != "tools/call" {
            if message.get("result").is_some() {
                answered.send(message).unwrap();
            }
            return wire.answer(202, &[], "");
        }
        wire.events();
        wire.event(&json!({"jsonrpc":"2.0","id":0,"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}));
        let answer = answers.lock().unwrap().recv_timeout(PATIENCE).expect("an answer");
        assert_eq!(answer["id"], 0, "the server's own id, with its type");
        let text = answer["result"]["content"]["text"].clone();
        wire.event(
            &json!({"jsonrpc":"2.0","id":message["id"],"result":{"content":[{"type":"text","text":text}]}}),
        );
        wire.end();
        wire.close();
    })
}

#[test]
fn requests_of_two_servers_with_one_id_are_answered_apart() {
    let (a, b) = (asking(), asking());
    let servers = vec![
        Described::legacy("a", &a, &["ask"]),
        Described::legacy("b", &b, &["ask"]),
    ];
    let running = Running::start(&document(1, servers));
    let mut client = running.client();
    let session = client.open_session("/mcp", &json!({"sampling":{}}));
    let headers = [
        ("mcp-session-id", session.as_str()),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let mut calls = Vec::new();
    for (id, name) in [(1, "a__ask"), (2, "b__ask")] {
        let mut call = running.client();
        let body = json!({"jsonrpc":"2.0","id":id,"method":"tools/call","params":{"name":name}});
        call.send("/mcp", &headers, &body.to_string());
        assert_eq!(call.head().status, 200);
        let asked = call.event().expect("a request");
        assert_eq!(asked["method"], "sampling/createMessage");
        calls.push((call, asked["id"].clone(), name));
    }
    assert_ne!(calls[0].1, calls[1].1);
    // Answered in the other order, over another connection.
    for (_, id, name) in calls.iter().rev() {
        let content = json!({"type":"text","text":format!("for {name}")});
        let result = json!({"role":"assistant","model":"m","content":content});
        let body = json!({"jsonrpc":"2.0","id":id,"result":result}).to_string();
        assert_eq!(client.post("/mcp", &headers, &body).status, 202);
    }
    for (mut call, _, name) in calls {
        let last = call.event().expect("the answer");
        assert_eq!(last["result"]["content"][0]["text"], format!("for {name}"));
    }
}

#[test]
fn an_answer_from_another_session_reaches_no_server() {
    let server = asking();
    let running = Running::start(&document(1, vec![Described::legacy("a", &server, &["ask"])]));
    let mut client = running.client();
    let session = client.open_session("/mcp", &json!({"sampling":{}}));
    let other = client.open_session("/mcp", &json!({"sampling":{}}));
    let mut call = running.client();
    let body = json!({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__ask"}}).to_string();
    call.send("/mcp", &[("mcp-session-id", &session)], &body);
    call.head();
    let id = call.event().expect("a request")["id"].clone();
    let answer = |text: &str| {
        json!({"jsonrpc":"2.0","id":id,"result":{"content":{"type":"text","text":text}}}).to_string()
    };
    assert_eq!(
        client
            .post("/mcp", &[("mcp-session-id", &other)], &answer("stolen"))
            .status,
        202
    );
    assert_eq!(
        client
            .post("/mcp", &[("mcp-session-id", &session)], &answer("own"))
            .status,
        202
    );
    let last = call.event().expect("the answer");
    assert_eq!(last["result"]["content"][0]["text"], "own");
}

#[test]
fn batches_belong_to_one_revision() {
    let server = Upstream::legacy(|request, wire| {
        let message = request.json();
        wire.json(&json!({"jsonrpc":"2.0","id":message["id"],"result":{"content":[{"type":"text","text":message["params"]["name"]}]}}));
    });
    let running = Running::start(&document(1, vec![Described::legacy("l", &server, &["x", "y"])]));
    let mut client = running.client();
    let batch = json!([
        {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"l__x"}},
        {"jsonrpc":"2.0","method":"notifications/roots/list_changed"},
        {"jsonrpc":"2.0","id":"two","method":"ping"},
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"nothing"}},
    ])
    .to_string();
    let session = client.open_session("/mcp", &json!({}));
    let answer = client.post("/mcp", &[("mcp-session-id", &session)], &batch);
    assert_eq!(
        (answer.status, &answer.json()["error"]["data"]["reason"]),
        (400, &json!("batch_not_allowed"))
    );
    let initialize = json!({"jsonrpc":"2.0","id":0,"method":"initialize","params":{
        "protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"t","version":"1"}}});
    let answer = client.post("/mcp", &[], &initialize.to_string());
    assert_eq!(answer.json()["result"]["protocolVersion"], "2025-03-26");
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    let answers = client
        .post("/mcp", &[("mcp-session-id", &session)], &batch)
        .json();
    let answers = answers.as_array().expect("a batch of answers");
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["result"]["content"][0]["text"], "x");
    assert_eq!(
        (&answers[1]["id"], &answers[1]["result"]),
        (&json!("two"), &json!({}))
    );
    assert_eq!(answers[2]["error"]["data"]["reason"], "tool_unknown");
}

#[test]
fn a_sessions_stream_joins_its_servers_and_resumes_at_one() {
    let (resumed, resumes) = mpsc::channel();
    let server = Upstream::legacy(move |request, wire| {
        if request.method != "GET" {
            return wire.answer(202, &[], "");
        }
        resumed
            .send(request.header("last-event-id").map(str::to_owned))
            .unwrap();
        wire.events();
        let changed = json!({"jsonrpc":"2.0","method":"notifications/tools/list_changed"});
        wire.event(&changed);
        let updated =
            json!({"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://1"}});
        wire.chunk(&format!("id: e/7\ndata: {updated}\n\n"));
        let _ = wire.closed_by_peer();
        wire.close();
    });
    let running = Running::start(&document(1, vec![Described::legacy("l", &server, &["t"])]));
    let session = running.client().open_session("/mcp", &json!({}));
    let get = |after: Option<&str>| {
        let mut stream = running.client();
        let mut headers = vec![
            ("accept", "text/event-stream"),
            ("mcp-session-id", session.as_str()),
        ];
        headers.extend(after.map(|id| ("last-event-id", id)));
        stream.bare("GET", "/mcp", &headers);
        assert_eq!(stream.head().status, 200);
        stream
    };
    let mut stream = get(None);
    // The server's own list_changed is the catalogue's business and is not passed on.
    let first = stream.event().unwrap();
    assert_eq!(first["method"], "notifications/resources/updated");
    assert_eq!(resumes.recv_timeout(PATIENCE).unwrap(), None);
    stream.shutdown();
    let _stream = get(Some("l/e/7"));
    assert_eq!(resumes.recv_timeout(PATIENCE).unwrap().as_deref(), Some("e/7"));
}

#[test]
fn a_legacy_client_subscribes_at_a_modern_server() {
    let server = Upstream::start(|request, wire| {
        let message = request.json();
        assert_eq!(request.rpc_method(), "subscriptions/listen");
        let tag = json!({"io.modelcontextprotocol/subscriptionId": message["id"]});
        wire.events();
        wire.event(
            &json!({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged",
            "params":{"_meta":tag,"notifications":message["params"]["notifications"]}}),
        );
        for uri in message["params"]["notifications"]["resourceSubscriptions"]
            .as_array()
            .unwrap()
        {
            wire.event(&json!({"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":tag,"uri":uri}}));
        }
        let _ = wire.closed_by_peer();
        wire.close();
    });
    let described = Described::modern("m", &server, &["t"]);
    let running = Running::start(&document(1, vec![described]));
    let mut client = running.client();
    let session = client.open_session("/mcp", &json!({}));
    let mut stream = running.client();
    stream.bare(
        "GET",
        "/mcp",
        &[("accept", "text/event-stream"), ("mcp-session-id", &session)],
    );
    assert_eq!(stream.head().status, 200);
    let body =
        json!({"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"m://1"}}).to_string();
    let answer = client.post("/mcp", &[("mcp-session-id", &session)], &body);
    assert_eq!(answer.json()["result"], json!({}));
    let listens = |r: &mcp_support::Request| {
        r.json()["params"]["notifications"]["resourceSubscriptions"] == json!(["m://1"])
    };
    assert!(server.seen().iter().any(listens), "confirmed before it stood");
    let updated = stream.event().expect("an update");
    assert_eq!(updated["params"]["uri"], "m://1");
    let tag = updated["params"]["_meta"].get("io.modelcontextprotocol/subscriptionId");
    assert_eq!(tag, None, "a tag of the other era");
}

#[test]
fn a_modern_client_listens_at_a_legacy_server() {
    let (go, went) = mpsc::channel::<()>();
    let went = Mutex::new(went);
    let server = Upstream::legacy(move |request, wire| match request.method.as_str() {
        "GET" => {
            wire.events();
            let _ = went.lock().unwrap().recv_timeout(PATIENCE);
            wire.event(
                &json!({"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"l://1"}}),
            );
            wire.event(&json!({"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"l://other"}}));
            let _ = wire.closed_by_peer();
            wire.close();
        }
        _ => wire.json(&json!({"jsonrpc":"2.0","id":request.json()["id"],"result":{}})),
    });
    let running = Running::start(&document(1, vec![Described::legacy("l", &server, &["t"])]));
    let mut stream = running.client();
    let wants = json!({"notifications":{"resourceSubscriptions":["l://1"],"promptsListChanged":true}});
    stream.send_modern("/servers/l/mcp", json!(9), "subscriptions/listen", wants);
    assert_eq!(stream.head().status, 200);
    let ack = stream.event().unwrap();
    assert_eq!(
        ack["params"]["notifications"],
        json!({"resourceSubscriptions":["l://1"]}),
        "prompts never change here"
    );
    let stands = server
        .seen()
        .iter()
        .any(|r| r.rpc_method() == "resources/subscribe");
    assert!(stands, "acknowledged before it stood");
    let subscribed = server.wait_for("resources/subscribe");
    assert_eq!(subscribed.json()["params"]["uri"], "l://1");
    go.send(()).unwrap();
    let updated = stream.event().unwrap();
    assert_eq!(updated["params"]["uri"], "l://1");
    assert_eq!(
        updated["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        9
    );
    let session = subscribed.header("mcp-session-id").unwrap().to_owned();
    stream.shutdown();
    // Its session is ended at the server when the stream is.
    server.wait_until(|r| r.method == "DELETE" && r.header("mcp-session-id") == Some(&session));
}

#[test]
fn search_mode_hides_names_and_executes_real_tools() {
    let server = Upstream::start(|request, wire| {
        let message = request.json();
        assert_eq!(request.header("mcp-name"), Some("deploy"));
        let text = message["params"]["arguments"].to_string();
        wire.json(&json!({"jsonrpc":"2.0","id":message["id"],"result":{"resultType":"complete","content":[{"type":"text","text":text}]}}));
    });
    let mut doc = document(1, vec![Described::modern("m", &server, &["deploy", "sleep"])]);
    doc.gateway.interface = ringway_proto::snapshot::Interface::Search;
    let running = Running::start(&doc);
    let mut client = running.client();
    let listed = client.modern("/mcp", json!(1), "tools/list", json!({})).json();
    let names: Vec<&str> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|t| t["name"].as_str())
        .collect();
    assert_eq!(names, ["SEARCH_TOOLS", "EXECUTE_TOOL"]);
    let params = json!({"name":"SEARCH_TOOLS","arguments":{"query":"deploy"}});
    let found = client.modern("/mcp", json!(2), "tools/call", params).json();
    assert_eq!(
        found["result"]["structuredContent"]["tools"][0]["tool"]["name"], "m__deploy",
        "{found}"
    );
    // A number no tree would keep: the arguments are moved, not written again.
    let raw = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"EXECUTE_TOOL","arguments":{"name":"m__deploy","arguments":{"n":1.00000000000000000001}},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "EXECUTE_TOOL"),
    ];
    assert_eq!(client.post("/mcp", &headers, raw).status, 200);
    let sent = String::from_utf8(server.wait_for("tools/call").body).unwrap();
    assert!(
        sent.contains(r#""arguments":{"n":1.00000000000000000001}"#),
        "{sent}"
    );
}

#[test]
fn lists_show_and_calls_allow_the_same() {
    let server = Upstream::start(|request, wire| {
        wire.json(&json!({"jsonrpc":"2.0","id":request.json()["id"],"result":{"resultType":"complete","content":[]}}));
    });
    let mut doc = document(1, vec![Described::modern("m", &server, &["read", "write"])]);
    doc.roles[0].allow = vec!["m__read".into()];
    let running = Running::start(&doc);
    let mut client = running.client();
    for (path, prefix) in [("/mcp", "m__"), ("/servers/m/mcp", "")] {
        let listed = client.modern(path, json!(1), "tools/list", json!({})).json();
        let names: Vec<&str> = listed["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|t| t["name"].as_str())
            .collect();
        assert_eq!(names, [format!("{prefix}read")]);
        let mut call = |name: &str| {
            client
                .modern(path, json!(2), "tools/call", json!({"name":name}))
                .json()
        };
        assert!(call(&format!("{prefix}read"))["result"].is_object());
        let forbidden = call(&format!("{prefix}write"))["error"].to_string();
        let unknown = call(&format!("{prefix}nosuch"))["error"].to_string();
        assert_eq!(
            forbidden.replace("write", "?"),
            unknown.replace("nosuch", "?"),
            "both read alike"
        );
    }
    assert!(
        server.seen().iter().all(|r| r.json()["params"]["name"] == "read"),
        "nothing forbidden left"
    );
}
