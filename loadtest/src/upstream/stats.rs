//! What the server counted, so that a generator's own numbers can be held against it.
//!
//! Every thread has its own table of counters, which only it adds to; a reader sums them. `GET /stats` on the
//! admin address and `Handle::stats` give the same [`Stats`].

use super::faults::FaultKind;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One thing that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        /// Every counter with its name in `/stats`.
        pub const COUNTERS: &[(Counter, &str)] = &[$((Counter::$variant, $name),)*];
    };
}

counters! {
    /// Connections accepted.
    Connections = "connections",
    /// Of these, those that have ended.
    ConnectionsClosed = "connections_closed",
    /// Connections that spoke HTTP/2.
    ConnectionsHttp2 = "connections_http2",
    /// HTTP requests whose body was read.
    Requests = "requests",
    /// `tools/call` requests, whatever became of them.
    Calls = "calls",
    /// Calls whose right result was sent to its last byte.
    CallsAnswered = "calls_answered",
    /// Calls of `echo`.
    CallsEcho = "calls_echo",
    /// Calls of `sized`.
    CallsSized = "calls_sized",
    /// Calls of `sleep`.
    CallsSleep = "calls_sleep",
    /// Calls of `progress`.
    CallsProgress = "calls_progress",
    /// Calls of `fail`, answered with `isError`.
    CallsFail = "calls_fail",
    /// Calls of `error`, answered with a JSON-RPC error.
    CallsError = "calls_error",
    /// Calls of the synthetic catalogue.
    CallsSynthetic = "calls_synthetic",
    /// Calls of tools that do not exist.
    CallsUnknown = "calls_unknown",
    /// Pages of `tools/list`.
    ToolLists = "tool_lists",
    /// `resources/read` requests.
    Reads = "reads",
    /// Notifications received.
    Notifications = "notifications",
    /// Requests refused by the protocol's rules: bad headers, unknown methods and sessions, malformed messages.
    Refused = "refused",
    /// Sessions opened by `initialize`.
    SessionsOpened = "sessions_opened",
    /// Sessions ended by DELETE.
    SessionsEnded = "sessions_ended",
    /// Requests refused because their session is unknown.
    SessionsUnknown = "sessions_unknown",
    /// Event streams opened: GET, `subscriptions/listen`, `progress`.
    Streams = "streams",
    /// Of these, those that have ended.
    StreamsClosed = "streams_closed",
    /// Notifications sent on streams.
    Events = "events",
    /// Waiting calls ended by `notifications/cancelled`.
    Cancelled = "cancelled",
    /// Waiting calls and streams whose client went away.
    ClientsGone = "clients_gone",
}

/// One thread's counters. Aligned so that two threads never share a cache line at the ends.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    counts: [AtomicU64; COUNTERS.len()],
    faults: [AtomicU64; FaultKind::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; COUNTERS.len()],
            faults: [const { AtomicU64::new(0) }; FaultKind::ALL.len()],
        }
    }
}

impl Counters {
    /// One more.
    pub fn add(&self, counter: Counter) {
        bump(&self.counts[counter as usize]);
    }

    /// One more injected fault.
    pub fn fault(&self, kind: FaultKind) {
        bump(&self.faults[kind as usize]);
    }
}

/// Only the owning thread writes, so a load and a store do; a locked addition costs four times as much.
fn bump(count: &AtomicU64) {
    count.store(count.load(Relaxed) + 1, Relaxed);
}

/// The sum over all threads at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Every counter of [`COUNTERS`] by its name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Injected faults by kind; only those that happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Connections open now.
    pub connections_open: u64,
    /// Event streams open now.
    pub streams_open: u64,
    /// Sessions that are known now.
    pub sessions_open: u64,
}

impl Stats {
    /// Sums the threads' tables.
    pub fn of<'c>(threads: impl Iterator<Item = &'c Counters>, sessions_open: u64) -> Self {
        let mut stats = Self {
            sessions_open,
            ..Self::default()
        };
        for thread in threads {
            for (counter, name) in COUNTERS {
                *stats.counts.entry(name).or_default() += thread.counts[*counter as usize].load(Relaxed);
            }
            for kind in FaultKind::ALL {
                let count = thread.faults[kind as usize].load(Relaxed);
                if count > 0 {
                    *stats.faults.entry(kind.name()).or_default() += count;
                }
            }
        }
        let open = |stats: &Self, all, closed| stats.get(all).saturating_sub(stats.get(closed));
        stats.connections_open = open(&stats, Counter::Connections, Counter::ConnectionsClosed);
        stats.streams_open = open(&stats, Counter::Streams, Counter::StreamsClosed);
        stats
    }

    /// One counter.
    pub fn get(&self, counter: Counter) -> u64 {
        let name = COUNTERS.iter().find(|(c, _)| *c == counter).map(|(_, n)| *n);
        name.and_then(|name| self.counts.get(name)).copied().unwrap_or(0)
    }

    /// How often a fault was injected.
    pub fn fault(&self, kind: FaultKind) -> u64 {
        self.faults.get(kind.name()).copied().unwrap_or(0)
    }

    /// All injected faults.
    pub fn faults_total(&self) -> u64 {
        self.faults.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let threads = [Counters::default(), Counters::default()];
        threads[0].add(Counter::Connections);
        threads[1].add(Counter::Connections);
        threads[1].add(Counter::ConnectionsClosed);
        threads[1].fault(FaultKind::Reset);
        let stats = Stats::of(threads.iter(), 3);
        assert_eq!(stats.get(Counter::Connections), 2);
        assert_eq!((stats.connections_open, stats.sessions_open), (1, 3));
        assert_eq!(stats.faults, BTreeMap::from([("reset", 1)]));
    }

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        assert!(
            COUNTERS
                .iter()
                .enumerate()
                .all(|(n, (counter, _))| *counter as usize == n)
        );
    }
}
