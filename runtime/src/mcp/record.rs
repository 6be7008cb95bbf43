//! The record of one request: what it was, who asked, how it ended, how long it took.
//!
//! A record is opened with the head and closed with the last byte of the answer, or when the client is gone. It
//! gives one access line and counts once. It never decides anything.
//!
//! It must cost next to nothing, so it is one allocation that keeps no copies: names are places in the snapshot
//! that the call sees, and become text when the record closes.

use super::{access::Line, stats::Series, view::View, worker::Mcp};
use crate::http::{Body, Broken, Head, LocalFuture, Peer, Response, Source};
use bytes::Bytes;
use ringway_core::{
    limits::ID_BYTES_MAX,
    snapshot::{Principal, Scope, ServerIndex, ToolIndex},
};
use ringway_proto::{
    http::Method,
    revision::Revision,
    rpc::{Message, Shape},
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

pub use super::outcome::Outcome;

/// Methods with a label of their own, the one that matters first; all else is `other`, because clients choose the
/// text.
const METHODS: [&str; 26] = [
    "tools/call",
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
    "tools/list",
];

/// Names that are in no catalogue are kept up to this length; the clients that may send them choose them.
const NAME_BYTES_MAX: usize = 256;

/// One request's record. It goes with the call, then with the body that outlives it.
pub struct Record(Box<Facts>);

struct Facts {
    mcp: Rc<Mcp>,
    opened: Instant,
    /// When the answer was given; the end, too, when it was given whole.
    answered: Option<Instant>,
    /// The answer's body comes piece by piece, and ends with the record.
    streams: bool,
    remote: std::net::IpAddr,
    http: Method,
    resumed: Cell<bool>,
    revision: Cell<Option<Revision>>,
    method: Cell<&'static str>,
    id: RefCell<Id>,
    principal: OnceCell<Arc<Principal>>,
    view: OnceCell<Rc<View>>,
    endpoint: Cell<Option<ServerIndex>>,
    server: Cell<Option<ServerIndex>>,
    tool: Cell<Option<ToolIndex>>,
    /// The target's name, when it is no tool of the catalogue.
    name: RefCell<Option<Box<str>>>,
    /// In place of the view, for answers of unknown length.
    names: Option<Box<Names>>,
    outcome: Cell<Option<Outcome>>,
    bytes_out: Cell<u64>,
}

impl Record {
    /// Opens with the head.
    pub fn open(mcp: Rc<Mcp>, head: &Head, peer: Peer) -> Self {
        mcp.stats.borrow_mut().in_flight += 1;
        Self(Box::new(Facts {
            mcp,
            opened: Instant::now(),
            answered: None,
            streams: false,
            remote: peer.remote.ip(),
            http: head.method,
            resumed: Cell::new(false),
            revision: Cell::new(None),
            method: Cell::new(""),
            id: RefCell::new(Id::None),
            principal: OnceCell::new(),
            view: OnceCell::new(),
            endpoint: Cell::new(None),
            server: Cell::new(None),
            tool: Cell::new(None),
            name: RefCell::new(None),
            names: None,
            outcome: Cell::new(None),
            bytes_out: Cell::new(0),
        }))
    }

    /// Who asks, and where. Said once.
    pub fn caller(&self, principal: &Arc<Principal>, scope: Scope, view: &Rc<View>) {
        _ = self.0.principal.set(principal.clone());
        _ = self.0.view.set(view.clone());
        if let Scope::Server(server) = scope {
            self.0.endpoint.set(Some(server));
        }
    }

    /// What is asked.
    pub fn message(&self, doc: &Bytes, message: &Message) {
        self.0.method.set(match message.method {
            Some(asked) => label(asked.of(doc)),
            None => "response",
        });
        if let Some(id) = message.id
            && self.0.mcp.sheet.wanted()
        {
            *self.0.id.borrow_mut() = Id::of(id.of(doc));
        }
        if message.shape() == Shape::Request && message.meta().is_some_and(|m| m.protocol_version.is_some()) {
            self.0.revision.set(Some(Revision::NEWEST));
        }
    }

    /// Which session's revision it belongs to.
    pub fn session(&self, revision: Revision) {
        self.0.revision.set(Some(revision));
    }

    /// Which server it went to, and which tool or prompt under its server's name.
    pub fn target(&self, server: ServerIndex, tool: Option<ToolIndex>, name: Option<&str>) {
        self.0.server.set(Some(server));
        // Resource URIs and task ids are values, not names: they would make a series each.
        if matches!(self.0.method.get(), "tools/call" | "prompts/get") {
            self.0.tool.set(tool);
            let name = name.filter(|_| tool.is_none());
            *self.0.name.borrow_mut() = name.map(|n| n[..n.floor_char_boundary(NAME_BYTES_MAX)].into());
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
    pub fn close_with(mut self, mut response: Response) -> Response {
        self.0.answered = Some(Instant::now());
        match &mut response.body {
            Body::Empty => self.settle(|| Outcome::Ok),
            Body::Full(bytes) => {
                self.0.bytes_out.set(bytes.len() as u64);
                self.settle(|| Outcome::of(bytes));
            }
            Body::Stream(stream) => {
                self.0.streams = true;
                if stream.length.is_none() {
                    self.0.let_go_of_the_snapshot();
                }
                let inner = std::mem::replace(&mut stream.source, Box::new(Nothing));
                stream.source = Box::new(Recorded { inner, record: self });
            }
        }
        response
    }

    fn settle(&self, outcome: impl FnOnce() -> Outcome) {
        if self.0.outcome.get().is_none() {
            self.0.outcome.set(Some(outcome()));
        }
    }
}

/// A method's label.
fn label(method: &[u8]) -> &'static str {
    let known = METHODS.iter().find(|known| known.as_bytes() == method);
    known.copied().unwrap_or("other")
}

/// A request's id as it was written. Most are integers or UUIDs of few bytes and are copied in place: a slice of the
/// document would keep all of it for as long as an answer streams.
enum Id {
    None,
    Short(u8, [u8; ID_SHORT]),
    Long(Box<str>),
}

/// Room for any 64-bit integer, and what makes an [`Id`] four words.
const ID_SHORT: usize = 30;

impl Id {
    fn of(raw: &[u8]) -> Self {
        let mut short = [0; ID_SHORT];
        if let Some(place) = short.get_mut(..raw.len()) {
            place.copy_from_slice(raw);
            return Self::Short(raw.len() as u8, short);
        }
        let raw = &raw[..raw.len().min(ID_BYTES_MAX)];
        Self::Long(String::from_utf8_lossy(raw).into())
    }

    fn as_str(&self) -> &str {
        match self {
            Self::None => "",
            // It was read as JSON, so it is UTF-8.
            Self::Short(length, bytes) => {
                std::str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default()
            }
            Self::Long(text) => text,
        }
    }
}

/// Copies of a record's names.
struct Names {
    endpoint: Box<str>,
    server: Box<str>,
    tool: Box<str>,
}

impl Facts {
    /// Endpoint, server and tool as text.
    fn names<'a>(&'a self, name: &'a Option<Box<str>>) -> [&'a str; 3] {
        if let Some(names) = &self.names {
            return [&names.endpoint, &names.server, &names.tool];
        }
        let Some(view) = self.view.get() else {
            return [""; 3];
        };
        let server = |at: Option<ServerIndex>| at.map_or("", |at| &view.server(at).name);
        let tool = self.tool.get().map(|at| &*view.live.snapshot.tools[at.at()].name);
        [
            server(self.endpoint.get()),
            server(self.server.get()),
            tool.or(name.as_deref()).unwrap_or_default(),
        ]
    }

    /// Copies the names: a stream can live for days, and must not keep a snapshot that was replaced since.
    fn let_go_of_the_snapshot(&mut self) {
        let name = self.name.take();
        let [endpoint, server, tool] = self.names(&name).map(Box::from);
        self.names = Some(Box::new(Names {
            endpoint,
            server,
            tool,
        }));
        self.view.take();
    }
}

impl Drop for Facts {
    fn drop(&mut self) {
        let whole = self.answered.filter(|_| !self.streams);
        let closed = whole.unwrap_or_else(Instant::now);
        let total = closed - self.opened;
        let outcome = self.outcome.get().unwrap_or(Outcome::ClientGone).label();
        let method = match (self.method.get(), self.http) {
            ("", Method::Get) => "GET",
            ("", Method::Delete) => "DELETE",
            ("", _) => "unread",
            (method, _) => method,
        };
        let (credential, tenant) = match self.principal.get() {
            Some(principal) => (&*principal.credential, &*principal.tenant),
            None => ("", ""),
        };
        let name = self.name.take();
        let [endpoint, server, tool] = self.names(&name);
        if self.mcp.sheet.wanted() {
            self.mcp.sheet.put(&Line {
                at: closed,
                id: self.id.borrow().as_str(),
                method,
                credential,
                tenant,
                endpoint,
                server,
                tool,
                revision: self.revision.get().map_or("", Revision::as_str),
                outcome,
                resumed: self.resumed.get(),
                remote: self.remote,
                bytes_out: self.bytes_out.get(),
                first_byte: match self.answered {
                    Some(answered) if self.streams => answered - self.opened,
                    Some(_) => total,
                    None => Duration::ZERO,
                },
                total,
            });
        }
        let mut stats = self.mcp.stats.borrow_mut();
        stats.in_flight = stats.in_flight.saturating_sub(1);
        let series = Series {
            method,
            server,
            tool,
            tenant,
            status: outcome,
        };
        stats.finished(series, total);
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
                Some(Err(Broken)) => self.record.settle(|| Outcome::Broken),
                None => self.record.settle(|| Outcome::Ok),
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
#[path = "record_tests.rs"]
mod tests;
