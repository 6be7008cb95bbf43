//! The load tester's own metrics, for those who watch runs where they watch everything else.
//!
//! `metrics` says which there are and reads them from a run's progress or its report; `prometheus` and `otlp` write
//! them in the two forms; `listener` answers scrapes and `sender` pushes, both beside the run and without any hold on
//! it: what cannot be delivered is told at the end and changes nothing else. [`Options::start`] finds mistakes before
//! any load is made; [`Pushing::finish`] delivers the final figures.

mod listener;
mod metrics;
mod otlp;
mod prometheus;
mod sender;

pub use metrics::{Kind, Metric};

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{
    model::Report,
    progress::{Phase, Progress},
};
use sender::Sender;

/// How often metrics are pushed while a run goes on, unless the caller says otherwise: the usual scrape interval of
/// dashboards that show load tests.
pub const EVERY: Duration = Duration::from_secs(5);

/// Pushing oftener would measure the metrics' receiver.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Where metrics go.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Answer scrapes here (`GET /metrics`).
    pub listen: Option<SocketAddr>,
    /// Put to this Pushgateway: its address, or the whole address of a group (`…/metrics/job/NAME…`).
    pub prometheus: Option<String>,
    /// Post to this OTLP/HTTP collector: its address, or that of its metrics (`…/v1/metrics`).
    pub otlp: Option<String>,
    /// Fields of pushes, for receivers that ask who comes.
    pub headers: Vec<(String, String)>,
    /// How often; [`EVERY`] when none.
    pub every: Option<Duration>,
}

/// Why metrics cannot be delivered as asked; found before any load is made.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The address to listen on.
    #[error("metrics listener {address}: {reason}")]
    Listen {
        #[allow(missing_docs)]
        address: SocketAddr,
        #[allow(missing_docs)]
        reason: std::io::Error,
    },
    /// An address to push to, or a field of pushes.
    #[error("metrics receiver: {0}")]
    Target(#[from] crate::wire::TargetError),
}

/// Deliveries under way.
pub struct Pushing {
    /// Where scrapes are answered.
    pub listening: Option<SocketAddr>,
    listener: Option<JoinHandle<()>>,
    scraped: watch::Sender<String>,
    senders: Vec<JoinHandle<Sender>>,
    stop: watch::Sender<bool>,
}

impl Options {
    /// Whether anything is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listen.is_none() && self.prometheus.is_none() && self.otlp.is_none()
    }

    /// Begins to deliver; must be called inside a runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on, read or resolved.
    pub async fn start(&self, label: &str, feed: watch::Receiver<Progress>) -> Result<Pushing, PushError> {
        let (scraped, shown) = watch::channel(String::new());
        let (stop, stopped) = watch::channel(false);
        let mut senders = Vec::new();
        if let Some(url) = &self.prometheus {
            senders.push(Sender::to_pushgateway(url, label, &self.headers).await?);
        }
        if let Some(url) = &self.otlp {
            senders.push(Sender::to_collector(url, &self.headers).await?);
        }
        let (mut listening, mut listener) = (None, None);
        if let Some(address) = self.listen {
            let wrong = |reason| PushError::Listen { address, reason };
            let socket = TcpListener::bind(address).await.map_err(wrong)?;
            listening = Some(socket.local_addr().map_err(wrong)?);
            listener = Some(tokio::spawn(listener::serve(socket, feed.clone(), shown)));
        }
        let every = self.every.unwrap_or(EVERY).max(EVERY_MIN);
        let follow = |sender| tokio::spawn(follow(sender, feed.clone(), stopped.clone(), every));
        let senders = senders.into_iter().map(follow).collect();
        Ok(Pushing {
            listening,
            listener,
            scraped,
            senders,
            stop,
        })
    }
}

impl Pushing {
    /// Delivers the final figures and ends; gives what could not be delivered, for people.
    pub async fn finish(self, report: Option<&Report>) -> Vec<String> {
        self.stop.send_replace(true);
        let last = report.map(metrics::of_report);
        if let Some(samples) = &last {
            self.scraped.send_replace(prometheus::write(samples));
        }
        let mut complaints = Vec::new();
        for task in self.senders {
            match task.await {
                Ok(mut sender) => {
                    if let Some(samples) = &last {
                        sender.send(samples).await;
                    }
                    complaints.extend(sender.complaint());
                }
                Err(reason) => complaints.push(format!("a push of metrics ended: {reason}")),
            }
        }
        if let Some(listener) = self.listener {
            listener.abort();
        }
        complaints
    }
}

/// Pushes now and then until the run is done or nobody wants it any more.
async fn follow(
    mut sender: Sender,
    mut feed: watch::Receiver<Progress>,
    mut stopped: watch::Receiver<bool>,
    every: Duration,
) -> Sender {
    let mut tick = interval(every);
    // A receiver that was slow is not hurried.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => return sender,
        }
        let (phase, samples) = {
            let progress = feed.borrow_and_update();
            (progress.phase, metrics::of_progress(&progress))
        };
        if phase == Phase::Preparing {
            continue;
        }
        tokio::select! {
            () = sender.send(&samples) => {}
            _ = stopped.wait_for(|stop| *stop) => return sender,
        }
    }
}

#[cfg(test)]
mod tests;
