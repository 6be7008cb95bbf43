//! Finding out what a server speaks, however it takes the question.

use crate::support::*;

/// What a server sees first, and that it serves the legacy wire.
async fn legacy(args: &[&str], first: &[&str]) {
    let gateway = Gateway::with(Limits {
        probe_deadline: Duration::from_millis(300),
        ..quick()
    });
    let server = gateway.serve(scripted("s", args)).await;
    let session = server.initialize(json!({})).await;
    let heard = seen(&session.call("seen", json!({})).await);
    let methods: Vec<_> = heard.iter().filter_map(|m| m["method"].as_str()).collect();
    assert_eq!(methods[..first.len()], *first, "{args:?}");
    assert_eq!(
        gateway.status("s").era,
        Some(ringway_proto::revision::Era::Legacy)
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_legacy_server_that_answers_the_probe_with_an_error() {
    legacy(
        &[],
        &["server/discover", "initialize", "notifications/initialized"],
    )
    .await;
}

#[tokio::test]
async fn a_legacy_server_that_does_not_answer_the_probe() {
    legacy(
        &["mute-on-discover"],
        &["server/discover", "initialize", "notifications/initialized"],
    )
    .await;
}

#[tokio::test]
async fn a_legacy_server_that_ends_on_the_probe_is_started_again() {
    legacy(
        &["exit-on-discover"],
        &["initialize", "notifications/initialized"],
    )
    .await;
}

#[tokio::test]
async fn a_legacy_server_that_the_probe_confuses_is_started_again() {
    legacy(
        &["confused-by-discover"],
        &["initialize", "notifications/initialized"],
    )
    .await;
}

#[tokio::test]
async fn a_modern_server_that_answers_the_probe_late_is_still_modern() {
    let gateway = Gateway::with(Limits {
        probe_deadline: Duration::from_millis(50),
        ..quick()
    });
    let flag = gateway.directory.path().join("flag");
    let server = gateway
        .serve(scripted("s", &["late-discover", flag.to_str().expect("text")]))
        .await;
    let heard = seen(&server.modern("tools/call", json!({"name": "seen"})).await);
    let methods: Vec<_> = heard.iter().filter_map(|m| m["method"].as_str()).collect();
    assert_eq!(
        methods,
        ["server/discover", "tools/call"],
        "started again, and never initialized"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn the_verdict_is_remembered() {
    let gateway = Gateway::with(Limits {
        probe_deadline: Duration::from_millis(300),
        ..quick()
    });
    let server = gateway.serve(scripted("s", &["mute-on-discover"])).await;
    let session = server.initialize(json!({})).await;
    let crashed = session.call("exit", json!({})).await;
    assert_eq!(crashed.reason(), "server_ended");
    let heard = seen(&session.call("seen", json!({})).await);
    assert_eq!(heard[0]["method"], "initialize");
    gateway.stop().await;
}

#[tokio::test]
async fn a_modern_request_to_a_legacy_server_is_told_to_initialize() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &[])).await;
    let refused = server.modern("server/discover", json!({})).await;
    assert_eq!(
        (refused.status, refused.message["error"]["code"].as_i64()),
        (400, Some(-32600))
    );
    // And the same once the era is known and the server is stopped or not: nothing is asked of it.
    assert_eq!(server.modern("tools/list", json!({})).await.status, 400);
    gateway.stop().await;
}
