//! A legacy server with a process per session.

use crate::support::*;

fn own(args: &[&str]) -> LocalServer {
    LocalServer {
        sharing: Sharing::PerSession,
        ..scripted("s", args)
    }
}

#[tokio::test]
async fn each_session_has_its_process_and_is_its_client() {
    let gateway = Gateway::new();
    let server = gateway.serve(own(&[])).await;
    let (one, other) = (
        server.initialize(json!({"sampling": {}})).await,
        server.initialize(json!({})).await,
    );
    let (first, second) = (
        one.call("pid", json!({})).await,
        other.call("pid", json!({})).await,
    );
    assert_ne!(first.text(), second.text());
    let heard = seen(&one.call("seen", json!({})).await);
    assert_eq!(heard[0]["method"], "initialize");
    assert_eq!(heard[0]["params"]["capabilities"], json!({"sampling": {}}));
    assert_eq!(heard[0]["params"]["clientInfo"]["name"], "test");
    assert_eq!(heard[1]["method"], "notifications/initialized");
    assert_eq!(gateway.status("s").pids.len(), 2);
    one.end().await;
    gateway.until("s", |status| status.pids.len() == 1).await;
    assert_eq!(other.call("pid", json!({})).await.text(), second.text());
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_of_the_server_comes_on_the_stream_of_the_only_call() {
    let gateway = Gateway::new();
    let server = gateway.serve(own(&[])).await;
    let session = server.initialize(json!({"sampling": {}})).await;
    for id in [json!(0), json!("s-1")] {
        let ask =
            json!({"id": id, "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}});
        let mut call = Events::new(session.open_call(json!("c"), "ask", ask).await);
        let request = call.message().await;
        assert_eq!(
            (&request["id"], &request["method"]),
            (&id, &json!("sampling/createMessage"))
        );
        assert_eq!(request["params"]["maxTokens"], 5);
        let result = json!({"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m"});
        let reply = json!({"jsonrpc": "2.0", "id": id, "result": result});
        assert_eq!(session.post(&reply).await.status, 202);
        let answer = call.message().await;
        assert_eq!(answer["id"], "c");
        let got: Value = serde_json::from_str(answer["result"]["content"][0]["text"].as_str().expect("text"))
            .expect("reply");
        assert_eq!(got, reply);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn with_several_calls_it_comes_on_the_sessions_stream() {
    let gateway = Gateway::new();
    let server = gateway.serve(own(&[])).await;
    let session = server.initialize(json!({"roots": {}})).await;
    let mut stream = session.listen().await;
    let hold = session.call("hold", json!({}));
    let ask = async {
        gateway.until("s", |status| status.calls == 1).await;
        session
            .call("ask", json!({"id": 3, "method": "roots/list"}))
            .await
    };
    let client = async {
        let request = stream.message().await;
        assert_eq!(
            (&request["id"], &request["method"]),
            (&json!(3), &json!("roots/list"))
        );
        // An answer nobody asked for is accepted and goes nowhere.
        assert_eq!(
            session
                .post(&json!({"jsonrpc": "2.0", "id": 4, "result": {}}))
                .await
                .status,
            202
        );
        session
            .post(&json!({"jsonrpc": "2.0", "id": 3, "result": {"roots": []}}))
            .await;
    };
    let rest = async {
        let ((), answer) = tokio::join!(client, ask);
        assert!(answer.text().contains("\"roots\":[]"), "{answer:?}");
        session.call("release", json!({})).await
    };
    let (held, _) = tokio::join!(hold, rest);
    assert_eq!(held.text(), "released");
    let heard = seen(&session.call("seen", json!({})).await);
    assert!(heard.iter().all(|m| m["id"] != 4));
    gateway.stop().await;
}

#[tokio::test]
async fn log_messages_belong_to_the_session() {
    let gateway = Gateway::new();
    let server = gateway.serve(own(&[])).await;
    let session = server.initialize(json!({})).await;
    let log = json!({"method": "notifications/message", "params": {"level": "info", "data": "d"}});
    let answer = session.call("notify", log).await;
    assert_eq!(answer.events.expect("events")[0]["params"]["data"], "d");
    let mut stream = session.listen().await;
    session
        .call(
            "notify",
            json!({"method": "notifications/tools/list_changed", "params": {}}),
        )
        .await;
    assert_eq!(
        stream.message().await["method"],
        "notifications/tools/list_changed"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_crash_ends_the_session() {
    let gateway = Gateway::new();
    let server = gateway.serve(own(&[])).await;
    let session = server.initialize(json!({})).await;
    let crashed = session.call("exit", json!({})).await;
    assert_eq!(crashed.reason(), "server_ended");
    gateway.until("s", |status| status.sessions == 0).await;
    assert_eq!(session.call("pid", json!({})).await.status, 404);
    let again = server.initialize(json!({})).await;
    assert_eq!(again.call("pid", json!({})).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn processes_are_capped() {
    let gateway = Gateway::with(Limits {
        processes_per_server_max: 1,
        ..quick()
    });
    let server = gateway.serve(own(&[])).await;
    let session = server.initialize(json!({})).await;
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let refused = server.post(vec![], &initialize).await;
    assert_eq!((refused.status, refused.reason()), (503, "too_many_processes"));
    assert!(refused.header("retry-after").is_some());
    session.end().await;
    gateway.until("s", |status| status.pids.is_empty()).await;
    assert_eq!(server.post(vec![], &initialize).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_nobody_uses_makes_room_and_one_in_use_does_not() {
    let gateway = Gateway::with(Limits {
        processes_per_server_max: 2,
        session_spared: Duration::ZERO,
        ..quick()
    });
    let server = gateway.serve(own(&[])).await;
    let used = server.initialize(json!({})).await;
    let stream = used.listen().await;
    let abandoned = server.initialize(json!({})).await;
    let new = server.initialize(json!({})).await;
    assert_eq!(new.call("pid", json!({})).await.status, 200);
    assert_eq!(abandoned.call("pid", json!({})).await.status, 404);
    assert_eq!(used.call("pid", json!({})).await.status, 200);
    drop(stream);
    gateway.stop().await;
}

#[tokio::test]
async fn a_modern_server_is_shared_all_the_same() {
    let gateway = Gateway::new();
    let server = gateway.serve(own(&["modern"])).await;
    let pid = || server.modern("tools/call", json!({"name": "pid"}));
    assert_eq!(pid().await.text(), pid().await.text());
    assert_eq!(gateway.status("s").pids.len(), 1);
    gateway.stop().await;
}
