//! The keeping of one server: when to probe it next, and what its answer changes.
//!
//! ```text
//!            start ──► probe ──ok──► wait: schedule ± jitter · a change is heard · asked for
//!                        │  ▲                    │
//!                     failed └───────────────────┘
//!                        ▼
//!            wait: 1 s, 2 s, 4 s … 5 min ± jitter · asked for
//! ```
//!
//! Three things keep a server from wearing us out. A change is answered by listing in the same session, for
//! there are servers that report a change in each new one. Changes that changed nothing make the next pause
//! longer. A local process is not kept awake by its schedule.

use super::{
    Pace, Shared, Spec, Standing,
    probe::{self, Legacy, Offers},
};
use crate::client::{Failure, Heard, ListenEnd, McpClient};
use ringway_proto::snapshot::Catalogue;
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

/// A whole probe of a remote server: a greeting or two and four lists.
const REMOTE_PROBE: Duration = Duration::from_secs(120);
/// The same of a local one, whose process may have to be installed first.
const LOCAL_PROBE: Duration = Duration::from_secs(240);
/// How long the lists wait for the stream that tells of their changes.
const LISTEN_OPEN: Duration = Duration::from_secs(1);
/// The pause after a change that changed nothing, doubled each time up to the schedule's interval.
const QUIET: Duration = Duration::from_secs(1);

/// Why a probe is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Start,
    Schedule,
    Change,
    /// The stream that told of changes is gone.
    Lost,
    Asked,
}

enum News {
    Changed,
    Lost,
}

/// A session in which changes are heard.
struct Ear {
    client: Arc<McpClient>,
    news: mpsc::Receiver<News>,
    listening: JoinHandle<()>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

struct Keeper {
    shared: Arc<Shared>,
    spec: Arc<Spec>,
    legacy: Legacy,
    ear: Option<Ear>,
    /// It says that it tells of changes.
    tells: bool,
    /// Failures in a row.
    failures: u32,
    /// Changes in a row that changed nothing.
    idle_changes: u32,
}

/// Keeps one server until `stop`.
pub(super) async fn keep(
    shared: Arc<Shared>,
    spec: Arc<Spec>,
    kick: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) {
    let mut keeper = Keeper {
        shared,
        spec,
        legacy: Legacy::Unknown,
        ear: None,
        tells: false,
        failures: 0,
        idle_changes: 0,
    };
    let mut why = Why::Start;
    loop {
        tokio::select! {
            () = keeper.round(why) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        why = tokio::select! {
            why = keeper.wait(&kick) => why,
            _ = stop.wait_for(|stop| *stop) => break,
        };
    }
    keeper.hang_up().await;
}

impl Keeper {
    /// One probe and its consequences.
    async fn round(&mut self, why: Why) {
        let shared = self.shared.clone();
        let (places, within) = match self.spec.local {
            Some(_) => (&shared.local_probes, LOCAL_PROBE),
            None => (&shared.remote_probes, REMOTE_PROBE),
        };
        // The semaphores are never closed.
        let Ok(_place) = places.acquire().await else {
            return;
        };
        let outcome = match timeout(within, self.probe(why)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Late(within)),
        };
        match outcome {
            Ok((catalogue, notes)) => self.good(why, catalogue, notes),
            Err(failure) => self.bad(failure).await,
        }
    }

    async fn probe(&mut self, why: Why) -> Result<(Catalogue, Vec<String>), Failure> {
        let before = self.catalogue();
        if why == Why::Change
            && let Some(ear) = &self.ear
        {
            match probe::collect(&ear.client, &self.legacy, before.as_deref()).await {
                Ok(found) => return Ok(found),
                // The session may be gone while the server is well: greet it anew.
                Err(failure) => {
                    tracing::debug!(server = %self.name(), failure = probe::describe(&self.spec, &failure), "listing in the old session failed")
                }
            }
        }
        self.hang_up().await;
        let client = probe::greet(&self.spec).await?;
        if self.legacy == Legacy::Unknown {
            self.legacy = probe::legacy_of(&client).await;
        }
        let client = Arc::new(client);
        // Listening begins before listing, so that no change falls between the two.
        self.tells = Offers::of(&client).tells;
        // A process of each session's own has nothing to tell us about the others'.
        if self.tells && self.spec.local.as_ref().is_none_or(|local| local.shared) {
            self.listen(client.clone()).await;
        }
        let found = probe::collect(&client, &self.legacy, before.as_deref()).await;
        if let (None, Some(client)) = (&self.ear, Arc::into_inner(client)) {
            client.close().await;
        }
        found
    }

    /// Opens the stream that tells of changes, if the server has one, and waits a moment for it to stand.
    async fn listen(&mut self, client: Arc<McpClient>) {
        let (tell, news) = mpsc::channel(1);
        let open = Arc::new(Notify::new());
        let (opened, speaker) = (open.clone(), client.clone());
        let listening = tokio::spawn(async move {
            let heard = tell.clone();
            let end = speaker.listen(|what| match what {
                Heard::Open => opened.notify_one(),
                // One piece of news waits at most: more would say the same.
                Heard::Changed => drop(heard.try_send(News::Changed)),
            });
            match end.await {
                ListenEnd::Unsupported => opened.notify_one(),
                ListenEnd::Lost(failure) => {
                    tracing::debug!(server = %speaker.peer().shown, failure = speaker.peer().describe(&failure), "the stream of changes was lost");
                    opened.notify_one();
                    let _ = tell.send(News::Lost).await;
                }
            }
        });
        let ear = Ear {
            client,
            news,
            listening,
        };
        let _ = timeout(LISTEN_OPEN, open.notified()).await;
        // A stream refused at once leaves nothing to hold a session for.
        if !ear.listening.is_finished() || !ear.news.is_empty() {
            self.ear = Some(ear);
        }
    }

    /// Waits for the next reason to probe.
    async fn wait(&mut self, kick: &Notify) -> Why {
        let Pace {
            interval,
            retry_min,
            retry_max,
            coalesce,
            ..
        } = self.shared.pace;
        let pause = match self.failures {
            0 => interval,
            n => doubled(retry_min, n - 1, retry_max),
        };
        let why = tokio::select! {
            why = self.due(jittered(pause)) => why,
            () = kick.notified() => Why::Asked,
        };
        if !matches!(why, Why::Change | Why::Lost) {
            return why;
        }
        let quiet = match self.idle_changes {
            0 => coalesce,
            n => doubled(QUIET, n - 1, interval),
        };
        sleep(quiet).await;
        // What was said during the pause is answered by the same probe.
        while let Some(Ok(news)) = self.ear.as_mut().map(|ear| ear.news.try_recv()) {
            if matches!(news, News::Lost) {
                return Why::Lost;
            }
        }
        why
    }

    /// The pause is over, or something was heard. A local server's pause is over only while somebody uses it, and
    /// it is listened to just as long: a session of ours alone must not keep its process awake.
    async fn due(&mut self, pause: Duration) -> Why {
        let Some(local) = self.spec.local.clone() else {
            return tokio::select! {
                () = sleep(pause) => Why::Schedule,
                why = news(&mut self.ear) => why,
            };
        };
        let mut over = Instant::now() + pause;
        loop {
            let look = Instant::now() + self.shared.pace.local_look;
            tokio::select! {
                () = sleep_until(over.min(look)) => {}
                why = news(&mut self.ear) => return why,
            }
            let rested = Instant::now() >= over;
            if rested && self.failures > 0 {
                return Why::Schedule;
            }
            match (self.shared.in_use)(self.name(), usize::from(self.ear.is_some())) {
                true if rested || (self.tells && local.shared && self.ear.is_none()) => return Why::Schedule,
                true => {}
                false => {
                    self.hang_up().await;
                    if rested {
                        over = Instant::now() + pause;
                    }
                }
            }
        }
    }

    fn good(&mut self, why: Why, catalogue: Catalogue, notes: Vec<String>) {
        let now = SystemTime::now();
        let name = self.name().to_owned();
        let (tools, eras) = (
            catalogue.tools.len(),
            (catalogue.modern, catalogue.legacy_revision.clone()),
        );
        let mut table = self.shared.table();
        let Some(entry) = table.entry(&self.spec) else {
            return;
        };
        let changed = !entry
            .catalogue
            .as_deref()
            .is_some_and(|old| same(old, &catalogue));
        let (since, recovered) = match &entry.standing {
            Standing::Up { since } => (*since, false),
            Standing::Pending | Standing::Down { .. } => (now, true),
        };
        let news = entry.notes != notes;
        entry.standing = Standing::Up { since };
        entry.notes.clone_from(&notes);
        if changed {
            entry.catalogue = Some(Arc::new(catalogue));
        }
        drop(table);
        self.failures = 0;
        self.idle_changes = match why {
            Why::Change | Why::Lost if !changed => self.idle_changes.saturating_add(1),
            _ => 0,
        };
        if recovered {
            tracing::info!(server = %name, tools, modern = eras.0, legacy = eras.1, "server is up");
        } else if changed {
            tracing::info!(server = %name, tools, "server changed what it offers");
        }
        if news {
            for note in notes {
                tracing::warn!(server = %name, "{note}");
            }
        }
        if changed {
            self.shared.changed.notify_one();
        }
        self.shared.moved();
    }

    async fn bad(&mut self, failure: Failure) {
        self.hang_up().await;
        // After an outage it may be another server, with other eras.
        self.legacy = Legacy::Unknown;
        self.failures = self.failures.saturating_add(1);
        let reason = probe::describe(&self.spec, &failure);
        let name = self.name().to_owned();
        let mut table = self.shared.table();
        let Some(entry) = table.entry(&self.spec) else {
            return;
        };
        let (since, fell) = match &entry.standing {
            Standing::Down { since, .. } => (*since, false),
            Standing::Pending | Standing::Up { .. } => (SystemTime::now(), true),
        };
        let kept = entry.catalogue.is_some();
        entry.standing = Standing::Down {
            since,
            reason: reason.clone(),
            failures: self.failures,
        };
        drop(table);
        if fell {
            tracing::warn!(server = %name, %reason, catalogue_kept = kept, "server is down");
        } else {
            tracing::debug!(server = %name, %reason, failures = self.failures, "server is still down");
        }
        self.shared.moved();
    }

    /// Ends the session in which changes were heard.
    async fn hang_up(&mut self) {
        let Some(mut ear) = self.ear.take() else { return };
        ear.listening.abort();
        let _ = (&mut ear.listening).await;
        let client = ear.client.clone();
        drop(ear);
        if let Some(client) = Arc::into_inner(client) {
            client.close().await;
        }
    }

    fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.shared
            .table()
            .entry(&self.spec)
            .and_then(|entry| entry.catalogue.clone())
    }

    fn name(&self) -> &str {
        &self.spec.server.name
    }
}

impl super::Table {
    /// The entry this task keeps; another of the same name that is reached otherwise is another task's.
    fn entry(&mut self, spec: &Spec) -> Option<&mut super::Entry> {
        let same = |entry: &&mut super::Entry| {
            entry.spec.server.name == spec.server.name && entry.spec.reaches_the_same(spec)
        };
        self.entries.iter_mut().find(same)
    }
}

/// The next piece of news, if anyone listens; else never.
async fn news(ear: &mut Option<Ear>) -> Why {
    if let Some(open) = ear {
        match open.news.recv().await {
            Some(News::Changed) => return Why::Change,
            Some(News::Lost) => return Why::Lost,
            // The server offers no stream after all; the schedule serves it.
            None => {}
        }
    }
    std::future::pending().await
}

fn same(a: &Catalogue, b: &Catalogue) -> bool {
    match (serde_json::to_vec(a), serde_json::to_vec(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(1 << times.min(20)).min(max)
}

/// Between four and six fifths of the pause, so that servers configured together are not asked together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() as u32;
    pause.mul_f64(0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX))
}
