//! What a document becomes, and what is wrong with those that become nothing.

use super::*;
use crate::fixture::{compile, document, scope_of, server, snapshot, two_servers};
use ringway_proto::revision::Revision;
use serde_json::{Value, json};

fn findings(document: Value) -> Vec<String> {
    compile(document)
        .expect_err("findings")
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn warnings(snapshot: &Snapshot) -> Vec<String> {
    snapshot.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn names_lead_to_tools_both_ways() {
    let s = two_servers();
    let tool = s.tool(b"fs__read_file").unwrap();
    assert_eq!(&*s.tools[tool.at()].name, "read_file");
    let Scope::Server(git) = scope_of(&s, "git") else {
        unreachable!()
    };
    let dotted = s.tool_of(git, b"commit.sign").unwrap();
    let exposed = &s.tools[dotted.at()].exposed;
    assert!(exposed.starts_with("git__commit_sign_"), "{exposed}");
    assert_eq!(s.tool(exposed.as_bytes()), Some(dotted));
    assert_eq!(s.tool(b"read_file"), None);
    assert_eq!(s.tool_of(git, b"read_file"), None);
    assert_eq!(s.servers[git.at()].tools, 2..4);
    assert_eq!(s.servers[git.at()].prompts, 1..3);
}

#[test]
fn only_the_name_differs_in_an_exposed_definition() {
    let mut fs = server("fs", &[], &[]);
    fs["catalogue"]["tools"] = json!([{"zeta": {"name": "inner"}, "name": "re\u{e9}ad", "inputSchema": {"type": "object", "x": 1.5e3}}]);
    let s = snapshot(document(vec![fs]));
    let tool = &s.tools[0];
    let (own, exposed): (Value, Value) = (
        serde_json::from_slice(&tool.definition).unwrap(),
        serde_json::from_slice(&tool.exposed_definition).unwrap(),
    );
    assert_eq!(own["name"], "re\u{e9}ad");
    assert_eq!(exposed["name"], *tool.exposed);
    assert_eq!(exposed["zeta"]["name"], "inner");
}

#[test]
fn a_server_without_a_catalogue_is_not_ready() {
    let s = snapshot(document(vec![
        json!({"name": "new", "url": "unix:/run/new.sock"}),
        server("fs", &["a"], &[]),
    ]));
    assert!(!s.servers[0].ready && s.servers[1].ready);
    assert_eq!(s.servers[1].revision_legacy, Some(Revision::V2025_11_25));
    assert!(s.servers[1].features.tools && !s.servers[1].features.resources);
}

#[test]
fn secrets_are_read_and_never_shown() {
    let mut fs = server("fs", &[], &[]);
    fs["headers"] = json!({"Authorization": "Bearer ${TOKEN}", "X-Literal": "a$${b}"});
    let s = snapshot(document(vec![fs]));
    let header = |n: &str| {
        s.servers[0]
            .headers
            .iter()
            .find(|(k, _)| k == n)
            .map(|(_, v)| v.expose().clone())
            .unwrap()
    };
    assert_eq!(header("authorization"), "Bearer s3cret");
    assert_eq!(header("x-literal"), "a${b}");
    assert!(!format!("{s:?}").contains("s3cret"));
}

#[test]
fn connections_are_shared_by_equal_identities_only() {
    let identity = |edit: &dyn Fn(&mut Value)| {
        let mut fs = server("fs", &[], &[]);
        fs["headers"] = json!({"a": "1", "b": "2"});
        edit(&mut fs);
        snapshot(document(vec![fs])).servers[0].identity
    };
    let plain = identity(&|_| {});
    assert_eq!(plain, identity(&|fs| fs["timeouts"] = json!({"total_ms": 9})));
    assert_ne!(plain, identity(&|fs| fs["headers"] = json!({"a": "1", "b": "3"})));
    assert_ne!(plain, identity(&|fs| fs["headers"] = json!({"a": "1b2"})));
    assert_ne!(plain, identity(&|fs| fs["url"] = json!("http://fs.test/other")));
    assert_ne!(plain, identity(&|fs| fs["ca_file"] = json!("/ca.pem")));
    assert_ne!(plain, identity(&|fs| fs["http"] = json!("http2")));
}

#[test]
fn every_finding_is_reported_at_once() {
    let mut bad = document(vec![
        json!({"name": "A", "url": "ftp://x", "timeouts": {"connect_ms": 0}}),
        json!({"name": "b", "url": "http://b/", "headers": {"Host": "x", "c d": "y", "e": "${NOPE}", "f": "${EMPTY}", "g": "${open"}}),
        json!({"name": "b", "url": "http://b/", "headers": {"X": "1", "x": "2", "Mcp-Name": "z"}}),
    ]);
    bad["roles"] = json!([{"name": "r", "allow": ["a.b"]}, {"name": "r", "allow": []}]);
    bad["keys"] = json!([
        {"id": "k", "hash": "md5:00", "roles": ["r"]},
        {"id": "anonymous", "hash": format!("sha256:{}", "0".repeat(64)), "roles": ["nobody"]},
    ]);
    bad["gateway"] = json!({"allowed_origins": ["https://a/b"], "allowed_hosts": ["*.x"]});
    bad["anonymous"] = json!({"roles": ["ghost"]});
    let found = findings(bad);
    let paths = [
        "gateway.allowed_origins[0]",
        "gateway.allowed_hosts[0]",
        "servers[0].name",
        "servers[0].url",
        "servers[0].timeouts",
        "servers[1].headers.Host",
        "servers[1].headers.c d",
        "servers[1].headers.e",
        "servers[1].headers.f",
        "servers[1].headers.g",
        "servers[2].name",
        "servers[2].headers.x",
        "servers[2].headers.Mcp-Name",
        "roles[0].allow[0]",
        "roles[1].name",
        "keys[0].hash",
        "keys[1].id",
        "keys[1].roles[0]",
        "anonymous.roles[0]",
    ];
    for path in paths {
        assert!(
            found.iter().any(|f| f.starts_with(&format!("{path}:"))),
            "{path} is not in {found:#?}"
        );
    }
    assert_eq!(found.len(), paths.len(), "{found:#?}");
}

#[test]
fn another_format_is_refused_whole() {
    let mut newer = document(vec![]);
    newer["format"] = json!(2);
    assert_eq!(findings(newer).len(), 1);
}

#[test]
fn a_faulty_definition_costs_only_itself() {
    let mut fs = server("fs", &["good"], &[]);
    let tools = fs["catalogue"]["tools"].as_array_mut().unwrap();
    tools.push(json!({"name": "bad", "inputSchema": []}));
    tools.push(json!({"name": "good", "description": "again", "inputSchema": {"type": "object"}}));
    tools.push(json!({"name": "mirrored", "inputSchema": {"type": "object", "x-mcp-header": "A"}}));
    let s = snapshot(document(vec![fs]));
    assert_eq!(
        s.tools.iter().map(|t| &*t.name).collect::<Vec<_>>(),
        ["good", "mirrored"]
    );
    assert_eq!(
        &*s.tools[0].exposed_definition,
        br#"{"description":"does good","inputSchema":{"type":"object"},"name":"fs__good"}"#
    );
    assert_eq!(
        s.tools[1].listed(true, ringway_proto::revision::Era::Modern),
        None
    );
    assert!(
        s.tools[1]
            .listed(true, ringway_proto::revision::Era::Legacy)
            .is_some()
    );
    assert_eq!(warnings(&s).len(), 3, "{:#?}", warnings(&s));
}

#[test]
fn the_later_of_two_equal_exposed_names_is_not_listed() {
    let dotted = crate::names::exposed("fs", "read.file");
    let crafted = dotted.strip_prefix("fs__").unwrap().to_owned();
    let s = snapshot(document(vec![server("fs", &["read.file", &crafted], &[])]));
    assert_eq!(s.tools.len(), 1);
    assert_eq!(
        &*s.tools[s.tool(dotted.as_bytes()).unwrap().at()].name,
        "read.file"
    );
    assert!(
        warnings(&s)[0].contains("is the name of \"read.file\" already"),
        "{:?}",
        warnings(&s)
    );
}

#[test]
fn no_server_offers_resources_in_anothers_name() {
    let mut a = server("a", &[], &[]);
    a["catalogue"]["resources"] =
        json!([{"uri": "ringway+b:x:1", "name": "x"}, {"uri": "ringway+elsewhere:x:1", "name": "y"}]);
    a["catalogue"]["resource_templates"] = json!([{"uriTemplate": "ringway+b:{+x}", "name": "x"}]);
    let s = snapshot(document(vec![a, server("b", &[], &[])]));
    assert_eq!(s.resources.len(), 1);
    assert_eq!(&*s.resources[0].uri, "ringway+elsewhere:x:1");
    assert_eq!(s.templates.len(), 0);
}

/// Ten thousand tools of half a kilobyte. The time is printed, never asserted.
#[test]
fn ten_thousand_tools_compile() {
    let servers = (0..20).map(|s| {
        let mut server = server(&format!("server{s}"), &[], &[]);
        let tool = |t: usize| {
            let properties: serde_json::Map<_, _> = (0..3)
                .map(|p| (format!("argument_{p}"), json!({"type": "string", "description": "a value that the tool uses to do what it does"})))
                .collect();
            json!({"name": format!("tool_{t}"), "description": format!("Does thing {t} of many, with care. ").repeat(3),
                   "inputSchema": {"type": "object", "properties": properties, "required": ["argument_0"]}})
        };
        server["catalogue"]["tools"] = (0..500).map(tool).collect();
        server
    });
    let text = document(servers.collect()).to_string();
    let document: ringway_proto::snapshot::Document = serde_json::from_str(&text).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "a figure for the reader; nothing depends on it"
    )]
    let began = std::time::Instant::now();
    let s = Snapshot::compile(&document, &|_| Err(String::new())).unwrap();
    println!(
        "compiled {} tools, {} bytes of document, in {:?}",
        s.tools.len(),
        text.len(),
        began.elapsed()
    );
    assert_eq!(s.tools.len(), 10_000);
    assert!(s.tool(b"server19__tool_499").is_some());
}
