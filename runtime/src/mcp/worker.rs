//! One worker's MCP service: from an HTTP head to the handler of its era.
//!
//! [`Mcp::admit`] is everything that can be judged without the body, cheapest first: path, `Host` and `Origin`,
//! HTTP method, who is calling, which endpoint. [`Mcp::respond`] then has the whole body, opens the envelope and
//! hands over to `modern` or `legacy`. Every way out goes through one record.

use super::{
    access::Sheet,
    calls::Calls,
    legacy, modern,
    party::{Notes, Slow},
    record::{Outcome, Record},
    reply::{self, Reply},
    shared::{Shared, now_s},
    stats::{Stats, Upstream},
    view::View,
};
use crate::{
    http::{Admitted, Body, BodyFault, Head, HeadFault, Peer, Response, Service},
    upstream::Pools,
};
use bytes::Bytes;
use ringway_core::{
    authenticate, authorize,
    envelope::{self, Envelope},
    origin,
    pipeline::Caller,
    rejection::Rejection,
    snapshot::{Principal, Scope},
};
use ringway_proto::{
    http::{
        Headers, Method,
        accept::{self, Accepted},
        names,
    },
    revision::Era,
    rpc::{self, ScanFault},
};
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// One worker's service and state.
pub struct Mcp {
    /// Which worker.
    pub number: usize,
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Connections to servers.
    pub pools: Rc<Pools>,
    /// Calls that can be reached.
    pub calls: Rc<Calls>,
    /// What is known of parties.
    pub notes: Notes,
    /// Servers not to wait for.
    pub slow: Slow,
    /// Access lines of this worker.
    pub sheet: Sheet,
    /// Counters and histograms.
    pub stats: RefCell<Stats>,
    /// Told when a new snapshot is live.
    pub published: tokio::sync::watch::Sender<u64>,
    /// True once a drain has begun.
    pub draining: tokio::sync::watch::Sender<bool>,
    view: RefCell<Rc<View>>,
}

/// What `admit` learnt.
pub struct Call {
    /// The request's head.
    pub head: Head,
    /// The snapshot this call sees.
    pub view: Rc<View>,
    /// Who calls.
    pub principal: Arc<Principal>,
    /// Which endpoint.
    pub scope: Scope,
    /// Counts, times and tells.
    pub record: Record,
}

impl Call {
    /// As the pipeline wants to know it.
    pub fn caller(&self, era: Era) -> Caller<'_> {
        Caller {
            snapshot: &self.view.live.snapshot,
            principal: &self.principal,
            scope: self.scope,
            era,
            headers: &self.head.headers,
        }
    }
}

/// A refusal on its way out: with the id of the request it answers, where one is known.
pub struct Refusal {
    /// Why.
    pub rejection: Rejection,
    /// Raw JSON id.
    pub id: Option<Bytes>,
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, id: None }
    }
}

impl Mcp {
    /// A worker's service. Must be made on the worker's thread.
    pub fn new(number: usize, shared: Arc<Shared>, pools: Rc<Pools>) -> Rc<Self> {
        let live = shared.live.load_full();
        let published = tokio::sync::watch::Sender::new(live.snapshot.number);
        let view = Rc::new(View::new(live, shared.retired.clone()));
        Rc::new(Self {
            number,
            sheet: Sheet::new(shared.lines.clone()),
            shared,
            pools,
            calls: Rc::default(),
            notes: Notes::default(),
            slow: Slow::default(),
            stats: RefCell::default(),
            published,
            draining: tokio::sync::watch::Sender::new(false),
            view: RefCell::new(view),
        })
    }

    /// The present view; the caller keeps it for as long as its call lasts.
    pub fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    /// Takes up the live snapshot; called when a letter says that there is a new one.
    pub fn refresh(&self) {
        let live = self.shared.live.load_full();
        let number = live.snapshot.number;
        let stale = !Arc::ptr_eq(&self.view.borrow().live, &live);
        if stale {
            self.pools
                .retain(|endpoint| live.endpoints().iter().any(|e| **e == *endpoint));
            *self.view.borrow_mut() = Rc::new(View::new(live, self.shared.retired.clone()));
            self.published.send_replace(number);
        }
    }

    /// This worker's numbers, with those of its connections to the servers of the present snapshot.
    pub fn numbers(&self) -> Stats {
        let mut stats = self.stats.borrow().clone();
        let view = self.view();
        for pool in self.pools.stats() {
            let named = view.live.endpoints().iter().zip(&view.live.snapshot.servers);
            let Some((_, server)) = named
                .into_iter()
                .find(|(endpoint, _)| ***endpoint == *pool.endpoint)
            else {
                continue;
            };
            stats
                .upstream
                .entry(server.name.to_string())
                .or_default()
                .add(&Upstream {
                    open: pool.open as u64,
                    idle: pool.idle as u64,
                    waiting: pool.waiting as u64,
                    dialled: pool.dialled,
                    reused: pool.reused,
                    retried: pool.retried,
                });
        }
        stats
    }

    fn judge(&self, head: &Head, peer: Peer, view: &View) -> Result<(Arc<Principal>, Scope), Rejection> {
        let snapshot = &view.live.snapshot;
        let path = Endpoint::of(head.path()).ok_or(Rejection::PathUnknown)?;
        let loopback = peer.local.ip().is_loopback();
        let origin = head
            .headers
            .get_one(names::ORIGIN)
            .map_err(|_| Rejection::OriginNotAllowed)?;
        origin::check(&snapshot.gateway, loopback, &head.authority, origin)?;
        if !matches!(head.method, Method::Get | Method::Post | Method::Delete) {
            return Err(Rejection::MethodNotAllowed("GET, POST, DELETE, OPTIONS"));
        }
        let principal = authenticate::principal(snapshot, &head.headers, loopback, now_s)?;
        let scope = match path {
            Endpoint::Merged => Scope::Merged,
            Endpoint::Server(name) => Scope::Server(authorize::server(snapshot, &principal, name)?.server()),
        };
        match head.method {
            Method::Post => post_headers(&head.headers)?,
            Method::Get => get_headers(&head.headers)?,
            _ => {}
        }
        Ok((principal, scope))
    }

    async fn answer(self: &Rc<Self>, call: &Call, body: Result<Bytes, BodyFault>) -> Result<Reply, Refusal> {
        let doc = body.map_err(|fault| match fault {
            BodyFault::TooLarge => Rejection::BodyTooLarge(self.shared.limits.body_bytes_max),
            BodyFault::Slow => Rejection::BodySlow,
            BodyFault::Malformed => Rejection::BodyMalformed,
        })?;
        match call.head.method {
            Method::Get => return legacy::get(self, call).await.map_err(Refusal::from),
            Method::Delete => return legacy::delete(self, call).await.map_err(Refusal::from),
            _ => {}
        }
        let message = match rpc::scan(&doc) {
            Ok(message) => message,
            Err(ScanFault::Batch) => return legacy::batch(self, call, &doc).await.map_err(Refusal::from),
            Err(fault) => return Err(scan_rejection(&fault).into()),
        };
        let id = message.id.map(|id| doc.slice(id.range()));
        call.record.message(&doc, &message);
        let answered = match envelope::open(&call.head.headers, &doc, &message) {
            Err(rejection) => Err(rejection),
            Ok(Envelope::Modern(_)) => modern::answer(self, call, &doc, &message).await,
            Ok(Envelope::Initialize) => legacy::initialize(self, call, &doc, &message).await,
            Ok(Envelope::Session(stated)) => legacy::answer(self, call, stated, &doc, &message).await,
        };
        answered.map_err(|rejection| Refusal { rejection, id })
    }

    fn refuse(&self, refusal: &Refusal, record: &Record) -> Response {
        record.outcome(Outcome::Rejected(
            refusal.rejection.reason(),
            refusal.rejection.fault(),
        ));
        refusal_response(&refusal.rejection, refusal.id.as_deref())
    }
}

impl Service for Mcp {
    type Call = Call;

    fn admit(self: &Rc<Self>, head: Head, peer: Peer) -> Result<Admitted<Call>, Response> {
        let view = self.view();
        let record = Record::open(self.clone(), &head, peer);
        if head.method == Method::Options {
            record.outcome(Outcome::Preflight);
            return Err(preflight(&view, &head, peer));
        }
        match self.judge(&head, peer, &view) {
            Ok((principal, scope)) => {
                record.caller(&principal, scope, &view);
                let body_bytes_max = self.shared.limits.body_bytes_max;
                Ok(Admitted {
                    body_bytes_max,
                    call: Call {
                        head,
                        view,
                        principal,
                        scope,
                        record,
                    },
                })
            }
            Err(rejection) => {
                let response = self.refuse(&rejection.into(), &record);
                Err(with_cors(response, &view, &head, peer))
            }
        }
    }

    fn respond(
        self: &Rc<Self>,
        call: Call,
        body: Result<Bytes, BodyFault>,
    ) -> impl Future<Output = Response> + 'static {
        let mcp = self.clone();
        async move {
            let response = match mcp.answer(&call, body).await {
                Ok(reply) => reply.into_response(),
                Err(refusal) => mcp.refuse(&refusal, &call.record),
            };
            let Call { head, record, .. } = call;
            record.close_with(allow_origin(response, &head))
        }
    }

    fn malformed(self: &Rc<Self>, fault: HeadFault, peer: Peer) -> Response {
        let rejection = match fault {
            HeadFault::Malformed => Rejection::HeadMalformed,
            HeadFault::TooLarge => Rejection::HeadTooLarge,
            HeadFault::Slow => Rejection::HeadSlow,
        };
        tracing::debug!(reason = rejection.reason(), remote = %peer.remote, "a request head was refused");
        self.stats.borrow_mut().refused_head(&rejection);
        refusal_response(&rejection, None)
    }

    fn ended(self: &Rc<Self>) {
        self.sheet.flush();
    }
}

/// The MCP paths.
enum Endpoint<'p> {
    Merged,
    Server(&'p str),
}

impl<'p> Endpoint<'p> {
    fn of(path: &'p [u8]) -> Option<Self> {
        if path == b"/mcp" || path == b"/mcp/" {
            return Some(Self::Merged);
        }
        let name = path.strip_prefix(b"/servers/")?.strip_suffix(b"/mcp")?;
        std::str::from_utf8(name)
            .ok()
            .filter(|n| !n.is_empty() && !n.contains('/'))
            .map(Self::Server)
    }
}

/// A POST says JSON and takes JSON and events (every revision, "Sending Messages").
fn post_headers(headers: &Headers) -> Result<(), Rejection> {
    let kind = headers
        .get_one(names::CONTENT_TYPE)
        .map_err(|_| Rejection::UnsupportedMediaType)?;
    if !kind.is_some_and(accept::is_json) {
        return Err(Rejection::UnsupportedMediaType);
    }
    match accept::accepted(headers) {
        Accepted {
            json: true,
            events: true,
        } => Ok(()),
        _ => Err(Rejection::NotAcceptable("application/json and text/event-stream")),
    }
}

fn get_headers(headers: &Headers) -> Result<(), Rejection> {
    if accept::accepted(headers).events {
        Ok(())
    } else {
        Err(Rejection::NotAcceptable("text/event-stream"))
    }
}

fn scan_rejection(fault: &ScanFault) -> Rejection {
    match fault {
        ScanFault::Json(fault) => Rejection::JsonMalformed(fault.to_string().into()),
        other => Rejection::EnvelopeInvalid(other.to_string().into()),
    }
}

fn refusal_response(rejection: &Rejection, id: Option<&[u8]>) -> Response {
    let mut response = reply::json(rejection.http_status(), rejection.render(id));
    if let Some(value) = rejection.www_authenticate() {
        response.headers.push("www-authenticate", value);
    }
    if let Some(value) = rejection.allow() {
        response.headers.push("allow", value);
    }
    if let Some(seconds) = rejection.retry_after_s() {
        response.headers.push("retry-after", seconds.to_string());
    }
    response
}

/// What a browser may send and read (Fetch, "CORS protocol"); origins were judged by then.
const CORS_METHODS: &str = "GET, POST, DELETE";
const CORS_REQUEST_HEADERS: &str = "authorization, content-type, accept, x-api-key, mcp-protocol-version, \
    mcp-session-id, mcp-method, mcp-name, last-event-id";
const CORS_RESPONSE_HEADERS: &str = "mcp-session-id, mcp-protocol-version, www-authenticate, retry-after";

fn preflight(view: &View, head: &Head, peer: Peer) -> Response {
    let loopback = peer.local.ip().is_loopback();
    let origin = head.headers.get(names::ORIGIN);
    let judged = origin::check(&view.live.snapshot.gateway, loopback, &head.authority, origin);
    if let Err(rejection) = judged {
        return refusal_response(&rejection, None);
    }
    let mut headers = Headers::with_capacity(6);
    headers.push("access-control-allow-methods", CORS_METHODS);
    // Names of `Mcp-Param-*` are the tools' own, so the ones asked for are granted after the fixed ones.
    let asked = head.headers.get("access-control-request-headers");
    let params = asked.map(mcp_params).unwrap_or_default();
    headers.push(
        "access-control-allow-headers",
        format!("{CORS_REQUEST_HEADERS}{params}"),
    );
    headers.push("access-control-max-age", "600");
    allow_origin(
        Response {
            status: 204,
            headers,
            body: Body::Empty,
        },
        head,
    )
}

fn mcp_params(asked: &[u8]) -> String {
    let names = asked
        .split(|b| *b == b',')
        .map(|n| n.trim_ascii().to_ascii_lowercase());
    let params = names.filter(|n| {
        n.starts_with(b"mcp-param-") && n.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    });
    params
        .map(|n| format!(", {}", String::from_utf8_lossy(&n)))
        .collect()
}

/// CORS on a refusal whose origin may not have been judged yet.
fn with_cors(response: Response, view: &View, head: &Head, peer: Peer) -> Response {
    let loopback = peer.local.ip().is_loopback();
    let origin = head.headers.get(names::ORIGIN);
    match origin::check(&view.live.snapshot.gateway, loopback, &head.authority, origin) {
        Ok(()) => allow_origin(response, head),
        Err(_) => response,
    }
}

fn allow_origin(mut response: Response, head: &Head) -> Response {
    if let Some(origin) = head.headers.get(names::ORIGIN) {
        response.headers.push("access-control-allow-origin", origin);
        response
            .headers
            .push("access-control-expose-headers", CORS_RESPONSE_HEADERS);
        response.headers.push("vary", "origin");
    }
    response
}
