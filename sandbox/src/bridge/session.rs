//! Legacy sessions: who has initialized, what they subscribed to, and the messages that wait for their event stream.
//!
//! The table is bounded and sessions expire, so a client that never says goodbye leaves nothing behind for long.

use super::peer::Peer;
use bytes::Bytes;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// One legacy session.
pub(crate) struct Session {
    /// The `Mcp-Session-Id`.
    pub id: String,
    /// Messages for its event stream.
    pub outbox: Arc<Outbox>,
    /// Its own peer, when each session has one.
    pub peer: Option<Arc<Peer>>,
    state: Mutex<State>,
    /// HTTP requests being served.
    busy: AtomicUsize,
}

struct State {
    last_used: Instant,
    subscriptions: HashSet<String>,
    /// Index into [`LEVELS`].
    level: Option<usize>,
}

/// Log levels, most verbose first (RFC 5424 severities backwards).
pub(crate) const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

impl Session {
    pub(crate) fn new(id: String, outbox: Arc<Outbox>, peer: Option<Arc<Peer>>) -> Self {
        let state = State {
            last_used: Instant::now(),
            subscriptions: HashSet::new(),
            level: None,
        };
        Self {
            id,
            outbox,
            peer,
            state: Mutex::new(state),
            busy: AtomicUsize::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request is being served until the guard is dropped.
    pub(crate) fn used(self: &Arc<Self>) -> Used {
        // Relaxed: a count that only a sweep seconds later reads.
        self.busy.fetch_add(1, Ordering::Relaxed);
        Used(self.clone())
    }

    /// Nobody has used it since `idle` ago, and nobody is using it.
    fn expired(&self, now: Instant, idle: Duration) -> bool {
        self.busy.load(Ordering::Relaxed) == 0
            && !self.outbox.is_open()
            && now.saturating_duration_since(self.state().last_used) >= idle
    }

    /// Subscribes to a resource; false when it has `max` subscriptions already.
    pub(crate) fn subscribe(&self, uri: &str, max: usize) -> bool {
        let mut state = self.state();
        let room = state.subscriptions.len() < max || state.subscriptions.contains(uri);
        if room {
            state.subscriptions.insert(uri.to_owned());
        }
        room
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self, uri: &str) {
        self.state().subscriptions.remove(uri);
    }

    /// Its subscriptions.
    pub(crate) fn subscriptions(&self) -> Vec<String> {
        self.state().subscriptions.iter().cloned().collect()
    }

    /// Whether it is subscribed to a resource.
    pub(crate) fn subscribed(&self, uri: &str) -> bool {
        self.state().subscriptions.contains(uri)
    }
}

/// A request of a session being served.
pub(crate) struct Used(Arc<Session>);

impl Drop for Used {
    fn drop(&mut self) {
        self.0.state().last_used = Instant::now();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All sessions of one server.
#[derive(Default)]
pub(crate) struct Sessions {
    table: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    fn table(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session; false when there are `max` already.
    pub(crate) fn add(&self, session: Arc<Session>, max: usize) -> bool {
        let mut table = self.table();
        let room = table.len() < max;
        if room {
            table.insert(session.id.clone(), session);
        }
        room
    }

    /// The session with this id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.table().get(id).cloned()
    }

    /// Takes a session out and closes its event stream.
    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Session>> {
        let session = self.table().remove(id)?;
        session.outbox.close();
        Some(session)
    }

    /// Takes out every session that fits.
    pub(crate) fn remove_such(&self, fits: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let removed: Vec<Arc<Session>> = self.table().extract_if(|_, s| fits(s)).map(|(_, s)| s).collect();
        for session in &removed {
            session.outbox.close();
        }
        removed
    }

    /// Takes out every session nobody has used for `idle`.
    pub(crate) fn remove_expired(&self, now: Instant, idle: Duration) -> Vec<Arc<Session>> {
        self.remove_such(|session| session.expired(now, idle))
    }

    /// Takes out the session that has been unused for the longest time, if that is `idle` or more.
    pub(crate) fn remove_longest_unused(&self, now: Instant, idle: Duration) -> Option<Arc<Session>> {
        let id = {
            let table = self.table();
            let unused = table.values().filter(|session| session.expired(now, idle));
            unused.min_by_key(|session| session.state().last_used)?.id.clone()
        };
        self.remove(&id)
    }

    /// Every session there is.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.table().values().cloned().collect()
    }

    /// Number of sessions.
    pub(crate) fn len(&self) -> usize {
        self.table().len()
    }

    /// Every resource somebody is subscribed to.
    pub(crate) fn subscriptions(&self) -> HashSet<String> {
        let table = self.table();
        table
            .values()
            .flat_map(|session| session.state().subscriptions.clone())
            .collect()
    }

    /// Notes the log level one session asked for (an index into [`LEVELS`]) and gives the most verbose of all.
    pub(crate) fn level(&self, asked: Option<(&Session, usize)>) -> Option<usize> {
        if let Some((session, level)) = asked {
            session.state().level = Some(level);
        }
        self.table()
            .values()
            .filter_map(|session| session.state().level)
            .min()
    }
}

/// Messages that wait for a session's event stream. At most one stream at a time reads it.
pub(crate) struct Outbox {
    state: Mutex<Waiting>,
    changed: Notify,
    max: usize,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Bytes>,
    open: bool,
    closed: bool,
}

/// What a reader of an outbox finds.
pub(crate) enum Next {
    /// The next message.
    Message(Bytes),
    /// The session has ended.
    Closed,
}

impl Outbox {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            max,
        }
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message; false when there is no room. One that waits already is not added again: what notifications
    /// say twice ("the list has changed") is as true said once.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        let mut state = self.state();
        if state.closed || (state.messages.len() >= self.max && !state.messages.contains(&message)) {
            return false;
        }
        if !state.messages.contains(&message) {
            state.messages.push_back(message);
            self.changed.notify_one();
        }
        true
    }

    /// Whether a stream reads it.
    pub(crate) fn is_open(&self) -> bool {
        self.state().open
    }

    /// The one reader; `None` when there is one.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.state();
        if state.open || state.closed {
            return None;
        }
        state.open = true;
        Some(Reader(self.clone()))
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }
}

/// Reads an outbox; dropping it lets another reader in.
pub(crate) struct Reader(Arc<Outbox>);

impl Reader {
    /// Waits for the next message. Cancel-safe.
    pub(crate) async fn next(&self) -> Next {
        loop {
            {
                let mut state = self.0.state();
                if let Some(message) = state.messages.pop_front() {
                    return Next::Message(message);
                }
                if state.closed {
                    return Next::Closed;
                }
            }
            // A permit is stored when nobody waits, so a push between the look and this line is not missed.
            self.0.changed.notified().await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.state().open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str) -> Arc<Session> {
        Arc::new(Session::new(id.to_owned(), Arc::new(Outbox::new(2)), None))
    }

    #[tokio::test]
    async fn an_outbox_is_bounded_and_has_one_reader() {
        let outbox = Arc::new(Outbox::new(2));
        let reader = outbox.open().expect("first reader");
        assert!(outbox.open().is_none());
        assert!(outbox.push("a".into()) && outbox.push("a".into()) && outbox.push("b".into()));
        assert!(!outbox.push("c".into()), "full");
        assert!(outbox.push("a".into()), "waits already");
        assert!(matches!(reader.next().await, Next::Message(m) if m == "a"));
        assert!(matches!(reader.next().await, Next::Message(m) if m == "b"));
        outbox.close();
        assert!(matches!(reader.next().await, Next::Closed));
        drop(reader);
        assert!(outbox.open().is_none(), "closed for good");
    }

    #[test]
    fn sessions_are_bounded_and_expire_unless_in_use() {
        let sessions = Sessions::default();
        let (a, b) = (session("a"), session("b"));
        assert!(sessions.add(a.clone(), 2) && sessions.add(b.clone(), 2) && !sessions.add(session("c"), 2));
        let used = a.used();
        let reader = b.outbox.open();
        let later = Instant::now() + Duration::from_secs(10);
        let idle = Duration::from_secs(5);
        assert!(sessions.remove_expired(later, idle).is_empty());
        drop(used);
        drop(reader);
        assert!(sessions.remove_expired(Instant::now(), idle).is_empty());
        assert_eq!(sessions.remove_expired(later, idle).len(), 2);
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn subscriptions_and_levels_are_shared() {
        let sessions = Sessions::default();
        let (a, b) = (session("a"), session("b"));
        sessions.add(a.clone(), 9);
        sessions.add(b.clone(), 9);
        assert!(a.subscribe("x", 1) && a.subscribe("x", 1) && !a.subscribe("y", 1));
        assert!(b.subscribe("x", 1));
        a.unsubscribe("x");
        assert!(!a.subscribed("x") && b.subscribed("x"));
        assert_eq!(sessions.subscriptions().len(), 1);
        assert_eq!(sessions.level(Some((&a, 3))), Some(3));
        assert_eq!(sessions.level(Some((&b, 1))), Some(1));
        assert_eq!(sessions.level(Some((&a, 5))), Some(1));
    }
}
