//! What all connections share, and what each thread has for itself.

use super::{
    catalogue::Catalogue,
    faults::{FaultKind, Faults},
    latency::Latency,
    options::Options,
    sessions::{SessionId, Sessions},
    stats::{Counters, Stats},
    text::Texts,
    timer::Timer,
};
use rand::{SeedableRng as _, rngs::SmallRng};
use ringway_proto::revision::{Era, Revision};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, broadcast, watch};

/// Notifications a slow event stream may be behind before it misses some.
const EVENTS_BEHIND_MAX: usize = 1024;

/// Shared by all threads.
#[derive(Debug)]
pub struct Server {
    /// As started.
    pub options: Options,
    /// Result texts.
    pub texts: Texts,
    /// Open sessions.
    pub sessions: Sessions,
    /// Rules of misbehaviour.
    pub faults: Faults,
    /// Closed while everything stalls.
    pub gate: Gate,
    /// Rendered lists.
    pub catalogue: Catalogue,
    /// Calls that wait, to be found by a cancellation.
    pub waiting: Waiting,
    /// Waits that end on time.
    pub timer: Timer,
    /// Notifications for all held streams.
    pub events: broadcast::Sender<Event>,
    /// Turns true when the server ends.
    pub stop: watch::Sender<bool>,
    latency: Latency,
    latency_of: HashMap<String, Latency>,
    counters: Vec<Arc<Counters>>,
}

impl Server {
    /// Renders what can be rendered; `Err` says which option is wrong.
    pub fn new(options: Options) -> Result<Arc<Self>, String> {
        let revisions = revisions(&options);
        let faults = Faults::default();
        faults.set(options.faults.clone())?;
        let mut latency = Latency::None;
        let mut latency_of = HashMap::new();
        for rule in &options.latency {
            match &rule.tool {
                Some(tool) => _ = latency_of.insert(tool.clone(), rule.latency),
                None => latency = rule.latency,
            }
        }
        Ok(Arc::new(Self {
            texts: Texts::default(),
            sessions: Sessions::default(),
            faults,
            gate: Gate::default(),
            catalogue: Catalogue::new(options.tools, options.page_size, options.resources, &revisions),
            waiting: Waiting::default(),
            timer: Timer::start(options.busy_poll).map_err(|why| format!("timer thread: {why}"))?,
            events: broadcast::Sender::new(EVENTS_BEHIND_MAX),
            stop: watch::Sender::new(false),
            latency,
            latency_of,
            counters: (0..options.threads.max(1)).map(|_| Arc::default()).collect(),
            options,
        }))
    }

    /// Revisions spoken, oldest first.
    pub fn revisions(&self) -> Vec<Revision> {
        revisions(&self.options)
    }

    /// How this tool's calls wait.
    pub fn latency(&self, tool: &str) -> Latency {
        if self.latency_of.is_empty() {
            return self.latency;
        }
        self.latency_of.get(tool).copied().unwrap_or(self.latency)
    }

    /// Everything counted so far.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::of(
            self.counters.iter().map(Arc::as_ref),
            self.sessions.count() as u64,
        );
        let stalls = self.gate.closings.load(Relaxed);
        if stalls > 0 {
            stats.faults.insert(FaultKind::StallAll.name(), stalls);
        }
        stats
    }

    /// What thread `n` has for itself.
    pub fn shard(self: &Arc<Self>, n: usize) -> Arc<Shard> {
        Arc::new(Shard {
            counters: Arc::clone(&self.counters[n % self.counters.len()]),
            rng: Mutex::new(SmallRng::seed_from_u64(self.options.seed.wrapping_add(n as u64))),
            server: Arc::clone(self),
        })
    }
}

fn revisions(options: &Options) -> Vec<Revision> {
    let spoken = |revision: &Revision| match revision.era() {
        Era::Modern => options.era.modern(),
        Era::Legacy => options.era.legacy(),
    };
    Revision::ALL.into_iter().filter(spoken).collect()
}

/// One thread's own.
#[derive(Debug)]
pub struct Shard {
    /// What is shared.
    pub server: Arc<Server>,
    /// Only this thread adds to them.
    pub counters: Arc<Counters>,
    rng: Mutex<SmallRng>,
}

impl Shard {
    /// The thread's source of randomness; never contended.
    pub fn rng(&self) -> MutexGuard<'_, SmallRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it is closed nothing is answered: the whole server seems to have stopped.
#[derive(Debug)]
pub struct Gate {
    origin: Instant,
    /// Nanoseconds after `origin`; 0 while open, so that the usual look is one load.
    until_ns: AtomicU64,
    closings: AtomicU64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            until_ns: AtomicU64::new(0),
            closings: AtomicU64::new(0),
        }
    }
}

impl Gate {
    /// Whether answers may pass.
    pub fn is_open(&self) -> bool {
        self.until_ns.load(Relaxed) == 0
    }

    /// Closes it for so long, or longer if it is closed for longer already.
    pub fn close(&self, time: Duration) {
        let until = self.origin.elapsed().saturating_add(time).as_nanos();
        self.closings.fetch_add(1, Relaxed);
        self.until_ns
            .fetch_max(u64::try_from(until).unwrap_or(u64::MAX), Relaxed);
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        loop {
            let until = self.until_ns.load(Relaxed);
            let left = Duration::from_nanos(until).saturating_sub(self.origin.elapsed());
            if until == 0 {
                return;
            }
            if left.is_zero() {
                // Somebody may have closed it again in between; then the exchange fails and we look again.
                _ = self.until_ns.compare_exchange(until, 0, Relaxed, Relaxed);
            } else {
                tokio::time::sleep(left).await;
            }
        }
    }
}

/// A notification to all held streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `notifications/…`.
    pub method: Arc<str>,
    /// The resource it is about.
    pub uri: Option<Arc<str>>,
}

/// Calls that wait, by session and id, so that `notifications/cancelled` on another connection finds them.
#[derive(Debug, Default)]
pub struct Waiting {
    calls: Mutex<WaitingCalls>,
}

/// A call's session and id, and how to wake it.
type WaitingCalls = HashMap<(SessionId, Vec<u8>), Arc<Notify>>;

impl Waiting {
    /// Enters a call for as long as the guard lives.
    pub fn enter(&self, session: SessionId, id: &[u8]) -> WaitingCall<'_> {
        let notify = Arc::new(Notify::new());
        let key = (session, id.to_vec());
        self.calls().insert(key.clone(), Arc::clone(&notify));
        WaitingCall {
            table: self,
            key,
            notify,
        }
    }

    /// Cancels a call; false when it does not wait.
    pub fn cancel(&self, session: SessionId, id: &[u8]) -> bool {
        let found = self.calls().get(&(session, id.to_vec())).cloned();
        if let Some(notify) = &found {
            notify.notify_one();
        }
        found.is_some()
    }

    fn calls(&self) -> MutexGuard<'_, WaitingCalls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that waits.
#[derive(Debug)]
pub struct WaitingCall<'w> {
    table: &'w Waiting,
    key: (SessionId, Vec<u8>),
    notify: Arc<Notify>,
}

impl WaitingCall<'_> {
    /// Comes back once the call is cancelled.
    pub async fn cancelled(&self) {
        self.notify.notified().await;
    }
}

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        self.table.calls().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_gate_opens_by_itself() {
        let gate = Gate::default();
        assert!(gate.is_open());
        gate.close(Duration::from_millis(30));
        assert!(!gate.is_open());
        let began = Instant::now();
        gate.pass().await;
        assert!(gate.is_open() && began.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn only_a_waiting_call_can_be_cancelled() {
        let waiting = Waiting::default();
        let mut rng = SmallRng::seed_from_u64(1);
        let session = Sessions::default().open(Revision::V2025_11_25, &mut rng).unwrap();
        let call = waiting.enter(session, b"1");
        assert!(waiting.cancel(session, b"1") && !waiting.cancel(session, b"2"));
        drop(call);
        assert!(!waiting.cancel(session, b"1"));
    }
}
