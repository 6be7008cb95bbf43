//! One client of either era that verifies every answer.

use super::outcome::{Outcome, Server};
use crate::{
    upstream::text,
    wire::{Abandon, Answer, Connection, Content, Ended, Fault, Flow, Head, Method, Request, Target, Want},
};
use bytes::Bytes;
use ringway_proto::revision::{Era, Revision};
use serde_json::{Value, json};
use std::time::Duration;

/// No call takes this long unless something hangs; the longest wait that is asked for is 5 s.
pub const PATIENCE: Duration = Duration::from_secs(30);

const ACCEPT: &str = "application/json, text/event-stream";

/// One client.
pub struct Agent {
    target: Target,
    era: Era,
    connection: Option<Connection>,
    session: Option<String>,
    next_id: u64,
}

/// What an answer must be.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This text.
    Text(String),
    /// A text of `sized`.
    Sized(usize),
    /// This text, and that the tool failed.
    Failed,
    /// A JSON-RPC error with this code.
    Error(i64),
    /// Anything that is the answer to this request, or none at all: it is being cancelled.
    Anything,
}

impl Agent {
    /// A client that has not connected yet. Ids of agents with different `number` differ.
    pub fn new(target: &Target, era: Era, number: u64) -> Self {
        Self {
            target: target.clone(),
            era,
            connection: None,
            session: None,
            next_id: number << 32,
        }
    }

    /// Another connection of the same client, in the same session.
    pub fn beside(&self) -> Self {
        Self {
            session: self.session.clone(),
            next_id: self.next_id + (1 << 31),
            ..Self::new(&self.target, self.era, 0)
        }
    }

    /// Whether it has what its era needs before the first call.
    pub fn is_open(&self) -> bool {
        self.era == Era::Modern || self.session.is_some()
    }

    /// Whether it is of the era with sessions.
    pub fn is_legacy(&self) -> bool {
        self.era == Era::Legacy
    }

    /// The id its next request will have.
    pub fn next_id(&self) -> u64 {
        self.next_id + 1
    }

    /// Opens a session, where there are sessions.
    pub async fn open(&mut self) -> Outcome {
        if self.is_open() {
            return Outcome::Right;
        }
        let params = json!({
            "protocolVersion": Revision::NEWEST_LEGACY.as_str(),
            "capabilities": {},
            "clientInfo": { "name": "soak", "version": "1" },
        });
        let id = self.id();
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": "initialize", "params": params });
        let answer = match self.exchange(Method::Post, &message, &want()).await {
            Ok(answer) => answer,
            Err(fault) => return broken(&fault),
        };
        let session = answer
            .session_id
            .as_ref()
            .and_then(|id| std::str::from_utf8(id).ok())
            .map(str::to_owned);
        let said = match message_of(&answer, id) {
            Ok(said) => said,
            Err(outcome) => return outcome,
        };
        if said["result"]["protocolVersion"] != Revision::NEWEST_LEGACY.as_str() || session.is_none() {
            return Outcome::Wrong(format!("initialize was answered {said}"));
        }
        drop(answer);
        self.session = session;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        match self.exchange(Method::Post, &initialized, &want()).await {
            Ok(answer) if answer.status == 202 => Outcome::Right,
            Ok(answer) => Outcome::Told(format!("http_{}", answer.status)),
            Err(fault) => broken(&fault),
        }
    }

    /// Ends the session.
    pub async fn close(&mut self) -> Outcome {
        if self.session.is_none() {
            return Outcome::Right;
        }
        let done = self.exchange(Method::Delete, &Value::Null, &want()).await;
        self.session = None;
        match done {
            Ok(answer) if answer.status < 300 => Outcome::Right,
            Ok(answer) => Outcome::Told(format!("http_{}", answer.status)),
            Err(fault) => broken(&fault),
        }
    }

    /// Calls a tool of a server and verifies what comes.
    pub async fn call(
        &mut self,
        server: Server,
        tool: &str,
        arguments: Value,
        expected: &Expected,
        want: &Want,
    ) -> Outcome {
        let name = format!("{}__{tool}", server.name());
        let mut params = json!({ "name": name, "arguments": arguments });
        let id = self.id();
        let token = format!("t{id}");
        params["_meta"] = self.meta();
        params["_meta"]["progressToken"] = json!(token);
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        let mut progress = Progress {
            token,
            last: 0.0,
            stray: None,
        };
        let answer = self
            .exchange_with(Method::Post, &message, want, &mut progress, id)
            .await;
        if let Some(stray) = progress.stray {
            return Outcome::Wrong(stray);
        }
        match answer {
            Err(fault) => broken(&fault),
            Ok(answer) if answer.ended == Ended::Abandoned => Outcome::Right,
            Ok(answer) => verify(&answer, id, expected),
        }
    }

    /// Any other request; the result if it is a right one.
    pub async fn ask(&mut self, method: &str, mut params: Value) -> Result<Value, Outcome> {
        let id = self.id();
        if self.era == Era::Modern {
            params["_meta"] = self.meta();
        }
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = self
            .exchange(Method::Post, &message, &want())
            .await
            .map_err(|fault| broken(&fault))?;
        let mut said = message_of(&answer, id)?;
        match said["error"]["code"].as_i64() {
            Some(code) => Err(Outcome::Told(format!("rpc_{code}"))),
            None => Ok(said["result"].take()),
        }
    }

    /// Sends a notification.
    pub async fn notify(&mut self, method: &str, params: Value) -> Outcome {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        match self.exchange(Method::Post, &message, &want()).await {
            Ok(answer) if answer.status == 202 => Outcome::Right,
            Ok(answer) => Outcome::Told(format!("http_{}", answer.status)),
            Err(fault) => broken(&fault),
        }
    }

    /// Holds an event stream for so long, on a connection that is closed then; how many events came.
    pub async fn listen(&mut self, time: Duration) -> Result<u64, Outcome> {
        let want = Want {
            timeout: None,
            abandon: Abandon::After(time),
            ..Want::default()
        };
        let answer = match self.era {
            Era::Legacy => self.exchange(Method::Get, &Value::Null, &want).await,
            Era::Modern => {
                let mut params = json!({ "notifications": { "toolsListChanged": true } });
                params["_meta"] = self.meta();
                let id = self.id();
                let message =
                    json!({ "jsonrpc": "2.0", "id": id, "method": "subscriptions/listen", "params": params });
                self.exchange(Method::Post, &message, &want).await
            }
        };
        match answer {
            Ok(answer) if answer.status == 200 && answer.content == Content::Events => Ok(answer.events),
            // Given up before the head was here.
            Ok(answer) if answer.status == 0 => Ok(0),
            Ok(answer) => Err(Outcome::Told(format!("http_{}", answer.status))),
            Err(fault) => Err(broken(&fault)),
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn meta(&self) -> Value {
        match self.era {
            Era::Legacy => json!({}),
            Era::Modern => json!({
                "io.modelcontextprotocol/protocolVersion": Revision::NEWEST.as_str(),
                "io.modelcontextprotocol/clientCapabilities": {},
            }),
        }
    }

    async fn exchange(&mut self, method: Method, message: &Value, want: &Want) -> Result<Answer, Fault> {
        let mut nobody = Progress {
            token: String::new(),
            last: 0.0,
            stray: None,
        };
        self.exchange_with(method, message, want, &mut nobody, u64::MAX)
            .await
    }

    async fn exchange_with(
        &mut self,
        method: Method,
        message: &Value,
        want: &Want,
        progress: &mut Progress,
        id: u64,
    ) -> Result<Answer, Fault> {
        let (name, subject) = (message["method"].as_str(), message["params"]["name"].as_str());
        let mut fields = vec![("accept", ACCEPT)];
        if method == Method::Post {
            fields.push(("content-type", "application/json"));
        }
        match self.era {
            Era::Legacy => {
                if let Some(session) = &self.session {
                    fields.push(("mcp-protocol-version", Revision::NEWEST_LEGACY.as_str()));
                    fields.push(("mcp-session-id", session));
                }
            }
            Era::Modern => {
                fields.push(("mcp-protocol-version", Revision::NEWEST.as_str()));
                fields.extend(name.map(|name| ("mcp-method", name)));
                fields.extend(subject.map(|subject| ("mcp-name", subject)));
            }
        }
        let head = Head::new(&self.target, method, &fields).map_err(|why| {
            Fault::new(
                crate::wire::FaultKind::Protocol,
                format!("our own request: {why}"),
            )
        })?;
        let body = match method {
            Method::Post => Bytes::from(message.to_string()),
            Method::Get | Method::Delete | Method::Put => Bytes::new(),
        };
        let request = Request {
            head: &head,
            extra: &[],
            body,
        };
        let mut again = true;
        loop {
            let mut connection = match self.connection.take().filter(Connection::is_reusable) {
                Some(connection) => connection,
                None => Connection::open(&self.target).await?,
            };
            let mut listener = |event: &ringway_proto::sse::Event, _| progress.hear(&event.data, id);
            match connection.exchange_with(&request, want, &mut listener).await {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                // Nothing of an answer came: the gateway had closed a connection that nobody used. Once more, anew.
                Err(fault) if fault.stale && again => again = false,
                Err(fault) => return Err(fault),
            }
        }
    }
}

/// Listens to what comes before an answer.
struct Progress {
    token: String,
    last: f64,
    stray: Option<String>,
}

impl Progress {
    fn hear(&mut self, data: &[u8], id: u64) -> Flow {
        if self.token.is_empty() || data.is_empty() {
            return Flow::Continue;
        }
        let Ok(said) = serde_json::from_slice::<Value>(data) else {
            return Flow::Continue;
        };
        if said["method"].is_null() {
            if said["id"] != json!(id) {
                self.stray = Some(format!("an answer to {} on the stream of {id}", said["id"]));
            }
            return Flow::Continue;
        }
        let step = said["params"]["progress"].as_f64().unwrap_or(-1.0);
        if said["params"]["progressToken"] != self.token.as_str() {
            self.stray = Some(format!(
                "progress of {} on the stream of {}",
                said["params"]["progressToken"], self.token
            ));
        } else if step <= self.last {
            self.stray = Some(format!("progress {step} after {}", self.last));
        }
        self.last = step;
        Flow::Continue
    }
}

/// How patient every call is.
pub fn want() -> Want {
    Want {
        timeout: Some(PATIENCE),
        ..Want::default()
    }
}

fn broken(fault: &Fault) -> Outcome {
    Outcome::Broken(format!("{}: {}", fault.key(), fault.text))
}

/// The JSON-RPC answer to `id`, or what there is instead.
fn message_of(answer: &Answer, id: u64) -> Result<Value, Outcome> {
    let said = serde_json::from_slice::<Value>(&answer.body);
    if !(200..300).contains(&answer.status) {
        let code = said.ok().and_then(|said| said["error"]["code"].as_i64());
        let code = code.map(|code| format!(" rpc_{code}")).unwrap_or_default();
        return Err(Outcome::Told(format!("http_{}{code}", answer.status)));
    }
    let Ok(said) = said else {
        let what = if answer.body.is_empty() {
            "no message"
        } else {
            "a message that is no JSON"
        };
        return Err(Outcome::Broken(what.to_owned()));
    };
    if !said["method"].is_null() {
        // The stream ended after a notification.
        return Err(Outcome::Broken("no answer on the stream".to_owned()));
    }
    if said["id"] != json!(id) {
        return Err(Outcome::Wrong(format!(
            "an answer to {} instead of {id}",
            said["id"]
        )));
    }
    Ok(said)
}

fn verify(answer: &Answer, id: u64, expected: &Expected) -> Outcome {
    if matches!(expected, Expected::Anything) && (answer.body.is_empty() || answer.status == 0) {
        return Outcome::Right;
    }
    let said = match message_of(answer, id) {
        Ok(said) => said,
        // Cancelled after some progress.
        Err(Outcome::Broken(_)) if matches!(expected, Expected::Anything) => return Outcome::Right,
        Err(outcome) => return outcome,
    };
    let code = said["error"]["code"].as_i64();
    let failed = said["result"]["isError"] == true;
    let text = said["result"]["content"][0]["text"].as_str();
    let short = || text.unwrap_or_default().chars().take(80).collect::<String>();
    match (expected, code) {
        (Expected::Anything, _) => Outcome::Right,
        (Expected::Error(wanted), Some(code)) if *wanted == code => Outcome::Right,
        (_, Some(code)) => Outcome::Told(format!("rpc_{code} {}", said["error"]["message"])),
        (Expected::Failed, None) if failed => Outcome::Right,
        (_, None) if failed => Outcome::Told(format!("tool_error {}", short())),
        (Expected::Text(wanted), None) if text == Some(wanted) => Outcome::Right,
        (Expected::Sized(bytes), None)
            if text.is_some_and(|t| t.len() == *bytes && text::check(t.as_bytes()).is_ok()) =>
        {
            Outcome::Right
        }
        (wanted, None) => Outcome::Wrong(format!("{wanted:?} was wanted, and {:?} came", short())),
    }
}
