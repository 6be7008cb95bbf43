//! Every bound of the sandbox, with its reason and what a caller sees when it is reached.
//!
//! Counts come first, then sizes, then times. The defaults suit one gateway on one machine; control may lower or
//! raise them, and a test shrinks them to reach each one.

use std::time::Duration;

/// The bounds of one [`Sandbox`](crate::Sandbox).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Local processes at once, over all servers. A Node or Python server takes 50 to 100 MB, so 64 is what a
    /// machine of 8 GB can hold. Reached: 503 with `Retry-After`, nothing is started.
    pub processes_max: usize,
    /// Local processes at once of one server (with [`Sharing::PerSession`](crate::Sharing) each session has one), so
    /// that one server cannot use up `processes_max`. Reached: see `session_spared`, else 503 with `Retry-After`.
    pub processes_per_server_max: usize,
    /// Connections to one server's socket. The data plane keeps a pool per worker and one event stream per session.
    /// Reached: further connections wait in the listener's backlog.
    pub connections_per_server_max: usize,
    /// Calls under way at once at one server. A stdio server reads one pipe; beyond this it only queues. Reached:
    /// 503 with `Retry-After`.
    pub calls_per_server_max: usize,
    /// Legacy sessions of one server; each is a table row and a queue. Reached: see `session_spared`.
    pub sessions_per_server_max: usize,
    /// Messages waiting for a session's event stream. Reached: notifications are dropped (they are hints to read
    /// again), requests of the server are answered with an error.
    pub session_queue_max: usize,
    /// Messages waiting on the response stream of one call. Reached: progress and log messages are dropped; a
    /// subscription's stream is ended, so that its client knows to read again.
    pub call_queue_max: usize,
    /// Subscriptions of one session to resources. Reached: JSON-RPC error -32602.
    pub subscriptions_per_session_max: usize,
    /// Messages accepted for a server that is slow to read them. Reached: callers wait, within their own deadline.
    pub outgoing_queue_max: usize,
    /// Requests of one server to its client that wait for an answer. Reached: answered with an error.
    pub server_requests_max: usize,

    /// One message, either way: a line on a pipe, an event, a request body. Images in tool results are base64 of
    /// some megabytes. Reached: 413 to a client; a server's longer line is skipped and its call answered with an error.
    pub line_bytes_max: usize,
    /// One line of a server's stderr that is copied to our log. Reached: the rest of the line is cut off.
    pub stderr_line_bytes_max: usize,

    /// From starting a process to a finished handshake. `npx` and `uvx` download packages the first time. Reached:
    /// the start has failed; the process is stopped and back-off begins.
    pub start_deadline: Duration,
    /// How long one request waits for a start that goes on without it. Below the 60 s the data plane waits for a
    /// response head. Reached: 503 with `Retry-After`.
    pub start_wait: Duration,
    /// How long a server may take to answer the probe `server/discover` before it is taken for a legacy one.
    pub probe_deadline: Duration,
    /// Back-off doubles from here with each failure that follows another; the first restart is immediate.
    pub backoff_min: Duration,
    /// Back-off grows no longer than this.
    pub backoff_max: Duration,
    /// A process that ran this long was healthy: failures are counted from zero again.
    pub healthy_after: Duration,

    /// After this long without an answer a call's response turns into an event stream with heartbeats, so that
    /// nobody between takes a slow tool for a dead one (the data plane waits 60 s for a head).
    pub head_within: Duration,
    /// Between heartbeat comments on an event stream; common proxies cut streams idle for 30 to 60 s.
    pub heartbeat: Duration,
    /// The longest a call may take. Reached: cancelled at the server, JSON-RPC error to the client.
    pub call_deadline: Duration,
    /// How long a legacy call whose client is gone may go on (a disconnect is not a cancellation, but nobody can
    /// get the answer any more). Reached: cancelled at the server.
    pub detached_call_deadline: Duration,
    /// A session without event stream, calls or requests for this long is ended. Reached: 404, the client
    /// initializes again.
    pub session_idle: Duration,
    /// Where a server has no place for a new session, the session that nobody has used for the longest time is
    /// ended for it, once that time is this long: many clients never say that they are done, while one in use must
    /// not lose what its process knows. Not reached: 503 with `Retry-After` for the new one.
    pub session_spared: Duration,
    /// How long reading one request body may take. Reached: 408.
    pub body_deadline: Duration,
    /// How long a connection may stay without a request (or a head without its end). Longer than clients keep theirs
    /// pooled, so that they close first: one that we close could just be taking a request. Reached: closed.
    pub connection_idle: Duration,

    /// How long calls under way may go on when their server is replaced or removed.
    pub drain_deadline: Duration,
    /// After closing stdin: servers should end on end of file (specification, stdio, "Shutdown").
    pub eof_grace: Duration,
    /// After SIGTERM, before SIGKILL.
    pub term_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            processes_max: 64,
            processes_per_server_max: 16,
            connections_per_server_max: 1024,
            calls_per_server_max: 256,
            sessions_per_server_max: 1024,
            session_queue_max: 256,
            call_queue_max: 64,
            subscriptions_per_session_max: 256,
            outgoing_queue_max: 64,
            server_requests_max: 64,
            line_bytes_max: 16 << 20,
            stderr_line_bytes_max: 4 << 10,
            start_deadline: seconds(120),
            start_wait: seconds(45),
            probe_deadline: seconds(5),
            backoff_min: Duration::from_millis(500),
            backoff_max: seconds(60),
            healthy_after: seconds(30),
            head_within: seconds(10),
            heartbeat: seconds(15),
            call_deadline: seconds(1800),
            detached_call_deadline: seconds(300),
            session_idle: seconds(1800),
            session_spared: seconds(60),
            body_deadline: seconds(60),
            connection_idle: seconds(600),
            drain_deadline: seconds(30),
            eof_grace: seconds(2),
            term_grace: seconds(3),
        }
    }
}
