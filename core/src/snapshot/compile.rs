//! From document to snapshot. Reads everything, reports everything, and only then decides.

use super::{
    Address, Features, Finding, ItemDigest, PermitsIndex, Prompt, PromptIndex, Resource, Server, ServerIndex,
    Snapshot, Template, Tool, ToolIndex, definition, header_params,
};
use crate::{
    authenticate::Keys,
    authorize::{Pattern, Permits},
    limits::{INSTRUCTIONS_BYTES_MAX, ITEMS_MAX, SERVERS_MAX, TEMPLATES_MAX},
    names, resolve, search,
    secret::Secret,
    uri_template::UriTemplate,
};
use bytes::Bytes;
use ring::digest::{Context, SHA256};
use ringway_proto::{
    json::{self, Kind},
    revision::{Era, Revision},
    snapshot::{self as document, Document, FORMAT},
};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap, HashSet};

/// How a secret reference is read: `NAME` from the environment, `file:/path` from a file.
pub type Secrets<'s> = &'s dyn Fn(&str) -> Result<String, String>;

impl Snapshot {
    /// Compiles `document`, or says everything that is wrong with it.
    ///
    /// `secrets` gets what stands between `${` and `}` in header values; it is the caller's because reading the
    /// environment or a file is I/O.
    pub fn compile(document: &Document, secrets: Secrets<'_>) -> Result<Self, Vec<Finding>> {
        if document.format != FORMAT {
            let message = format!("this gateway reads format {FORMAT}, not {}", document.format);
            return Err(vec![Finding {
                path: "format".to_owned(),
                message,
            }]);
        }
        let mut build = Build {
            findings: Vec::new(),
            snapshot: empty(document),
            known: HashSet::new(),
        };
        build.gateway(&document.gateway);
        build.servers(&document.servers, secrets);
        build.rights(document);
        if build.findings.is_empty() {
            build.snapshot.search = search::Index::build(&build.snapshot.servers, &build.snapshot.tools);
            Ok(build.snapshot)
        } else {
            Err(build.findings)
        }
    }
}

fn empty(document: &Document) -> Snapshot {
    Snapshot {
        number: document.number,
        gateway: document.gateway.clone(),
        servers: Vec::new(),
        tools: Vec::new(),
        prompts: Vec::new(),
        resources: Vec::new(),
        templates: Vec::new(),
        warnings: Vec::new(),
        server_by_name: HashMap::new(),
        tool_by_exposed: HashMap::new(),
        prompt_by_exposed: HashMap::new(),
        resources_by_uri: HashMap::new(),
        permits: Vec::new(),
        no_permits: Permits::default(),
        keys: Keys::default(),
        search: search::Index::default(),
    }
}

struct Build<'d> {
    findings: Vec<Finding>,
    snapshot: Snapshot,
    /// Every server's name, also of those that come later.
    known: HashSet<&'d str>,
}

impl<'d> Build<'d> {
    fn finding(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding {
            path: path.into(),
            message: message.into(),
        });
    }

    fn warning(&mut self, path: &str, message: impl Into<String>) {
        self.snapshot.warnings.push(Finding {
            path: path.to_owned(),
            message: message.into(),
        });
    }

    fn gateway(&mut self, gateway: &document::Gateway) {
        for (i, origin) in gateway.allowed_origins.iter().enumerate() {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            if host.is_empty()
                || host.contains(['/', '?', '#', '*', '@'])
                || !origin.bytes().all(|b| b.is_ascii_graphic())
            {
                self.finding(
                    format!("gateway.allowed_origins[{i}]"),
                    "an origin is scheme://host[:port]",
                );
            }
        }
        for (i, host) in gateway.allowed_hosts.iter().enumerate() {
            let plain = !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_graphic())
                && !host.contains(['/', '@', '?', '#']);
            if !plain || (host.contains('*') && host != "*") {
                self.finding(
                    format!("gateway.allowed_hosts[{i}]"),
                    "a host is a name with an optional port, or *",
                );
            }
        }
    }

    // Servers and what they offer.

    fn servers(&mut self, servers: &'d [document::Server], secrets: Secrets<'_>) {
        if servers.len() > SERVERS_MAX {
            self.finding("servers", format!("more than {SERVERS_MAX} servers"));
            return;
        }
        self.known = servers.iter().map(|s| s.name.as_str()).collect();
        for (i, server) in servers.iter().enumerate() {
            let path = format!("servers[{i}]");
            if !names::is_server_name(&server.name) {
                self.finding(
                    format!("{path}.name"),
                    "a server's name is lower-case letters, digits and hyphens, at most 32, and begins with no hyphen",
                );
            }
            // Also for a faulty name: indexes must follow the document.
            let index = ServerIndex(i as u16);
            if self
                .snapshot
                .server_by_name
                .insert(server.name.as_str().into(), index)
                .is_some()
            {
                self.finding(
                    format!("{path}.name"),
                    format!("{} is the name of an earlier server", server.name),
                );
            }
            let compiled = self.server(&path, index, server, secrets);
            self.snapshot.servers.push(compiled);
        }
    }

    fn server(
        &mut self,
        path: &str,
        index: ServerIndex,
        server: &document::Server,
        secrets: Secrets<'_>,
    ) -> Server {
        let address = Address::parse(&server.url).unwrap_or_else(|fault| {
            self.finding(format!("{path}.url"), fault);
            // Never served: the finding refuses the document.
            Address {
                transport: super::Transport::Unix("".into()),
                authority: Bytes::new(),
                path: Bytes::new(),
            }
        });
        let t = server.timeouts;
        if [t.connect_ms, t.header_ms, t.idle_ms, t.total_ms].contains(&0) {
            self.finding(
                format!("{path}.timeouts"),
                "a deadline of 0 ms would refuse every call",
            );
        }
        let headers = self.headers(path, &server.headers, secrets);
        let mut compiled = Server {
            name: server.name.as_str().into(),
            url: server.url.as_str().into(),
            identity: identity(server, &headers),
            address,
            http: server.http,
            ca_file: server.ca_file.as_deref().map(Into::into),
            timeouts: t,
            headers,
            revision_legacy: None,
            modern: false,
            ready: false,
            capabilities: Bytes::from_static(b"{}"),
            features: Features::default(),
            server_info: None,
            instructions: None,
            tools: 0..0,
            prompts: 0..0,
            resources: 0..0,
            templates: 0..0,
            tool_by_name: HashMap::new(),
            prompt_by_name: HashMap::new(),
        };
        // Ranges stand where they would be even when nothing has been found yet.
        if let Some(catalogue) = &server.catalogue {
            self.catalogue(&format!("{path}.catalogue"), index, catalogue, &mut compiled);
        }
        compiled
    }

    fn headers(
        &mut self,
        path: &str,
        headers: &BTreeMap<String, String>,
        secrets: Secrets<'_>,
    ) -> Vec<(Bytes, Secret)> {
        let mut out: Vec<(Bytes, Secret)> = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            let path = format!("{path}.headers.{name}");
            let lower = name.to_ascii_lowercase();
            if !header_params::is_token(lower.as_bytes()) {
                self.finding(&path, "not a header name");
                continue;
            }
            if OURS.contains(&lower.as_str()) || lower.starts_with("mcp-") {
                self.finding(&path, "this header is the gateway's own to set");
                continue;
            }
            if out.iter().any(|(n, _)| n.as_ref() == lower.as_bytes()) {
                self.finding(&path, "the header stands twice, in different case");
                continue;
            }
            match expand(value, secrets) {
                Ok(value) if is_header_value(&value) => out.push((lower.into(), Secret::new(value))),
                Ok(_) => self.finding(
                    &path,
                    "the value is empty, or has characters that no header may have",
                ),
                Err(fault) => self.finding(&path, fault),
            }
        }
        out
    }

    fn catalogue(&mut self, path: &str, index: ServerIndex, from: &document::Catalogue, server: &mut Server) {
        server.modern = from.modern;
        if let Some(text) = &from.legacy_revision {
            server.revision_legacy = Revision::parse(text.as_bytes()).filter(|r| r.era() == Era::Legacy);
            if server.revision_legacy.is_none() {
                self.warning(
                    &format!("{path}.legacy_revision"),
                    format!("{text:?} is no legacy revision we speak"),
                );
            }
        }
        server.ready = server.modern || server.revision_legacy.is_some();
        if !server.ready {
            self.warning(path, "the server speaks no revision that we do");
        }
        if let Some(capabilities) = self.object(&format!("{path}.capabilities"), &from.capabilities) {
            server.features = Features::read(&capabilities);
            server.capabilities = capabilities;
        }
        if let Some(info) = &from.server_info {
            server.server_info = self.object(&format!("{path}.server_info"), info);
        }
        if let Some(text) = &from.instructions {
            server.instructions = Some(head_of(text, INSTRUCTIONS_BYTES_MAX).into());
        }
        server.tools = self.tools(path, index, &from.tools, server);
        server.prompts = self.prompts(path, index, &from.prompts, server);
        server.resources = self.resources(path, index, &from.resources);
        server.templates = self.templates(path, index, &from.resource_templates);
        server.features.tools |= !server.tools.is_empty();
        server.features.prompts |= !server.prompts.is_empty();
        server.features.resources |= server.has_resources();
    }

    /// An object on one line, or a warning.
    fn object(&mut self, path: &str, raw: &RawValue) -> Option<Bytes> {
        let line = definition::one_line(raw.get().as_bytes());
        if json::check(&line, json::DEPTH_MAX).is_ok() && line.first() == Some(&b'{') {
            return Some(line.into());
        }
        self.warning(path, "not an object; left out");
        None
    }

    /// A listable definition and its path, or a warning.
    fn definition(
        &mut self,
        path: String,
        raw: &RawValue,
        rules: &definition::Rules,
    ) -> Option<(String, definition::Definition)> {
        match definition::read(raw.get(), rules) {
            Ok(read) => {
                for mended in &read.mended {
                    self.warning(&path, format!("{}: {mended}", read.key));
                }
                Some((path, read))
            }
            Err(fault) => {
                self.warning(&path, format!("not listed: {fault}"));
                None
            }
        }
    }

    /// Whether there is room for one more; says so once when there is not.
    fn room(&mut self, path: &str, held: usize, max: usize) -> bool {
        if held >= max {
            self.warning(
                path,
                format!("the rest is not listed: the gateway holds at most {max}"),
            );
        }
        held < max
    }

    fn tools(
        &mut self,
        path: &str,
        index: ServerIndex,
        raw: &[Box<RawValue>],
        server: &mut Server,
    ) -> std::ops::Range<u32> {
        let first = self.snapshot.tools.len();
        for (j, raw) in raw.iter().enumerate() {
            if !self.room(path, self.snapshot.tools.len(), ITEMS_MAX) {
                break;
            }
            let Some((path, read)) = self.definition(format!("{path}.tools[{j}]"), raw, &definition::TOOL)
            else {
                continue;
            };
            let exposed = names::exposed(&server.name, &read.key);
            let at = ToolIndex(self.snapshot.tools.len() as u32);
            if let Some(holder) = self.snapshot.tool_by_exposed.get(exposed.as_bytes()) {
                let holder = &self.snapshot.tools[holder.at()];
                let message = format!(
                    "{}: not listed: {exposed} is the name of {:?} already",
                    read.key, holder.name
                );
                self.warning(&path, message);
                continue;
            }
            let schema = json::member(&read.text, json::root(&read.text), "inputSchema");
            let header_params =
                schema.map_or(Ok(Vec::new()), |schema| header_params::find(&read.text, schema));
            if let Err(fault) = &header_params {
                self.warning(
                    &path,
                    format!("{}: not listed to clients of 2026-07-28: {fault}", read.key),
                );
            }
            let exposed_definition = renamed(&read, &exposed);
            let legacy = definition::without_output_schema(&read.text).and_then(|own| {
                Some(Box::new((
                    own,
                    definition::without_output_schema(&exposed_definition)?,
                )))
            });
            self.snapshot
                .tool_by_exposed
                .insert(exposed.as_bytes().into(), at);
            server.tool_by_name.insert(read.key.as_bytes().into(), at);
            self.snapshot.tools.push(Tool {
                server: index,
                digest: item_digest(&server.name, &exposed_definition),
                name: read.key.into(),
                exposed: exposed.into(),
                definition: read.text,
                exposed_definition,
                legacy,
                modern_listed: header_params.is_ok(),
                header_params: header_params.unwrap_or_default(),
            });
        }
        first as u32..self.snapshot.tools.len() as u32
    }

    fn prompts(
        &mut self,
        path: &str,
        index: ServerIndex,
        raw: &[Box<RawValue>],
        server: &mut Server,
    ) -> std::ops::Range<u32> {
        let first = self.snapshot.prompts.len();
        for (j, raw) in raw.iter().enumerate() {
            if !self.room(path, self.snapshot.prompts.len(), ITEMS_MAX) {
                break;
            }
            let Some((path, read)) =
                self.definition(format!("{path}.prompts[{j}]"), raw, &definition::PROMPT)
            else {
                continue;
            };
            let exposed = names::exposed(&server.name, &read.key);
            let at = PromptIndex(self.snapshot.prompts.len() as u32);
            if self.snapshot.prompt_by_exposed.contains_key(exposed.as_bytes()) {
                self.warning(
                    &path,
                    format!(
                        "{}: not listed: {exposed} is another prompt's name already",
                        read.key
                    ),
                );
                continue;
            }
            let exposed_definition = renamed(&read, &exposed);
            self.snapshot
                .prompt_by_exposed
                .insert(exposed.as_bytes().into(), at);
            server.prompt_by_name.insert(read.key.as_bytes().into(), at);
            self.snapshot.prompts.push(Prompt {
                server: index,
                digest: item_digest(&server.name, &exposed_definition),
                name: read.key.into(),
                exposed: exposed.into(),
                definition: read.text,
                exposed_definition,
            });
        }
        first as u32..self.snapshot.prompts.len() as u32
    }

    fn resources(&mut self, path: &str, index: ServerIndex, raw: &[Box<RawValue>]) -> std::ops::Range<u32> {
        let first = self.snapshot.resources.len();
        for (j, raw) in raw.iter().enumerate() {
            if !self.room(path, self.snapshot.resources.len(), ITEMS_MAX) {
                break;
            }
            let Some((path, read)) =
                self.definition(format!("{path}.resources[{j}]"), raw, &definition::RESOURCE)
            else {
                continue;
            };
            if self.is_foreign(&path, &read.key) {
                continue;
            }
            let at = self.snapshot.resources.len() as u32;
            let holders = self
                .snapshot
                .resources_by_uri
                .entry(read.key.as_str().into())
                .or_default();
            if holders.last().is_some_and(|last| *last as usize >= first) {
                self.warning(&path, format!("{}: not listed twice", read.key));
                continue;
            }
            holders.push(at);
            self.snapshot.resources.push(Resource {
                server: index,
                digest: item_digest("", &read.text),
                uri: read.key.into(),
                definition: read.text,
                uri_span: read.key_span,
            });
        }
        first as u32..self.snapshot.resources.len() as u32
    }

    fn templates(&mut self, path: &str, index: ServerIndex, raw: &[Box<RawValue>]) -> std::ops::Range<u32> {
        let first = self.snapshot.templates.len();
        for (j, raw) in raw.iter().enumerate() {
            if !self.room(path, self.snapshot.templates.len(), TEMPLATES_MAX) {
                break;
            }
            let path = format!("{path}.resource_templates[{j}]");
            let Some((path, read)) = self.definition(path, raw, &definition::TEMPLATE) else {
                continue;
            };
            if self.is_foreign(&path, &read.key) {
                continue;
            }
            if self.snapshot.templates[first..]
                .iter()
                .any(|t| *t.text == *read.key)
            {
                self.warning(&path, format!("{}: not listed twice", read.key));
                continue;
            }
            let template = UriTemplate::parse(&read.key);
            if template.is_none() {
                self.warning(
                    &path,
                    format!(
                        "{}: not a template we can match; reads of it may not find the server",
                        read.key
                    ),
                );
            }
            self.snapshot.templates.push(Template {
                server: index,
                digest: item_digest("", &read.text),
                template,
                text: read.key.into(),
                definition: read.text,
                uri_span: read.key_span,
            });
        }
        first as u32..self.snapshot.templates.len() as u32
    }

    /// A server may not offer URIs that we read as another server's.
    fn is_foreign(&mut self, path: &str, uri: &str) -> bool {
        let named = uri
            .strip_prefix(resolve::URI_PREFIX)
            .and_then(|rest| rest.split_once(':'))
            .map(|(name, _)| name);
        let foreign = named.is_some_and(|name| self.known.contains(name));
        if foreign {
            self.warning(
                path,
                format!("not listed: {uri} is the gateway's name for another server's resource"),
            );
        }
        foreign
    }

    // Who may do what.

    fn rights(&mut self, document: &Document) {
        let mut roles: BTreeMap<&str, Permits> = BTreeMap::new();
        for (i, role) in document.roles.iter().enumerate() {
            let mut patterns = Vec::with_capacity(role.allow.len());
            for (j, text) in role.allow.iter().enumerate() {
                match Pattern::parse(text) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(fault) => self.finding(format!("roles[{i}].allow[{j}]"), fault),
                }
            }
            let permits = Permits::of_role(&patterns, &self.snapshot);
            if roles.insert(&role.name, permits).is_some() {
                self.finding(
                    format!("roles[{i}].name"),
                    format!("{} is the name of an earlier role", role.name),
                );
            }
        }
        self.snapshot.no_permits = Permits::of_role(&[], &self.snapshot);

        let mut sets: HashMap<Vec<&str>, PermitsIndex> = HashMap::new();
        let mut keys = Keys::default();
        for (i, key) in document.keys.iter().enumerate() {
            let path = format!("keys[{i}]");
            let permits = self.permits_of(&format!("{path}.roles"), &key.roles, &roles, &mut sets);
            if let Err((field, fault)) = keys.insert(key, permits, self.snapshot.number) {
                self.finding(format!("{path}.{field}"), fault);
            }
        }
        if let Some(anonymous) = &document.anonymous {
            let permits = self.permits_of("anonymous.roles", &anonymous.roles, &roles, &mut sets);
            keys.admit_anonymous(anonymous, permits, self.snapshot.number);
        }
        self.snapshot.keys = keys;
    }

    fn permits_of<'k>(
        &mut self,
        path: &str,
        names: &'k [String],
        roles: &BTreeMap<&str, Permits>,
        sets: &mut HashMap<Vec<&'k str>, PermitsIndex>,
    ) -> PermitsIndex {
        for (i, name) in names.iter().enumerate() {
            if !roles.contains_key(name.as_str()) {
                self.finding(format!("{path}[{i}]"), format!("there is no role {name}"));
            }
        }
        let mut set: Vec<&str> = names.iter().map(String::as_str).collect();
        set.sort_unstable();
        set.dedup();
        if let Some(known) = sets.get(&set) {
            return *known;
        }
        let permits = Permits::union(set.iter().filter_map(|name| roles.get(name)), &self.snapshot);
        let index = PermitsIndex(self.snapshot.permits.len() as u32);
        self.snapshot.permits.push(permits);
        sets.insert(set, index);
        index
    }
}

/// Headers that describe the exchange itself; an operator's value would contradict it.
const OURS: [&str; 14] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn is_header_value(value: &str) -> bool {
    !value.is_empty()
        && value.trim_ascii() == value
        && value
            .bytes()
            .all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic())
}

/// Replaces each `${reference}`; `$${` stands for `${`. The error never shows a value.
fn expand(text: &str, secrets: Secrets<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let (reference, after) = from[2..].split_once('}').ok_or("a ${ is not closed")?;
        let value = secrets(reference).map_err(|fault| format!("${{{reference}}}: {fault}"))?;
        // Files end with a line break that nobody means.
        out.push_str(value.trim_end_matches(['\n', '\r']));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// What connections to a server may be shared by. Parts are counted, so that no two lists of them look alike.
fn identity(server: &document::Server, headers: &[(Bytes, Secret)]) -> u64 {
    let mut hash = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(server.url.as_bytes());
    part(match server.http {
        document::HttpVersion::Auto => b"auto",
        document::HttpVersion::Http1 => b"http1",
        document::HttpVersion::Http2 => b"http2",
    });
    part(server.ca_file.as_deref().unwrap_or_default().as_bytes());
    for (name, value) in headers {
        part(name);
        part(value.expose());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finish().as_ref()[..8]);
    u64::from_le_bytes(first)
}

fn item_digest(server: &str, definition: &[u8]) -> ItemDigest {
    let mut hash = Context::new(&SHA256);
    hash.update(server.as_bytes());
    hash.update(&[0]);
    hash.update(definition);
    let mut half = ItemDigest::default();
    half.copy_from_slice(&hash.finish().as_ref()[..16]);
    half
}

fn renamed(read: &definition::Definition, exposed: &str) -> Bytes {
    // An exposed name needs no escapes.
    definition::spliced(&read.text, read.key_span, format!("\"{exposed}\"").as_bytes())
}

/// The first `max` bytes of `text`, cut between characters.
pub(crate) fn head_of(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

impl Features {
    /// Reads a `capabilities` object.
    fn read(doc: &[u8]) -> Self {
        let root = json::root(doc);
        let object = |key| json::member(doc, root, key).filter(|v| json::kind(doc, *v) == Some(Kind::Object));
        let resources = object("resources");
        let subscribe = resources.and_then(|r| json::member(doc, r, "subscribe"));
        Self {
            tools: object("tools").is_some(),
            prompts: object("prompts").is_some(),
            resources: resources.is_some(),
            resources_subscribe: subscribe.is_some_and(|s| json::kind(doc, s) == Some(Kind::True)),
            completions: object("completions").is_some(),
            logging: object("logging").is_some(),
        }
    }
}
