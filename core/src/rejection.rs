//! Every refusal, in one table: reason → HTTP status, JSON-RPC code, whose fault, public text.
//!
//! How to read it: [`Rejection`] carries only what the public text needs; [`Rejection::row`] is the table; the
//! functions around it answer one question each. `tests/golden/rejections.txt` prints the table and
//! `docs/reasons.md` explains each reason; a test holds both to the source.
//!
//! Three rules decide the numbers.
//! - Where the MCP transport fixes a status it stands (2026-07-28 "Streamable HTTP": 400, 403, 404, 405). What a
//!   proxy or a load balancer should act upon (overload, drain, credentials) has an HTTP status of its own. All
//!   else is a JSON-RPC error inside a 200: the exchange worked, the call did not. That holds for a failing
//!   upstream as well, because clients treat a 5xx of `/mcp` as a fault of the whole endpoint.
//! - Codes -32020 to -32099 belong to the specification and -32000 to -32019 have no meaning a receiver may rely
//!   on; so we use the five of JSON-RPC, the three of 2026-07-28, -32002 where older revisions define it, and
//!   -32001 for a lost session because SDKs of the legacy era look for it. What exactly happened stands in
//!   `error.data.reason`.
//! - What a caller may not see and what does not exist read alike, in the same row.

use crate::limits::{ECHO_CHARS_MAX, URI_BYTES_MAX};
use ringway_proto::revision::{Era, Revision};
use serde_json::{Map, Value, json};
use std::{borrow::Cow, fmt};

/// A refusal of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    // The HTTP request.
    /// Not HTTP, or a forbidden combination of fields.
    HeadMalformed,
    /// Head larger than its bound.
    HeadTooLarge,
    /// The head did not arrive in time.
    HeadSlow,
    /// The method is not served at this path; carries the `Allow` list.
    MethodNotAllowed(&'static str),
    /// No such path.
    PathUnknown,
    /// `Host` is not a name of this gateway (DNS rebinding).
    HostNotAllowed,
    /// `Origin` is not on the list.
    OriginNotAllowed,
    /// `Accept` lacks a type this method answers with; carries the types needed.
    NotAcceptable(&'static str),
    /// `Content-Type` is not `application/json`.
    UnsupportedMediaType,
    /// The body is larger than this many bytes.
    BodyTooLarge(usize),
    /// The body did not arrive in time.
    BodySlow,
    /// The body's framing broke.
    BodyMalformed,

    // The JSON-RPC message.
    /// Not JSON; carries what was found.
    JsonMalformed(Cow<'static, str>),
    /// JSON, but not one unambiguous JSON-RPC message; carries what was found.
    EnvelopeInvalid(Cow<'static, str>),
    /// An array of messages, outside the one revision that has them.
    BatchNotAllowed,
    /// A header is missing or disagrees with the body; carries a sentence.
    HeaderMismatch(&'static str),
    /// A required key of `params._meta` is missing or has the wrong type; carries the key.
    MetaMissing(&'static str),
    /// A member of `params` is missing or has the wrong type; carries a sentence.
    ParamsInvalid(String),
    /// The client did not declare a capability this call needs; carries the capabilities, a JSON object.
    CapabilityMissing(String),
    /// A revision we do not speak.
    RevisionUnsupported {
        /// The revision the client asked for.
        requested: String,
    },
    /// No such method in this revision, or none of the visible servers offers it.
    MethodUnknown {
        /// Modern answers carry HTTP 404.
        era: Era,
        /// The method asked for.
        method: String,
    },

    // Who is asking.
    /// No credential was shown and anonymous callers are not admitted.
    CredentialMissing,
    /// The credential is malformed, unknown, or shown twice.
    CredentialInvalid,
    /// The credential was valid once.
    CredentialExpired,

    // Sessions of the legacy era.
    /// `Mcp-Session-Id` is missing.
    SessionMissing,
    /// The session is over, was never, or belongs to another principal or endpoint.
    SessionUnknown,
    /// The call that this `requestState` continues is gone, or the state is not ours.
    ParkedCallGone,

    // What was asked for.
    /// No server of this name is visible; carries the name.
    ServerUnknown(String),
    /// The server exists but no probe of it has succeeded yet; carries its name.
    ServerNotReady(String),
    /// No tool of this name is visible; carries the name.
    ToolUnknown(String),
    /// No prompt of this name is visible; carries the name.
    PromptUnknown(String),
    /// No visible server answers for this URI.
    ResourceUnknown {
        /// The code differs between eras.
        era: Era,
        /// The URI asked for.
        uri: String,
    },
    /// The cursor is not ours, or the list has changed since.
    CursorInvalid,

    // The server behind the tool; each carries its name.
    /// No connection.
    UpstreamConnect(String),
    /// No answer in time.
    UpstreamTimeout(String),
    /// The connection broke before the answer was whole.
    UpstreamReset(String),
    /// The answer was not HTTP, not MCP, or not for this request.
    UpstreamProtocol(String),
    /// The server answered with an HTTP status that is no answer.
    UpstreamStatus(String, u16),
    /// A head, a line or an event of the answer was larger than its bound.
    UpstreamTooLarge(String),
    /// Every connection to the server is taken and the queue is full.
    UpstreamPoolFull(String),
    /// The server lost its session and a new one could not be opened.
    UpstreamSessionLost(String),
    /// The reply was larger than this many bytes.
    ReplyTooLarge(String, usize),

    // The gateway.
    /// Too much at once; carries seconds to wait.
    Overloaded(u32),
    /// The caller exceeded its rate; carries seconds to wait.
    RateLimited(u32),
    /// This replica is shutting down; others serve.
    Draining,
    /// An assumption of ours did not hold.
    Internal,
}

/// Whose fault a rejection is; decides who is alerted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller asked for something wrong or forbidden.
    Caller,
    /// The server behind the tool failed.
    Upstream,
    /// We failed, or chose not to serve now.
    Gateway,
}

impl Fault {
    /// The name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }
}

/// Room for a usual error response, so that it is written in one piece.
const ERROR_BYTES_USUAL: usize = 256;

/// One row of the table. Its text is written only where it is asked for: under a flood of refusals the rest of a row
/// is what is looked at, several times each.
struct Row<'t> {
    reason: &'static str,
    status: u16,
    code: i32,
    fault: Fault,
    text: fmt::Arguments<'t>,
}

/// JSON-RPC 2.0, section 5.1.
const PARSE: i32 = -32700;
const REQUEST: i32 = -32600;
const METHOD: i32 = -32601;
const PARAMS: i32 = -32602;
const INTERNAL: i32 = -32603;
/// What legacy SDKs answer for a lost session; they re-initialize on it.
const SESSION: i32 = -32001;
/// MCP up to 2025-11-25, "Resources, Error Handling"; 2026-07-28 forbids it.
const RESOURCE_LEGACY: i32 = -32002;
/// MCP 2026-07-28, "Error codes".
const HEADER: i32 = -32020;
const CAPABILITY: i32 = -32021;
const REVISION: i32 = -32022;

impl Rejection {
    /// The table; gives what `tell` makes of this one's row.
    #[rustfmt::skip]
    fn row<T>(&self, tell: impl FnOnce(Row<'_>) -> T) -> T {
        use Fault::{Caller, Gateway, Upstream};
        fn row<'t>(reason: &'static str, status: u16, code: i32, fault: Fault, text: fmt::Arguments<'t>) -> Row<'t> {
            Row { reason, status, code, fault, text }
        }
        match self {
            Self::HeadMalformed => tell(row("head_malformed", 400, REQUEST, Caller, format_args!("The HTTP request head is malformed"))),
            Self::HeadTooLarge => tell(row("head_too_large", 431, REQUEST, Caller, format_args!("The HTTP request head is too large"))),
            Self::HeadSlow => tell(row("head_slow", 408, REQUEST, Caller, format_args!("The HTTP request head did not arrive in time"))),
            Self::MethodNotAllowed(allow) => tell(row("method_not_allowed", 405, REQUEST, Caller, format_args!("HTTP method not allowed; allowed: {allow}"))),
            Self::PathUnknown => tell(row("path_unknown", 404, REQUEST, Caller, format_args!("No such path; MCP is served at /mcp and /servers/{{name}}/mcp"))),
            Self::HostNotAllowed => tell(row("host_not_allowed", 403, REQUEST, Caller, format_args!("Host not allowed"))),
            Self::OriginNotAllowed => tell(row("origin_not_allowed", 403, REQUEST, Caller, format_args!("Origin not allowed"))),
            Self::NotAcceptable(types) => tell(row("not_acceptable", 406, REQUEST, Caller, format_args!("Not acceptable: the Accept header must list {types}"))),
            Self::UnsupportedMediaType => tell(row("unsupported_media_type", 415, REQUEST, Caller, format_args!("Unsupported media type: Content-Type must be application/json"))),
            Self::BodyTooLarge(max) => tell(row("body_too_large", 413, REQUEST, Caller, format_args!("The request body is larger than {max} bytes"))),
            Self::BodySlow => tell(row("body_slow", 408, REQUEST, Caller, format_args!("The request body did not arrive in time"))),
            Self::BodyMalformed => tell(row("body_malformed", 400, REQUEST, Caller, format_args!("The request body's framing is malformed"))),

            Self::JsonMalformed(detail) => tell(row("json_malformed", 400, PARSE, Caller, format_args!("Parse error: {detail}"))),
            Self::EnvelopeInvalid(detail) => tell(row("envelope_invalid", 400, REQUEST, Caller, format_args!("Invalid request: {detail}"))),
            Self::BatchNotAllowed => tell(row("batch_not_allowed", 400, REQUEST, Caller, format_args!("Invalid request: batches are not part of this protocol revision"))),
            Self::HeaderMismatch(detail) => tell(row("header_mismatch", 400, HEADER, Caller, format_args!("Header mismatch: {detail}"))),
            Self::MetaMissing(key) => tell(row("meta_missing", 400, PARAMS, Caller, format_args!("Invalid params: _meta lacks a valid {key}"))),
            Self::ParamsInvalid(detail) => tell(row("params_invalid", 200, PARAMS, Caller, format_args!("Invalid params: {}", echo(detail)))),
            Self::CapabilityMissing(_) => tell(row("capability_missing", 400, CAPABILITY, Caller, format_args!("The client did not declare a capability that this request requires"))),
            Self::RevisionUnsupported { requested } => tell(row("revision_unsupported", 400, REVISION, Caller, format_args!("Unsupported protocol version: {}", echo(requested)))),
            Self::MethodUnknown { era: Era::Modern, method } => tell(row("method_unknown", 404, METHOD, Caller, format_args!("Method not found: {}", echo(method)))),
            Self::MethodUnknown { era: Era::Legacy, method } => tell(row("method_unknown", 200, METHOD, Caller, format_args!("Method not found: {}", echo(method)))),

            Self::CredentialMissing => tell(row("credential_missing", 401, REQUEST, Caller, format_args!("Authentication required: send an API key as a Bearer token or in X-API-Key"))),
            Self::CredentialInvalid => tell(row("credential_invalid", 401, REQUEST, Caller, format_args!("The credential is not valid"))),
            Self::CredentialExpired => tell(row("credential_expired", 401, REQUEST, Caller, format_args!("The credential has expired"))),

            Self::SessionMissing => tell(row("session_missing", 400, REQUEST, Caller, format_args!("Invalid request: Mcp-Session-Id is required; open a session with initialize"))),
            Self::SessionUnknown => tell(row("session_unknown", 404, SESSION, Caller, format_args!("Session not found"))),
            Self::ParkedCallGone => tell(row("parked_call_gone", 200, PARAMS, Caller, format_args!("Invalid params: the call that requestState continues is gone; make the call anew"))),

            Self::ServerUnknown(name) => tell(row("server_unknown", 404, REQUEST, Caller, format_args!("Unknown server: {}", echo(name)))),
            Self::ServerNotReady(name) => tell(row("server_not_ready", 503, INTERNAL, Upstream, format_args!("Server {name} is not ready yet"))),
            Self::ToolUnknown(name) => tell(row("tool_unknown", 200, PARAMS, Caller, format_args!("Unknown tool: {}", echo(name)))),
            Self::PromptUnknown(name) => tell(row("prompt_unknown", 200, PARAMS, Caller, format_args!("Unknown prompt: {}", echo(name)))),
            Self::ResourceUnknown { era: Era::Modern, .. } => tell(row("resource_unknown", 200, PARAMS, Caller, format_args!("Resource not found"))),
            Self::ResourceUnknown { era: Era::Legacy, .. } => tell(row("resource_unknown", 200, RESOURCE_LEGACY, Caller, format_args!("Resource not found"))),
            Self::CursorInvalid => tell(row("cursor_invalid", 200, PARAMS, Caller, format_args!("Invalid params: the cursor is not valid for this list, or the list has changed; list from the start"))),

            Self::UpstreamConnect(name) => tell(row("upstream_connect", 200, INTERNAL, Upstream, format_args!("Server {name} cannot be reached"))),
            Self::UpstreamTimeout(name) => tell(row("upstream_timeout", 200, INTERNAL, Upstream, format_args!("Server {name} did not answer in time"))),
            Self::UpstreamReset(name) => tell(row("upstream_reset", 200, INTERNAL, Upstream, format_args!("Server {name} broke off its answer"))),
            Self::UpstreamProtocol(name) => tell(row("upstream_protocol", 200, INTERNAL, Upstream, format_args!("Server {name} gave an answer that does not follow the protocol"))),
            Self::UpstreamStatus(name, status) => tell(row("upstream_status", 200, INTERNAL, Upstream, format_args!("Server {name} answered with HTTP status {status}"))),
            Self::UpstreamTooLarge(name) => tell(row("upstream_too_large", 200, INTERNAL, Upstream, format_args!("Server {name} sent more than the gateway holds at once"))),
            Self::UpstreamPoolFull(name) => tell(row("upstream_pool_full", 200, INTERNAL, Gateway, format_args!("Too many calls to server {name} at once; try again"))),
            Self::UpstreamSessionLost(name) => tell(row("upstream_session_lost", 200, INTERNAL, Upstream, format_args!("Server {name} lost its session and did not open a new one"))),
            Self::ReplyTooLarge(name, max) => tell(row("reply_too_large", 200, INTERNAL, Upstream, format_args!("The reply of server {name} is larger than {max} bytes"))),

            Self::Overloaded(_) => tell(row("overloaded", 503, INTERNAL, Gateway, format_args!("The gateway is overloaded; try again later"))),
            Self::RateLimited(_) => tell(row("rate_limited", 429, INTERNAL, Caller, format_args!("Too many requests; try again later"))),
            Self::Draining => tell(row("draining", 503, INTERNAL, Gateway, format_args!("This gateway is shutting down; try again"))),
            Self::Internal => tell(row("internal", 500, INTERNAL, Gateway, format_args!("Internal error"))),
        }
    }

    /// The stable code of this refusal, `snake_case`, never reused.
    pub fn reason(&self) -> &'static str {
        self.row(|row| row.reason)
    }

    /// The HTTP status of the answer.
    pub fn http_status(&self) -> u16 {
        self.row(|row| row.status)
    }

    /// The JSON-RPC error code.
    pub fn rpc_code(&self) -> i32 {
        self.row(|row| row.code)
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        self.row(|row| row.fault)
    }

    /// The sentence the caller reads.
    pub fn public_text(&self) -> String {
        self.row(|row| row.text.to_string())
    }

    /// Seconds after which trying again makes sense: the `Retry-After` header and `data.retryAfterS`.
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Overloaded(s) | Self::RateLimited(s) => Some(*s),
            // A probe round; a connection's turn; the load balancer's next pick.
            Self::ServerNotReady(_) => Some(5),
            Self::UpstreamPoolFull(_) | Self::Draining => Some(1),
            _ => None,
        }
    }

    /// The `WWW-Authenticate` value of a 401 (RFC 6750 §3: no `error` when nothing was shown).
    pub fn www_authenticate(&self) -> Option<&'static str> {
        match self {
            Self::CredentialMissing => Some(r#"Bearer realm="ringway""#),
            Self::CredentialInvalid => Some(
                r#"Bearer realm="ringway", error="invalid_token", error_description="The credential is not valid""#,
            ),
            Self::CredentialExpired => Some(
                r#"Bearer realm="ringway", error="invalid_token", error_description="The credential has expired""#,
            ),
            _ => None,
        }
    }

    /// The `Allow` value of a 405.
    pub fn allow(&self) -> Option<&'static str> {
        if let Self::MethodNotAllowed(allow) = self {
            Some(allow)
        } else {
            None
        }
    }

    /// `error.data`: always the reason, and what the specification asks for.
    pub fn data(&self) -> Value {
        let mut data = self.particulars();
        data.insert("reason".into(), json!(self.reason()));
        Value::Object(data)
    }

    /// What stands in `error.data` beside the reason.
    fn particulars(&self) -> Map<String, Value> {
        let mut data = Map::new();
        match self {
            Self::RevisionUnsupported { requested } => {
                let supported: Vec<&str> = Revision::ALL.iter().rev().map(|r| r.as_str()).collect();
                data.insert("supported".into(), json!(supported));
                data.insert("requested".into(), json!(echo(requested)));
            }
            Self::CapabilityMissing(required) => {
                let required = serde_json::from_str(required).unwrap_or_else(|_| json!({}));
                data.insert("requiredCapabilities".into(), required);
            }
            Self::ResourceUnknown { uri, .. } if uri.len() <= URI_BYTES_MAX => {
                data.insert("uri".into(), json!(uri));
            }
            _ => {}
        }
        if let Some(s) = self.retry_after_s() {
            data.insert("retryAfterS".into(), json!(s));
        }
        data
    }

    /// The JSON-RPC error response. `id` is the request's id as it stood in the message; without one (no
    /// request was read) the member is left out, as revisions since 2025-11-25 have it.
    pub fn render(&self, id: Option<&[u8]>) -> Vec<u8> {
        let mut body = Vec::with_capacity(ERROR_BYTES_USUAL);
        body.extend_from_slice(br#"{"jsonrpc":"2.0","#);
        if let Some(id) = id {
            body.extend_from_slice(br#""id":"#);
            body.extend_from_slice(id);
            body.push(b',');
        }
        self.row(|row| {
            body.extend_from_slice(br#""error":{"code":"#);
            write_json(&mut body, &row.code);
            body.extend_from_slice(br#","data":{"reason":"#);
            write_json(&mut body, row.reason);
            for (key, value) in self.particulars() {
                body.push(b',');
                write_json(&mut body, &key);
                body.push(b':');
                write_json(&mut body, &value);
            }
            body.extend_from_slice(br#"},"message":"#);
            match row.text.as_str() {
                Some(text) => write_json(&mut body, text),
                None => write_json(&mut body, &row.text.to_string()),
            }
        });
        body.extend_from_slice(b"}}");
        body
    }

    /// One of each, as the golden file and the documentation print them.
    #[doc(hidden)]
    pub fn examples() -> Vec<Self> {
        let server = || "github".to_owned();
        vec![
            Self::HeadMalformed,
            Self::HeadTooLarge,
            Self::HeadSlow,
            Self::MethodNotAllowed("POST"),
            Self::PathUnknown,
            Self::HostNotAllowed,
            Self::OriginNotAllowed,
            Self::NotAcceptable("application/json and text/event-stream"),
            Self::UnsupportedMediaType,
            Self::BodyTooLarge(4_194_304),
            Self::BodySlow,
            Self::BodyMalformed,
            Self::JsonMalformed("unexpected byte at 7".into()),
            Self::EnvelopeInvalid("duplicate key".into()),
            Self::BatchNotAllowed,
            Self::HeaderMismatch("Mcp-Method differs from the body's method"),
            Self::MetaMissing("io.modelcontextprotocol/protocolVersion"),
            Self::ParamsInvalid("params.name must be a string".into()),
            Self::CapabilityMissing(r#"{"elicitation":{}}"#.into()),
            Self::RevisionUnsupported {
                requested: "1900-01-01".into(),
            },
            Self::MethodUnknown {
                era: Era::Modern,
                method: "tools/fly".into(),
            },
            Self::MethodUnknown {
                era: Era::Legacy,
                method: "tools/fly".into(),
            },
            Self::CredentialMissing,
            Self::CredentialInvalid,
            Self::CredentialExpired,
            Self::SessionMissing,
            Self::SessionUnknown,
            Self::ParkedCallGone,
            Self::ServerUnknown(server()),
            Self::ServerNotReady(server()),
            Self::ToolUnknown("github__fly".into()),
            Self::PromptUnknown("github__hum".into()),
            Self::ResourceUnknown {
                era: Era::Modern,
                uri: "file:///x".into(),
            },
            Self::ResourceUnknown {
                era: Era::Legacy,
                uri: "file:///x".into(),
            },
            Self::CursorInvalid,
            Self::UpstreamConnect(server()),
            Self::UpstreamTimeout(server()),
            Self::UpstreamReset(server()),
            Self::UpstreamProtocol(server()),
            Self::UpstreamStatus(server(), 502),
            Self::UpstreamTooLarge(server()),
            Self::UpstreamPoolFull(server()),
            Self::UpstreamSessionLost(server()),
            Self::ReplyTooLarge(server(), 16_777_216),
            Self::Overloaded(2),
            Self::RateLimited(3),
            Self::Draining,
            Self::Internal,
        ]
    }
}

fn write_json(body: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Writing to memory does not fail, and neither does any of these values.
    let _ = serde_json::to_writer(body, value);
}

/// A caller's text, cut to what is worth repeating.
fn echo(text: &str) -> &str {
    match text.char_indices().nth(ECHO_CHARS_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_cover_every_row_of_the_table() {
        let rows = include_str!("rejection.rs")
            .lines()
            .filter(|l| l.contains("=> tell(row(\""))
            .count();
        assert_eq!(Rejection::examples().len(), rows);
    }

    #[test]
    fn no_code_is_minted_in_the_specifications_range() {
        for r in Rejection::examples() {
            let code = r.rpc_code();
            assert!(
                !(-32099..=-32020).contains(&code) || [HEADER, CAPABILITY, REVISION].contains(&code),
                "{r:?}"
            );
        }
    }

    #[test]
    fn a_rendered_error_is_json_with_the_callers_id() {
        for r in Rejection::examples() {
            let v: Value = serde_json::from_slice(&r.render(Some(br#""a-1""#))).unwrap();
            assert_eq!(v["id"], "a-1");
            assert_eq!(v["error"]["code"], r.rpc_code());
            assert_eq!(v["error"]["data"]["reason"], r.reason());
            let v: Value = serde_json::from_slice(&r.render(None)).unwrap();
            assert!(v.get("id").is_none());
        }
    }

    #[test]
    fn hostile_text_is_cut_and_escaped() {
        let r = Rejection::ToolUnknown("é\"\n".repeat(500));
        assert!(r.public_text().chars().count() < 200);
        assert!(serde_json::from_slice::<Value>(&r.render(None)).is_ok());
    }

    #[test]
    fn a_401_always_challenges_and_nothing_else_does() {
        for r in Rejection::examples() {
            assert_eq!(r.http_status() == 401, r.www_authenticate().is_some(), "{r:?}");
        }
    }

    #[test]
    fn a_rejection_is_small_enough_to_return() {
        assert!(size_of::<Rejection>() <= 40);
    }
}
