//! The gateway while it serves: what changes meanwhile, and how it ends.

use super::{UpArgs, adjust, development_key, last, paste, plan, plane::Plane};
use crate::{
    cli::exit::{Exit, Stop, say},
    config::{Change, Code, Config, Findings, Loader, Secret, Severity, Watch},
    registry::Registry,
    state::State,
};
use ringway_proto::snapshot::Document;
use ringway_sandbox::Sandbox;
use std::{sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch::Receiver,
};

/// How long sessions toward servers may take to be closed at the end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long local servers may take to end, after the data plane has drained.
const SANDBOX_STOP: Duration = Duration::from_secs(10);
/// After a second signal they are killed. That takes some milliseconds, and longer only on a machine that has no
/// time for it; what is not waited for then would stay.
const SANDBOX_KILL: Duration = Duration::from_secs(5);

/// The gateway while it serves.
pub(super) struct Serving {
    pub(super) args: UpArgs,
    pub(super) state: State,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) registry: Registry,
    pub(super) plane: Plane,
    pub(super) config: Config,
    pub(super) key: Option<Secret>,
    /// The number of the last document that was saved.
    pub(super) published: u64,
}

impl Serving {
    pub(super) async fn run(
        mut self,
        loader: Loader,
        mut changes: Watch,
        first: Arc<Document>,
        signals: Signals,
    ) -> Result<Exit, Stop> {
        let Signals {
            mut hangups,
            mut stops,
        } = signals;
        let mut documents = self.registry.documents();
        let mut movements = self.registry.movements();
        self.save(&first).await;
        loop {
            tokio::select! {
                () = stops.next() => break,
                _ = hangups.recv() => {
                    tracing::info!("SIGHUP: reading the configuration again");
                    self.plane.reload_certificates();
                    let loader = loader.clone();
                    // Files can lie on a mount that has gone away.
                    if let Ok(outcome) = tokio::task::spawn_blocking(move || loader.load()).await {
                        self.reconfigure(outcome.config, &outcome.findings).await;
                    }
                }
                Some(change) = changes.next() => match change {
                    Change::Loaded(config, findings) => self.reconfigure(Some(*config), &findings).await,
                    Change::Rejected(findings) => self.reconfigure(None, &findings).await,
                },
                document = next(&mut documents) => self.publish(document).await,
                _ = movements.changed() => self.plane.set_health(true, &self.registry.status()),
            }
        }
        self.stop(stops).await
    }

    /// A new configuration, or the findings that keep the old one in place.
    async fn reconfigure(&mut self, config: Option<Config>, findings: &Findings) {
        let Some(mut config) = config else {
            report(findings);
            tracing::error!(file = %self.config.file, "the configuration has errors; the one before goes on serving");
            return;
        };
        adjust(&mut config, &self.args);
        let restart = config.needing_restart(&self.config.settings);
        // What is read once at start stays what it was then, also for what depends on it.
        config.settings = self.config.settings.clone();
        let key = match development_key(&config, &self.state) {
            Ok(key) => key,
            Err(stop) => {
                tracing::error!("{}; the configuration before goes on serving", stop.what);
                return;
            }
        };
        report(&without(findings, key.is_some()));
        report(&restart);
        match plan::prepare(&config, &self.sandbox, key.as_ref()).await {
            Ok(plan) => {
                if self.key.is_some() && key.is_none() {
                    tracing::warn!(
                        "the development key is refused from now on: there are other keys, or anonymous callers"
                    );
                }
                self.registry.set(plan);
                self.key = key;
                self.config = config;
                // Whatever the registry knows of the servers that stay goes out at once.
                if let Some(document) = self.registry.document() {
                    self.publish(document).await;
                }
                plan::retire(&self.config, &self.sandbox);
                tracing::info!(file = %self.config.file, "the configuration is in effect");
            }
            Err(findings) => {
                for finding in findings {
                    tracing::error!("{finding}");
                }
                tracing::error!(file = %config.file, "the configuration cannot be used; the one before goes on serving");
            }
        }
    }

    async fn publish(&mut self, document: Arc<Document>) {
        if document.number <= self.published {
            return;
        }
        match self.plane.publish(document.clone()).await {
            Ok(()) => {
                tracing::debug!(number = document.number, "published");
                self.save(&document).await;
            }
            Err(findings) => {
                // What servers say cannot cause this, and the configuration was compiled before; so say it loudly.
                for finding in findings {
                    tracing::error!(number = document.number, "{finding}");
                }
                tracing::error!("the new snapshot was refused; the one before goes on serving");
            }
        }
    }

    async fn save(&mut self, document: &Arc<Document>) {
        self.published = document.number;
        let (state, document) = (self.state.clone(), document.clone());
        let saving = tokio::task::spawn_blocking(move || last::write(&state, &document));
        if saving.await.is_err() {
            tracing::warn!("the snapshot was not saved");
        }
    }

    /// Lets calls finish, then takes everything down, inside out.
    async fn stop(self, stops: Stops) -> Result<Exit, Stop> {
        let Self {
            sandbox,
            registry,
            plane,
            config,
            ..
        } = self;
        let drain = config.settings.drain;
        tracing::info!(
            ?drain,
            "draining: no new connections, calls under way may finish; a second signal ends them"
        );
        let orderly = async {
            plane.drain(drain).await;
            take_down(registry, &sandbox).await;
        };
        unless_told_again(orderly, stops, &sandbox).await
    }

    pub(super) fn welcome(&self) {
        let url = self.url();
        let key = self.key.as_ref().map(Secret::expose);
        let admin = self.plane.admin_address();
        if self.args.json {
            say(&serde_json::json!({"url": url, "key": key, "admin": admin}).to_string());
            return;
        }
        let access = match key {
            Some(key) => paste::Access::Development(key),
            None if self.config.anonymous.is_some() => paste::Access::Open,
            None => paste::Access::Own,
        };
        // Why a program could not be started, the bridge tells its operator and not its clients.
        let local = self.sandbox.status();
        let why = |name: &str| {
            local
                .iter()
                .find(|status| status.name == name)?
                .last_error
                .clone()
        };
        let servers = self.registry.status().into_iter().map(|s| match s.state {
            "up" => format!("{}: {} tools", s.name, s.tools),
            "down" => format!(
                "{}: down, {}",
                s.name,
                why(&s.name).or(s.reason).unwrap_or_default()
            ),
            _ => format!("{}: not answered yet", s.name),
        });
        let welcome = paste::Welcome {
            url: &url,
            access,
            admin,
            servers: servers.collect(),
        };
        say(&paste::text(&welcome));
    }

    fn url(&self) -> String {
        let listeners = self.config.settings.listeners.iter().zip(self.plane.addresses());
        let all: Vec<_> = listeners
            .map(|(listener, address)| (*address, listener.tls.is_some()))
            .collect();
        // The one that can be reached from here without a certificate for another name is the best to show.
        let best = all
            .iter()
            .find(|(address, tls)| address.ip().is_loopback() && !tls)
            .or(all.first());
        best.map(|(address, tls)| paste::url_of(*address, *tls))
            .unwrap_or_default()
    }
}

/// Findings worth logging: that nobody may call is not so where the development key is.
fn without(findings: &Findings, key: bool) -> Findings {
    let list = findings
        .list
        .iter()
        .filter(|finding| !(key && finding.code == Code::NobodyMayCall));
    Findings {
        list: list.cloned().collect(),
    }
}

fn report(findings: &Findings) {
    for finding in &findings.list {
        let place = match finding.line {
            0 => finding.file.clone(),
            line => format!("{}:{line}", finding.file),
        };
        match finding.severity {
            Severity::Error => tracing::error!(place, code = finding.code.as_str(), "{}", finding.message),
            Severity::Warning => tracing::warn!(place, code = finding.code.as_str(), "{}", finding.message),
        }
    }
}

async fn next(documents: &mut Receiver<Option<Arc<Document>>>) -> Arc<Document> {
    loop {
        if documents.changed().await.is_err() {
            // The registry is gone, and with it everything there could be to publish.
            std::future::pending::<()>().await;
        }
        if let Some(document) = documents.borrow_and_update().clone() {
            return document;
        }
    }
}

/// The end of a gateway that was told to stop before it served.
pub(super) async fn stop_early(
    registry: Registry,
    sandbox: &Arc<Sandbox>,
    stops: Stops,
) -> Result<Exit, Stop> {
    tracing::info!("told to stop during the start");
    unless_told_again(take_down(registry, sandbox), stops, sandbox).await
}

async fn take_down(registry: Registry, sandbox: &Sandbox) {
    registry.shutdown(FAREWELL).await;
    sandbox.shutdown(SANDBOX_STOP).await;
}

async fn unless_told_again(
    orderly: impl Future<Output = ()>,
    mut stops: Stops,
    sandbox: &Sandbox,
) -> Result<Exit, Stop> {
    tokio::select! {
        () = orderly => {
            tracing::info!("stopped");
            Ok(Exit::Ok)
        }
        () = stops.next() => {
            tracing::warn!("second signal: stopping at once");
            sandbox.kill(SANDBOX_KILL).await;
            // The data plane's threads are still draining; nothing is left to wait for.
            std::process::exit(i32::from(Exit::Failure as u8));
        }
    }
}

/// The signals somebody may send. Heard from before the first process is started: one that nobody hears ends this
/// process where it stands, and its local servers with it only if they care.
pub(super) struct Signals {
    hangups: Signal,
    /// Orders to stop.
    pub(super) stops: Stops,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Stop> {
        Ok(Self {
            hangups: listen_to(SignalKind::hangup())?,
            stops: Stops {
                term: listen_to(SignalKind::terminate())?,
                int: listen_to(SignalKind::interrupt())?,
            },
        })
    }
}

pub(super) struct Stops {
    term: Signal,
    int: Signal,
}

impl Stops {
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

fn listen_to(kind: SignalKind) -> Result<Signal, Stop> {
    signal(kind).map_err(|e| Stop::plain(Exit::Failure, format!("signals cannot be heard: {e}")))
}
