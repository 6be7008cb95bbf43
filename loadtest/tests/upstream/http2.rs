//! HTTP/2: the same answers, many at a time, and the faults that only it has.

use crate::{client::PATIENCE, up};
use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use http::{HeaderMap, Request};
use ringway_loadtest::upstream::{Handle, Options, faults::FaultKind, stats::Counter, text};
use serde_json::{Value, json};
use std::{future::Future, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

fn run<T>(conversation: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, conversation)
            .await
            .expect("it hangs")
    })
}

type Ended = tokio::task::JoinHandle<Result<(), h2::Error>>;

async fn handshake(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> (SendRequest<Bytes>, Ended) {
    let (send, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .handshake(io)
        .await
        .unwrap();
    (send, tokio::spawn(connection))
}

async fn connect(server: &Handle) -> (SendRequest<Bytes>, Ended) {
    handshake(TcpStream::connect(server.addr).await.unwrap()).await
}

struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn post(
    send: &SendRequest<Bytes>,
    session: Option<&str>,
    message: &Value,
) -> Result<Answered, h2::Error> {
    let mut send = send.clone().ready().await?;
    let mut request = Request::post("http://test/mcp").header("content-type", "application/json");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    let (answer, mut body) = send.send_request(request.body(()).unwrap(), false)?;
    body.send_data(message.to_string().into(), true)?;
    let (head, mut body) = answer.await?.into_parts();
    let mut answered = Answered {
        status: head.status.as_u16(),
        headers: head.headers,
        body: Vec::new(),
    };
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        answered.body.extend_from_slice(&piece);
    }
    Ok(answered)
}

fn call(id: u64, tool: &str, arguments: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": tool, "arguments": arguments,
        "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "progressToken": id },
    } })
}

fn faulty(rule: &str) -> Handle {
    up(Options {
        faults: vec![rule.parse().unwrap()],
        ..Options::default()
    })
}

#[test]
fn many_calls_share_a_connection() {
    let server = up(Options::default());
    run(async {
        let (send, _) = connect(&server).await;
        let calls = (0..200u64).map(|id| {
            let (send, bytes) = (send.clone(), id as usize * 700);
            async move {
                let answered = post(&send, None, &call(id, "sized", &json!({ "bytes": bytes })))
                    .await
                    .unwrap();
                let message = answered.json();
                assert_eq!(message["id"], id);
                let got = message["result"]["content"][0]["text"].as_str().unwrap();
                assert_eq!((got.len(), text::check(got.as_bytes())), (bytes, Ok(())));
                assert_eq!(
                    answered.headers["content-length"],
                    answered.body.len().to_string()
                );
            }
        });
        futures_util::future::join_all(calls).await;
        let large = post(&send, None, &call(1, "sized", &json!({ "bytes": 8 << 20 })))
            .await
            .unwrap();
        assert!(large.body.len() > 8 << 20);
    });
    let stats = server.stats();
    assert_eq!(
        (
            stats.get(Counter::Connections),
            stats.get(Counter::ConnectionsHttp2)
        ),
        (1, 1)
    );
    assert_eq!(stats.get(Counter::CallsAnswered), 201);
}

#[test]
fn sessions_and_progress_work_as_over_http1() {
    let server = up(Options::default());
    run(async {
        let (send, _) = connect(&server).await;
        let opening = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-06-18", "capabilities": {} } });
        let opened = post(&send, None, &opening).await.unwrap();
        let session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(
            post(&send, Some(&session), &initialized).await.unwrap().status,
            202
        );
        let mut message = call(2, "progress", &json!({ "steps": 2 }));
        message["params"]["_meta"] = json!({ "progressToken": 2 });
        let answered = post(&send, Some(&session), &message).await.unwrap();
        assert_eq!(answered.headers["content-type"], "text/event-stream");
        assert_eq!(
            String::from_utf8(answered.body)
                .unwrap()
                .matches("data: ")
                .count(),
            3
        );
        let unknown = post(&send, Some(&"0".repeat(32)), &initialized).await.unwrap();
        assert_eq!(unknown.status, 404);
    });
}

#[test]
fn alpn_chooses_http2() {
    let dir = tempfile::tempdir().unwrap();
    let (options, config) = crate::http1::certificate(dir.path(), &[b"h2", b"http/1.1"]);
    let server = up(options);
    run(async {
        let tcp = TcpStream::connect(server.addr).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tls = connector
            .connect("localhost".try_into().unwrap(), tcp)
            .await
            .unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, _) = handshake(tls).await;
        assert_eq!(
            post(&send, None, &call(1, "echo", &json!({ "text": "x" })))
                .await
                .unwrap()
                .status,
            200
        );
    });
}

#[test]
fn goaway_lets_the_call_end_and_takes_no_more() {
    let server = faulty("goaway:count=1");
    run(async {
        let (send, ended) = connect(&server).await;
        let answered = post(&send, None, &call(1, "echo", &json!({ "text": "x" })))
            .await
            .unwrap();
        assert_eq!(answered.json()["id"], 1);
        drop(send);
        _ = ended.await.unwrap();
        let (send, _) = connect(&server).await;
        assert_eq!(
            post(&send, None, &call(2, "echo", &json!({ "text": "x" })))
                .await
                .unwrap()
                .status,
            200
        );
    });
    assert_eq!(server.stats().fault(FaultKind::Goaway), 1);
}

#[test]
fn goaway_refuses_new_streams() {
    let server = faulty("goaway:count=1");
    run(async {
        let (send, ended) = connect(&server).await;
        post(&send, None, &call(1, "echo", &json!({ "text": "x" })))
            .await
            .unwrap();
        // The connection ends although we hold on to it.
        let how = ended.await.unwrap();
        assert!(how.is_ok() || how.is_err_and(|why| why.is_go_away() || why.is_io()));
        assert!(
            post(&send, None, &call(2, "echo", &json!({ "text": "x" })))
                .await
                .is_err()
        );
    });
}

#[test]
fn rst_stream_breaks_one_call_only() {
    for at in ["before", "mid"] {
        let server = faulty(&format!("rst_stream:count=1,at={at}"));
        run(async {
            let (send, _) = connect(&server).await;
            let why = post(&send, None, &call(1, "sized", &json!({ "bytes": 5000 })))
                .await
                .err()
                .unwrap();
            assert_eq!(
                (why.is_reset(), why.reason()),
                (true, Some(Reason::INTERNAL_ERROR))
            );
            assert_eq!(
                post(&send, None, &call(2, "echo", &json!({ "text": "x" })))
                    .await
                    .unwrap()
                    .status,
                200
            );
        });
        assert_eq!(server.stats().fault(FaultKind::RstStream), 1);
    }
}

#[test]
fn reset_and_close_break_the_connection() {
    for (rule, kind) in [
        ("reset", FaultKind::Reset),
        ("reset:at=mid", FaultKind::Reset),
        ("close", FaultKind::Close),
    ] {
        let server = faulty(rule);
        run(async {
            let (send, ended) = connect(&server).await;
            let failed = post(&send, None, &call(1, "sized", &json!({ "bytes": 5000 }))).await;
            assert!(failed.is_err(), "{rule}");
            drop(send);
            _ = ended.await.unwrap();
        });
        assert_eq!(server.stats().fault(kind), 1);
        crate::until("the connection is closed", || {
            server.stats().connections_open == 0
        });
    }
}

#[test]
fn answers_can_be_wrong_over_http2_too() {
    for (rule, kind) in [
        ("garbage_json", FaultKind::GarbageJson),
        ("garbage_id", FaultKind::GarbageId),
        ("garbage_truncated", FaultKind::GarbageTruncated),
        ("garbage_length_long", FaultKind::GarbageLengthLong),
        ("http_error:status=503", FaultKind::HttpError),
    ] {
        let server = faulty(rule);
        run(async {
            let (send, _) = connect(&server).await;
            if let Ok(answered) = post(&send, None, &call(1, "sized", &json!({ "bytes": 5000 }))).await {
                let message = serde_json::from_slice::<Value>(&answered.body);
                assert!(
                    answered.status != 200 || message.is_err() || message.is_ok_and(|m| m["id"] != 1),
                    "{rule}"
                );
            } else {
                assert_eq!(kind, FaultKind::GarbageLengthLong);
            }
        });
        assert_eq!(server.stats().fault(kind), 1, "{rule}");
    }
}

#[test]
fn a_trickle_is_slow_and_right_and_a_stall_ends_with_its_client() {
    let server = faulty("trickle:bytes=500,ms=1");
    run(async {
        let (send, _) = connect(&server).await;
        let answered = post(&send, None, &call(1, "sized", &json!({ "bytes": 5000 })))
            .await
            .unwrap();
        assert_eq!(answered.json()["id"], 1);
    });
    let server = faulty("stall");
    run(async {
        let (send, _) = connect(&server).await;
        let message = call(1, "echo", &json!({ "text": "x" }));
        let stalled = post(&send, None, &message);
        let seen = async {
            while server.stats().fault(FaultKind::Stall) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = stalled => panic!("it was answered"),
            () = seen => {}
        }
        // Dropping the call resets its stream, and nothing else.
        while server.stats().get(Counter::ClientsGone) == 0 {
            tokio::task::yield_now().await;
        }
        let listed = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {
            "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" },
        } });
        assert_eq!(post(&send, None, &listed).await.unwrap().json()["id"], 2);
        assert_eq!(server.stats().connections_open, 1);
    });
}
