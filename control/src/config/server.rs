//! `servers`: exactly one of `command`, `npx`, `uvx`, `url`, `sse` says what kind a server is, and the kind says
//! which other keys have a meaning.

use super::{
    bounds::{DURATION_MAX, PEM_BYTES_MAX, SERVERS_MAX},
    finding::{Code, quote},
    model::{LegacySse, LocalServer, Package, Program, Remote, Server, ServerKind, Sharing},
    names,
    node::Value,
    reader::{Cursor, Field, Fields, Reader},
    secret::Secret,
    settings::{expect_pem, milliseconds},
    template::{Template, is_variable_name},
};
use hyper::http::{HeaderName, HeaderValue};
use ringway_proto::snapshot::{HttpVersion, Timeouts};
use std::time::Duration;

/// The keys that say what a server is, with what else each of them takes.
pub(crate) const KINDS: [(&str, &[&str]); 5] = [
    ("command", &["args", "env", "cwd", "sharing", "idle_stop"]),
    ("npx", &["version", "args", "env", "cwd", "sharing", "idle_stop"]),
    ("uvx", &["version", "args", "env", "cwd", "sharing", "idle_stop"]),
    ("url", &["headers", "http", "ca_file"]),
    ("sse", &["headers", "ca_file"]),
];
pub(crate) const SERVER_KEYS: &[&str] = &[
    "command",
    "npx",
    "uvx",
    "url",
    "sse",
    "version",
    "args",
    "env",
    "cwd",
    "sharing",
    "idle_stop",
    "headers",
    "http",
    "ca_file",
    "timeouts",
    "disabled",
];
pub(crate) const PACKAGE_KEYS: &[&str] = &["package", "version", "run"];
pub(crate) const TIMEOUT_KEYS: &[&str] = &["connect", "header", "idle", "total"];
/// Installed packages start slowly; an editor's restart of its session is within this.
pub(crate) const IDLE_STOP: Duration = Duration::from_secs(600);

pub(crate) fn servers(reader: &Reader<'_>, at: &Cursor) -> Vec<Server> {
    let Some(fields) = reader.fields(at, "`servers`", &[]) else {
        return Vec::new();
    };
    if fields.list.len() > SERVERS_MAX {
        reader.error(Code::TooLarge, at, format!("more than {SERVERS_MAX} servers"), "");
        return Vec::new();
    }
    let mut servers = Vec::new();
    for field in &fields.list {
        if let Err(rule) = names::check_server_name(&field.name) {
            let hint = format!("{rule}; `{}` would do", names::normal_server_name(&field.name));
            reader.error(
                Code::BadName,
                &field.key,
                format!("{} cannot name a server", quote(&field.name)),
                hint,
            );
        }
        servers.extend(server(reader, &field.name, &field.key, &field.value));
    }
    servers
}

fn server(reader: &Reader<'_>, name: &str, key: &Cursor, at: &Cursor) -> Option<Server> {
    let fields = reader.fields(at, "a server", SERVER_KEYS)?;
    let kind = kind_key(reader, key, &fields);
    let enabled = !fields
        .get("disabled")
        .and_then(|at| reader.boolean(at))
        .unwrap_or(false);
    let timeouts = fields
        .get("timeouts")
        .map_or_else(Timeouts::default, |at| timeouts(reader, at));
    let (kind, takes) = kind?;
    for field in &fields.list {
        let general = field.name == kind || matches!(field.name.as_str(), "timeouts" | "disabled");
        let another_kind = KINDS.iter().any(|(other, _)| *other == field.name);
        if !general && !another_kind && !takes.contains(&field.name.as_str()) {
            let message = format!("{} has no meaning for a server with `{kind}`", quote(&field.name));
            reader.error(
                Code::NotApplicable,
                &field.key,
                message,
                format!("beside `{kind}`: {}", takes.join(", ")),
            );
        }
    }
    let main = fields.get(kind)?;
    let kind = match kind {
        "url" => ServerKind::Remote(remote(reader, &fields, main)?),
        "sse" => ServerKind::LegacySse(legacy_sse(reader, &fields, main)?),
        _ => ServerKind::Local(local(reader, &fields, kind, main)?),
    };
    Some(Server {
        name: name.to_owned(),
        enabled,
        timeouts,
        position: key.node.start,
        kind,
    })
}

fn kind_key(
    reader: &Reader<'_>,
    key: &Cursor,
    fields: &Fields,
) -> Option<(&'static str, &'static [&'static str])> {
    let present: Vec<_> = KINDS
        .into_iter()
        .filter(|(kind, _)| fields.get(kind).is_some())
        .collect();
    match present.as_slice() {
        [one] => Some(*one),
        [] => {
            let hint = "a server has one of: command, npx, uvx, url, sse";
            reader.error(
                Code::Missing,
                key,
                "nothing says how this server is run or reached",
                hint,
            );
            None
        }
        several => {
            let names: Vec<_> = several.iter().map(|(kind, _)| format!("`{kind}`")).collect();
            let message = format!("{} exclude each other", names.join(" and "));
            reader.error(Code::Conflict, key, message, "keep the one that is meant");
            None
        }
    }
}

// ---- reached ----

fn remote(reader: &Reader<'_>, fields: &Fields, at: &Cursor) -> Option<Remote> {
    let url = address(reader, at, true);
    let headers = headers(reader, fields, url.as_ref());
    let ca_file = ca_file(reader, fields);
    let versions = [
        ("auto", HttpVersion::Auto),
        ("http1", HttpVersion::Http1),
        ("http2", HttpVersion::Http2),
    ];
    let http = fields
        .get("http")
        .and_then(|at| reader.choice(at, &versions))
        .unwrap_or_default();
    let url = url?;
    let origin = names::origin(url.expose());
    let headers = headers
        .into_iter()
        .map(|header| (header.name, header.document))
        .collect();
    Some(Remote {
        url,
        origin,
        http,
        ca_file,
        headers,
    })
}

fn legacy_sse(reader: &Reader<'_>, fields: &Fields, at: &Cursor) -> Option<LegacySse> {
    let url = address(reader, at, false);
    let headers = headers(reader, fields, url.as_ref());
    let ca_file = ca_file(reader, fields);
    let url = url?;
    let origin = names::origin(url.expose());
    let headers = headers
        .into_iter()
        .map(|header| (header.name, header.value))
        .collect();
    Some(LegacySse {
        url,
        origin,
        headers,
        ca_file,
    })
}

fn address(reader: &Reader<'_>, at: &Cursor, unix: bool) -> Option<Secret> {
    let template = reader.template(at)?;
    reader.address(at, &template, unix)
}

fn ca_file(reader: &Reader<'_>, fields: &Fields) -> Option<std::path::PathBuf> {
    let at = fields.get("ca_file")?;
    let (path, bytes) = reader.readable_file(at, PEM_BYTES_MAX)?;
    expect_pem(reader, at, &bytes, "CERTIFICATE-----").then_some(path)
}

/// A header both ways: as the document has it, and resolved.
pub(crate) struct Header {
    pub name: String,
    pub document: Secret,
    pub value: Secret,
}

fn headers(reader: &Reader<'_>, fields: &Fields, url: Option<&Secret>) -> Vec<Header> {
    let Some(fields) = fields
        .get("headers")
        .and_then(|at| reader.fields(at, "`headers`", &[]))
    else {
        return Vec::new();
    };
    let templates = fields.list.into_iter().filter_map(|field| {
        let template = reader.template(&field.value)?;
        Some((field, template))
    });
    read_headers(reader, templates, url)
}

/// Headers that were found in whatever way.
pub(crate) fn read_headers(
    reader: &Reader<'_>,
    fields: impl IntoIterator<Item = (Field, Template)>,
    url: Option<&Secret>,
) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for (field, template) in fields {
        let Some(header) = header(reader, &field.name, &field.key, &field.value, &template) else {
            continue;
        };
        if headers.iter().any(|other| other.name == header.name) {
            let message = format!("the header {} stands twice", quote(&header.name));
            reader.error(
                Code::DuplicateKey,
                &field.key,
                message,
                "header names ignore case",
            );
        }
        if header.name == "authorization" && url.is_some_and(|url| names::leaves_in_clear(url.expose())) {
            let hint = "use `https://`, or be sure that the network between is yours";
            reader.warn(
                Code::Insecure,
                &field.key,
                "a credential is sent over `http://` to another machine",
                hint,
            );
        }
        headers.push(header);
    }
    headers
}

fn header(reader: &Reader<'_>, name: &str, key: &Cursor, at: &Cursor, template: &Template) -> Option<Header> {
    let message = format!("{} cannot be a header here", quote(name));
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        reader.error(
            Code::BadName,
            key,
            message,
            "header names have letters, digits and `-`",
        );
        return None;
    };
    if let Some(reason) = gateway_owns(parsed.as_str()) {
        reader.error(Code::BadName, key, message, reason);
        return None;
    }
    let value = reader.resolve(at, template)?;
    if HeaderValue::from_str(value.expose()).is_err() || value.expose().trim() != value.expose() {
        let hint = "no line ends, control characters, or blanks at either end";
        reader.error(Code::BadValue, at, "this value cannot be sent as a header", hint);
        return None;
    }
    let Some(document) = template.document(reader.surroundings, &reader.directory) else {
        reader.error(
            Code::BadReference,
            at,
            "a header value cannot contain a literal `${`",
            "",
        );
        return None;
    };
    Some(Header {
        name: parsed.as_str().to_owned(),
        document: Secret::new(document),
        value,
    })
}

/// Headers that the gateway computes: a configured one would contradict the message it stands on.
fn gateway_owns(name: &str) -> Option<&'static str> {
    match name {
        "host" | "content-length" | "content-type" | "content-encoding" | "accept" | "accept-encoding"
        | "transfer-encoding" | "connection" | "keep-alive" | "te" | "trailer" | "upgrade" | "expect"
        | "proxy-connection" | "last-event-id" => Some("the gateway sets it for every request"),
        "traceparent" | "tracestate" | "baggage" => Some("the gateway carries the caller's trace on"),
        _ if name.starts_with("mcp-") => Some("the gateway computes `mcp-…` headers from the message"),
        _ => None,
    }
}

// ---- run ----

fn local(reader: &Reader<'_>, fields: &Fields, kind: &str, at: &Cursor) -> Option<LocalServer> {
    let program = match kind {
        "command" => command(reader, at),
        "npx" => package(reader, fields, at, npx_package).map(Program::Npx),
        _ => package(reader, fields, at, uvx_package).map(Program::Uvx),
    };
    let mut args = Vec::new();
    for item in fields
        .get("args")
        .map(|at| reader.items(at, "`args`"))
        .unwrap_or_default()
    {
        args.extend(argument(reader, &item));
    }
    let env = environment(reader, fields);
    let cwd = fields.get("cwd").and_then(|at| reader.path(at));
    let sharings = [("session", Sharing::Session), ("shared", Sharing::Shared)];
    let sharing = fields
        .get("sharing")
        .and_then(|at| reader.choice(at, &sharings))
        .unwrap_or_default();
    let idle_stop = match fields.get("idle_stop") {
        Some(at) if at.node.text() == Some("never") => {
            reader.show(at);
            None
        }
        Some(at) => reader.duration(at, Duration::from_secs(1)..=7 * DURATION_MAX),
        None => Some(IDLE_STOP),
    };
    Some(LocalServer {
        program: program?,
        args,
        env,
        cwd,
        sharing,
        idle_stop,
    })
}

pub(crate) fn command(reader: &Reader<'_>, at: &Cursor) -> Option<Program> {
    let text = reader.text(at)?;
    let advice = if text.trim().is_empty() {
        "name the program to run"
    } else if !text.contains('/') && text.contains(char::is_whitespace) {
        "the command is the program alone; what follows it belongs into `args: [...]`"
    } else if text.contains('\0') {
        "a program's name has no NUL"
    } else {
        // A relative path is relative to the file, as every other path in it.
        let relative = text.contains('/') && !text.starts_with('/');
        let command = if relative {
            reader.directory.join(text).display().to_string()
        } else {
            text.to_owned()
        };
        return Some(Program::Command(command));
    };
    reader.error(Code::BadValue, at, "this is not the name of a program", advice);
    None
}

fn argument(reader: &Reader<'_>, at: &Cursor) -> Option<Secret> {
    let template = reader.template(at)?;
    passed_on(reader, at, &template)
}

/// A value as a program receives it.
pub(crate) fn passed_on(reader: &Reader<'_>, at: &Cursor, template: &Template) -> Option<Secret> {
    let value = reader.resolve(at, template)?;
    if value.expose().contains('\0') {
        reader.error(
            Code::BadValue,
            at,
            "the value contains NUL, which no program can receive",
            "",
        );
        return None;
    }
    Some(value)
}

fn environment(reader: &Reader<'_>, fields: &Fields) -> Vec<(String, Secret)> {
    let Some(at) = fields.get("env") else {
        return Vec::new();
    };
    if let Value::List(_) = at.node.value {
        reader.error(
            Code::WrongType,
            at,
            "expected a map, found a list",
            "write `NAME: value` rather than `NAME=value`",
        );
        return Vec::new();
    }
    let Some(fields) = reader.fields(at, "`env`", &[]) else {
        return Vec::new();
    };
    let mut env = Vec::new();
    for field in &fields.list {
        if !is_variable_name(&field.name) {
            let message = format!("{} cannot name an environment variable", quote(&field.name));
            reader.error(
                Code::BadName,
                &field.key,
                message,
                "letters, digits and `_`, not beginning with a digit",
            );
        }
        if let Some(value) = argument(reader, &field.value) {
            env.push((field.name.clone(), value));
        }
    }
    env
}

/// Splits a package as written into name and version; the error is advice.
type Split = fn(&str) -> Result<(String, Option<String>), &'static str>;

fn package(reader: &Reader<'_>, outer: &Fields, at: &Cursor, split: Split) -> Option<Package> {
    let (at, inner) = match &at.node.value {
        Value::Map(_) => {
            let inner = reader.fields(at, "a package", PACKAGE_KEYS)?;
            (
                reader.required(&inner, "package", "a package")?.clone(),
                Some(inner),
            )
        }
        _ => (at.clone(), None),
    };
    let version_at = [inner.as_ref(), Some(outer)]
        .into_iter()
        .flatten()
        .find_map(|fields| fields.get("version"));
    let version = version_at.and_then(|at| version(reader, at));
    let run = inner
        .as_ref()
        .and_then(|fields| fields.get("run"))
        .and_then(|at| reader.text(at).map(str::to_owned));
    let (name, written) = match split(reader.text(&at)?) {
        Ok(parts) => parts,
        Err(hint) => {
            reader.error(Code::BadName, &at, "this is not the name of a package", hint);
            return None;
        }
    };
    if let (Some(_), Some(version_at)) = (&written, version_at) {
        reader.error(
            Code::Conflict,
            version_at,
            "the version stands twice",
            "the package's name has one already",
        );
    }
    Some(Package {
        name,
        version: written.or(version),
        run,
    })
}

fn version(reader: &Reader<'_>, at: &Cursor) -> Option<String> {
    let text = reader.any_text(at)?;
    let fits = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-+_!".contains(&b));
    if !fits {
        let hint = "write the exact version: `1.2.3`; ranges would change under you";
        reader.error(
            Code::BadValue,
            at,
            format!("{} is not a version", quote(text)),
            hint,
        );
        return None;
    }
    Some(text.to_owned())
}

/// `name`, `@scope/name`, either with `@version`.
pub(crate) fn npx_package(text: &str) -> Result<(String, Option<String>), &'static str> {
    const USAGE: &str = "write `name` or `@scope/name`; arguments belong into `args: [...]`";
    let at = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| *c == '@')
        .map(|(at, _)| at);
    let (name, version) = at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    let word = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    let fits = match name.strip_prefix('@') {
        Some(scoped) => scoped
            .split_once('/')
            .is_some_and(|(scope, name)| word(scope) && word(name)),
        None => word(name),
    };
    if !fits || version.is_some_and(|version| !exact(version)) {
        return Err(USAGE);
    }
    Ok((name.to_owned(), version.map(str::to_owned)))
}

/// `name`, `name[extra]`, either with `==version` or `@version`; `git+https://…` as it is.
pub(crate) fn uvx_package(text: &str) -> Result<(String, Option<String>), &'static str> {
    const USAGE: &str = "write `name` or `name[extra]`; arguments belong into `args: [...]`";
    if let Some(source) = text.strip_prefix("git+") {
        // A password before the host would be shown wherever the package is.
        let host = source
            .strip_prefix("https://")
            .and_then(|rest| rest.split('/').next());
        let fits = host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
            && !source.contains(char::is_whitespace);
        return if fits {
            Ok((text.to_owned(), None))
        } else {
            Err("write `git+https://host/path`")
        };
    }
    let (name, version) = match text.split_once("==").or_else(|| text.split_once('@')) {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let (base, extras) = name
        .split_once('[')
        .map_or((name, None), |(base, rest)| (base, Some(rest)));
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    let extras_fit = extras.is_none_or(|rest| {
        rest.strip_suffix(']')
            .is_some_and(|list| list.split(',').all(|e| word(e.trim())))
    });
    if !word(base) || !extras_fit || version.is_some_and(|version| !exact(version)) {
        return Err(USAGE);
    }
    Ok((name.to_owned(), version.map(str::to_owned)))
}

fn exact(version: &str) -> bool {
    !version.is_empty()
        && version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-+_!".contains(&b))
}

fn timeouts(reader: &Reader<'_>, at: &Cursor) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(fields) = reader.fields(at, "`timeouts`", TIMEOUT_KEYS) else {
        return timeouts;
    };
    let slots = [
        ("connect", &mut timeouts.connect_ms),
        ("header", &mut timeouts.header_ms),
        ("idle", &mut timeouts.idle_ms),
        ("total", &mut timeouts.total_ms),
    ];
    for (name, slot) in slots {
        if let Some(ms) = fields.get(name).and_then(|at| milliseconds(reader, at)) {
            *slot = ms;
        }
    }
    for (name, part) in [
        ("connect", timeouts.connect_ms),
        ("header", timeouts.header_ms),
        ("idle", timeouts.idle_ms),
    ] {
        if let Some(at) = fields.get(name).filter(|_| part > timeouts.total_ms) {
            let hint = "the total ends a call whatever the others say";
            reader.warn(
                Code::BadValue,
                at,
                format!("`{name}` is longer than `total` and never comes to pass"),
                hint,
            );
        }
    }
    timeouts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_split_into_name_and_version() {
        let split = |f: Split, text: &str| {
            f(text)
                .ok()
                .map(|(name, version)| (name, version.unwrap_or_default()))
        };
        let pair = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(split(npx_package, "@a/b@1.2.3"), pair("@a/b", "1.2.3"));
        assert_eq!(split(npx_package, "@a/b"), pair("@a/b", ""));
        assert_eq!(split(npx_package, "a@latest"), pair("a", "latest"));
        assert_eq!(split(uvx_package, "a[cli]==1.0"), pair("a[cli]", "1.0"));
        assert_eq!(split(uvx_package, "a@1.0"), pair("a", "1.0"));
        assert_eq!(
            split(uvx_package, "git+https://h/p@v1"),
            pair("git+https://h/p@v1", "")
        );
        for bad in ["", "a b", "-y", "@a", "@/b", "a@", "../x", "a;b"] {
            assert_eq!(split(npx_package, bad), None, "{bad}");
        }
        for bad in ["", "a b", "--from", "a[", "a==", "git+ssh://x"] {
            assert_eq!(split(uvx_package, bad), None, "{bad}");
        }
    }
}
