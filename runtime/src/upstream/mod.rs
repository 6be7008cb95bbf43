//! Upstream: the HTTP client of one worker toward MCP servers.
//!
//! The life of a request, as [`Pools::send`] walks it:
//!
//! 1. checked: it cannot be read as another request on the wire (`request`)
//! 2. given a connection of this endpoint *and this credential*: an idle one, a stream of a shared one, or leave
//!    to dial; or a place in line (`pool`, `line`)
//! 3. dialled if need be: name, TCP, TLS, within the connect deadline (`dial`, `endpoint`, `tls`)
//! 4. exchanged over HTTP/1.1 or HTTP/2, under its deadlines (`http1`, `http2`, `clock`)
//! 5. sent once more, if and only if the first sending cannot have been processed ([`Again`])
//! 6. answered; the body gives the connection back when it was read to its end (`body`)
//!
//! The rule of step 5 is what keeps a tool from running twice. A request goes out again, once, only when
//! * the kernel took no byte of it (a connection that had been idle was dead at the first write), or
//! * an HTTP/2 peer said so: REFUSED_STREAM, or a GOAWAY whose last stream id is below ours (RFC 9113 §8.7).
//!
//! A connection that dies after the request left and before an answer is *not* such a case, however likely it
//! seems that the server had closed it before: that fault says `sent`, and the caller decides. To make it rare,
//! an idle connection is asked before its use whether its peer has closed it, and is not kept longer than the
//! server's own `Keep-Alive` allows.
//!
//! Nothing here is shared between workers but the resolver's channel and the TLS settings.

mod body;
mod clock;
mod dial;
mod endpoint;
mod fault;
mod http1;
mod http2;
mod line;
mod pool;
mod request;
mod stats;
mod tls;

pub use body::ResponseBody;
pub use endpoint::{Endpoint, EndpointError};
pub use fault::{Fault, FaultKind};
pub use request::Request;
pub use stats::EndpointStats;

use crate::{io, side::dns::Resolver};
use clock::Clock;
use dial::{Dialled, Names};
use endpoint::Identity;
use foldhash::HashMap;
use pool::{Grant, Pool, Slot};
use ringway_core::limits::UpstreamLimits;
use ringway_proto::http::Headers;
use stats::{Counters, count};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// Who the gateway is toward the server, as part of the pool key (DESIGN invariant 10): connections of one
/// credential are never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CredentialId(pub u64);

/// A response whose body is still to be pulled.
pub struct Response {
    /// The final status, 200 or above.
    pub status: u16,
    /// Fields as the server sent them, names in lower case, connection fields included.
    pub headers: Headers,
    /// The body.
    pub body: ResponseBody,
}

/// All connections of one worker.
pub struct Pools {
    shared: Rc<Shared>,
}

/// What the pools of a worker have in common.
struct Shared {
    limits: UpstreamLimits,
    names: Names,
    open: Cell<usize>,
    idle: Cell<usize>,
    pools: RefCell<HashMap<Key, Rc<Pool>>>,
    endpoints: RefCell<HashMap<Identity, Rc<Counters>>>,
    /// Whether the task that closes aged connections runs.
    watching: Cell<bool>,
}

/// Names a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    endpoint: Identity,
    credential: CredentialId,
}

/// A failed sending, and whether the request may go out again.
struct Failed {
    fault: Fault,
    again: Again,
}

/// Where a request that was certainly not processed may go.
enum Again {
    /// It may have been processed.
    No,
    /// A fresh connection in the dead one's place.
    Afresh(Slot),
    /// Any other connection or stream of the pool.
    Elsewhere,
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            again: Again::No,
        }
    }
}

impl Pools {
    /// No connections yet. Call on the worker that will use it.
    pub fn new(resolver: Resolver, limits: UpstreamLimits) -> Rc<Self> {
        Rc::new(Self {
            shared: Rc::new(Shared {
                names: Names::new(resolver),
                limits,
                open: Cell::default(),
                idle: Cell::default(),
                pools: RefCell::default(),
                endpoints: RefCell::default(),
                watching: Cell::default(),
            }),
        })
    }

    /// Sends a request and gives the head of its answer. Dropping the future, or the answer before its end,
    /// ends the exchange at the server: that is how a cancellation reaches it.
    pub async fn send(
        self: &Rc<Self>,
        endpoint: &Arc<Endpoint>,
        credential: CredentialId,
        request: Request,
    ) -> Result<Response, Fault> {
        // What begins with a prefix is checked as it is written; HTTP/2 writes elsewhere.
        if request.prefix.is_none() {
            request.check()?;
        }
        let mut clock = Clock::start(endpoint.timeouts(), request.long_lived);
        let pool = self.shared.pool(endpoint, credential);
        let counters = pool.counters.clone();
        // Boxed, here and below, is whatever most calls do without: a call's future is as large as its rarest turn.
        let grant = match pool.free(clock.now)? {
            Some(grant) => grant,
            None => {
                let grant = Box::pin(pool.wait(&clock)).await?;
                clock = clock.later();
                grant
            }
        };
        drop(pool);
        let failed = match self.try_once(grant, endpoint, &request, &clock, &counters).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        Box::pin(self.send_again(failed, endpoint, credential, &request, &clock, &counters)).await
    }

    /// The second and last sending, where the first certainly was not processed.
    async fn send_again(
        &self,
        first: Failed,
        endpoint: &Arc<Endpoint>,
        credential: CredentialId,
        request: &Request,
        clock: &Clock,
        counters: &Rc<Counters>,
    ) -> Result<Response, Fault> {
        let Failed { fault, again } = first;
        let clock = &clock.later();
        let grant = match again {
            Again::No => return Err(fault),
            Again::Afresh(slot) => Grant::Dial(slot),
            Again::Elsewhere => {
                let pool = self.shared.pool(endpoint, credential);
                match pool.free(clock.now)? {
                    Some(grant) => grant,
                    None => pool.wait(clock).await?,
                }
            }
        };
        tracing::debug!(?endpoint, %fault, "not processed, sending again");
        count(&counters.retried);
        let sent = self.try_once(grant, endpoint, request, clock, counters).await;
        sent.map_err(|failed| failed.fault)
    }

    async fn try_once(
        &self,
        grant: Grant,
        endpoint: &Arc<Endpoint>,
        request: &Request,
        clock: &Clock,
        counters: &Rc<Counters>,
    ) -> Result<Response, Failed> {
        match grant {
            Grant::Reused(connection) => {
                count(&counters.reused);
                let limits = &self.shared.limits;
                http1::exchange(connection, true, endpoint, request, clock, limits).await
            }
            other => Box::pin(self.try_otherwise(other, endpoint, request, clock, counters)).await,
        }
    }

    async fn try_otherwise(
        &self,
        grant: Grant,
        endpoint: &Arc<Endpoint>,
        request: &Request,
        clock: &Clock,
        counters: &Rc<Counters>,
    ) -> Result<Response, Failed> {
        let limits = &self.shared.limits;
        let stream = match grant {
            Grant::Failed(fault) => return Err(fault.into()),
            Grant::Reused(connection) => {
                return http1::exchange(connection, true, endpoint, request, clock, limits).await;
            }
            Grant::Stream(stream) => {
                count(&counters.reused);
                stream
            }
            Grant::Dial(slot) => match self.dial(slot, endpoint, clock, counters).await? {
                Opened::Http1(connection) => {
                    let clock = clock.later();
                    return http1::exchange(connection, false, endpoint, request, &clock, limits).await;
                }
                Opened::Http2(stream) => stream,
            },
        };
        http2::exchange(stream, endpoint, request, clock).await
    }

    /// Opens a connection in `slot`, and tells those in line what was learnt.
    async fn dial(
        &self,
        mut slot: Slot,
        endpoint: &Endpoint,
        clock: &Clock,
        counters: &Rc<Counters>,
    ) -> Result<Opened, Fault> {
        let pool = slot.pool();
        let limits = &self.shared.limits;
        let fail = |fault: Fault| {
            if let Some(pool) = &pool {
                pool.dial_failed(&fault);
            }
            fault
        };
        let dialled = dial::dial(&self.shared.names, endpoint, counters.dialled.get(), clock).await;
        let Dialled { stream, http2 } = dialled.map_err(fail)?;
        count(&counters.dialled);
        counters.http2.set(Some(http2));
        if !http2 {
            slot.established();
            if let Some(pool) = pool {
                pool.serve_line();
            }
            return Ok(Opened::Http1(http1::Connection::new(stream, slot, limits)));
        }
        let connection = http2::start(stream, slot, counters.clone(), limits)
            .await
            .map_err(fail)?;
        let stream = match pool {
            Some(pool) => pool.add_http2(connection),
            None => http2::Stream::open(&connection),
        };
        let lost = || Fault::unsent(FaultKind::Reset, "the connection ended as it was opened");
        Ok(Opened::Http2(stream.ok_or_else(lost)?))
    }

    /// What this worker has and did for each endpoint it met since the last [`Pools::retain`] that dropped it.
    pub fn stats(&self) -> Vec<EndpointStats> {
        self.shared
            .endpoints
            .borrow()
            .values()
            .map(|counters| counters.view())
            .collect()
    }

    /// Closes idle connections of endpoints that `keep` refuses (after a snapshot change); busy ones finish
    /// their answers and close. Compare endpoints by `==`: it ignores deadlines.
    pub fn retain(&self, keep: impl Fn(&Endpoint) -> bool) {
        for pool in self.shared.all_pools() {
            if keep(&pool.endpoint) {
                pool.revive();
            } else {
                pool.retire();
            }
        }
        let mut endpoints = self.shared.endpoints.borrow_mut();
        endpoints.retain(|_, counters| counters.open.get() > 0 || keep(&counters.endpoint));
    }
}

impl Drop for Pools {
    /// Pools know their worker and the worker its pools: the circle is cut here.
    fn drop(&mut self) {
        for pool in self.shared.all_pools() {
            pool.retire();
        }
        let pools = std::mem::take(&mut *self.shared.pools.borrow_mut());
        drop(pools);
    }
}

enum Opened {
    Http1(Box<http1::Connection>),
    Http2(http2::Stream),
}

impl Shared {
    fn pool(self: &Rc<Self>, endpoint: &Arc<Endpoint>, credential: CredentialId) -> Rc<Pool> {
        let key = Key {
            endpoint: endpoint.identity(),
            credential,
        };
        if let Some(pool) = self.pools.borrow().get(&key) {
            pool.revive();
            return pool.clone();
        }
        let counters = self.endpoints.borrow_mut();
        let counters = std::cell::RefMut::map(counters, |endpoints| {
            endpoints
                .entry(key.endpoint)
                .or_insert_with(|| Counters::new(endpoint.clone()))
        });
        let pool = Pool::new(key, endpoint.clone(), counters.clone(), self.clone());
        self.pools.borrow_mut().insert(key, pool.clone());
        pool
    }

    /// A copy of the list, because closing a connection may take its pool out of it.
    fn all_pools(&self) -> Vec<Rc<Pool>> {
        self.pools.borrow().values().cloned().collect()
    }

    /// Takes a pool out that has nothing open and nobody waiting: credentials come and go without end.
    fn forget_if_empty(&self, pool: &Rc<Pool>) {
        let mut pools = self.pools.borrow_mut();
        let same = pools.get(&pool.key).is_some_and(|known| Rc::ptr_eq(known, pool));
        if same && !pool.is_in_use() {
            pools.remove(&pool.key);
        }
    }

    fn keep_idle_in_bounds(self: &Rc<Self>) {
        if self.idle.get() > self.limits.worker_idle_max {
            self.close_oldest_idle();
        }
        self.watch_idle();
    }

    /// Closes the oldest quarter of the idle HTTP/1.1 connections, so that being full costs little per call.
    /// Gives whether there was one.
    fn close_oldest_idle(&self) -> bool {
        let pools = self.all_pools();
        let mut times = Vec::with_capacity(self.idle.get());
        for pool in &pools {
            pool.idle_times(&mut times);
        }
        if times.is_empty() {
            return false;
        }
        let at = times.len() / 4;
        let cut = *times.select_nth_unstable(at).1;
        let closed: usize = pools.iter().map(|pool| pool.close_idle_since(cut)).sum();
        closed > 0
    }

    /// Starts the task that closes aged connections; it ends when none is left to age.
    fn watch_idle(self: &Rc<Self>) {
        if io::running().is_none() || self.watching.replace(true) {
            return;
        }
        let every = Duration::from_millis(u64::from(self.limits.idle_ms / 8).clamp(10, 1_000));
        let shared = Rc::downgrade(self);
        drop(io::spawn(async move {
            loop {
                io::sleep(every).await;
                let Some(shared) = shared.upgrade() else { return };
                let pools = shared.all_pools();
                let now = Instant::now();
                pools.iter().for_each(|pool| pool.close_aged(now));
                if !pools.iter().any(|pool| pool.has_idle()) {
                    return shared.watching.set(false);
                }
            }
        }));
    }
}
