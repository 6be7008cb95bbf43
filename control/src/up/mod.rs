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
//! Here it starts; [`serving`] is what happens then. Nothing here decides anything about a call. What can go wrong at start ends the command with its findings;
//! what goes wrong later is logged, and the state before it goes on serving.

mod development;
mod last;
mod paste;
mod plan;
mod plane;
mod serving;
mod sockets;
mod source;

pub use plan::programs;
pub use source::Source;

use crate::{
    cli::{
        exit::{Exit, Stop, note},
        place::{StateArgs, open_state, state_path},
    },
    config::{Config, LogFormat, Secret, watch},
    registry::{Pace, Registry},
    state::State,
};
use clap::Args;
use plane::Plane;
use ringway_runtime::log;
use ringway_sandbox::Sandbox;
use serving::{Serving, Signals, stop_early};
use sockets::Sockets;
use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// How long the start waits for servers to answer; slower ones join later.
const FIRST_ROUND: Duration = Duration::from_secs(5);
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

    let mut signals = Signals::listen()?;
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
    tokio::select! {
        all = registry.first_round(FIRST_ROUND) => if !all {
            tracing::info!("some servers have not answered yet; they join when they do");
        },
        () = signals.stops.next() => return stop_early(registry, &sandbox, signals.stops).await,
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
    serving.run(loader, changes, document, signals).await
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
