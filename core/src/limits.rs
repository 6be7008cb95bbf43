//! Every bound of the data plane, with its reason (DESIGN invariant 7).
//!
//! Two kinds: fields of [`Limits`] are what an operator may change; constants are what follows from a format or
//! from another party's rule and is the same everywhere. Units and bounds stand last in a name.

/// Bounds an operator may change. One value per process, read once at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One request body. The TypeScript SDK sends at most 4 MB; images in arguments need most of it.
    pub body_bytes_max: usize,
    /// One reply of an upstream that has to be held whole (a JSON answer, or one SSE event).
    pub reply_bytes_max: usize,
    /// Items on one page of a list: more than any known client shows, few enough to render in a millisecond.
    pub page_items_max: usize,
    /// Bytes on one page of a list, beside the first item: the 4 MB that SDKs accept as one message.
    pub page_bytes_max: usize,
    /// Rendered lists a worker keeps, in bytes: sixteen full pages. Above it the worker forgets them all.
    pub list_cache_bytes_max: usize,
    /// How long a modern client may reuse a list without asking; `subscriptions/listen` tells it sooner.
    pub list_ttl_ms: u32,
    /// A sealed session is refused after this many seconds: one week, so that a laptop survives a weekend.
    pub session_lifetime_s: u32,
    /// A parked call (`requestState`) waits this long for the person's answer.
    pub parked_lifetime_s: u32,
    /// Connections of clients.
    pub downstream: DownstreamLimits,
    /// Connections toward MCP servers.
    pub upstream: UpstreamLimits,
    /// Name lookups.
    pub dns: DnsLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            reply_bytes_max: 16 << 20,
            page_items_max: 1_000,
            page_bytes_max: 4 << 20,
            list_cache_bytes_max: 64 << 20,
            list_ttl_ms: 30_000,
            session_lifetime_s: 7 * 24 * 3600,
            parked_lifetime_s: 15 * 60,
            downstream: DownstreamLimits::default(),
            upstream: UpstreamLimits::default(),
            dns: DnsLimits::default(),
        }
    }
}

/// Servers in one snapshot: `ServerIndex` is a `u16`, and a fleet of one gateway has tens.
pub const SERVERS_MAX: usize = 4_096;
/// Tools, prompts or resources in one snapshot, each: ten times the largest fleet we test.
pub const ITEMS_MAX: usize = 100_000;
/// Resource templates in one snapshot. Each may have to be matched against a URI, so they cost time, not space.
pub const TEMPLATES_MAX: usize = 1_000;
/// One definition in a catalogue. The largest seen in public servers is below 60 KiB.
pub const DEFINITION_BYTES_MAX: usize = 256 << 10;
/// Nesting of an input schema we walk for header annotations; deeper ones are treated as having none to find.
pub const SCHEMA_DEPTH_MAX: usize = 64;
/// A server's name: leaves at least 30 of [`EXPOSED_NAME_CHARS_MAX`] to the tool.
pub const SERVER_NAME_CHARS_MAX: usize = 32;
/// An exposed name: model interfaces refuse longer ones (`^[a-zA-Z0-9_-]{1,64}$`).
pub const EXPOSED_NAME_CHARS_MAX: usize = 64;
/// A URI in a catalogue or a request.
pub const URI_BYTES_MAX: usize = 8 << 10;
/// Expressions in one URI template. Matching walks the URI once for each.
pub const TEMPLATE_PARTS_MAX: usize = 16;
/// A URI longer than this is not matched against templates.
pub const TEMPLATE_URI_BYTES_MAX: usize = 2 << 10;
/// A caller's text repeated in a rejection: enough to recognise it, too little to abuse a log.
pub const ECHO_CHARS_MAX: usize = 128;
/// Instructions of one server in a merged answer. They go into a model's context in full.
pub const INSTRUCTIONS_SERVER_BYTES_MAX: usize = 4 << 10;
/// Instructions of all servers together.
pub const INSTRUCTIONS_BYTES_MAX: usize = 32 << 10;
/// Text of a sealed session: servers commonly cap one header field at 8 KiB and some at 4.
pub const SESSION_TOKEN_CHARS_MAX: usize = 4 << 10;
/// A client's capabilities inside a session token: a quarter of the token.
pub const SESSION_CAPABILITIES_BYTES_MAX: usize = 1 << 10;
/// A client's self-description inside a session token.
pub const SESSION_CLIENT_INFO_BYTES_MAX: usize = 512;
/// One upstream's session id inside a session token. Ids seen in public servers are 32 to 64 characters.
pub const LEG_ID_BYTES_MAX: usize = 512;
/// A `requestState`, sealed: it holds the upstream's own state, whose size no rule bounds.
pub const REQUEST_STATE_CHARS_MAX: usize = 64 << 10;
/// The sealed id of a server's request: an id and a session id at their bounds, and the seal.
pub const SERVER_REQUEST_ID_CHARS_MAX: usize = 2 << 10;
/// A raw JSON id that outlives its message: SDKs count integers; some send UUIDs. Longer ones pass through, are cut in
/// access lines, and are not sealed into a request of a server.
pub const ID_BYTES_MAX: usize = 256;
/// A search query, in bytes.
pub const QUERY_BYTES_MAX: usize = 1 << 10;
/// Distinct words of a search query that are looked up.
pub const QUERY_TERMS_MAX: usize = 32;
/// Longer words a query's word may stand for (`repo` for `repository`).
pub const QUERY_EXPANSIONS_MAX: usize = 32;
/// Tools one `SEARCH_TOOLS` answer names when the caller does not say.
pub const SEARCH_RESULTS_DEFAULT: usize = 8;
/// Tools one `SEARCH_TOOLS` answer names at most.
pub const SEARCH_RESULTS_MAX: usize = 50;
/// Bytes of one `SEARCH_TOOLS` answer: definitions go into a model's context, and more helps no one.
pub const SEARCH_BYTES_MAX: usize = 256 << 10;

/// Bounds of one worker's connections with clients. How much of a body is read is the service's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownstreamLimits {
    /// Connections open on a worker: at about 6 KiB each while idle (as much again under TLS), and half of a usual
    /// descriptor limit of 8,192 with one worker; deployments with more agents raise both.
    pub connections_per_worker_max: usize,
    /// Connections beyond the bound that are told so (503) at once on a worker; later ones are just closed.
    pub refusals_at_once_max: usize,
    /// Queue of connections the kernel has accepted for us; it caps this at `net.core.somaxconn` (4,096).
    pub accept_backlog: i32,
    /// TLS handshakes at once on a worker, counted from the client's first byte; later ones wait. Each costs
    /// 0.1 ms of CPU and about 40 KiB.
    pub handshakes_at_once_max: usize,
    /// A TLS handshake, the wait for its turn included: three round trips of a bad mobile line.
    pub handshake_timeout_ms: u32,
    /// A request head: a large token and a large cookie fit twice.
    pub head_bytes_max: usize,
    /// Fields in a request head.
    pub header_fields_max: usize,
    /// A request head, from its first byte to its last (slowloris).
    pub header_timeout_ms: u32,
    /// A request body, from the head's end to the body's: 4 MiB at 1.2 Mbit/s.
    pub body_timeout_ms: u32,
    /// A connection without a request is closed after this long: above the 60 s at which usual load balancers
    /// drop theirs, so that the side that may have a request under way is the one that closes.
    pub idle_timeout_ms: u32,
    /// A client that takes no byte of an answer for this long is given up.
    pub write_stall_timeout_ms: u32,
    /// A silent connection is probed by the kernel after this long, every quarter of it, four times: a client
    /// that vanished (a laptop asleep, a lost NAT entry) is noticed although nothing is sent to it.
    pub keepalive_ms: u32,
    /// Unread body that is read and thrown away after a refusal, so that the connection can be used again.
    pub discard_bytes_max: usize,
    /// After a last answer we read and throw away for this long, until the client closes: unread bytes would
    /// turn into a reset and cut the answer (RFC 9112 §9.6).
    pub linger_timeout_ms: u32,
    /// A call is under way this long before we begin to watch whether its client is still there: most calls are
    /// done sooner, and watching costs two system calls.
    pub watch_after_ms: u32,
    /// Bytes of further requests taken in while watching; beyond it we stop watching (and reading).
    pub watch_bytes_max: usize,
    /// Streams at once on one HTTP/2 connection; beyond it the client waits. Twice what SDKs' pools open.
    pub streams_per_connection_max: u32,
    /// A quiet HTTP/2 connection is sent a PING this often.
    pub ping_every_ms: u32,
    /// And closed when it has not answered in this time.
    pub pong_within_ms: u32,
}

impl Default for DownstreamLimits {
    fn default() -> Self {
        Self {
            connections_per_worker_max: 4_096,
            refusals_at_once_max: 64,
            accept_backlog: 4_096,
            handshakes_at_once_max: 1_024,
            handshake_timeout_ms: 10_000,
            head_bytes_max: 32 << 10,
            header_fields_max: 100,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 75_000,
            write_stall_timeout_ms: 30_000,
            keepalive_ms: 60_000,
            discard_bytes_max: 64 << 10,
            linger_timeout_ms: 500,
            watch_after_ms: 100,
            watch_bytes_max: 64 << 10,
            streams_per_connection_max: 200,
            ping_every_ms: 20_000,
            pong_within_ms: 10_000,
        }
    }
}

/// Longest silence of a stream that waits for notifications (GET, `subscriptions/listen`): a day, so that even a
/// peer that no probe can unmask holds its connection for a bounded time.
pub const STREAM_SILENCE_MAX_MS: u32 = 24 * 3_600 * 1_000;
/// An idle connection toward a server is probed by the kernel after this long, this often, and taken for dead
/// after so many probes without an answer: a vanished host is noticed within a minute.
pub const KEEPALIVE_IDLE_MS: u32 = 30_000;
/// See [`KEEPALIVE_IDLE_MS`].
pub const KEEPALIVE_INTERVAL_MS: u32 = 10_000;
/// See [`KEEPALIVE_IDLE_MS`].
pub const KEEPALIVE_PROBES: u32 = 3;

/// Bounds of one worker's connections toward MCP servers. A *pool* is one endpoint with one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// HTTP/1.1 connections open in one pool, busy or idle: one call each, so also its calls at once.
    pub pool_open_max: usize,
    /// HTTP/1.1 connections a pool keeps idle: all it may have open, because under load they come and go by the
    /// microsecond and to dial anew costs more than ten calls. One that idles for a second holds about a kilobyte.
    pub pool_idle_max: usize,
    /// Calls waiting for a connection or stream in one pool; beyond it `PoolFull`. As many as a worker has client
    /// connections: who waits costs nothing but memory, while who is refused asks again at once, and at the limit of
    /// the processor refusals would take it from the calls that can be served. How long one waits is the server's
    /// `connect_ms`.
    pub pool_waiting_max: usize,
    /// Connections open on a worker, over all pools: half of a usual descriptor limit of 8,192 a process with
    /// two workers; the other half is for clients.
    pub worker_open_max: usize,
    /// Idle HTTP/1.1 connections on a worker, over all pools. Above it the oldest quarter is closed.
    pub worker_idle_max: usize,
    /// An idle connection is closed after this long. Below the 60 s of usual load balancers; a server's own
    /// `Keep-Alive: timeout` shortens it.
    pub idle_ms: u32,
    /// HTTP/2 connections in one pool: two share the damage of a lost one, four also the load of one core.
    pub http2_connections_max: usize,
    /// Streams at once on one HTTP/2 connection when the peer allows more: its fair share of a 16 MiB window.
    pub http2_streams_max: usize,
    /// Streams we reset on one HTTP/2 connection in a second; later ones wait their turn. Peers answer bursts
    /// of resets by closing the connection (CVE-2023-44487); the strictest default known to us allows 20.
    pub http2_resets_per_second: u32,
    /// A PING goes out this often on an HTTP/2 connection.
    pub ping_every_ms: u32,
    /// A connection whose PING is not answered in this time is closed.
    pub pong_within_ms: u32,
    /// A response head: twice what usual servers are willing to send.
    pub head_bytes_max: usize,
    /// Fields in a response head.
    pub head_fields_max: usize,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            pool_open_max: 256,
            pool_idle_max: 256,
            pool_waiting_max: 4_096,
            worker_open_max: 2_048,
            worker_idle_max: 1_024,
            idle_ms: 45_000,
            http2_connections_max: 4,
            http2_streams_max: 256,
            http2_resets_per_second: 10,
            ping_every_ms: 15_000,
            pong_within_ms: 10_000,
            head_bytes_max: 32 << 10,
            head_fields_max: 100,
        }
    }
}

/// Bounds of the resolver. The system's resolver does not tell a record's own time to live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsLimits {
    /// An answer is used this long without asking again: a moved server is found within it.
    pub ttl_ms: u32,
    /// A failure is remembered this long: a name that fails must not be looked up once per call.
    pub negative_ttl_ms: u32,
    /// An old answer still serves this long after its end while lookups fail: a name server's outage is not
    /// an outage of every tool.
    pub stale_ms: u32,
    /// One lookup; the system resolver's own default is 5 s per name server and try.
    pub lookup_ms: u32,
    /// Names remembered: ten times the servers of a large fleet.
    pub names_max: usize,
    /// Lookups at once; each holds one blocking thread of the side thread.
    pub lookups_at_once_max: usize,
    /// Questions of workers waiting for lookups; beyond it they are refused at once.
    pub waiting_max: usize,
    /// Addresses kept of one name: what a connect budget of seconds can try.
    pub addresses_max: usize,
}

impl Default for DnsLimits {
    fn default() -> Self {
        Self {
            ttl_ms: 15_000,
            negative_ttl_ms: 1_000,
            stale_ms: 600_000,
            lookup_ms: 5_000,
            names_max: 4_096,
            lookups_at_once_max: 8,
            waiting_max: 4_096,
            addresses_max: 16,
        }
    }
}

/// Receive window of one HTTP/2 stream of a client: a request of usual size without waiting for an update.
pub const CLIENT_STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Receive window of one HTTP/2 connection of a client: two bodies of the largest size at once. It is also the
/// most a connection can make us hold.
pub const CLIENT_CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Answer bytes buffered for one HTTP/2 stream beyond what the client's window takes.
/// An answer that was awaited whole ([`UPSTREAM_HOLD_BYTES_MAX`]) fits, because it is held in memory anyway.
pub const CLIENT_STREAM_SEND_BYTES_MAX: usize = 128 << 10;
/// Streams a client may reset before we have seen them, per connection; more is the rapid-reset attack
/// (CVE-2023-44487) and closes the connection.
pub const CLIENT_RESETS_PENDING_MAX: usize = 32;
/// Streams we reset for a client's errors before its connection is closed.
pub const CLIENT_ERROR_RESETS_MAX: usize = 256;
/// Requests a client may cancel early on one HTTP/2 connection within a second before the connection is closed:
/// each cost us a call; people and SDKs cancel a few.
pub const CLIENT_CANCELS_PER_SECOND_MAX: u32 = 100;
/// Chunks of an answer that are ready together leave in one write up to this size.
pub const ANSWER_GATHER_BYTES: usize = 16 << 10;
/// The first read of a request: a usual call fits, head, token and body; thousands may be waiting with one.
pub const REQUEST_READ_BYTES: usize = 4 << 10;
/// After this long without a request a connection gives its read buffer back and only waits to be told of bytes. Short,
/// because it bounds how many connections hold one at once; a caller that is slower pays one operation more a call.
pub const IDLE_SHRINK_MS: u64 = 250;
/// How long a draining worker goes on emptying its accept queue: closing the listener resets what is left, and
/// clients that come back at once would keep it from ever being empty.
pub const DRAIN_ACCEPT_MS: u64 = 500;
/// After the drain's deadline, connections get this long to notice that they are cut.
pub const DRAIN_CUT_MS: u64 = 1_000;
/// A worker sleeps this long when the process is out of descriptors; retrying at once would spin.
pub const ACCEPT_PAUSE_MS: u64 = 50;
/// Connections taken from one listener in a row before other tasks get a turn.
pub const ACCEPT_BURST: usize = 64;
/// A worker's loop says that it is alive this often.
pub const HEARTBEAT_MS: u64 = 250;
/// A worker whose loop has not turned for this long is reported as stalled.
pub const STALLED_AFTER_MS: u64 = 2_000;
/// Jobs other threads may have waiting for one worker; more are refused.
pub const WORKER_INBOX_MAX: usize = 1_024;
/// 1xx answers skipped before the final one (RFC 9110 §15.2). One or two are usual; a stream of them is abuse.
pub const INFORMATIONAL_MAX: usize = 8;
/// Receive window of one HTTP/2 stream: a megabyte in flight fills 100 Mbit/s at 80 ms.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Receive window of one HTTP/2 connection: unread streams must not starve the others; sixteen may stall.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Largest HTTP/2 frame taken: an answer of [`UPSTREAM_HOLD_BYTES_MAX`] can come in one and need not be put together.
pub const HTTP2_FRAME_BYTES: u32 = 128 << 10;
/// Reset streams an HTTP/2 connection remembers, to ignore what the peer sent before it knew: thirty seconds'
/// worth at the default pace.
pub const HTTP2_RESET_STREAMS_MAX: usize = 300;
/// One read of an HTTP/1.1 upstream: most answers fit in one.
pub const UPSTREAM_READ_BYTES: usize = 16 << 10;
/// One read of an HTTP/1.1 upstream whose reads come back full: it is what a stream of a long answer holds in memory.
pub const UPSTREAM_READ_BYTES_MAX: usize = 128 << 10;
/// The first read of an HTTP/1.1 upstream whose last answer was long: its head, and little that would have to be copied
/// to where the rest goes.
pub const UPSTREAM_HEAD_READ_BYTES: usize = 4 << 10;
/// An answer that states a length up to this, and is no event stream, is read whole before its head is passed on: until
/// then it is of no use to the client, and it goes out in one write. It is what a call holds in memory, like
/// [`UPSTREAM_READ_BYTES_MAX`] with the byte more by which a server is noticed that sends more than it said.
pub const UPSTREAM_HOLD_BYTES_MAX: usize = (128 << 10) - 1;
/// A request body up to this size is copied behind its head, so that both leave in one write.
pub const UPSTREAM_COALESCE_BYTES: usize = 16 << 10;
/// A second address is tried when the first has not answered in this time (RFC 8305 §5 recommends 250 ms).
pub const CONNECT_STAGGER_MS: u64 = 250;
/// Blocking threads of the side thread (system resolver, file reads).
pub const SIDE_BLOCKING_THREADS_MAX: usize = 16;
/// How long a stopping side thread waits for a blocking lookup that cannot be interrupted.
pub const SIDE_STOP_MS: u64 = 500;
