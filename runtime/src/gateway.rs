//! The data plane as one value: started with settings and a document, fed with documents, drained.
//!
//! `ringway up` and the standalone `ringway-gateway` use the same three calls. Publishing compiles on the calling
//! thread, never on a worker; a document with findings changes nothing.

use crate::{
    admin::{self, Admin, Health},
    downstream::tls::ServerTls,
    io::Driver,
    mcp::{
        access, aside, inbox, party,
        shared::{EndedSessions, LETTERS_MAX, Letter, Shared},
        view::Live,
        worker::Mcp,
    },
    side::{SideThread, dns::Resolver},
    upstream::Pools,
    worker::{self, Drained, Listener, Workers},
};
use arc_swap::ArcSwap;
use ringway_core::{
    limits::{DnsLimits, DownstreamLimits, Limits, UpstreamLimits},
    seal::{RingFault, SealKey, Sealer},
    snapshot::Finding,
};
use ringway_proto::snapshot::Document;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

/// What is read once at start.
pub struct Settings {
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// Where `/livez`, `/readyz` and `/metrics` are; none when absent.
    pub admin: Option<SocketAddr>,
    /// Workers; 0 means one per core.
    pub workers: usize,
    /// io_uring, epoll, or whichever works.
    pub driver: Driver,
    /// Bounds of messages and lists.
    pub limits: Limits,
    /// Bounds of connections with clients.
    pub downstream: DownstreamLimits,
    /// Bounds of connections with servers.
    pub upstream: UpstreamLimits,
    /// Bounds of name lookups.
    pub dns: DnsLimits,
    /// Seal sessions; the first seals, all open. Replicas share them.
    pub session_keys: Vec<SealKey>,
}

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The document does not compile.
    #[error("the document has {} findings; the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Document(Vec<Finding>),
    /// The session keys are not usable.
    #[error("session keys: {0}")]
    Keys(#[from] RingFault),
    /// Workers did not start.
    #[error("{0}")]
    Workers(#[from] worker::StartError),
    /// A socket or a thread could not be had.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The running data plane.
pub struct Gateway {
    shared: Arc<Shared>,
    workers: Workers,
    /// Writes access lines.
    printer: access::Printer,
    side: SideThread,
    health: Arc<ArcSwap<Health>>,
    admin: Option<SocketAddr>,
    tls: Vec<Arc<ServerTls>>,
    /// One publication at a time: each compiles against the one before.
    publishing: Mutex<()>,
}

impl Gateway {
    /// Starts workers and listeners with `document` live.
    pub fn start(settings: Settings, document: &Document) -> Result<Self, StartError> {
        let live = Arc::new(ArcSwap::from_pointee(
            Live::compile(document, None).map_err(StartError::Document)?,
        ));
        let sealer = Sealer::new(settings.session_keys)?;
        let count = match settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let (boxes, letters): (Vec<_>, Vec<_>) =
            (0..count).map(|_| async_channel::bounded(LETTERS_MAX)).unzip();
        let (lines, printer) = access::Lines::start(crate::log::access())?;
        let shared = Arc::new(Shared {
            live,
            retired: aside::Retired::start()?,
            sealer,
            limits: settings.limits,
            replica: u64::from_le_bytes(crate::random::bytes()),
            ended: EndedSessions::default(),
            draining: false.into(),
            lines,
            boxes,
        });
        let side = SideThread::start("ringway-side")?;
        let resolver = Resolver::start(&side.handle(), settings.dns);
        let health = Arc::new(ArcSwap::from_pointee(Health::default()));
        let admin = settings
            .admin
            .map(|address| {
                let shown = Arc::new(Admin {
                    loopback: address.ip().is_loopback(),
                    shared: shared.clone(),
                    health: health.clone(),
                });
                admin::serve(&side.handle(), address, shown)
                    .map_err(|e| io::Error::new(e.kind(), format!("admin address {address}: {e}")))
            })
            .transpose()?;
        let tls = settings.listeners.iter().filter_map(|l| l.tls.clone()).collect();
        let (for_workers, upstream) = (shared.clone(), settings.upstream);
        let how = worker::Settings {
            workers: count,
            driver: settings.driver,
            limits: settings.downstream,
            ..worker::Settings::default()
        };
        let workers = Workers::start(how, settings.listeners, move |worker| {
            let pools = Pools::new(resolver.clone(), upstream.clone());
            let mcp = Mcp::new(worker.0, for_workers.clone(), pools);
            crate::io::spawn(inbox::run(mcp.clone(), letters[worker.0].clone()));
            crate::io::spawn(party::sweep(mcp.clone()));
            let printed = mcp.clone();
            crate::io::spawn(async move { printed.sheet.hand_over_in_time().await });
            mcp
        })?;
        Ok(Self {
            shared,
            workers,
            printer,
            side,
            health,
            admin,
            tls,
            publishing: Mutex::new(()),
        })
    }

    /// The addresses clients can connect to, with real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.workers.local_addrs()
    }

    /// The admin address, with its real port.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Makes a document live, whole or not at all. Calls under way finish under the snapshot they began with.
    pub fn publish(&self, document: &Document) -> Result<(), Vec<Finding>> {
        // A panic while compiling left nothing half done: the store is the last step.
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let compile = || Live::compile(document, Some(&self.shared.live.load()));
        // Without a thread for it, here.
        let live = aside::compile(compile).unwrap_or_else(|_| compile())?;
        for warning in &live.snapshot.warnings {
            tracing::warn!("snapshot {}: {warning}", live.snapshot.number);
        }
        self.shared.live.store(Arc::new(live));
        self.shared.write_all(|| Letter::Published);
        Ok(())
    }

    /// What `/readyz` tells of the servers.
    pub fn set_health(&self, health: Health) {
        self.health.store(Arc::new(health));
    }

    /// Reads certificates again; those that do not load keep their old ones. Connections live on.
    pub fn reload_certificates(&self) -> Vec<String> {
        self.tls
            .iter()
            .filter_map(|tls| tls.reload().err().map(|e| e.to_string()))
            .collect()
    }

    /// Whether every worker's loop turns.
    pub fn is_well(&self) -> bool {
        self.workers.handle().is_well()
    }

    /// Refuses new sessions and streams from now on, ends the streams that belong to no call, and turns `/readyz`
    /// red. A balancer needs to notice before listeners close, so this may come some time before
    /// [`Gateway::drain`].
    pub fn begin_drain(&self) {
        if !self.shared.draining.swap(true, Ordering::Relaxed) {
            self.shared.write_all(|| Letter::Draining);
        }
    }

    /// Stops accepting, lets calls under way finish for at most `deadline`, and ends. Blocks the calling thread.
    pub fn drain(self, deadline: Duration) -> Drained {
        self.begin_drain();
        let handle = self.workers.handle();
        // The drain begins with the call; its future only waits, and here the threads' end is waited for.
        drop(handle.drain(deadline));
        self.workers.join();
        self.printer.finish();
        self.side.stop();
        Drained {
            cut: handle.vitals().iter().map(|v| v.connections_cut.get()).sum(),
        }
    }
}
