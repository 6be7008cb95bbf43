//! The first words: which revision does a server speak, and what is a client's session?
//!
//! A modern greeting first; an answer that names the modern revision settles it. Anything else is tried again as
//! `initialize` (specification 2026-07-28, "Versioning", dual-era clients on HTTP).

use super::{
    Dialect,
    dialect::{client_info, quoted},
};
use crate::{
    scenario::Speak,
    wire::{Answer, Connection, Content, Fault, Head, Method, Request, Target, TargetError, Want},
};
use bytes::Bytes;
use ringway_proto::revision::{Era, Revision};
use serde_json::{Value, json};
use std::time::Duration;

/// A revision is a date; what is longer is something else, and would be sent back as a header.
const REVISION_BYTES: usize = 10;
/// How much of a server's own words stands in our error.
const QUOTED_CHARS_MAX: usize = 300;

/// One client, about to greet a server.
#[derive(Debug)]
pub struct Greeter<'g> {
    /// Where.
    pub target: &'g Target,
    /// Headers of the scenario and of this client's credential.
    pub fields: &'g [(String, String)],
    /// For each exchange.
    pub timeout: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Greeted {
    /// What is spoken.
    pub dialect: Dialect,
    /// The session, where the server has opened one.
    pub session: Option<String>,
}

/// Why there is no common language, or no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum GreetFailure {
    /// No answer.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// A header that cannot be sent.
    #[error("{0}")]
    Target(#[from] TargetError),
    /// An answer that is none.
    #[error("{method} was answered with HTTP {status}{said}")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// HTTP status.
        status: u16,
        /// The server's own words, with a colon before them, or nothing.
        said: String,
    },
    /// Another revision than the one that was asked for.
    #[error("the server speaks {spoken}, and the scenario asks for {asked}")]
    Revision {
        /// The server's.
        spoken: String,
        /// Ours.
        asked: String,
    },
}

impl GreetFailure {
    /// No connection, or none that lasted: nothing of the target was seen.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Fault(_))
    }

    /// As a report counts it.
    pub fn key(&self) -> String {
        match self {
            Self::Fault(fault) => fault.key().to_owned(),
            Self::Refused { status, .. } if !(200..300).contains(status) => format!("http_{status}"),
            Self::Target(_) | Self::Refused { .. } | Self::Revision { .. } => {
                super::judge::BAD_ANSWER.to_owned()
            }
        }
    }
}

/// Finds out what the server speaks. A session that is opened on the way is given, too.
pub async fn discover(
    greeter: &Greeter<'_>,
    connection: &mut Connection,
    speak: Speak,
) -> Result<Greeted, GreetFailure> {
    match speak {
        // Each modern request stands alone: nothing has to be asked.
        Speak::Exactly(Revision::V2026_07_28) | Speak::Newest(Era::Modern) => Ok(Greeted {
            dialect: Dialect::of(Revision::NEWEST),
            session: None,
        }),
        Speak::Exactly(revision) => {
            let greeted = greet(greeter, connection, revision).await?;
            match greeted.dialect.revision == revision.as_str() {
                true => Ok(greeted),
                false => Err(GreetFailure::Revision {
                    spoken: greeted.dialect.revision,
                    asked: revision.as_str().to_owned(),
                }),
            }
        }
        Speak::Newest(Era::Legacy) => greet(greeter, connection, Revision::NEWEST_LEGACY).await,
        Speak::Auto => {
            let modern = match ask_modern(greeter, connection).await {
                Ok(true) => {
                    return Ok(Greeted {
                        dialect: Dialect::of(Revision::NEWEST),
                        session: None,
                    });
                }
                Ok(false) => None,
                // A credential that is refused now is refused in any era.
                Err(
                    refused @ GreetFailure::Refused {
                        status: 401 | 403 | 429,
                        ..
                    },
                ) => return Err(refused),
                Err(failure) => Some(failure),
            };
            if !connection.is_reusable() {
                *connection = Connection::open(greeter.target).await?;
            }
            let legacy = greet(greeter, connection, Revision::NEWEST_LEGACY).await;
            // Of two refusals the later one is about what most servers speak.
            legacy.map_err(|failure| match (failure, modern) {
                (GreetFailure::Fault(_), Some(modern)) => modern,
                (failure, _) => failure,
            })
        }
    }
}

/// `server/discover`: true when it names the modern revision.
async fn ask_modern(greeter: &Greeter<'_>, connection: &mut Connection) -> Result<bool, GreetFailure> {
    let dialect = Dialect::of(Revision::NEWEST);
    let params = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": dialect.revision,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": serde_json::from_str::<Value>(&client_info()).unwrap_or_default(),
    }});
    let fields = dialect.frame(Some("server/discover"), None).fields;
    let answer = post(greeter, connection, &fields, &request("server/discover", &params)).await?;
    let result = result_of(&answer, "server/discover")?;
    let spoken = result.get("supportedVersions").and_then(Value::as_array);
    Ok(spoken.is_some_and(|versions| versions.iter().any(|v| v == Revision::NEWEST.as_str())))
}

/// `initialize` and `notifications/initialized`.
pub async fn greet(
    greeter: &Greeter<'_>,
    connection: &mut Connection,
    revision: Revision,
) -> Result<Greeted, GreetFailure> {
    let params = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": {},
        "clientInfo": serde_json::from_str::<Value>(&client_info()).unwrap_or_default(),
    });
    // No version header: none is agreed yet.
    let fields = [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = post(greeter, connection, &fields, &request("initialize", &params)).await?;
    let result = result_of(&answer, "initialize")?;
    let spoken = result
        .get("protocolVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let plausible = spoken.len() == REVISION_BYTES && spoken.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if !plausible {
        return Err(GreetFailure::Refused {
            method: "initialize",
            status: answer.status,
            said: ", but names no revision".to_owned(),
        });
    }
    let dialect = Dialect {
        era: Era::Legacy,
        revision: spoken.to_owned(),
    };
    let session = match &answer.session_id {
        Some(id) if !id.is_empty() => Some(String::from_utf8_lossy(id).into_owned()),
        _ => None,
    };
    // The read buffer is ours again.
    drop(answer);
    let (mut frame, body) = dialect.notification("notifications/initialized", None);
    if let Some(session) = &session {
        frame.fields.push(("mcp-session-id".to_owned(), session.clone()));
    }
    if !connection.is_reusable() {
        *connection = Connection::open(greeter.target).await?;
    }
    let noted = post(greeter, connection, &frame.fields, &body).await?;
    if !(200..300).contains(&noted.status) {
        return Err(refused(&noted, "notifications/initialized"));
    }
    Ok(Greeted { dialect, session })
}

async fn post(
    greeter: &Greeter<'_>,
    connection: &mut Connection,
    fields: &[(String, String)],
    body: &str,
) -> Result<Answer, GreetFailure> {
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .chain(greeter.fields)
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let head = Head::new(greeter.target, Method::Post, &fields)?;
    let sent = Request {
        head: &head,
        extra: &[],
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    let want = Want {
        timeout: Some(greeter.timeout),
        ..Want::default()
    };
    Ok(connection.exchange(&sent, &want).await?)
}

fn request(method: &str, params: &Value) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":{},"params":{params}}}"#,
        quoted(method)
    )
}

fn result_of(answer: &Answer, method: &'static str) -> Result<Value, GreetFailure> {
    if !(200..300).contains(&answer.status) || answer.content == Content::Other {
        return Err(refused(answer, method));
    }
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(mut message) if message.get("result").is_some_and(Value::is_object) => {
            Ok(message["result"].take())
        }
        _ => Err(refused(answer, method)),
    }
}

fn refused(answer: &Answer, method: &'static str) -> GreetFailure {
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(QUOTED_CHARS_MAX)
        .collect();
    let said = match text.is_empty() {
        true => String::new(),
        false => format!(": {text}"),
    };
    GreetFailure::Refused {
        method,
        status: answer.status,
        said,
    }
}
