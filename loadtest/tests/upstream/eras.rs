//! Whole flows of both eras, and what each refuses.

use crate::{client::Client, up};
use ringway_loadtest::upstream::{
    Options,
    options::{AnswerKind, EraChoice},
    stats::Counter,
    text,
};
use serde_json::json;

#[test]
fn a_modern_client_needs_no_session() {
    let server = up(Options::default());
    let mut client = Client::modern(server.addr);

    let discovered = client.request("server/discover", json!({})).json();
    assert_eq!(discovered["result"]["resultType"], "complete");
    assert_eq!(
        discovered["result"]["supportedVersions"],
        json!(["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])
    );
    assert!(discovered["result"]["capabilities"]["tools"].is_object());
    assert!(discovered["result"]["ttlMs"].is_u64() && discovered["result"]["cacheScope"].is_string());

    let listed = client.request("tools/list", json!({})).json();
    let names: Vec<&str> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|t| t["name"].as_str())
        .collect();
    assert_eq!(names, ["echo", "sized", "sleep", "progress", "fail", "error"]);

    let called = client
        .call("echo", json!({ "text": "a \"b\" \\ \u{e9}\n" }))
        .json();
    assert_eq!(called["result"]["content"][0]["text"], "a \"b\" \\ \u{e9}\n");
    assert_eq!(called["result"]["resultType"], "complete");
    let info = &called["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(info["name"], "ringway-loadtest");

    let unknown = client.request("resources/subscribe", json!({ "uri": "loadtest://item/0" }));
    assert_eq!(
        (unknown.status, unknown.json()["error"]["code"].as_i64()),
        (404, Some(-32601))
    );
    client.bare(
        "GET",
        "Accept: text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n",
    );
    let get = client.answer();
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(server.stats().sessions_open, 0);
}

#[test]
fn an_older_client_opens_uses_and_ends_a_session() {
    let server = up(Options::default());
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = Client::legacy(server.addr, revision);
        assert_eq!(client.session.as_ref().map(String::len), Some(32));
        let called = client.call("echo", json!({ "text": revision })).json();
        assert_eq!(
            called["result"],
            json!({ "content": [{ "type": "text", "text": revision }] })
        );
        assert_eq!(client.request("ping", json!({})).json()["result"], json!({}));
        assert_eq!(server.stats().sessions_open, 1);

        client.bare("DELETE", "");
        assert_eq!(client.answer().status, 200);
        let gone = client.call("echo", json!({ "text": "x" }));
        assert_eq!(
            (gone.status, gone.json()["error"]["code"].as_i64()),
            (404, Some(-32001))
        );
        client.session = None;
        let without = client.call("echo", json!({ "text": "x" }));
        assert_eq!(
            (without.status, without.json()["error"]["code"].as_i64()),
            (400, Some(-32000))
        );
    }
    let stats = server.stats();
    assert_eq!(
        (
            stats.get(Counter::SessionsOpened),
            stats.get(Counter::SessionsEnded)
        ),
        (3, 3)
    );
    assert_eq!((stats.get(Counter::SessionsUnknown), stats.sessions_open), (3, 0));
}

#[test]
fn an_unknown_older_revision_is_offered_the_newest() {
    let server = up(Options::default());
    let mut client = Client::modern(server.addr);
    client.modern = false;
    let answer = client.request(
        "initialize",
        json!({ "protocolVersion": "2024-01-01", "capabilities": {} }),
    );
    assert_eq!(answer.json()["result"]["protocolVersion"], "2025-11-25");
}

#[test]
fn one_era_is_refused_as_servers_of_the_other_do() {
    let server = up(Options {
        era: EraChoice::Legacy,
        ..Options::default()
    });
    let refused = Client::modern(server.addr).request("server/discover", json!({}));
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_i64()),
        (400, Some(-32000))
    );

    let server = up(Options {
        era: EraChoice::Modern,
        ..Options::default()
    });
    let mut client = Client::modern(server.addr);
    client.modern = false;
    let refused = client.request(
        "initialize",
        json!({ "protocolVersion": "2025-11-25", "capabilities": {} }),
    );
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_i64()),
        (404, Some(-32601))
    );
    assert_eq!(
        refused.json()["error"]["data"]["supported"],
        json!(["2026-07-28"])
    );
    let refused = client.request("tools/list", json!({}));
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_i64()),
        (400, Some(-32022))
    );
}

#[test]
fn without_sessions_older_calls_need_none() {
    let server = up(Options {
        stateless: true,
        ..Options::default()
    });
    let mut client = Client::legacy(server.addr, "2025-06-18");
    assert_eq!(client.session, None);
    assert_eq!(client.call("echo", json!({ "text": "x" })).result_text(), "x");
}

#[test]
fn strictness_holds_headers_to_the_body() {
    let lenient = up(Options::default());
    let strict = up(Options {
        strict: true,
        ..Options::default()
    });
    let wrong = |edit: fn(&str) -> String, code: i64| {
        let mut client = Client::modern(strict.addr);
        let message = client.message(
            "tools/call",
            json!({ "name": "echo", "arguments": { "text": "x" } }),
        );
        let bytes = edit(&String::from_utf8(client.bytes(&message)).unwrap());
        client.raw(bytes.as_bytes());
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_i64()),
            (400, Some(code))
        );
        let mut client = Client::modern(lenient.addr);
        client.raw(bytes.as_bytes());
        assert_eq!(client.answer().result_text(), "x");
    };
    wrong(
        |text| text.replace("Mcp-Method: tools/call", "Mcp-Method: tools/list"),
        -32020,
    );
    wrong(|text| text.replace("Mcp-Name: echo\r\n", ""), -32020);

    let mut client = Client::modern(strict.addr);
    assert_eq!(client.call("echo", json!({ "text": "x" })).result_text(), "x");
    let message = client.message("tools/list", json!({}));
    for (from, to, status) in [
        ("application/json\r\n", "text/plain\r\n", 415),
        (", text/event-stream", "", 406),
    ] {
        let bytes = String::from_utf8(client.bytes(&message))
            .unwrap()
            .replacen(from, to, 1);
        client.raw(bytes.as_bytes());
        assert_eq!(client.answer().status, status);
    }
}

#[test]
fn batches_belong_to_one_revision() {
    let server = up(Options::default());
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "ping" },
        { "jsonrpc": "2.0", "method": "notifications/initialized" },
        { "jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": { "name": "echo", "arguments": { "text": "x" } } },
    ]);
    let answer = Client::legacy(server.addr, "2025-03-26").post(&batch).json();
    assert_eq!(answer.as_array().map(Vec::len), Some(2));
    assert_eq!((&answer[0]["id"], &answer[1]["id"]), (&json!(1), &json!("b")));
    let answer = Client::legacy(server.addr, "2025-06-18").post(&batch);
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_i64()),
        (400, Some(-32600))
    );
}

#[test]
fn tools_do_what_they_say() {
    let server = up(Options {
        tools: 2500,
        resources: 2,
        ..Options::default()
    });
    let mut client = Client::legacy(server.addr, "2025-11-25");
    for bytes in [0usize, 1, 296, 70_000, 1 << 20] {
        let got = client.call("sized", json!({ "bytes": bytes })).result_text();
        assert_eq!(got.len(), bytes);
        assert_eq!(text::check(got.as_bytes()), Ok(()));
    }
    assert_eq!(client.call("sized", json!({})).result_text().len(), 296);
    assert_eq!(
        client
            .call("github_list_issue", json!({ "issue_id": "1" }))
            .result_text()
            .len(),
        296
    );
    assert_eq!(client.call("sleep", json!({ "ms": 3 })).result_text(), "slept");
    let failed = client.call("fail", json!({})).json();
    assert_eq!(
        (failed["result"]["isError"].as_bool(), failed["error"].is_null()),
        (Some(true), true)
    );
    let error = client.call("error", json!({ "code": -32050 })).json();
    assert_eq!(error["error"]["code"], -32050);
    let unknown = client.call("nothing", json!({})).json();
    assert_eq!(unknown["error"]["code"], -32602);
    assert_eq!(
        client.call("echo", json!({ "text": 1 })).json()["error"]["code"],
        -32602
    );

    let (mut cursor, mut tools, mut pages) = (None::<String>, 0, 0);
    loop {
        let params = cursor
            .take()
            .map_or(json!({}), |cursor| json!({ "cursor": cursor }));
        let page = client.request("tools/list", params).json();
        tools += page["result"]["tools"].as_array().unwrap().len();
        pages += 1;
        cursor = page["result"]["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((tools, pages), (2506, 3));
    let bad = client
        .request("tools/list", json!({ "cursor": "nowhere" }))
        .json();
    assert_eq!(bad["error"]["code"], -32602);

    let listed = client.request("resources/list", json!({})).json();
    let uri = listed["result"]["resources"][1]["uri"]
        .as_str()
        .unwrap()
        .to_owned();
    let read = client.request("resources/read", json!({ "uri": uri })).json();
    assert_eq!(
        read["result"]["contents"][0]["text"].as_str().map(str::len),
        Some(296)
    );
    let missing = client
        .request("resources/read", json!({ "uri": "file:///x" }))
        .json();
    assert_eq!(missing["error"]["code"], -32002);
    let prompt = client
        .request(
            "prompts/get",
            json!({ "name": "greeting", "arguments": { "name": "Ada" } }),
        )
        .json();
    assert_eq!(
        prompt["result"]["messages"][0]["content"]["text"],
        "Please greet Ada."
    );

    let stats = server.stats();
    assert_eq!(
        (stats.get(Counter::CallsSized), stats.get(Counter::CallsSynthetic)),
        (6, 1)
    );
    assert_eq!(
        (stats.get(Counter::CallsUnknown), stats.get(Counter::ToolLists)),
        (1, 4)
    );
    assert_eq!(stats.get(Counter::CallsAnswered), stats.get(Counter::Calls) - 1);
}

#[test]
fn calls_can_be_answered_as_event_streams() {
    let server = up(Options {
        answer: AnswerKind::Sse,
        ..Options::default()
    });
    for bytes in [296, 100_000] {
        let mut client = Client::modern(server.addr);
        let answer = client.call("sized", json!({ "bytes": bytes }));
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        let events = answer.events();
        assert_eq!(events.len(), 1);
        assert_eq!(
            events[0]["result"]["content"][0]["text"].as_str().map(str::len),
            Some(bytes)
        );
        assert_eq!(
            client.request("tools/list", json!({})).header("content-type"),
            Some("application/json")
        );
    }
}

#[test]
fn ids_come_back_as_they_were_written() {
    let server = up(Options::default());
    let mut client = Client::modern(server.addr);
    for id in [
        json!(0),
        json!("0"),
        json!("a\"\\b"),
        json!(9_007_199_254_740_993_u64),
    ] {
        let mut message = client.message(
            "tools/call",
            json!({ "name": "echo", "arguments": { "text": "x" } }),
        );
        message["id"] = id.clone();
        assert_eq!(client.post(&message).json()["id"], id);
    }
}
