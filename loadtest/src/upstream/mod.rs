//! The built-in upstream: an MCP server that is fast enough never to be the bottleneck, and misbehaves on demand.
//!
//! [`serve`] starts it on threads of its own and gives a [`Handle`]; `ringway-loadtest upstream` is the same from the
//! command line. How to read it, from the outside in: `listen` accepts and tells the versions of HTTP apart, `h1`
//! and `h2` speak them, `protocol` and `methods` decide what a request is answered, `flows` and `hold` carry out
//! what takes time, `faults` says what goes wrong, `stats` counts, `admin` is the control endpoint.

mod admin;
mod answer;
mod catalogue;
pub mod faults;
mod flows;
mod h1;
mod h2;
mod head;
mod hold;
mod io;
mod latency;
mod listen;
mod methods;
pub mod options;
mod protocol;
mod server;
mod sessions;
pub mod stats;
pub mod text;
mod timer;

pub use latency::{LATENCY_MAX, Latency, LatencyRule, duration};
pub use options::Options;
pub use stats::Stats;

use faults::Rule;
use server::{Event, Server};
use std::{net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

/// Why the upstream did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An option cannot be used.
    #[error("{0}")]
    Option(String),
    /// A socket or thread could not be had.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Certificate and key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
}

impl StartError {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}

/// A running upstream; it ends when this is dropped.
#[derive(Debug)]
pub struct Handle {
    /// Where it serves.
    pub addr: SocketAddr,
    /// Where its control endpoint is.
    pub admin: Option<SocketAddr>,
    server: Arc<Server>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts an upstream; it accepts connections when this comes back.
pub fn serve(options: Options) -> Result<Handle, StartError> {
    listen::start(options)
}

impl Handle {
    /// `http://…/mcp`, or `https`.
    pub fn url(&self) -> String {
        let tls = self.server.options.tls_certificate.is_some();
        format!("{}://{}/mcp", if tls { "https" } else { "http" }, self.addr)
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        self.server.stats()
    }

    /// Replaces the fault rules.
    pub fn set_faults(&self, rules: Vec<Rule>) -> Result<(), String> {
        self.server.faults.set(rules)
    }

    /// Stops answering anything for so long.
    pub fn stall_all(&self, time: Duration) {
        self.server.gate.close(time);
    }

    /// Sends a notification on every held stream; how many there are.
    pub fn notify(&self, method: &str, uri: Option<&str>) -> usize {
        let event = Event {
            method: method.into(),
            uri: uri.map(Into::into),
        };
        // An error says that no stream is held.
        self.server.events.send(event).unwrap_or(0)
    }

    /// Forgets all sessions, as a restart does.
    pub fn forget_sessions(&self) -> usize {
        self.server.sessions.forget_all()
    }

    /// Ends it: listeners and connections are closed when this comes back.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.server.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}
