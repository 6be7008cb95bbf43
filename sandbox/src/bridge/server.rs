//! One registered server: started on demand, restarted with back-off, stopped when idle or replaced.
//!
//! ```text
//! Empty ──(request)──► Starting ──► Running ──(idle, replaced)──► Empty
//!   ▲                     │            │
//!   └──(back-off passes)──┴─(fails)────┘
//! ```
//!
//! The slot holds the *common* peer: the shared process, or any modern one. With [`Sharing::PerSession`] a legacy
//! server has no common peer; each session starts its own through [`Server::own`]. A start runs in a task of its
//! own, so a client that loses patience does not waste it.
//!
//! Lock order: `state` before anything else, and nothing is awaited while it is held.

use super::{
    duplex::{Duplex, Link},
    handshake::{Fault, Greeting, Opening, shake},
    peer::{Audience, Peer},
    reply::Unavailable,
    session::{LEVELS, Outbox, Session, Sessions},
    sse, stdio,
};
use crate::{
    http_client::{Address, HttpClient},
    limits::Limits,
    process::backoff::Backoff,
    random,
    spec::{LocalServer, ServerState, ServerStatus, Sharing, Transport},
};
use bytes::Bytes;
use ringway_proto::revision::Era;
use serde_json::json;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

/// A start tries at most this often: probe, then once with each era.
const TRIES_MAX: usize = 3;
/// How long a start waits for a place among the processes: one that is being stopped may be about to free it.
const PLACE_WAIT: Duration = Duration::from_secs(1);

/// What all servers of one sandbox share.
#[derive(Clone)]
pub(crate) struct Common {
    pub limits: Arc<Limits>,
    pub processes: Arc<Semaphore>,
    pub client: HttpClient,
}

/// Who answers requests that come without a session.
pub(crate) enum Partner {
    /// This peer, whoever asks.
    Peer(Arc<Peer>),
    /// Nobody: each session has its own.
    PerSession,
}

/// See the module.
pub(crate) struct Server {
    pub spec: LocalServer,
    pub name: Arc<str>,
    pub limits: Arc<Limits>,
    pub sessions: Arc<Sessions>,
    /// Held while a subscription is decided and sent, so that the server hears the last word last.
    pub subscribing: tokio::sync::Mutex<()>,
    calls: Arc<Semaphore>,
    listens: Arc<Semaphore>,
    common: Common,
    own_processes: Arc<Semaphore>,
    state: Mutex<State>,
    this: Weak<Self>,
}

struct State {
    era: Option<Era>,
    slot: Slot,
    /// Everything that runs, the slot's peer included.
    peers: Vec<Arc<Peer>>,
    backoff: Backoff,
    hopeless: bool,
    failures: u64,
    last_error: Option<String>,
    last_used: Instant,
    retired: bool,
}

enum Slot {
    Empty,
    Starting(watch::Receiver<Option<Started>>),
    Running(Arc<Peer>),
}

/// How a start of the common peer ended; `None` inside: legacy, and each session has its own.
type Started = Result<Option<Arc<Peer>>, Unavailable>;

/// A start that did not succeed.
enum StartFault {
    /// No place among the processes.
    Busy(&'static str),
    /// Trying again soon is no use.
    Hopeless(String),
    /// The rest of a sentence that begins with the server's name, and the last line of its stderr.
    Failed(String, String),
}

impl Server {
    pub(crate) fn new(spec: LocalServer, common: Common) -> Arc<Self> {
        let limits = common.limits.clone();
        let server = Arc::new_cyclic(|this| Self {
            name: spec.name.as_str().into(),
            sessions: Arc::default(),
            subscribing: tokio::sync::Mutex::default(),
            calls: Arc::new(Semaphore::new(limits.calls_per_server_max)),
            listens: Arc::new(Semaphore::new(limits.sessions_per_server_max)),
            own_processes: Arc::new(Semaphore::new(limits.processes_per_server_max)),
            state: Mutex::new(State {
                // A legacy transport carries a legacy server.
                era: matches!(spec.transport, Transport::LegacySse { .. }).then_some(Era::Legacy),
                slot: Slot::Empty,
                peers: Vec::new(),
                backoff: Backoff::default(),
                hopeless: false,
                failures: 0,
                last_error: None,
                last_used: Instant::now(),
                retired: false,
            }),
            spec,
            limits,
            common,
            this: this.clone(),
        });
        tokio::spawn(tidy(Arc::downgrade(&server)));
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The era, once it is known.
    pub(crate) fn era(&self) -> Option<Era> {
        self.state().era
    }

    /// A place among the calls under way, or among the listens, which last.
    pub(crate) fn place(&self, listen: bool) -> Result<OwnedSemaphorePermit, Unavailable> {
        self.state().last_used = Instant::now();
        let places = if listen { &self.listens } else { &self.calls };
        places.clone().try_acquire_owned().map_err(|_| Unavailable {
            reason: "too_many_calls",
            text: "has as many calls under way as it is allowed".into(),
            retry_after: Duration::from_secs(1),
        })
    }

    /// The common peer if it runs.
    pub(crate) fn running(&self) -> Option<Arc<Peer>> {
        match &self.state().slot {
            Slot::Running(peer) if peer.alive() => Some(peer.clone()),
            _ => None,
        }
    }

    /// Who answers requests without a session; started when it does not run. Take a [`Server::place`] first: a
    /// server with a place taken is not idle.
    pub(crate) async fn partner(&self) -> Result<Partner, Unavailable> {
        let mut started = {
            let mut state = self.state();
            match &state.slot {
                Slot::Running(peer) if peer.alive() => return Ok(Partner::Peer(peer.clone())),
                Slot::Starting(started) => started.clone(),
                _ if self.spec.sharing == Sharing::PerSession && state.era == Some(Era::Legacy) => {
                    return Ok(Partner::PerSession);
                }
                _ => {
                    state.ready()?;
                    let (announce, started) = watch::channel(None);
                    state.slot = Slot::Starting(started.clone());
                    if let Some(this) = self.this.upgrade() {
                        tokio::spawn(async move {
                            let outcome = this.start_common().await;
                            announce.send_replace(Some(outcome));
                        });
                    }
                    started
                }
            }
        };
        let outcome = timeout(self.limits.start_wait, started.wait_for(Option::is_some)).await;
        match outcome.as_ref().map(|outcome| outcome.as_deref()) {
            Ok(Ok(Some(Ok(Some(peer))))) => Ok(Partner::Peer(peer.clone())),
            Ok(Ok(Some(Ok(None)))) => Ok(Partner::PerSession),
            Ok(Ok(Some(Err(why)))) => Err(why.clone()),
            // Still starting; or the task went down with its runtime.
            _ => Err(Unavailable {
                reason: "starting",
                text: "is still starting".into(),
                retry_after: Duration::from_secs(5),
            }),
        }
    }

    async fn start_common(&self) -> Started {
        let opening = match self.spec.sharing {
            Sharing::Shared => Opening::Shared,
            Sharing::PerSession => Opening::Probe,
        };
        let outcome = self.open(&opening).await;
        let mut state = self.state();
        state.slot = Slot::Empty;
        let (duplex, greeting) = match outcome {
            Ok(opened) => opened,
            Err(fault) => return Err(state.failed(&self.name, fault, &self.limits)),
        };
        state.hopeless = false;
        if matches!(greeting, Greeting::Unopened) {
            duplex.link.stop();
            return Ok(None);
        }
        if state.retired {
            duplex.link.stop();
            return Err(retired());
        }
        let audience = match greeting.era() {
            Era::Modern => Audience::Nobody,
            Era::Legacy => Audience::All(self.sessions.clone()),
        };
        let peer = self.run(&mut state, duplex, greeting, audience);
        state.slot = Slot::Running(peer.clone());
        state.last_used = Instant::now();
        drop(state);
        self.restore(&peer);
        Ok(Some(peer))
    }

    /// Sessions outlive a shared process; a new one hears what they wanted of the old one.
    fn restore(&self, peer: &Peer) {
        if peer.era() == Era::Legacy {
            for uri in self.sessions.subscriptions() {
                peer.send_own("resources/subscribe", json!({ "uri": uri }));
            }
            if let Some(level) = self.sessions.level(None) {
                peer.send_own("logging/setLevel", json!({ "level": LEVELS[level] }));
            }
        }
    }

    /// Starts a session: with a process of its own, initialized by `doc`, when each session has one.
    pub(crate) async fn open_session(&self, own: Option<Bytes>) -> Result<Arc<Session>, Unavailable> {
        let outbox = Arc::new(Outbox::new(self.limits.session_queue_max));
        let peer = match own {
            Some(doc) => Some(self.own(doc, outbox.clone()).await?),
            None => None,
        };
        let session = Arc::new(Session::new(random::token(), outbox, peer));
        if self
            .sessions
            .add(session.clone(), self.limits.sessions_per_server_max)
        {
            return Ok(session);
        }
        if let Some(peer) = &session.peer {
            peer.stop();
        }
        Err(Unavailable {
            reason: "too_many_sessions",
            text: "has as many sessions as it is allowed".into(),
            retry_after: Duration::from_secs(30),
        })
    }

    async fn own(&self, doc: Bytes, outbox: Arc<Outbox>) -> Result<Arc<Peer>, Unavailable> {
        self.state().ready()?;
        let outcome = match timeout(self.limits.start_wait, self.open(&Opening::Client(doc))).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StartFault::Failed(
                "did not start in time".to_owned(),
                String::new(),
            )),
        };
        let mut state = self.state();
        let (duplex, greeting) = outcome.map_err(|fault| state.failed(&self.name, fault, &self.limits))?;
        if state.retired {
            duplex.link.stop();
            return Err(retired());
        }
        match greeting.era() {
            Era::Legacy => Ok(self.run(&mut state, duplex, greeting, Audience::One(outbox))),
            Era::Modern => {
                duplex.link.stop();
                Err(Unavailable {
                    reason: "era_changed",
                    text: "has changed to the modern era".into(),
                    retry_after: Duration::from_secs(1),
                })
            }
        }
    }

    fn run(&self, state: &mut State, duplex: Duplex, greeting: Greeting, audience: Audience) -> Arc<Peer> {
        let peer = Peer::start(self.name.clone(), duplex, greeting, audience, self.limits.clone());
        state.peers.push(peer.clone());
        let (this, watched) = (self.this.clone(), peer.clone());
        tokio::spawn(async move {
            let how = watched.ended().await;
            if let Some(this) = this.upgrade() {
                this.lost(&watched, &how);
            }
        });
        peer
    }

    /// A peer has ended. A shared one takes nothing along; a session's own takes the session, because what the
    /// process knew of it is gone and the client must initialize again.
    fn lost(&self, peer: &Arc<Peer>, how: &str) {
        let mut state = self.state();
        state.peers.retain(|p| !Arc::ptr_eq(p, peer));
        if matches!(&state.slot, Slot::Running(p) if Arc::ptr_eq(p, peer)) {
            state.slot = Slot::Empty;
        }
        if !peer.was_stopped() {
            tracing::warn!(server = %self.name, "local server {how}");
            state.note(how, &peer.link.last_words());
            // A session's own process that crashed on its client's call says nothing about the others'.
            if !peer.is_own() {
                state.backoff.failed(
                    Instant::now(),
                    peer.since.elapsed(),
                    random::fraction(),
                    &self.limits,
                );
            }
        }
        drop(state);
        self.sessions
            .remove_such(|session| session.peer.as_ref().is_some_and(|p| Arc::ptr_eq(p, peer)));
    }

    /// Opens a channel and shakes hands, trying the other era where that may help.
    async fn open(&self, opening: &Opening) -> Result<(Duplex, Greeting), StartFault> {
        let tries = async {
            let mut era = self.era();
            for _ in 0..TRIES_MAX {
                let mut duplex = self.connect().await?;
                match shake(&mut duplex, era, opening, self.limits.probe_deadline).await {
                    Ok(greeting) => {
                        self.state().era = Some(greeting.era());
                        return Ok((duplex, greeting));
                    }
                    Err(Fault::Again(other)) => {
                        era = Some(other);
                        close(duplex).await;
                    }
                    Err(Fault::Failed(what)) => {
                        // The server may have changed its era since; ask again next time.
                        if matches!(self.spec.transport, Transport::Stdio(_)) {
                            self.state().era = None;
                        }
                        return Err(explained(duplex, what).await);
                    }
                }
            }
            Err(StartFault::Failed(
                "speaks neither era for long".to_owned(),
                String::new(),
            ))
        };
        match timeout(self.limits.start_deadline, tries).await {
            Ok(outcome) => outcome,
            // Dropping the channel has begun the stop.
            Err(_) => Err(StartFault::Failed(
                format!(
                    "did not finish its handshake within {:?}",
                    self.limits.start_deadline
                ),
                String::new(),
            )),
        }
    }

    async fn connect(&self) -> Result<Duplex, StartFault> {
        match &self.spec.transport {
            Transport::Stdio(launch) => {
                let place = |places: &Arc<Semaphore>| {
                    let places = places.clone();
                    async {
                        timeout(PLACE_WAIT, places.acquire_owned())
                            .await
                            .ok()
                            .and_then(Result::ok)
                    }
                };
                let own = place(&self.own_processes).await;
                let own = own.ok_or(StartFault::Busy("has as many processes as it is allowed"))?;
                let any = place(&self.common.processes).await;
                let any = any.ok_or(StartFault::Busy(
                    "cannot start: the gateway runs as many processes as it is allowed",
                ))?;
                stdio::open(launch, &self.limits, vec![own, any]).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => {
                        StartFault::Hopeless(format!(
                            "cannot be started: {:?} or its working directory cannot be used ({error}); install the program or correct the configuration",
                            launch.program
                        ))
                    }
                    _ => StartFault::Failed(format!("cannot be started ({error})"), String::new()),
                })
            }
            Transport::LegacySse { url, headers } => {
                let address = Address::parse(url)
                    .map_err(|e| StartFault::Hopeless(format!("has no usable address: {e}")))?;
                let target = sse::Target {
                    name: self.spec.name.clone(),
                    address,
                    headers: headers.clone(),
                };
                sse::open(&self.common.client, target, &self.limits)
                    .await
                    .map_err(|what| StartFault::Failed(what, String::new()))
            }
        }
    }

    /// Ends a session: its calls, its subscriptions, and its process when it has one of its own.
    pub(crate) fn end_session(&self, session: &Arc<Session>) {
        if let Some(own) = &session.peer {
            own.cancel_all(session);
            return own.stop();
        }
        let Some(peer) = self.running() else { return };
        peer.cancel_all(session);
        let wanted = self.sessions.subscriptions();
        for uri in session.subscriptions() {
            if !wanted.contains(&uri) {
                peer.send_own("resources/unsubscribe", json!({ "uri": uri }));
            }
        }
    }

    /// How it is doing.
    pub(crate) fn status(&self) -> ServerStatus {
        let state = self.state();
        let alive: Vec<&Arc<Peer>> = state.peers.iter().filter(|peer| peer.alive()).collect();
        let remaining = state.backoff.wait(Instant::now());
        ServerStatus {
            name: self.spec.name.clone(),
            state: match (&state.slot, remaining) {
                (Slot::Starting(_), _) => ServerState::Starting,
                _ if !alive.is_empty() => ServerState::Running,
                (_, Some(remaining)) if state.hopeless => ServerState::Failed { remaining },
                (_, Some(remaining)) => ServerState::BackingOff { remaining },
                (_, None) => ServerState::Idle,
            },
            era: state.era,
            pids: alive.iter().filter_map(|peer| peer.link.pid()).collect(),
            sessions: self.sessions.len() + self.limits.sessions_per_server_max
                - self.listens.available_permits(),
            calls: alive.iter().map(|peer| peer.calls_under_way()).sum::<usize>(),
            failures: state.failures,
            last_error: state.last_error.clone(),
        }
    }

    /// Takes nothing new, lets calls under way finish until the deadline, then stops everything and waits until it
    /// is gone.
    pub(crate) async fn retire(&self, deadline: Duration) {
        let peers = {
            let mut state = self.state();
            state.retired = true;
            state.peers.clone()
        };
        for peer in &peers {
            peer.end_listens();
        }
        let all = u32::try_from(self.limits.calls_per_server_max).unwrap_or(u32::MAX);
        let _ = timeout(deadline, self.calls.acquire_many(all)).await;
        self.stop_all().await;
    }

    async fn stop_all(&self) {
        // A start under way sees `retired` and stops what it started.
        let starting = match &self.state().slot {
            Slot::Starting(started) => Some(started.clone()),
            _ => None,
        };
        self.sessions.remove_such(|_| true);
        let peers = self.state().peers.clone();
        for peer in &peers {
            peer.stop();
        }
        for peer in peers {
            peer.link.gone().await;
        }
        if let Some(mut started) = starting {
            let _ = timeout(self.limits.eof_grace, started.wait_for(Option::is_some)).await;
        }
    }

    /// Begins to stop everything, without waiting.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        state.retired = true;
        for peer in &state.peers {
            peer.stop();
        }
    }

    fn tidy(&self, now: Instant) {
        for session in self.sessions.remove_expired(now, self.limits.session_idle) {
            tracing::debug!(server = %self.name, "an idle session has expired");
            self.end_session(&session);
        }
        let mut state = self.state();
        let quiet = now.saturating_duration_since(state.last_used) >= self.spec.idle_stop
            && self.sessions.len() == 0
            && self.calls.available_permits() == self.limits.calls_per_server_max
            && self.listens.available_permits() == self.limits.sessions_per_server_max;
        if quiet && let Slot::Running(peer) = &state.slot {
            tracing::info!(server = %self.name, "local server is idle; stopping it");
            peer.stop();
            state.slot = Slot::Empty;
        }
    }
}

impl State {
    /// Whether a start may be tried.
    fn ready(&self) -> Result<(), Unavailable> {
        if self.retired {
            return Err(retired());
        }
        match self.backoff.wait(Instant::now()) {
            None => Ok(()),
            Some(retry_after) => Err(Unavailable {
                reason: if self.hopeless {
                    "cannot_start"
                } else {
                    "backing_off"
                },
                text: match self.hopeless {
                    true => "cannot be started; an operator finds the reason in its status".into(),
                    false => "has failed repeatedly and is not started again yet".into(),
                },
                retry_after,
            }),
        }
    }

    fn note(&mut self, what: &str, last_words: &str) {
        self.failures += 1;
        self.last_error = Some(match last_words {
            "" => what.to_owned(),
            words => format!("{what}; its last words: {words}"),
        });
    }

    fn failed(&mut self, name: &str, fault: StartFault, limits: &Limits) -> Unavailable {
        let now = Instant::now();
        let text = match fault {
            // Nothing is wrong with the server itself.
            StartFault::Busy(text) => {
                return Unavailable {
                    reason: "too_many_processes",
                    text: text.into(),
                    retry_after: Duration::from_secs(5),
                };
            }
            StartFault::Hopeless(text) => {
                self.hopeless = true;
                self.backoff.hopeless(now, limits);
                self.note(&text, "");
                text
            }
            StartFault::Failed(text, last_words) => {
                self.hopeless = false;
                self.backoff
                    .failed(now, Duration::ZERO, random::fraction(), limits);
                self.note(&text, &last_words);
                text
            }
        };
        tracing::warn!(server = name, "local server {text}");
        let retry_after = self.backoff.wait(now).unwrap_or_default();
        Unavailable {
            reason: "start_failed",
            text: text.into(),
            retry_after,
        }
    }
}

fn retired() -> Unavailable {
    Unavailable {
        reason: "retired",
        text: "is being replaced or removed".into(),
        retry_after: Duration::from_secs(1),
    }
}

/// Adds how the process ended, if it did, to what the handshake saw.
async fn explained(duplex: Duplex, what: String) -> StartFault {
    /// The pipe closes a moment before the process is seen to have ended.
    const MOMENT: Duration = Duration::from_millis(200);
    let ended = timeout(MOMENT, duplex.link.ended()).await;
    let text = match ended {
        Ok(how) => format!("{what} (it {how})"),
        Err(_) => what,
    };
    let last_words = duplex.link.last_words();
    close(duplex).await;
    StartFault::Failed(text, last_words)
}

async fn close(duplex: Duplex) {
    let link: Link = duplex.link.clone();
    drop(duplex);
    link.stop();
    link.gone().await;
}

/// Ends idle sessions and idle processes for as long as the server exists.
async fn tidy(server: Weak<Server>) {
    let pause = match server.upgrade() {
        Some(server) => server.spec.idle_stop.min(server.limits.session_idle) / 4,
        None => return,
    };
    let pause = pause.clamp(Duration::from_millis(20), Duration::from_secs(15));
    loop {
        sleep(pause).await;
        match server.upgrade() {
            Some(server) => server.tidy(Instant::now()),
            None => return,
        }
    }
}
