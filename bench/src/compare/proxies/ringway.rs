//! Ringway's data plane from a snapshot document, as `ringway up` would write it.

use super::{Leg, Row, Surroundings};
use crate::compare::{
    failure::{Context, Result, write},
    work::{Era, Http},
};
use ringway_proto::snapshot::{
    Anonymous, ApiKey, Catalogue, Document, FORMAT, Gateway, HttpVersion, Interface, Role, Server, Timeouts,
};
use serde_json::{Value, json, value::RawValue};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::Command};

/// The API key that every client shows: the one of 32 zero bytes.
pub fn key() -> String {
    ringway_proto::key::format(&[0; 32])
}

/// SHA-256 of that key's text.
const KEY_HASH: &str = "sha256:7e4857b4b4f41d579e5302bece994a3d25de1c9a82ccdd6ebd2c9cfbb6d34777";
/// Connections a worker may hold: the 10,000 idle ones and the load's.
const CONNECTIONS: usize = 16_000;
/// Roles granted to the key, of those there are.
const GRANTED_MAX: usize = 8;

/// How much is in the document. Calls go to the first server.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Servers, all of them the one upstream.
    pub servers: usize,
    /// Tools of each, those that are called among them.
    pub tools_each: usize,
    /// Roles, each allowed the tools of one server.
    pub roles: usize,
}

/// What rows differ in. The default is everything on, as one would run it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// One line a request on stderr, which goes to a file.
    pub access_log: bool,
    /// API keys and roles; otherwise anonymous callers with the role.
    pub keys: bool,
    /// Two tools, `SEARCH_TOOLS` and `EXECUTE_TOOL`.
    pub search: bool,
    /// epoll instead of io_uring.
    pub epoll: bool,
    /// What else is in the document.
    pub fleet: Fleet,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            access_log: true,
            keys: true,
            search: false,
            epoll: false,
            // Enough that no table has just one entry.
            fleet: Fleet {
                servers: 3,
                tools_each: 11,
                roles: 3,
            },
        }
    }
}

/// Writes the document and gives the command.
pub fn command(
    row: &Row,
    options: &Options,
    around: &Surroundings<'_>,
    address: SocketAddr,
    admin: SocketAddr,
) -> Result<Command> {
    let (snapshot, keys) = (around.dir.join("snapshot.json"), around.dir.join("session-keys"));
    let document = document(row.up, options, around);
    write(
        &snapshot,
        &serde_json::to_string(&document).context("write a snapshot")?,
    )?;
    write(&keys, &format!("1 {}\n", "07".repeat(32)))?;
    let mut command = super::command(around, &around.built.gateway);
    command
        .arg("--snapshot")
        .arg(snapshot)
        .arg("--session-keys")
        .arg(keys);
    command.args(["--listen", &address.to_string(), "--admin", &admin.to_string()]);
    command.args(["--workers", &around.workers.to_string(), "--drain", "0"]);
    command.args(["--connections-per-worker", &CONNECTIONS.to_string()]);
    command.args(["--io", if options.epoll { "epoll" } else { "uring" }]);
    if row.down.tls {
        command.arg("--tls-certificate").arg(&around.identity.certificate);
        command.arg("--tls-key").arg(&around.identity.key);
    }
    let log = if options.access_log {
        "info"
    } else {
        "info,access=off"
    };
    command.env("RINGWAY_LOG", log);
    Ok(command)
}

/// A document of the options' fleet.
fn document(up: Leg, options: &Options, around: &Surroundings<'_>) -> Document {
    let fleet = options.fleet;
    let scheme = if up.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}/mcp", around.upstream);
    let ca = up.tls.then_some(&*around.identity.certificate);
    let name = |n: usize| {
        if n == 0 {
            "up".to_owned()
        } else {
            format!("other{n}")
        }
    };
    let servers: Vec<Server> = (0..fleet.servers)
        .map(|n| server(name(n), &url, up, ca, fleet.tools_each))
        .collect();
    let role = |n: usize| Role {
        name: format!("role{n}"),
        allow: vec![format!("{}__*", name(n % fleet.servers))],
    };
    let roles: Vec<Role> = (0..fleet.roles).map(role).collect();
    let granted: Vec<String> = roles.iter().take(GRANTED_MAX).map(|r| r.name.clone()).collect();
    let key = ApiKey {
        id: "bench".to_owned(),
        hash: KEY_HASH.to_owned(),
        tenant: "default".to_owned(),
        name: Some("bench".to_owned()),
        roles: granted.clone(),
        expires_at: None,
        interface: None,
    };
    Document {
        format: FORMAT,
        number: 1,
        gateway: Gateway {
            interface: if options.search {
                Interface::Search
            } else {
                Interface::List
            },
            ..Gateway::default()
        },
        servers,
        roles,
        keys: if options.keys { vec![key] } else { Vec::new() },
        anonymous: (!options.keys).then_some(Anonymous {
            roles: granted,
            allow_on_public_listeners: false,
        }),
    }
}

fn server(name: String, url: &str, up: Leg, ca: Option<&Path>, tools: usize) -> Server {
    Server {
        name,
        url: url.to_owned(),
        http: match up.http {
            Http::One => HttpVersion::Http1,
            Http::Two => HttpVersion::Http2,
        },
        ca_file: ca.map(|path| path.display().to_string()),
        headers: BTreeMap::new(),
        timeouts: Timeouts::default(),
        catalogue: Some(catalogue(up.era, tools)),
    }
}

fn catalogue(era: Era, tools: usize) -> Catalogue {
    let tool = |name: String| {
        raw(&json!({
            "name": name,
            "description": "Answers with text of a given size.",
            "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
        }))
    };
    let called = ["sized", "progress"].map(str::to_owned);
    let others = (called.len()..tools).map(|n| format!("tool{n}"));
    Catalogue {
        legacy_revision: (era == Era::Legacy).then(|| era.revision().to_owned()),
        modern: era == Era::Modern,
        capabilities: raw(&json!({"tools": {}})),
        server_info: Some(raw(&json!({"name": "upstream", "version": "1"}))),
        instructions: None,
        tools: others.chain(called).map(tool).collect(),
        resources: Vec::new(),
        resource_templates: Vec::new(),
        prompts: Vec::new(),
    }
}

fn raw(value: &Value) -> Box<RawValue> {
    // A value that was just built is JSON.
    serde_json::value::to_raw_value(value).unwrap_or_default()
}
