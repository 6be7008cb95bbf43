//! Names to addresses, off the workers.
//!
//! The system's resolver blocks, so workers ask the side thread by message and get shared addresses back. One
//! task owns the cache ([`cache`], plain and tested without a clock); a name is looked up once however many ask.
//! Address literals never leave the worker.
//!
//! What may wait is bounded: questions in the channel and behind lookups by `waiting_max`, lookups at once by
//! `lookups_at_once_max`, one lookup by `lookup_ms`. Beyond a bound the asker is told, not queued.

mod cache;

use super::SideHandle;
use cache::{Cache, Step};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use ringway_core::limits::DnsLimits;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Asks the side thread. Cheap to clone; one per worker.
#[derive(Clone)]
pub struct Resolver {
    questions: async_channel::Sender<Question>,
    names_max: usize,
}

/// Addresses of a name, and until when they may be used without asking again.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Never empty; in the system's order.
    pub addresses: Arc<[SocketAddr]>,
    /// End of the answer's freshness.
    pub fresh_until: Instant,
}

/// Why a name gave no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The lookup failed, with the system's words, and no old answer is left to serve.
    #[error("{0}")]
    Failed(Arc<str>),
    /// Too many lookups wait already.
    #[error("too many name lookups are waiting")]
    Overloaded,
    /// The side thread has stopped.
    #[error("the resolver has stopped")]
    Stopped,
}

/// Looks one name up. The system's resolver, or a script in tests.
pub type Lookup = Arc<dyn Fn(Arc<str>, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

type Answer = Result<Resolved, ResolveError>;
type Name = (Arc<str>, u16);

struct Question {
    name: Name,
    reply: oneshot::Sender<Answer>,
}

impl Resolver {
    /// Starts the resolving task over the system's resolver.
    pub fn start(side: &SideHandle, limits: DnsLimits) -> Self {
        let system = |host: Arc<str>, port| -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            async move { Ok(tokio::net::lookup_host((&*host, port)).await?.collect()) }.boxed()
        };
        Self::with_lookup(side, limits, Arc::new(system))
    }

    /// Starts the resolving task over a lookup of the caller's.
    pub fn with_lookup(side: &SideHandle, limits: DnsLimits, lookup: Lookup) -> Self {
        let (questions, inbox) = async_channel::bounded(limits.waiting_max.max(1));
        let names_max = limits.names_max;
        drop(side.spawn(serve(inbox, limits, lookup)));
        Self { questions, names_max }
    }

    /// How many names are worth remembering, for callers that keep copies.
    pub fn names_max(&self) -> usize {
        self.names_max
    }

    /// The addresses of `host`, with `port` in each.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Arc<[SocketAddr]>, ResolveError> {
        Ok(self.resolve_until(host, port).await?.addresses)
    }

    /// As [`Resolver::resolve`], with the end of the answer's freshness, for callers that keep a copy.
    pub async fn resolve_until(&self, host: &str, port: u16) -> Answer {
        if let Some(address) = literal(host) {
            let addresses: Arc<[SocketAddr]> = Arc::new([SocketAddr::new(address, port)]);
            return Ok(Resolved {
                addresses,
                fresh_until: far_away(),
            });
        }
        let (reply, answer) = oneshot::channel();
        let question = Question {
            name: (Arc::from(host), port),
            reply,
        };
        self.questions.try_send(question).map_err(|e| match e {
            async_channel::TrySendError::Full(_) => ResolveError::Overloaded,
            async_channel::TrySendError::Closed(_) => ResolveError::Stopped,
        })?;
        answer.await.unwrap_or(Err(ResolveError::Stopped))
    }
}

/// Reads an address literal, with or without the brackets a URL puts around IPv6.
pub fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse().ok()
}

/// Literals do not age; a day is for ever for a copy.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}

/// The resolving task: questions in, lookups out, answers back. Ends when every [`Resolver`] is gone.
async fn serve(inbox: async_channel::Receiver<Question>, limits: DnsLimits, lookup: Lookup) {
    let mut cache = Cache::new(limits.clone());
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            question = inbox.recv() => {
                let Ok(Question { name, reply }) = question else { return };
                match cache.ask(name, reply, Instant::now()) {
                    Step::Answered => {}
                    Step::LookUp(name) => running.push(look_up(lookup.clone(), name, limits.lookup_ms)),
                }
            }
            Some((name, outcome)) = running.next() => {
                cache.learn(&name, outcome, Instant::now());
                while let Some(name) = cache.next_queued() {
                    running.push(look_up(lookup.clone(), name, limits.lookup_ms));
                }
            }
        }
    }
}

async fn look_up(lookup: Lookup, name: Name, lookup_ms: u32) -> (Name, io::Result<Vec<SocketAddr>>) {
    let asked = lookup(name.0.clone(), name.1);
    let outcome = match tokio::time::timeout(Duration::from_millis(u64::from(lookup_ms)), asked).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the name lookup took too long",
        )),
    };
    (name, outcome)
}
