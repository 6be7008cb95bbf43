//! Progress, held streams, cancellation.

use crate::{client::Client, until, up};
use ringway_loadtest::upstream::{Options, stats::Counter};
use serde_json::{Value, json};
use std::time::Duration;

/// The next message of a held stream; comments are passed over.
fn event(client: &mut Client) -> Value {
    loop {
        let chunk = client.chunk().unwrap().expect("the stream goes on");
        let text = String::from_utf8(chunk).unwrap();
        if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
            return serde_json::from_str(data).unwrap();
        }
    }
}

#[test]
fn progress_is_reported_to_its_token_and_then_answered() {
    let server = up(Options::default());
    for token in [json!(0), json!("p-1")] {
        let mut client = Client::legacy(server.addr, "2025-11-25");
        let answer = client.request(
            "tools/call",
            json!({
                "name": "progress",
                "arguments": { "steps": 3, "interval_ms": 1, "text": "end" },
                "_meta": { "progressToken": token },
            }),
        );
        let events = answer.events();
        assert_eq!(events.len(), 4);
        for (n, event) in events[..3].iter().enumerate() {
            assert_eq!(event["method"], "notifications/progress");
            assert_eq!(
                event["params"],
                json!({ "progressToken": token, "progress": n + 1, "total": 3 })
            );
        }
        assert_eq!(events[3]["result"]["content"][0]["text"], "end");
    }
    // Nobody asked, so nothing is reported.
    let answer = Client::modern(server.addr).call("progress", json!({ "steps": 3 }));
    assert_eq!(answer.events().len(), 1);
    assert_eq!(server.stats().streams_open, 0);
}

#[test]
fn an_older_call_is_cancelled_by_a_message() {
    let server = up(Options::default());
    for (tool, arguments) in [
        ("sleep", json!({ "ms": 60_000 })),
        ("progress", json!({ "steps": 1, "interval_ms": 60_000 })),
    ] {
        let before = server.stats().get(Counter::Cancelled);
        let mut client = Client::legacy(server.addr, "2025-06-18");
        let message = client.message("tools/call", json!({ "name": tool, "arguments": arguments }));
        client.send(&message);
        let mut other = client.again();
        // Until it arrives there is nothing to cancel.
        until("the call is cancelled", || {
            let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": message["id"] } });
            assert_eq!(other.post(&cancel).status, 202);
            server.stats().get(Counter::Cancelled) > before
        });
        let answer = client.answer();
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert!(answer.events().is_empty());
        // The connection goes on.
        assert_eq!(client.call("echo", json!({ "text": "x" })).result_text(), "x");
    }
}

#[test]
fn a_modern_call_is_cancelled_by_leaving() {
    let server = up(Options::default());
    for tool in ["sleep", "progress"] {
        let before = server.stats().get(Counter::ClientsGone);
        let mut client = Client::modern(server.addr);
        let message = client.message(
            "tools/call",
            json!({
                "name": tool, "arguments": { "ms": 60_000, "steps": 1, "interval_ms": 60_000 },
            }),
        );
        client.send(&message);
        let calls = server.stats().get(Counter::Calls);
        until("the call has come", || {
            server.stats().get(Counter::Calls) > calls || calls > 0
        });
        drop(client);
        until("its end is noticed", || {
            server.stats().get(Counter::ClientsGone) > before
        });
    }
    until("nothing is open", || server.stats().connections_open == 0);
}

#[test]
fn a_held_get_hears_notifications() {
    let server = up(Options::default());
    let mut client = Client::legacy(server.addr, "2025-06-18");
    client.bare(
        "GET",
        "Accept: text/event-stream\r\nMCP-Protocol-Version: 2025-06-18\r\n",
    );
    let head = client.head().unwrap();
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    client.chunk().unwrap();
    assert_eq!(server.notify("notifications/tools/list_changed", None), 1);
    assert_eq!(event(&mut client)["method"], "notifications/tools/list_changed");
    assert_eq!(server.stats().streams_open, 1);
    drop(client);
    until("the stream is counted as closed", || {
        server.stats().streams_open == 0
    });

    let mut client = Client::modern(server.addr);
    client.bare("GET", "Accept: text/event-stream\r\n");
    assert_eq!(client.answer().status, 400);
}

#[test]
fn a_listen_is_confirmed_hears_what_it_asked_for_and_is_told_the_end() {
    let server = up(Options::default());
    let mut client = Client::modern(server.addr);
    let asked = json!({ "toolsListChanged": true, "resourceSubscriptions": ["loadtest://item/3"] });
    let message = client.message("subscriptions/listen", json!({ "notifications": asked }));
    client.send(&message);
    client.head().unwrap();
    let first = event(&mut client);
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["notifications"], asked);
    let id = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(first["params"]["_meta"][id], message["id"]);

    server.notify("notifications/prompts/list_changed", None);
    server.notify("notifications/resources/updated", Some("loadtest://item/4"));
    server.notify("notifications/resources/updated", Some("loadtest://item/3"));
    let heard = event(&mut client);
    assert_eq!(heard["params"]["uri"], "loadtest://item/3");
    assert_eq!(heard["params"]["_meta"][id], message["id"]);

    server.stop();
    let last = event(&mut client);
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&message["id"], &json!("complete"))
    );
}

#[test]
fn held_streams_live_on_comments_and_hear_by_the_clock() {
    let server = up(Options {
        keep_alive: Duration::from_millis(20),
        notify_every: Duration::from_millis(20),
        ..Options::default()
    });
    let mut client = Client::legacy(server.addr, "2025-11-25");
    client.bare("GET", "Accept: text/event-stream\r\n");
    client.head().unwrap();
    client.chunk().unwrap();
    let (mut comments, mut events) = (0, 0);
    while comments < 2 || events < 2 {
        match client.chunk().unwrap() {
            Some(chunk) if chunk.starts_with(b":") => comments += 1,
            Some(chunk) if chunk.starts_with(b"event: message") => events += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_thousand_streams_are_held_while_calls_run() {
    let server = up(Options::default());
    let mut held = Vec::new();
    for _ in 0..1000 {
        let mut client = Client::modern(server.addr);
        let message = client.message(
            "subscriptions/listen",
            json!({ "notifications": { "toolsListChanged": true } }),
        );
        client.send(&message);
        held.push(client);
    }
    for client in &mut held {
        client.head().unwrap();
        event(client);
    }
    assert_eq!(server.stats().streams_open, 1000);
    let mut caller = Client::modern(server.addr);
    for _ in 0..100 {
        assert_eq!(caller.call("echo", json!({ "text": "x" })).result_text(), "x");
    }
    assert_eq!(server.notify("notifications/tools/list_changed", None), 1000);
    for client in &mut held {
        assert_eq!(event(client)["method"], "notifications/tools/list_changed");
    }
    assert_eq!(server.stats().get(Counter::Events), 1000);
    drop(held);
    until("they are all gone", || server.stats().streams_open == 0);
}
