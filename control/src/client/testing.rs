//! A scripted HTTP peer for tests: every request goes to a closure, every connection carries one exchange.

use crate::client::Peer;
use ringway_sandbox::http_client::{Address, HttpClient};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// A request as the peer saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub verb: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The JSON-RPC method, or the HTTP one where there is no body.
    pub fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or(&self.verb)
    }

    pub fn modern(&self) -> bool {
        self.header("mcp-protocol-version") == Some("2026-07-28")
    }
}

/// What the peer answers.
pub enum Answer {
    /// Status, content type, further header lines (each with CRLF), body.
    Whole(u16, &'static str, String, String),
    /// An event stream written piece by piece, closed when the sender is dropped.
    Stream(mpsc::UnboundedReceiver<String>),
    /// Nothing, ever; the connection stays open.
    Silence,
}

impl Answer {
    pub fn json(status: u16, body: Value) -> Self {
        Self::Whole(status, "application/json", String::new(), body.to_string())
    }

    pub fn empty(status: u16) -> Self {
        Self::Whole(status, "", String::new(), String::new())
    }

    pub fn sse(text: impl Into<String>) -> Self {
        Self::Whole(200, "text/event-stream", String::new(), text.into())
    }

    /// The good answer to this request.
    pub fn result(seen: &Seen, result: Value) -> Self {
        Self::json(
            200,
            json!({"jsonrpc": "2.0", "id": seen.body["id"], "result": result}),
        )
    }

    pub fn error(status: u16, seen: &Seen, code: i64, message: &str) -> Self {
        let error = json!({"code": code, "message": message});
        Self::json(
            status,
            json!({"jsonrpc": "2.0", "id": seen.body["id"], "error": error}),
        )
    }

    pub fn with_header(self, line: &str) -> Self {
        match self {
            Self::Whole(status, kind, headers, body) => {
                Self::Whole(status, kind, format!("{headers}{line}\r\n"), body)
            }
            other => other,
        }
    }
}

/// A running peer. It stops when dropped.
pub struct Scripted {
    pub address: Address,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Scripted {
    pub async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/mcp", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, record) = (Arc::new(script), seen.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, record) = (script.clone(), record.clone());
                tokio::spawn(async move {
                    let _ = exchange(stream, &*script, &record).await;
                });
            }
        });
        Self {
            address,
            seen,
            accepting,
        }
    }

    pub fn peer(&self) -> Peer {
        Peer::new(HttpClient::new(), self.address.clone(), Vec::new())
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The methods asked for, in order.
    pub fn methods(&self) -> Vec<String> {
        self.seen().iter().map(|s| s.method().to_owned()).collect()
    }
}

async fn exchange(
    stream: TcpStream,
    script: &(dyn Fn(&Seen) -> Answer + Send + Sync),
    record: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let verb = line.split(' ').next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers
        .iter()
        .find(|(n, _)| n == "content-length")
        .map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let seen = Seen {
        verb,
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    record.lock().unwrap().push(seen.clone());
    match script(&seen) {
        Answer::Whole(status, kind, headers, body) => {
            let kind = if kind.is_empty() {
                String::new()
            } else {
                format!("content-type: {kind}\r\n")
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\n{kind}{headers}content-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
        }
        Answer::Stream(mut pieces) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            // A client that goes away is noticed, so that a test can wait for it.
            while let Some(piece) = tokio::select! {
                piece = pieces.recv() => piece,
                _ = stream.fill_buf() => None,
            } {
                stream.write_all(piece.as_bytes()).await?;
                stream.flush().await?;
            }
        }
        Answer::Silence => std::future::pending().await,
    }
    stream.shutdown().await
}

/// The result of a good `initialize`.
pub fn initialized(capabilities: Value) -> Value {
    json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": {"name": "fake", "version": "1"}})
}

/// The result of a good `server/discover`.
pub fn discovered(capabilities: Value) -> Value {
    json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
        "ttlMs": 0, "cacheScope": "private", "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fake", "version": "1"}}})
}
