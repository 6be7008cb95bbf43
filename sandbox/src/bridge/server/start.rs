//! Starting: a place among the processes, a channel, a handshake, and what to say when one of them fails.

use super::{Server, State};
use crate::{
    bridge::{
        duplex::{Duplex, Link},
        handshake::{Fault, Greeting, Opening, shake},
        reply::Unavailable,
        sse, stdio,
    },
    http_client::Address,
    limits::Limits,
    random,
    spec::Transport,
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, time::timeout};

/// A start tries at most this often: probe, then once with each era.
const TRIES_MAX: usize = 3;
/// How long a start waits for a place among the processes: one that is being stopped may be about to free it.
const PLACE_WAIT: Duration = Duration::from_secs(1);

/// A start that did not succeed.
pub(super) enum StartFault {
    /// No place among the processes.
    Busy(&'static str),
    /// Trying again soon is no use.
    Hopeless(String),
    /// The rest of a sentence that begins with the server's name, and the last line of its stderr.
    Failed(String, String),
}

impl Server {
    /// Opens a channel and shakes hands, trying the other era where that may help.
    pub(super) async fn open(&self, opening: &Opening) -> Result<(Duplex, Greeting), StartFault> {
        let tries = async {
            let mut era = self.era();
            for _ in 0..TRIES_MAX {
                self.state().still_wanted()?;
                let mut duplex = self.connect().await?;
                self.state().note_start(&duplex.link)?;
                match shake(&mut duplex, era, opening, self.limits.probe_deadline).await {
                    Ok(greeting) => {
                        self.state().era = Some(greeting.era());
                        return Ok((duplex, greeting));
                    }
                    Err(Fault::Again(other)) => {
                        era = Some(other);
                        close(duplex).await;
                    }
                    Err(Fault::Failed(what)) => {
                        // The server may have changed its era since; ask again next time.
                        if matches!(self.spec.transport, Transport::Stdio(_)) {
                            self.state().era = None;
                        }
                        return Err(explained(duplex, what).await);
                    }
                }
            }
            Err(StartFault::Failed(
                "speaks neither era for long".to_owned(),
                String::new(),
            ))
        };
        match timeout(self.limits.start_deadline, tries).await {
            Ok(outcome) => outcome,
            // Dropping the channel has begun the stop of what was started.
            Err(_) => Err(StartFault::Failed(
                format!(
                    "did not finish its handshake within {:?}",
                    self.limits.start_deadline
                ),
                String::new(),
            )),
        }
    }

    async fn connect(&self) -> Result<Duplex, StartFault> {
        match &self.spec.transport {
            Transport::Stdio(launch) => {
                let place = |places: &Arc<Semaphore>| {
                    let places = places.clone();
                    async {
                        timeout(PLACE_WAIT, places.acquire_owned())
                            .await
                            .ok()
                            .and_then(Result::ok)
                    }
                };
                let own = place(&self.own_processes).await;
                let own = own.ok_or(StartFault::Busy("has as many processes as it is allowed"))?;
                let any = place(&self.common.processes).await;
                let any = any.ok_or(StartFault::Busy(
                    "cannot start: the gateway runs as many processes as it is allowed",
                ))?;
                stdio::open(launch, &self.limits, vec![own, any]).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => {
                        StartFault::Hopeless(format!(
                            "cannot be started: {:?} or its working directory cannot be used ({error}); install the program or correct the configuration",
                            launch.program
                        ))
                    }
                    _ => StartFault::Failed(format!("cannot be started ({error})"), String::new()),
                })
            }
            Transport::LegacySse { url, headers } => {
                let address = Address::parse(url)
                    .map_err(|e| StartFault::Hopeless(format!("has no usable address: {e}")))?;
                let target = sse::Target {
                    name: self.spec.name.clone(),
                    address,
                    headers: headers.clone(),
                };
                sse::open(&self.common.client, target, &self.limits)
                    .await
                    .map_err(|what| StartFault::Failed(what, String::new()))
            }
        }
    }
}

impl State {
    /// Refuses when the server has been retired meanwhile.
    fn still_wanted(&self) -> Result<(), StartFault> {
        match self.retired {
            true => Err(StartFault::Failed(
                "is being replaced or removed".to_owned(),
                String::new(),
            )),
            false => Ok(()),
        }
    }

    /// Remembers what is being started, so that a stop can end it; refuses when it has come too late.
    fn note_start(&mut self, link: &Link) -> Result<(), StartFault> {
        if let Err(retired) = self.still_wanted() {
            link.kill();
            return Err(retired);
        }
        self.starting.retain(|link| link.is_held());
        self.starting.push(link.downgrade());
        Ok(())
    }

    /// Whether a start may be tried.
    pub(super) fn ready(&self) -> Result<(), Unavailable> {
        if self.retired {
            return Err(super::retired());
        }
        match self.backoff.wait(Instant::now()) {
            None => Ok(()),
            Some(retry_after) => Err(Unavailable {
                reason: if self.hopeless {
                    "cannot_start"
                } else {
                    "backing_off"
                },
                text: match self.hopeless {
                    true => "cannot be started; an operator finds the reason in its status".into(),
                    false => "has failed repeatedly and is not started again yet".into(),
                },
                retry_after,
            }),
        }
    }

    pub(super) fn note(&mut self, what: &str, last_words: &str) {
        self.failures += 1;
        self.last_error = Some(match last_words {
            "" => what.to_owned(),
            words => format!("{what}; its last words: {words}"),
        });
    }

    pub(super) fn failed(&mut self, name: &str, fault: StartFault, limits: &Limits) -> Unavailable {
        let now = Instant::now();
        let text = match fault {
            // Nothing is wrong with the server itself.
            StartFault::Busy(text) => {
                return Unavailable {
                    reason: "too_many_processes",
                    text: text.into(),
                    retry_after: Duration::from_secs(5),
                };
            }
            StartFault::Hopeless(text) => {
                self.hopeless = true;
                self.backoff.hopeless(now, limits);
                self.note(&text, "");
                text
            }
            StartFault::Failed(text, last_words) => {
                self.hopeless = false;
                self.backoff
                    .failed(now, Duration::ZERO, random::fraction(), limits);
                self.note(&text, &last_words);
                text
            }
        };
        tracing::warn!(server = name, "local server {text}");
        let retry_after = self.backoff.wait(now).unwrap_or_default();
        Unavailable {
            reason: "start_failed",
            text: text.into(),
            retry_after,
        }
    }
}

/// Adds how the process ended, if it did, to what the handshake saw.
async fn explained(duplex: Duplex, what: String) -> StartFault {
    /// The pipe closes a moment before the process is seen to have ended.
    const MOMENT: Duration = Duration::from_millis(200);
    let ended = timeout(MOMENT, duplex.link.ended()).await;
    let text = match ended {
        Ok(how) => format!("{what} (it {how})"),
        Err(_) => what,
    };
    let last_words = duplex.link.last_words();
    close(duplex).await;
    StartFault::Failed(text, last_words)
}

async fn close(duplex: Duplex) {
    let link: Link = duplex.link.clone();
    drop(duplex);
    link.stop();
    link.gone().await;
}
