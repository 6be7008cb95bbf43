//! One request → what to answer: the rules of both eras, without any I/O.
//!
//! [`respond`] takes the fields of the HTTP head and the body and gives a [`Reply`]: a plan for the answer, how long
//! to wait before it, and the fault that was drawn for it. The usual `tools/call` allocates nothing on its way.
//!
//! Which era a request belongs to: a modern revision in `MCP-Protocol-Version`, or (unless `--strict`) in `_meta`;
//! everything else is of the older era. What each answers to what it refuses follows the specifications of
//! 2026-07-28 ("Streamable HTTP") and 2025-11-25 ("Transports"); -32000 and -32001 are what its SDKs say.

use super::{
    answer::Answer,
    faults::{Fault, Victim},
    head::Fields,
    methods,
    options::AnswerKind,
    server::Shard,
    sessions::SessionId,
    stats::Counter,
};
use ringway_proto::{
    header_value,
    http::Method,
    json::{self, Span},
    revision::{Era, Revision},
    rpc::{self, Message, ScanFault, Shape},
};
use std::time::Duration;

/// JSON-RPC: the document is not a request.
const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC: no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: the parameters are wrong.
pub const INVALID_PARAMS: i64 = -32602;
/// What SDKs of the older era answer to a request that does not belong to any session.
const BAD_REQUEST: i64 = -32000;
/// The same for a session that is not known.
const SESSION_NOT_FOUND: i64 = -32001;
/// 2026-07-28: headers and body disagree.
const HEADER_MISMATCH: i64 = -32020;
/// 2026-07-28: the revision is not spoken.
const UNSUPPORTED_REVISION: i64 = -32022;

/// What to do about one request.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The answer.
    pub plan: Plan<'a>,
    /// The session to announce: `initialize` opened it.
    pub opened: Option<SessionId>,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// How long to wait before answering.
    pub wait: Duration,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// Whether it is a `tools/call`.
    pub is_call: bool,
}

/// The form of an answer.
#[derive(Debug)]
pub enum Plan<'a> {
    /// A status and no body.
    Empty(u16),
    /// One JSON document.
    Json(Answer<'a>),
    /// An event stream of one message.
    Event(Answer<'a>),
    /// JSON that is not one message: a batch.
    Raw(Vec<u8>),
    /// Progress, then the answer, on an event stream.
    Progress(Progress<'a>),
    /// An event stream that is held.
    Hold(Hold),
}

/// Reports before an answer.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The token as written; nothing is reported without one.
    pub token: Option<&'a [u8]>,
    /// How many.
    pub steps: u64,
    /// Between two of them.
    pub interval: Duration,
    /// In the end.
    pub answer: Answer<'a>,
}

/// A held stream. Owns what it needs: such streams are held by the thousand, their requests' buffers are not.
#[derive(Debug)]
pub struct Hold {
    /// The id of a `subscriptions/listen`; `None` for a GET.
    pub listen: Option<Box<[u8]>>,
    /// What it asked for, as written.
    pub asked: Box<[u8]>,
}

impl<'a> Reply<'a> {
    /// An answer without anything special.
    pub fn plain(plan: Plan<'a>) -> Self {
        Self {
            plan,
            opened: None,
            session: None,
            wait: Duration::ZERO,
            fault: None,
            is_call: false,
        }
    }
}

/// Where a request stands: its message, its era, its session.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a, 'm> {
    /// The body.
    pub doc: &'a [u8],
    /// What stands where in it.
    pub message: &'m Message,
    /// Its method.
    pub method: &'a str,
    /// Its id as written; empty for a notification.
    pub id: &'a [u8],
    /// Its era.
    pub era: Era,
    /// Its session.
    pub session: Option<SessionId>,
}

impl<'a> Asked<'a, '_> {
    /// A member of `params.arguments`.
    pub fn argument(&self, name: &str) -> Option<Span> {
        let arguments = self.message.params.as_ref()?.arguments?;
        json::member(self.doc, arguments, name)
    }

    /// The same as a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        let span = self.argument(name)?;
        std::str::from_utf8(span.of(self.doc)).ok()?.parse().ok()
    }

    /// An error to this request.
    pub fn error(&self, status: u16, code: i64, message: &str) -> Answer<'a> {
        Answer::error(status, Some(self.id), code, message, None)
    }
}

/// Answers one HTTP request.
pub fn respond<'a>(shard: &Shard, fields: &Fields<'_>, doc: &'a [u8]) -> Reply<'a> {
    shard.counters.add(Counter::Requests);
    let reply = match fields.method {
        Method::Post => post(shard, fields, doc),
        Method::Get => get(shard, fields),
        Method::Delete => delete(shard, fields),
        _ => Reply::plain(Plan::Empty(405)),
    };
    let refused = match &reply.plan {
        Plan::Empty(status) => *status >= 400,
        Plan::Json(answer) => answer.status >= 400,
        _ => false,
    };
    if refused {
        shard.counters.add(Counter::Refused);
    }
    reply
}

fn post<'a>(shard: &Shard, fields: &Fields<'_>, doc: &'a [u8]) -> Reply<'a> {
    let server = &shard.server;
    if server.options.strict
        && let Some(status) = media(fields)
    {
        return Reply::plain(Plan::Empty(status));
    }
    let message = match rpc::scan(doc) {
        Ok(message) => message,
        Err(ScanFault::Batch) => return batch(shard, fields, doc),
        Err(fault) => return refusal(400, None, fault.code(), &fault.to_string()),
    };
    let modern = match fields.revision {
        Some(said) => Revision::parse(said).map(Revision::era) == Some(Era::Modern),
        None => {
            let said = message.meta_protocol_version(doc);
            !server.options.strict
                && said.and_then(|said| Revision::parse(said.as_bytes()).map(Revision::era))
                    == Some(Era::Modern)
        }
    };
    let asked = Asked {
        doc,
        message: &message,
        method: message.method(doc).unwrap_or_default(),
        id: message.id.map_or(&[], |id| id.of(doc)),
        era: if modern { Era::Modern } else { Era::Legacy },
        session: None,
    };
    let mut reply = match (modern && server.options.era.modern(), server.options.era.legacy()) {
        (true, _) => modern_post(shard, fields, &asked),
        (false, true) => legacy_post(shard, fields, asked),
        (false, false) => not_spoken(shard, fields, &asked),
    };
    if server.faults.armed() && message.shape() == Shape::Request {
        let name = message.name(doc);
        draw(shard, fields, &mut reply, asked.method, name.as_deref());
    }
    reply
}

/// Draws the fault for a request that is not refused anyway.
fn draw(shard: &Shard, fields: &Fields<'_>, reply: &mut Reply<'_>, method: &str, name: Option<&str>) {
    let victim = Victim {
        method,
        tool: name.filter(|_| method == "tools/call"),
        has_session: reply.session.is_some(),
        http2: fields.http2,
    };
    reply.fault = shard.server.faults.draw(&victim, &mut *shard.rng());
}

fn modern_post<'a>(shard: &Shard, fields: &Fields<'_>, asked: &Asked<'a, '_>) -> Reply<'a> {
    if shard.server.options.strict
        && let Some(wrong) = disagreement(fields, asked)
    {
        return refusal(400, Some(asked.id), wrong.0, wrong.1);
    }
    match asked.message.shape() {
        Shape::Request => methods::answer(shard, asked),
        Shape::Notification => {
            shard.counters.add(Counter::Notifications);
            Reply::plain(Plan::Empty(202))
        }
        Shape::Result | Shape::Error => refusal(
            400,
            None,
            INVALID_REQUEST,
            "this revision has no responses of clients",
        ),
    }
}

fn legacy_post<'a>(shard: &Shard, fields: &Fields<'_>, mut asked: Asked<'a, '_>) -> Reply<'a> {
    let is_opening = asked.method == "initialize" && asked.message.shape() == Shape::Request;
    if let Some(said) = fields.revision
        && !is_opening
        && Revision::parse(said).is_none_or(|revision| revision.era() == Era::Modern)
    {
        return not_spoken(shard, fields, &asked);
    }
    if is_opening {
        return methods::initialize(shard, &asked);
    }
    asked.session = match session(shard, fields) {
        Ok(session) => session,
        Err(status) => return no_session(shard, status, asked.id),
    };
    let mut reply = match asked.message.shape() {
        Shape::Request => methods::answer(shard, &asked),
        Shape::Notification => {
            shard.counters.add(Counter::Notifications);
            methods::notified(shard, &asked);
            Reply::plain(Plan::Empty(202))
        }
        Shape::Result | Shape::Error => Reply::plain(Plan::Empty(202)),
    };
    reply.session = asked.session;
    reply
}

/// The session a request names; the status to refuse it with when there is none.
fn session(shard: &Shard, fields: &Fields<'_>) -> Result<Option<SessionId>, u16> {
    if shard.server.options.stateless {
        return Ok(None);
    }
    let id = SessionId::parse(fields.session.ok_or(400u16)?).ok_or(404u16)?;
    shard.server.sessions.find(id).map(|_| Some(id)).ok_or(404)
}

fn no_session<'a>(shard: &Shard, status: u16, id: &'a [u8]) -> Reply<'a> {
    let id = Some(id).filter(|id| !id.is_empty());
    if status == 404 {
        shard.counters.add(Counter::SessionsUnknown);
        refusal(404, id, SESSION_NOT_FOUND, "Session not found")
    } else {
        refusal(
            400,
            id,
            BAD_REQUEST,
            "Bad Request: Mcp-Session-Id header is required",
        )
    }
}

/// A revision, or an era, that this server was told not to speak.
fn not_spoken<'a>(shard: &Shard, fields: &Fields<'_>, asked: &Asked<'a, '_>) -> Reply<'a> {
    let server = &shard.server;
    let id = Some(asked.id).filter(|id| !id.is_empty());
    let supported: Vec<&str> = server.revisions().iter().map(|r| r.as_str()).collect();
    if !server.options.era.modern() {
        let text = format!(
            "Bad Request: Unsupported protocol version (supported versions: {})",
            supported.join(", ")
        );
        return refusal(400, id, BAD_REQUEST, &text);
    }
    let said = fields.revision.map(String::from_utf8_lossy).unwrap_or_default();
    let data = serde_json::json!({ "supported": supported, "requested": said }).to_string();
    let (status, code) = match asked.method {
        "initialize" => (404, METHOD_NOT_FOUND),
        _ => (400, UNSUPPORTED_REVISION),
    };
    let text = "this protocol revision is not supported";
    Reply::plain(Plan::Json(Answer::error(status, id, code, text, Some(&data))))
}

/// What the specification demands of a modern request and this one lacks: a code and a sentence.
fn disagreement(fields: &Fields<'_>, asked: &Asked<'_, '_>) -> Option<(i64, &'static str)> {
    if asked.message.shape() != Shape::Request {
        return None;
    }
    let meta = asked.message.meta();
    if meta.is_none_or(|meta| meta.protocol_version.is_none() || meta.client_capabilities.is_none()) {
        return Some((
            INVALID_PARAMS,
            "_meta lacks protocolVersion or clientCapabilities",
        ));
    }
    let in_body = asked.message.meta_protocol_version(asked.doc);
    if fields.revision != in_body.as_deref().map(str::as_bytes) {
        return Some((HEADER_MISMATCH, "MCP-Protocol-Version and _meta disagree"));
    }
    let mirrors = |header: Option<&[u8]>, text: Option<&str>| {
        let header = header.and_then(|value| header_value::decode(value).ok());
        header.as_deref() == text
    };
    if !mirrors(fields.mcp_method, Some(asked.method)) {
        return Some((HEADER_MISMATCH, "Mcp-Method and the method disagree"));
    }
    let named = match asked.method {
        "tools/call" | "prompts/get" => asked.message.name(asked.doc),
        "resources/read" => asked.message.uri(asked.doc),
        _ => return None,
    };
    (!mirrors(fields.mcp_name, named.as_deref()))
        .then_some((HEADER_MISMATCH, "Mcp-Name and the body disagree"))
}

/// The status for a body or an accepted answer of a wrong type.
fn media(fields: &Fields<'_>) -> Option<u16> {
    let has = |value: Option<&[u8]>, word: &str| {
        let value = value.and_then(|value| std::str::from_utf8(value).ok());
        value.is_some_and(|value| value.to_ascii_lowercase().contains(word))
    };
    if !has(fields.content_type, "application/json") {
        Some(415)
    } else if !has(fields.accept, "application/json") || !has(fields.accept, "text/event-stream") {
        Some(406)
    } else {
        None
    }
}

/// An array of messages: only where 2025-03-26 was agreed on.
fn batch<'a>(shard: &Shard, fields: &Fields<'_>, doc: &'a [u8]) -> Reply<'a> {
    let session = match session(shard, fields) {
        Ok(session) => session,
        Err(status) => return no_session(shard, status, b""),
    };
    let agreed = session.and_then(|id| shard.server.sessions.find(id));
    if agreed != Some(Revision::V2025_03_26) {
        return refusal(
            400,
            None,
            INVALID_REQUEST,
            "batches belong to revision 2025-03-26",
        );
    }
    let messages = match rpc::split_batch(doc) {
        Ok(messages) => messages,
        Err(fault) => return refusal(400, None, fault.code(), &fault.to_string()),
    };
    let mut out = vec![b'['];
    for span in messages {
        let part = span.of(doc);
        let mut reply = match rpc::scan(part) {
            Ok(message) => {
                let asked = Asked {
                    doc: part,
                    message: &message,
                    method: message.method(part).unwrap_or_default(),
                    id: message.id.map_or(&[], |id| id.of(part)),
                    era: Era::Legacy,
                    session,
                };
                legacy_post(shard, fields, asked)
            }
            Err(fault) => refusal(400, None, fault.code(), &fault.to_string()),
        };
        reply.fault = None;
        let (Plan::Json(answer) | Plan::Event(answer) | Plan::Progress(Progress { answer, .. })) = reply.plan
        else {
            continue;
        };
        if out.len() > 1 {
            out.push(b',');
        }
        answer.write(&mut out, false);
    }
    out.push(b']');
    Reply::plain(if out.len() == 2 {
        Plan::Empty(202)
    } else {
        Plan::Raw(out)
    })
}

fn get<'a>(shard: &Shard, fields: &Fields<'_>) -> Reply<'a> {
    let is_modern = fields.revision.and_then(Revision::parse).map(Revision::era) == Some(Era::Modern);
    let streams = fields
        .accept
        .is_some_and(|accept| accept.windows(17).any(|part| part == b"text/event-stream"));
    if is_modern || !shard.server.options.era.legacy() || !streams {
        return Reply::plain(Plan::Empty(405));
    }
    match session(shard, fields) {
        Ok(session) => {
            let mut reply = Reply::plain(Plan::Hold(Hold {
                listen: None,
                asked: Box::default(),
            }));
            reply.session = session;
            if shard.server.faults.armed() {
                draw(shard, fields, &mut reply, "GET", None);
            }
            reply
        }
        Err(status) => no_session(shard, status, b""),
    }
}

fn delete<'a>(shard: &Shard, fields: &Fields<'_>) -> Reply<'a> {
    if !shard.server.options.era.legacy() || shard.server.options.stateless {
        return Reply::plain(Plan::Empty(405));
    }
    match session(shard, fields) {
        Ok(Some(id)) if shard.server.sessions.end(id) => {
            shard.counters.add(Counter::SessionsEnded);
            Reply::plain(Plan::Empty(200))
        }
        Ok(_) => no_session(shard, 404, b""),
        Err(status) => no_session(shard, status, b""),
    }
}

fn refusal<'a>(status: u16, id: Option<&'a [u8]>, code: i64, text: &str) -> Reply<'a> {
    let id = id.filter(|id| !id.is_empty());
    Reply::plain(Plan::Json(Answer::error(status, id, code, text, None)))
}

/// How the answer of a call is sent.
pub fn call_plan<'a>(shard: &Shard, answer: Answer<'a>) -> Plan<'a> {
    match shard.server.options.answer {
        AnswerKind::Json => Plan::Json(answer),
        AnswerKind::Sse => Plan::Event(answer),
    }
}
