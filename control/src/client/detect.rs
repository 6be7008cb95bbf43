//! Which era does a server speak? (specification 2026-07-28, "Versioning", dual-era clients on HTTP)
//!
//! A modern greeting first. An answer to it, or an error that only a modern server gives, settles the matter;
//! anything else is tried again as `initialize`. What servers of the field do to that order:
//!
//! | answer to `server/discover` | server | we |
//! |---|---|---|
//! | result naming 2026-07-28 | modern, or both | take it |
//! | 400 −32000, −32600; 406; 422; 200 −32601 | legacy | `initialize` |
//! | 404 −32601 | legacy behind a strict router, or modern without `discover` | `initialize`, then a modern list |
//! | −32022 that names only older revisions | legacy, newer than this page | `initialize` |
//! | −32020, −32021 | modern, and we displease it | say so |
//! | 401, 403, 429 | unknown until we may ask | say so |
//!
//! A result is believed by its shape: there are servers that answer any method with 200 and our own params.

use super::{
    Failure, Greeting, McpClient, Mode, Peer, client_info,
    message::{CAPABILITY_MISSING, HEADER_MISMATCH, METHOD_NOT_FOUND, VERSION_UNSUPPORTED, raw},
};
use ringway_proto::revision::{Era, Revision};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{collections::BTreeMap, sync::atomic::AtomicU64};

/// Instructions are kept up to here; they are text for a model's context.
const INSTRUCTION_CHARS_MAX: usize = 64 << 10;

/// What part of the whole time the modern greeting may take when there is another to try.
const DISCOVER_SHARE: u32 = 3;

pub(super) async fn connect(peer: Peer, mode: Mode, declared: &'static str) -> Result<McpClient, Failure> {
    if mode == Mode::Legacy {
        return initialize(peer, declared).await;
    }
    let mut asked = peer.clone();
    if mode == Mode::Auto {
        // Some legacy servers never answer a method they do not know; the greeting they do know needs time too.
        asked.deadlines.total /= DISCOVER_SHARE;
    }
    let modern = match discover(asked, declared).await {
        Ok(mut client) => {
            client.peer.deadlines = peer.deadlines;
            return Ok(client);
        }
        Err(failure) => failure,
    };
    if mode == Mode::Modern || settled(&modern) {
        return Err(modern);
    }
    match initialize(peer.clone(), declared).await {
        Ok(client) => Ok(client),
        // Perhaps modern without the `server/discover` it must have: its list tells.
        Err(legacy) if modern.code() == Some(METHOD_NOT_FOUND) => {
            bare_modern(peer, declared).await.map_err(|_| legacy)
        }
        Err(legacy) => Err(worse(modern, legacy)),
    }
}

/// True for failures that a second greeting cannot mend.
fn settled(failure: &Failure) -> bool {
    let refused = matches!(failure.status(), Some(401 | 403 | 429));
    let modern = matches!(failure.code(), Some(HEADER_MISMATCH | CAPABILITY_MISSING));
    failure.unreachable() || refused || modern
}

/// Of two failures, the one that tells more: a server that will not speak modern is no news.
fn worse(modern: Failure, legacy: Failure) -> Failure {
    let mute = matches!(legacy, Failure::Status { .. }) && matches!(modern, Failure::Rpc { .. });
    if mute && modern.code() == Some(VERSION_UNSUPPORTED) {
        modern
    } else {
        legacy
    }
}

async fn discover(peer: Peer, declared: &'static str) -> Result<McpClient, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Discovered {
        supported_versions: Vec<String>,
        capabilities: Box<RawValue>,
        #[serde(default)]
        instructions: Option<String>,
        #[serde(default)]
        server_info: Option<Box<RawValue>>,
        #[serde(default, rename = "_meta")]
        meta: BTreeMap<String, Box<RawValue>>,
    }
    let mut client = modern(peer, declared, nothing_known()?);
    let result = client.request("server/discover", None).await?;
    let found: Discovered = serde_json::from_str(result.get())
        .map_err(|e| Failure::Protocol(format!("its answer to server/discover cannot be read: {e}")))?;
    if !found
        .supported_versions
        .iter()
        .any(|v| v == Revision::NEWEST.as_str())
    {
        return Err(Failure::Protocol(format!(
            "it knows server/discover, but speaks none of our modern revisions ({})",
            Revision::NEWEST.as_str()
        )));
    }
    client.greeting = Greeting {
        capabilities: object(found.capabilities, "capabilities")?,
        server_info: found
            .meta
            .get("io.modelcontextprotocol/serverInfo")
            .cloned()
            .or(found.server_info),
        instructions: bounded(found.instructions),
    };
    Ok(client)
}

/// A modern server that does not answer `server/discover` but does list tools.
async fn bare_modern(peer: Peer, declared: &'static str) -> Result<McpClient, Failure> {
    let tools =
        RawValue::from_string(r#"{"tools":{}}"#.to_owned()).map_err(|e| Failure::Protocol(e.to_string()))?;
    let client = modern(
        peer,
        declared,
        Greeting {
            capabilities: tools,
            ..nothing_known()?
        },
    );
    let result = client.request("tools/list", None).await?;
    match serde_json::from_str::<serde_json::Value>(result.get()) {
        Ok(list) if list.get("tools").is_some_and(serde_json::Value::is_array) => Ok(client),
        _ => Err(Failure::Protocol("its tools/list carries no tools".to_owned())),
    }
}

fn modern(peer: Peer, declared: &'static str, greeting: Greeting) -> McpClient {
    McpClient {
        peer,
        era: Era::Modern,
        revision: Revision::NEWEST.as_str().to_owned(),
        session: None,
        declared,
        greeting,
        next_id: AtomicU64::new(1),
    }
}

async fn initialize(peer: Peer, declared: &'static str) -> Result<McpClient, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Initialized {
        protocol_version: String,
        capabilities: Box<RawValue>,
        /// Required by every revision; an echo of our own params has none.
        server_info: Box<RawValue>,
        #[serde(default)]
        instructions: Option<String>,
    }
    let params = raw(&serde_json::json!({
        "protocolVersion": Revision::NEWEST_LEGACY.as_str(),
        "capabilities": serde_json::from_str::<serde_json::Value>(declared).unwrap_or_default(),
        "clientInfo": client_info(),
    }))?;
    let mut client = McpClient {
        peer,
        era: Era::Legacy,
        revision: Revision::NEWEST_LEGACY.as_str().to_owned(),
        session: None,
        declared,
        greeting: nothing_known()?,
        next_id: AtomicU64::new(1),
    };
    let (session, result) = client.initialize(&params).await?;
    let found: Initialized = serde_json::from_str(result.get())
        .map_err(|e| Failure::Protocol(format!("its answer to initialize cannot be read: {e}")))?;
    if !plausible(&found.protocol_version) {
        return Err(Failure::Protocol(
            "it agrees to a revision that is no date".to_owned(),
        ));
    }
    client.session = session;
    client.revision = found.protocol_version;
    client.greeting = Greeting {
        capabilities: object(found.capabilities, "capabilities")?,
        server_info: Some(object(found.server_info, "serverInfo")?),
        instructions: bounded(found.instructions),
    };
    client.notify("notifications/initialized", None).await?;
    Ok(client)
}

impl McpClient {
    /// The one request whose response head matters: it names the session.
    async fn initialize(&self, params: &RawValue) -> Result<(Option<String>, Box<RawValue>), Failure> {
        let body = super::message::request(0, "initialize", Some(params))?;
        let total = self.peer.deadlines.total;
        let exchange = async {
            // No version header: none is agreed yet.
            let (reply, session) = self.peer.post(Vec::new(), body, self.peer.deadlines.head).await?;
            let result = self.answer_in(reply, 0, &mut |_, _| {}).await?;
            Ok((session.filter(|s| !s.is_empty()), result))
        };
        tokio::time::timeout(total, exchange)
            .await
            .map_err(|_| Failure::Late(total))?
    }
}

/// A date of digits and dashes, safe to send back as a header.
fn plausible(revision: &str) -> bool {
    revision.len() == 10 && revision.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

fn nothing_known() -> Result<Greeting, Failure> {
    Ok(Greeting {
        capabilities: raw(&serde_json::json!({}))?,
        server_info: None,
        instructions: None,
    })
}

fn object(value: Box<RawValue>, name: &str) -> Result<Box<RawValue>, Failure> {
    match value.get().starts_with('{') {
        true => Ok(value),
        false => Err(Failure::Protocol(format!("its `{name}` is not an object"))),
    }
}

fn bounded(instructions: Option<String>) -> Option<String> {
    instructions.filter(|text| !text.is_empty()).map(|text| {
        match text.char_indices().nth(INSTRUCTION_CHARS_MAX) {
            Some((end, _)) => text[..end].to_owned(),
            None => text,
        }
    })
}
