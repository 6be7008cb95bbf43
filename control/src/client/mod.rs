//! A small MCP client for both eras over Streamable HTTP: TCP, TLS or a Unix socket.
//!
//! The registry asks servers for their lists with it, and the command line talks to a running gateway with it.
//! It is a careful reader rather than a fast one: every wait has a deadline, every size a bound, a server's
//! `ping` is answered and its other requests are refused.
//!
//! Read [`McpClient::connect`] (which era does the server speak? specification 2026-07-28, "Versioning"), then
//! [`McpClient::request`]. [`lists`] walks pages, [`listen`] waits for `list_changed`, [`names`] writes the
//! header mirrors of 2026-07-28.

mod detect;
mod events;
mod failure;
mod listen;
mod lists;
pub mod message;
pub mod names;
mod peer;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use failure::{Failure, RpcError};
pub use listen::{Heard, ListenEnd};
pub use lists::{ListBounds, Listed};
pub use peer::{Deadlines, Peer};

use message::{Fields, Kind, raw};
use peer::Reply;
use ringway_proto::{
    header_value::encode,
    revision::{Era, Revision},
};
use serde_json::value::RawValue;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout_at};

/// What a closing or answering POST may take; nobody waits for its outcome.
const ASIDE: Duration = Duration::from_secs(5);
/// How often one answer is fetched again after its stream broke off (SSE polling, 2025-11-25).
const RESUMES_MAX: usize = 10;
/// The pause before that, unless the server's `retry` says otherwise.
const RESUME_PAUSE: Duration = Duration::from_millis(500);

/// Which era to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The modern one where the server has it, else the legacy one.
    Auto,
    /// `initialize`, or failure.
    Legacy,
    /// `server/discover`, or failure.
    Modern,
}

/// What a server says of itself in its `initialize` or `server/discover` result.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The `capabilities` object.
    pub capabilities: Box<RawValue>,
    /// The `serverInfo` object.
    pub server_info: Option<Box<RawValue>>,
    /// Its `instructions`.
    pub instructions: Option<String>,
}

/// A server that has answered our greeting, and the era it is spoken to in.
#[derive(Debug)]
pub struct McpClient {
    peer: Peer,
    era: Era,
    /// The agreed revision, as the server wrote it: it may be older than any we know by name.
    revision: String,
    session: Option<String>,
    /// Client capabilities we declare, as JSON.
    declared: &'static str,
    greeting: Greeting,
    next_id: AtomicU64,
}

/// The headers and params of a message that is ready to be written.
type Dressed = (Vec<(String, String)>, Option<Box<RawValue>>);

/// A notification that arrived with an answer: its method and its params.
pub type OnNotification<'n> = &'n mut (dyn FnMut(&str, Option<&RawValue>) + Send);

impl McpClient {
    /// Greets the server. `declared` is the JSON object of client capabilities to declare.
    pub async fn connect(peer: Peer, mode: Mode, declared: &'static str) -> Result<Self, Failure> {
        detect::connect(peer, mode, declared).await
    }

    /// The era requests are made in.
    pub fn era(&self) -> Era {
        self.era
    }

    /// The agreed revision.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// What the server says of itself.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The peer, to greet it once more in another era.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// One request, answered with the result's own bytes.
    pub async fn request(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, Failure> {
        self.request_with(method, params, Vec::new(), &mut |_, _| {})
            .await
    }

    /// One request with further headers (`Mcp-Param-*`), telling of notifications as they arrive.
    pub async fn request_with(
        &self,
        method: &str,
        params: Option<&RawValue>,
        extra: Vec<(String, String)>,
        heard: OnNotification<'_>,
    ) -> Result<Box<RawValue>, Failure> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let total = self.peer.deadlines.total;
        let until = Instant::now() + total;
        match timeout_at(until, self.exchange(id, method, params, extra, heard)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.give_up(id).await;
                Err(Failure::Late(total))
            }
        }
    }

    /// Tells the server something; it has nothing to answer.
    pub async fn notify(&self, method: &str, params: Option<&RawValue>) -> Result<(), Failure> {
        let (headers, params) = self.dress(method, params)?;
        let body = message::notification(method, params.as_deref())?;
        match self.peer.post(headers, body, self.peer.deadlines.head).await {
            // A notification has no answer, so whatever stands in the body of a good one is nothing to us.
            Ok(_) | Err(Failure::Protocol(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Ends the session, where there is one. Dropping the client without this leaves it to the server's clock.
    pub async fn close(self) {
        if self.session.is_some() {
            self.peer.delete(self.standing_headers(), ASIDE).await;
        }
    }

    async fn exchange(
        &self,
        id: u64,
        method: &str,
        params: Option<&RawValue>,
        extra: Vec<(String, String)>,
        heard: OnNotification<'_>,
    ) -> Result<Box<RawValue>, Failure> {
        let (mut headers, params) = self.dress(method, params)?;
        headers.extend(extra);
        let body = message::request(id, method, params.as_deref())?;
        let (reply, _) = self.peer.post(headers, body, self.peer.deadlines.head).await?;
        self.answer_in(reply, id, heard).await
    }

    /// Finds the answer to `id` in a reply, however it was sent.
    async fn answer_in(
        &self,
        reply: Reply,
        id: u64,
        heard: OnNotification<'_>,
    ) -> Result<Box<RawValue>, Failure> {
        let mut stream = match reply {
            Reply::Accepted => {
                return Err(Failure::Protocol(
                    "it accepted the request without answering it".to_owned(),
                ));
            }
            Reply::Messages(messages) => {
                return match self.hear(messages, id, heard) {
                    Some(answer) => answer,
                    None => Err(Failure::Protocol(
                        "its answer carries another id than the request".to_owned(),
                    )),
                };
            }
            Reply::Stream(stream) => *stream,
        };
        for _ in 0..=RESUMES_MAX {
            while let Some(data) = stream
                .next(Some(Instant::now() + self.peer.deadlines.idle))
                .await?
            {
                let messages = message::read(&data)
                    .map_err(|e| Failure::Protocol(format!("an event is not a JSON-RPC message: {e}")))?;
                if let Some(answer) = self.hear(messages, id, heard) {
                    return answer;
                }
            }
            // Closed before the answer: a server that polls has given an id to come back with.
            let (Era::Legacy, Some(last)) = (self.era, stream.last_id.clone()) else {
                break;
            };
            sleep(stream.retry.unwrap_or(RESUME_PAUSE)).await;
            let mut headers = self.standing_headers();
            headers.push(("last-event-id".to_owned(), last));
            let retry = stream.retry;
            stream = self.peer.get(headers, self.peer.deadlines.head).await?;
            stream.retry = stream.retry.or(retry);
        }
        Err(Failure::Protocol(
            "its event stream ended before the answer".to_owned(),
        ))
    }

    /// Takes note of messages until one is the answer.
    fn hear(
        &self,
        messages: Vec<message::Message>,
        id: u64,
        heard: OnNotification<'_>,
    ) -> Option<Result<Box<RawValue>, Failure>> {
        let mut found = None;
        for message in messages {
            match message.kind(id) {
                Kind::Answer(Ok(result)) => found = Some(Ok(result)),
                Kind::Answer(Err(mut error)) => {
                    error.message = failure::quote(&error.message, &self.peer.secrets());
                    found = Some(Err(Failure::Rpc { status: 200, error }));
                }
                Kind::Notification { method, params } => heard(&method, params.as_deref()),
                Kind::Request { id, method } => self.answer(&id, &method),
                Kind::Other => {}
            }
        }
        found
    }

    /// Answers a request of the server, beside whatever else is going on.
    fn answer(&self, id: &RawValue, method: &str) {
        let Ok(body) = message::answer(id, method) else {
            return;
        };
        let (peer, headers) = (self.peer.clone(), self.standing_headers());
        tokio::spawn(async move {
            if let Err(failure) = peer.post(headers, body, ASIDE).await {
                tracing::debug!(server = %peer.shown, failure = peer.describe(&failure), "our answer to the server was not taken");
            }
        });
    }

    /// Tells a legacy server that nobody waits any more; a modern one sees the stream close.
    async fn give_up(&self, id: u64) {
        if self.era == Era::Legacy
            && let Ok(params) = raw(&serde_json::json!({"requestId": id, "reason": "deadline passed"}))
            && let Ok(body) = message::notification("notifications/cancelled", Some(&params))
        {
            let (peer, headers) = (self.peer.clone(), self.standing_headers());
            tokio::spawn(async move { peer.post(headers, body, ASIDE).await.map(|_| ()) });
        }
    }

    /// The headers and params of one message: what 2026-07-28 carries in each request, or the session's.
    fn dress(&self, method: &str, params: Option<&RawValue>) -> Result<Dressed, Failure> {
        match self.era {
            Era::Legacy => Ok((self.standing_headers(), params.map(ToOwned::to_owned))),
            Era::Modern => modern_dress(method, params, self.declared),
        }
    }

    /// Headers that name the session, for messages whose body says nothing of it.
    fn standing_headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![("mcp-protocol-version".to_owned(), self.revision.clone())];
        if let Some(session) = &self.session {
            headers.push(("mcp-session-id".to_owned(), session.clone()));
        }
        headers
    }
}

/// Adds `_meta` and the header mirrors (2026-07-28, "Request metadata", "Streamable HTTP").
fn modern_dress(method: &str, params: Option<&RawValue>, declared: &str) -> Result<Dressed, Failure> {
    let mut fields = message::fields(params)?;
    let mut meta: Fields = message::fields(fields.get("_meta").map(|m| &**m))?;
    let own = [
        (
            "io.modelcontextprotocol/protocolVersion",
            raw(&Revision::NEWEST.as_str())?,
        ),
        (
            "io.modelcontextprotocol/clientCapabilities",
            raw(&serde_json::from_str::<&RawValue>(declared).ok())?,
        ),
        ("io.modelcontextprotocol/clientInfo", raw(&client_info())?),
    ];
    meta.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let mut headers = vec![
        (
            "mcp-protocol-version".to_owned(),
            Revision::NEWEST.as_str().to_owned(),
        ),
        ("mcp-method".to_owned(), method.to_owned()),
    ];
    if let Some(name) = names::mirrored(method, &fields) {
        headers.push(("mcp-name".to_owned(), encode(&name).into_owned()));
    }
    fields.insert("_meta".to_owned(), raw(&meta)?);
    Ok((headers, Some(raw(&fields)?)))
}

/// Who we say we are.
fn client_info() -> serde_json::Value {
    serde_json::json!({"name": "ringway", "version": env!("CARGO_PKG_VERSION")})
}
