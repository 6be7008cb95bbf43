//! The snapshot document: everything the data plane needs to serve, as one JSON value.
//!
//! Control builds it out of the configuration and the registry's catalogue; the data plane reads it from disk
//! or from the feed and compiles it (`ringway-core::snapshot`). Unknown fields are refused: a document written
//! by a newer control than this reader understands must not be served half-understood.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The format number this code writes and reads.
pub const FORMAT: u32 = 1;

/// One publishable state of the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Must equal [`FORMAT`].
    pub format: u32,
    /// Grows with every publication.
    pub number: u64,
    /// Behaviour of the gateway as a whole.
    #[serde(default)]
    pub gateway: Gateway,
    /// The registered MCP servers, in the order in which they are listed.
    pub servers: Vec<Server>,
    /// Named sets of rules.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// API keys, as hashes.
    #[serde(default)]
    pub keys: Vec<ApiKey>,
    /// What callers without a credential may do; absent means they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
}

/// Gateway-wide behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// How `/mcp` presents tools.
    pub interface: Interface,
    /// `auto` switches to search above this many visible tools.
    pub interface_threshold: u32,
    /// Origins (scheme://host[:port]) browsers may call from, beside loopback ones on loopback listeners.
    pub allowed_origins: Vec<String>,
    /// `Host` values accepted beside the listener's own addresses; `*` accepts any.
    pub allowed_hosts: Vec<String>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            interface: Interface::Auto,
            interface_threshold: 30,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}

/// How `/mcp` presents tools to a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// Every tool by name.
    List,
    /// Two tools, `SEARCH_TOOLS` and `EXECUTE_TOOL`.
    Search,
    /// `List` up to the threshold, `Search` above it.
    #[default]
    Auto,
}

/// One MCP server as the data plane reaches it: always HTTP.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `[a-z0-9][a-z0-9-]*`, at most 32 characters; the prefix of exposed names.
    pub name: String,
    /// `http://…`, `https://…` (with path), or `unix:/absolute/path.sock` (path `/mcp`).
    pub url: String,
    /// Which HTTP version to speak.
    #[serde(default)]
    pub http: HttpVersion,
    /// PEM file of authorities trusted for this server instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Static headers sent upstream. `${NAME}` reads the environment, `${file:/path}` a file, when compiled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Deadlines of one exchange.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// What the last probe found; absent until a probe has succeeded once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<Catalogue>,
}

/// HTTP version toward a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpVersion {
    /// ALPN decides over TLS; HTTP/1.1 in clear.
    #[default]
    Auto,
    /// HTTP/1.1 always.
    Http1,
    /// HTTP/2 always; prior knowledge in clear.
    Http2,
}

/// Deadlines toward a server, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Connect, TLS included.
    pub connect_ms: u32,
    /// From the last request byte to the response head.
    pub header_ms: u32,
    /// Between two pieces of a response body. SSE comments count as pieces.
    pub idle_ms: u32,
    /// One whole call.
    pub total_ms: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        // A server that answers with plain JSON sends its head with the answer, so a tool's whole running time
        // passes before it; agents' tools run for minutes.
        Self {
            connect_ms: 5_000,
            header_ms: 300_000,
            idle_ms: 300_000,
            total_ms: 1_800_000,
        }
    }
}

/// What a server offers, as its own wire bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Revision agreed by `initialize`, when the server speaks the legacy era.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy_revision: Option<String>,
    /// The server answers `server/discover` for 2026-07-28.
    #[serde(default)]
    pub modern: bool,
    /// The `capabilities` object of its initialize or discover result.
    pub capabilities: Box<RawValue>,
    /// The `serverInfo` object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<Box<RawValue>>,
    /// Its `instructions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Tool definitions, each exactly as listed.
    #[serde(default)]
    pub tools: Vec<Box<RawValue>>,
    /// Resource definitions.
    #[serde(default)]
    pub resources: Vec<Box<RawValue>>,
    /// Resource template definitions.
    #[serde(default)]
    pub resource_templates: Vec<Box<RawValue>>,
    /// Prompt definitions.
    #[serde(default)]
    pub prompts: Vec<Box<RawValue>>,
}

/// A named set of rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Unique name.
    pub name: String,
    /// Patterns over exposed names of tools and prompts; `*` stands for any run of characters. A server's
    /// resources are open to a role that has a pattern covering all of that server (`*` or `server__*`).
    pub allow: Vec<String>,
}

/// An API key's public half.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Stable id, shown in logs and records.
    pub id: String,
    /// `sha256:` and 64 hex digits of the whole key text.
    pub hash: String,
    /// The isolated customer this key belongs to.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// Who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Granted roles.
    pub roles: Vec<String>,
    /// Seconds since the epoch after which the key is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Overrides the gateway's interface mode for this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
}

/// Rights of callers that show no credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anonymous {
    /// Granted roles.
    pub roles: Vec<String>,
    /// Loopback listeners only, unless this is set.
    #[serde(default)]
    pub allow_on_public_listeners: bool,
}

/// The tenant of keys that name none.
pub fn default_tenant() -> String {
    "default".to_owned()
}
