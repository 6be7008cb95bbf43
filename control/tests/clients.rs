//! Other people's clients, each holding the conversation of `peers/clients/steps.mjs` through the gateway: with one
//! server of its own era, with servers of the other era, and with several servers on the merged endpoint.
//!
//! A client says one JSON line a step; what each step must say is [`expected`], the same for every client and era.
//! Every test holds the conversation with the fixture directly first, so that a peer's fault is not put on us.
//!
//! A client opens its stream beside its next request, and an update before the stream stands reaches nobody. Between
//! eras and on `/mcp` the stream is one hop longer, so clients are `--patient` there: they provoke the update again.
//! That a subscription is not confirmed before it stands is held by `runtime/tests/mcp_streams.rs`.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod support;

use std::{collections::BTreeMap, process::Command};

use serde_json::{Value, json};
use support::{
    gateway::Gateway,
    peers::{Fixture, Node, Python, or_skip},
    say,
};

#[test]
fn typescript_v1() {
    everywhere(Client::Node("ts-v1.mjs", "default"));
}

#[test]
fn typescript_v2_by_default() {
    everywhere(Client::Node("ts-v2.mjs", "default"));
}

#[test]
fn typescript_v2_asking_first() {
    everywhere(Client::Node("ts-v2.mjs", "auto"));
}

#[test]
fn typescript_v2_modern() {
    everywhere(Client::Node("ts-v2.mjs", "2026-07-28"));
}

#[test]
fn python_asking_first() {
    everywhere(Client::Python("auto"));
}

#[test]
fn python_legacy() {
    everywhere(Client::Python("legacy"));
}

#[test]
fn python_modern() {
    everywhere(Client::Python("2026-07-28"));
}

#[test]
fn rust_by_default() {
    everywhere(Client::Rust("default"));
}

#[test]
fn rust_asking_first() {
    everywhere(Client::Rust("auto"));
}

#[test]
fn rust_modern() {
    everywhere(Client::Rust("2026-07-28"));
}

#[test]
fn inspector_legacy() {
    everywhere(Client::Node("inspector.mjs", "legacy"));
}

#[test]
fn inspector_modern() {
    everywhere(Client::Node("inspector.mjs", "modern"));
}

/// With the key that `up` makes, no client notices a difference, and no server ever sees the key: the step `view`
/// asks one what reached it.
#[test]
fn a_key_opens_the_gateway_and_goes_no_further() {
    let Some(peers) = peers() else { return };
    let server = peers.fixture.serve(&["--era", "both"]);
    let gateway = Gateway::up(&format!("servers: {{both: {{url: \"{}\"}}}}\n", server.url));
    let url = gateway.server("both");
    let header = format!(
        "Authorization: Bearer {}",
        gateway.key.as_deref().expect("up made a key")
    );
    for client in [
        Client::Node("ts-v1.mjs", "default"),
        Client::Python("auto"),
        Client::Rust("auto"),
    ] {
        converse(
            client,
            &peers,
            "with the key",
            &url,
            &["--fixture", "", "--header", &header],
        );
    }
    let refused = Client::Rust("auto")
        .command(&peers)
        .arg(&url)
        .output()
        .expect("the client starts");
    let said = String::from_utf8_lossy(&refused.stdout);
    assert!(
        said.contains(r#""ok":false,"step":"connect""#),
        "without the key: {said}"
    );
}

/// A client and its choice of era.
#[derive(Clone, Copy)]
enum Client {
    Node(&'static str, &'static str),
    Python(&'static str),
    Rust(&'static str),
}

impl Client {
    fn command(self, peers: &Peers) -> Command {
        let (mut command, mode) = match self {
            Client::Node(script, mode) => (peers.node.script(&format!("clients/{script}")), mode),
            Client::Python(mode) => (peers.python.script("clients/python.py"), mode),
            Client::Rust(mode) => (peers.fixture.client(), mode),
        };
        command.args(["--mode", mode]);
        command
    }

    /// Whether it opens without `initialize`, where the server allows.
    fn is_modern(self) -> bool {
        let (Client::Node(_, mode) | Client::Python(mode) | Client::Rust(mode)) = self;
        !matches!(mode, "default" | "legacy")
    }

    fn is_inspector(self) -> bool {
        matches!(self, Client::Node("inspector.mjs", _))
    }

    /// What the conversation consists of; the Inspector can hold only the plain part.
    fn steps(self, flags: &[&str]) -> Vec<&'static str> {
        let plain = self.is_inspector();
        let mut steps = vec!["list"];
        if !plain {
            steps.extend(["connect", "close"]);
        }
        if flags.contains(&"--fixture") {
            steps.extend(["call", "structured", "tool_error", "prompt", "read"]);
            if !plain {
                steps.extend(["unknown_tool", "header", "progress", "sampling"]);
                steps.extend(["elicitation", "two_rounds", "cancel", "watch", "view"]);
            }
        }
        if flags.contains(&"--everything") {
            steps.push("everything_call");
            if !plain {
                steps.extend(["everything_structured", "everything_progress"]);
                steps.extend(["everything_sampling", "everything_elicitation"]);
            }
        }
        steps
    }
}

struct Peers {
    node: Node,
    python: Python,
    fixture: Fixture,
}

fn peers() -> Option<Peers> {
    Some(Peers {
        node: or_skip(Node::find())?,
        python: or_skip(Python::find())?,
        fixture: or_skip(Fixture::build())?,
    })
}

fn everywhere(client: Client) {
    let Some(peers) = peers() else { return };
    let both = peers.fixture.serve(&["--era", "both"]);
    converse(client, &peers, "directly", &both.url, &["--fixture", ""]);

    let modern = peers.fixture.serve(&["--era", "modern"]);
    let legacy = peers.fixture.serve(&["--era", "legacy"]);
    let everything = peers.node.everything();
    let servers = [
        ("both", &both.url),
        ("modern", &modern.url),
        ("legacy", &legacy.url),
    ];

    let gateway = Gateway::open(&[servers.as_slice(), &[("everything", &everything.url)]].concat());
    // Each step of the Inspector starts a Node of its own, and it holds only the plain part: fewer places will do.
    let (alone, merged) = if client.is_inspector() {
        (0..1, 1..2)
    } else {
        (0..3, 1..3)
    };
    for (server, _) in &servers[alone] {
        let place = format!("through {server}");
        let own_era = *server == "both" || client.is_modern() == (*server == "modern");
        let flags = ["--fixture", "", "--patient"];
        converse(
            client,
            &peers,
            &place,
            &gateway.server(server),
            if own_era { &flags[..2] } else { &flags },
        );
    }
    converse(
        client,
        &peers,
        "through everything",
        &gateway.server("everything"),
        &["--everything", ""],
    );

    // Merged with a server of the other kind. One fixture at a time, because the conversation finds a resource by
    // the end of its URI, which all three share.
    for server in &servers[merged] {
        let gateway = Gateway::open(&[*server, ("everything", &everything.url)]);
        let prefix = format!("{}__", server.0);
        let flags = [
            "--fixture",
            prefix.as_str(),
            "--everything",
            "everything__",
            "--patient",
        ];
        converse(
            client,
            &peers,
            &format!("merged, {}", server.0),
            &gateway.merged(),
            &flags,
        );
    }
}

/// Holds the conversation and compares every line.
fn converse(client: Client, peers: &Peers, place: &str, url: &str, flags: &[&str]) {
    let output = client
        .command(peers)
        .arg(url)
        .args(flags)
        .output()
        .expect("the client starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: BTreeMap<String, Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|line| (line["step"].as_str().unwrap_or_default().to_owned(), line))
        .collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let steps = client.steps(flags);
    let outcome = |step: &&str| match lines.get(*step) {
        Some(line) => wrong(step, line),
        None => Some(format!("step {step} is missing")),
    };
    let wrong: Vec<String> = steps.iter().filter_map(outcome).collect();
    let all = wrong.join("\n");
    assert!(
        all.is_empty(),
        "{place}, {url}:\n{all}\nit said:\n{said}\n{stderr}"
    );
    say(format_args!("{place}: {} steps as expected", steps.len()));
}

/// What is wrong with a line, if anything is.
fn wrong(step: &str, line: &Value) -> Option<String> {
    let detail = &line["detail"];
    let right = match step {
        _ if line["ok"] != true => false,
        // What is listed depends on the place; the calls below show that it is the right list.
        "connect" | "close" => true,
        "list" => detail["tools"].as_array().is_some_and(|tools| !tools.is_empty()),
        "cancel" => detail["cancelled"] == 1 && detail["finished"] == 0,
        "watch" => {
            let difference = detail["difference"].as_array();
            let dynamic = |name: &Value| {
                name.as_str()
                    .is_some_and(|name| name.ends_with("test_dynamic_tool"))
            };
            detail["same"] == true && difference.is_some_and(|names| names.len() == 1 && dynamic(&names[0]))
        }
        // The server must never see the client's credential, and here there is none.
        "view" => detail["authorization"].is_null(),
        "everything_sampling" => says(
            detail,
            "heard: Resource trigger-sampling-request context: two plus two",
        ),
        "everything_elicitation" => says(detail, "User provided the requested information"),
        // Its values are the weather of the moment.
        "everything_structured" => detail["temperature"].is_number(),
        "elicitation" => says(detail, "action=accept") && says(detail, "ada@example.com"),
        _ => expected(step).is_some_and(|expected| same(&expected, detail)),
    };
    (!right).then(|| format!("step {step}: {line}"))
}

fn expected(step: &str) -> Option<Value> {
    Some(match step {
        "call" => json!({ "text": "hello" }),
        "structured" => json!({ "sum": 5 }),
        "tool_error" => json!({ "isError": true }),
        "unknown_tool" => json!({ "code": -32602 }),
        "header" => json!({ "text": "Region: eu-north" }),
        "prompt" => json!({ "text": "Prompt with arguments: arg1='one', arg2='two'" }),
        "read" => json!({ "text": "This is the content of the static text resource." }),
        "progress" => json!({ "seen": [0, 50, 100] }),
        "sampling" => json!({ "text": "LLM response: heard: two plus two" }),
        "two_rounds" => json!({ "text": "ada likes ada" }),
        "everything_call" => json!({ "text": "Echo: hello" }),
        "everything_progress" => json!({ "seen": [1, 2] }),
        _ => return None,
    })
}

fn says(detail: &Value, part: &str) -> bool {
    detail["text"].as_str().is_some_and(|text| text.contains(part))
}

/// Equal, where 5 and 5.0 are the same number: languages print them differently.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}
