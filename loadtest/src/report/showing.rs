//! A run as it is shown while it goes on: the flags for it, and one thread that serves the terminal and all receivers
//! of metrics beside the engine's own threads.

use std::{fs, path::Path, sync::mpsc, thread::JoinHandle};

use tokio::sync::{oneshot, watch};

use super::{
    model::Report,
    progress::Progress,
    push::{Options, Pushing},
    terminal::{Style, follow},
};
use crate::scenario::values;

/// Flags of `run`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ShowArgs {
    /// Show nothing while the run goes on
    #[arg(long, short, help_heading = "Report")]
    pub quiet: bool,
    /// Answer scrapes of /metrics here while the run goes on, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS", help_heading = "Metrics")]
    pub metrics: Option<std::net::SocketAddr>,
    /// Put metrics to this Pushgateway
    #[arg(long, value_name = "URL", help_heading = "Metrics")]
    pub push_prometheus: Option<String>,
    /// Post metrics to this OTLP/HTTP collector (JSON)
    #[arg(long, value_name = "URL", help_heading = "Metrics")]
    pub push_otlp: Option<String>,
    /// A field of pushes, 'name: value', or 'name: @file' for a value that is a secret; repeatable
    #[arg(long = "push-header", value_name = "FIELD", help_heading = "Metrics")]
    pub push_headers: Vec<String>,
    /// How often to push
    #[arg(long, value_name = "TIME", help_heading = "Metrics", default_value = "5s", value_parser = values::duration)]
    pub push_every: std::time::Duration,
}

/// What is shown of a run that goes on.
pub struct Showing {
    thread: JoinHandle<Vec<String>>,
    settled: mpsc::Receiver<()>,
    finish: oneshot::Sender<Option<Box<Report>>>,
}

impl ShowArgs {
    /// Begins to show; mistakes are found here, before any load is made.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn start(&self, label: &str, feed: watch::Receiver<Progress>) -> Result<Showing, String> {
        let options = Options {
            listen: self.metrics,
            prometheus: self.push_prometheus.clone(),
            otlp: self.push_otlp.clone(),
            headers: self
                .push_headers
                .iter()
                .map(|field| header(field))
                .collect::<Result<_, _>>()?,
            every: Some(self.push_every),
        };
        if !options.headers.is_empty() && options.prometheus.is_none() && options.otlp.is_none() {
            return Err("--push-header needs --push-prometheus or --push-otlp".to_owned());
        }
        let style = if self.quiet {
            Style::Silent
        } else {
            Style::detect()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|reason| format!("no runtime: {reason}"))?;
        let pushing = runtime
            .block_on(options.start(label, feed.clone()))
            .map_err(|reason| reason.to_string())?;
        if let Some(address) = pushing.listening.filter(|_| !self.quiet) {
            eprintln!("metrics at http://{address}/metrics");
        }
        let (settle, settled) = mpsc::channel();
        let (finish, finished) = oneshot::channel();
        let show = move || runtime.block_on(show(feed, style, pushing, settle, finished));
        let thread = std::thread::Builder::new()
            .name("showing".to_owned())
            .spawn(show)
            .map_err(|reason| format!("no thread: {reason}"))?;
        Ok(Showing {
            thread,
            settled,
            finish,
        })
    }
}

impl Showing {
    /// Waits until the terminal is free for the summary. The engine must have said that it is done, or be gone.
    pub fn settle(&self) {
        // A thread that is gone shows nothing any more either.
        let _ = self.settled.recv();
    }

    /// Delivers the final figures; gives what could not be delivered, for people.
    #[must_use]
    pub fn finish(self, report: Option<&Report>) -> Vec<String> {
        // A thread that is gone is told of below.
        let _ = self.finish.send(report.cloned().map(Box::new));
        self.thread
            .join()
            .unwrap_or_else(|_| vec!["the thread that shows the run panicked".to_owned()])
    }
}

async fn show(
    feed: watch::Receiver<Progress>,
    style: Style,
    pushing: Pushing,
    settle: mpsc::Sender<()>,
    finished: oneshot::Receiver<Option<Box<Report>>>,
) -> Vec<String> {
    follow(feed, style).await;
    // Whoever no longer waits needs not be told.
    let _ = settle.send(());
    let report = finished.await.ok().flatten();
    pushing.finish(report.as_deref()).await
}

/// `name: value`, or `name: @file`.
fn header(field: &str) -> Result<(String, String), String> {
    let (name, value) = field
        .split_once(':')
        .ok_or("--push-header: write 'name: value' or 'name: @file'")?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    let value = match value.strip_prefix('@') {
        Some(path) => fs::read_to_string(Path::new(path))
            .map_err(|reason| format!("--push-header {name}: {path}: {reason}"))?
            .trim_end()
            .to_owned(),
        None => value.to_owned(),
    };
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::progress::Phase;

    #[test]
    fn a_field_is_given_or_read_from_a_file() {
        assert_eq!(
            header("X-Scope: 7").expect("read"),
            ("x-scope".into(), "7".into())
        );
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        fs::write(&path, "Bearer x\n").expect("written");
        let read = header(&format!("authorization: @{}", path.display())).expect("read");
        assert_eq!(read, ("authorization".into(), "Bearer x".into()));
        assert!(
            header("authorization")
                .expect_err("refused")
                .contains("name: value")
        );
        assert!(header("a: @/nowhere").expect_err("refused").contains("/nowhere"));
    }

    #[test]
    fn a_run_is_shown_to_its_end() {
        let (engine, feed) = watch::channel(Progress::default());
        let args = ShowArgs {
            quiet: true,
            metrics: "127.0.0.1:0".parse().ok(),
            ..ShowArgs::default()
        };
        let showing = args.start("x", feed).expect("started");
        engine.send_modify(|now| now.phase = Phase::Done);
        showing.settle();
        let report = crate::report::thresholds::sample_report();
        assert_eq!(showing.finish(Some(&report)), [] as [String; 0]);
    }

    #[test]
    fn mistakes_come_before_the_run() {
        let (_engine, feed) = watch::channel(Progress::default());
        let args = ShowArgs {
            push_headers: vec!["a: b".into()],
            ..ShowArgs::default()
        };
        assert!(
            args.start("x", feed)
                .err()
                .expect("refused")
                .contains("--push-otlp")
        );
    }
}
