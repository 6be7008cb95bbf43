//! A modern server behind the bridge.

use crate::support::*;

#[tokio::test]
async fn answers_in_json_and_keeps_the_type_of_ids() {
    let gateway = Gateway::new();
    let server = gateway.serve(builtin("demo", &[])).await;
    assert_eq!(
        gateway.status("demo").state,
        ServerState::Idle,
        "nothing runs before the first request"
    );
    let found = server.modern("server/discover", json!({})).await;
    assert_eq!(found.status, 200);
    assert_eq!(
        found.message["result"]["supportedVersions"],
        json!(["2026-07-28"])
    );
    for id in [json!(7), json!("7"), json!("a \"b\"")] {
        let sum = json!({"name": "add", "arguments": {"a": 1, "b": 2}});
        let answer = server.modern_as(id.clone(), "tools/call", sum).await;
        assert_eq!((answer.status, answer.events), (200, None));
        assert_eq!(answer.message["id"], id);
        assert_eq!(answer.message["result"]["structuredContent"]["sum"], 3);
    }
    assert_eq!(gateway.status("demo").state, ServerState::Running);
    gateway.stop().await;
}

#[tokio::test]
async fn progress_turns_the_answer_into_events() {
    let gateway = Gateway::new();
    let server = gateway.serve(builtin("demo", &[])).await;
    for token in [json!(0), json!("t")] {
        let call = json!({"name": "progress", "arguments": {"steps": 3, "delay_ms": 1}, "_meta": {"progressToken": token}});
        let answer = server.modern("tools/call", call).await;
        let events = answer.events.as_ref().expect("events");
        assert_eq!(events.len(), 3);
        for (step, event) in (1..).zip(events) {
            assert_eq!(
                event["params"],
                json!({"progressToken": token, "progress": step, "total": 3})
            );
        }
        assert_eq!(answer.text(), "3 steps done");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn headers_and_body_must_agree() {
    let gateway = Gateway::new();
    let server = gateway.serve(builtin("demo", &[])).await;
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"message": "m"}, "_meta": meta}});
    let version = ("mcp-protocol-version", "2026-07-28");
    let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "echo"));
    let good = server.post(vec![version, method, name], &call).await;
    assert_eq!((good.status, good.text()), (200, "m"));
    let encoded = server
        .post(vec![version, method, ("mcp-name", "=?base64?ZWNobw==?=")], &call)
        .await;
    assert_eq!((encoded.status, encoded.text()), (200, "m"));
    for headers in [
        vec![method, name],
        vec![version, name],
        vec![version, method],
        vec![version, method, ("mcp-name", "add")],
        vec![version, ("mcp-method", "Tools/Call"), name],
    ] {
        let bad = server.post(headers.clone(), &call).await;
        assert_eq!(
            (bad.status, bad.message["error"]["code"].as_i64()),
            (400, Some(-32020)),
            "{headers:?}"
        );
        assert_eq!(bad.message["id"], 1);
    }
    let mut bare = call.clone();
    bare["params"]["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let bad = server.post(vec![version, method, name], &bare).await;
    assert_eq!(
        (bad.status, bad.message["error"]["code"].as_i64()),
        (400, Some(-32602))
    );
    let mut other = call.clone();
    other["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    let bad = server
        .post(vec![("mcp-protocol-version", "2099-01-01"), method, name], &other)
        .await;
    assert_eq!(
        (bad.status, bad.message["error"]["code"].as_i64()),
        (400, Some(-32022))
    );
    assert_eq!(
        bad.message["error"]["data"],
        json!({"supported": ["2026-07-28"], "requested": "2099-01-01"})
    );
    gateway.stop().await;
}

#[tokio::test]
async fn unknown_methods_and_the_legacy_wire_are_refused() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let unknown = server.modern("no/such", json!({})).await;
    assert_eq!(
        (unknown.status, unknown.message["error"]["code"].as_i64()),
        (404, Some(-32601))
    );
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let refused = server.post(vec![], &initialize).await;
    assert_eq!(
        (refused.status, refused.message["error"]["code"].as_i64()),
        (404, Some(-32601))
    );
    assert_eq!(
        refused.message["error"]["data"]["supported"],
        json!(["2026-07-28"])
    );
    for method in [hyper::Method::GET, hyper::Method::DELETE, hyper::Method::PUT] {
        let answer = server
            .exchange(method.clone(), vec![("accept", "text/event-stream")], "")
            .await;
        assert_eq!(answer.status, 405);
        assert!(
            answer.header("allow").is_some_and(|allow| allow.contains("POST")),
            "{method}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn closing_the_response_cancels_the_call() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["modern"])).await;
    // Once while it streams, once before anything came back.
    let held = json!({"name": "hold", "arguments": {}, "_meta": {"progressToken": "p"}});
    let mut events = Events::new(server.open_modern(json!("a"), "tools/call", held).await);
    assert_eq!(events.message().await["params"]["progressToken"], "p");
    drop(events);
    gateway.until("s", |status| status.calls == 0).await;
    let never = json!({"name": "never", "arguments": {}});
    tokio::select! {
        _ = server.open_modern(json!("b"), "tools/call", never) => panic!("answered"),
        _ = gateway.until("s", |status| status.calls == 1) => {}
    }
    gateway.until("s", |status| status.calls == 0).await;
    let seen = seen(&server.modern("tools/call", json!({"name": "seen"})).await);
    let ids = |tool: &str| {
        seen.iter()
            .filter(|m| m["params"]["name"] == tool)
            .map(|m| m["id"].clone())
            .collect::<Vec<_>>()
    };
    let cancelled: Vec<Value> = seen
        .iter()
        .filter(|m| m["method"] == "notifications/cancelled")
        .map(|m| m["params"]["requestId"].clone())
        .collect();
    assert_eq!(cancelled, [ids("hold"), ids("never")].concat());
    gateway.stop().await;
}

#[tokio::test]
async fn listens_carry_the_clients_own_id() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let mut first = Events::new(
        server
            .open_modern(json!("one"), "subscriptions/listen", filter.clone())
            .await,
    );
    let mut second = Events::new(
        server
            .open_modern(json!(1), "subscriptions/listen", filter.clone())
            .await,
    );
    let id = |message: &Value| message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].clone();
    for (listen, own) in [(&mut first, json!("one")), (&mut second, json!(1))] {
        let acknowledged = listen.message().await;
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(acknowledged["params"]["notifications"], filter["notifications"]);
        assert_eq!(id(&acknowledged), own);
    }
    assert_eq!(gateway.status("s").sessions, 2);
    let publish =
        json!({"name": "publish", "arguments": {"method": "notifications/tools/list_changed", "params": {}}});
    server.modern("tools/call", publish.clone()).await;
    assert_eq!(id(&first.message().await), "one");
    assert_eq!(id(&second.message().await), 1);

    // One client leaves: the server is told. The server ends the other: that is an orderly answer.
    drop(first);
    gateway.until("s", |status| status.sessions == 1).await;
    server.modern("tools/call", json!({"name": "unlisten"})).await;
    let end = second.message().await;
    assert_eq!(
        end,
        json!({"jsonrpc": "2.0", "id": 1, "result": {"resultType": "complete", "_meta": {"io.modelcontextprotocol/subscriptionId": 1}}})
    );
    assert_eq!(second.next().await, Ok(None));
    let seen = seen(&server.modern("tools/call", json!({"name": "seen"})).await);
    assert_eq!(
        seen.iter()
            .filter(|m| m["method"] == "notifications/cancelled")
            .count(),
        1
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_listener_that_does_not_keep_up_is_cut_off() {
    let gateway = Gateway::with(Limits {
        call_queue_max: 4,
        ..quick()
    });
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let listen = server
        .open_modern(json!(1), "subscriptions/listen", json!({"notifications": {}}))
        .await;
    // Far more than the socket and its buffers hold.
    let big = "x".repeat(100_000);
    let publish = json!({"name": "publish", "arguments": {"method": "notifications/x", "params": {"big": big}, "count": 200}});
    server.modern("tools/call", publish).await;
    gateway.until("s", |status| status.sessions == 0).await;
    let mut events = Events::new(listen);
    let end = loop {
        match events.next().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "a cut, not an orderly end");
    gateway.stop().await;
}

#[tokio::test]
async fn log_messages_reach_the_one_call_that_asked() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let notify = |level: Option<&str>| {
        let mut call = json!({"name": "notify", "arguments": {"method": "notifications/message", "params": {"level": "info", "data": "d"}}});
        if let Some(level) = level {
            call["_meta"]["io.modelcontextprotocol/logLevel"] = json!(level);
        }
        call
    };
    let asked = server.modern("tools/call", notify(Some("info"))).await;
    assert_eq!(asked.events.expect("events")[0]["params"]["data"], "d");
    assert_eq!(server.modern("tools/call", notify(None)).await.events, None);
    gateway.stop().await;
}

#[tokio::test]
async fn a_slow_answer_becomes_a_stream_with_heartbeats() {
    let limits = Limits {
        head_within: Duration::from_millis(5),
        heartbeat: Duration::from_millis(5),
        ..quick()
    };
    let gateway = Gateway::with(limits);
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let held = server
        .open_modern(json!(1), "tools/call", json!({"name": "hold"}))
        .await;
    assert_eq!(held.headers()["content-type"], "text/event-stream");
    server.modern("tools/call", json!({"name": "release"})).await;
    assert_eq!(read(held).await.text(), "released");
    gateway.stop().await;
}
