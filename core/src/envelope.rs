//! Envelope: which era does this message belong to, and do its headers tell the same story as its body?
//!
//! The order of the questions is the dual-era rule of specification 2026-07-28, "Versioning": a modern version
//! header makes the request modern whatever the body says; `initialize` opens a legacy session; a legacy
//! version header or a session id continues one. Everything else is refused with the text a client needs in
//! order to correct itself.
//!
//! A header that disagrees with the body is refused (DESIGN invariant 9): a proxy in front of us may have
//! decided on the header, and we decide on the body.

use crate::{
    rejection::Rejection,
    snapshot::{Tool, param_value},
};
use ringway_proto::{
    header_value,
    http::{Headers, Name, names},
    revision::{Era, Revision},
    rpc::{Message, Shape},
};

/// How a POSTed message is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Stands alone; headers and `_meta` have been checked against each other.
    Modern(Revision),
    /// `initialize`: opens a session.
    Initialize,
    /// Belongs to the session named by `Mcp-Session-Id`; the revision is what the client stated, if it did.
    Session(Option<Revision>),
}

/// Decides the era of `message` and checks the modern headers against the body.
pub fn open(headers: &Headers, doc: &[u8], message: &Message) -> Result<Envelope, Rejection> {
    let stated = one(headers, names::MCP_PROTOCOL_VERSION)?;
    let revision = stated.and_then(Revision::parse);
    if let Some(revision) = revision.filter(|r| r.era() == Era::Modern) {
        modern(headers, doc, message, revision)?;
        return Ok(Envelope::Modern(revision));
    }
    if message.method.is_some_and(|m| m.of(doc) == b"initialize") {
        return Ok(Envelope::Initialize);
    }
    match (stated, revision) {
        (Some(_), Some(revision)) => Ok(Envelope::Session(Some(revision))),
        (Some(text), None) => Err(Rejection::RevisionUnsupported {
            requested: String::from_utf8_lossy(text).into_owned(),
        }),
        (None, _) if headers.get(names::MCP_SESSION_ID).is_some() => Ok(Envelope::Session(None)),
        (None, _) if names_a_revision(message) => Err(mismatch(
            "MCP-Protocol-Version is required and must equal params._meta",
        )),
        (None, _) => Err(Rejection::SessionMissing),
    }
}

fn names_a_revision(message: &Message) -> bool {
    message
        .params
        .as_ref()
        .and_then(|p| p.meta.as_ref())
        .is_some_and(|m| m.protocol_version.is_some())
}

/// Header and body rules of 2026-07-28 ("Streamable HTTP", "Request metadata"; SEP-2243).
fn modern(headers: &Headers, doc: &[u8], message: &Message, revision: Revision) -> Result<(), Rejection> {
    let Some(method) = message.method.map(|m| m.of(doc)) else {
        return Err(Rejection::EnvelopeInvalid(
            "a request or a notification is expected here".into(),
        ));
    };
    match one(headers, names::MCP_METHOD)? {
        Some(stated) if stated != method => {
            return Err(mismatch("Mcp-Method differs from the body's method"));
        }
        None if message.shape() == Shape::Request => return Err(mismatch("Mcp-Method is required")),
        _ => {}
    }
    if message.shape() == Shape::Notification {
        return Ok(());
    }
    metadata(doc, message, revision)?;
    match method {
        b"tools/call" | b"prompts/get" => name_agrees(headers, message.name(doc).as_deref(), "name"),
        b"resources/read" => name_agrees(headers, message.uri(doc).as_deref(), "uri"),
        b"tasks/get" | b"tasks/update" | b"tasks/cancel" => {
            name_agrees(headers, message.task_id(doc).as_deref(), "taskId")
        }
        _ => Ok(()),
    }
}

/// The `_meta` keys each modern request must carry.
fn metadata(doc: &[u8], message: &Message, revision: Revision) -> Result<(), Rejection> {
    let missing = |key: &'static str| Rejection::MetaMissing(key);
    let meta = message.params.as_ref().and_then(|p| p.meta.as_ref());
    let version = meta.and_then(|m| m.protocol_version);
    let version = version.ok_or(missing("io.modelcontextprotocol/protocolVersion"))?;
    match ringway_proto::json::string(doc, version) {
        None => return Err(missing("io.modelcontextprotocol/protocolVersion")),
        Some(text) if text != revision.as_str() => {
            return Err(mismatch("MCP-Protocol-Version differs from params._meta"));
        }
        Some(_) => {}
    }
    let capabilities = meta.and_then(|m| m.client_capabilities);
    match capabilities.map(|span| span.of(doc).first().copied()) {
        Some(Some(b'{')) => Ok(()),
        _ => Err(missing("io.modelcontextprotocol/clientCapabilities")),
    }
}

fn name_agrees(headers: &Headers, body: Option<&str>, field: &'static str) -> Result<(), Rejection> {
    let Some(body) = body else {
        return Err(Rejection::ParamsInvalid(format!(
            "params.{field} must be a string"
        )));
    };
    let Some(stated) = one(headers, names::MCP_NAME)? else {
        return Err(mismatch("Mcp-Name is required"));
    };
    match header_value::decode(stated) {
        Ok(stated) if stated == body => Ok(()),
        Ok(_) => Err(mismatch("Mcp-Name differs from the body")),
        Err(_) => Err(mismatch("Mcp-Name is not a readable header value")),
    }
}

/// A header that may stand once, without the white space around it (RFC 9110 §5.5).
fn one<'h, 'n>(headers: &'h Headers, name: impl Into<Name<'n>>) -> Result<Option<&'h [u8]>, Rejection> {
    match headers.get_one(name) {
        Ok(value) => Ok(value.map(|v| v.trim_ascii())),
        Err(_) => Err(mismatch("a header of this protocol stands twice")),
    }
}

fn mismatch(text: &'static str) -> Rejection {
    Rejection::HeaderMismatch(text)
}

/// Whether the `Mcp-Param-*` headers of a modern `tools/call` repeat exactly what the arguments say
/// (specification 2026-07-28, "Streamable HTTP", custom headers from tool parameters).
pub fn params_agree(headers: &Headers, doc: &[u8], message: &Message, tool: &Tool) -> Result<(), Rejection> {
    let arguments = message.params.as_ref().and_then(|p| p.arguments);
    for param in &tool.header_params {
        let stated = one(headers, &param.header[..])?;
        let said = arguments.and_then(|a| param_value(doc, a, param));
        match (stated, said) {
            (None, None) => {}
            (Some(stated), Some(said)) if header_value::matches_json(stated, doc, said) => {}
            _ => {
                return Err(mismatch(
                    "an Mcp-Param header differs from the argument it repeats",
                ));
            }
        }
    }
    Ok(())
}
