//! What the resolver remembers: answers, failures, and who waits for which name. No I/O and no clock here.
//!
//! A name is in one of three states:
//!
//! ```text
//!            ask                 learn(ok)
//! (unknown) ─────► looking up ──────────────► fresh ── ttl ──► old ── stale ──► (unknown)
//!                     ▲    │ learn(failed)                      │ ask
//!                     │    └─► old answer left: serve it, ask again after negative_ttl
//!                     │        none left:       failed for negative_ttl
//!                     └─────────────────────────────────────────┘
//! ```

use super::{Answer, Name, ResolveError, Resolved};
use ringway_core::limits::DnsLimits;
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

pub(super) struct Cache {
    limits: DnsLimits,
    entries: HashMap<Name, Entry>,
    /// Names waiting for a lookup slot, oldest first. Each has waiters, so `waiting_max` bounds it too.
    queued: VecDeque<Name>,
    looking: usize,
    waiting: usize,
}

/// What the owner must do after a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: answered, refused, or waiting behind a lookup under way.
    Answered,
    /// Look this name up and report with [`Cache::learn`].
    LookUp(Name),
}

#[derive(Default)]
struct Entry {
    known: Option<Known>,
    /// The last failure, while it is remembered.
    failure: Option<(ResolveError, Instant)>,
    /// Some while a lookup runs or is queued.
    waiters: Option<Vec<oneshot::Sender<Answer>>>,
}

struct Known {
    addresses: Arc<[SocketAddr]>,
    fresh_until: Instant,
    stale_until: Instant,
}

impl Cache {
    pub(super) fn new(limits: DnsLimits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            queued: VecDeque::new(),
            looking: 0,
            waiting: 0,
        }
    }

    /// Answers from memory, or makes the asker wait for a lookup.
    pub(super) fn ask(&mut self, name: Name, reply: oneshot::Sender<Answer>, now: Instant) -> Step {
        if let Some(answer) = self.entries.get(&name).and_then(|e| e.answer(now)) {
            let _ = reply.send(answer);
            return Step::Answered;
        }
        if self.waiting >= self.limits.waiting_max {
            let _ = reply.send(Err(ResolveError::Overloaded));
            return Step::Answered;
        }
        if !self.entries.contains_key(&name) && !self.make_room(now) {
            let _ = reply.send(Err(ResolveError::Overloaded));
            return Step::Answered;
        }
        self.waiting += 1;
        let entry = self.entries.entry(name.clone()).or_default();
        if let Some(waiters) = &mut entry.waiters {
            waiters.push(reply);
            return Step::Answered;
        }
        entry.waiters = Some(vec![reply]);
        if self.looking >= self.limits.lookups_at_once_max {
            self.queued.push_back(name);
            return Step::Answered;
        }
        self.looking += 1;
        Step::LookUp(name)
    }

    /// Takes the end of a lookup and answers everybody who waited for it.
    pub(super) fn learn(&mut self, name: &Name, outcome: io::Result<Vec<SocketAddr>>, now: Instant) {
        self.looking = self.looking.saturating_sub(1);
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let negative = millis(self.limits.negative_ttl_ms);
        match outcome {
            Ok(mut list) if !list.is_empty() => {
                list.truncate(self.limits.addresses_max.max(1));
                let fresh_until = now + millis(self.limits.ttl_ms);
                let stale_until = fresh_until + millis(self.limits.stale_ms);
                entry.known = Some(Known {
                    addresses: list.into(),
                    fresh_until,
                    stale_until,
                });
                entry.failure = None;
            }
            failed => {
                let why = match failed {
                    Err(error) => error.to_string(),
                    Ok(_) => "the name has no address".to_owned(),
                };
                tracing::debug!(name = %name.0, why, "name lookup failed");
                match &mut entry.known {
                    Some(old) if now < old.stale_until => old.fresh_until = now + negative,
                    _ => entry.known = None,
                }
                entry.failure = Some((ResolveError::Failed(why.into()), now + negative));
            }
        }
        // The newest outcome goes to all who waited, even when its time to live is zero.
        let answer = entry.latest();
        for waiter in entry.waiters.take().unwrap_or_default() {
            self.waiting = self.waiting.saturating_sub(1);
            let _ = waiter.send(answer.clone());
        }
    }

    /// The next queued name, when a lookup slot is free.
    pub(super) fn next_queued(&mut self) -> Option<Name> {
        if self.looking >= self.limits.lookups_at_once_max {
            return None;
        }
        let name = self.queued.pop_front()?;
        self.looking += 1;
        Some(name)
    }

    /// Makes room for one more name: what has no use left goes first, then the oldest quarter. Names with
    /// waiters stay; if only such are left, there is no room.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.entries.len() < self.limits.names_max {
            return true;
        }
        self.entries
            .retain(|_, e| e.waiters.is_some() || e.useful_until() > Some(now));
        if self.entries.len() < self.limits.names_max {
            return true;
        }
        let mut ends: Vec<Option<Instant>> = self
            .entries
            .values()
            .filter(|e| e.waiters.is_none())
            .map(Entry::useful_until)
            .collect();
        if ends.is_empty() {
            return false;
        }
        let quarter = ends.len() / 4;
        let (_, cut, _) = ends.select_nth_unstable(quarter);
        let cut = *cut;
        self.entries
            .retain(|_, e| e.waiters.is_some() || e.useful_until() > cut);
        self.entries.len() < self.limits.names_max
    }
}

impl Entry {
    /// What may be answered without a lookup.
    fn answer(&self, now: Instant) -> Option<Answer> {
        match (&self.known, &self.failure) {
            (Some(known), _) if now < known.fresh_until => Some(Ok(known.resolved())),
            (None, Some((error, until))) if now < *until => Some(Err(error.clone())),
            _ => None,
        }
    }

    /// What the last lookup left.
    fn latest(&self) -> Answer {
        match (&self.known, &self.failure) {
            (Some(known), _) => Ok(known.resolved()),
            (None, Some((error, _))) => Err(error.clone()),
            (None, None) => Err(ResolveError::Stopped),
        }
    }

    fn useful_until(&self) -> Option<Instant> {
        let known = self.known.as_ref().map(|k| k.stale_until);
        let failure = self.failure.as_ref().map(|(_, until)| *until);
        known.max(failure)
    }
}

impl Known {
    fn resolved(&self) -> Resolved {
        Resolved {
            addresses: self.addresses.clone(),
            fresh_until: self.fresh_until,
        }
    }
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> DnsLimits {
        DnsLimits {
            names_max: 4,
            lookups_at_once_max: 2,
            waiting_max: 4,
            ..DnsLimits::default()
        }
    }

    struct Talk {
        cache: Cache,
        start: Instant,
    }

    impl Talk {
        fn new() -> Self {
            Self {
                cache: Cache::new(limits()),
                start: Instant::now(),
            }
        }

        fn at(&self, ms: u32) -> Instant {
            self.start + millis(ms)
        }

        fn ask(&mut self, host: &str, ms: u32) -> (Step, oneshot::Receiver<Answer>) {
            let (reply, answer) = oneshot::channel();
            let now = self.at(ms);
            (self.cache.ask(name(host), reply, now), answer)
        }

        fn learn(&mut self, host: &str, outcome: io::Result<Vec<SocketAddr>>, ms: u32) {
            let now = self.at(ms);
            self.cache.learn(&name(host), outcome, now);
        }
    }

    fn name(host: &str) -> Name {
        (Arc::from(host), 80)
    }

    fn found(last: u8) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(([192, 0, 2, last], 80))])
    }

    fn down() -> io::Result<Vec<SocketAddr>> {
        Err(io::Error::other("no name server"))
    }

    fn last_octet(answer: &mut oneshot::Receiver<Answer>) -> Option<u8> {
        match answer.try_recv().ok()?.ok()?.addresses[0] {
            SocketAddr::V4(v4) => Some(v4.ip().octets()[3]),
            SocketAddr::V6(_) => None,
        }
    }

    #[test]
    fn one_lookup_answers_all_who_asked_meanwhile_and_those_within_the_ttl() {
        let mut talk = Talk::new();
        let (step, mut first) = talk.ask("a", 0);
        assert_eq!(step, Step::LookUp(name("a")));
        let (step, mut second) = talk.ask("a", 1);
        assert_eq!(step, Step::Answered);
        assert!(second.try_recv().is_err(), "still waiting");
        talk.learn("a", found(1), 2);
        assert_eq!(
            (last_octet(&mut first), last_octet(&mut second)),
            (Some(1), Some(1))
        );
        let (step, mut later) = talk.ask("a", 2 + limits().ttl_ms - 1);
        assert_eq!((step, last_octet(&mut later)), (Step::Answered, Some(1)));
        assert_eq!(talk.ask("a", 2 + limits().ttl_ms).0, Step::LookUp(name("a")));
    }

    #[test]
    fn an_old_answer_serves_while_lookups_fail_and_not_for_ever() {
        let mut talk = Talk::new();
        let _ = talk.ask("a", 0);
        talk.learn("a", found(1), 0);
        let old = limits().ttl_ms;
        let (_, mut answer) = talk.ask("a", old);
        talk.learn("a", down(), old);
        assert_eq!(last_octet(&mut answer), Some(1));
        // Not asked again until the negative time has passed.
        assert_eq!(
            talk.ask("a", old + limits().negative_ttl_ms - 1).0,
            Step::Answered
        );
        let end = old + limits().stale_ms;
        let (step, mut answer) = talk.ask("a", end);
        assert_eq!(step, Step::LookUp(name("a")));
        talk.learn("a", down(), end);
        assert!(matches!(answer.try_recv(), Ok(Err(ResolveError::Failed(why))) if &*why == "no name server"));
    }

    #[test]
    fn a_failure_is_remembered_and_an_empty_answer_is_one() {
        let mut talk = Talk::new();
        let (_, mut answer) = talk.ask("a", 0);
        talk.learn("a", Ok(Vec::new()), 0);
        assert!(matches!(answer.try_recv(), Ok(Err(ResolveError::Failed(_)))));
        let (step, mut answer) = talk.ask("a", limits().negative_ttl_ms - 1);
        assert_eq!(step, Step::Answered);
        assert!(matches!(answer.try_recv(), Ok(Err(ResolveError::Failed(_)))));
        assert_eq!(talk.ask("a", limits().negative_ttl_ms).0, Step::LookUp(name("a")));
    }

    #[test]
    fn lookups_at_once_are_bounded_and_the_rest_wait_in_order() {
        let mut talk = Talk::new();
        for host in ["a", "b"] {
            assert_eq!(talk.ask(host, 0).0, Step::LookUp(name(host)));
        }
        for host in ["c", "d"] {
            assert_eq!(talk.ask(host, 0).0, Step::Answered);
        }
        assert_eq!(talk.cache.next_queued(), None);
        talk.learn("b", found(2), 1);
        assert_eq!(talk.cache.next_queued(), Some(name("c")));
        assert_eq!(talk.cache.next_queued(), None);
        talk.learn("a", found(1), 1);
        assert_eq!(talk.cache.next_queued(), Some(name("d")));
    }

    #[test]
    fn askers_beyond_the_bound_are_refused_at_once() {
        let mut talk = Talk::new();
        let waiting: Vec<_> = (0..4).map(|_| talk.ask("a", 0)).collect();
        let (step, mut refused) = talk.ask("a", 0);
        assert_eq!(step, Step::Answered);
        assert!(matches!(refused.try_recv(), Ok(Err(ResolveError::Overloaded))));
        talk.learn("a", found(1), 0);
        for (_, mut answer) in waiting {
            assert_eq!(last_octet(&mut answer), Some(1));
        }
    }

    #[test]
    fn names_are_bounded_and_the_oldest_give_way() {
        let mut talk = Talk::new();
        for (i, host) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let ms = i as u32 * 10;
            let _ = talk.ask(host, ms);
            talk.learn(host, found(1), ms);
        }
        assert_eq!(talk.ask("e", 50).0, Step::LookUp(name("e")));
        assert!(talk.cache.entries.len() <= 4);
        assert_eq!(talk.ask("d", 50).0, Step::Answered, "the youngest is still known");
    }
}
