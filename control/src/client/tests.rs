//! Conversations with servers as they are in the field.

use super::{
    testing::{Answer, Scripted, Seen, discovered, initialized},
    *,
};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

const NOTHING: &str = "{}";

fn legacy(seen: &Seen) -> Answer {
    match seen.method() {
        "initialize" => {
            Answer::result(seen, initialized(json!({"tools": {}}))).with_header("mcp-session-id: s-1")
        }
        "notifications/initialized" => Answer::empty(202),
        _ if seen.header("mcp-session-id") != Some("s-1") => Answer::error(400, seen, -32000, "no session"),
        "tools/list" => Answer::result(seen, json!({"tools": [{"name": "a"}]})),
        _ => Answer::error(200, seen, -32601, "unknown"),
    }
}

async fn connect(server: &Scripted, mode: Mode) -> Result<McpClient, Failure> {
    McpClient::connect(server.peer(), mode, NOTHING).await
}

#[tokio::test]
async fn a_modern_server_is_greeted_once_and_told_everything_in_each_request() {
    let server = Scripted::start(|seen| match seen.method() {
        "server/discover" => Answer::result(seen, discovered(json!({"tools": {}}))),
        "tools/call" => Answer::result(seen, json!({"resultType": "complete", "content": []})),
        _ => Answer::error(404, seen, -32601, "unknown"),
    })
    .await;
    let client = connect(&server, Mode::Auto).await.unwrap();
    assert_eq!(client.era(), Era::Modern);
    assert!(
        client
            .greeting()
            .server_info
            .as_ref()
            .unwrap()
            .get()
            .contains("fake")
    );
    let params = raw(&json!({"name": "grüße", "arguments": {}, "_meta": {"progressToken": 5}})).unwrap();
    client.request("tools/call", Some(&params)).await.unwrap();
    let call = server.seen().pop().unwrap();
    assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(call.header("mcp-method"), Some("tools/call"));
    assert_eq!(call.header("mcp-name"), Some("=?base64?Z3LDvMOfZQ==?="));
    let meta = &call.body["params"]["_meta"];
    assert_eq!(meta["progressToken"], 5);
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "ringway");
}

#[tokio::test]
async fn a_legacy_server_is_found_by_falling_back_whatever_it_answers_to_discover() {
    for (status, code) in [
        (400, -32000),
        (400, -32600),
        (200, -32601),
        (404, -32601),
        (400, -32022),
        (500, -32603),
    ] {
        let server = Scripted::start(move |seen| match seen.method() {
            "server/discover" => Answer::error(status, seen, code, "?"),
            _ => legacy(seen),
        })
        .await;
        let client = connect(&server, Mode::Auto).await.unwrap();
        assert_eq!(client.era(), Era::Legacy, "{status} {code}");
        assert_eq!(client.revision(), "2025-11-25");
        client.request("tools/list", None).await.unwrap();
        let list = server.seen().pop().unwrap();
        assert_eq!(list.header("mcp-session-id"), Some("s-1"));
        assert_eq!(list.header("mcp-protocol-version"), Some("2025-11-25"));
        client.close().await;
        assert_eq!(server.methods().last().unwrap(), "DELETE");
    }
}

#[tokio::test]
async fn refusals_without_json_rpc_fall_back_too() {
    for status in [400, 404, 405, 406, 415, 422] {
        let server = Scripted::start(move |seen| match seen.method() {
            "server/discover" => Answer::Whole(
                status,
                "text/plain",
                String::new(),
                "Unexpected message".to_owned(),
            ),
            _ => legacy(seen),
        })
        .await;
        assert_eq!(
            connect(&server, Mode::Auto).await.unwrap().era(),
            Era::Legacy,
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_legacy_server_that_never_answers_the_modern_greeting_is_still_reached() {
    let server = Scripted::start(|seen| match seen.method() {
        "server/discover" => Answer::Silence,
        // Nor does it keep to an empty 202 for notifications.
        "notifications/initialized" => Answer::Whole(200, "text/plain", String::new(), "noted".to_owned()),
        _ => legacy(seen),
    })
    .await;
    let mut peer = server.peer();
    peer.deadlines.total = Duration::from_millis(1500);
    let client = McpClient::connect(peer, Mode::Auto, NOTHING).await.unwrap();
    assert_eq!(client.era(), Era::Legacy);
    client.request("tools/list", None).await.unwrap();
}

#[tokio::test]
async fn a_credential_that_is_refused_is_not_tried_twice() {
    let server =
        Scripted::start(|_| Answer::Whole(401, "text/plain", String::new(), "who are you?".to_owned())).await;
    let failure = connect(&server, Mode::Auto).await.unwrap_err();
    assert_eq!(failure.status(), Some(401));
    assert!(failure.to_string().contains("credential"), "{failure}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_modern_server_that_wants_a_capability_is_not_mistaken_for_a_legacy_one() {
    let server = Scripted::start(|seen| Answer::error(400, seen, -32021, "needs sampling")).await;
    let failure = connect(&server, Mode::Auto).await.unwrap_err();
    assert_eq!(failure.code(), Some(-32021));
    assert_eq!(server.methods(), ["server/discover"]);
}

#[tokio::test]
async fn a_modern_server_without_discover_is_known_by_its_list() {
    let server = Scripted::start(|seen| match seen.method() {
        "tools/list" if seen.modern() => Answer::result(seen, json!({"resultType": "complete", "tools": []})),
        _ => Answer::error(404, seen, -32601, "unknown"),
    })
    .await;
    assert_eq!(connect(&server, Mode::Auto).await.unwrap().era(), Era::Modern);
}

#[tokio::test]
async fn a_server_that_echoes_our_params_speaks_neither_era() {
    let server = Scripted::start(|seen| Answer::result(seen, seen.body["params"].clone())).await;
    for mode in [Mode::Auto, Mode::Legacy, Mode::Modern] {
        assert!(
            matches!(connect(&server, mode).await.unwrap_err(), Failure::Protocol(_)),
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn every_framing_of_an_answer_is_read() {
    let framings = [
        "event: message\r\ndata: {}\r\n\r\n",
        "data: {}\nid: 0/0\n\n",
        "id: a::1\ndata: \n\nevent: message\nid: a::2\ndata: {}\n\n",
        "retry: 3000\nid: 1\ndata:\n\n: keep-alive\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\ndata: {}\n\n",
    ];
    for framing in framings {
        let server = Scripted::start(move |seen| match seen.method() {
            "tools/list" => {
                let answer = json!({"result": {"tools": []}, "jsonrpc": "2.0", "id": seen.body["id"]});
                Answer::sse(framing.replace("{}", &answer.to_string()))
            }
            _ => legacy(seen),
        })
        .await;
        let client = connect(&server, Mode::Legacy).await.unwrap();
        assert_eq!(
            client.request("tools/list", None).await.unwrap().get(),
            r#"{"tools":[]}"#,
            "{framing}"
        );
    }
}

#[tokio::test]
async fn an_answer_is_fetched_again_where_its_stream_broke_off() {
    let id = Arc::new(Mutex::new(json!(null)));
    let server = Scripted::start(move |seen| match seen.method() {
        "tools/list" => {
            *id.lock().unwrap() = seen.body["id"].clone();
            Answer::sse("id: x-1\nretry: 1\ndata: \n\n")
        }
        "GET" if seen.header("last-event-id") == Some("x-1") => Answer::sse(format!(
            "id: x-2\ndata: {}\n\n",
            json!({"jsonrpc":"2.0","id": *id.lock().unwrap(),"result":{"tools":[]}})
        )),
        _ => legacy(seen),
    })
    .await;
    let client = connect(&server, Mode::Legacy).await.unwrap();
    client.request("tools/list", None).await.unwrap();
    assert!(server.methods().contains(&"GET".to_owned()));
}

#[tokio::test]
async fn a_stream_that_ends_without_an_answer_is_an_error() {
    let server = Scripted::start(|seen| match seen.method() {
        "tools/list" => Answer::sse(": nothing\n\n"),
        _ => legacy(seen),
    })
    .await;
    let client = connect(&server, Mode::Legacy).await.unwrap();
    let failure = client.request("tools/list", None).await.unwrap_err();
    assert!(
        failure.to_string().contains("ended before the answer"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_servers_ping_is_answered_and_its_wishes_refused() {
    let (told, mut answers) = mpsc::unbounded_channel();
    let server = Scripted::start(move |seen| {
        if seen.body.get("method").is_none() && seen.verb == "POST" {
            told.send(seen.body.clone()).unwrap();
            return Answer::empty(202);
        }
        match seen.method() {
            "tools/list" => {
                let ask = |id: &str, method: &str| {
                    format!("data: {}\n\n", json!({"jsonrpc":"2.0","id":id,"method":method}))
                };
                let answer = json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": {"tools": []}});
                Answer::sse(format!(
                    "{}{}data: {answer}\n\n",
                    ask("p", "ping"),
                    ask("r", "roots/list")
                ))
            }
            _ => legacy(seen),
        }
    })
    .await;
    let client = connect(&server, Mode::Legacy).await.unwrap();
    client.request("tools/list", None).await.unwrap();
    let mut two = [answers.recv().await.unwrap(), answers.recv().await.unwrap()];
    two.sort_by_key(|a| a["id"].to_string());
    assert_eq!((&two[0]["id"], &two[0]["result"]), (&json!("p"), &json!({})));
    assert_eq!(
        (&two[1]["id"], &two[1]["error"]["code"]),
        (&json!("r"), &json!(-32601))
    );
}

#[tokio::test]
async fn a_request_ends_with_its_deadline_and_a_legacy_server_is_told() {
    let (told, mut cancelled) = mpsc::unbounded_channel();
    let server = Scripted::start(move |seen| match seen.method() {
        "tools/list" => {
            let (pieces, stream) = mpsc::unbounded_channel();
            // A stream that never says anything but never ends either.
            pieces.send(": there\n\n".to_owned()).unwrap();
            tokio::spawn(async move { pieces.closed().await });
            Answer::Stream(stream)
        }
        "notifications/cancelled" => {
            told.send(seen.body["params"]["requestId"].clone()).unwrap();
            Answer::empty(202)
        }
        _ => legacy(seen),
    })
    .await;
    let mut peer = server.peer();
    peer.deadlines.total = Duration::from_millis(200);
    let client = McpClient::connect(peer, Mode::Legacy, NOTHING).await.unwrap();
    assert!(matches!(
        client.request("tools/list", None).await,
        Err(Failure::Late(_))
    ));
    assert_eq!(cancelled.recv().await.unwrap(), json!(1));
}

#[tokio::test]
async fn pages_are_walked_and_endless_ones_cut() {
    let server = Scripted::start(|seen| match seen.method() {
        "tools/list" => match seen.body["params"]["cursor"].as_str() {
            None => Answer::result(seen, json!({"tools": [{"name": "a"}], "nextCursor": ""})),
            Some("") => Answer::result(seen, json!({"tools": [{"name": "b"}], "nextCursor": "z"})),
            Some(_) => Answer::result(seen, json!({"tools": [{"name": "c"}], "nextCursor": "z"})),
        },
        _ => legacy(seen),
    })
    .await;
    let client = connect(&server, Mode::Legacy).await.unwrap();
    let listed = client
        .list("tools/list", "tools", ListBounds::default())
        .await
        .unwrap();
    let names: Vec<_> = listed.entries.iter().map(|e| e.get().to_owned()).collect();
    assert_eq!(names, [r#"{"name":"a"}"#, r#"{"name":"b"}"#, r#"{"name":"c"}"#]);
    assert_eq!(listed.cut, Some("it repeats a cursor"));
    let few = ListBounds {
        entries_max: 1,
        ..ListBounds::default()
    };
    assert_eq!(
        client
            .list("tools/list", "tools", few)
            .await
            .unwrap()
            .entries
            .len(),
        1
    );
}

/// Streams handed to whoever opens one, with the sending end for the test.
fn streams() -> (
    impl Fn() -> Answer + Send + Sync,
    mpsc::UnboundedReceiver<mpsc::UnboundedSender<String>>,
) {
    let (give, take) = mpsc::unbounded_channel();
    let open = move || {
        let (pieces, stream) = mpsc::unbounded_channel();
        give.send(pieces).unwrap();
        Answer::Stream(stream)
    };
    (open, take)
}

#[tokio::test]
async fn a_change_is_heard_in_both_eras() {
    for mode in [Mode::Legacy, Mode::Modern] {
        let (open, mut opened) = streams();
        let server = Scripted::start(move |seen| match seen.method() {
            "GET" | "subscriptions/listen" => open(),
            "server/discover" => Answer::result(seen, discovered(json!({"tools": {"listChanged": true}}))),
            _ => legacy(seen),
        })
        .await;
        let client = connect(&server, mode).await.unwrap();
        let (tell, mut heard) = mpsc::unbounded_channel();
        let listening = tokio::spawn(async move { client.listen(move |h| tell.send(h).unwrap()).await });
        let pieces = opened.recv().await.unwrap();
        assert_eq!(heard.recv().await, Some(Heard::Open));
        let event = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
        pieces.send(format!("data: {event}\r\n\r\n")).unwrap();
        assert_eq!(heard.recv().await, Some(Heard::Changed));
        listening.abort();
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_and_counts_as_a_change() {
    let (open, mut opened) = streams();
    let server = Scripted::start(move |seen| match seen.method() {
        "GET" => open(),
        _ => legacy(seen),
    })
    .await;
    let client = connect(&server, Mode::Legacy).await.unwrap();
    let (tell, mut heard) = mpsc::unbounded_channel();
    let listening = tokio::spawn(async move { client.listen(move |h| tell.send(h).unwrap()).await });
    drop(opened.recv().await.unwrap());
    assert_eq!(heard.recv().await, Some(Heard::Open));
    let _again = opened.recv().await.unwrap();
    assert_eq!(heard.recv().await, Some(Heard::Changed));
    listening.abort();
}

#[tokio::test]
async fn a_server_without_a_stream_is_not_asked_again() {
    for (status, mode) in [(405, Mode::Legacy), (404, Mode::Modern)] {
        let server = Scripted::start(move |seen| match seen.method() {
            "GET" => Answer::empty(status),
            "subscriptions/listen" => Answer::error(status, seen, -32601, "unknown"),
            "server/discover" => Answer::result(seen, discovered(json!({}))),
            _ => legacy(seen),
        })
        .await;
        let client = connect(&server, mode).await.unwrap();
        assert!(
            matches!(client.listen(|_| {}).await, ListenEnd::Unsupported),
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn a_configured_header_goes_along_but_never_replaces_the_protocols_own() {
    let server = Scripted::start(legacy).await;
    let mut peer = server.peer();
    peer.headers = vec![
        ("Authorization".to_owned(), "Bearer k".to_owned()),
        ("Accept".to_owned(), "text/html".to_owned()),
        ("Mcp-Session-Id".to_owned(), "mine".to_owned()),
    ];
    let client = McpClient::connect(peer, Mode::Legacy, NOTHING).await.unwrap();
    client.request("tools/list", None).await.unwrap();
    let list = server.seen().pop().unwrap();
    assert_eq!(list.header("authorization"), Some("Bearer k"));
    assert_eq!(list.header("accept"), Some("application/json, text/event-stream"));
    assert_eq!(list.header("mcp-session-id"), Some("s-1"));
}
