//! What control asks for, and what it can ask about: servers to run, and how they are doing.

use crate::process::Launch;
use ringway_proto::revision::Era;
use std::{fmt, time::Duration};

/// A server to supervise. Two equal ones need no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalServer {
    /// Unique name: `[a-z0-9][a-z0-9-]*`, at most 64 characters. Names the socket.
    pub name: String,
    /// How it is reached.
    pub transport: Transport,
    /// Whether clients share it.
    pub sharing: Sharing,
    /// Stopped after this long without sessions and calls; a session that nobody uses for this long is over. It
    /// starts again with the next request.
    pub idle_stop: Duration,
}

/// The default of [`LocalServer::idle_stop`].
pub const IDLE_STOP: Duration = Duration::from_secs(600);

impl LocalServer {
    /// A local process that all clients share.
    pub fn stdio(launch: Launch) -> Self {
        Self {
            name: launch.name.clone(),
            transport: Transport::Stdio(launch),
            sharing: Sharing::Shared,
            idle_stop: IDLE_STOP,
        }
    }

    /// A legacy HTTP+SSE server behind one connection that all clients share.
    pub fn legacy_sse(
        name: impl Into<String>,
        url: impl Into<String>,
        headers: Vec<(String, String)>,
    ) -> Self {
        let transport = Transport::LegacySse {
            url: url.into(),
            headers,
        };
        Self {
            name: name.into(),
            transport,
            sharing: Sharing::Shared,
            idle_stop: IDLE_STOP,
        }
    }
}

/// What carries a server's messages.
#[derive(Clone, PartialEq, Eq)]
pub enum Transport {
    /// A local process that speaks on stdin and stdout.
    Stdio(Launch),
    /// A server of revision 2024-11-05 (HTTP with a separate event stream).
    LegacySse {
        /// The URL of its event stream.
        url: String,
        /// Sent with every request to it.
        headers: Vec<(String, String)>,
    },
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio(launch) => launch.fmt(f),
            // A URL's query may hold a token, as header values do.
            Self::LegacySse { url, headers } => f
                .debug_struct("LegacySse")
                .field("url", &url.split('?').next().unwrap_or_default())
                .field(
                    "headers",
                    &headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                )
                .finish(),
        }
    }
}

/// Who shares a legacy server. A modern one is always shared: its requests stand alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// One process for all. It is initialized without client capabilities, because nobody could tell which client
    /// a request of the server is meant for.
    #[default]
    Shared,
    /// One process per session, initialized as that session's client, which takes the server's requests.
    PerSession,
}

/// How a server is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: ServerState,
    /// The era it speaks, once that is known.
    pub era: Option<Era>,
    /// Its processes; none for a remote one.
    pub pids: Vec<u32>,
    /// Legacy sessions and open listens.
    pub sessions: usize,
    /// Calls under way, listens excepted.
    pub calls: usize,
    /// How often it ended without being asked to, or could not be started.
    pub failures: u64,
    /// The last such end, with the last line of its stderr. For operators: it may say more than clients should see.
    pub last_error: Option<String>,
}

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Not running; the next request starts it.
    Idle,
    /// Being started.
    Starting,
    /// Running.
    Running,
    /// Failed; may be started again after this time.
    BackingOff {
        /// From now.
        remaining: Duration,
    },
    /// Cannot be started (there is no such program, for one). Tried again after this time.
    Failed {
        /// From now.
        remaining: Duration,
    },
}
