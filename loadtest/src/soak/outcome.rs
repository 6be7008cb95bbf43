//! What became of calls, and when failing is allowed.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// Texts kept of each sort of thing that must not happen.
const EXAMPLES_MAX: usize = 20;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With its own answer.
    Right,
    /// With an error that says so: an HTTP status, a JSON-RPC error, `isError`.
    Told(String),
    /// Without a whole answer: a broken connection, a time-out, a body that is cut.
    Broken(String),
    /// With something that is not the answer to it.
    Wrong(String),
}

/// The servers behind the gateway, by their names in its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    /// Of the older era, answers as event streams.
    Old,
    /// Of the modern era.
    New,
    /// The same process over HTTP/2.
    NewH2,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Old, Self::New, Self::NewH2];

    /// The name in the configuration, and before `__` in tools.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::NewH2 => "newh2",
        }
    }

    /// Whether both are the same process.
    pub fn shares_process(self, other: Self) -> bool {
        (self == Self::Old) == (other == Self::Old)
    }
}

/// When calls to which server may fail.
#[derive(Debug, Default)]
pub struct Windows {
    list: Mutex<Vec<Window>>,
}

#[derive(Debug)]
struct Window {
    server: Server,
    from: Instant,
    to: Option<Instant>,
}

impl Windows {
    /// Calls to this server (and whatever shares its process) may fail from now on; gives the window's number.
    pub fn open(&self, server: Server) -> usize {
        let mut list = self.list();
        list.push(Window {
            server,
            from: Instant::now(),
            to: None,
        });
        list.len() - 1
    }

    /// Calls that begin after now may not fail any more.
    pub fn close(&self, number: usize) {
        if let Some(window) = self.list().get_mut(number) {
            window.to = Some(Instant::now());
        }
    }

    /// Closes all.
    pub fn quiet_from_now(&self) {
        let now = Instant::now();
        for window in self.list().iter_mut() {
            window.to.get_or_insert(now);
        }
    }

    /// Whether a call to `server` (`None`: to the gateway itself) that was under way from `began` until now may have
    /// failed.
    pub fn excuses(&self, server: Option<Server>, began: Instant) -> bool {
        let Some(server) = server else { return false };
        // Windows are opened before their fault begins, so the call's end needs no comparison with `from`.
        self.list().iter().any(|w| {
            w.server.shares_process(server) && w.to.is_none_or(|to| to >= began) && w.from <= Instant::now()
        })
    }

    fn list(&self) -> MutexGuard<'_, Vec<Window>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts of one kind of client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Right answers.
    pub right: u64,
    /// Failures that a fault explains, by what was said.
    pub excused: BTreeMap<String, u64>,
    /// Failures that nothing explains.
    pub unexplained: u64,
    /// Wrong answers.
    pub wrong: u64,
}

/// What became of all calls.
#[derive(Debug, Default)]
pub struct Tally {
    kept: Mutex<Kept>,
}

/// The same, to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// By kind of client.
    pub kinds: BTreeMap<&'static str, Counts>,
    /// The first failures that nothing explains.
    pub unexplained: Vec<String>,
    /// The first wrong answers.
    pub wrong: Vec<String>,
}

impl Tally {
    /// Notes one call.
    pub fn note(
        &self,
        windows: &Windows,
        kind: &'static str,
        server: Option<Server>,
        began: Instant,
        outcome: Outcome,
    ) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let name = server.map_or("gateway", Server::name);
        let took_ms = began.elapsed().as_millis();
        match outcome {
            Outcome::Right => kept.of(kind).right += 1,
            Outcome::Wrong(what) => {
                kept.of(kind).wrong += 1;
                example(&mut kept.wrong, format!("{kind} {name}: {what} ({took_ms} ms)"));
            }
            Outcome::Told(what) | Outcome::Broken(what) if windows.excuses(server, began) => {
                *kept.of(kind).excused.entry(what).or_default() += 1;
            }
            Outcome::Told(what) | Outcome::Broken(what) => {
                kept.of(kind).unexplained += 1;
                example(
                    &mut kept.unexplained,
                    format!("{kind} {name}: {what} ({took_ms} ms)"),
                );
            }
        }
    }

    /// All of it.
    pub fn read(&self) -> Kept {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Kept {
    fn of(&mut self, kind: &'static str) -> &mut Counts {
        self.kinds.entry(kind).or_default()
    }

    /// Sums over kinds: right, excused, unexplained, wrong.
    pub fn sums(&self) -> (u64, u64, u64, u64) {
        self.kinds
            .values()
            .fold((0, 0, 0, 0), |(right, excused, unexplained, wrong), counts| {
                (
                    right + counts.right,
                    excused + counts.excused.values().sum::<u64>(),
                    unexplained + counts.unexplained,
                    wrong + counts.wrong,
                )
            })
    }
}

fn example(list: &mut Vec<String>, text: String) {
    if list.len() < EXAMPLES_MAX {
        list.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_failure_needs_a_fault_of_its_own_server_in_its_own_time() {
        let windows = Windows::default();
        let before = Instant::now();
        assert!(!windows.excuses(Some(Server::Old), before));
        let number = windows.open(Server::Old);
        assert!(windows.excuses(Some(Server::Old), before));
        assert!(!windows.excuses(Some(Server::New), before));
        assert!(!windows.excuses(None, before));
        tokio::time::sleep(Duration::from_millis(2)).await;
        let within = Instant::now();
        windows.close(number);
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(windows.excuses(Some(Server::Old), within));
        assert!(!windows.excuses(Some(Server::Old), Instant::now()));
        windows.open(Server::NewH2);
        assert!(windows.excuses(Some(Server::New), Instant::now()));
    }

    #[tokio::test]
    async fn what_nothing_explains_is_kept_with_its_words() {
        let (tally, windows) = (Tally::default(), Windows::default());
        let now = Instant::now();
        tally.note(&windows, "caller", Some(Server::Old), now, Outcome::Right);
        tally.note(
            &windows,
            "caller",
            Some(Server::Old),
            now,
            Outcome::Told("http_502".into()),
        );
        windows.open(Server::Old);
        tally.note(
            &windows,
            "caller",
            Some(Server::Old),
            now,
            Outcome::Broken("reset".into()),
        );
        tally.note(
            &windows,
            "caller",
            Some(Server::Old),
            now,
            Outcome::Wrong("another's text".into()),
        );
        let kept = tally.read();
        assert_eq!(kept.sums(), (1, 1, 1, 1));
        assert!(kept.unexplained[0].contains("http_502") && kept.wrong[0].contains("another's text"));
    }
}
