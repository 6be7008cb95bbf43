//! Many agents calling at once, and what became of every call.

use crate::{
    client::{Agent, Era, Outcome},
    until,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// After a failed call, so that a server that is away is not asked thousands of times.
const PAUSE: Duration = Duration::from_millis(5);

/// Numbers no two calls of this process share; servers count executions by them.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// Where and how one agent calls.
#[derive(Clone, Debug)]
pub struct Route {
    pub era: Era,
    pub path: String,
    pub tool: String,
    /// What an error must name.
    pub server: String,
    pub key: Option<String>,
}

impl Route {
    /// `tool` of `server` through `/mcp`.
    pub fn merged(era: Era, server: &str, tool: &str) -> Self {
        Self {
            era,
            path: "/mcp".into(),
            tool: format!("{server}__{tool}"),
            server: server.to_owned(),
            key: None,
        }
    }

    /// `tool` of `server` through the server's own endpoint.
    pub fn own(era: Era, server: &str, tool: &str) -> Self {
        Self {
            era,
            path: format!("/servers/{server}/mcp"),
            tool: tool.to_owned(),
            server: server.to_owned(),
            key: None,
        }
    }

    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub fn agent(&self, addr: SocketAddr) -> Result<Agent, Outcome> {
        Agent::connect_as(addr, self.era, &self.path, self.key.as_deref())
    }
}

/// One call that was made.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub route: usize,
    /// What a right answer says.
    pub right: String,
    pub outcome: Outcome,
}

impl Entry {
    pub fn succeeded(&self) -> bool {
        self.outcome.is(&self.right)
    }
}

/// Agents at work, one thread for each route.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    addr: SocketAddr,
    routes: Vec<Route>,
    entries: Mutex<Vec<Entry>>,
    /// Successes by route.
    successes: Vec<AtomicUsize>,
    stop: AtomicBool,
}

/// How the arguments of a call follow from its number, and what a right answer then says.
pub type Arguments = fn(u64) -> (Value, String);

/// The number as a message, given back.
pub fn echo(number: u64) -> (Value, String) {
    let message = format!("message {number}");
    (json!({"message": message, "number": number}), message)
}

/// The built-in server's echo takes nothing but the message.
pub fn echo_only(number: u64) -> (Value, String) {
    let message = format!("message {number}");
    (json!({"message": message}), message)
}

/// A call of the built-in server that is under way for some tens of milliseconds.
pub fn steps(number: u64) -> (Value, String) {
    let steps = 5 + number % 15;
    (
        json!({"steps": steps, "delay_ms": 3}),
        format!("{steps} steps done"),
    )
}

impl Load {
    /// Every route at once, until [`Load::stop`].
    pub fn start(addr: SocketAddr, routes: Vec<(Route, Arguments)>) -> Self {
        let shared = Arc::new(Shared {
            addr,
            successes: routes.iter().map(|_| AtomicUsize::new(0)).collect(),
            routes: routes.iter().map(|(route, _)| route.clone()).collect(),
            entries: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let threads = routes.into_iter().enumerate().map(|(at, (_, arguments))| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.work(at, arguments))
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Waits until every route has had `more` successes from now on.
    pub fn goes_on(&self, what: &str, more: usize) {
        let successes = || self.shared.successes.iter().map(|n| n.load(Ordering::SeqCst));
        let goals: Vec<usize> = successes().map(|n| n + more).collect();
        let mut behind = Vec::new();
        let reached = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(what, || {
                behind = successes()
                    .zip(&goals)
                    .enumerate()
                    .filter(|(_, (n, goal))| n < *goal)
                    .map(|(at, _)| at)
                    .collect();
                behind.is_empty()
            });
        }));
        if reached.is_err() {
            let routes: Vec<&Route> = behind.iter().map(|at| &self.shared.routes[*at]).collect();
            let entries = self.shared.entries.lock().expect("sound");
            let last: Vec<&Entry> = entries.iter().rev().take(10).collect();
            panic!("{what}: no success any more on {routes:?}; the last calls: {last:#?}");
        }
    }

    /// How many calls have ended otherwise than with the right answer.
    pub fn failures(&self) -> usize {
        self.shared
            .entries
            .lock()
            .expect("sound")
            .iter()
            .filter(|entry| !entry.succeeded())
            .count()
    }

    /// Ends the work, calls under way included, and gives every call.
    pub fn stop(self) -> Ledger {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("an agent's thread");
        }
        let entries = std::mem::take(&mut *self.shared.entries.lock().expect("sound"));
        Ledger {
            routes: self.shared.routes.clone(),
            entries,
        }
    }
}

impl Shared {
    fn work(&self, at: usize, arguments: Arguments) {
        let route = &self.routes[at];
        let mut agent: Option<Agent> = None;
        while !self.stop.load(Ordering::SeqCst) {
            let number = NEXT_NUMBER.fetch_add(1, Ordering::SeqCst);
            let (arguments, right) = arguments(number);
            let opened = match agent.take() {
                Some(agent) => Ok(agent),
                None => route.agent(self.addr),
            };
            let outcome = match opened {
                Ok(mut open) => {
                    let outcome = open.call(&route.tool, arguments);
                    // A broken connection is opened anew by itself; the session goes on.
                    agent = Some(open);
                    outcome
                }
                Err(outcome) => outcome,
            };
            let entry = Entry {
                number,
                route: at,
                right,
                outcome,
            };
            let succeeded = entry.succeeded();
            self.entries.lock().expect("sound").push(entry);
            if succeeded {
                self.successes[at].fetch_add(1, Ordering::SeqCst);
            } else {
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Every call of a load.
pub struct Ledger {
    pub routes: Vec<Route>,
    pub entries: Vec<Entry>,
}

impl Ledger {
    pub fn failed(&self) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| !entry.succeeded()).collect()
    }

    /// Each call ended with its own answer, or with an error that names its server.
    pub fn is_honest(&self) {
        for entry in self.failed() {
            let route = &self.routes[entry.route];
            let named = match &entry.outcome {
                Outcome::Failed { message, .. } => message.contains(&route.server),
                Outcome::Text(_) | Outcome::Broken { .. } | Outcome::Wrong(_) => false,
            };
            assert!(named, "{route:?}: {entry:?}");
        }
    }

    /// No call failed at all.
    pub fn is_spotless(&self) {
        let failed = self.failed();
        let first = failed.first().map(|entry| (entry, &self.routes[entry.route]));
        assert!(
            failed.is_empty(),
            "{} of {} failed; the first: {first:?}",
            failed.len(),
            self.entries.len()
        );
    }

    /// One line of numbers.
    pub fn summary(&self) -> String {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.failed() {
            let kind = match &entry.outcome {
                Outcome::Failed { message, .. } => message.clone(),
                Outcome::Broken { why, .. } => format!("broken: {why}"),
                Outcome::Text(_) | Outcome::Wrong(_) => "WRONG".to_owned(),
            };
            *kinds.entry(kind).or_default() += 1;
        }
        let kinds: Vec<String> = kinds
            .into_iter()
            .map(|(kind, n)| format!("{n} × {kind}"))
            .collect();
        format!(
            "{} calls, {} failed [{}]",
            self.entries.len(),
            self.failed().len(),
            kinds.join("; ")
        )
    }
}
