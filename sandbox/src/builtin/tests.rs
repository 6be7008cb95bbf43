//! What the built-in server writes, checked against the specification's own schemas where they are present.

use super::*;
use std::path::PathBuf;

/// Everything one message makes the server write.
fn say(server: &Server<Vec<u8>>, message: &Value) -> Vec<Value> {
    server
        .line(message.to_string().as_bytes())
        .expect("memory does not fail");
    let mut out = server.out.lock().expect("output");
    let lines = String::from_utf8(std::mem::take(&mut *out)).expect("text");
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("message"))
        .collect()
}

fn ask(server: &Server<Vec<u8>>, method: &str, params: Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": "q", "method": method, "params": params });
    let [answer] = &say(server, &request)[..] else {
        panic!("one answer to {method}")
    };
    assert_eq!(answer["id"], "q");
    answer.clone()
}

fn modern_params(mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    params
}

fn server() -> Server<Vec<u8>> {
    Server::new(true, Vec::new())
}

/// The specification's schema of a revision, beside the workspace.
fn schema(revision: &str) -> Option<Value> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../shared/schemas/mcp/{revision}.json"));
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).expect("schema")),
        Err(error) => {
            eprintln!(
                "NOT CHECKED against the schema of {revision}: {} ({error})",
                path.display()
            );
            None
        }
    }
}

fn check(schema: &Value, name: &str, value: &Value) {
    let definitions = if schema.get("$defs").is_some() {
        "$defs"
    } else {
        "definitions"
    };
    assert!(
        schema[definitions].get(name).is_some(),
        "the schema has no {name}"
    );
    let mut schema = schema.clone();
    schema["$ref"] = format!("#/{definitions}/{name}").into();
    let validator = jsonschema::validator_for(&schema).expect("schema");
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:#?} in {value:#}");
}

const RESULTS: [(&str, &str); 8] = [
    ("tools/list", "ListToolsResult"),
    ("resources/list", "ListResourcesResult"),
    ("resources/templates/list", "ListResourceTemplatesResult"),
    ("resources/read", "ReadResourceResult"),
    ("prompts/list", "ListPromptsResult"),
    ("prompts/get", "GetPromptResult"),
    ("tools/call", "CallToolResult"),
    ("server/discover", "DiscoverResult"),
];

fn params(method: &str) -> Value {
    match method {
        "resources/read" => json!({ "uri": "ringway://about" }),
        "prompts/get" => json!({ "name": "greet", "arguments": { "name": "Ada" } }),
        "tools/call" => json!({ "name": "add", "arguments": { "a": 1, "b": 2 } }),
        _ => json!({}),
    }
}

#[test]
fn every_result_fits_the_schemas_of_both_eras() {
    let server = server();
    for revision in LEGACY {
        let Some(schema) = schema(revision) else { continue };
        let opening = json!({ "protocolVersion": revision, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        let opened = ask(&server, "initialize", opening);
        assert_eq!(opened["result"]["protocolVersion"], revision);
        check(&schema, "InitializeResult", &opened["result"]);
        for (method, name) in &RESULTS[..7] {
            check(&schema, name, &ask(&server, method, params(method))["result"]);
        }
        check(&schema, "JSONRPCMessage", &opened);
    }
    if let Some(schema) = schema("2026-07-28") {
        for (method, name) in RESULTS {
            let answer = ask(&server, method, modern_params(params(method)));
            check(&schema, name, &answer["result"]);
            check(&schema, "JSONRPCMessage", &answer);
        }
        let listen = json!({ "jsonrpc": "2.0", "id": 5, "method": "subscriptions/listen", "params": modern_params(json!({ "notifications": { "toolsListChanged": true } })) });
        check(
            &schema,
            "SubscriptionsAcknowledgedNotification",
            &say(&server, &listen)[0],
        );
    }
}

#[test]
fn an_unknown_legacy_revision_gets_the_newest() {
    let opening = json!({ "protocolVersion": "1999-01-01", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    assert_eq!(
        ask(&server(), "initialize", opening)["result"]["protocolVersion"],
        "2025-11-25"
    );
}

#[test]
fn modern_requests_are_held_to_their_rules() {
    let server = server();
    let code = |method: &str, params: Value| ask(&server, method, params)["error"]["code"].clone();
    assert_eq!(code("server/discover", json!({})), -32602);
    let named = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } });
    assert_eq!(code("tools/list", named), -32602);
    let future = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "2099-01-01" } });
    assert_eq!(code("tools/list", future), -32022);
    for method in ["initialize", "ping", "logging/setLevel", "no/such"] {
        assert_eq!(code(method, modern_params(json!({}))), -32601, "{method}");
    }
    assert_eq!(
        code("tools/call", modern_params(json!({ "name": "none" }))),
        -32602
    );
    assert_eq!(
        code("resources/read", modern_params(json!({ "uri": "x:" }))),
        -32602
    );
}

#[test]
fn bad_arguments_are_tool_errors() {
    let server = server();
    for (name, arguments) in [
        ("echo", json!({})),
        ("add", json!({ "a": "1", "b": 2 })),
        ("progress", json!({ "steps": 0 })),
        ("progress", json!({ "delay_ms": -1 })),
    ] {
        let answer = ask(
            &server,
            "tools/call",
            json!({ "name": name, "arguments": arguments }),
        );
        assert_eq!(answer["result"]["isError"], true, "{name}");
    }
}

#[test]
fn noise_gets_an_error_or_nothing() {
    let server = server();
    let line = |text: &str| {
        server.line(text.as_bytes()).expect("memory does not fail");
        String::from_utf8(std::mem::take(&mut *server.out.lock().expect("output"))).expect("text")
    };
    assert!(line("{broken").contains("-32700"));
    assert_eq!(line(""), "");
    assert_eq!(
        line(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
        ""
    );
    assert_eq!(line(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), "");
    assert!(line(r#"{"jsonrpc":"2.0","id":[],"method":"ping"}"#).contains("-32600"));
}

#[test]
fn crash_is_there_only_when_asked_for() {
    let names = |faults| {
        catalogue::tools(faults)
            .iter()
            .map(|tool| tool["name"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(false).len() + 1, names(true).len());
    let quiet = Server::new(false, Vec::new());
    assert_eq!(
        ask(&quiet, "tools/call", json!({ "name": "crash" }))["error"]["code"],
        -32602
    );
}

/// Hands on what is written, for messages that come later.
struct Pipe(mpsc::Sender<Vec<u8>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn progress_reports_steps_and_can_be_cancelled() {
    let (out, written) = mpsc::channel();
    let server = Server::new(false, Pipe(out));
    let call = |id: u64, steps: u64, delay: u64| {
        let params = json!({ "name": "progress", "arguments": { "steps": steps, "delay_ms": delay }, "_meta": { "progressToken": "t" } });
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string()
    };
    let next = || -> Value { serde_json::from_slice(&written.recv().expect("a message")).expect("message") };
    server.line(call(1, 2, 0).as_bytes()).expect("written");
    for step in 1..=2 {
        let note = next();
        assert_eq!(
            note["params"],
            json!({ "progressToken": "t", "progress": step, "total": 2 })
        );
        if let Some(schema) = schema("2026-07-28") {
            check(&schema, "ProgressNotification", &note);
        }
    }
    assert_eq!(next()["result"]["content"][0]["text"], "2 steps done");

    server.line(call(2, 1000, 60_000).as_bytes()).expect("written");
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 2 } });
    server.line(cancel.to_string().as_bytes()).expect("written");
    server
        .line(br#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#)
        .expect("written");
    assert_eq!(next()["id"], 3, "and nothing of the cancelled call");
}
