//! The JSON Schema of `ringway.yaml`, for editors and for anybody's pipeline.
//!
//! The types here mirror the file and exist for their schema alone: reading is done by hand (`reader.rs`),
//! because a derived reader stops at the first mistake. Two tests hold the two together: every map has the same
//! keys here and there, and every example passes both. `deploy/ringway.schema.json` is the generated text;
//! `RINGWAY_BLESS=1 cargo test -p ringway-control schema` writes it anew.
//!
//! The comments on fields are what an editor shows while one types.
#![expect(dead_code, reason = "types that exist for their schema")]

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use std::collections::BTreeMap;

/// The JSON Schema of `ringway.yaml` (draft 2020-12).
pub fn schema() -> Schema {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<File>()
}

/// Configuration of the Ringway gateway. Keys beginning with `x-` are the file's own, a place for anchors.
#[derive(JsonSchema)]
#[schemars(title = "ringway.yaml", deny_unknown_fields, extend("patternProperties" = {"^x-": true}))]
struct File {
    /// This schema, for editors.
    #[schemars(rename = "$schema")]
    schema: Option<String>,
    /// Where clients connect; `127.0.0.1:8808` unless said otherwise. Read at start.
    listen: Option<Listen>,
    /// Address of `/livez`, `/readyz` and `/metrics`; `127.0.0.1:8809` unless said otherwise. `off` disables it. Read at start.
    admin: Option<Admin>,
    /// Behaviour of the gateway as a whole.
    gateway: Option<Gateway>,
    /// The MCP servers by name. A server's name is the prefix of its tools: `git__log`.
    #[schemars(extend("propertyNames" = {"pattern": "^[a-z0-9][a-z0-9-]{0,31}$"}))]
    servers: BTreeMap<String, Server>,
    /// Named sets of rules.
    #[schemars(extend("propertyNames" = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}))]
    roles: Option<BTreeMap<String, Role>>,
    /// API keys, as hashes. `ringway keys create` keeps keys outside this file.
    keys: Option<Vec<Key>>,
    /// What callers without a key may do. Absent: they are refused.
    anonymous: Option<Anonymous>,
    /// Threads of the data plane: `auto` is one for each core. Read at start.
    workers: Option<Workers>,
    /// Logging. Read at start.
    log: Option<Log>,
    /// Bounds. Read at start.
    limits: Option<Limits>,
    /// Where state is kept: keys, the last good snapshot. Read at start.
    state_dir: Option<String>,
    /// How long calls under way may take to end after the order to stop; `30s` unless said otherwise. Read at start.
    drain: Option<Duration>,
}

/// One address, or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Listen {
    One(Listener),
    Several(Vec<Listener>),
}

/// An address and port, in clear or with TLS.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Listener {
    Address(Address),
    Tls(TlsListener),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TlsListener {
    /// The address and port.
    address: Address,
    /// Present for HTTPS.
    tls: Option<Tls>,
}

/// PEM files.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Tls {
    /// The certificate, followed by what leads to its authority.
    certificate: String,
    /// Its private key.
    key: String,
}

/// An IP address and a port: `127.0.0.1:8808`, `[::]:8808`, `localhost:8808`.
#[derive(JsonSchema)]
#[schemars(extend("pattern" = r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+|localhost):[0-9]{1,5}$"))]
struct Address(String);

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Admin {
    Off(Off),
    /// YAML 1.1 reads `off` as `false`.
    #[schemars(extend("const" = false))]
    False(bool),
    Address(Address),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Off {
    Off,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Gateway {
    /// How tools are presented: every one by name, by search, or by search above the threshold.
    interface: Option<Interface>,
    /// `auto` switches to search above this many visible tools; 30 unless said otherwise.
    interface_threshold: Option<u32>,
    /// Origins that browsers may call from, beside loopback ones on loopback listeners: `https://app.example`.
    allowed_origins: Option<Vec<String>>,
    /// `Host` values accepted beside the listener's own addresses; `*` accepts any.
    allowed_hosts: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Interface {
    /// Every tool by name.
    List,
    /// Two tools, `SEARCH_TOOLS` and `EXECUTE_TOOL`.
    Search,
    /// `list` up to the threshold, `search` above it.
    Auto,
}

/// One MCP server: a program (`command`, `npx`, `uvx`) or an address (`url`, `sse`).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [
    {"required": ["command"]}, {"required": ["npx"]}, {"required": ["uvx"]}, {"required": ["url"]}, {"required": ["sse"]},
]))]
struct Server {
    /// A program that speaks MCP over stdio: a name in `PATH`, or a path.
    command: Option<String>,
    /// A package of the npm registry that speaks MCP over stdio.
    npx: Option<Package>,
    /// A package of the Python index that speaks MCP over stdio.
    uvx: Option<Package>,
    /// Address of a Streamable HTTP server: `https://host/path`, or `unix:/path.sock`. References are read.
    url: Option<String>,
    /// Address of the event stream of a legacy HTTP+SSE server. References are read.
    sse: Option<String>,
    /// The package's exact version.
    version: Option<Text>,
    /// The program's arguments. References are read.
    args: Option<Vec<Text>>,
    /// The program's environment, beside the little that every server inherits. References are read.
    #[schemars(extend("propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}))]
    env: Option<BTreeMap<String, Text>>,
    /// The program's working directory.
    cwd: Option<String>,
    /// Who shares a process: all share one (`shared`, unless said otherwise), or each session has its own.
    sharing: Option<Sharing>,
    /// An idle process is ended after this long; `10m` unless said otherwise. `never` keeps it.
    idle_stop: Option<Duration>,
    /// Headers sent with every request. References are read.
    headers: Option<BTreeMap<String, Text>>,
    /// HTTP version; `auto` lets TLS decide and speaks HTTP/1.1 in clear.
    http: Option<HttpVersion>,
    /// PEM file of authorities trusted for this server instead of the public ones.
    ca_file: Option<String>,
    /// Deadlines of one exchange.
    timeouts: Option<Timeouts>,
    /// True leaves the server out.
    disabled: Option<bool>,
}

/// A package by name, `name@version`, or with its parts.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Package {
    Name(String),
    Parts(PackageParts),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PackageParts {
    /// The package's name.
    package: String,
    /// Its exact version.
    version: Option<Text>,
    /// The program inside, when it is not called like the package.
    run: Option<String>,
}

/// Text; numbers and truth values are taken as they are written.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Text {
    Written(String),
    Number(f64),
    Truth(bool),
}

/// A number and a unit: `250ms`, `5s`, `2m`, `1h30m`, `7d`; `never` where a key allows it.
#[derive(JsonSchema)]
#[schemars(extend("pattern" = "^(([0-9]+(d|h|m|s|ms))+|never)$"))]
struct Duration(String);

/// Bytes, or a number and a unit: `512KiB`, `4MiB`, `1GB`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Size {
    Bytes(u64),
    #[schemars(extend("pattern" = "^[0-9]+ ?(B|KiB|MiB|GiB|KB|MB|GB)?$"))]
    Text(String),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Sharing {
    /// Each upstream session has a process of its own.
    Session,
    /// All callers share one process, which cannot ask their clients for anything.
    Shared,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum HttpVersion {
    Auto,
    Http1,
    Http2,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Timeouts {
    /// Connect, TLS included; `5s` unless said otherwise.
    connect: Option<Duration>,
    /// From the last byte of the request to the head of the response, which may come with the answer; `5m` unless said otherwise.
    header: Option<Duration>,
    /// Between two pieces of a response; `5m` unless said otherwise.
    idle: Option<Duration>,
    /// One whole call; `30m` unless said otherwise.
    total: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Role {
    /// Patterns over exposed names (`server__tool`); `*` stands for any run of characters.
    allow: Vec<Pattern>,
}

#[derive(JsonSchema)]
#[schemars(extend("pattern" = r"^[A-Za-z0-9_*-]{1,128}$"))]
struct Pattern(String);

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Key {
    /// Stable id, shown in logs and records.
    id: Text,
    /// `sha256:` and 64 hex digits, as `ringway keys create --json` prints them.
    #[schemars(extend("pattern" = "^sha256:[0-9a-f]{64}$"))]
    hash: String,
    /// Who holds it.
    name: Option<Text>,
    /// The isolated customer it belongs to; `default` unless said otherwise.
    tenant: Option<Text>,
    /// Granted roles.
    roles: Vec<Text>,
    /// Refused from then on: `2027-01-01T00:00:00Z`.
    expires: Option<String>,
    /// Overrides the gateway's interface for this key.
    interface: Option<Interface>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Anonymous {
    /// Granted roles.
    roles: Vec<Text>,
    /// Callers without a key are served on loopback listeners only, unless this is true.
    allow_on_public_listeners: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Workers {
    Auto(Auto),
    #[schemars(extend("minimum" = 1))]
    Count(u32),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Auto {
    Auto,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Log {
    /// Lines for people, or one JSON object each.
    format: Option<LogFormat>,
    /// The least important level that is written; `info` unless said otherwise.
    level: Option<LogLevel>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum LogFormat {
    Human,
    Json,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// One request body; `4MiB` unless said otherwise.
    body: Option<Size>,
    /// One reply that has to be held whole; `16MiB` unless said otherwise.
    reply: Option<Size>,
    /// How long a session of an older client may be used; `7d` unless said otherwise.
    session: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::super::{access, local, read, server, settings};
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn schema_and_reader_know_the_same_keys() {
        let schema = serde_json::to_value(schema()).unwrap();
        let of = |object: &serde_json::Value| -> BTreeSet<String> {
            object["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        let set = |keys: &[&str]| -> BTreeSet<String> { keys.iter().map(|key| (*key).to_owned()).collect() };
        assert_eq!(of(&schema), set(read::ROOT_KEYS));
        for (name, keys) in [
            ("TlsListener", settings::LISTENER_KEYS),
            ("Tls", settings::TLS_KEYS),
            ("Gateway", settings::GATEWAY_KEYS),
            ("Log", settings::LOG_KEYS),
            ("Limits", settings::LIMIT_KEYS),
            ("Server", server::SERVER_KEYS),
            ("PackageParts", local::PACKAGE_KEYS),
            ("Timeouts", server::TIMEOUT_KEYS),
            ("Role", access::ROLE_KEYS),
            ("Key", access::KEY_KEYS),
            ("Anonymous", access::ANONYMOUS_KEYS),
        ] {
            assert_eq!(of(&schema["$defs"][name]), set(keys), "{name}");
        }
    }

    /// Whether objects keep their order or are sorted is a feature of serde_json that any crate may switch on.
    fn sorted(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(map) => {
                let map: BTreeMap<_, _> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
                map.into_iter().collect()
            }
            serde_json::Value::Array(items) => items.into_iter().map(sorted).collect(),
            other => other,
        }
    }

    #[test]
    fn schema_in_deploy_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/ringway.schema.json");
        let text = format!("{:#}\n", sorted(serde_json::to_value(schema()).unwrap()));
        if std::env::var_os("RINGWAY_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == text,
            "deploy/ringway.schema.json is old; write it anew with: RINGWAY_BLESS=1 cargo test -p ringway-control schema"
        );
    }
}
