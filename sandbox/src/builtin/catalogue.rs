//! What the built-in server says of itself, in the words of both eras.

use ringway_proto::revision::Revision;
use serde_json::{Value, json};

/// The one resource.
pub(super) const ABOUT: &str = "ringway://about";

const INSTRUCTIONS: &str = "A server that comes with Ringway, to try the gateway with: it echoes, adds, tells the time \
    and reports progress.";

fn server_info() -> Value {
    json!({ "name": "ringway-builtin", "title": "Ringway built-in server", "version": env!("CARGO_PKG_VERSION") })
}

fn capabilities() -> Value {
    json!({ "tools": {}, "resources": {}, "prompts": {} })
}

/// The result of `initialize`.
pub(super) fn initialized(revision: &str) -> Value {
    json!({
        "protocolVersion": revision,
        "capabilities": capabilities(),
        "serverInfo": server_info(),
        "instructions": INSTRUCTIONS,
    })
}

/// The result of `server/discover`.
pub(super) fn discovered() -> Value {
    json!({
        "supportedVersions": [Revision::NEWEST.as_str()],
        "capabilities": capabilities(),
        "instructions": INSTRUCTIONS,
    })
}

/// Adds what every modern result carries. Nothing here depends on the caller, and nothing changes while it runs.
pub(super) fn modernised(method: &str, mut result: Value) -> Value {
    result["resultType"] = "complete".into();
    result["_meta"]["io.modelcontextprotocol/serverInfo"] = server_info();
    if method == "server/discover" || method == "resources/read" || method.ends_with("/list") {
        result["ttlMs"] = 3_600_000.into();
        result["cacheScope"] = "public".into();
    }
    result
}

/// Tool definitions; their order is fixed.
pub(super) fn tools(faults: bool) -> Vec<Value> {
    let quiet = |title: &str| json!({ "title": title, "readOnlyHint": true, "openWorldHint": false });
    let mut tools = vec![
        json!({
            "name": "echo",
            "description": "Gives the message back.",
            "inputSchema": {
                "type": "object",
                "properties": { "message": { "type": "string", "description": "What to give back" } },
                "required": ["message"],
                "additionalProperties": false,
            },
            "annotations": quiet("Echo"),
        }),
        json!({
            "name": "add",
            "description": "Adds two numbers.",
            "inputSchema": {
                "type": "object",
                "properties": { "a": { "type": "number" }, "b": { "type": "number" } },
                "required": ["a", "b"],
                "additionalProperties": false,
            },
            "outputSchema": {
                "type": "object",
                "properties": { "sum": { "type": "number" } },
                "required": ["sum"],
            },
            "annotations": quiet("Add"),
        }),
        json!({
            "name": "time",
            "description": "Tells the present time in UTC, as RFC 3339 writes it.",
            "inputSchema": { "type": "object", "properties": {}, "additionalProperties": false },
            "annotations": quiet("Time"),
        }),
        json!({
            "name": "progress",
            "description": "Takes a number of steps with a pause before each, and reports each one to callers that ask for progress.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "steps": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 3 },
                    "delay_ms": { "type": "integer", "minimum": 0, "maximum": 60000, "default": 100 },
                },
                "additionalProperties": false,
            },
            "annotations": quiet("Progress"),
        }),
    ];
    if faults {
        tools.push(json!({
            "name": "crash",
            "description": "Ends the server at once, with exit code 3.",
            "inputSchema": { "type": "object", "properties": {}, "additionalProperties": false },
            "annotations": { "title": "Crash", "readOnlyHint": false, "destructiveHint": true },
        }));
    }
    tools
}

/// Resource definitions.
pub(super) fn resources() -> Value {
    json!([{
        "uri": ABOUT,
        "name": "about",
        "title": "About this server",
        "description": "What this server is.",
        "mimeType": "text/plain",
    }])
}

/// The resource's contents.
pub(super) fn about() -> Value {
    let text = format!("Ringway {}: its built-in MCP server.", env!("CARGO_PKG_VERSION"));
    json!({ "contents": [{ "uri": ABOUT, "mimeType": "text/plain", "text": text }] })
}

/// Prompt definitions.
pub(super) fn prompts() -> Value {
    json!([{
        "name": "greet",
        "title": "Greet somebody",
        "description": "A friendly greeting.",
        "arguments": [{ "name": "name", "description": "Whom to greet", "required": true }],
    }])
}

/// The prompt filled in.
pub(super) fn greeting(name: &str) -> Value {
    let text = format!("Please greet {name} in a friendly way.");
    json!({
        "description": "A friendly greeting.",
        "messages": [{ "role": "user", "content": { "type": "text", "text": text } }],
    })
}
