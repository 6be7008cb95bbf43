//! Records as calls use them: what is counted, what is kept, and for how long.

use super::*;
use crate::{
    http::BodyStream,
    log::Format,
    mcp::{
        access::Lines,
        shared::{EndedSessions, Shared},
        view::Live,
    },
    side::{SideThread, dns::Resolver},
    upstream::Pools,
};
use arc_swap::ArcSwap;
use ringway_core::{
    limits::{DnsLimits, Limits, UpstreamLimits},
    seal::{SealKey, Sealer},
};
use ringway_proto::{http::Headers, rpc};
use serde_json::json;
use std::collections::VecDeque;

const CALL: &str = r#"{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":"up__echo"}}"#;

/// A worker's service on a snapshot with one server and one tool.
fn mcp() -> Rc<Mcp> {
    let document = serde_json::from_value(json!({
        "format": 1, "number": 1,
        "gateway": {"interface": "auto", "interface_threshold": 30, "allowed_origins": [], "allowed_hosts": []},
        "servers": [{
            "name": "up", "url": "http://127.0.0.1:9/mcp", "http": "auto",
            "timeouts": {"connect_ms": 1, "header_ms": 1, "idle_ms": 1, "total_ms": 1},
            "catalogue": {
                "modern": true, "capabilities": {"tools": {}}, "resources": [], "resource_templates": [],
                "tools": [{"name": "echo", "inputSchema": {"type": "object"}}], "prompts": []
            }
        }],
        "roles": [{"name": "all", "allow": ["*"]}],
        "keys": [{"id": "ci", "hash": format!("sha256:{}", "0".repeat(64)), "tenant": "acme", "roles": ["all"]}]
    }))
    .unwrap();
    let side = SideThread::start("record-test").unwrap();
    let resolver = Resolver::start(&side.handle(), DnsLimits::default());
    let (lines, _) = Lines::start(Some(Format::Json)).unwrap();
    let shared = Shared {
        retired: crate::mcp::aside::Retired::start().expect("a thread"),
        live: Arc::new(ArcSwap::from_pointee(Live::compile(&document, None).unwrap())),
        sealer: Sealer::new(vec![SealKey {
            id: 1,
            bytes: [7; 32],
        }])
        .unwrap(),
        limits: Limits::default(),
        replica: 1,
        ended: EndedSessions::default(),
        draining: false.into(),
        lines,
        boxes: Vec::new(),
    };
    Mcp::new(
        0,
        Arc::new(shared),
        Pools::new(resolver, UpstreamLimits::default()),
    )
}

fn opened(mcp: &Rc<Mcp>) -> Record {
    let head = Head {
        method: Method::Post,
        target: Bytes::from_static(b"/mcp"),
        authority: Bytes::from_static(b"here"),
        headers: Headers::default(),
    };
    let at = "127.0.0.1:1".parse().unwrap();
    let peer = Peer {
        remote: at,
        local: at,
        tls: false,
    };
    Record::open(mcp.clone(), &head, peer)
}

/// A record of a call that has been sent to its server.
fn sent(mcp: &Rc<Mcp>, name: &str) -> Record {
    let (record, view) = (opened(mcp), mcp.view());
    let snapshot = &view.live.snapshot;
    let principal = snapshot.principal_of("ci", 0).unwrap();
    record.caller(principal, Scope::Merged, &view);
    let doc = Bytes::from_static(CALL.as_bytes());
    record.message(&doc, &rpc::scan(&doc).unwrap());
    let server = snapshot.server("up").unwrap();
    record.target(server, snapshot.tool_of(server, name.as_bytes()), Some(name));
    record
}

fn answer(body: Body) -> Response {
    Response {
        status: 200,
        headers: Headers::default(),
        body,
    }
}

/// All series so far, as text.
fn counted(mcp: &Mcp) -> Vec<String> {
    let stats = mcp.stats.borrow();
    let series = stats.series().map(|(s, latency)| {
        let [method, status] = [s.method, s.status];
        format!(
            "{method} {} {} {} {status} {}",
            s.server, s.tool, s.tenant, latency.count
        )
    });
    let mut series: Vec<_> = series.collect();
    series.sort();
    series
}

#[test]
fn a_whole_answer_closes_its_record() {
    let mcp = mcp();
    for body in [
        r#"{"jsonrpc":"2.0","id":"a-1","result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":"a-1","result":{"content":[],"isError":true}}"#,
        r#"{"jsonrpc":"2.0","id":"a-1","result":{"content":[]}}"#,
    ] {
        let record = sent(&mcp, "echo");
        assert_eq!(mcp.stats.borrow().in_flight, 1);
        record.close_with(answer(Body::Full(body.into())));
        assert_eq!(mcp.stats.borrow().in_flight, 0);
    }
    assert_eq!(
        counted(&mcp),
        [
            "tools/call up echo acme ok 2",
            "tools/call up echo acme tool_error 1"
        ]
    );
}

#[test]
fn a_call_that_nobody_waits_for_is_counted_as_such() {
    let mcp = mcp();
    drop(opened(&mcp));
    drop(sent(&mcp, "echo"));
    assert_eq!(
        counted(&mcp),
        ["tools/call up echo acme client_gone 1", "unread    client_gone 1"]
    );
}

#[test]
fn names_of_no_catalogue_are_kept_up_to_their_bound() {
    let mcp = mcp();
    let long = "ä".repeat(NAME_BYTES_MAX);
    for name in ["unlisted", &long] {
        sent(&mcp, name).close_with(answer(Body::Empty));
    }
    let cut = "ä".repeat(NAME_BYTES_MAX / 2);
    assert_eq!(
        counted(&mcp),
        [
            "tools/call up unlisted acme ok 1".to_owned(),
            format!("tools/call up {cut} acme ok 1")
        ]
    );
}

#[test]
fn ids_are_kept_as_written_up_to_their_bound() {
    for id in [
        "",
        "7",
        "\"a-1\"",
        &"9".repeat(ID_SHORT),
        &"9".repeat(ID_SHORT + 1),
    ] {
        assert_eq!(Id::of(id.as_bytes()).as_str(), id);
    }
    assert_eq!(Id::of(&[b'9'; 10_000]).as_str().len(), ID_BYTES_MAX);
}

/// A body of these pieces.
struct Pieces(VecDeque<Result<Bytes, Broken>>);

impl Source for Pieces {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Bytes, Broken>>> {
        let piece = self.0.pop_front();
        Box::pin(async { piece })
    }
}

fn stream(pieces: impl IntoIterator<Item = Result<Bytes, Broken>>) -> Body {
    Body::Stream(BodyStream {
        length: None,
        source: Box::new(Pieces(pieces.into_iter().collect())),
    })
}

fn read_out(response: Response) {
    let Body::Stream(mut stream) = response.body else {
        panic!("it was a stream");
    };
    let reading = async { while let Some(Ok(_)) = stream.source.next().await {} };
    crate::io::run(crate::io::Driver::Epoll, reading).unwrap();
}

#[test]
fn a_stream_is_open_until_its_end_and_keeps_no_snapshot() {
    let mcp = mcp();
    let view = mcp.view();
    let holders = Rc::strong_count(&view);
    let piece = || Ok(Bytes::from_static(b"data: {}\n\n"));
    let whole = sent(&mcp, "echo").close_with(answer(stream([piece(), piece()])));
    let broken = sent(&mcp, "unlisted").close_with(answer(stream([piece(), Err(Broken)])));
    let left = sent(&mcp, "echo").close_with(answer(stream([piece()])));
    assert_eq!(mcp.stats.borrow().in_flight, 3);
    assert_eq!(
        Rc::strong_count(&view),
        holders,
        "streams can outlive a snapshot by days"
    );
    read_out(whole);
    read_out(broken);
    drop(left);
    assert_eq!(
        counted(&mcp),
        [
            "tools/call up echo acme client_gone 1",
            "tools/call up echo acme ok 1",
            "tools/call up unlisted acme broken 1"
        ]
    );
}
