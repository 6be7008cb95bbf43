//! Workers: one thread per core, each with its own ring, listeners and service, sharing nothing.
//!
//! [`Workers::start`] binds every address once per worker (`SO_REUSEPORT`: the kernel spreads connections) on
//! the calling thread, so that a taken port is an error of the caller's with the address in it, then starts the
//! threads and waits until each one serves. From then on they are reached through a [`Handle`]: jobs go into a
//! worker's inbox, and [`Handle::drain`] ends them all.
//!
//! How to read it: `accept` is one worker's life, `signal` what its tasks wait for, `vitals` what is seen of it
//! from outside.

mod accept;
pub mod signal;
mod vitals;

use crate::{
    downstream::tls::ServerTls,
    http::{LocalFuture, Service},
    io::{self, Driver},
};
use ringway_core::limits::{DownstreamLimits, WORKER_INBOX_MAX};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub use vitals::{Counter, Gauge, Vitals};

/// Which worker, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub usize);

/// How workers are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many; 0 means as many as the process may use cores.
    pub workers: usize,
    /// Kernel interface.
    pub driver: Driver,
    /// Bind each worker to a core. Only done when there is a worker for every core the process may use: with
    /// fewer, several processes would crowd on the first cores while others are idle.
    pub pin: bool,
    /// Bounds of connections.
    pub limits: DownstreamLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 0,
            driver: Driver::Auto,
            pin: true,
            limits: DownstreamLimits::default(),
        }
    }
}

/// An address to serve.
#[derive(Clone)]
pub struct Listener {
    /// Address; port 0 takes a free one, the same for all workers.
    pub addr: SocketAddr,
    /// TLS, if it is to be spoken here.
    pub tls: Option<Arc<ServerTls>>,
}

/// Why workers could not be started. None is running then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address as configured.
        addr: SocketAddr,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// A thread or its loop cannot be made.
    #[error("cannot start worker {worker}: {source}")]
    Worker {
        /// Which.
        worker: usize,
        /// The reason.
        source: std::io::Error,
    },
}

/// Running workers. They end by [`Handle::drain`], or at once when this and every [`Handle`] are dropped.
pub struct Workers {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

/// Reaches the workers from any thread.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    addrs: Vec<SocketAddr>,
    inboxes: Vec<async_channel::Sender<Message>>,
    vitals: Vec<Arc<Vitals>>,
    /// Disconnected when the last worker has ended.
    ended: async_channel::Receiver<()>,
}

/// What a worker finds in its inbox.
enum Message {
    Run(Box<dyn FnOnce() -> LocalFuture<'static, ()> + Send>),
    Drain(Instant),
}

/// A job was not taken: the worker has ended or its inbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker takes no job now")]
pub struct NotTaken;

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that still had work when the deadline came.
    pub cut: u64,
}

impl Workers {
    /// Binds, starts the threads, and returns once each worker serves. `make_service` runs on each worker's own
    /// thread.
    pub fn start<S, F>(
        settings: Settings,
        listeners: Vec<Listener>,
        make_service: F,
    ) -> Result<Self, StartError>
    where
        S: Service,
        F: Fn(WorkerId) -> Rc<S> + Send + Sync + 'static,
    {
        let cores = cores();
        let count = match settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let mut bound: Vec<Vec<accept::Door>> = (0..count).map(|_| Vec::new()).collect();
        let mut addrs = Vec::new();
        for listener in listeners {
            addrs.push(bind_for_all(&listener, &mut bound, &settings.limits)?);
        }

        let make_service = Arc::new(make_service);
        let (ended_tx, ended) = async_channel::bounded(1);
        let mut started = Vec::new();
        let (watch_tx, watch_rx) = mpsc::channel();
        let mut shared = Shared {
            addrs,
            inboxes: Vec::new(),
            vitals: Vec::new(),
            ended,
        };
        let mut threads = Vec::new();
        for (number, doors) in bound.into_iter().enumerate() {
            let (started_tx, started_rx) = mpsc::channel();
            started.push(started_rx);
            let (inbox_tx, inbox) = async_channel::bounded(WORKER_INBOX_MAX);
            let vitals = Vitals::new();
            shared.inboxes.push(inbox_tx);
            shared.vitals.push(vitals.clone());
            let core = (settings.pin && count == cores.len()).then(|| cores[number]);
            let (make_service, settings) = (make_service.clone(), settings.clone());
            let (ended_tx, watch_tx) = (ended_tx.clone(), watch_tx.clone());
            let life = move || {
                let _held_until_the_end = (ended_tx, watch_tx);
                let _end = EndMark(vitals.clone());
                if let Some(core) = core {
                    pin_to(core);
                }
                let started = started_tx.clone();
                let worker = accept::Worker {
                    doors,
                    inbox,
                    vitals,
                    limits: settings.limits,
                    started,
                };
                let life = worker.live(|| make_service(WorkerId(number)));
                if let Err(error) = io::run(settings.driver, life) {
                    let _ = started_tx.send(Err(error));
                }
            };
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(life)
                .map_err(|source| StartError::Worker {
                    worker: number,
                    source,
                })?;
            threads.push(thread);
        }
        drop((ended_tx, watch_tx));

        let workers = Self {
            handle: Handle {
                shared: Arc::new(shared),
            },
            threads,
        };
        for (worker, started) in started.into_iter().enumerate() {
            // A closed channel: the thread ended without a word.
            let said = started
                .recv()
                .unwrap_or_else(|_| Err(std::io::Error::other("its thread ended")));
            if let Err(source) = said {
                workers.handle.begin_drain(Instant::now());
                workers.join();
                return Err(StartError::Worker { worker, source });
            }
        }
        let watched = workers.handle.shared.vitals.clone();
        // Weak: workers end when nobody else reaches them any more.
        let inboxes: Vec<_> = workers
            .handle
            .shared
            .inboxes
            .iter()
            .map(|inbox| inbox.downgrade())
            .collect();
        let wake = move |worker: usize| {
            if let Some(inbox) = inboxes.get(worker).and_then(|inbox| inbox.upgrade()) {
                // A full inbox has woken it already.
                let _ = inbox.try_send(Message::Run(Box::new(|| Box::pin(std::future::ready(())))));
            }
        };
        let watcher = std::thread::Builder::new().name("worker-watch".to_owned());
        if let Err(error) = watcher.spawn(move || vitals::watch(&watched, wake, &watch_rx)) {
            tracing::warn!("workers are not watched for stalls: {error}");
        }
        Ok(workers)
    }

    /// Reaches the workers from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The first listener's address, with the real port.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs().first().copied()
    }

    /// Every listener's address, in order, with real ports.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.handle.shared.addrs
    }

    /// Waits, blocking, until all workers have ended; see [`Handle::drain`].
    pub fn join(self) {
        for (number, thread) in self.threads.into_iter().enumerate() {
            if thread.join().is_err() {
                tracing::error!(worker = number, "a worker's thread panicked");
            }
        }
    }
}

impl Handle {
    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.shared.vitals.len()
    }

    /// Each worker's numbers.
    pub fn vitals(&self) -> &[Arc<Vitals>] {
        &self.shared.vitals
    }

    /// True while every worker runs and its loop turns.
    pub fn is_well(&self) -> bool {
        self.shared.vitals.iter().all(|worker| worker.is_well())
    }

    /// Runs a job on a worker: `start` is called on its thread and what it gives is polled there to the end.
    pub fn run_on<F>(&self, worker: WorkerId, start: F) -> Result<(), NotTaken>
    where
        F: FnOnce() -> LocalFuture<'static, ()> + Send + 'static,
    {
        let inbox = self.shared.inboxes.get(worker.0).ok_or(NotTaken)?;
        inbox
            .try_send(Message::Run(Box::new(start)))
            .map_err(|_| NotTaken)
    }

    /// Ends all workers in good order: no new connection is taken, HTTP/2 clients get GOAWAY, HTTP/1 ones
    /// `connection: close` with their next answer, idle connections are closed; calls under way go on until they
    /// are done or `deadline` has passed. The drain begins at once; the future only waits for its end and may be
    /// awaited on any runtime or dropped. A second call can only bring the deadline forward.
    pub fn drain(&self, deadline: Duration) -> impl Future<Output = Drained> + Send + 'static {
        self.begin_drain(Instant::now() + deadline);
        let shared = self.shared.clone();
        async move {
            // Nobody sends: it ends when the last worker has let go.
            let _ = shared.ended.recv().await;
            Drained {
                cut: shared
                    .vitals
                    .iter()
                    .map(|worker| worker.connections_cut.get())
                    .sum(),
            }
        }
    }

    fn begin_drain(&self, at: Instant) {
        for inbox in &self.shared.inboxes {
            // A full inbox must not keep a worker from ending; force_send makes room. An ended worker is fine.
            let _ = inbox.force_send(Message::Drain(at));
        }
    }
}

/// Marks the worker as ended however its thread ends.
struct EndMark(Arc<Vitals>);

impl Drop for EndMark {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn bind_for_all(
    listener: &Listener,
    workers: &mut [Vec<accept::Door>],
    limits: &DownstreamLimits,
) -> Result<SocketAddr, StartError> {
    let mut addr = listener.addr;
    let failed = |source| StartError::Bind {
        addr: listener.addr,
        source,
    };
    if addr.port() != 0 {
        io::check_free(addr).map_err(failed)?;
    }
    for doors in workers {
        let socket = io::bind_std(addr, true, limits.accept_backlog).map_err(failed)?;
        addr = socket.local_addr().map_err(failed)?;
        if let Err(error) = io::keep_alive(&socket, Duration::from_millis(u64::from(limits.keepalive_ms))) {
            tracing::warn!("vanished clients of {addr} will be noticed late: {error}");
        }
        doors.push(accept::Door {
            socket,
            addr,
            tls: listener.tls.clone(),
        });
    }
    Ok(addr)
}

/// The cores this process may use.
fn cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect(),
        Err(_) => Vec::new(),
    }
}

fn pin_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::warn!("a worker is not bound to core {core}: {error}");
    }
}
