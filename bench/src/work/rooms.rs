//! Work of `ringway-core`: each room of the pipeline alone, and all of them in a row, from the bytes of a head to
//! the message that would be sent on. The row has no socket and no runtime in it; the counts of the whole call do.

#![expect(
    clippy::expect_used,
    reason = "work that fails must not pass for work that was measured"
)]

use super::Work;
use crate::corpus::{
    self, Client,
    documents::{self, KEY_ALL, KEY_SEARCH, Speaks},
};
use bytes::{Bytes, BytesMut};
use ringway_core::{
    authenticate, authorize,
    catalogue::{self, Cache, List, View},
    envelope::{self, Envelope},
    interface,
    limits::Limits,
    origin,
    pipeline::{self, AuthorizedCall, Caller, Exchange},
    rejection::Rejection,
    resolve,
    seal::{SealKey, Sealer},
    search,
    session::SessionToken,
    snapshot::{Principal, Scope, Snapshot, ToolIndex},
};
use ringway_proto::{
    http::Headers,
    http1::{self, HeadLimits},
    revision::{Era, Revision},
    rpc,
    snapshot::Document,
};
use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

pub(super) const ALL: &[Work] = &[
    Work {
        name: "core.origin.check",
        rounds: 5_000,
        prepare: check_origin,
    },
    Work {
        name: "core.authenticate.key",
        rounds: 2_000,
        prepare: authenticate_key,
    },
    Work {
        name: "core.envelope.legacy",
        rounds: 5_000,
        prepare: || open_envelope(Era::Legacy),
    },
    Work {
        name: "core.envelope.modern",
        rounds: 5_000,
        prepare: || open_envelope(Era::Modern),
    },
    Work {
        name: "core.session.open",
        rounds: 2_000,
        prepare: open_session,
    },
    Work {
        name: "core.session.seal",
        rounds: 2_000,
        prepare: seal_session,
    },
    Work {
        name: "core.resolve.tool",
        rounds: 5_000,
        prepare: resolve_tools,
    },
    Work {
        name: "core.authorize.tool",
        rounds: 5_000,
        prepare: authorize_tools,
    },
    Work {
        name: "core.pipeline.legacy",
        rounds: 1_000,
        prepare: || whole(Era::Legacy),
    },
    Work {
        name: "core.pipeline.modern",
        rounds: 1_000,
        prepare: || whole(Era::Modern),
    },
    Work {
        name: "core.list.render_1k",
        rounds: 5,
        prepare: render_list,
    },
    Work {
        name: "core.list.cached_1k",
        rounds: 2_000,
        prepare: cached_list,
    },
    Work {
        name: "core.search.words_1k",
        rounds: 20,
        prepare: search_words,
    },
    Work {
        name: "core.search.call_27",
        rounds: 200,
        prepare: search_call,
    },
    Work {
        name: "core.snapshot.compile_1k",
        rounds: 1,
        prepare: || compile(fleet_document()),
    },
];

/// Some second after the keys were made.
const NOW_S: u64 = 1_795_000_000;

/// A snapshot of the small document, its keys, and a session.
pub struct Fixture {
    /// Compiled from [`documents::small`].
    pub snapshot: Snapshot,
    /// Seals sessions.
    pub sealer: Sealer,
    /// The principal of [`KEY_ALL`].
    pub principal: Arc<Principal>,
    /// A sealed session of that principal, with one leg.
    pub session: String,
}

impl Fixture {
    /// Compiles and seals.
    pub fn new() -> Self {
        let snapshot = compiled(&documents::small("http://127.0.0.1:9/mcp", Speaks::Both));
        let sealer = Sealer::new([SealKey {
            id: 1,
            bytes: [7; 32],
        }])
        .expect("a ring");
        let principal = principal(&snapshot, KEY_ALL);
        let session = token(&principal).seal(&sealer, &mut counting()).expect("sealed");
        Self {
            snapshot,
            sealer,
            principal,
            session,
        }
    }

    /// The head of a small call, read.
    pub fn headers(&self, client: Client) -> Headers {
        let mut head = BytesMut::from(&self.head(client)[..]);
        let read = http1::parse_request(&mut head, HeadLimits::default());
        read.expect("sound").expect("whole").headers
    }

    fn head(&self, client: Client) -> Vec<u8> {
        client.request(
            &documents::key_text(KEY_ALL),
            &self.session,
            corpus::CALL_LEGACY.len(),
        )
    }
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

/// The compiled form of a fleet.
pub fn fleet(servers: u32, tools_each: u32, roles: u32) -> Snapshot {
    compiled(&documents::fleet(servers, tools_each, roles))
}

/// A tenth of the fleet that the benchmarks compile: what grows with it grows evenly, and counting is slow.
fn fleet_document() -> Document {
    documents::fleet(20, 50, 100)
}

fn compiled(document: &Document) -> Snapshot {
    Snapshot::compile(document, &|_| Err("no secrets here".to_owned())).expect("compiles")
}

fn principal(snapshot: &Snapshot, key: u32) -> Arc<Principal> {
    let mut headers = Headers::default();
    headers.push("x-api-key", documents::key_text(key));
    authenticate::principal(snapshot, &headers, false, || NOW_S).expect("a principal")
}

fn token(principal: &Principal) -> SessionToken {
    let message = rpc::scan(corpus::INITIALIZE).expect("sound");
    let params = message.params.expect("parameters");
    let of = |span: Option<ringway_proto::json::Span>| span.map(|s| s.of(corpus::INITIALIZE));
    let mut token = SessionToken::new(
        principal,
        None,
        Revision::parse(b"2025-11-25").expect("a revision"),
        of(params.capabilities),
        of(params.client_info),
        NOW_S,
        &Limits::default(),
        &mut counting(),
    );
    token.set_leg("notes", Some("0b9f2d1c-9f5e-4a54-8d2c-2f6f2f0f2a11"));
    token
}

/// Bytes that differ each time and are the same in each run.
fn counting() -> impl FnMut(&mut [u8]) {
    let mut n = 0u8;
    move |out: &mut [u8]| {
        out.iter_mut().for_each(|byte| {
            n = n.wrapping_mul(5).wrapping_add(1);
            *byte = n;
        });
    }
}

fn client_of(era: Era) -> (Client, Bytes) {
    match era {
        Era::Legacy => (Client::NodeFetch, Bytes::from_static(corpus::CALL_LEGACY)),
        Era::Modern => (Client::PythonHttpx, Bytes::from_static(corpus::CALL_MODERN)),
    }
}

fn check_origin() -> Box<dyn FnMut()> {
    let fixture = Fixture::new();
    Box::new(move || {
        origin::check(
            &fixture.snapshot.gateway,
            true,
            black_box(b"127.0.0.1:8080"),
            None,
        )
        .expect("allowed");
    })
}

fn authenticate_key() -> Box<dyn FnMut()> {
    let snapshot = fleet(2, 2, 1_000);
    let shown: Vec<Headers> = (0..512)
        .map(|n| {
            let mut headers = Headers::default();
            headers.push("authorization", format!("Bearer {}", documents::key_text(n)));
            headers
        })
        .collect();
    let mut at = 0;
    Box::new(move || {
        at = (at + 1) % shown.len();
        black_box(authenticate::principal(&snapshot, &shown[at], false, || NOW_S).expect("known"));
    })
}

fn open_envelope(era: Era) -> Box<dyn FnMut()> {
    let (client, doc) = client_of(era);
    let headers = Fixture::new().headers(client);
    let message = rpc::scan(&doc).expect("sound");
    Box::new(move || {
        let opened = envelope::open(black_box(&headers), &doc, &message).expect("agrees");
        assert_eq!(matches!(opened, Envelope::Modern(_)), era == Era::Modern);
    })
}

fn open_session() -> Box<dyn FnMut()> {
    let f = Fixture::new();
    Box::new(move || {
        let text = black_box(f.session.as_bytes());
        black_box(SessionToken::open(&f.sealer, text, &f.principal, None, NOW_S).expect("ours"));
    })
}

fn seal_session() -> Box<dyn FnMut()> {
    let f = Fixture::new();
    let token = token(&f.principal);
    let mut entropy = counting();
    Box::new(move || {
        black_box(black_box(&token).seal(&f.sealer, &mut entropy).expect("sealed"));
    })
}

fn resolve_tools() -> Box<dyn FnMut()> {
    let snapshot = compiled(&fleet_document());
    let names: Vec<Box<str>> = snapshot.tools.iter().map(|t| t.exposed.clone()).collect();
    let mut at = 0;
    Box::new(move || {
        at = (at + 1) % names.len();
        black_box(resolve::tool(&snapshot, Scope::Merged, black_box(&names[at])).expect("known"));
    })
}

fn authorize_tools() -> Box<dyn FnMut()> {
    let snapshot = compiled(&fleet_document());
    let principal = principal(&snapshot, 0);
    let count = snapshot.tools.len() as u32;
    let mut at = 0;
    Box::new(move || {
        at = (at + 1) % count;
        let permit = authorize::tool(&snapshot, &principal, Scope::Merged, black_box(ToolIndex(at)));
        black_box(permit.expect("allowed"));
    })
}

/// Everything that is decided about a small call.
fn whole(era: Era) -> Box<dyn FnMut()> {
    let f = Fixture::new();
    let (client, doc) = client_of(era);
    let head = f.head(client);
    Box::new(move || {
        let mut buffer = BytesMut::from(&black_box(&head)[..]);
        let head = http1::parse_request(&mut buffer, HeadLimits::default());
        let head = head.expect("sound").expect("whole");
        let origin = head.headers.get("origin");
        origin::check(&f.snapshot.gateway, true, &head.authority, origin).expect("allowed");
        let principal = authenticate::principal(&f.snapshot, &head.headers, true, || NOW_S).expect("known");
        let message = rpc::scan(&doc).expect("sound");
        if let Envelope::Session(_) = envelope::open(&head.headers, &doc, &message).expect("agrees") {
            let text = head.headers.get("mcp-session-id").expect("a session");
            black_box(SessionToken::open(&f.sealer, text, &principal, None, NOW_S).expect("ours"));
        }
        let caller = Caller {
            snapshot: &f.snapshot,
            principal: &principal,
            scope: Scope::Merged,
            era,
            headers: &head.headers,
        };
        black_box(now(pipeline::tools_call(&Taken, caller, &doc, &message)).expect("forwarded"));
    })
}

/// An outside that takes what it is given.
struct Taken;

impl Exchange for Taken {
    type Answer = Bytes;

    async fn forward(&self, call: AuthorizedCall) -> Result<Bytes, Rejection> {
        Ok(call.into_parts().0)
    }

    fn answer(&self, message: Vec<u8>) -> Bytes {
        message.into()
    }
}

/// Runs a future that waits for nothing.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("an outside that takes at once never waits"),
    }
}

fn view<'a>(snapshot: &'a Snapshot, principal: &'a Principal) -> View<'a> {
    View {
        snapshot,
        principal,
        scope: Scope::Merged,
        era: Era::Legacy,
    }
}

/// A fleet whose callers are shown lists, however long.
fn listing_fleet() -> Snapshot {
    let mut document = fleet_document();
    document.gateway.interface = ringway_proto::snapshot::Interface::List;
    compiled(&document)
}

fn render_list() -> Box<dyn FnMut()> {
    let snapshot = listing_fleet();
    let principal = principal(&snapshot, 0);
    let limits = Limits::default();
    Box::new(move || {
        let page = catalogue::list(view(&snapshot, &principal), List::Tools, None, &limits);
        black_box(page.expect("a page"));
    })
}

fn cached_list() -> Box<dyn FnMut()> {
    let snapshot = listing_fleet();
    let principal = principal(&snapshot, 0);
    let limits = Limits::default();
    let mut cache = Cache::new();
    Box::new(move || {
        let page = cache.list(view(&snapshot, &principal), List::Tools, None, &limits);
        black_box(page.expect("a page"));
    })
}

fn search_words() -> Box<dyn FnMut()> {
    let snapshot = compiled(&fleet_document());
    let principal = principal(&snapshot, 0);
    let mut queries = [
        "create an issue",
        "export report of customer",
        "approve budget",
        "meeting",
    ]
    .into_iter()
    .cycle();
    Box::new(move || {
        let query = queries.next().expect("endless");
        let hits = search::search(&snapshot, snapshot.permits(&principal), black_box(query), 8);
        assert!(!black_box(hits).is_empty());
    })
}

fn search_call() -> Box<dyn FnMut()> {
    let f = Fixture::new();
    let principal = principal(&f.snapshot, KEY_SEARCH);
    let message = rpc::scan(corpus::CALL_SEARCH).expect("sound");
    Box::new(move || {
        let permits = f.snapshot.permits(&principal);
        black_box(interface::search(&f.snapshot, permits, corpus::CALL_SEARCH, &message).expect("found"));
    })
}

fn compile(document: Document) -> Box<dyn FnMut()> {
    Box::new(move || {
        black_box(compiled(black_box(&document)));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::documents::KEY_SOME;

    /// What is measured must be what it is called: the roles of the corpus bite.
    #[test]
    fn the_second_key_may_call_some_tools_only() {
        let f = Fixture::new();
        let some = principal(&f.snapshot, KEY_SOME);
        let count = |p: &Principal| f.snapshot.permits(p).tools_count();
        assert_eq!((count(&f.principal), count(&some)), (27, 15));
    }
}
