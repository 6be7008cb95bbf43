//! What a configuration says, once it has been read without an error.
//!
//! Two halves. [`Settings`] are read once at start: sockets, threads, files. Everything else in [`Config`] may
//! change under a running gateway, and becomes the snapshot document (`document.rs`) and the list of servers
//! that must be run or bridged here.

use super::{node::Position, secret::Secret};
use ringway_proto::snapshot::{Anonymous, ApiKey, Gateway, HttpVersion, Role, Timeouts};
use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, as the operator named it.
    pub file: String,
    /// Read once at start.
    pub settings: Settings,
    /// Behaviour of the gateway as a whole.
    pub gateway: Gateway,
    /// Servers in the order of the file, disabled ones included.
    pub servers: Vec<Server>,
    /// Named sets of rules.
    pub roles: Vec<Role>,
    /// API keys of the file and of the key store.
    pub keys: Vec<ApiKey>,
    /// What callers without a credential may do.
    pub anonymous: Option<Anonymous>,
    /// Where the keys at the top of the file stand, for findings that come later.
    pub places: BTreeMap<String, Position>,
}

/// What is read once at start. A change needs a restart and is reported as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// `/livez`, `/readyz`, `/metrics`; `None` when switched off.
    pub admin: Option<SocketAddr>,
    /// Threads of the data plane.
    pub workers: Workers,
    /// What is logged and how.
    pub log: Log,
    /// Bounds that differ from the data plane's own.
    pub limits: LimitSettings,
    /// Where state is kept, when the file says so (`crate::state` decides otherwise).
    pub state_dir: Option<PathBuf>,
    /// How long calls under way may take to end after the order to stop.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listeners: vec![Listener {
                address: SocketAddr::from(([127, 0, 0, 1], 8808)),
                tls: None,
            }],
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 8809))),
            workers: Workers::Auto,
            log: Log::default(),
            limits: LimitSettings::default(),
            state_dir: None,
            drain: Duration::from_secs(30),
        }
    }
}

/// One listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Present for HTTPS.
    pub tls: Option<TlsFiles>,
}

/// PEM files of a listener, readable when the configuration was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and what leads to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Number of data-plane threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for each core this process may use.
    #[default]
    Auto,
    /// Exactly so many.
    Count(NonZeroUsize),
}

/// Logging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Lines for people or one JSON object each.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LogLevel,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The least important level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the usual five")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// As filters spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Bounds the file sets; those it leaves out stay with the data plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    /// One request body.
    pub body_bytes_max: Option<u64>,
    /// One reply that has to be held whole.
    pub reply_bytes_max: Option<u64>,
    /// How long a sealed session may be used.
    pub session_lifetime: Option<Duration>,
}

impl LimitSettings {
    /// The data plane's bounds with those of the file in place.
    pub fn limits(&self) -> ringway_core::limits::Limits {
        let mut limits = ringway_core::limits::Limits::default();
        if let Some(bytes) = self.body_bytes_max {
            limits.body_bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        if let Some(bytes) = self.reply_bytes_max {
            limits.reply_bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        if let Some(lifetime) = self.session_lifetime {
            limits.session_lifetime_s = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        }
        limits
    }
}

/// One MCP server.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// The prefix of its exposed names.
    pub name: String,
    /// False when the file says `disabled: true`: checked like any other, never run or reached.
    pub enabled: bool,
    /// Deadlines of one exchange, whatever the kind.
    pub timeouts: Timeouts,
    /// Where it stands in the file.
    pub position: Position,
    /// How it is reached.
    pub kind: ServerKind,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerKind {
    /// Streamable HTTP: the data plane connects to it directly.
    Remote(Remote),
    /// A program run here and bridged from stdio.
    Local(LocalServer),
    /// HTTP+SSE of 2024-11-05, bridged.
    LegacySse(LegacySse),
}

/// A Streamable HTTP server.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// The address, references resolved.
    pub url: Secret,
    /// `https://host:port`: what of the address may be shown.
    pub origin: String,
    /// HTTP version to speak.
    pub http: HttpVersion,
    /// Authorities trusted for this server instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Header name (lower case) → value as the document has it: references stay references.
    pub headers: Vec<(String, Secret)>,
}

/// A program run here. Its specification is complete: two equal ones need not be restarted.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalServer {
    /// What is run.
    pub program: Program,
    /// Its arguments, references resolved.
    pub args: Vec<Secret>,
    /// Its environment beside what every server inherits, references resolved.
    pub env: Vec<(String, Secret)>,
    /// Its working directory.
    pub cwd: Option<PathBuf>,
    /// One process for whom.
    pub sharing: Sharing,
    /// Idle processes are ended after this long; `None` keeps them.
    pub idle_stop: Option<Duration>,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A program in `PATH` or by path.
    Command(String),
    /// A package of the npm registry, run by `npx`.
    Npx(Package),
    /// A package of the Python index, run by `uvx`.
    Uvx(Package),
}

/// A package and how to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The exact version; the newest when absent.
    pub version: Option<String>,
    /// The program inside, when it is not called like the package.
    pub run: Option<String>,
}

/// Who shares a local process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Each upstream session has its own: nothing of one caller is seen by another, and the server may ask its
    /// client for samples, input and roots.
    Session,
    /// All callers share one, which is told of no client capabilities (decision 0005).
    #[default]
    Shared,
}

/// A legacy HTTP+SSE server.
#[derive(Clone, Debug, PartialEq)]
pub struct LegacySse {
    /// The address of its event stream, references resolved.
    pub url: Secret,
    /// `https://host:port`: what of the address may be shown.
    pub origin: String,
    /// Header name (lower case) → value, references resolved.
    pub headers: Vec<(String, Secret)>,
    /// Authorities trusted for this server instead of the public ones.
    pub ca_file: Option<PathBuf>,
}

impl LocalServer {
    /// Program and arguments as they are executed.
    pub fn command_line(&self) -> (String, Vec<String>) {
        let mut args: Vec<String> = Vec::new();
        let program = match &self.program {
            Program::Command(command) => command.clone(),
            Program::Npx(package) => {
                args.push("-y".to_owned());
                let pinned = pinned(package, "@");
                match &package.run {
                    Some(run) => args.extend([format!("--package={pinned}"), "--".to_owned(), run.clone()]),
                    None => args.push(pinned),
                }
                "npx".to_owned()
            }
            Program::Uvx(package) => {
                match &package.run {
                    Some(run) => args.extend(["--from".to_owned(), pinned(package, "=="), run.clone()]),
                    None => args.push(pinned(package, "@")),
                }
                "uvx".to_owned()
            }
        };
        args.extend(self.args.iter().map(|arg| arg.expose().to_owned()));
        (program, args)
    }
}

fn pinned(package: &Package, separator: &str) -> String {
    match &package.version {
        // `uvx --from` takes a requirement, which knows no `latest`.
        Some(version) if separator == "==" && version == "latest" => package.name.clone(),
        Some(version) => format!("{}{separator}{version}", package.name),
        None => package.name.clone(),
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(command) => write!(out, "command {command}"),
            Self::Npx(package) => write!(out, "npx {}", pinned(package, "@")),
            Self::Uvx(package) => write!(out, "uvx {}", pinned(package, "@")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(program: Program) -> String {
        let server = LocalServer {
            program,
            args: vec![Secret::new("--x")],
            env: Vec::new(),
            cwd: None,
            sharing: Sharing::Session,
            idle_stop: None,
        };
        let (program, args) = server.command_line();
        format!("{program} {}", args.join(" "))
    }

    #[test]
    fn command_lines_are_what_people_type() {
        let package = |version: Option<&str>, run: Option<&str>| Package {
            name: "p".to_owned(),
            version: version.map(str::to_owned),
            run: run.map(str::to_owned),
        };
        assert_eq!(line(Program::Command("serve".to_owned())), "serve --x");
        assert_eq!(line(Program::Npx(package(Some("1.2"), None))), "npx -y p@1.2 --x");
        assert_eq!(
            line(Program::Npx(package(None, Some("r")))),
            "npx -y --package=p -- r --x"
        );
        assert_eq!(line(Program::Uvx(package(Some("1.2"), None))), "uvx p@1.2 --x");
        assert_eq!(
            line(Program::Uvx(package(Some("1.2"), Some("r")))),
            "uvx --from p==1.2 r --x"
        );
        assert_eq!(
            line(Program::Uvx(package(Some("latest"), Some("r")))),
            "uvx --from p r --x"
        );
    }
}
