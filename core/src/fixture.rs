//! Documents for tests: two servers, a few roles and keys, and ways to vary them.

use crate::snapshot::{Finding, Principal, Scope, ServerIndex, Snapshot};
use ring::digest::{SHA256, digest};
use ringway_proto::{http::Headers, snapshot::Document};
use serde_json::{Value, json};
use std::sync::Arc;

/// A ready dual-era server that offers `tools` and `prompts` by name.
pub(crate) fn server(name: &str, tools: &[&str], prompts: &[&str]) -> Value {
    let tool =
        |n: &&str| json!({"name": n, "description": format!("does {n}"), "inputSchema": {"type": "object"}});
    json!({
        "name": name,
        "url": format!("http://{name}.test/mcp"),
        "catalogue": {
            "legacy_revision": "2025-11-25",
            "modern": true,
            "capabilities": {"tools": {"listChanged": true}, "prompts": {}},
            "server_info": {"name": name, "version": "1"},
            "instructions": format!("How to use {name}."),
            "tools": tools.iter().map(tool).collect::<Vec<_>>(),
            "prompts": prompts.iter().map(|n| json!({"name": n})).collect::<Vec<_>>(),
        }
    })
}

/// A key whose text is [`key_text`] of its id.
pub(crate) fn key(id: &str, roles: &[&str]) -> Value {
    let hash = hex::encode(digest(&SHA256, key_text(id).as_bytes()));
    json!({"id": id, "hash": format!("sha256:{hash}"), "roles": roles})
}

/// The text of the key with this id.
pub(crate) fn key_text(id: &str) -> String {
    let mut secret = [0; 32];
    secret.copy_from_slice(digest(&SHA256, id.as_bytes()).as_ref());
    ringway_proto::key::format(&secret)
}

/// Roles `all` (everything), `fs` (all of `fs`), `read` (`*__read*`), and a key for each, named alike.
pub(crate) fn document(servers: Vec<Value>) -> Value {
    json!({
        "format": 1,
        "number": 7,
        "servers": servers,
        "roles": [
            {"name": "all", "allow": ["*"]},
            {"name": "fs", "allow": ["fs__*"]},
            {"name": "read", "allow": ["*__read*"]},
        ],
        "keys": [key("all", &["all"]), key("fs", &["fs"]), key("read", &["read"])],
    })
}

pub(crate) fn compile(document: Value) -> Result<Snapshot, Vec<Finding>> {
    // Through text: raw values keep their bytes only so.
    let document: Document = serde_json::from_str(&document.to_string()).expect("a document");
    Snapshot::compile(&document, &|name| match name {
        "TOKEN" => Ok("s3cret\n".to_owned()),
        "EMPTY" => Ok(String::new()),
        _ => Err("is not set".to_owned()),
    })
}

pub(crate) fn snapshot(document: Value) -> Snapshot {
    compile(document).unwrap_or_else(|findings| panic!("{findings:?}"))
}

/// Two servers that share a resource's URI, with templates, for most tests.
pub(crate) fn two_servers() -> Snapshot {
    let mut fs = server("fs", &["read_file", "write_file"], &["review"]);
    fs["catalogue"]["capabilities"]["resources"] = json!({"subscribe": true});
    fs["catalogue"]["resources"] = json!([
        {"uri": "file:///a", "name": "a"},
        {"uri": "file:///both", "name": "both of fs"},
    ]);
    fs["catalogue"]["resource_templates"] = json!([{"uriTemplate": "file:///{+path}", "name": "files"}]);
    let mut git = server("git", &["read_log", "commit.sign"], &["review", "read_me"]);
    git["catalogue"]["capabilities"]["logging"] = json!({});
    git["catalogue"]["resources"] = json!([
        {"uri": "file:///both", "name": "both of git"},
        {"uri": "git:head", "name": "head"},
    ]);
    git["catalogue"]["resource_templates"] = json!([{"uriTemplate": "file:///repo/{name}", "name": "repos"}, {"uriTemplate": "file:///{+path}", "name": "files"}]);
    snapshot(document(vec![fs, git]))
}

/// The principal that shows the key with this id.
pub(crate) fn principal(snapshot: &Snapshot, id: &str) -> Arc<Principal> {
    let mut headers = Headers::default();
    headers.push("x-api-key", key_text(id));
    crate::authenticate::principal(snapshot, &headers, false, || 0).expect("a principal")
}

pub(crate) fn scope_of(snapshot: &Snapshot, server: &str) -> Scope {
    Scope::Server(index(snapshot, server))
}

pub(crate) fn index(snapshot: &Snapshot, server: &str) -> ServerIndex {
    snapshot.server(server).expect("a server")
}
