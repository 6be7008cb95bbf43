//! Text → configuration and findings: which syntax, which kind of file, then section by section.
//!
//! What a file is, its content says, never its name: JSON begins with `{`; a desktop client's file has
//! `mcpServers`, or `servers` and nothing else that only `ringway.yaml` has.

use super::{
    access,
    bounds::FILE_BYTES_MAX,
    finding::{Code, Finding, Findings, Severity},
    json,
    model::{Config, Settings},
    node::{Node, Position, Value},
    reader::{Cursor, Reader},
    server, settings,
    surroundings::Surroundings,
    yaml,
};
use crate::import::serve;
use ringway_proto::snapshot::Gateway;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

/// The keys at the top of `ringway.yaml`. Keys beginning with `x-` are the file's own (for anchors).
pub(crate) const ROOT_KEYS: &[&str] = &[
    "listen",
    "admin",
    "gateway",
    "servers",
    "roles",
    "keys",
    "anonymous",
    "workers",
    "log",
    "limits",
    "state_dir",
    "drain",
    "$schema",
];

/// What came of reading a text.
#[derive(Debug)]
pub struct Outcome {
    /// Present when there was no error; warnings do not prevent it.
    pub config: Option<Config>,
    /// Everything there is to say.
    pub findings: Findings,
    /// Files that the text refers to. Their content may change what it means, so they are watched with it.
    pub files: Vec<PathBuf>,
}

impl Outcome {
    pub(crate) fn refused(finding: Finding) -> Self {
        Self {
            config: None,
            findings: Findings { list: vec![finding] },
            files: Vec::new(),
        }
    }
}

/// Reads a configuration's bytes. `file` is how findings call it, `directory` what its paths are relative to.
pub fn read(bytes: &[u8], file: &str, directory: &Path, surroundings: &dyn Surroundings) -> Outcome {
    let text = match text(bytes) {
        Ok(text) => text,
        Err((code, message)) => {
            return Outcome::refused(Finding::about_file(Severity::Error, code, file, message));
        }
    };
    let reader = Reader::new(file, text, directory, surroundings);
    let root = match parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => {
            let message = "the file is empty";
            let hint = "the least it needs is `servers`";
            return Outcome::refused(
                Finding::about_file(Severity::Error, Code::Missing, file, message).with_hint(hint),
            );
        }
        Err(malformed) => {
            reader.malformed(malformed);
            let (findings, files) = reader.finish(None);
            return Outcome {
                config: None,
                findings,
                files,
            };
        }
    };
    let cursor = Cursor::root(Rc::clone(&root));
    let config = match kind(text, &root) {
        Kind::Desktop => serve::config(&reader, &cursor),
        Kind::Ringway => ringway(&reader, &cursor),
    };
    let config = config.filter(|_| !reader.has_errors());
    let (findings, files) = reader.finish(Some(&root));
    Outcome {
        config,
        findings,
        files,
    }
}

/// Bytes → text without a byte order mark.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, (Code, String)> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err((
            Code::TooLarge,
            format!("the file is larger than {} KiB", FILE_BYTES_MAX >> 10),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        (Code::Syntax, format!("the file is not UTF-8 text (line {line})"))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// JSON where it begins like JSON; YAML's own flow style begins so as well, so a failure there is tried as YAML,
/// and the reason that is told is the one of the syntax that got further.
pub(crate) fn parse(text: &str) -> Result<Option<Rc<Node>>, super::node::Malformed> {
    if !json::looks_like(text) {
        return yaml::parse(text);
    }
    match json::parse(text) {
        Ok(root) => Ok(Some(root)),
        Err(of_json) => match yaml::parse(text) {
            Ok(root) => Ok(root),
            Err(of_yaml) if of_yaml.at > of_json.at => Err(of_yaml),
            Err(_) => Err(of_json),
        },
    }
}

/// The text as JSON sees it, for validating against [`super::schema`]. Scalars are typed as YAML types them;
/// duplicate keys and keys that are no text are not looked at.
pub fn to_json(text: &str) -> Option<serde_json::Value> {
    fn value(node: &Node) -> serde_json::Value {
        match &node.value {
            Value::List(items) => items.iter().map(|item| value(item)).collect(),
            Value::Map(entries) => entries
                .iter()
                .filter_map(|entry| Some((entry.key.text()?.to_owned(), value(&entry.value))))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Value::Scalar(scalar) => match scalar.kind {
                super::node::Kind::Null => serde_json::Value::Null,
                super::node::Kind::Boolean(truth) => truth.into(),
                super::node::Kind::Text => scalar.text.as_str().into(),
                super::node::Kind::Number => match (scalar.text.parse::<u64>(), scalar.text.parse::<f64>()) {
                    (Ok(whole), _) => whole.into(),
                    (_, Ok(number)) => number.into(),
                    _ => scalar.text.as_str().into(),
                },
            },
        }
    }
    parse(text).ok().flatten().map(|root| value(&root))
}

/// The kinds of file that are read as a configuration.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Ringway,
    Desktop,
}

fn kind(text: &str, root: &Node) -> Kind {
    if root.peek("mcpServers").is_some() || root.peek("mcp").is_some_and(|mcp| mcp.peek("servers").is_some())
    {
        return Kind::Desktop;
    }
    // `{"servers": {...}}` is VS Code's, unless something in it is only ours.
    let ours = |name: &str| ROOT_KEYS.contains(&name) && name != "servers" && name != "$schema";
    let only_ours = root
        .entries()
        .iter()
        .any(|entry| entry.key.text().is_some_and(ours));
    let our_server = |server: &Node| ["npx", "uvx", "sse"].iter().any(|key| server.peek(key).is_some());
    let servers = root.peek("servers");
    let our_servers =
        servers.is_some_and(|servers| servers.entries().iter().any(|entry| our_server(&entry.value)));
    if json::looks_like(text) && servers.is_some() && !only_ours && !our_servers {
        Kind::Desktop
    } else {
        Kind::Ringway
    }
}

/// Whether the file is one of ours rather than a desktop client's.
pub(crate) fn is_ringway(text: &str, root: &Node) -> bool {
    kind(text, root) == Kind::Ringway
}

fn ringway(reader: &Reader<'_>, root: &Cursor) -> Option<Config> {
    // Keys of the file's own are no findings, whatever they hold.
    let own: Vec<&str> = root
        .node
        .entries()
        .iter()
        .filter_map(|entry| entry.key.text())
        .collect();
    let own = own.into_iter().filter(|name| name.starts_with("x-"));
    let known: Vec<&str> = ROOT_KEYS.iter().copied().chain(own).collect();
    let fields = match &root.node.value {
        Value::Map(_) => reader.fields(root, "ringway.yaml", &known)?,
        _ => {
            let message = format!("expected a map, found {}", root.node.kind_name());
            reader.error(
                Code::WrongType,
                root,
                message,
                "the least the file needs is `servers:`",
            );
            return None;
        }
    };
    if let Some(at) = fields.get("$schema") {
        reader.text(at);
    }
    let settings = settings::settings(reader, &fields);
    let gateway = fields
        .get("gateway")
        .map_or_else(Gateway::default, |at| settings::gateway(reader, at));
    let servers = match reader.required(&fields, "servers", "the file") {
        Some(at) => server::servers(reader, at),
        None => Vec::new(),
    };
    let (roles, patterns) = fields
        .get("roles")
        .map_or_else(Default::default, |at| access::roles(reader, at));
    // Names as written: a server with an error of its own must not make every pattern look dead.
    let names: Vec<&str> = fields.get("servers").map_or_else(Vec::new, |at| {
        at.node
            .entries()
            .iter()
            .filter_map(|entry| entry.key.text())
            .collect()
    });
    access::dead_patterns(reader, &patterns, &names);
    let keys = fields
        .get("keys")
        .map_or_else(Vec::new, |at| access::keys(reader, at, &roles));
    let anonymous = fields
        .get("anonymous")
        .and_then(|at| access::anonymous(reader, at, &roles, &settings.listeners));
    let places: BTreeMap<String, Position> = fields
        .list
        .iter()
        .map(|field| (field.name.clone(), field.key.node.start))
        .collect();
    Some(Config {
        file: reader.file.clone(),
        settings,
        gateway,
        servers,
        roles,
        keys: keys.into_iter().map(|(key, _)| key).collect(),
        anonymous,
        places,
    })
}

/// A configuration that says nothing but its servers, as desktop files do.
pub(crate) fn of_servers(reader: &Reader<'_>, servers: Vec<super::model::Server>) -> Config {
    Config {
        file: reader.file.clone(),
        settings: Settings::default(),
        gateway: Gateway::default(),
        servers,
        roles: Vec::new(),
        keys: Vec::new(),
        anonymous: None,
        places: BTreeMap::new(),
    }
}
