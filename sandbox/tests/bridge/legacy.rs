//! A legacy server that all sessions share.

use crate::support::*;

#[tokio::test]
async fn a_session_from_initialize_to_delete() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["noise"])).await;
    let session = server.initialize(json!({"sampling": {}})).await;
    assert_eq!(
        session.initialized["protocolVersion"], "2025-06-18",
        "what the server agreed to"
    );
    assert_eq!(session.initialized["serverInfo"]["name"], "scripted");
    assert_eq!(
        session.request(json!("p"), "ping", json!({})).await.message,
        json!({"jsonrpc": "2.0", "id": "p", "result": {}})
    );
    let heard = seen(&session.call("seen", json!({})).await);
    assert_eq!(
        heard[1]["params"]["capabilities"],
        json!({}),
        "a shared server is promised nothing"
    );
    assert!(heard.iter().all(|m| m["method"] != "ping"));
    let again = session.request(json!(1), "initialize", json!({})).await;
    assert_eq!(again.status, 400);
    assert_eq!(gateway.status("s").sessions, 1);
    assert_eq!(session.end().await, 200);
    assert_eq!(gateway.status("s").sessions, 0);
    assert_eq!(session.call("pid", json!({})).await.status, 404);
    assert_eq!(session.end().await, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn requests_are_checked_as_the_specification_says() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &[])).await;
    let session = server.initialize(json!({})).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let json = ("content-type", "application/json");
    let both = ("accept", "application/json, text/event-stream");
    let id = ("mcp-session-id", session.id.as_str());
    let post = hyper::Method::POST;
    let get = hyper::Method::GET;
    let events = ("accept", "text/event-stream");
    for (method, headers, body, status) in [
        (&post, vec![json, both, id], ping.as_str(), 200),
        (
            &post,
            vec![
                ("content-type", "application/json; charset=utf-8"),
                ("accept", "*/*"),
                id,
            ],
            &ping,
            200,
        ),
        (&post, vec![json, both], &ping, 400),
        (&post, vec![json, both, ("mcp-session-id", "nope")], &ping, 404),
        (&post, vec![json, ("accept", "application/json"), id], &ping, 406),
        (&post, vec![json, id], &ping, 406),
        (&post, vec![("content-type", "text/plain"), both, id], &ping, 415),
        (&post, vec![both, id], &ping, 415),
        (&post, vec![json, both, id], "{not json", 400),
        (&post, vec![json, both, id], "[]", 400),
        (
            &post,
            vec![json, both, id],
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            400,
        ),
        (
            &post,
            vec![json, both, id, ("mcp-protocol-version", "2025-03-26")],
            &ping,
            200,
        ),
        (
            &post,
            vec![json, both, id, ("mcp-protocol-version", "1999-01-01")],
            &ping,
            400,
        ),
        (
            &post,
            vec![json, both, id],
            r#"{"jsonrpc":"2.0","method":"notifications/whatever"}"#,
            202,
        ),
        (
            &post,
            vec![json, both, id],
            r#"{"jsonrpc":"2.0","id":5,"result":{}}"#,
            202,
        ),
        (&get, vec![events], "", 400),
        (&get, vec![events, ("mcp-session-id", "nope")], "", 404),
        (&get, vec![json, id], "", 406),
    ] {
        let answer = server
            .exchange(method.clone(), headers.clone(), body.to_owned())
            .await;
        assert_eq!(answer.status, status, "{method} {headers:?} {body}");
    }
    let mut stream = session.listen().await;
    let second = server.exchange(get.clone(), vec![events, id], "").await;
    assert_eq!(second.status, 409);
    session.end().await;
    assert_eq!(stream.next().await, Ok(None), "the stream ends with its session");
    gateway.stop().await;
}

#[tokio::test]
async fn many_clients_with_the_same_ids_get_their_own_answers() {
    let gateway = Gateway::new();
    let server = gateway.serve(builtin("demo", &[])).await;
    // The built-in server is modern too; here it is asked in the modern way by many at once, with one id.
    let calls = (0..50).map(|n| {
        let call =
            json!({"name": "echo", "arguments": {"message": n.to_string()}, "_meta": {"progressToken": 0}});
        server.modern_as(json!(0), "tools/call", call)
    });
    for (n, answer) in futures_util::future::join_all(calls)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(answer.text(), n.to_string());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn progress_and_cancellation_are_translated() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &[])).await;
    let (one, other) = (
        server.initialize(json!({})).await,
        server.initialize(json!({})).await,
    );
    let call = json!({"name": "progress", "arguments": {"steps": 2}, "_meta": {"progressToken": "tok"}});
    let answer = one.request(json!("x"), "tools/call", call).await;
    let tokens: Vec<_> = answer
        .events
        .as_ref()
        .expect("events")
        .iter()
        .map(|e| e["params"]["progressToken"].clone())
        .collect();
    assert_eq!(tokens, ["tok", "tok"]);
    assert_eq!(
        (answer.message["id"].as_str(), answer.text()),
        (Some("x"), "done")
    );

    // Two sessions have a call under the same id; one cancels its own.
    let held = |session: &LegacySession<'_>| {
        let message = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "hold", "_meta": {"progressToken": 5}}});
        let headers = session
            .headers()
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect::<Vec<_>>();
        (message, headers)
    };
    let mut streams = Vec::new();
    for session in [&one, &other] {
        let (message, headers) = held(session);
        let mut headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        headers.extend([
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ]);
        let mut events = Events::new(
            server
                .open(hyper::Method::POST, headers, message.to_string())
                .await,
        );
        assert_eq!(events.message().await["params"]["progressToken"], 5);
        streams.push(events);
    }
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5, "reason": "enough"}});
    assert_eq!(one.post(&cancel).await.status, 202);
    let end = streams[0].message().await;
    assert_eq!(
        (end["id"].as_i64(), end["error"]["data"]["reason"].as_str()),
        (Some(5), Some("cancelled"))
    );
    assert_eq!(gateway.status("s").calls, 1, "the other session's call goes on");
    other.call("release", json!({})).await;
    assert_eq!(
        streams[1].message().await["result"]["content"][0]["text"],
        "released"
    );
    let heard = seen(&one.call("seen", json!({})).await);
    let id_of_first_hold = &heard
        .iter()
        .find(|m| m["params"]["name"] == "hold")
        .expect("hold")["id"];
    let cancelled = heard
        .iter()
        .find(|m| m["method"] == "notifications/cancelled")
        .expect("cancelled");
    assert_eq!(&cancelled["params"]["requestId"], id_of_first_hold);
    gateway.stop().await;
}

#[tokio::test]
async fn a_disconnect_is_no_cancellation() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &[])).await;
    let session = server.initialize(json!({})).await;
    tokio::select! {
        _ = session.call("hold", json!({})) => panic!("answered"),
        _ = gateway.until("s", |status| status.calls == 1) => {}
    }
    let heard = seen(&session.call("seen", json!({})).await);
    assert!(heard.iter().all(|m| m["method"] != "notifications/cancelled"));
    assert_eq!(gateway.status("s").calls, 1);
    session.call("release", json!({})).await;
    gateway.until("s", |status| status.calls == 0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_detached_call_is_cancelled_in_the_end() {
    let gateway = Gateway::with(Limits {
        detached_call_deadline: Duration::from_millis(20),
        ..quick()
    });
    let server = gateway.serve(scripted("s", &[])).await;
    let session = server.initialize(json!({})).await;
    tokio::select! {
        _ = session.call("never", json!({})) => panic!("answered"),
        _ = gateway.until("s", |status| status.calls == 1) => {}
    }
    gateway.until("s", |status| status.calls == 0).await;
    let heard = seen(&session.call("seen", json!({})).await);
    assert!(heard.iter().any(|m| m["method"] == "notifications/cancelled"));
    gateway.stop().await;
}

#[tokio::test]
async fn notifications_go_to_whom_they_concern() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &[])).await;
    let (one, other) = (
        server.initialize(json!({})).await,
        server.initialize(json!({})).await,
    );
    let (mut to_one, mut to_other) = (one.listen().await, other.listen().await);
    let subscribe = |uri: &str| json!({"uri": uri});
    assert_eq!(
        one.request(json!(1), "resources/subscribe", subscribe("a:"))
            .await
            .message["result"],
        json!({})
    );
    assert_eq!(
        other
            .request(json!(1), "resources/subscribe", subscribe("b:"))
            .await
            .message["result"],
        json!({})
    );
    assert_eq!(
        one.request(json!(1), "resources/subscribe", subscribe("bad:"))
            .await
            .message["error"]["code"],
        -32602
    );
    let notify = |method: &str, params: Value| json!({"method": method, "params": params});
    for (method, params) in [
        ("notifications/resources/updated", json!({"uri": "a:"})),
        ("notifications/resources/updated", json!({"uri": "b:"})),
        ("notifications/resources/updated", json!({"uri": "bad:"})),
        (
            "notifications/message",
            json!({"level": "info", "data": "for our log only"}),
        ),
        ("notifications/tools/list_changed", json!({})),
    ] {
        let answer = one.call("notify", notify(method, params)).await;
        assert_eq!(answer.events, None, "{method} is not part of the call");
    }
    assert_eq!(to_one.message().await["params"]["uri"], "a:");
    assert_eq!(
        to_one.message().await["method"],
        "notifications/tools/list_changed"
    );
    assert_eq!(to_other.message().await["params"]["uri"], "b:");
    assert_eq!(
        to_other.message().await["method"],
        "notifications/tools/list_changed"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn subscriptions_and_levels_are_merged_and_outlive_the_process() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &[])).await;
    let (one, other) = (
        server.initialize(json!({})).await,
        server.initialize(json!({})).await,
    );
    for session in [&one, &other] {
        session
            .request(json!(1), "resources/subscribe", json!({"uri": "a:"}))
            .await;
    }
    one.request(json!(2), "logging/setLevel", json!({"level": "info"}))
        .await;
    other
        .request(json!(2), "logging/setLevel", json!({"level": "error"}))
        .await;
    assert_eq!(
        one.request(json!(3), "resources/unsubscribe", json!({"uri": "a:"}))
            .await
            .message["result"],
        json!({})
    );
    let heard = seen(&one.call("seen", json!({})).await);
    let levels: Vec<_> = heard
        .iter()
        .filter(|m| m["method"] == "logging/setLevel")
        .map(|m| &m["params"]["level"])
        .collect();
    assert_eq!(levels, ["info", "info"]);
    assert!(
        heard.iter().all(|m| m["method"] != "resources/unsubscribe"),
        "somebody is still subscribed"
    );

    one.call("exit", json!({})).await;
    let heard = seen(&one.call("seen", json!({})).await);
    assert!(
        heard
            .iter()
            .any(|m| m["method"] == "resources/subscribe" && m["params"]["uri"] == "a:")
    );
    assert!(
        heard
            .iter()
            .any(|m| m["method"] == "logging/setLevel" && m["params"]["level"] == "info")
    );
    other.end().await;
    let heard = seen(&one.call("seen", json!({})).await);
    assert!(heard.iter().any(|m| m["method"] == "resources/unsubscribe"));
    gateway.stop().await;
}

#[tokio::test]
async fn requests_of_a_shared_server_are_refused() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &[])).await;
    let session = server.initialize(json!({"sampling": {}, "roots": {}})).await;
    for method in ["sampling/createMessage", "elicitation/create", "roots/list"] {
        let answer = session.call("ask", json!({"method": method, "params": {}})).await;
        let reply: Value = serde_json::from_str(answer.text()).expect("the answer it got");
        assert_eq!(reply["error"]["code"], -32601, "{method}");
    }
    let answer = session.call("ask", json!({"id": 77, "method": "ping"})).await;
    assert_eq!(
        serde_json::from_str::<Value>(answer.text()).expect("reply"),
        json!({"jsonrpc": "2.0", "id": 77, "result": {}})
    );
    gateway.stop().await;
}

#[tokio::test]
async fn idle_sessions_expire_and_then_the_process_stops() {
    let gateway = Gateway::with(Limits {
        session_idle: Duration::from_millis(100),
        ..quick()
    });
    let server = gateway
        .serve(LocalServer {
            idle_stop: Duration::from_millis(100),
            ..scripted("s", &[])
        })
        .await;
    let session = server.initialize(json!({})).await;
    let stream = session.listen().await;
    let pid = gateway.status("s").pids[0];
    drop(stream);
    gateway
        .until("s", |status| {
            status.state == ServerState::Idle && status.sessions == 0
        })
        .await;
    assert_eq!(session.call("pid", json!({})).await.status, 404);
    let again = server.initialize(json!({})).await;
    assert_ne!(again.call("pid", json!({})).await.text(), pid.to_string());
    gateway.stop().await;
}

#[tokio::test]
async fn sessions_and_calls_are_capped() {
    let gateway = Gateway::with(Limits {
        sessions_per_server_max: 1,
        calls_per_server_max: 1,
        ..quick()
    });
    let server = gateway.serve(scripted("s", &[])).await;
    let session = server.initialize(json!({})).await;
    let initialize = json!({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let refused = server.post(vec![], &initialize).await;
    assert_eq!((refused.status, refused.reason()), (503, "too_many_sessions"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.message["id"], "i");
    let refused = tokio::select! {
        _ = session.call("never", json!({})) => panic!("answered"),
        refused = async {
            gateway.until("s", |status| status.calls == 1).await;
            session.call("pid", json!({})).await
        } => refused,
    };
    assert_eq!((refused.status, refused.reason()), (503, "too_many_calls"));
    // The call that never ends would be waited for.
    gateway.sandbox.shutdown(Duration::from_secs(1)).await;
}
