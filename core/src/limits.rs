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
    /// Tools one `SEARCH_TOOLS` answer names at most.
    pub search_results_max: usize,
    /// Bytes of one `SEARCH_TOOLS` answer: definitions go into a model's context, and more helps no one.
    pub search_bytes_max: usize,
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
            search_results_max: 50,
            search_bytes_max: 256 << 10,
        }
    }
}

/// Servers in one snapshot: `ServerIndex` is a `u16`, and a fleet of one gateway has tens.
pub const SERVERS_MAX: usize = 4_096;
/// Tools, prompts, resources or templates in one snapshot, each: ten times the largest fleet we test.
pub const ITEMS_MAX: usize = 100_000;
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
/// Expressions in one URI template; matching is quadratic in them at worst.
pub const TEMPLATE_PARTS_MAX: usize = 16;
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
/// A raw JSON id: SDKs count integers; some send UUIDs. Longer ones are refused, not stored.
pub const ID_BYTES_MAX: usize = 256;
/// A search query, in bytes.
pub const QUERY_BYTES_MAX: usize = 1 << 10;
/// Distinct words of a search query that are looked up.
pub const QUERY_TERMS_MAX: usize = 32;
/// A credential header's value: API keys are below 100 bytes, tokens of other kinds below 8 KiB.
pub const CREDENTIAL_BYTES_MAX: usize = 8 << 10;
