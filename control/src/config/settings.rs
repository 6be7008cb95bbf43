//! The half of the file that is read once at start, and `gateway`.

use super::{
    bounds::{BODY_BYTES_MAX, DURATION_MAX, LISTENERS_MAX, PEM_BYTES_MAX, WORKERS_MAX},
    finding::{Code, Finding, Findings, Severity, quote},
    model::{Config, LimitSettings, Listener, Log, LogFormat, LogLevel, Settings, TlsFiles, Workers},
    names,
    node::{Kind, Scalar, Value},
    reader::{Cursor, Fields, Reader},
    units,
};
use ringway_proto::snapshot::{Gateway, Interface};
use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

pub(crate) const LISTENER_KEYS: &[&str] = &["address", "tls"];
pub(crate) const TLS_KEYS: &[&str] = &["certificate", "key"];
pub(crate) const GATEWAY_KEYS: &[&str] = &[
    "interface",
    "interface_threshold",
    "allowed_origins",
    "allowed_hosts",
];
pub(crate) const LOG_KEYS: &[&str] = &["format", "level"];
pub(crate) const LIMIT_KEYS: &[&str] = &["body", "reply", "session"];
pub(crate) const INTERFACES: [(&str, Interface); 3] = [
    ("list", Interface::List),
    ("search", Interface::Search),
    ("auto", Interface::Auto),
];

pub(crate) fn settings(reader: &Reader<'_>, root: &Fields) -> Settings {
    let mut settings = Settings::default();
    if let Some(at) = root.get("listen") {
        settings.listeners = listeners(reader, at);
    }
    if let Some(at) = root.get("admin") {
        settings.admin = admin(reader, at);
    }
    let same = |admin: SocketAddr| {
        admin.port() != 0
            && settings
                .listeners
                .iter()
                .any(|listener| listener.address == admin)
    };
    if settings.admin.is_some_and(same)
        && let Some(at) = root.get("admin").or_else(|| root.get("listen"))
    {
        let hint = "give one of them another port, or switch the second off: `admin: off`";
        reader.error(
            Code::Conflict,
            at,
            "`listen` and `admin` have the same address",
            hint,
        );
    }
    if let Some(at) = root.get("workers") {
        settings.workers = workers(reader, at);
    }
    if let Some(at) = root.get("log") {
        settings.log = log(reader, at);
    }
    if let Some(at) = root.get("limits") {
        settings.limits = limits(reader, at);
    }
    settings.state_dir = root.get("state_dir").and_then(|at| reader.path(at));
    if let Some(drain) = root
        .get("drain")
        .and_then(|at| reader.duration(at, Duration::ZERO..=Duration::from_secs(3600)))
    {
        settings.drain = drain;
    }
    settings
}

fn listeners(reader: &Reader<'_>, at: &Cursor) -> Vec<Listener> {
    let entries = match &at.node.value {
        Value::List(_) => reader.items(at, "`listen`"),
        _ => vec![at.clone()],
    };
    if entries.is_empty() {
        reader.error(
            Code::Missing,
            at,
            "no listening address",
            "write `listen: 127.0.0.1:8808`",
        );
    }
    if entries.len() > LISTENERS_MAX {
        reader.error(
            Code::TooLarge,
            at,
            format!("more than {LISTENERS_MAX} listening addresses"),
            "",
        );
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for entry in entries {
        let Some(listener) = listener(reader, &entry) else {
            continue;
        };
        let twice =
            listeners.iter().any(|other| other.address == listener.address) && listener.address.port() != 0;
        if twice {
            reader.error(
                Code::Conflict,
                &entry,
                format!("the address {} stands twice", listener.address),
                "",
            );
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(reader: &Reader<'_>, at: &Cursor) -> Option<Listener> {
    if !matches!(at.node.value, Value::Map(_)) {
        return Some(Listener {
            address: address(reader, at)?,
            tls: None,
        });
    }
    let fields = reader.fields(at, "a listener", LISTENER_KEYS)?;
    let address = reader
        .required(&fields, "address", "a listener")
        .and_then(|at| address(reader, at));
    let tls = fields.get("tls").map(|at| tls(reader, at));
    match tls {
        None => Some(Listener {
            address: address?,
            tls: None,
        }),
        Some(tls) => Some(Listener {
            address: address?,
            tls: Some(tls?),
        }),
    }
}

fn address(reader: &Reader<'_>, at: &Cursor) -> Option<SocketAddr> {
    // A bare port is a number to YAML; the advice is the same as for the text.
    let text = reader.any_text(at)?;
    match names::listen_address(text) {
        Ok(address) => Some(address),
        Err(hint) => {
            reader.error(
                Code::BadAddress,
                at,
                format!("{} is not an address and port", quote(text)),
                hint,
            );
            None
        }
    }
}

fn tls(reader: &Reader<'_>, at: &Cursor) -> Option<TlsFiles> {
    let fields = reader.fields(at, "`tls`", TLS_KEYS)?;
    let file = |name: &str, label: &str| {
        let at = reader.required(&fields, name, "`tls`")?;
        let (path, bytes) = reader.readable_file(at, PEM_BYTES_MAX)?;
        expect_pem(reader, at, &bytes, label).then_some(path)
    };
    let certificate = file("certificate", "CERTIFICATE-----");
    let key = file("key", "PRIVATE KEY-----");
    Some(TlsFiles {
        certificate: certificate?,
        key: key?,
    })
}

/// Whether a PEM file has a block of this label; a finding otherwise.
pub(crate) fn expect_pem(reader: &Reader<'_>, at: &Cursor, bytes: &[u8], label: &str) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let found = text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(label));
    if !found {
        let what = label.trim_end_matches('-').to_lowercase();
        reader.error(
            Code::UnreadableFile,
            at,
            format!("the file holds no {what} in PEM"),
            "",
        );
    }
    found
}

fn admin(reader: &Reader<'_>, at: &Cursor) -> Option<SocketAddr> {
    // `off` is text in YAML 1.2; an editor set to 1.1 writes it back as `false`.
    let off = match &at.node.value {
        Value::Scalar(Scalar {
            kind: Kind::Boolean(value),
            ..
        }) => !value,
        _ => at.node.text() == Some("off"),
    };
    if off {
        reader.show(at);
        return None;
    }
    address(reader, at)
}

fn workers(reader: &Reader<'_>, at: &Cursor) -> Workers {
    if at.node.text() == Some("auto") {
        reader.show(at);
        return Workers::Auto;
    }
    if let Some(text) = at.node.text() {
        reader.show(at);
        let hint = format!("`auto`, or a number from 1 to {WORKERS_MAX}");
        reader.error(
            Code::BadValue,
            at,
            format!("{} is no number of threads", quote(text)),
            hint,
        );
        return Workers::Auto;
    }
    let count = reader
        .integer(at, 1..=WORKERS_MAX)
        .and_then(|count| usize::try_from(count).ok());
    count
        .and_then(NonZeroUsize::new)
        .map_or(Workers::Auto, Workers::Count)
}

fn log(reader: &Reader<'_>, at: &Cursor) -> Log {
    let mut log = Log::default();
    let Some(fields) = reader.fields(at, "`log`", LOG_KEYS) else {
        return log;
    };
    let formats = [("human", LogFormat::Human), ("json", LogFormat::Json)];
    if let Some(format) = fields.get("format").and_then(|at| reader.choice(at, &formats)) {
        log.format = format;
    }
    let levels = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ]
    .map(|level| (level.as_str(), level));
    if let Some(level) = fields.get("level").and_then(|at| reader.choice(at, &levels)) {
        log.level = level;
    }
    log
}

fn limits(reader: &Reader<'_>, at: &Cursor) -> LimitSettings {
    let Some(fields) = reader.fields(at, "`limits`", LIMIT_KEYS) else {
        return LimitSettings::default();
    };
    let size = |name: &str| {
        fields
            .get(name)
            .and_then(|at| reader.size(at, 1024..=BODY_BYTES_MAX))
    };
    let longest = Duration::from_secs(30 * 86_400);
    LimitSettings {
        body_bytes_max: size("body"),
        reply_bytes_max: size("reply"),
        session_lifetime: fields
            .get("session")
            .and_then(|at| reader.duration(at, Duration::from_secs(60)..=longest)),
    }
}

pub(crate) fn gateway(reader: &Reader<'_>, at: &Cursor) -> Gateway {
    let mut gateway = Gateway::default();
    let Some(fields) = reader.fields(at, "`gateway`", GATEWAY_KEYS) else {
        return gateway;
    };
    if let Some(interface) = fields
        .get("interface")
        .and_then(|at| reader.choice(at, &INTERFACES))
    {
        gateway.interface = interface;
    }
    if let Some(threshold) = fields
        .get("interface_threshold")
        .and_then(|at| reader.integer(at, 0..=100_000))
    {
        gateway.interface_threshold = u32::try_from(threshold).unwrap_or(u32::MAX);
    }
    let list = |name: &str, check: fn(&str) -> Result<(), &'static str>| {
        let Some(at) = fields.get(name) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in reader.items(at, &format!("`{name}`")) {
            let Some(text) = reader.text(&item) else { continue };
            match check(text) {
                Ok(()) => texts.push(text.to_owned()),
                Err(hint) => reader.error(
                    Code::BadValue,
                    &item,
                    format!("{} cannot match", quote(text)),
                    hint,
                ),
            }
        }
        texts
    };
    gateway.allowed_origins = list("allowed_origins", names::check_origin);
    gateway.allowed_hosts = list("allowed_hosts", names::check_host);
    gateway
}

/// A duration as milliseconds of the document.
pub(crate) fn milliseconds(reader: &Reader<'_>, at: &Cursor) -> Option<u32> {
    let duration = reader.duration(at, Duration::from_millis(1)..=DURATION_MAX)?;
    u32::try_from(duration.as_millis()).ok()
}

impl Config {
    /// What of this configuration takes effect only after a restart, as warnings, when the process was started
    /// with `started`.
    pub fn needing_restart(&self, started: &Settings) -> Findings {
        let new = &self.settings;
        let changed = [
            ("listen", started.listeners != new.listeners),
            ("admin", started.admin != new.admin),
            ("workers", started.workers != new.workers),
            ("log", started.log != new.log),
            ("limits", started.limits != new.limits),
            ("state_dir", started.state_dir != new.state_dir),
            ("drain", started.drain != new.drain),
        ];
        let mut findings = Findings::default();
        for (path, _) in changed.into_iter().filter(|(_, changed)| *changed) {
            let message = format!("`{path}` has changed, but is read only at start");
            let mut finding =
                Finding::about_file(Severity::Warning, Code::NeedsRestart, &*self.file, message).with_hint(
                    "everything else of the file is in effect; restart for this to take effect too",
                );
            path.clone_into(&mut finding.path);
            // A key that was removed has no place.
            if let Some(place) = self.places.get(path) {
                (finding.line, finding.column) = (place.line, place.column);
            }
            findings.push(finding);
        }
        findings
    }
}

impl Settings {
    /// The settings for a summary: one line each.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let listen = self.listeners.iter().map(|listener| {
            let tls = if listener.tls.is_some() { " (tls)" } else { "" };
            format!("{}{tls}", listener.address)
        });
        let mut lines = vec![
            ("listen", listen.collect::<Vec<_>>().join(", ")),
            (
                "admin",
                self.admin.map_or("off".to_owned(), |address| address.to_string()),
            ),
        ];
        if let Workers::Count(count) = self.workers {
            lines.push(("workers", count.to_string()));
        }
        if self.drain != Settings::default().drain {
            lines.push(("drain", units::duration_text(self.drain)));
        }
        lines
    }
}
