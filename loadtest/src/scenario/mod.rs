//! What a person wants run: the types a scenario file becomes, and its reading.
//!
//! `docs/loadtest.md` is the reference of every key. [`Scenario::read`] checks everything that can be known without
//! the target and gives all findings at once; what remains (does a name resolve, is the tool there) is found before
//! the first call is made. Flags of the command line are written as TOML and take the same way ([`flags`]).

pub mod flags;
mod load;
mod operation;
mod read;
mod share;
pub mod table;
pub mod template;
#[cfg(test)]
mod tests;
pub mod values;

pub use load::{Arrivals, Load, Search, Step};
pub use operation::{Action, Call, Cancel, Operation};
pub use table::Finding;

use crate::wire::{HttpChoice, Trust};
use ringway_proto::revision::{Era, Revision};
use std::{fmt, path::PathBuf, time::Duration};

/// Most operations of one scenario: each has histograms of its own on every thread.
pub const OPERATIONS_MAX: usize = 256;
/// Most generator threads; more than any machine's cores.
pub const THREADS_MAX: u64 = 256;
/// Most connections of one generator: the ports of one address.
pub const CONNECTIONS_MAX: u64 = 60_000;
/// Most calls at once on one HTTP/2 connection; servers allow 100 to 250.
pub const STREAMS_MAX: u64 = 1_000;
/// Most virtual clients: each old-era one holds a session's id.
pub const CLIENTS_MAX: u64 = 1_000_000;

/// A whole scenario, checked.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What its runs are called.
    pub name: String,
    /// The TOML it was read from.
    pub text: String,
    /// What must hold, in the words of the report's rules.
    pub thresholds: Vec<String>,
    /// Who is called, and how.
    pub target: Target,
    /// On whose behalf.
    pub clients: Clients,
    /// Over what.
    pub connections: Connections,
    /// When.
    pub load: Load,
    /// What holds for every call.
    pub calls: Calls,
    /// What is called; never empty unless `standing` is asked for.
    pub operations: Vec<Operation>,
    /// What is held open beside the calls.
    pub standing: Standing,
    /// The generator itself.
    pub generator: Generator,
}

/// Who is called.
#[derive(Clone, Debug)]
pub struct Target {
    /// MCP endpoints; connections go to them in turn.
    pub urls: Vec<String>,
    /// Which revision to speak.
    pub revision: Speak,
    /// Which HTTP.
    pub http: HttpChoice,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    /// Connect here instead of to the URL's host.
    pub connect_to: Option<String>,
    /// Whom to believe in TLS.
    pub trust: Trust,
    /// The name to verify in TLS instead of the URL's host.
    pub server_name: Option<String>,
    /// Certificate chain and key to show.
    pub client_identity: Option<(PathBuf, PathBuf)>,
    /// Whether connections resume TLS sessions.
    pub tls_resumption: bool,
}

/// Which revision to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speak {
    /// The modern one where the target has it, else the newest old one.
    Auto,
    /// The newest of this era; an old-era server may agree to an older one.
    Newest(Era),
    /// Exactly this one.
    Exactly(Revision),
}

/// On whose behalf calls are made.
#[derive(Clone)]
pub struct Clients {
    /// How many, each with its own credential and (old era) session; none: as many as calls can be under way, and
    /// no fewer than there are keys.
    pub count: Option<usize>,
    /// Credentials; client n has the key n modulo their number. Empty: none is shown.
    pub keys: Vec<String>,
    /// The header a key travels in.
    pub header: String,
    /// What stands before the key there.
    pub prefix: String,
}

/// Over what calls travel.
#[derive(Clone, Debug)]
pub struct Connections {
    /// How many.
    pub count: usize,
    /// Calls at once on one connection, where it is HTTP/2.
    pub streams: usize,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// A connection is closed and opened anew after so many calls.
    pub calls_max: Option<u64>,
}

/// What holds for every call.
#[derive(Clone, Debug)]
pub struct Calls {
    /// From its first byte written to its answer's last.
    pub timeout: Duration,
    /// How many due calls may wait for a free connection; more are counted `not_started`.
    pub waiting_max: usize,
    /// How long calls that wait when the load ends may still be started.
    pub drain: Duration,
    /// Largest answer taken.
    pub answer_bytes_max: usize,
    /// Answers are judged by their status alone: for targets that are no MCP servers.
    pub status_only: bool,
}

/// What is held open beside the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Event streams: `subscriptions/listen`, or the session's GET stream in the old era.
    pub listen: usize,
    /// Connections on which nothing is ever said.
    pub idle: usize,
}

/// The generator itself.
#[derive(Clone, Debug)]
pub struct Generator {
    /// Threads, each with its share of the connections and of the rate.
    pub threads: usize,
    /// CPUs to pin them to, in turn; empty: the system decides.
    pub cpus: Vec<usize>,
    /// Never sleep between calls: exact to a few microseconds, and takes the whole core.
    pub busy_poll: bool,
    /// Own lateness (99th percentile) from which on a run is the generator's and not the target's.
    pub lateness_p99_max: Duration,
    /// Share of a core from which on a thread has no headroom.
    pub busy_max: f64,
    /// Where randomness starts; two runs with one seed make the same calls.
    pub seed: u64,
}

/// Everything wrong with a scenario.
#[derive(Clone, Debug)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

impl Scenario {
    /// Reads a scenario; files it names are relative to `base`.
    pub fn read(text: &str, base: &std::path::Path) -> Result<Self, Findings> {
        read::read(text, base)
    }

    /// Calls that can be under way at once.
    pub fn lanes(&self) -> usize {
        let streams = match self.target.http {
            HttpChoice::Http2 => self.connections.streams,
            HttpChoice::Http1 | HttpChoice::Auto => 1,
        };
        self.connections.count * streams
    }

    /// Virtual clients.
    pub fn client_count(&self) -> usize {
        let least = self.lanes().max(self.clients.keys.len()).max(1);
        self.clients.count.unwrap_or(least)
    }
}

impl fmt::Debug for Clients {
    /// Keys are secrets: only their number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("count", &self.count)
            .field("keys", &self.keys.len())
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
