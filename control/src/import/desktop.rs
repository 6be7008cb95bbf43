//! The JSON of desktop clients: `{"mcpServers": {…}}`, and VS Code's `{"servers": {…}, "inputs": […]}`.
//!
//! Dialects differ in small ways, and all of them are read: `type` is `http`, `sse`, `streamable-http` or absent;
//! Gemini writes `httpUrl`, others `serverUrl`; placeholders are translated (`placeholder.rs`); names become valid
//! ones. These files belong to other programs, so keys without a meaning here are warnings, never errors.
//!
//! Two uses: `serve.rs` serves from such a file as it is, [`drafts`] turns it into a `ringway.yaml`.

use super::{
    Body, Draft, Variable,
    package::recognise,
    placeholder::{Translated, translate},
};
use crate::config::{
    Code, Cursor, Field, Fields, Node, Program, Reader, Value, command, is_variable_name, normal_server_name,
    quote,
};
use std::rc::Rc;

/// Keys of an entry that have a meaning here.
const ENTRY_KEYS: &[&str] = &[
    "command",
    "args",
    "env",
    "cwd",
    "type",
    "transport",
    "url",
    "httpUrl",
    "serverUrl",
    "headers",
    "disabled",
    "enabled",
];

/// Where the servers are in a desktop file, with the path to them.
pub(crate) fn servers_of(root: &Node) -> Option<(&Rc<Node>, &'static str)> {
    let is_map = |node: &&Rc<Node>| matches!(node.value, Value::Map(_));
    let nested = || root.peek("mcp").and_then(|mcp| mcp.peek("servers"));
    let known = root
        .peek("mcpServers")
        .filter(is_map)
        .map(|node| (node, "mcpServers"));
    known
        .or_else(|| nested().filter(is_map).map(|node| (node, "mcp.servers")))
        .or_else(|| root.peek("servers").filter(is_map).map(|node| (node, "servers")))
}

/// One entry, its keys looked at but nothing resolved.
pub(crate) struct Entry {
    pub name: String,
    pub key: Cursor,
    pub enabled: bool,
    pub transport: Transport,
}

pub(crate) enum Transport {
    Stdio {
        program: Program,
        args: Vec<Text>,
        env: Vec<(Field, Text)>,
        cwd: Option<Text>,
    },
    Remote {
        legacy: bool,
        url: Text,
        headers: Vec<(Field, Text)>,
    },
}

/// A value in our spelling and where it stands.
pub(crate) struct Text {
    pub at: Cursor,
    pub translated: Translated,
}

/// What a file says of the values a person is asked for.
pub(crate) struct Input {
    pub id: String,
    pub description: Option<String>,
}

/// The servers of a desktop file for a `ringway.yaml`.
pub(crate) fn drafts(
    reader: &Reader<'_>,
    root: &Cursor,
    variables: &mut Vec<Variable>,
) -> Vec<(Draft, Cursor)> {
    let inputs = inputs(reader, root);
    let mut drafts = Vec::new();
    for entry in entries(reader, root) {
        let mut note = |key: &str, text: &Text| {
            for name in &text.translated.variables {
                let asked = text
                    .translated
                    .inputs
                    .iter()
                    .find(|(_, variable)| variable == name);
                let described = asked.and_then(|(id, _)| inputs.iter().find(|input| input.id == *id));
                let meaning = described
                    .and_then(|input| input.description.clone())
                    .unwrap_or_else(|| match asked {
                        Some((id, _)) => format!("what the editor asks for as `{id}`"),
                        None => "referred to by the file".to_owned(),
                    });
                let path = format!("servers.{}.{key}", entry.name);
                // The home directory is set everywhere.
                if name != "HOME" && !variables.iter().any(|known| known.name == *name) {
                    variables.push(Variable {
                        name: name.clone(),
                        path,
                        meaning,
                    });
                }
            }
            text.translated.text.clone()
        };
        let body = match &entry.transport {
            Transport::Stdio {
                program,
                args,
                env,
                cwd,
            } => Body::Local {
                program: program.clone(),
                args: args.iter().map(|text| note("args", text)).collect(),
                env: env
                    .iter()
                    .map(|(f, text)| (f.name.clone(), note(&format!("env.{}", f.name), text)))
                    .collect(),
                cwd: cwd.as_ref().map(|text| note("cwd", text)),
            },
            Transport::Remote { legacy, url, headers } => Body::Remote {
                legacy: *legacy,
                url: note(if *legacy { "sse" } else { "url" }, url),
                headers: headers
                    .iter()
                    .map(|(field, text)| (field.name.clone(), note(&format!("headers.{}", field.name), text)))
                    .collect(),
            },
        };
        let comment = (entry.key.node.text() != Some(&entry.name)).then(|| {
            format!(
                "{} in the imported file",
                entry.key.node.text().unwrap_or_default()
            )
        });
        drafts.push((
            Draft {
                name: entry.name.clone(),
                comment,
                enabled: entry.enabled,
                body,
            },
            entry.key.clone(),
        ));
    }
    drafts
}

// ---- entries ----

pub(crate) fn entries(reader: &Reader<'_>, root: &Cursor) -> Vec<Entry> {
    let Some((servers, path)) = servers_of(&root.node) else {
        let hint = "write `\"mcpServers\": { \"name\": { \"command\": … } }`";
        reader.error(
            Code::WrongType,
            root,
            "the servers of this file are not a map",
            hint,
        );
        return Vec::new();
    };
    others_are_ignored(reader, root, path);
    let at = Cursor {
        node: Rc::clone(servers),
        path: path.to_owned(),
    };
    let Some(fields) = reader.fields(&at, "the servers", &[]) else {
        return Vec::new();
    };
    let mut entries: Vec<Entry> = Vec::new();
    for field in &fields.list {
        let Some(entry) = entry(reader, field) else {
            continue;
        };
        if let Some(other) = entries.iter().find(|other| other.name == entry.name) {
            let names = [&other.key, &entry.key].map(|key| quote(key.node.text().unwrap_or_default()));
            let message = format!(
                "{} and {} both become the server `{}`",
                names[0], names[1], entry.name
            );
            reader.error(Code::NameCollision, &field.key, message, "rename one of them");
            continue;
        }
        entries.push(entry);
    }
    entries
}

/// Settings files of editors hold much else; one line says so.
fn others_are_ignored(reader: &Reader<'_>, root: &Cursor, path: &str) {
    let ours = |name: &str| matches!(name, "inputs" | "$schema") || path.split('.').next() == Some(name);
    let others: Vec<&str> = root
        .node
        .entries()
        .iter()
        .filter_map(|entry| entry.key.text())
        .filter(|name| !ours(name))
        .collect();
    if let Some(first) = others.first() {
        let more = match others.len() {
            1 => String::new(),
            2 => " and 1 more key".to_owned(),
            count => format!(" and {} more keys", count - 1),
        };
        reader.warn(
            Code::Ignored,
            root,
            format!("{}{more} beside the servers: ignored", quote(first)),
            "",
        );
    }
}

fn entry(reader: &Reader<'_>, field: &Field) -> Option<Entry> {
    let name = normal_server_name(&field.name);
    let fields = reader.fields(&field.value, "a server", &[])?;
    let flag = |name: &str| fields.get(name).and_then(|at| reader.boolean(at));
    let enabled = !flag("disabled").unwrap_or(false) && flag("enabled").unwrap_or(true);
    if name != field.name {
        let hint = format!("its tools are called `{name}__…`");
        reader.warn(
            Code::Renamed,
            &field.key,
            format!("{} is called `{name}` here", quote(&field.name)),
            hint,
        );
    }
    for other in fields
        .list
        .iter()
        .filter(|other| !ENTRY_KEYS.contains(&other.name.as_str()))
    {
        let hint = match other.name.as_str() {
            "envFile" | "env_file" => "put its variables into `env`",
            "tools" | "includeTools" | "excludeTools" => "a role's `allow` decides which tools may be called",
            "timeout" => "`timeouts` in ringway.yaml sets deadlines",
            _ => "",
        };
        let message = format!("{} has no meaning here: ignored", quote(&other.name));
        reader.warn(Code::Ignored, &other.key, message, hint);
    }
    let addresses: Vec<&Field> = ["httpUrl", "url", "serverUrl"]
        .iter()
        .filter_map(|name| fields.field(name))
        .collect();
    let transport = match (fields.get("command"), addresses.first()) {
        (Some(_), Some(url)) => {
            let hint = "keep the one that is meant";
            reader.error(
                Code::Conflict,
                &url.key,
                "`command` and an address exclude each other",
                hint,
            );
            return None;
        }
        (None, None) => {
            let hint = "an entry has `command`, or `url`";
            reader.error(
                Code::Missing,
                &field.key,
                "nothing says how this server is run or reached",
                hint,
            );
            return None;
        }
        (Some(command), None) => {
            if let Some(kind) = stated_type(reader, &fields, &["stdio", "local"]) {
                reader.warn(
                    Code::Ignored,
                    &kind,
                    "a server with `command` is run over stdio, whatever this says",
                    "",
                );
            }
            stdio(reader, &fields, command)?
        }
        (None, Some(url)) => remote(reader, &fields, url)?,
    };
    Some(Entry {
        name,
        key: field.key.clone(),
        enabled,
        transport,
    })
}

/// The value of `type` (or `transport`) when it is none of `expected`.
fn stated_type(reader: &Reader<'_>, fields: &Fields, expected: &[&str]) -> Option<Cursor> {
    let at = fields.get("type").or_else(|| fields.get("transport"))?;
    reader.show(at);
    let text = at.node.text()?;
    (!expected.contains(&text)).then(|| at.clone())
}

fn stdio(reader: &Reader<'_>, fields: &Fields, at: &Cursor) -> Option<Transport> {
    let program = command(reader, at);
    let mut args = Vec::new();
    for item in fields
        .get("args")
        .map(|at| reader.items(at, "`args`"))
        .unwrap_or_default()
    {
        args.extend(text(reader, &item));
    }
    let env = texts(reader, fields, "env");
    for (field, _) in env.iter().filter(|(field, _)| !is_variable_name(&field.name)) {
        let message = format!("{} cannot name an environment variable", quote(&field.name));
        reader.error(
            Code::BadName,
            &field.key,
            message,
            "letters, digits and `_`, not beginning with a digit",
        );
    }
    let cwd = fields.get("cwd").and_then(|at| {
        reader.show(at);
        text(reader, at)
    });
    let words: Vec<String> = args.iter().map(|arg| arg.translated.text.clone()).collect();
    match recognise(at.node.text().unwrap_or_default(), &words) {
        Some((program, taken)) => {
            let args = args.split_off(taken);
            Some(Transport::Stdio {
                program,
                args,
                env,
                cwd,
            })
        }
        None => Some(Transport::Stdio {
            program: program?,
            args,
            env,
            cwd,
        }),
    }
}

fn remote(reader: &Reader<'_>, fields: &Fields, url: &Field) -> Option<Transport> {
    let stated = fields
        .get("type")
        .or_else(|| fields.get("transport"))
        .filter(|at| at.node.text().is_some());
    let headers = texts(reader, fields, "headers");
    let address = text(reader, &url.value)?;
    let legacy = match stated {
        Some(at) => {
            reader.show(at);
            match at.node.text().unwrap_or_default() {
                "http" | "streamable-http" | "streamableHttp" | "streamable_http" | "remote" => false,
                "sse" => true,
                other => {
                    let hint = "known are `http`, `streamable-http` and `sse`";
                    reader.error(
                        Code::Unsupported,
                        at,
                        format!("{} is no way to reach a server", quote(other)),
                        hint,
                    );
                    return None;
                }
            }
        }
        None => {
            let path = address
                .translated
                .text
                .split(['?', '#'])
                .next()
                .unwrap_or_default();
            let guessed = url.name == "url" && path.trim_end_matches('/').ends_with("/sse");
            if guessed {
                let hint = "write `\"type\": \"http\"` if it speaks Streamable HTTP";
                reader.warn(
                    Code::Assumed,
                    &url.key,
                    "an address ending in `/sse` is taken for HTTP+SSE",
                    hint,
                );
            }
            guessed
        }
    };
    Some(Transport::Remote {
        legacy,
        url: address,
        headers,
    })
}

fn texts(reader: &Reader<'_>, fields: &Fields, name: &str) -> Vec<(Field, Text)> {
    let Some(fields) = fields
        .get(name)
        .and_then(|at| reader.fields(at, &format!("`{name}`"), &[]))
    else {
        return Vec::new();
    };
    fields
        .list
        .into_iter()
        .filter_map(|field| Some((field.clone(), text(reader, &field.value)?)))
        .collect()
}

fn text(reader: &Reader<'_>, at: &Cursor) -> Option<Text> {
    let written = reader.hidden_text(at)?;
    match translate(&written, &reader.directory) {
        Ok(translated) => Some(Text {
            at: at.clone(),
            translated,
        }),
        Err(message) => {
            let hint = "write the value itself, or `${env:NAME}`";
            reader.error(Code::Unsupported, at, message, hint);
            None
        }
    }
}

pub(crate) fn inputs(reader: &Reader<'_>, root: &Cursor) -> Vec<Input> {
    let Some(list) = root.node.peek("inputs") else {
        return Vec::new();
    };
    let at = Cursor {
        node: Rc::clone(list),
        path: "inputs".to_owned(),
    };
    let described = reader.items(&at, "`inputs`").into_iter().filter_map(|item| {
        let id = item.node.peek("id")?.text()?.to_owned();
        let description = item
            .node
            .peek("description")
            .and_then(|text| text.text())
            .map(str::to_owned);
        Some(Input { id, description })
    });
    described.collect()
}
