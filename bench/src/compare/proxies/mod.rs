//! The proxies that are compared, each as a way to write its configuration and start it.

mod haproxy;
mod nginx;
mod other;
mod own;
mod ringway;

use super::{
    failure::Result,
    http,
    place::Placement,
    process::{Process, free_address},
    upstream::{Identity, Upstream},
    work::{Era, Http},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use ringway::{Fleet, Options as RingwayOptions, key};

/// Ringway's count of access lines that found its queue full.
const DROPPED: &str = "ringway_access_lines_dropped_total";

/// One line of the table: a proxy in one configuration, with the client and the upstream it stands between.
#[derive(Clone, Debug)]
pub struct Row {
    /// Short, for `--proxies` and JSON.
    pub id: String,
    /// For people.
    pub label: String,
    /// What it is.
    pub proxy: Proxy,
    /// The generator's side.
    pub down: Leg,
    /// The upstream's side.
    pub up: Leg,
    /// Path of the endpoint.
    pub path: String,
    /// The tool's name there.
    pub tool: String,
}

/// How one side is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leg {
    /// HTTP version.
    pub http: Http,
    /// Under TLS.
    pub tls: bool,
    /// Era of MCP.
    pub era: Era,
}

/// What a row starts.
#[derive(Clone, Debug)]
pub enum Proxy {
    /// Nothing: the upstream itself, on the proxy's processor.
    Direct,
    /// The bare relay.
    Relay,
    /// The relay over the data plane's own I/O.
    PingPong,
    /// The minimal hyper proxy.
    Hyper,
    /// nginx.
    Nginx(nginx::Options),
    /// HAProxy.
    Haproxy,
    /// Ringway's data plane.
    Ringway(RingwayOptions),
    /// Of `others.toml`.
    Other(Box<other::Other>),
}

pub use nginx::Options as NginxOptions;
pub use other::rows as others;

impl Proxy {
    /// Whether its callers show a key: all do, but for those that must be nobody.
    pub fn wants_key(&self) -> bool {
        !matches!(self, Self::Ringway(options) if !options.keys)
    }
}

/// What every proxy may need to be started.
pub struct Surroundings<'s> {
    /// Where processes run.
    pub placement: Placement,
    /// The upstream it forwards to.
    pub upstream: SocketAddr,
    /// The certificate it serves, which is also the upstream's and its own authority.
    pub identity: &'s Identity,
    /// Programs built for this comparison.
    pub built: &'s Built,
    /// Whether calls come as fast as they are answered, so that the relay may gather them.
    pub in_batches: bool,
    /// Workers, each with a processor of its own.
    pub workers: usize,
    /// For its configuration and logs.
    pub dir: PathBuf,
}

/// Programs built for the comparison.
#[derive(Clone, Debug)]
pub struct Built {
    /// `ringway-gateway`.
    pub gateway: PathBuf,
    /// `ringway-bench`, for the peers in it.
    pub bench: PathBuf,
}

/// A proxy under measurement.
#[derive(Debug)]
pub struct Running {
    /// Its process, or the upstream's.
    pub process: Process,
    /// Where to connect.
    pub address: SocketAddr,
    /// Where it tells of itself, if it does.
    pub admin: Option<SocketAddr>,
}

impl Row {
    /// Starts it and waits until it accepts connections.
    pub fn start(&self, around: &Surroundings<'_>) -> Result<Running> {
        let running = self.prepare(around)?.launch()?;
        Ok(Running {
            process: running.process.ready(running.address)?,
            ..running
        })
    }

    /// Writes its configuration, so that nothing is left to do but to start.
    pub fn prepare(&self, around: &Surroundings<'_>) -> Result<Prepared> {
        std::fs::create_dir_all(&around.dir).map_err(|e| super::failure::Failure::at(&around.dir, &e))?;
        let address = free_address()?;
        let (command, admin) = match &self.proxy {
            // The caller has started the upstream on the proxy's processor.
            Proxy::Direct => unreachable_row()?,
            Proxy::Relay => (own::relay("relay", around, address), None),
            Proxy::PingPong => (own::relay("ping-pong", around, address), None),
            Proxy::Hyper => (own::hyper(around, address, self.up.http), None),
            Proxy::Nginx(options) => (nginx::command(self, options, around, address)?, None),
            Proxy::Haproxy => (haproxy::command(self, around, address)?, None),
            Proxy::Other(other) => (other.command(around, address)?, None),
            Proxy::Ringway(options) => {
                let admin = free_address()?;
                (
                    ringway::command(self, options, around, address, admin)?,
                    Some(admin),
                )
            }
        };
        Ok(Prepared {
            name: self.id.clone(),
            command,
            dir: around.dir.clone(),
            address,
            admin,
        })
    }
}

/// A proxy that waits for the word.
pub struct Prepared {
    name: String,
    command: std::process::Command,
    dir: PathBuf,
    address: SocketAddr,
    admin: Option<SocketAddr>,
}

impl Prepared {
    /// Starts it and waits for nothing.
    pub fn launch(self) -> Result<Running> {
        Ok(Running {
            process: Process::start(&self.name, self.command, &self.dir)?,
            address: self.address,
            admin: self.admin,
        })
    }
}

impl Running {
    /// Access lines that it dropped so far, where it tells.
    pub fn log_dropped(&self) -> u64 {
        let metrics = self.admin.and_then(|admin| http::get(admin, "/metrics").ok());
        let value = |text: String| {
            let line = text.lines().find(|l| l.starts_with(DROPPED))?;
            line.rsplit(' ').next()?.parse().ok()
        };
        metrics.and_then(value).unwrap_or(0)
    }
}

impl From<Upstream> for Running {
    fn from(upstream: Upstream) -> Self {
        Self {
            process: upstream.process,
            address: upstream.address,
            admin: None,
        }
    }
}

fn unreachable_row<T>() -> Result<T> {
    Err(super::failure::Failure::new("the direct row starts no proxy"))
}

/// The processors of the proxy's workers, as `taskset` reads them.
fn cpus(around: &Surroundings<'_>) -> String {
    let place = around.placement;
    match around.workers {
        0 | 1 if !place.spread => place.proxy_cpu.to_string(),
        n => format!("0-{}", n.saturating_sub(1).max(place.load_cpu)),
    }
}

fn command(around: &Surroundings<'_>, program: &Path) -> std::process::Command {
    around.placement.proxy(&cpus(around), program)
}
