//! What conversations with the bridge need: a sandbox in a temporary directory, and a client that shows what came
//! over the wire.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

pub use ringway_sandbox::{
    Launch, Limits, LocalServer, Sandbox, ServerState, ServerStatus, Sharing, Transport,
};
pub use serde_json::{Value, json};
pub use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, body::Incoming};
use ringway_proto::sse::Parser;
use ringway_sandbox::http_client::{Address, HttpClient};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};
use tempfile::TempDir;

/// Far beyond what anything here takes; reached only when something hangs.
pub const SOON: Duration = Duration::from_secs(30);

/// Bounds short enough for tests.
pub fn quick() -> Limits {
    Limits {
        probe_deadline: Duration::from_secs(10),
        eof_grace: Duration::from_millis(500),
        term_grace: Duration::from_millis(300),
        backoff_min: Duration::from_millis(10),
        ..Limits::default()
    }
}

/// A program of `sandbox/examples`, which `cargo test` builds.
pub fn example(name: &str) -> String {
    let mut path: PathBuf = std::env::current_exe().expect("own path");
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(
        path.exists(),
        "build the examples first: cargo build -p ringway-sandbox --examples"
    );
    path.to_str().expect("text").to_owned()
}

/// The built-in server.
pub fn builtin(name: &str, args: &[&str]) -> LocalServer {
    LocalServer::stdio(Launch::command(
        name,
        example("builtin_server"),
        args.iter().copied(),
    ))
}

/// The server that does what its arguments say.
pub fn scripted(name: &str, args: &[&str]) -> LocalServer {
    LocalServer::stdio(Launch::command(
        name,
        example("scripted_server"),
        args.iter().copied(),
    ))
}

/// A sandbox and its directory.
pub struct Gateway {
    pub sandbox: Sandbox,
    pub directory: TempDir,
}

impl Gateway {
    pub fn new() -> Self {
        Self::with(quick())
    }

    pub fn with(limits: Limits) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let directory = tempfile::tempdir().expect("directory");
        let sandbox = Sandbox::new(directory.path().join("s"), limits).expect("sandbox");
        Self { sandbox, directory }
    }

    pub async fn serve(&self, spec: LocalServer) -> Client {
        let address = self.sandbox.ensure(spec).await.expect("server");
        Client::new(&address)
    }

    pub fn status(&self, name: &str) -> ServerStatus {
        self.sandbox
            .status()
            .into_iter()
            .find(|s| s.name == name)
            .expect("status")
    }

    /// Waits until the status is as wanted.
    pub async fn until(&self, name: &str, wanted: impl Fn(&ServerStatus) -> bool) -> ServerStatus {
        let began = Instant::now();
        loop {
            let status = self.status(name);
            if wanted(&status) {
                return status;
            }
            assert!(began.elapsed() < SOON, "never came about; now {status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) {
        self.sandbox.shutdown(SOON).await;
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The last message.
    pub message: Value,
    /// The messages before it, when the response was an event stream.
    pub events: Option<Vec<Value>>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The text of a tool's result.
    pub fn text(&self) -> &str {
        self.message["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("no text in {self:?}"))
    }

    /// `error.data.reason`.
    pub fn reason(&self) -> &str {
        self.message["error"]["data"]["reason"]
            .as_str()
            .unwrap_or_else(|| panic!("no reason in {self:?}"))
    }
}

/// Speaks HTTP to one bridge.
pub struct Client {
    http: HttpClient,
    address: Address,
    next: AtomicU64,
}

/// A session of the legacy era.
pub struct LegacySession<'c> {
    pub client: &'c Client,
    pub id: String,
    pub initialized: Value,
}

/// An open event stream.
pub struct Events {
    body: Incoming,
    parser: Parser,
}

impl Client {
    pub fn new(address: &str) -> Self {
        let address = Address::parse(address).expect("address");
        Self {
            http: HttpClient::new(),
            address,
            next: AtomicU64::new(1),
        }
    }

    pub async fn open(
        &self,
        method: Method,
        headers: Vec<(&str, &str)>,
        body: impl Into<Bytes>,
    ) -> hyper::Response<Incoming> {
        let headers = headers
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        self.http
            .request(&self.address, method, None, headers, body.into(), SOON)
            .await
            .expect("response")
    }

    pub async fn exchange(
        &self,
        method: Method,
        headers: Vec<(&str, &str)>,
        body: impl Into<Bytes>,
    ) -> Answer {
        read(self.open(method, headers, body).await).await
    }

    pub async fn post(&self, headers: Vec<(&str, &str)>, message: &Value) -> Answer {
        self.exchange(Method::POST, post_headers(headers), message.to_string())
            .await
    }

    pub async fn modern(&self, method: &str, params: Value) -> Answer {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.modern_as(json!(id), method, params).await
    }

    pub async fn modern_as(&self, id: Value, method: &str, params: Value) -> Answer {
        read(self.open_modern(id, method, params).await).await
    }

    /// The response to a modern request, its body unread.
    pub async fn open_modern(&self, id: Value, method: &str, mut params: Value) -> hyper::Response<Incoming> {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let name = params["name"]
            .as_str()
            .or(params["uri"].as_str())
            .map(str::to_owned);
        let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        if let Some(name) = &name {
            headers.push(("mcp-name", name));
        }
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.open(Method::POST, post_headers(headers), message.to_string())
            .await
    }

    pub async fn initialize(&self, capabilities: Value) -> LegacySession<'_> {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "test", "version": "1"}});
        let answer = self
            .post(
                vec![],
                &json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}),
            )
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.header("mcp-session-id").expect("session id").to_owned();
        let session = LegacySession {
            client: self,
            id,
            initialized: answer.message["result"].clone(),
        };
        let accepted = session
            .post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        assert_eq!(accepted.status, 202);
        session
    }
}

impl LegacySession<'_> {
    pub fn headers(&self) -> Vec<(&str, &str)> {
        vec![
            ("mcp-session-id", &self.id),
            ("mcp-protocol-version", "2025-11-25"),
        ]
    }

    pub async fn post(&self, message: &Value) -> Answer {
        self.client.post(self.headers(), message).await
    }

    pub async fn request(&self, id: Value, method: &str, params: Value) -> Answer {
        self.post(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await
    }

    pub async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.request(
            json!("call"),
            "tools/call",
            json!({"name": tool, "arguments": arguments}),
        )
        .await
    }

    /// The response to a request, its body unread.
    pub async fn open_call(&self, id: Value, tool: &str, arguments: Value) -> hyper::Response<Incoming> {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
        self.client
            .open(Method::POST, post_headers(self.headers()), message.to_string())
            .await
    }

    pub async fn listen(&self) -> Events {
        let mut headers = self.headers();
        headers.push(("accept", "text/event-stream"));
        let response = self.client.open(Method::GET, headers, "").await;
        assert_eq!(response.status(), 200);
        Events::new(response)
    }

    pub async fn end(&self) -> u16 {
        self.client
            .exchange(Method::DELETE, self.headers(), "")
            .await
            .status
    }
}

impl Events {
    pub fn new(response: hyper::Response<Incoming>) -> Self {
        assert_eq!(
            response.headers()["content-type"],
            "text/event-stream",
            "{:?}",
            response.headers()
        );
        Self {
            body: response.into_body(),
            parser: Parser::new(32 << 20),
        }
    }

    /// The next message; `None` at the end of the stream, an error when it was cut off.
    pub async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(event) = self.parser.next() {
                let data = event.expect("event").data;
                return Ok(Some(serde_json::from_slice(&data).expect("message")));
            }
            match tokio::time::timeout(SOON, self.body.frame())
                .await
                .expect("a frame in time")
            {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => self.parser.push(frame.into_data().expect("data")),
            }
        }
    }

    pub async fn message(&mut self) -> Value {
        self.next().await.expect("whole stream").expect("a message")
    }

    pub async fn rest(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await.expect("whole stream") {
            all.push(message);
        }
        all
    }
}

fn post_headers<'a>(mut headers: Vec<(&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    headers.push(("content-type", "application/json"));
    headers.push(("accept", "application/json, text/event-stream"));
    headers
}

/// Reads a response to its end.
pub async fn read(response: hyper::Response<Incoming>) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    if headers
        .get("content-type")
        .is_some_and(|t| t == "text/event-stream")
    {
        let mut events = Events::new(response).rest().await;
        let message = events.pop().unwrap_or_default();
        return Answer {
            status,
            headers,
            message,
            events: Some(events),
        };
    }
    let body = tokio::time::timeout(SOON, response.into_body().collect())
        .await
        .expect("body in time");
    let body = body.expect("whole body").to_bytes();
    let message = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).expect("message")
    };
    Answer {
        status,
        headers,
        message,
        events: None,
    }
}

/// The messages a scripted server has received, out of the answer of its tool `seen`.
pub fn seen(answer: &Answer) -> Vec<Value> {
    serde_json::from_str(answer.text()).expect("a list")
}
