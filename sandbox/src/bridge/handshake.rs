//! The first words with a server, and the verdict on its era (specification 2026-07-28, stdio, "Backward
//! Compatibility").
//!
//! ```text
//! unknown ─ server/discover ─┬─ result naming 2026-07-28 ────────────────► modern
//!                            ├─ anything else, or nothing in time ─ initialize ─► legacy
//!                            └─ the server ends, or initialize then fails ─► start it again, initialize first
//! ```
//!
//! A server that starts slowly (a package being downloaded) answers the probe late; its late answer still counts.
//! The verdict is kept by the caller for the next start.

use super::{
    duplex::{Duplex, Incoming},
    message,
};
use bytes::Bytes;
use ringway_proto::{
    json::{self, Kind},
    revision::{Era, Revision},
    rpc::{Message, Shape, scan},
};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Our number for `server/discover`.
const DISCOVER: u64 = 1;
/// Our number for `initialize`.
const INITIALIZE: u64 = 2;

/// How to initialize a legacy server.
#[derive(Clone)]
pub(crate) enum Opening {
    /// As ourselves, without any capability: the process is shared.
    Shared,
    /// As one client, with its own `initialize` request.
    Client(Bytes),
    /// Not at all: only its era is asked for.
    Probe,
}

/// What the server said of itself.
#[derive(Clone, Debug)]
pub(crate) enum Greeting {
    /// Modern, with the revisions it supports as a JSON array.
    Modern {
        /// `supportedVersions`.
        supported: Bytes,
    },
    /// Legacy, with its whole `initialize` result.
    Legacy {
        /// The result, as JSON text.
        result: Bytes,
    },
    /// Legacy; not initialized, because only the era was asked for.
    Unopened,
}

impl Greeting {
    pub(crate) fn era(&self) -> Era {
        match self {
            Self::Modern { .. } => Era::Modern,
            Self::Legacy { .. } | Self::Unopened => Era::Legacy,
        }
    }
}

/// A handshake that did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Start the server again and take it for this era.
    Again(Era),
    /// The rest of a sentence that begins with the server's name.
    Failed(String),
}

/// Speaks first. `verdict` is what an earlier handshake found.
pub(crate) async fn shake(
    duplex: &mut Duplex,
    verdict: Option<Era>,
    opening: &Opening,
    probe_deadline: Duration,
) -> Result<Greeting, Fault> {
    match verdict {
        Some(Era::Legacy) => match initialize(duplex, opening).await? {
            Opened::Greeting(greeting) => Ok(greeting),
            Opened::LateModern => Err(Fault::Again(Era::Modern)),
        },
        Some(Era::Modern) => match discover(duplex, None).await {
            Probe::Modern(greeting) => Ok(greeting),
            Probe::Other(what) => Err(Fault::Failed(format!(
                "no longer answers server/discover ({what})"
            ))),
            Probe::Silent => Err(Fault::Failed("does not answer".to_owned())),
            Probe::Ended => Err(Fault::Failed("ended instead of answering".to_owned())),
        },
        None => {
            match discover(duplex, Some(probe_deadline)).await {
                Probe::Modern(greeting) => return Ok(greeting),
                Probe::Other(_) | Probe::Silent => {}
                Probe::Ended => return Err(Fault::Again(Era::Legacy)),
            }
            match initialize(duplex, opening).await {
                Ok(Opened::Greeting(greeting)) => Ok(greeting),
                Ok(Opened::LateModern) => Err(Fault::Again(Era::Modern)),
                // Perhaps our probe confused it.
                Err(_) => Err(Fault::Again(Era::Legacy)),
            }
        }
    }
}

enum Probe {
    Modern(Greeting),
    Other(String),
    Silent,
    Ended,
}

async fn discover(duplex: &mut Duplex, within: Option<Duration>) -> Probe {
    let request = message::request(
        DISCOVER,
        "server/discover",
        json!({ "_meta": {
            "io.modelcontextprotocol/protocolVersion": Revision::NEWEST.as_str(),
            "io.modelcontextprotocol/clientInfo": client_info(),
            "io.modelcontextprotocol/clientCapabilities": {},
        }}),
    );
    if duplex.outgoing.send(request).await.is_err() {
        return Probe::Ended;
    }
    let answer = async {
        loop {
            match next(duplex).await {
                None => return Probe::Ended,
                Some((DISCOVER, doc, message)) => {
                    return match modern(&doc, &message) {
                        Some(greeting) => Probe::Modern(greeting),
                        None => Probe::Other(summary(&doc, &message)),
                    };
                }
                Some(_) => {}
            }
        }
    };
    match within {
        None => answer.await,
        Some(within) => timeout_at(Instant::now() + within, answer)
            .await
            .unwrap_or(Probe::Silent),
    }
}

enum Opened {
    Greeting(Greeting),
    /// The probe's answer came after all, and it was modern.
    LateModern,
}

async fn initialize(duplex: &mut Duplex, opening: &Opening) -> Result<Opened, Fault> {
    let ended = || Fault::Failed("ended instead of answering initialize".to_owned());
    let request = match opening {
        Opening::Probe => return Ok(Opened::Greeting(Greeting::Unopened)),
        Opening::Shared => message::request(
            INITIALIZE,
            "initialize",
            json!({
                "protocolVersion": Revision::NEWEST_LEGACY.as_str(),
                "capabilities": {},
                "clientInfo": client_info(),
            }),
        ),
        Opening::Client(doc) => scan(doc)
            .ok()
            .and_then(|read| message::with(doc, read.id?, INITIALIZE.to_string().as_bytes()))
            .map(message::single_line)
            .ok_or_else(|| Fault::Failed("cannot be sent this initialize".to_owned()))?,
    };
    if duplex.outgoing.send(request).await.is_err() {
        return Err(ended());
    }
    loop {
        match next(duplex).await {
            None => return Err(ended()),
            Some((DISCOVER, doc, message)) if modern(&doc, &message).is_some() => {
                return Ok(Opened::LateModern);
            }
            Some((INITIALIZE, doc, message)) => {
                let Some(result) = legacy(&doc, &message) else {
                    let what = summary(&doc, &message);
                    return Err(Fault::Failed(format!("does not accept initialize ({what})")));
                };
                if matches!(opening, Opening::Shared) {
                    let initialized = message::notification("notifications/initialized", json!({}));
                    duplex.outgoing.send(initialized).await.map_err(|_| ended())?;
                }
                return Ok(Opened::Greeting(Greeting::Legacy { result }));
            }
            Some(_) => {}
        }
    }
}

/// The next response. Pings are answered, everything else is passed over: nothing else may be said before the
/// handshake is done.
async fn next(duplex: &mut Duplex) -> Option<(u64, Bytes, Message)> {
    loop {
        let Incoming::Message(doc) = duplex.incoming.recv().await? else {
            continue;
        };
        let Ok(message) = scan(&doc) else { continue };
        match (message.shape(), message.id) {
            (Shape::Result | Shape::Error, Some(id)) => {
                if let Some(id) = message::our_id(&doc, id) {
                    return Some((id, doc, message));
                }
            }
            (Shape::Request, Some(id)) if message.method(&doc) == Some("ping") => {
                let _ = duplex.outgoing.try_send(message::result(id.of(&doc), b"{}"));
            }
            _ => {}
        }
    }
}

/// A result is believed by its shape: there are servers that answer any method with some result.
fn modern(doc: &Bytes, message: &Message) -> Option<Greeting> {
    let supported = message.result_member(doc, "supportedVersions")?;
    let newest =
        |span: json::Span| json::string(doc, span).is_some_and(|text| text == Revision::NEWEST.as_str());
    let speaks = json::elements(doc, supported).any(newest);
    speaks.then(|| Greeting::Modern {
        supported: doc.slice(supported.range()),
    })
}

fn legacy(doc: &Bytes, message: &Message) -> Option<Bytes> {
    let revision = message.result_member(doc, "protocolVersion")?;
    let capabilities = message.result_member(doc, "capabilities")?;
    let fits = json::kind(doc, revision) == Some(Kind::String)
        && json::kind(doc, capabilities) == Some(Kind::Object);
    fits.then(|| doc.slice(message.result.unwrap_or_default().range()))
}

fn summary(doc: &Bytes, message: &Message) -> String {
    match (message.error_code(doc), message.error_message(doc)) {
        (Some(code), text) => {
            let text: String = text.unwrap_or_default().chars().take(200).collect();
            format!("error {code}: {text}")
        }
        _ => "its result has another shape".to_owned(),
    }
}

fn client_info() -> serde_json::Value {
    json!({ "name": "ringway", "version": env!("CARGO_PKG_VERSION") })
}
