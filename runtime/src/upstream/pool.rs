//! A pool: the connections of one endpoint with one credential, and who waits for them.
//!
//! A call takes one of three things: an idle HTTP/1.1 connection, a stream of an open HTTP/2 connection, or
//! leave to dial. When none is to be had it waits in line, and whatever becomes free goes to the head of the
//! line, never to a newcomer. Each of the three gives itself back when dropped, so a call that is cancelled at
//! any point leaves nothing behind.
//!
//! Which HTTP version the endpoint speaks may be unknown before the first TLS handshake (ALPN decides). Until
//! then one call dials and the others wait for what it learns; for HTTP/2 likewise, because one connection will
//! carry them all. If that dial fails, all who waited for it fail with it: the server is down for each of them.
//!
//! Everything runs on one worker. No borrow of `state` is held over a call that could come back here: dropping a
//! connection does (its slot frees a place), hence the `doomed` lists.

use super::{
    Shared,
    clock::{Clock, End},
    endpoint::Endpoint,
    fault::{Fault, FaultKind},
    http1::Connection,
    http2::{Http2, Stream},
    line::{Line, Place},
    stats::Counters,
};
use ringway_proto::snapshot::HttpVersion;
use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

/// One endpoint with one credential.
pub(super) struct Pool {
    pub key: super::Key,
    pub endpoint: Arc<Endpoint>,
    pub counters: Rc<Counters>,
    shared: Rc<Shared>,
    state: RefCell<State>,
    line: Line<Grant>,
    /// Set while [`Pool::serve_line`] runs, which dropping a connection could enter again.
    serving: Cell<bool>,
    /// Set when the endpoint has left the snapshot: connections close instead of idling.
    retired: Cell<bool>,
}

#[derive(Default)]
struct State {
    /// Youngest last: it is taken first, so that the others age and close.
    idle: Vec<Idle>,
    /// Connections that take new streams.
    http2: Vec<Rc<Http2>>,
    /// Slots given out: open connections and dials under way.
    open: usize,
    dialling: usize,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

/// What a call gets.
pub(super) enum Grant {
    /// A connection that has served before.
    Reused(Box<Connection>),
    /// A stream.
    Stream(Stream),
    /// Leave to open a connection.
    Dial(Slot),
    /// The dial that the call waited for has failed.
    Failed(Fault),
}

/// The right to have one connection open; counts for pool, endpoint and worker until dropped.
pub(super) struct Slot {
    pool: Weak<Pool>,
    shared: Rc<Shared>,
    counters: Rc<Counters>,
    dialling: bool,
}

/// A connection whose last answer came this recently is used without asking whether its peer has closed it since: the
/// question is a system call, and under load would be asked of connections that answered microseconds ago.
const FRESH: Duration = Duration::from_micros(100);
/// An idle connection keeps its buffers for so long, for the next call of a busy spell.
const KEEPS_BUFFERS: Duration = Duration::from_secs(1);

/// What is known of the endpoint's HTTP version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
    Unknown,
}

impl Pool {
    pub(super) fn new(
        key: super::Key,
        endpoint: Arc<Endpoint>,
        counters: Rc<Counters>,
        shared: Rc<Shared>,
    ) -> Rc<Self> {
        Rc::new(Self {
            key,
            endpoint,
            counters,
            line: Line::new(shared.limits.pool_waiting_max),
            shared,
            state: RefCell::default(),
            serving: Cell::new(false),
            retired: Cell::new(false),
        })
    }

    /// What is free for a newcomer, who does not pass those in line.
    pub(super) fn free(self: &Rc<Self>, now: Instant) -> Result<Option<Grant>, Fault> {
        if self.line.is_empty() {
            self.take(now)
        } else {
            Ok(None)
        }
    }

    /// Waits in line.
    pub(super) async fn wait(self: &Rc<Self>, clock: &Clock) -> Result<Grant, Fault> {
        let waiting = InLine::enter(self)?;
        // Something may be free that nobody told this pool of: a place of the worker.
        self.serve_line();
        let end = clock.end(clock.connect, FaultKind::PoolFull);
        match end.bound(waiting.place.turn()).await {
            Ok(Grant::Failed(fault)) => Err(fault),
            Ok(grant) => Ok(grant),
            Err(kind) => Err(End::fault(kind, false, "free connection")),
        }
    }

    /// What is free right now. An error means that waiting would be in vain.
    fn take(self: &Rc<Self>, now: Instant) -> Result<Option<Grant>, Fault> {
        if let Some(stream) = self.take_stream() {
            return Ok(Some(Grant::Stream(stream)));
        }
        if let Some(connection) = self.take_idle(now) {
            return Ok(Some(Grant::Reused(connection)));
        }
        Ok(self.take_slot()?.map(Grant::Dial))
    }

    /// A stream of the connection with most room, so that load spreads.
    fn take_stream(&self) -> Option<Stream> {
        let state = self.state.borrow();
        let roomiest = state.http2.iter().max_by_key(|c| c.room())?;
        Stream::open(roomiest)
    }

    /// The youngest idle connection that is neither too old nor closed by its peer.
    fn take_idle(&self, now: Instant) -> Option<Box<Connection>> {
        loop {
            let Idle { connection, since } = self.state.borrow_mut().idle.pop()?;
            self.count_idle(-1);
            let idle = now.saturating_duration_since(since);
            if idle < connection.idle_limit() && (idle < FRESH || connection.is_quiet()) {
                return Some(connection);
            }
        }
    }

    fn take_slot(self: &Rc<Self>) -> Result<Option<Slot>, Fault> {
        let limits = &self.shared.limits;
        let room = {
            let state = self.state.borrow();
            match self.speaks() {
                Speaks::Http1 => state.open < limits.pool_open_max,
                Speaks::Http2 => {
                    state.dialling == 0 && state.http2.len() < limits.http2_connections_max.max(1)
                }
                Speaks::Unknown => state.dialling == 0,
            }
        };
        if !room {
            return Ok(None);
        }
        if self.shared.open.get() >= limits.worker_open_max && !self.shared.close_oldest_idle() {
            if self.state.borrow().open > 0 {
                return Ok(None);
            }
            // Nobody of this pool could free a place, so nobody would wake the caller.
            return Err(Fault::unsent(
                FaultKind::PoolFull,
                "this worker's connections are all in use",
            ));
        }
        Ok(Some(Slot::new(self)))
    }

    fn speaks(&self) -> Speaks {
        match self.endpoint.http() {
            HttpVersion::Http1 => Speaks::Http1,
            HttpVersion::Http2 => Speaks::Http2,
            HttpVersion::Auto if !self.endpoint.is_tls() => Speaks::Http1,
            HttpVersion::Auto => match self.counters.http2.get() {
                None => Speaks::Unknown,
                Some(true) => Speaks::Http2,
                Some(false) => Speaks::Http1,
            },
        }
    }

    /// Gives what is free to those in line, head first. Called whenever something became free.
    pub(super) fn serve_line(self: &Rc<Self>) {
        if self.serving.replace(true) {
            return;
        }
        while !self.line.is_empty() {
            let grant = match self.take(Instant::now()) {
                Ok(Some(grant)) => grant,
                Ok(None) => break,
                Err(fault) => Grant::Failed(fault),
            };
            if let Some(grant) = self.line.give(grant) {
                self.give_back(grant);
            }
        }
        self.serving.set(false);
    }

    fn give_back(self: &Rc<Self>, grant: Grant) {
        match grant {
            Grant::Reused(connection) => self.put_idle(connection),
            // These give themselves back.
            Grant::Stream(_) | Grant::Dial(_) | Grant::Failed(_) => drop(grant),
        }
    }

    /// Takes back a connection whose last answer was read to its end.
    pub(super) fn put_idle(self: &Rc<Self>, connection: Box<Connection>) {
        let limits = &self.shared.limits;
        if self.retired.get() {
            return drop(connection);
        }
        let oldest = {
            let mut state = self.state.borrow_mut();
            state.idle.push(Idle {
                connection,
                since: Instant::now(),
            });
            let many = state.idle.len() > limits.pool_idle_max;
            many.then(|| state.idle.remove(0))
        };
        if oldest.is_none() {
            self.count_idle(1);
        }
        drop(oldest);
        self.shared.keep_idle_in_bounds();
        self.serve_line();
    }

    /// Adds a connection that takes streams, and gives the dialler the first of them.
    pub(super) fn add_http2(self: &Rc<Self>, connection: Rc<Http2>) -> Option<Stream> {
        let stream = Stream::open(&connection);
        if !self.retired.get() {
            self.state.borrow_mut().http2.push(connection);
            self.shared.watch_idle();
        }
        self.serve_line();
        stream
    }

    /// Takes a connection out that takes no more streams; those it has go on.
    pub(super) fn remove_http2(self: &Rc<Self>, connection: &Http2) {
        let gone = {
            let mut state = self.state.borrow_mut();
            let at = state
                .http2
                .iter()
                .position(|c| std::ptr::eq(Rc::as_ptr(c), connection));
            at.map(|at| state.http2.swap_remove(at))
        };
        drop(gone);
        self.serve_line();
    }

    /// A dial has failed. Those in line who waited for it, and for nothing else, fail with it.
    pub(super) fn dial_failed(self: &Rc<Self>, fault: &Fault) {
        let alone = {
            let state = self.state.borrow();
            self.speaks() != Speaks::Http1 && state.http2.is_empty()
        };
        while alone && !self.line.is_empty() {
            self.line.give(Grant::Failed(fault.clone()));
        }
    }

    /// Closes what has been idle too long, and takes the buffers of what has been idle for a while.
    pub(super) fn close_aged(&self, now: Instant) {
        let limit = Duration::from_millis(u64::from(self.shared.limits.idle_ms));
        let mut doomed = Vec::new();
        let mut doomed_http2 = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            let aged = |i: &mut Idle| now.duration_since(i.since) >= i.connection.idle_limit();
            doomed.extend(state.idle.extract_if(.., aged));
            let quiet = |i: &&mut Idle| now.duration_since(i.since) >= KEEPS_BUFFERS;
            state
                .idle
                .iter_mut()
                .filter(quiet)
                .for_each(|i| i.connection.release());
            doomed_http2.extend(state.http2.extract_if(.., |c| c.is_idle_since(now, limit)));
        }
        self.count_idle(-(doomed.len() as isize));
    }

    /// When each idle HTTP/1.1 connection came back.
    pub(super) fn idle_times(&self, into: &mut Vec<Instant>) {
        into.extend(self.state.borrow().idle.iter().map(|i| i.since));
    }

    /// Closes HTTP/1.1 connections idle since `cut` or longer; gives their number.
    pub(super) fn close_idle_since(&self, cut: Instant) -> usize {
        let doomed: Vec<Idle> = self
            .state
            .borrow_mut()
            .idle
            .extract_if(.., |i| i.since <= cut)
            .collect();
        self.count_idle(-(doomed.len() as isize));
        doomed.len()
    }

    /// Closes all idle connections and lets the busy ones finish without coming back.
    pub(super) fn retire(self: &Rc<Self>) {
        self.retired.set(true);
        let doomed = {
            let mut state = self.state.borrow_mut();
            (std::mem::take(&mut state.idle), std::mem::take(&mut state.http2))
        };
        self.count_idle(-(doomed.0.len() as isize));
        drop(doomed);
        self.serve_line();
    }

    /// The endpoint is wanted (again).
    pub(super) fn revive(&self) {
        self.retired.set(false);
    }

    /// Whether anything is open, dialled or awaited.
    pub(super) fn is_in_use(&self) -> bool {
        let state = self.state.borrow();
        state.open > 0 || !self.line.is_empty()
    }

    /// Whether something idles here that ages.
    pub(super) fn has_idle(&self) -> bool {
        let state = self.state.borrow();
        !state.idle.is_empty() || !state.http2.is_empty()
    }

    fn count_idle(&self, by: isize) {
        for count in [&self.shared.idle, &self.counters.idle] {
            count.set(count.get().saturating_add_signed(by));
        }
    }
}

impl Slot {
    fn new(pool: &Rc<Pool>) -> Self {
        let mut state = pool.state.borrow_mut();
        state.open += 1;
        state.dialling += 1;
        pool.shared.open.set(pool.shared.open.get() + 1);
        pool.counters.open.set(pool.counters.open.get() + 1);
        Self {
            pool: Rc::downgrade(pool),
            shared: pool.shared.clone(),
            counters: pool.counters.clone(),
            dialling: true,
        }
    }

    /// The pool, unless the worker has dropped it.
    pub(super) fn pool(&self) -> Option<Rc<Pool>> {
        self.pool.upgrade()
    }

    /// The dial is over; gives whether it was not before.
    pub(super) fn established(&mut self) -> bool {
        self.set_dialling(false)
    }

    /// The connection has failed and its slot is used for another one.
    pub(super) fn redial(&mut self) {
        self.set_dialling(true);
    }

    fn set_dialling(&mut self, dialling: bool) -> bool {
        if std::mem::replace(&mut self.dialling, dialling) == dialling {
            return false;
        }
        if let Some(pool) = self.pool.upgrade() {
            let mut state = pool.state.borrow_mut();
            state.dialling = if dialling {
                state.dialling + 1
            } else {
                state.dialling.saturating_sub(1)
            };
        }
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.set_dialling(false);
        for count in [&self.shared.open, &self.counters.open] {
            count.set(count.get().saturating_sub(1));
        }
        if let Some(pool) = self.pool.upgrade() {
            {
                let mut state = pool.state.borrow_mut();
                state.open = state.open.saturating_sub(1);
            }
            pool.serve_line();
            self.shared.forget_if_empty(&pool);
        }
    }
}

/// A call in line. Leaving gives back what was granted and not taken.
struct InLine<'p> {
    pool: &'p Rc<Pool>,
    place: Place<'p, Grant>,
}

impl<'p> InLine<'p> {
    fn enter(pool: &'p Rc<Pool>) -> Result<Self, Fault> {
        let Some(place) = pool.line.enter() else {
            return Err(Fault::unsent(
                FaultKind::PoolFull,
                "too many calls wait for this server",
            ));
        };
        pool.counters.waiting.set(pool.counters.waiting.get() + 1);
        Ok(Self { pool, place })
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let waiting = &self.pool.counters.waiting;
        waiting.set(waiting.get().saturating_sub(1));
        if let Some(grant) = self.place.leave() {
            self.pool.give_back(grant);
        }
    }
}
