//! Watching: the configuration, its key store, and every file they refer to.
//!
//! What is watched are directories, because nobody changes a file in place any more: editors write a new one and
//! rename it over, Kubernetes swaps a symbolic link beside it (`..data`), and a watch on the old inode would hear
//! nothing. An event says only "look again"; whether anything changed, the contents decide, so that a flood of
//! events costs reads and never a reload. Where the kernel cannot watch (a network mount, watches used up), a
//! slow poll finds changes too.
//!
//! ```text
//! event or poll ─► wait until it is quiet ─► digest of all files ─ same? ─► nothing
//!                                                      │ changed
//!                                                      ▼
//!             file good  ─► Loaded                file bad ─► Rejected
//!                                                 file bad, and the key store changed ─► Rejected, then
//!                                                 Loaded with the last good file and the new keys
//! ```
//! The last line is what makes `ringway keys revoke` act at once even while somebody edits the file.

use super::{finding::Findings, load::Loader, model::Config};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use ring::digest::{Context, SHA256};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};

/// Changes that wait for whoever acts on them. More need not wait: the next look sees the newest state anyway.
const CHANGES_WAITING_MAX: usize = 4;
/// After an event, wait until nothing has happened for this long: editors and Kubernetes do several things.
const QUIET: Duration = Duration::from_millis(50);
/// But not longer than this, if something goes on writing.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(1);
/// Without any event, look this often.
const POLL: Duration = Duration::from_secs(15);
/// Largest file that counts toward the digest; what is larger is refused on reading.
const DIGEST_BYTES_MAX: usize = 16 << 20;

/// Something changed.
#[derive(Debug)]
pub enum Change {
    /// The new configuration, with warnings.
    Loaded(Box<Config>, Findings),
    /// The files are not usable as they stand; what is running stays.
    Rejected(Findings),
}

/// A running watch; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Change>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// The next change. `None` never comes while the watch is held.
    pub async fn next(&mut self) -> Option<Change> {
        self.changes.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches from now on, on the current tokio runtime. `loaded` is the configuration that is running, so that a
/// change of the key store alone can be joined with it; the state of the files at this moment counts as known.
pub fn watch(loader: Loader) -> Watch {
    let (report, changes) = mpsc::channel(CHANGES_WAITING_MAX);
    let (wake, events) = mpsc::channel(1);
    // Before the task is spawned, so that no change after this call is missed.
    let mut watcher = Watching::new(loader, wake);
    watcher.look();
    let task = tokio::spawn(watcher.run(events, report));
    Watch { changes, task }
}

struct Watching {
    loader: Loader,
    notify: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    /// Files that the configuration referred to when it was last read.
    referred: Vec<PathBuf>,
    /// The last good file, without the store's keys.
    last_good: Option<Config>,
    seen: Digests,
}

#[derive(Clone, PartialEq, Eq, Default)]
struct Digests {
    file: Vec<u8>,
    keys: Vec<u8>,
}

impl Watching {
    fn new(loader: Loader, wake: mpsc::Sender<()>) -> Self {
        let handler = move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and ours must not wake us.
            let access = event.is_ok_and(|event| event.kind.is_access());
            if !access {
                // A full channel holds a wake-up already.
                let _ = wake.try_send(());
            }
        };
        let notify = notify::recommended_watcher(handler)
            .inspect_err(
                |error| tracing::warn!(%error, "files cannot be watched; looking every {POLL:?} instead"),
            )
            .ok();
        Self {
            loader,
            notify,
            directories: BTreeSet::new(),
            referred: Vec::new(),
            last_good: None,
            seen: Digests::default(),
        }
    }

    async fn run(self, mut events: mpsc::Receiver<()>, report: mpsc::Sender<Change>) {
        let mut watching = self;
        loop {
            // A watcher that could not be made has dropped its end; then only the poll is left.
            match timeout(POLL, events.recv()).await {
                Ok(Some(())) => wait_for_quiet(&mut events).await,
                Ok(None) => tokio::time::sleep(POLL).await,
                Err(_) => {}
            }
            // Files can lie on a mount that has gone away; that must not hold up the runtime.
            let looked = spawn_blocking(move || {
                let changes = watching.look();
                (watching, changes)
            });
            let Ok((back, changes)) = looked.await else { return };
            watching = back;
            for change in changes {
                if report.send(change).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Looks at the files; what changed since the last look.
    fn look(&mut self) -> Vec<Change> {
        let first = self.directories.is_empty();
        // Directories first: what changes after this line gives an event.
        self.watch_directories();
        let now = self.digests();
        if !first && now == self.seen {
            return Vec::new();
        }
        let keys_changed = now.keys != self.seen.keys;
        let mut outcome = self.loader.read();
        self.referred = std::mem::take(&mut outcome.files);
        self.watch_directories();
        // The set of files may be another now, so the digest is of what was just read about.
        self.seen = self.digests();
        let mut findings = outcome.findings;
        match outcome.config {
            Some(config) => {
                self.last_good = Some(config.clone());
                vec![match self.loader.join_keys(config, &mut findings) {
                    Some(config) => Change::Loaded(Box::new(config), findings),
                    None => Change::Rejected(findings),
                }]
            }
            None => {
                let mut changes = vec![Change::Rejected(findings)];
                if let Some(config) = self.last_good.clone().filter(|_| keys_changed) {
                    let mut findings = Findings::default();
                    if let Some(config) = self.loader.join_keys(config, &mut findings) {
                        changes.push(Change::Loaded(Box::new(config), findings));
                    }
                }
                changes
            }
        }
    }

    /// The directories of all files, and of what symbolic links among them lead to.
    fn watch_directories(&mut self) {
        let files = [Some(self.loader.file()), self.loader.keys()]
            .into_iter()
            .flatten();
        let files = files.chain(self.referred.iter().map(PathBuf::as_path));
        let wanted: BTreeSet<PathBuf> = files.flat_map(directories_of).collect();
        if let Some(notify) = &mut self.notify {
            for gone in self.directories.difference(&wanted) {
                // It may have been removed, which is why it is no longer wanted.
                let _ = notify.unwatch(gone);
            }
            for new in wanted.difference(&self.directories) {
                if let Err(error) = notify.watch(new, RecursiveMode::NonRecursive) {
                    tracing::warn!(%error, directory = %new.display(), "cannot be watched; looking every {POLL:?} instead");
                }
            }
        }
        self.directories = wanted;
    }

    fn digests(&self) -> Digests {
        let configuration = std::iter::once(self.loader.file());
        let configuration = configuration.chain(self.referred.iter().map(PathBuf::as_path));
        Digests {
            file: self.digest(configuration),
            keys: self.digest(self.loader.keys()),
        }
    }

    fn digest<'f>(&self, files: impl IntoIterator<Item = &'f Path>) -> Vec<u8> {
        let mut digest = Context::new(&SHA256);
        for file in files {
            match self.loader.surroundings().read(file, DIGEST_BYTES_MAX) {
                Ok(bytes) => {
                    digest.update(&bytes.len().to_le_bytes());
                    digest.update(&bytes);
                }
                Err(error) => digest.update(format!("{:?}", error.kind()).as_bytes()),
            }
        }
        digest.finish().as_ref().to_vec()
    }
}

fn directories_of(file: &Path) -> impl Iterator<Item = PathBuf> {
    let parent = |path: &Path| {
        path.parent().map(|parent| {
            if parent.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                parent.to_owned()
            }
        })
    };
    let behind_links = std::fs::canonicalize(file)
        .ok()
        .and_then(|target| parent(&target));
    parent(file).into_iter().chain(behind_links)
}

async fn wait_for_quiet(events: &mut mpsc::Receiver<()>) {
    let latest = Instant::now() + QUIET_WAIT_MAX;
    loop {
        let quiet = (Instant::now() + QUIET).min(latest);
        tokio::select! {
            more = events.recv() => {
                if more.is_none() || Instant::now() >= latest {
                    return;
                }
            }
            () = sleep_until(quiet) => return,
        }
    }
}
