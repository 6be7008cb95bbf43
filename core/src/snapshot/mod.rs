//! The snapshot: everything a call may ask, compiled out of one document and never changed after.
//!
//! [`Snapshot::compile`] is the only way to make one; the same code runs in control, to check a document before
//! it is published, and in the data plane, to serve from it. What the operator wrote must be right: any finding
//! there refuses the whole document, and the old snapshot stays. What a server told our probe is mended or left
//! out with a warning ([`Snapshot::warnings`]), because one server's mistake must not stop the others.
//!
//! Indexes ([`ToolIndex`], …) mean something in the snapshot they came from only. One call holds one snapshot
//! from its first line to its last (DESIGN invariant 4); a [`Principal`] remembers its snapshot, and asking
//! another one with it finds that nothing is permitted.

mod address;
mod compile;
mod definition;
mod header_params;
#[cfg(test)]
mod tests;

pub use address::{Address, Transport};
pub use compile::Secrets;
pub(crate) use compile::head_of;
pub(crate) use definition::one_line;
pub use header_params::{HeaderParam, ParamKind, value as param_value};

use crate::{authenticate::Keys, authorize::Permits, search, secret::Secret, uri_template::UriTemplate};
use bytes::Bytes;
use foldhash::HashMap;
use ringway_proto::{
    json::Span,
    revision::{Era, Revision},
    snapshot::{Gateway, HttpVersion, Interface, Timeouts},
};
use std::{fmt, ops::Range, sync::Arc};

/// A server's place in [`Snapshot::servers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIndex(pub u16);

/// A tool's place in [`Snapshot::tools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolIndex(pub u32);

/// A prompt's place in [`Snapshot::prompts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromptIndex(pub u32);

/// A permit set's place in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PermitsIndex(pub(crate) u32);

impl ServerIndex {
    /// As a subscript.
    pub fn at(self) -> usize {
        usize::from(self.0)
    }
}

impl ToolIndex {
    /// As a subscript.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

impl PromptIndex {
    /// As a subscript.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// Which endpoint a caller speaks to, and so which names it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `/mcp`: every visible server, exposed names.
    Merged,
    /// `/servers/{name}/mcp`: one server, its own names.
    Server(ServerIndex),
}

/// One thing wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: `servers[2].url`.
    pub path: String,
    /// What.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The live compiled set. Immutable, shared by all workers.
#[derive(Debug)]
pub struct Snapshot {
    /// The document's number.
    pub number: u64,
    /// Gateway-wide behaviour.
    pub gateway: Gateway,
    /// In the order in which they are listed.
    pub servers: Vec<Server>,
    /// By server, in each server's own order.
    pub tools: Vec<Tool>,
    /// By server, in each server's own order.
    pub prompts: Vec<Prompt>,
    /// By server, in each server's own order.
    pub resources: Vec<Resource>,
    /// By server, in each server's own order.
    pub templates: Vec<Template>,
    /// What was mended or left out of catalogues.
    pub warnings: Vec<Finding>,
    server_by_name: HashMap<Box<str>, ServerIndex>,
    tool_by_exposed: HashMap<Box<[u8]>, ToolIndex>,
    prompt_by_exposed: HashMap<Box<[u8]>, PromptIndex>,
    /// Every resource that offers a URI, in order of servers.
    pub(crate) resources_by_uri: HashMap<Box<str>, Vec<u32>>,
    permits: Vec<Permits>,
    no_permits: Permits,
    pub(crate) keys: Keys,
    pub(crate) search: search::Index,
}

/// A registered MCP server.
#[derive(Debug)]
pub struct Server {
    /// Prefix of exposed names, and the name in `/servers/{name}/mcp`.
    pub name: Box<str>,
    /// As written.
    pub url: Box<str>,
    /// As read.
    pub address: Address,
    /// Which HTTP version to speak.
    pub http: HttpVersion,
    /// Authorities trusted instead of the public ones.
    pub ca_file: Option<Box<str>>,
    /// Deadlines of one exchange.
    pub timeouts: Timeouts,
    /// Sent with each request; names in lower case.
    pub headers: Vec<(Bytes, Secret)>,
    /// What connections may be shared by: a hash over URL, HTTP version, headers and authorities.
    pub identity: u64,
    /// The revision agreed by `initialize`, when it speaks the legacy era.
    pub revision_legacy: Option<Revision>,
    /// It speaks 2026-07-28.
    pub modern: bool,
    /// A probe has found it and it speaks at least one revision that we do.
    pub ready: bool,
    /// Its `capabilities` as it sent them; `{}` before the first probe.
    pub capabilities: Bytes,
    /// The same, read.
    pub features: Features,
    /// Its `serverInfo` as it sent it.
    pub server_info: Option<Bytes>,
    /// Its `instructions`.
    pub instructions: Option<Box<str>>,
    /// Its places in [`Snapshot::tools`].
    pub tools: Range<u32>,
    /// Its places in [`Snapshot::prompts`].
    pub prompts: Range<u32>,
    /// Its places in [`Snapshot::resources`].
    pub resources: Range<u32>,
    /// Its places in [`Snapshot::templates`].
    pub templates: Range<u32>,
    tool_by_name: HashMap<Box<[u8]>, ToolIndex>,
    prompt_by_name: HashMap<Box<[u8]>, PromptIndex>,
}

/// The server capabilities that Ringway passes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the capabilities")]
pub struct Features {
    pub tools: bool,
    pub prompts: bool,
    pub resources: bool,
    pub resources_subscribe: bool,
    pub completions: bool,
    pub logging: bool,
}

/// A server's tool.
#[derive(Debug)]
pub struct Tool {
    /// Whose it is.
    pub server: ServerIndex,
    /// The name its server knows.
    pub name: Box<str>,
    /// The name clients of `/mcp` see.
    pub exposed: Box<str>,
    /// Its definition, as the server sent it apart from what had to be mended.
    pub definition: Bytes,
    /// The definition under the exposed name.
    pub exposed_definition: Bytes,
    /// Both once more, for clients of the legacy era, when those cannot read `outputSchema`.
    legacy: Option<Box<(Bytes, Bytes)>>,
    /// Arguments mirrored into headers, toward modern servers and from modern clients.
    pub header_params: Vec<HeaderParam>,
    /// Whether modern clients may be shown it: false when its `x-mcp-header` annotations are unlawful.
    pub modern_listed: bool,
    pub(crate) digest: ItemDigest,
}

/// A server's prompt.
#[derive(Debug)]
pub struct Prompt {
    /// Whose it is.
    pub server: ServerIndex,
    /// The name its server knows.
    pub name: Box<str>,
    /// The name clients of `/mcp` see.
    pub exposed: Box<str>,
    /// Its definition.
    pub definition: Bytes,
    /// The definition under the exposed name.
    pub exposed_definition: Bytes,
    pub(crate) digest: ItemDigest,
}

/// A server's resource.
#[derive(Debug)]
pub struct Resource {
    /// Whose it is.
    pub server: ServerIndex,
    /// As its server knows it.
    pub uri: Box<str>,
    /// Its definition.
    pub definition: Bytes,
    pub(crate) uri_span: Span,
    pub(crate) digest: ItemDigest,
}

/// A server's resource template.
#[derive(Debug)]
pub struct Template {
    /// Whose it is.
    pub server: ServerIndex,
    /// As its server knows it.
    pub text: Box<str>,
    /// Read for matching; `None` when it cannot be read, and then it is listed but routes nothing.
    pub template: Option<UriTemplate>,
    /// Its definition.
    pub definition: Bytes,
    pub(crate) uri_span: Span,
    pub(crate) digest: ItemDigest,
}

/// Half a SHA-256 of a definition, server and name.
pub(crate) type ItemDigest = [u8; 16];

/// Who a credential proved, in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Stable id of the credential, for records and sessions; `anonymous` when none was shown.
    pub credential: Box<str>,
    /// The isolated customer.
    pub tenant: Box<str>,
    /// Who holds the credential.
    pub name: Option<Box<str>>,
    /// Overrides the gateway's interface mode.
    pub interface: Option<Interface>,
    /// Seconds since the epoch after which the credential is refused.
    pub expires_at_s: Option<u64>,
    pub(crate) permits: PermitsIndex,
    pub(crate) snapshot: u64,
}

/// The credential id of callers that show none.
pub const ANONYMOUS: &str = "anonymous";

impl Snapshot {
    /// The server of this name.
    pub fn server(&self, name: &str) -> Option<ServerIndex> {
        self.server_by_name.get(name).copied()
    }

    /// The tool under this exposed name.
    pub fn tool(&self, exposed: &[u8]) -> Option<ToolIndex> {
        self.tool_by_exposed.get(exposed).copied()
    }

    /// The tool its server knows under this name.
    pub fn tool_of(&self, server: ServerIndex, name: &[u8]) -> Option<ToolIndex> {
        self.servers.get(server.at())?.tool_by_name.get(name).copied()
    }

    /// The prompt under this exposed name.
    pub fn prompt(&self, exposed: &[u8]) -> Option<PromptIndex> {
        self.prompt_by_exposed.get(exposed).copied()
    }

    /// The prompt its server knows under this name.
    pub fn prompt_of(&self, server: ServerIndex, name: &[u8]) -> Option<PromptIndex> {
        self.servers.get(server.at())?.prompt_by_name.get(name).copied()
    }

    /// What `principal` may see and call here. A principal of another snapshot may nothing.
    pub fn permits(&self, principal: &Principal) -> &Permits {
        let own = principal.snapshot == self.number;
        own.then(|| self.permits.get(principal.permits.0 as usize))
            .flatten()
            .unwrap_or(&self.no_permits)
    }

    /// The principal of a credential id, for streams that outlive a snapshot: who is this now? `None` when the
    /// credential is gone or has expired by `now_s`.
    pub fn principal_of(&self, credential: &str, now_s: u64) -> Option<&Arc<Principal>> {
        self.keys.by_id(credential, now_s)
    }

    /// The name by which a caller in `scope` knows a tool.
    pub fn shown_tool_name(&self, scope: Scope, tool: ToolIndex) -> &str {
        let tool = &self.tools[tool.at()];
        if scope == Scope::Merged {
            &tool.exposed
        } else {
            &tool.name
        }
    }

    /// The name by which a caller in `scope` knows a prompt.
    pub fn shown_prompt_name(&self, scope: Scope, prompt: PromptIndex) -> &str {
        let prompt = &self.prompts[prompt.at()];
        if scope == Scope::Merged {
            &prompt.exposed
        } else {
            &prompt.name
        }
    }
}

impl Tool {
    /// The definition to list, or `None` where clients of `era` must not be shown this tool.
    pub fn listed(&self, merged: bool, era: Era) -> Option<&Bytes> {
        match (era, &self.legacy) {
            (Era::Modern, _) if !self.modern_listed => None,
            (Era::Legacy, Some(legacy)) => Some(if merged { &legacy.1 } else { &legacy.0 }),
            _ => Some(if merged {
                &self.exposed_definition
            } else {
                &self.definition
            }),
        }
    }
}

impl Server {
    /// Whether it has resources or templates of them.
    pub fn has_resources(&self) -> bool {
        self.features.resources || !self.resources.is_empty() || !self.templates.is_empty()
    }
}
