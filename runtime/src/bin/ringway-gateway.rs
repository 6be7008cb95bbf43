//! The data plane alone: serves from a snapshot document on disk, with no control service anywhere.
//!
//! `ringway up` writes such a document (`snapshot.json` in its state directory); replicas that share it and the
//! session keys serve the same sessions. SIGHUP reads the document and the certificates again: a document that
//! does not check is refused whole and the old one stays. SIGTERM and SIGINT drain.

use clap::Parser;
use ringway_core::{
    limits::{DnsLimits, DownstreamLimits, Limits, UpstreamLimits},
    seal::SealKey,
};
use ringway_proto::snapshot::{Document, FORMAT};
use ringway_runtime::{
    admin::{Health, ServerHealth},
    downstream::tls::ServerTls,
    gateway::{Gateway, Settings},
    io::Driver,
    log,
    worker::Listener,
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// Idle connections leave holes between the long-lived pieces of memory; this allocator keeps them usable
/// (docs/decisions/0010).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serve MCP from a snapshot document, with no control service.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The snapshot document
    #[arg(long, value_name = "FILE")]
    snapshot: PathBuf,
    /// Keys that seal sessions, shared by all replicas: an id and 64 hex digits a line
    #[arg(long, value_name = "FILE")]
    session_keys: PathBuf,
    /// Listen here; repeat for more
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8808")]
    listen: Vec<SocketAddr>,
    /// Certificate chain (PEM); speaks TLS on every listener
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Serve /livez, /readyz and /metrics here
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Workers; 0 is one per core
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Connections of clients that a worker may hold
    #[arg(long, value_name = "COUNT", default_value_t = DownstreamLimits::default().connections_per_worker_max)]
    connections_per_worker: usize,
    /// Kernel interface: auto, uring or epoll
    #[arg(long, default_value = "auto")]
    io: Driver,
    /// Seconds that calls under way may take to finish when stopping
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain: u64,
    /// Log level: error, warn, info, debug or trace
    #[arg(long, default_value = "info")]
    log_level: String,
    /// Log one JSON object a line
    #[arg(long)]
    log_json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start(&arguments.log_level, arguments.log_json);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let document = document(&arguments.snapshot)?;
    let keys = read(&arguments.session_keys)?;
    let named = |e: String| format!("{}: {e}", arguments.session_keys.display());
    let keys = SealKey::parse_file(&keys).map_err(named)?;
    let tls = match (&arguments.tls_certificate, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Some(Arc::new(
            ServerTls::load(certificate, key).map_err(|e| e.to_string())?,
        )),
        _ => None,
    };
    let settings = Settings {
        listeners: arguments
            .listen
            .iter()
            .map(|addr| Listener {
                addr: *addr,
                tls: tls.clone(),
            })
            .collect(),
        admin: arguments.admin,
        workers: arguments.workers,
        driver: arguments.io,
        limits: Limits::default(),
        downstream: DownstreamLimits {
            connections_per_worker_max: arguments.connections_per_worker,
            ..DownstreamLimits::default()
        },
        upstream: UpstreamLimits::default(),
        dns: DnsLimits::default(),
        session_keys: keys,
    };
    let gateway = Gateway::start(settings, &document).map_err(|e| e.to_string())?;
    gateway.set_health(health(&document));
    for address in gateway.addresses() {
        tracing::info!(%address, snapshot = document.number, "serving");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("no thread for signals: {e}"))?;
    runtime
        .block_on(signals(arguments, &gateway))
        .map_err(|e| format!("no signals: {e}"))?;
    let drained = gateway.drain(Duration::from_secs(arguments.drain));
    tracing::info!(cut = drained.cut, "stopped");
    Ok(())
}

/// Reloads on SIGHUP, returns on SIGTERM or SIGINT.
async fn signals(arguments: &Arguments, gateway: &Gateway) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = hangup.recv() => reload(arguments, gateway),
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

fn reload(arguments: &Arguments, gateway: &Gateway) {
    for error in gateway.reload_certificates() {
        tracing::error!(%error, "a certificate was not read again; the one before is served");
    }
    match document(&arguments.snapshot) {
        Ok(document) => match gateway.publish(&document) {
            Ok(()) => {
                gateway.set_health(health(&document));
                tracing::info!(snapshot = document.number, "the snapshot is live");
            }
            Err(findings) => {
                for finding in findings {
                    tracing::error!(snapshot = document.number, "{finding}");
                }
                tracing::error!("the snapshot is refused; the one before goes on serving");
            }
        },
        Err(error) => tracing::error!("{error}; the snapshot before goes on serving"),
    }
}

fn document(path: &Path) -> Result<Document, String> {
    let document: Document =
        serde_json::from_str(&read(path)?).map_err(|e| format!("{}: {e}", path.display()))?;
    if document.format == FORMAT {
        Ok(document)
    } else {
        Err(format!(
            "{}: format {} is not known here (this program reads {FORMAT})",
            path.display(),
            document.format
        ))
    }
}

/// Without control nobody probes: a server is as the document says.
fn health(document: &Document) -> Health {
    let server = |s: &ringway_proto::snapshot::Server| ServerHealth {
        name: s.name.clone(),
        state: if s.catalogue.is_some() { "up" } else { "probing" },
        detail: None,
        tools: s.catalogue.as_ref().map_or(0, |c| c.tools.len()),
    };
    Health {
        probed: true,
        servers: document.servers.iter().map(server).collect(),
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}
