//! Conversations with a modern server behind the bridge.

use crate::support::*;

#[tokio::test]
async fn a_modern_server_answers_in_json() {
    let gateway = Gateway::new();
    let server = gateway.serve(builtin("demo", &[])).await;
    let found = server.modern("server/discover", json!({})).await;
    assert_eq!(found.status, 200);
    assert_eq!(
        found.message["result"]["supportedVersions"],
        json!(["2026-07-28"])
    );
    for id in [json!(7), json!("7"), json!("a \"b\"")] {
        let answer = server
            .modern_as(
                id.clone(),
                "tools/call",
                json!({"name": "add", "arguments": {"a": 1, "b": 2}}),
            )
            .await;
        assert_eq!((answer.status, answer.events), (200, None));
        assert_eq!(answer.message["id"], id);
        assert_eq!(answer.message["result"]["structuredContent"]["sum"], 3);
    }
    gateway.stop().await;
}
