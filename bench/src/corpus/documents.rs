//! Snapshot documents: a small one that most benchmarks use, and a fleet of 100 servers with 10,000 tools.

use super::{LIST_FILES, LIST_FORGE, TOOL};
use ringway_proto::{
    key,
    snapshot::{
        ApiKey, Catalogue, Document, FORMAT, Gateway, HttpVersion, Interface, Role, Server, Timeouts,
    },
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use std::{collections::BTreeMap, fmt::Write as _};

/// Which revisions a server of a document speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
    /// Both.
    Both,
}

/// The text of the `n`th API key.
pub fn key_text(n: u32) -> String {
    // Any bytes do, as long as they are the same in each run.
    let mut secret = [0x5a; 32];
    secret[..4].copy_from_slice(&n.to_be_bytes());
    key::format(&secret)
}

fn api_key(n: u32, roles: &[&str], interface: Option<Interface>) -> ApiKey {
    let digest = ring::digest::digest(&ring::digest::SHA256, key_text(n).as_bytes());
    let mut hash = "sha256:".to_owned();
    for byte in digest.as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    ApiKey {
        id: format!("key-{n}"),
        hash,
        tenant: format!("tenant-{}", n % 7),
        name: Some(format!("Agent {n}")),
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        expires_at: None,
        interface,
    }
}

/// The key of [`small`] whose role reaches everything.
pub const KEY_ALL: u32 = 0;
/// The key of [`small`] whose role names tools.
pub const KEY_SOME: u32 = 1;
/// The key of [`small`] that is shown search instead of lists.
pub const KEY_SEARCH: u32 = 2;

/// Three servers (notes, files, forge), three roles, three keys. `notes` is at `url`.
pub fn small(url: &str, speaks: Speaks) -> Document {
    let append = json!({
        "name": TOOL,
        "description": "Appends text to a page.",
        "inputSchema": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
    });
    let role = |name: &str, allow: &[&str]| Role {
        name: name.to_owned(),
        allow: allow.iter().map(|a| (*a).to_owned()).collect(),
    };
    Document {
        format: FORMAT,
        number: 1,
        gateway: Gateway {
            interface: Interface::List,
            ..Gateway::default()
        },
        servers: vec![
            server("notes", url, speaks, vec![raw(&append)]),
            server("files", "http://127.0.0.1:9/mcp", speaks, listed(LIST_FILES)),
            server("forge", "http://127.0.0.1:9/mcp", speaks, listed(LIST_FORGE)),
        ],
        roles: vec![
            role("all", &["*"]),
            role(
                "some",
                &["notes__*", "files__read_*", "*__list_*", "forge__get_issue"],
            ),
            role("write", &["*__write_*", "*__create_*", "notes__append_to_page"]),
        ],
        keys: vec![
            api_key(KEY_ALL, &["all"], None),
            api_key(KEY_SOME, &["some", "write"], None),
            api_key(KEY_SEARCH, &["all"], Some(Interface::Search)),
        ],
        anonymous: None,
    }
}

/// `servers` servers of `tools_each` tools, `roles` roles and as many keys, each with two roles. The first key may
/// use everything.
pub fn fleet(servers: u32, tools_each: u32, roles: u32) -> Document {
    let name = |n: u32| format!("{}-{n:03}", AREAS[n as usize % AREAS.len()]);
    let servers_list = (0..servers).map(|n| {
        let tools = (0..tools_each).map(|t| fleet_tool(n, t)).collect();
        server(&name(n), "http://127.0.0.1:9/mcp", Speaks::Both, tools)
    });
    let all = Role {
        name: "all".to_owned(),
        allow: vec!["*".to_owned()],
    };
    let some = (1..roles).map(|n| Role {
        name: format!("role-{n}"),
        allow: vec![
            format!("{}__*", name(n % servers)),
            format!("{}__{}_*", name(n * 7 % servers), VERBS[n as usize % VERBS.len()]),
            format!("*__{}_*", VERBS[n as usize * 3 % VERBS.len()]),
        ],
    });
    let keys = (1..roles).map(|n| {
        let (one, other) = (format!("role-{n}"), format!("role-{}", n * 13 % (roles - 1) + 1));
        api_key(n, &[&one, &other], None)
    });
    Document {
        format: FORMAT,
        number: 1,
        gateway: Gateway::default(),
        servers: servers_list.collect(),
        roles: std::iter::once(all).chain(some).collect(),
        keys: std::iter::once(api_key(0, &["all"], None)).chain(keys).collect(),
        anonymous: None,
    }
}

const AREAS: [&str; 10] = [
    "tracker", "ledger", "search", "mail", "wiki", "deploy", "metrics", "billing", "forge", "calendar",
];
const VERBS: [&str; 10] = [
    "create", "read", "list", "update", "delete", "search", "export", "assign", "approve", "compare",
];
const NOUNS: [&str; 12] = [
    "issue", "invoice", "page", "build", "alert", "contract", "branch", "meeting", "report", "customer",
    "ticket", "budget",
];

fn fleet_tool(server: u32, n: u32) -> Box<RawValue> {
    let verb = VERBS[n as usize % VERBS.len()];
    let noun = NOUNS[(n / 10 + server) as usize % NOUNS.len()];
    let other = NOUNS[(n * 5 + server * 3) as usize % NOUNS.len()];
    raw(&json!({
        "name": format!("{verb}_{noun}_{n}"),
        "title": format!("{verb} a {noun}"),
        "description": format!(
            "Use this to {verb} one {noun} of the workspace, with the {other} it belongs to. Fails when the {noun} \
             is locked by somebody else."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                format!("{noun}_id"): {"type": "string", "description": format!("Which {noun}.")},
                other: {"type": "object", "properties": {"id": {"type": "integer"}, "note": {"type": "string"}}},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            },
            "required": [format!("{noun}_id")],
        },
        "annotations": {"readOnlyHint": verb == "read" || verb == "list"},
    }))
}

fn server(name: &str, url: &str, speaks: Speaks, tools: Vec<Box<RawValue>>) -> Server {
    Server {
        name: name.to_owned(),
        url: url.to_owned(),
        http: HttpVersion::Http1,
        ca_file: None,
        headers: BTreeMap::new(),
        timeouts: Timeouts::default(),
        catalogue: Some(Catalogue {
            legacy_revision: (speaks != Speaks::Modern).then(|| "2025-11-25".to_owned()),
            modern: speaks != Speaks::Legacy,
            capabilities: raw(&json!({"tools": {"listChanged": true}})),
            server_info: Some(raw(&json!({"name": name, "version": "1.0.0"}))),
            instructions: None,
            tools,
            resources: Vec::new(),
            resource_templates: Vec::new(),
            prompts: Vec::new(),
        }),
    }
}

#[expect(clippy::expect_used, reason = "our own value is JSON")]
fn raw(value: &serde_json::Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("JSON")
}

/// The definitions in an answer to `tools/list`, as they stand there.
#[expect(clippy::expect_used, reason = "a file of the corpus, read by a test")]
fn listed(answer: &[u8]) -> Vec<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Answer {
        result: Result,
    }
    #[derive(Deserialize)]
    struct Result {
        tools: Vec<Box<RawValue>>,
    }
    let answer: Answer = serde_json::from_slice(answer).expect("an answer to tools/list");
    answer.result.tools
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_core::snapshot::Snapshot;

    #[test]
    fn documents_compile_without_a_warning() {
        let no_secrets = |_: &str| Err("none here".to_owned());
        let documents = [
            (small("http://127.0.0.1:9/mcp", Speaks::Both), 27),
            (fleet(10, 20, 30), 200),
        ];
        for (document, tools) in documents {
            let snapshot = Snapshot::compile(&document, &no_secrets).expect("compiles");
            assert_eq!((snapshot.warnings.len(), snapshot.tools.len()), (0, tools));
        }
    }
}
