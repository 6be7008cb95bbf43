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

use super::{finding::Findings, load::Loader, model::Config, read::Outcome};
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

/// Readings until the set of files that are referred to must be stable: normally two.
const READ_ROUNDS_MAX: usize = 4;

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

/// Reads the files and watches them from then on, on the current tokio runtime. What was read is returned; every
/// change after it is reported, also one between reading and watching.
pub fn watch(loader: Loader) -> (Outcome, Watch) {
    let (report, changes) = mpsc::channel(CHANGES_WAITING_MAX);
    let (wake, events) = mpsc::channel(1);
    let mut watching = Watching::new(loader, wake);
    let mut outcome = watching.read();
    if let Some(config) = outcome.config.take() {
        outcome.config = watching.loader.join_keys(config, &mut outcome.findings);
    }
    let task = tokio::spawn(watching.run(events, report));
    (outcome, Watch { changes, task })
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
        // A link among the directories may lead elsewhere by now.
        self.watch_directories();
        let before = self.digests();
        if before == self.seen {
            return Vec::new();
        }
        let keys_changed = before.keys != self.seen.keys;
        let outcome = self.read();
        let mut findings = outcome.findings;
        if let Some(config) = outcome.config {
            return vec![match self.loader.join_keys(config, &mut findings) {
                Some(config) => Change::Loaded(Box::new(config), findings),
                None => Change::Rejected(findings),
            }];
        }
        let mut changes = vec![Change::Rejected(findings)];
        if let Some(config) = self.last_good.clone().filter(|_| keys_changed) {
            let mut findings = Findings::default();
            if let Some(config) = self.loader.join_keys(config, &mut findings) {
                changes.push(Change::Loaded(Box::new(config), findings));
            }
        }
        changes
    }

    /// Reads the file. Order matters: first the directories are watched, then the digests are taken, then the
    /// contents are read. What changes in between is therefore seen as a change later, never overlooked. Reading
    /// can tell of other files than those that were watched, and then it is done once more.
    fn read(&mut self) -> Outcome {
        for _ in 0..READ_ROUNDS_MAX {
            self.watch_directories();
            let before = self.digests();
            let mut outcome = self.loader.read();
            let same = outcome.files == self.referred;
            self.referred = std::mem::take(&mut outcome.files);
            if same {
                self.seen = before;
                if let Some(config) = &outcome.config {
                    self.last_good = Some(config.clone());
                }
                return outcome;
            }
        }
        // The set of files changes with every reading; the next look compares with nothing and reads again.
        self.seen = Digests::default();
        self.loader.read()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Code, Loader},
        keys::{NewKey, Store},
        state::State,
    };
    use std::{fs, os::unix::fs::symlink};

    /// Longer than any machine takes; a change that does not come fails the test instead of hanging it.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn with_servers(names: &[&str]) -> String {
        let servers: String = names
            .iter()
            .map(|name| format!("  {name}: {{ command: x }}\n"))
            .collect();
        format!("servers:\n{servers}roles: {{ r: {{ allow: [\"*\"] }} }}\nanonymous: {{ roles: [r] }}\n")
    }

    async fn next(watch: &mut Watch) -> Change {
        tokio::time::timeout(PATIENCE, watch.next())
            .await
            .expect("a change within the minute")
            .unwrap()
    }

    async fn loaded(watch: &mut Watch) -> Config {
        match next(watch).await {
            Change::Loaded(config, _) => *config,
            Change::Rejected(findings) => panic!("{}", findings.render_human(false)),
        }
    }

    fn names(config: &Config) -> Vec<&str> {
        config.servers.iter().map(|server| server.name.as_str()).collect()
    }

    #[tokio::test]
    async fn a_file_renamed_over_is_noticed_and_an_equal_one_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("ringway.yaml");
        fs::write(&file, with_servers(&["a"])).unwrap();
        let (_, mut watch) = watch(Loader::new(&file));
        // The same content again: an event, but no change.
        fs::write(&file, with_servers(&["a"])).unwrap();
        let beside = scratch.path().join(".ringway.yaml.swp");
        fs::write(&beside, with_servers(&["a", "b"])).unwrap();
        fs::rename(&beside, &file).unwrap();
        assert_eq!(names(&loaded(&mut watch).await), ["a", "b"]);
        // The watch is still on the directory, not on the file that was replaced.
        fs::write(&file, with_servers(&["c"])).unwrap();
        assert_eq!(names(&loaded(&mut watch).await), ["c"]);
    }

    #[tokio::test]
    async fn a_bad_file_is_rejected_and_a_good_one_is_taken_again() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("ringway.yaml");
        fs::write(&file, with_servers(&["a"])).unwrap();
        let (_, mut watch) = watch(Loader::new(&file));
        fs::write(&file, "servers: 1\n").unwrap();
        let Change::Rejected(findings) = next(&mut watch).await else {
            panic!("it is bad")
        };
        assert_eq!(findings.list[0].code, Code::WrongType);
        fs::remove_file(&file).unwrap();
        let Change::Rejected(findings) = next(&mut watch).await else {
            panic!("it is gone")
        };
        assert_eq!(findings.list[0].code, Code::UnreadableFile);
        fs::write(&file, with_servers(&["b"])).unwrap();
        assert_eq!(names(&loaded(&mut watch).await), ["b"]);
    }

    #[tokio::test]
    async fn kubernetes_swaps_a_link_beside_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        for (version, server) in [("..1", "a"), ("..2", "b")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("ringway.yaml"), with_servers(&[server])).unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/ringway.yaml", root.join("ringway.yaml")).unwrap();
        let (_, mut watch) = watch(Loader::new(root.join("ringway.yaml")));
        symlink("..2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        assert_eq!(names(&loaded(&mut watch).await), ["b"]);
    }

    #[tokio::test]
    async fn a_file_that_is_referred_to_is_watched_where_it_lies() {
        let scratch = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let secret = elsewhere.path().join("token");
        fs::write(&secret, "one").unwrap();
        let file = scratch.path().join("ringway.yaml");
        let server = format!(
            "{{ command: x, env: {{ T: \"${{file:{}}}\" }} }}",
            secret.display()
        );
        fs::write(&file, format!("servers: {{ a: {server} }}\n")).unwrap();
        let (_, mut watch) = watch(Loader::new(&file));
        fs::write(&secret, "two").unwrap();
        let config = loaded(&mut watch).await;
        let crate::config::ServerKind::Local(local) = &config.servers[0].kind else {
            panic!("it is local")
        };
        assert_eq!(local.env[0].1.expose(), "two");
    }

    #[tokio::test]
    async fn a_revocation_acts_even_while_the_file_is_bad() {
        let scratch = tempfile::tempdir().unwrap();
        let state = State::open(scratch.path().join("state")).unwrap();
        let store = Store::of(&state);
        let new = NewKey {
            name: "ci".to_owned(),
            roles: vec!["r".to_owned()],
            ..NewKey::default()
        };
        let file = scratch.path().join("ringway.yaml");
        fs::write(&file, with_servers(&["a"])).unwrap();
        let (_, mut watch) = watch(Loader::new(&file).with_keys(state.keys_path()));

        store.create(new, 1).unwrap();
        let config = loaded(&mut watch).await;
        assert_eq!(config.keys.len(), 1);
        assert_eq!(config.keys[0].roles, ["r"]);

        fs::write(&file, "servers: [").unwrap();
        assert!(matches!(next(&mut watch).await, Change::Rejected(_)));
        store.revoke("ci", 2).unwrap();
        assert!(matches!(next(&mut watch).await, Change::Rejected(_)));
        let config = loaded(&mut watch).await;
        assert!(config.keys.is_empty(), "the key is gone");
        assert_eq!(names(&config), ["a"], "the rest is the last good file");
    }
}
