//! `servers`: exactly one of `command`, `npx`, `uvx`, `url`, `sse` says what kind a server is, and the kind says
//! which other keys have a meaning.

use super::{
    bounds::{PEM_BYTES_MAX, SERVERS_MAX},
    finding::{Code, quote},
    local::local,
    model::{LegacySse, Remote, Server, ServerKind},
    names,
    reader::{Cursor, Field, Fields, Reader},
    secret::Secret,
    settings::{expect_pem, milliseconds},
    template::Template,
};
use hyper::http::{HeaderName, HeaderValue};
use ringway_proto::snapshot::{HttpVersion, Timeouts};

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
pub(crate) const TIMEOUT_KEYS: &[&str] = &["connect", "header", "idle", "total"];

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
