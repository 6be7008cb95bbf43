//! The registry: what does each server offer right now, and is it there at all?
//!
//! One task keeps one server ([`task`]): it asks at start, when the server says that a list changed, on a
//! schedule, and after a failure with growing pauses. What it finds ([`probe`]) goes into one table, and out of
//! the table and the configuration comes the next [`Document`], published a moment after something changed, so
//! that many changes make one publication.
//!
//! A server that fails keeps its last good catalogue: its tools stay listed and calls say who is down. A server
//! that was never reached has no catalogue. No server can spoil the document for the others: entries that are
//! no definitions are dropped here, one by one, and reported.

mod probe;
mod status;
mod task;
#[cfg(test)]
mod tests;

pub use status::{Standing, Status};

use ringway_proto::snapshot::{Catalogue, Document, Server};
use ringway_sandbox::http_client::{Address, HttpClient};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// How often, how many, how long.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two probes of a server that says nothing by itself.
    pub interval: Duration,
    /// The pause after the first failure; doubled with each further one.
    pub retry_min: Duration,
    /// The longest pause between failures.
    pub retry_max: Duration,
    /// How often to look whether somebody uses a local server.
    pub local_look: Duration,
    /// Changes within this time make one publication or one probe.
    pub coalesce: Duration,
    /// Remote servers asked at once.
    pub remote_probes_max: usize,
    /// Local servers asked at once: each may be starting a process that installs its package first.
    pub local_probes_max: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            local_look: Duration::from_secs(10),
            coalesce: Duration::from_millis(50),
            remote_probes_max: 16,
            local_probes_max: 4,
        }
    }
}

/// A server to keep, and how to reach it.
#[derive(Clone)]
pub struct Spec {
    /// Its entry in the document; the catalogue is the registry's to fill in.
    pub server: Server,
    /// Its address with every reference resolved.
    pub address: Address,
    /// Its headers with every reference resolved.
    pub headers: Vec<(String, String)>,
    /// The connections to use, trusting whom this server's entry says.
    pub http: HttpClient,
    /// Present for a process of ours.
    pub local: Option<Local>,
}

impl Spec {
    /// True when it stands where the other did, so that what the other offered is the best guess until it is asked.
    fn stands_for(&self, other: &Self) -> bool {
        self.address == other.address && self.local.is_some() == other.local.is_some()
    }

    /// True when nothing that reaches the server differs, so that what is known of it still holds.
    fn reaches_the_same(&self, other: &Self) -> bool {
        let (a, b) = (&self.server, &other.server);
        self.address == other.address
            && self.headers == other.headers
            && self.local == other.local
            && (a.http, &a.ca_file, a.timeouts) == (b.http, &b.ca_file, b.timeouts)
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("name", &self.server.name)
            .field("url", &self.server.url)
            .finish_non_exhaustive()
    }
}

/// What the registry has to know of a local process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// A text that differs when what is started differs.
    pub fingerprint: String,
    /// One process serves all sessions, so that a session of ours hears what changes for all.
    pub shared: bool,
}

/// Everything a document is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The document without servers; its number is ignored.
    pub document: Document,
    /// The servers, in the order in which they are listed.
    pub servers: Vec<Spec>,
}

/// Says whether somebody uses a local server, by its name, beside as many sessions as are our own.
pub type InUse = Arc<dyn Fn(&str, usize) -> bool + Send + Sync>;

/// Keeps the catalogue of every server. Dropping it stops the keeping.
pub struct Registry {
    shared: Arc<Shared>,
    publishing: JoinHandle<()>,
    documents: watch::Receiver<Option<Arc<Document>>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// A registry without servers yet. `last` is the last document published by an earlier run: numbers go on
    /// from there, and remote servers keep the catalogue they had in it until they are reached.
    pub fn start(pace: Pace, last: Option<Document>, in_use: InUse) -> Self {
        let number = last.as_ref().map_or(0, |document| document.number);
        let remembered = last.map(|document| document.servers).unwrap_or_default();
        let shared = Arc::new(Shared {
            pace,
            in_use,
            changed: Notify::new(),
            moved: watch::Sender::new(0),
            remote_probes: Semaphore::new(pace.remote_probes_max),
            local_probes: Semaphore::new(pace.local_probes_max),
            table: Mutex::new(Table {
                plan: None,
                entries: Vec::new(),
                remembered,
                number,
                last: None,
            }),
        });
        let (send, documents) = watch::channel(None);
        let publishing = tokio::spawn(publish(shared.clone(), send));
        Self {
            shared,
            publishing,
            documents,
        }
    }

    /// Takes a new configuration. Servers that are reached as before keep their task and their catalogue. One with
    /// other headers, deadlines or arguments is asked anew, and keeps its catalogue until then: its tools must not
    /// be unknown to those who are calling them.
    pub fn set(&self, plan: Plan) {
        let mut table = self.shared.table();
        let mut old: HashMap<String, Entry> = table
            .entries
            .drain(..)
            .map(|entry| (entry.spec.server.name.clone(), entry))
            .collect();
        let mut entries = Vec::with_capacity(plan.servers.len());
        for spec in plan.servers {
            entries.push(match old.remove(&spec.server.name) {
                Some(mut entry) if entry.spec.reaches_the_same(&spec) => {
                    entry.spec = Arc::new(spec);
                    entry
                }
                Some(entry) if spec.stands_for(&entry.spec) => {
                    Entry::start(&self.shared, spec, entry.catalogue.clone())
                }
                _ => {
                    let remembered = table.recall(&spec).map(Arc::new);
                    Entry::start(&self.shared, spec, remembered)
                }
            });
        }
        table.entries = entries;
        table.plan = Some(plan.document);
        // Servers no longer named, or reached otherwise, end with their entry.
        drop(table);
        drop(old);
        self.shared.changed.notify_one();
        self.shared.moved();
    }

    /// Waits until every server has been asked once, or until the time is up. True when all have.
    pub async fn first_round(&self, within: Duration) -> bool {
        let mut moved = self.shared.moved.subscribe();
        let all = async {
            // The sender lives as long as `self`.
            while self
                .shared
                .table()
                .entries
                .iter()
                .any(|e| e.standing == Standing::Pending)
            {
                if moved.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(within, all).await.is_ok()
    }

    /// The document as of now, with a new number if it differs from the last one. `None` before [`Self::set`].
    pub fn document(&self) -> Option<Arc<Document>> {
        self.shared.table().document()
    }

    /// Every document published from now on.
    pub fn documents(&self) -> watch::Receiver<Option<Arc<Document>>> {
        self.documents.clone()
    }

    /// How every server is doing, in listing order.
    pub fn status(&self) -> Vec<Status> {
        self.shared.table().entries.iter().map(Entry::status).collect()
    }

    /// Changes whenever [`Self::status`] does.
    pub fn movements(&self) -> watch::Receiver<u64> {
        self.shared.moved.subscribe()
    }

    /// Probes a server now rather than on its schedule. False when there is none of that name.
    pub fn probe_now(&self, name: &str) -> bool {
        let table = self.shared.table();
        let found = table.entries.iter().find(|entry| entry.spec.server.name == name);
        if let Some(entry) = found {
            entry.kick.notify_one();
        }
        found.is_some()
    }

    /// Stops every task, giving sessions a moment to be closed.
    pub async fn shutdown(self, within: Duration) {
        let entries = std::mem::take(&mut self.shared.table().entries);
        let until = Instant::now() + within;
        for entry in &entries {
            entry.stop.send_replace(true);
        }
        for entry in entries {
            let _ = tokio::time::timeout_at(until, entry.task).await;
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.publishing.abort();
        self.shared.table().entries.clear();
    }
}

/// What the tasks and the registry's owner have in common.
struct Shared {
    pace: Pace,
    in_use: InUse,
    /// Something in the table differs.
    changed: Notify,
    /// Counts changes of standings.
    moved: watch::Sender<u64>,
    remote_probes: Semaphore,
    local_probes: Semaphore,
    table: Mutex<Table>,
}

impl Shared {
    fn moved(&self) {
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here is left half-done by a panic: each change is one assignment.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Table {
    plan: Option<Document>,
    entries: Vec<Entry>,
    /// Servers of an earlier run's document, for their catalogues.
    remembered: Vec<Server>,
    number: u64,
    last: Option<(Vec<u8>, Arc<Document>)>,
}

/// One server in the table.
struct Entry {
    spec: Arc<Spec>,
    catalogue: Option<Arc<Catalogue>>,
    standing: Standing,
    notes: Vec<String>,
    kick: Arc<Notify>,
    /// The task ends when this says so or is dropped.
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Entry {
    fn start(shared: &Arc<Shared>, spec: Spec, remembered: Option<Arc<Catalogue>>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (spec, kick) = (Arc::new(spec), Arc::new(Notify::new()));
        let task = tokio::spawn(task::keep(shared.clone(), spec.clone(), kick.clone(), stopped));
        Self {
            spec,
            catalogue: remembered,
            standing: Standing::Pending,
            notes: Vec::new(),
            kick,
            stop,
            task,
        }
    }
}

impl Table {
    /// The catalogue a remote server had in an earlier run. A local one is not believed: the document does not
    /// say what was started, and asking it costs no network.
    fn recall(&mut self, spec: &Spec) -> Option<Catalogue> {
        let at = self.remembered.iter().position(|server| {
            let same = (&server.name, &server.url, &server.ca_file)
                == (&spec.server.name, &spec.server.url, &spec.server.ca_file);
            same && spec.local.is_none()
        })?;
        self.remembered.swap_remove(at).catalogue
    }

    fn document(&mut self) -> Option<Arc<Document>> {
        let mut document = self.plan.clone()?;
        document.number = 0;
        document.servers = self
            .entries
            .iter()
            .map(|entry| Server {
                catalogue: entry.catalogue.as_deref().cloned(),
                ..entry.spec.server.clone()
            })
            .collect();
        // A document is made of texts, numbers and JSON that was read as JSON: it can always be written.
        let bytes = serde_json::to_vec(&document).ok()?;
        if let Some((last, published)) = &self.last
            && *last == bytes
        {
            return Some(published.clone());
        }
        self.number += 1;
        document.number = self.number;
        let document = Arc::new(document);
        self.last = Some((bytes, document.clone()));
        Some(document)
    }
}

async fn publish(shared: Arc<Shared>, send: watch::Sender<Option<Arc<Document>>>) {
    loop {
        shared.changed.notified().await;
        sleep(shared.pace.coalesce).await;
        let document = shared.table().document();
        send.send_if_modified(|published| {
            let differs = document.as_ref().map(|d| d.number) != published.as_ref().map(|d| d.number);
            if differs {
                *published = document;
            }
            differs
        });
    }
}
