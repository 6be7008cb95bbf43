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
//! Here: what is running and who may use it. [`start`] has how it comes to run, [`stop`] how it ends.
//!
//! Lock order: `state` before anything else, and nothing is awaited while it is held.

mod start;
mod stop;

use super::{
    duplex::{Duplex, WeakLink},
    handshake::{Greeting, Opening},
    peer::{Audience, Peer},
    reply::Unavailable,
    session::{LEVELS, Outbox, Session, Sessions},
};
use crate::{
    http_client::HttpClient,
    limits::Limits,
    process::backoff::Backoff,
    random,
    spec::{LocalServer, ServerState, ServerStatus, Sharing, Transport},
};
use bytes::Bytes;
use ringway_proto::revision::Era;
use serde_json::json;
use start::StartFault;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

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
    /// Handshakes under way.
    starting: Vec<WeakLink>,
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
                starting: Vec::new(),
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
        tokio::spawn(stop::tidy(Arc::downgrade(&server)));
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
        let add = || {
            self.sessions
                .add(session.clone(), self.limits.sessions_per_server_max)
        };
        if add() || (self.make_room() && add()) {
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
        let full = |places: &Semaphore| places.available_permits() == 0;
        if full(&self.own_processes) || full(&self.common.processes) {
            // Its process is about to end, and the start waits a moment for a place.
            self.make_room();
        }
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
        // From here on it may have calls to lose.
        state.starting.retain(|link| !link.is(&duplex.link));
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
}

fn retired() -> Unavailable {
    Unavailable {
        reason: "retired",
        text: "is being replaced or removed".into(),
        retry_after: Duration::from_secs(1),
    }
}
