//! What can be seen of a worker from outside: counters, and whether its loop still turns.
//!
//! A worker only ever writes its own; readers take each number as it is (relaxed). The heartbeat exists because
//! a loop that spins or blocks reports no error: only somebody outside can tell.

use ringway_core::limits::{HEARTBEAT_MS, STALLED_AFTER_MS};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// One worker's numbers, on a cache line pair of their own.
#[repr(align(128))]
pub struct Vitals {
    start: Instant,
    /// Milliseconds after `start` at which the loop last turned.
    beat_ms: AtomicU64,
    stalled: AtomicBool,
    ended: AtomicBool,
    /// Connections open now.
    pub connections_open: Gauge,
    /// Connections taken since the start.
    pub connections: Counter,
    /// Connections refused because the worker had too many.
    pub connections_refused: Counter,
    /// Connections cut at the drain's deadline.
    pub connections_cut: Counter,
    /// Times accepting failed, out of descriptors for the most part.
    pub accept_errors: Counter,
    /// TLS handshakes that failed or took too long.
    pub handshake_errors: Counter,
    /// Requests whose head was read.
    pub requests: Counter,
    /// Requests dropped because their client went away.
    pub requests_abandoned: Counter,
    /// HTTP/2 connections closed because the client reset too many streams.
    pub reset_floods: Counter,
}

/// A number that grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the number.
    pub fn set(&self, n: usize) {
        self.0.store(n as u64, Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Vitals {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            beat_ms: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            connections_open: Gauge::default(),
            connections: Counter::default(),
            connections_refused: Counter::default(),
            connections_cut: Counter::default(),
            accept_errors: Counter::default(),
            handshake_errors: Counter::default(),
            requests: Counter::default(),
            requests_abandoned: Counter::default(),
            reset_floods: Counter::default(),
        })
    }

    pub(super) fn beat(&self) {
        self.beat_ms.store(self.now_ms(), Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long ago the loop last turned.
    pub fn silent_for(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.beat_ms.load(Relaxed)))
    }

    /// True when the worker runs and its loop turns.
    pub fn is_well(&self) -> bool {
        !self.stalled.load(Relaxed) && !self.ended.load(Relaxed)
    }

    /// True once the worker's thread has ended, by drain or by accident.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

/// Looks at every worker several times a second until all have ended (`all_ended` is then disconnected), and logs
/// when a loop stops turning and when it turns again.
///
/// A loop that is late is woken first, by a job that does nothing: should a wake-up ever be lost in the kernel or in
/// the runtime, the calls that wait for it wait half a second and not for ever.
pub(super) fn watch(workers: &[Arc<Vitals>], wake: impl Fn(usize), all_ended: &Receiver<()>) {
    let every = Duration::from_millis(HEARTBEAT_MS);
    while all_ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        for (number, worker) in workers.iter().enumerate() {
            let silent = worker.silent_for();
            if !worker.has_ended() && silent > 2 * every {
                wake(number);
            }
            let stalled = !worker.has_ended() && silent > Duration::from_millis(STALLED_AFTER_MS);
            if stalled != worker.stalled.swap(stalled, Relaxed) {
                if stalled {
                    tracing::error!(worker = number, "a worker's loop has not turned for {silent:?}");
                } else {
                    tracing::warn!(worker = number, "the worker's loop turns again");
                }
            }
        }
    }
}
