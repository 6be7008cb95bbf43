//! The record of one request: what it was, who asked, how it ended, how long it took.
//!
//! A record is opened with the head and closed with the last byte of the answer, or when the client is gone. It
//! gives one access line and counts once. It never decides anything.

use super::{
    access::{Line, Lines},
    stats::Series,
    view::View,
    worker::Mcp,
};
use crate::http::{Body, BodyStream, Broken, Head, LocalFuture, Peer, Response, Source};
use bytes::Bytes;
use ringway_core::{
    rejection::Fault,
    snapshot::{Principal, Scope},
};
use ringway_proto::{
    http::Method,
    revision::Revision,
    rpc::{self, Message, Shape},
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered; whatever the answer said came from a server or from the gateway's own knowledge.
    Ok,
    /// A tool ran and reported an error.
    ToolError,
    /// A server answered with a JSON-RPC error.
    RpcError,
    /// Refused, with its reason and whose fault it was.
    Rejected(&'static str, Fault),
    /// A CORS preflight.
    Preflight,
    /// The client went away before the answer was whole.
    ClientGone,
    /// The answer's stream broke on the server's side.
    Broken,
}

impl Outcome {
    /// The label in metrics and records.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ToolError => "tool_error",
            Self::RpcError => "rpc_error",
            Self::Rejected(reason, _) => reason,
            Self::Preflight => "preflight",
            Self::ClientGone => "client_gone",
            Self::Broken => "broken",
        }
    }
}

/// Methods with a label of their own; all else is `other`, because clients choose the text.
const METHODS: [&str; 26] = [
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "skills/get",
    "skills/list",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tools/call",
    "tools/list",
];

/// Answers up to this size are looked into for `isError`; larger ones count as answered.
const LOOK_INTO_MAX: usize = 64 << 10;

/// One request's record. Shared between the call and the body that outlives it.
pub struct Record(Rc<Facts>);

struct Facts {
    mcp: Rc<Mcp>,
    opened: Instant,
    remote: std::net::IpAddr,
    http: Method,
    method: Cell<&'static str>,
    id: RefCell<String>,
    principal: RefCell<Option<Arc<Principal>>>,
    endpoint: RefCell<String>,
    server: RefCell<String>,
    tool: RefCell<String>,
    revision: Cell<Option<Revision>>,
    resumed: Cell<bool>,
    outcome: Cell<Option<Outcome>>,
    first_byte: Cell<Option<Duration>>,
    bytes_out: Cell<u64>,
}

impl Record {
    /// Opens with the head.
    pub fn open(mcp: Rc<Mcp>, head: &Head, peer: Peer) -> Self {
        mcp.stats.borrow_mut().in_flight += 1;
        Self(Rc::new(Facts {
            mcp,
            opened: Instant::now(),
            remote: peer.remote.ip(),
            http: head.method,
            method: Cell::new(""),
            id: RefCell::default(),
            principal: RefCell::default(),
            endpoint: RefCell::default(),
            server: RefCell::default(),
            tool: RefCell::default(),
            revision: Cell::new(None),
            resumed: Cell::new(false),
            outcome: Cell::new(None),
            first_byte: Cell::new(None),
            bytes_out: Cell::new(0),
        }))
    }

    /// Who asks, and where.
    pub fn caller(&self, principal: &Arc<Principal>, scope: Scope, view: &View) {
        *self.0.principal.borrow_mut() = Some(principal.clone());
        if let Scope::Server(server) = scope {
            *self.0.endpoint.borrow_mut() = view.server(server).name.to_string();
        }
    }

    /// What is asked.
    pub fn message(&self, doc: &Bytes, message: &Message) {
        let asked = message.method(doc);
        let known = asked.map(|m| METHODS.iter().find(|k| **k == m).copied().unwrap_or("other"));
        self.0.method.set(known.unwrap_or("response"));
        if let Some(id) = message.id {
            *self.0.id.borrow_mut() = String::from_utf8_lossy(id.of(doc)).into_owned();
        }
        if message.shape() == Shape::Request && message.meta().is_some_and(|m| m.protocol_version.is_some()) {
            self.0.revision.set(Some(Revision::NEWEST));
        }
    }

    /// Which session's revision it belongs to.
    pub fn session(&self, revision: Revision) {
        self.0.revision.set(Some(revision));
    }

    /// Which server and tool it went to.
    pub fn target(&self, server: &str, tool: Option<&str>) {
        *self.0.server.borrow_mut() = server.to_owned();
        // Resource URIs and task ids are values, not names: they would make a series each.
        if matches!(self.0.method.get(), "tools/call" | "prompts/get") {
            *self.0.tool.borrow_mut() = tool.unwrap_or_default().to_owned();
        }
    }

    /// It goes on with a parked call.
    pub fn resumed(&self) {
        self.0.resumed.set(true);
    }

    /// How it ended, when that is known before the answer is sent.
    pub fn outcome(&self, outcome: Outcome) {
        self.0.outcome.set(Some(outcome));
    }

    /// Closes with the response's last byte.
    pub fn close_with(self, mut response: Response) -> Response {
        self.0.first_byte.set(Some(self.0.opened.elapsed()));
        match &mut response.body {
            Body::Empty => self.settle(Outcome::Ok),
            Body::Full(bytes) => {
                self.0.bytes_out.set(bytes.len() as u64);
                self.settle(outcome_of(bytes));
            }
            Body::Stream(stream) => {
                let inner = std::mem::replace(&mut stream.source, Box::new(Nothing));
                let length = stream.length;
                response.body = Body::Stream(BodyStream {
                    length,
                    source: Box::new(Recorded { inner, record: self }),
                });
            }
        }
        response
    }

    fn settle(&self, outcome: Outcome) {
        if self.0.outcome.get().is_none() {
            self.0.outcome.set(Some(outcome));
        }
    }
}

/// A tool's own failure, or a server's, inside a whole answer.
fn outcome_of(body: &[u8]) -> Outcome {
    if body.len() > LOOK_INTO_MAX {
        return Outcome::Ok;
    }
    match rpc::scan(body) {
        Ok(message) if message.shape() == Shape::Error => Outcome::RpcError,
        Ok(message) if message.is_error(body) => Outcome::ToolError,
        _ => Outcome::Ok,
    }
}

impl Drop for Facts {
    fn drop(&mut self) {
        let took = self.opened.elapsed();
        let outcome = self.outcome.get().unwrap_or(Outcome::ClientGone);
        let principal = self.principal.take();
        let tenant = principal
            .as_ref()
            .map(|p| p.tenant.to_string())
            .unwrap_or_default();
        let method = match (self.method.get(), self.http) {
            ("", Method::Get) => "GET",
            ("", Method::Delete) => "DELETE",
            ("", _) => "unread",
            (method, _) => method,
        };
        let (server, tool) = (self.server.take(), self.tool.take());
        if Lines::wanted() {
            self.mcp.shared.lines.put(Line {
                id: self.id.take(),
                method,
                principal,
                endpoint: self.endpoint.take(),
                server: server.clone(),
                tool: tool.clone(),
                revision: self.revision.get().map_or("", Revision::as_str),
                outcome,
                resumed: self.resumed.get(),
                remote: self.remote,
                bytes_out: self.bytes_out.get(),
                first_byte: self.first_byte.get().unwrap_or_default(),
                total: took,
            });
        }
        let series = Series {
            method,
            server,
            tool,
            tenant,
            status: outcome.label(),
        };
        let mut stats = self.mcp.stats.borrow_mut();
        stats.in_flight = stats.in_flight.saturating_sub(1);
        stats.finished(series, took);
    }
}

/// A streamed body with the record that its last byte closes.
struct Recorded {
    inner: Box<dyn Source>,
    record: Record,
}

impl Source for Recorded {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Bytes, Broken>>> {
        Box::pin(async {
            let piece = self.inner.next().await;
            match &piece {
                Some(Ok(bytes)) => {
                    let sent = &self.record.0.bytes_out;
                    sent.set(sent.get() + bytes.len() as u64);
                }
                Some(Err(Broken)) => self.record.settle(Outcome::Broken),
                None => self.record.settle(Outcome::Ok),
            }
            piece
        })
    }
}

/// Stands in for a source that has moved.
struct Nothing;

impl Source for Nothing {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Bytes, Broken>>> {
        Box::pin(async { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_its_own_outcome() {
        for (body, outcome) in [
            (
                &br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#[..],
                Outcome::Ok,
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":[]}}"#,
                Outcome::ToolError,
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"x"}}"#,
                Outcome::RpcError,
            ),
        ] {
            assert_eq!(outcome_of(body), outcome);
        }
    }
}
