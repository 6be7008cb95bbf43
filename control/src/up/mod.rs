//! `ringway up`: the whole gateway in one process.
//!
//! ```text
//! configuration ─► state ─► sandbox ─► registry, first round ─► data plane ─► "here is your URL"
//!       ▲                                   │                        ▲
//!       └── file, key store, SIGHUP         └── documents ───────────┘
//!
//! SIGTERM, SIGINT ─► drain the data plane ─► close sessions ─► stop local servers      (again: at once)
//! ```
//!
//! Nothing here decides anything about a call. What can go wrong at start ends the command with its findings;
//! what goes wrong later is logged, and the state before it goes on serving.

mod development;
mod last;
mod paste;
mod plan;
mod plane;
mod sockets;
mod source;

pub use plan::programs;
pub use source::Source;

use crate::{
    cli::{
        exit::{Exit, Stop, note, say},
        log,
        place::{StateArgs, open_state, state_path},
    },
    config::{Change, Code, Config, Findings, Loader, LogFormat, Secret, Severity, Watch, watch},
    registry::{Pace, Registry},
    state::State,
};
use clap::Args;
use plane::Plane;
use ringway_proto::snapshot::Document;
use ringway_sandbox::Sandbox;
use sockets::Sockets;
use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch::Receiver,
};

/// How long the start waits for servers to answer; slower ones join later.
const FIRST_ROUND: Duration = Duration::from_secs(5);
/// How long sessions toward servers may take to be closed at the end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long local servers may take to end, after the data plane has drained.
const SANDBOX_STOP: Duration = Duration::from_secs(10);
/// The same after a second signal.
const SANDBOX_STOP_AT_ONCE: Duration = Duration::from_secs(1);

/// Start the gateway: data plane, local servers and registry in one process
///
/// Uses CONFIG, or ringway.yaml where there is one, or else a built-in MCP server to try things with. Changes of
/// the file and of the key store take effect by themselves; SIGHUP looks at once. SIGTERM and Ctrl-C let calls
/// under way finish; a second one does not.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// The configuration [default: ringway.yaml, else a built-in server]
    #[arg(value_name = "CONFIG")]
    pub config: Option<PathBuf>,
    /// Listen here instead of where the configuration says; repeat for more, port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<SocketAddr>,
    /// Serve /livez, /readyz and /metrics here
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_admin")]
    pub admin: Option<SocketAddr>,
    /// Do not serve /livez, /readyz and /metrics
    #[arg(long)]
    pub no_admin: bool,
    /// Least important log level: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub log_level: Option<String>,
    /// Log one JSON object a line
    #[arg(long)]
    pub log_json: bool,
    /// Print address and key as one line of JSON instead of the welcome
    #[arg(long)]
    pub json: bool,
    /// Where state is kept.
    #[command(flatten)]
    pub state: StateArgs,
}

/// The file in which a development key is, for commands on the same machine.
pub fn development_key_file(args: &StateArgs) -> Option<PathBuf> {
    let config = crate::cli::place::config_if_good(None);
    Some(development::file(&state_path(args, config.as_ref()).ok()?))
}

/// Runs the gateway until it is told to stop.
pub async fn run(args: UpArgs) -> Result<Exit, Stop> {
    let source = Source::of(&args)?;
    let first = good(source.alone().load(), &args)?;
    let level = args
        .log_level
        .clone()
        .unwrap_or_else(|| first.settings.log.level.as_str().to_owned());
    log::start(
        &level,
        args.log_json || first.settings.log.format == LogFormat::Json,
    );
    let state = open_state(&args.state, Some(&first))?;
    if let Some(mode) = state.exposed() {
        tracing::warn!(dir = %state.path().display(), mode = format!("{mode:03o}"), "others can look into the state directory; chmod 700 closes it");
    }
    raise_nofile();

    let loader = source.with_keys(&state);
    let (outcome, changes) = watch(loader.clone());
    let config = good(outcome, &args)?;
    let key = development_key(&config, &state)?;

    let sockets = Sockets::choose(
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        state.path(),
    );
    let sandbox = Arc::new(sandbox(&sockets)?);
    let registry = Registry::start(Pace::default(), last::read(&state), in_use(&sandbox));
    let plan = plan::prepare(&config, &sandbox, key.as_ref())
        .await
        .map_err(|findings| {
            let list: Vec<_> = findings.iter().map(ToString::to_string).collect();
            Stop::new(
                Exit::Config,
                format!("{} cannot be used: {}", config.file, list.join("; ")),
                "`ringway check` says more",
            )
        })?;
    registry.set(plan);
    if !registry.first_round(FIRST_ROUND).await {
        tracing::info!("some servers have not answered yet; they join when they do");
    }
    let Some(document) = registry.document() else {
        return Err(Stop::plain(Exit::Failure, "the registry has no document"));
    };
    let plane = Plane::start(&config.settings, &state, &document).await?;
    plane.set_health(true, &registry.status());
    let serving = Serving {
        args,
        state,
        sandbox,
        registry,
        plane,
        config,
        key,
        published: 0,
    };
    serving.welcome();
    serving.run(loader, changes, document).await
}

/// The gateway while it serves.
struct Serving {
    args: UpArgs,
    state: State,
    sandbox: Arc<Sandbox>,
    registry: Registry,
    plane: Plane,
    config: Config,
    key: Option<Secret>,
    /// The number of the last document that was saved.
    published: u64,
}

impl Serving {
    async fn run(mut self, loader: Loader, mut changes: Watch, first: Arc<Document>) -> Result<Exit, Stop> {
        let mut hangups = listen_to(SignalKind::hangup())?;
        let mut stops = Stops {
            term: listen_to(SignalKind::terminate())?,
            int: listen_to(SignalKind::interrupt())?,
        };
        let mut documents = self.registry.documents();
        let mut movements = self.registry.movements();
        self.save(&first).await;
        loop {
            tokio::select! {
                () = stops.next() => break,
                _ = hangups.recv() => {
                    tracing::info!("SIGHUP: reading the configuration again");
                    self.plane.reload_certificates();
                    let loader = loader.clone();
                    // Files can lie on a mount that has gone away.
                    if let Ok(outcome) = tokio::task::spawn_blocking(move || loader.load()).await {
                        self.reconfigure(outcome.config, &outcome.findings).await;
                    }
                }
                Some(change) = changes.next() => match change {
                    Change::Loaded(config, findings) => self.reconfigure(Some(*config), &findings).await,
                    Change::Rejected(findings) => self.reconfigure(None, &findings).await,
                },
                document = next(&mut documents) => self.publish(document).await,
                _ = movements.changed() => self.plane.set_health(true, &self.registry.status()),
            }
        }
        self.stop(stops).await
    }

    /// A new configuration, or the findings that keep the old one in place.
    async fn reconfigure(&mut self, config: Option<Config>, findings: &Findings) {
        let Some(mut config) = config else {
            report(findings);
            tracing::error!(file = %self.config.file, "the configuration has errors; the one before goes on serving");
            return;
        };
        adjust(&mut config, &self.args);
        let restart = config.needing_restart(&self.config.settings);
        // What is read once at start stays what it was then, also for what depends on it.
        config.settings = self.config.settings.clone();
        let key = match development_key(&config, &self.state) {
            Ok(key) => key,
            Err(stop) => {
                tracing::error!("{}; the configuration before goes on serving", stop.what);
                return;
            }
        };
        report(&without(findings, key.is_some()));
        report(&restart);
        report(&restart);
        match plan::prepare(&config, &self.sandbox, key.as_ref()).await {
            Ok(plan) => {
                if self.key.is_some() && key.is_none() {
                    tracing::warn!(
                        "the development key is refused from now on: there are other keys, or anonymous callers"
                    );
                }
                self.registry.set(plan);
                self.key = key;
                self.config = config;
                // Whatever the registry knows of the servers that stay goes out at once.
                if let Some(document) = self.registry.document() {
                    self.publish(document).await;
                }
                plan::retire(&self.config, &self.sandbox);
                tracing::info!(file = %self.config.file, "the configuration is in effect");
            }
            Err(findings) => {
                for finding in findings {
                    tracing::error!("{finding}");
                }
                tracing::error!(file = %config.file, "the configuration cannot be used; the one before goes on serving");
            }
        }
    }

    async fn publish(&mut self, document: Arc<Document>) {
        if document.number <= self.published {
            return;
        }
        match self.plane.publish(document.clone()).await {
            Ok(()) => {
                tracing::debug!(number = document.number, "published");
                self.save(&document).await;
            }
            Err(findings) => {
                // What servers say cannot cause this, and the configuration was compiled before; so say it loudly.
                for finding in findings {
                    tracing::error!(number = document.number, "{finding}");
                }
                tracing::error!("the new snapshot was refused; the one before goes on serving");
            }
        }
    }

    async fn save(&mut self, document: &Arc<Document>) {
        self.published = document.number;
        let (state, document) = (self.state.clone(), document.clone());
        let saving = tokio::task::spawn_blocking(move || last::write(&state, &document));
        if saving.await.is_err() {
            tracing::warn!("the snapshot was not saved");
        }
    }

    /// Lets calls finish, then takes everything down, inside out.
    async fn stop(self, mut stops: Stops) -> Result<Exit, Stop> {
        let Self {
            sandbox,
            registry,
            plane,
            config,
            ..
        } = self;
        let drain = config.settings.drain;
        tracing::info!(
            ?drain,
            "draining: no new connections, calls under way may finish; a second signal ends them"
        );
        let orderly = async {
            plane.drain(drain).await;
            registry.shutdown(FAREWELL).await;
            sandbox.shutdown(SANDBOX_STOP).await;
        };
        tokio::select! {
            () = orderly => {
                tracing::info!("stopped");
                Ok(Exit::Ok)
            }
            () = stops.next() => {
                tracing::warn!("second signal: stopping at once");
                sandbox.shutdown(SANDBOX_STOP_AT_ONCE).await;
                // The data plane's threads are still draining; nothing is left to wait for.
                std::process::exit(i32::from(Exit::Failure as u8));
            }
        }
    }

    fn welcome(&self) {
        let url = self.url();
        let key = self.key.as_ref().map(Secret::expose);
        let admin = self.plane.admin_address();
        if self.args.json {
            say(&serde_json::json!({"url": url, "key": key, "admin": admin}).to_string());
            return;
        }
        let access = match key {
            Some(key) => paste::Access::Development(key),
            None if self.config.anonymous.is_some() => paste::Access::Open,
            None => paste::Access::Own,
        };
        let servers = self.registry.status().into_iter().map(|s| match s.state {
            "up" => format!("{}: {} tools", s.name, s.tools),
            "down" => format!("{}: down, {}", s.name, s.reason.unwrap_or_default()),
            _ => format!("{}: not answered yet", s.name),
        });
        let welcome = paste::Welcome {
            url: &url,
            access,
            admin,
            servers: servers.collect(),
        };
        say(&paste::text(&welcome));
    }

    fn url(&self) -> String {
        let listeners = self.config.settings.listeners.iter().zip(self.plane.addresses());
        let all: Vec<_> = listeners
            .map(|(listener, address)| (*address, listener.tls.is_some()))
            .collect();
        // The one that can be reached from here without a certificate for another name is the best to show.
        let best = all
            .iter()
            .find(|(address, tls)| address.ip().is_loopback() && !tls)
            .or(all.first());
        best.map(|(address, tls)| paste::url_of(*address, *tls))
            .unwrap_or_default()
    }
}

/// The configuration of an outcome, with the command line's overrides; its findings go to stderr.
fn good(outcome: crate::config::Outcome, args: &UpArgs) -> Result<Config, Stop> {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match outcome.config {
        Some(mut config) => {
            adjust(&mut config, args);
            Ok(config)
        }
        None => {
            note(outcome.findings.render_human(colour).trim_end());
            Err(Stop::new(
                Exit::Config,
                "the configuration has errors",
                "mend them; `ringway check` shows them again",
            ))
        }
    }
}

fn adjust(config: &mut Config, args: &UpArgs) {
    if !args.listen.is_empty() {
        let plain = |address: &SocketAddr| crate::config::Listener {
            address: *address,
            tls: None,
        };
        config.settings.listeners = args.listen.iter().map(plain).collect();
    }
    if args.no_admin {
        config.settings.admin = None;
    }
    if args.admin.is_some() {
        config.settings.admin = args.admin;
    }
}

fn development_key(config: &Config, state: &State) -> Result<Option<Secret>, Stop> {
    if !development::wanted(config) {
        return Ok(None);
    }
    development::key(state).map(Some).map_err(|e| {
        Stop::new(
            Exit::Failure,
            format!("no development key: {e}"),
            "create a key with `ringway keys create`, or mend the file",
        )
    })
}

/// Findings worth logging: that nobody may call is not so where the development key is.
fn without(findings: &Findings, key: bool) -> Findings {
    let list = findings
        .list
        .iter()
        .filter(|finding| !(key && finding.code == Code::NobodyMayCall));
    Findings {
        list: list.cloned().collect(),
    }
}

fn report(findings: &Findings) {
    for finding in &findings.list {
        let place = match finding.line {
            0 => finding.file.clone(),
            line => format!("{}:{line}", finding.file),
        };
        match finding.severity {
            Severity::Error => tracing::error!(place, code = finding.code.as_str(), "{}", finding.message),
            Severity::Warning => tracing::warn!(place, code = finding.code.as_str(), "{}", finding.message),
        }
    }
}

fn sandbox(sockets: &Sockets) -> Result<Sandbox, Stop> {
    let directory = sockets.path().to_owned();
    Sandbox::new(directory.clone(), ringway_sandbox::Limits::default()).map_err(|e| {
        Stop::new(
            Exit::Failure,
            format!("local servers cannot be run: {}: {e}", directory.display()),
            "the state directory (or $XDG_RUNTIME_DIR) must be yours alone and its path short",
        )
    })
}

fn in_use(sandbox: &Arc<Sandbox>) -> crate::registry::InUse {
    // Weak: the registry must not keep processes alive by knowing of them.
    let sandbox = Arc::downgrade(sandbox);
    Arc::new(move |name, ours| {
        let status = sandbox
            .upgrade()
            .and_then(|sandbox| sandbox.status().into_iter().find(|s| s.name == name));
        status.is_some_and(|status| status.sessions > ours || status.calls > 0)
    })
}

/// Every connection takes a descriptor, and the usual soft limit is there for programs that use `select`.
fn raise_nofile() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
}

async fn next(documents: &mut Receiver<Option<Arc<Document>>>) -> Arc<Document> {
    loop {
        if documents.changed().await.is_err() {
            // The registry is gone, and with it everything there could be to publish.
            std::future::pending::<()>().await;
        }
        if let Some(document) = documents.borrow_and_update().clone() {
            return document;
        }
    }
}

struct Stops {
    term: Signal,
    int: Signal,
}

impl Stops {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

fn listen_to(kind: SignalKind) -> Result<Signal, Stop> {
    signal(kind).map_err(|e| Stop::plain(Exit::Failure, format!("signals cannot be heard: {e}")))
}
