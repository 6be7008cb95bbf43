//! From TOML to a [`Scenario`]: every table, every default, every check that needs more than one table.

use super::{
    CLIENTS_MAX, CONNECTIONS_MAX, Calls, Clients, Connections, Finding, Findings, Generator, Load,
    OPERATIONS_MAX, Operation, STREAMS_MAX, Scenario, Speak, Standing, THREADS_MAX, Target,
    table::{self, Section},
};
use crate::wire::{BODY_BYTES_MAX, HttpChoice, Trust};
use ringway_proto::revision::{Era, Revision};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use toml::de::DeTable;

/// Longest list of keys that is read: a million tenants' worth.
const KEYS_FILE_BYTES_MAX: u64 = 256 << 20;
/// How many due calls may wait by default: some seconds of a fast schedule, 24 bytes each.
const WAITING_DEFAULT: u64 = 100_000;
const WAITING_MAX: u64 = 100_000_000;

pub(super) fn read(text: &str, base: &Path) -> Result<Scenario, Findings> {
    let (document, broken) = DeTable::parse_recoverable(text);
    let findings = table::Findings::new(text);
    for error in broken {
        findings.add(error.span(), error.message());
    }
    let scenario = read_root(&findings, &document, text, base);
    let found = findings.into_sorted();
    match scenario {
        Some(scenario) if found.is_empty() => Ok(scenario),
        _ if found.is_empty() => Err(Findings(vec![Finding {
            line: None,
            text: "the scenario cannot be read".to_owned(),
        }])),
        _ => Err(Findings(found)),
    }
}

fn read_root<'t>(
    findings: &table::Findings<'t>,
    document: &toml::Spanned<DeTable<'t>>,
    text: &str,
    base: &Path,
) -> Option<Scenario> {
    let root = Section::root(findings, document);
    let name = root.string("name");
    let thresholds = root.strings("thresholds").unwrap_or_default();
    let target = match root.section("target") {
        Some(section) => read_target(section, base),
        None => {
            root.wrong("a scenario needs `[target]` with a `url`");
            None
        }
    };
    let load = match root.section("load") {
        Some(section) => Load::read(section),
        None => {
            root.wrong("a scenario needs `[load]` with one of `rate`, `step`, `search` and `concurrency`");
            None
        }
    };
    let http2 = target
        .as_ref()
        .is_some_and(|target| target.http == HttpChoice::Http2);
    let clients = read_clients(root.section("clients"), base);
    let connections = read_connections(root.section("connections"), load.as_ref(), http2);
    let calls = read_calls(root.section("calls"));
    let standing = read_standing(root.section("standing"));
    let generator = read_generator(root.section("generator"), connections.count);
    let tables = root.sections("operation");
    let written = tables.len();
    let operations: Vec<Operation> = tables.into_iter().filter_map(Operation::read).collect();
    check_operations(&root, &operations, written, standing);
    root.finish();
    let (target, load) = (target?, load?);
    if let Load::Closed { concurrency, .. } = load {
        let lanes = connections.count * if http2 { connections.streams } else { 1 };
        if concurrency > lanes {
            findings.add(
                None,
                format!("`load.concurrency` is {concurrency}, but the connections carry only {lanes} calls at once"),
            );
        }
    }
    Some(Scenario {
        name: name.unwrap_or_else(|| "run".to_owned()),
        text: text.to_owned(),
        thresholds,
        target,
        clients,
        connections,
        load,
        calls,
        operations,
        standing,
        generator,
    })
}

fn check_operations(root: &Section<'_, '_>, operations: &[Operation], written: usize, standing: Standing) {
    if written == 0 && standing == Standing::default() {
        root.wrong("a scenario needs an `[[operation]]`, or something to hold in `[standing]`");
    }
    if written > OPERATIONS_MAX {
        root.bad(
            "operation",
            &format!("is given {written} times; {OPERATIONS_MAX} is the most"),
        );
    }
    for (at, operation) in operations.iter().enumerate() {
        if operations[..at]
            .iter()
            .any(|before| before.name == operation.name)
        {
            root.bad(
                "operation",
                &format!(
                    "names \"{}\" twice; give one of them another `name`",
                    operation.name
                ),
            );
        }
    }
}

fn read_target(section: Section<'_, '_>, base: &Path) -> Option<Target> {
    let urls = match (section.string("url"), section.strings("urls")) {
        (Some(url), None) => vec![url],
        (None, Some(urls)) if !urls.is_empty() => urls,
        (None, None) if section.has("url") || section.has("urls") => Vec::new(),
        _ => {
            section.wrong("needs either `url` or `urls`");
            Vec::new()
        }
    };
    for url in &urls {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let key = if section.has("url") { "url" } else { "urls" };
            section.bad(
                key,
                &format!("must begin with http:// or https://, not \"{url}\""),
            );
        }
    }
    let revision = match section.string("revision").as_deref() {
        None | Some("auto") => Speak::Auto,
        Some("modern") => Speak::Newest(Era::Modern),
        Some("legacy") => Speak::Newest(Era::Legacy),
        Some(date) => Revision::parse(date.as_bytes()).map_or_else(
            || {
                let known: Vec<&str> = Revision::ALL.iter().map(|r| r.as_str()).collect();
                section.bad(
                    "revision",
                    &format!(
                        "must be \"auto\", \"modern\", \"legacy\" or one of {}",
                        known.join(", ")
                    ),
                );
                Speak::Auto
            },
            Speak::Exactly,
        ),
    };
    let http = match section.string("http").as_deref() {
        None | Some("1.1") => HttpChoice::Http1,
        Some("2") => HttpChoice::Http2,
        Some(_) => {
            section.bad("http", "must be \"1.1\" or \"2\"");
            HttpChoice::Http1
        }
    };
    let headers = section.pairs("headers");
    let connect_to = section.string("connect_to");
    let mut target = Target {
        urls,
        revision,
        http,
        headers,
        connect_to,
        trust: Trust::Public,
        server_name: None,
        client_identity: None,
        tls_resumption: true,
    };
    if let Some(tls) = section.section("tls") {
        read_tls(tls, base, &mut target);
    }
    section.finish();
    Some(target)
}

fn read_tls(section: Section<'_, '_>, base: &Path, target: &mut Target) {
    let file = |key| section.string(key).map(|name| base.join(name));
    let ca_file = file("ca_file");
    let insecure = section.boolean("insecure").unwrap_or(false);
    target.trust = match (ca_file, insecure) {
        (Some(_), true) => {
            section.bad("insecure", "trusts anyone, so `ca_file` means nothing beside it");
            Trust::Anyone
        }
        (None, true) => Trust::Anyone,
        (Some(file), false) => Trust::CaFile(file),
        (None, false) => Trust::Public,
    };
    target.server_name = section.string("server_name");
    target.client_identity = match (file("cert_file"), file("key_file")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            section.wrong("needs both `cert_file` and `key_file`, or neither");
            None
        }
    };
    target.tls_resumption = section.boolean("resumption").unwrap_or(true);
    section.finish();
}

fn read_clients(section: Option<Section<'_, '_>>, base: &Path) -> Clients {
    let mut clients = Clients {
        count: None,
        keys: Vec::new(),
        header: "authorization".to_owned(),
        prefix: "Bearer ".to_owned(),
    };
    let Some(section) = section else { return clients };
    clients.count = section
        .integer("count", 1..CLIENTS_MAX + 1)
        .and_then(|n| usize::try_from(n).ok());
    if let Some(header) = section.string("header") {
        // Only the usual header has the usual prefix.
        if !header.eq_ignore_ascii_case("authorization") {
            clients.prefix = String::new();
        }
        clients.header = header;
    }
    if let Some(prefix) = section.string("prefix") {
        clients.prefix = prefix;
    }
    let listed = section.strings("keys");
    if let Some(name) = section.string("keys_file") {
        if listed.is_some() {
            section.bad("keys_file", "and `keys` exclude each other");
        }
        match read_keys(&base.join(&name)) {
            Ok(keys) => clients.keys = keys,
            Err(why) => section.bad("keys_file", &why),
        }
    } else {
        clients.keys = listed.unwrap_or_default();
    }
    section.finish();
    clients
}

/// One key a line; blank lines and those that begin with `#` are none.
fn read_keys(path: &PathBuf) -> Result<Vec<String>, String> {
    let shown = path.display();
    let cannot = |why: std::io::Error| format!("{shown} cannot be read: {why}");
    let size = std::fs::metadata(path).map_err(cannot)?.len();
    if size > KEYS_FILE_BYTES_MAX {
        return Err(format!(
            "{shown} has {size} bytes; {KEYS_FILE_BYTES_MAX} is the most"
        ));
    }
    let text = std::fs::read_to_string(path).map_err(cannot)?;
    let keys: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    match keys.is_empty() {
        true => Err(format!("{shown} holds no key")),
        false => Ok(keys),
    }
}

fn read_connections(section: Option<Section<'_, '_>>, load: Option<&Load>, http2: bool) -> Connections {
    // A closed loop needs as many as it has callers; an open one gets what browsers and SDK pools would use together.
    let (count, streams) = match (load, http2) {
        (Some(Load::Closed { concurrency, .. }), false) => (*concurrency, 1),
        (Some(Load::Closed { concurrency, .. }), true) => (concurrency.div_ceil(100), 100),
        (_, false) => (64, 1),
        (_, true) => (4, 100),
    };
    let mut connections = Connections {
        count,
        streams,
        connect_timeout: Duration::from_secs(5),
        calls_max: None,
    };
    let Some(section) = section else {
        return connections;
    };
    let narrow = |n| usize::try_from(n).unwrap_or(usize::MAX);
    if let Some(count) = section.integer("count", 1..CONNECTIONS_MAX + 1) {
        connections.count = narrow(count);
    }
    if let Some(streams) = section.integer("streams", 1..STREAMS_MAX + 1) {
        connections.streams = narrow(streams);
        if !http2 && streams > 1 {
            section.bad("streams", "needs `http = \"2\"` in `[target]`");
        }
    }
    if let Some(time) = section.duration("connect_timeout") {
        connections.connect_timeout = time;
    }
    connections.calls_max = section.integer("calls_max", 1..u64::MAX);
    section.finish();
    connections
}

fn read_calls(section: Option<Section<'_, '_>>) -> Calls {
    let mut calls = Calls {
        timeout: Duration::from_secs(30),
        waiting_max: usize::try_from(WAITING_DEFAULT).unwrap_or(usize::MAX),
        drain: Duration::from_secs(1),
        answer_bytes_max: BODY_BYTES_MAX,
        status_only: false,
    };
    let Some(section) = section else { return calls };
    let narrow = |n| usize::try_from(n).unwrap_or(usize::MAX);
    if let Some(time) = section.duration("timeout") {
        if time.is_zero() {
            section.bad("timeout", "must be above zero");
        }
        calls.timeout = time;
    }
    if let Some(count) = section.integer("waiting_max", 1..WAITING_MAX + 1) {
        calls.waiting_max = narrow(count);
    }
    if let Some(time) = section.duration("drain") {
        calls.drain = time;
    }
    if let Some(bytes) = section.size_bytes("answer_bytes_max") {
        calls.answer_bytes_max = narrow(bytes);
    }
    calls.status_only = match section.string("check").as_deref() {
        None | Some("answer") => false,
        Some("status") => true,
        Some(_) => {
            section.bad("check", "must be \"answer\" or \"status\"");
            false
        }
    };
    section.finish();
    calls
}

fn read_standing(section: Option<Section<'_, '_>>) -> Standing {
    let Some(section) = section else {
        return Standing::default();
    };
    let count = |key| {
        let n = section.integer(key, 0..CONNECTIONS_MAX + 1).unwrap_or(0);
        usize::try_from(n).unwrap_or(usize::MAX)
    };
    let standing = Standing {
        listen: count("listen"),
        idle: count("idle"),
    };
    section.finish();
    standing
}

fn read_generator(section: Option<Section<'_, '_>>, connections: usize) -> Generator {
    let mut generator = Generator {
        threads: 1,
        cpus: Vec::new(),
        busy_poll: false,
        lateness_p99_max: Duration::from_millis(1),
        busy_max: 0.9,
        seed: 1,
    };
    let Some(section) = section else { return generator };
    if let Some(threads) = section.integer("threads", 1..THREADS_MAX + 1) {
        generator.threads = usize::try_from(threads).unwrap_or(usize::MAX);
        if generator.threads > connections {
            section.bad(
                "threads",
                &format!("must not exceed the {connections} connections they share"),
            );
        }
    }
    if let Some(cpus) = section.integers("cpus") {
        generator.cpus = cpus
            .into_iter()
            .filter_map(|cpu| usize::try_from(cpu).ok())
            .collect();
    }
    generator.busy_poll = section.boolean("busy_poll").unwrap_or(false);
    if let Some(time) = section.duration("lateness_p99_max") {
        generator.lateness_p99_max = time;
    }
    if let Some(share) = section.share("busy_max") {
        generator.busy_max = share;
    }
    if let Some(seed) = section.integer("seed", 0..u64::MAX) {
        generator.seed = seed;
    }
    section.finish();
    generator
}
