//! HTTP/2 toward scripted servers: stream limits, refusals, goodbyes, silence, and what is never sent twice.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod upstream_support;

use bytes::Bytes;
use futures_util::future::join_all;
use ringway_core::limits::UpstreamLimits;
use ringway_proto::snapshot::{HttpVersion, Timeouts};
use ringway_runtime::{
    io,
    upstream::{CredentialId, Endpoint, Fault, FaultKind, Pools, Request},
};
use std::{collections::VecDeque, rc::Rc, sync::Arc, sync::mpsc};
use upstream_support::{frames::*, *};

fn limits() -> UpstreamLimits {
    UpstreamLimits::default()
}

fn h2c(peer: &Peer) -> Arc<Endpoint> {
    h2c_with(peer, Timeouts::default())
}

fn h2c_with(peer: &Peer, timeouts: Timeouts) -> Arc<Endpoint> {
    endpoint_with(&peer.url(), HttpVersion::Http2, timeouts)
}

/// Starts a call as a task of its own.
fn start(pools: &Rc<Pools>, endpoint: &Arc<Endpoint>) -> io::Task<Result<String, Fault>> {
    let (pools, endpoint) = (pools.clone(), endpoint.clone());
    io::spawn(async move { call(&pools, &endpoint, post("{}")).await })
}

#[test]
fn heads_and_bodies_arrive_as_they_were_given() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("builds");
            let conn = listener.accept().stream;
            runtime.block_on(async move {
                conn.set_nonblocking(true).expect("sets");
                let host = conn.local_addr().expect("connected").to_string();
                let conn = tokio::net::TcpStream::from_std(conn).expect("adopts");
                let mut conn = h2::server::handshake(conn).await.expect("a client");
                let (request, mut respond) = conn.accept().await.expect("one").expect("good");
                assert_eq!(request.method(), "POST");
                assert_eq!(request.uri().to_string(), format!("http://{host}/mcp?x=1"));
                let names: Vec<_> = request
                    .headers()
                    .iter()
                    .map(|(n, v)| (n.as_str(), v.as_bytes()))
                    .collect();
                assert_eq!(
                    names,
                    [
                        ("mcp-session-id", &b"s"[..]),
                        ("x-dup", b"1"),
                        ("x-dup", b"2"),
                        ("content-length", b"3000000")
                    ]
                );
                let length = respond_to(request, &mut respond, &mut conn).await;
                assert_eq!(length, 3_000_000);
                while conn.accept().await.is_some() {}
            });
        });
        let endpoint = h2c(&peer);
        let body = Bytes::from(vec![b'x'; 3_000_000]);
        let mut request = Request {
            target: Bytes::from_static(b"/mcp?x=1"),
            body,
            ..post("")
        };
        request.headers.push("mcp-session-id", "s");
        request.headers.push("x-dup", "1");
        request.headers.push("x-dup", "2");
        let response = pools.send(&endpoint, ANYONE, request).await.expect("answers");
        assert_eq!(response.status, 201);
        assert_eq!(response.headers.get("x-reply"), Some(&b"yes"[..]));
        assert_eq!(response.body.length(), Some(5_000_000));
        // More than one window each way, so both sides have given windows back.
        assert_eq!(text(response).await.expect("whole").len(), 5_000_000);
        pools.retain(|_| false);
        peer.finished().await;
    });
}

/// Reads the whole body, then answers with five million bytes; gives the body's length.
async fn respond_to(
    request: http::Request<h2::RecvStream>,
    respond: &mut h2::server::SendResponse<Bytes>,
    conn: &mut h2::server::Connection<tokio::net::TcpStream, Bytes>,
) -> usize {
    let mut body = request.into_body();
    let exchange = async {
        let mut length = 0;
        while let Some(piece) = body.data().await {
            let piece = piece.expect("good");
            length += piece.len();
            body.flow_control().release_capacity(piece.len()).expect("open");
        }
        let head = http::Response::builder()
            .status(201)
            .header("x-reply", "yes")
            .header("content-length", 5_000_000);
        let mut send = respond
            .send_response(head.body(()).expect("valid"), false)
            .expect("open");
        let mut left = 5_000_000;
        while left > 0 {
            send.reserve_capacity(left);
            let room = std::future::poll_fn(|cx| send.poll_capacity(cx))
                .await
                .expect("open")
                .expect("good");
            left -= room.min(left);
            send.send_data(Bytes::from(vec![b'y'; room]), left == 0)
                .expect("open");
        }
        length
    };
    tokio::select! {
        length = exchange => length,
        _ = conn.accept() => panic!("one request only"),
    }
}

#[test]
fn a_burst_of_first_calls_opens_one_connection() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            for _ in 0..100 {
                let (stream, _) = conn.request();
                conn.answer(stream, "ok");
            }
            listener.expect_nobody();
        });
        let endpoint = h2c(&peer);
        for answer in join_all((0..100).map(|_| call(&pools, &endpoint, post("{}")))).await {
            assert_eq!(answer.expect("answers"), "ok");
        }
        let stats = stats(&pools);
        assert_eq!(
            (stats.dialled, stats.reused, stats.streams, stats.http2),
            (1, 99, 0, Some(true))
        );
        peer.finished().await;
    });
}

#[test]
fn the_peers_stream_limit_holds_with_a_hundred_calls_at_once() {
    let limits = UpstreamLimits {
        http2_connections_max: 1,
        ..limits()
    };
    on_workers(limits, |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[(MAX_CONCURRENT_STREAMS, 4)]);
            let (mut open, mut most) = (VecDeque::new(), 0);
            for seen in 1..=100 {
                open.push_back(conn.request().0);
                most = most.max(open.len());
                assert!(open.len() <= 4, "{} streams at once", open.len());
                // The first stream comes alone, before our settings are known.
                if open.len() == 4 || seen == 1 || seen == 100 {
                    open.drain(..).for_each(|stream| conn.answer(stream, "ok"));
                }
            }
            assert_eq!(most, 4);
            listener.expect_nobody();
        });
        let endpoint = h2c(&peer);
        for answer in join_all((0..100).map(|_| call(&pools, &endpoint, post("{}")))).await {
            assert_eq!(answer.expect("answers"), "ok");
        }
        peer.finished().await;
    });
}

#[test]
fn full_connections_make_more_up_to_a_bound_and_then_a_line() {
    let limits = UpstreamLimits {
        http2_connections_max: 2,
        pool_waiting_max: 1,
        ..limits()
    };
    on_workers(limits, |pools| async move {
        let (go, went) = mpsc::channel::<()>();
        let peer = Peer::start(move |listener| {
            let one = &[(MAX_CONCURRENT_STREAMS, 1)];
            let mut first = Frames::open(listener.accept(), one);
            let (held, _) = first.request();
            let mut second = Frames::open(listener.accept(), one);
            let (also_held, _) = second.request();
            went.recv().expect("the test says when");
            first.answer(held, "one");
            let (waited, _) = first.request();
            first.answer(waited, "three");
            second.answer(also_held, "two");
            listener.expect_nobody();
        });
        let endpoint = h2c(&peer);
        let first = start(&pools, &endpoint);
        until(|| pools.stats().iter().any(|s| s.streams == 1)).await;
        let second = start(&pools, &endpoint);
        until(|| stats(&pools).streams == 2).await;
        let third = start(&pools, &endpoint);
        until(|| stats(&pools).waiting == 1).await;
        let refused = call(&pools, &endpoint, post("{}")).await.expect_err("no place");
        assert_eq!((refused.kind, refused.sent), (FaultKind::PoolFull, false));
        go.send(()).expect("the script listens");
        for (task, body) in [(first, "one"), (second, "two"), (third, "three")] {
            assert_eq!(task.await.expect("ran").expect("answers"), body);
        }
        peer.finished().await;
    });
}

#[test]
fn a_goodbye_lets_streams_finish_and_sends_those_it_excludes_elsewhere() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            assert_eq!(conn.request().0, 1);
            conn.answer(1, "warm");
            assert_eq!([3, 5, 7].map(|_| conn.request().0), [3, 5, 7]);
            conn.go_away(5, NO_ERROR);
            let mut fresh = Frames::open(listener.accept(), &[]);
            let (stream, _) = fresh.request();
            fresh.answer(stream, "ok");
            // Streams up to the last id are still being worked on.
            conn.answer(3, "ok");
            conn.answer(5, "ok");
            conn.expect_end();
            // What comes later goes to the new connection.
            let (stream, _) = fresh.request();
            fresh.answer(stream, "later");
            listener.expect_nobody();
        });
        let endpoint = h2c(&peer);
        call(&pools, &endpoint, post("{}")).await.expect("answers");
        for answer in join_all((0..3).map(|_| call(&pools, &endpoint, post("{}")))).await {
            assert_eq!(answer.expect("answers"), "ok");
        }
        assert_eq!(stats(&pools).retried, 1);
        assert_eq!(
            call(&pools, &endpoint, post("{}")).await.expect("answers"),
            "later"
        );
        peer.finished().await;
    });
}

#[test]
fn a_refused_stream_is_tried_once_more_and_not_twice() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            for refusals in [1, 2] {
                for _ in 0..refusals {
                    let (stream, _) = conn.request();
                    conn.reset(stream, REFUSED_STREAM);
                }
                if refusals == 1 {
                    let (stream, body) = conn.request();
                    assert_eq!(body, b"{}", "the body is sent again too");
                    conn.answer(stream, "ok");
                }
            }
            conn.expect_end();
        });
        let endpoint = h2c(&peer);
        assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
        let fault = call(&pools, &endpoint, post("{}"))
            .await
            .expect_err("refused twice");
        assert_eq!((fault.kind, fault.sent), (FaultKind::Reset, false), "{fault}");
        assert_eq!(stats(&pools).retried, 2);
        drop(pools);
        peer.finished().await;
    });
}

#[test]
fn a_call_whose_stream_or_connection_dies_unanswered_is_not_sent_again() {
    #[derive(Clone, Copy)]
    enum End {
        Reset,
        Close,
        CloseAfterGoodbye,
        Error,
    }
    for end in [End::Reset, End::Close, End::CloseAfterGoodbye, End::Error] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = Frames::open(listener.accept(), &[]);
                let (stream, body) = conn.request();
                assert_eq!(body, b"delete everything");
                match end {
                    End::Reset => conn.reset(stream, INTERNAL_ERROR),
                    End::Close => {}
                    End::CloseAfterGoodbye => conn.go_away(stream, NO_ERROR),
                    End::Error => conn.go_away(stream, INTERNAL_ERROR),
                }
                if matches!(end, End::Reset) {
                    let (stream, body) = conn.request();
                    assert_eq!(body, b"later");
                    return conn.answer(stream, "ok");
                }
                drop(conn);
                let mut conn = Frames::open(listener.accept(), &[]);
                let (stream, body) = conn.request();
                assert_eq!(body, b"later");
                conn.answer(stream, "ok");
                listener.expect_nobody();
            });
            let endpoint = h2c(&peer);
            let fault = call(&pools, &endpoint, post("delete everything"))
                .await
                .expect_err("no answer");
            assert_eq!((fault.kind, fault.sent), (FaultKind::Reset, true), "{fault}");
            assert_eq!(
                call(&pools, &endpoint, post("later")).await.expect("answers"),
                "ok"
            );
            assert_eq!(stats(&pools).retried, 0);
            peer.finished().await;
        });
    }
}

#[test]
fn an_answer_that_breaks_off_is_told_from_a_whole_one() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            for code in [REFUSED_STREAM, INTERNAL_ERROR] {
                let (stream, _) = conn.request();
                conn.head(stream);
                conn.send(DATA, 0, stream, b"hello");
                conn.reset(stream, code);
            }
            conn.expect_end();
        });
        let endpoint = h2c(&peer);
        for _ in 0..2 {
            let response = pools.send(&endpoint, ANYONE, post("{}")).await;
            // The reset may overtake the head in the reader, never the truth about the request.
            let fault = match response {
                Ok(response) => text(response).await.expect_err("cut"),
                Err(fault) => fault,
            };
            assert_eq!(fault.kind, FaultKind::Reset, "{fault}");
        }
        drop(pools);
        peer.finished().await;
    });
}

#[test]
fn a_mute_peer_is_given_up_and_its_calls_are_told() {
    let limits = UpstreamLimits {
        ping_every_ms: 20,
        pong_within_ms: 300,
        ..limits()
    };
    on_workers(limits, |pools| async move {
        let peer = Peer::start(|listener| {
            // Takes everything, says nothing after its settings.
            let mut conn = Frames::open(listener.accept(), &[]);
            while conn.conn.has_more() {
                conn.conn.forget();
            }
            let mut conn = Frames::open(listener.accept(), &[]);
            let (stream, _) = conn.request();
            conn.answer(stream, "ok");
        });
        let endpoint = h2c(&peer);
        let fault = call(&pools, &endpoint, post("{}")).await.expect_err("silence");
        assert_eq!((fault.kind, fault.sent), (FaultKind::Reset, true), "{fault}");
        assert!(fault.detail.contains("PING"), "{fault}");
        assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
        peer.finished().await;
    });
}

#[test]
fn each_deadline_has_its_own_fault_and_resets_the_stream() {
    let usual = Timeouts::default();
    for (timeouts, head, kind) in [
        (
            Timeouts {
                header_ms: 100,
                ..usual
            },
            false,
            FaultKind::HeaderTimeout,
        ),
        (
            Timeouts {
                idle_ms: 100,
                ..usual
            },
            true,
            FaultKind::IdleTimeout,
        ),
        (
            Timeouts {
                total_ms: 100,
                ..usual
            },
            false,
            FaultKind::TotalTimeout,
        ),
        (
            Timeouts {
                total_ms: 100,
                ..usual
            },
            true,
            FaultKind::TotalTimeout,
        ),
    ] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = Frames::open(listener.accept(), &[]);
                let (stream, _) = conn.request();
                if head {
                    conn.head(stream);
                    conn.send(DATA, 0, stream, b"hello");
                }
                // Only the stream: the connection serves on.
                let stream = conn.request_and_resets(vec![stream], CANCEL);
                conn.answer(stream, "ok");
            });
            let endpoint = h2c_with(&peer, timeouts);
            let fault = call(&pools, &endpoint, post("{}")).await.expect_err("too slow");
            assert_eq!((fault.kind, fault.sent), (kind, true), "{fault}");
            assert_eq!(
                call(&pools, &h2c(&peer), post("{}")).await.expect("answers"),
                "ok"
            );
            assert_eq!(stats(&pools).dialled, 1);
            peer.finished().await;
        });
    }
}

#[test]
fn giving_up_a_call_resets_its_stream_and_nothing_else() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let (stream, _) = conn.request();
            conn.head(stream);
            conn.send(DATA, 0, stream, b"hello");
            let stream = conn.request_and_resets(vec![stream], CANCEL);
            let stream = conn.request_and_resets(vec![stream], CANCEL);
            conn.answer(stream, "ok");
        });
        let endpoint = h2c(&peer);
        let mut response = pools.send(&endpoint, ANYONE, post("{}")).await.expect("a head");
        assert_eq!(response.body.chunk().await.expect("some").expect("good"), "hello");
        drop(response);
        // Before the head: by the time the stream counts, the request is on its way.
        let waiting = async {
            until(|| stats(&pools).streams == 1).await;
            io::sleep(std::time::Duration::from_millis(5)).await;
        };
        assert!(
            io::race(call(&pools, &endpoint, post("{}")), waiting)
                .await
                .is_err()
        );
        assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
        assert_eq!(stats(&pools).dialled, 1);
        peer.finished().await;
    });
}

#[test]
fn many_cancellations_at_once_reach_the_peer_at_a_pace_it_bears() {
    let limits = UpstreamLimits {
        http2_resets_per_second: 5,
        ..limits()
    };
    on_workers(limits, |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let mut asked: Vec<u32> = Vec::new();
            for _ in 0..8 {
                let (stream, _) = conn.request();
                conn.head(stream);
                asked.push(stream);
            }
            let stream = conn.request_and_resets(asked, CANCEL);
            conn.answer(stream, "ok");
        });
        let endpoint = h2c(&peer);
        let responses = join_all((0..8).map(|_| pools.send(&endpoint, ANYONE, post("{}")))).await;
        let responses: Vec<_> = responses.into_iter().map(|r| r.expect("a head")).collect();
        drop(responses);
        assert_eq!(
            stats(&pools).streams,
            3,
            "three wait for their turn and keep their place"
        );
        until(|| stats(&pools).streams == 0).await;
        assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
        peer.finished().await;
    });
}

#[test]
fn an_early_answer_ends_a_body_the_peer_does_not_want() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let frame = conn.next();
            assert_eq!(frame.kind, HEADERS);
            conn.answer(frame.stream, "no");
            conn.reset(frame.stream, NO_ERROR);
            // The rest of a window is on its way; then comes the next request.
            let stream = loop {
                let frame = conn.next();
                if frame.kind == HEADERS {
                    break frame.stream;
                }
            };
            conn.answer(stream, "ok");
        });
        let endpoint = h2c(&peer);
        let request = Request {
            body: Bytes::from(vec![b'x'; 1 << 20]),
            ..post("")
        };
        assert_eq!(call(&pools, &endpoint, request).await.expect("the refusal"), "no");
        assert_eq!(call(&pools, &endpoint, get()).await.expect("answers"), "ok");
        peer.finished().await;
    });
}

#[test]
fn a_body_the_peer_gives_no_room_for_is_not_piled_up() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let mut received = 0;
            loop {
                let frame = conn.next();
                match frame.kind {
                    DATA => received += frame.payload.len(),
                    RST_STREAM => break,
                    _ => {}
                }
            }
            assert_eq!(received, 65_535, "one default window and no more");
        });
        let endpoint = h2c_with(
            &peer,
            Timeouts {
                idle_ms: 150,
                ..Timeouts::default()
            },
        );
        let request = Request {
            body: Bytes::from(vec![b'x'; 1 << 20]),
            ..post("")
        };
        let fault = call(&pools, &endpoint, request).await.expect_err("no room");
        assert_eq!((fault.kind, fault.sent), (FaultKind::IdleTimeout, true));
        peer.finished().await;
    });
}

#[test]
fn unread_bodies_do_not_starve_other_streams() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            for _ in 0..2 {
                let (stream, _) = conn.request();
                conn.head(stream);
                // A whole default connection window each, which nobody reads.
                for _ in 0..4 {
                    conn.send(DATA, 0, stream, &[b'x'; 16 << 10]);
                }
            }
            let (stream, _) = conn.request();
            conn.answer(stream, "ok");
        });
        let endpoint = h2c(&peer);
        let held = [
            pools.send(&endpoint, ANYONE, post("{}")).await.expect("a head"),
            pools.send(&endpoint, ANYONE, post("{}")).await.expect("a head"),
        ];
        assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
        drop(held);
        peer.finished().await;
    });
}

#[test]
fn what_is_not_http2_is_a_fault() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = listener.accept();
            assert!(conn.has_more());
            conn.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            conn.forget();
            while conn.has_more() {
                conn.forget();
            }
        });
        let fault = call(&pools, &h2c(&peer), post("{}"))
            .await
            .expect_err("not HTTP/2");
        assert!(
            matches!(fault.kind, FaultKind::Protocol | FaultKind::Reset),
            "{fault}"
        );
        until(|| stats(&pools).open == 0).await;
        peer.finished().await;
    });
}

#[test]
fn a_head_above_the_bound_is_refused() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let (stream, _) = conn.request();
            // `x: yyy…` without indexing, as literal strings (RFC 7541 §6.2.2), above 32 KiB in all.
            let mut block = STATUS_200.to_vec();
            for _ in 0..3 {
                block.extend([0x00, 0x01, b'x', 0x7f, 0xe1, 0x5c]);
                block.extend([b'y'; 12_000]);
            }
            let pieces: Vec<_> = block.chunks(16 << 10).collect();
            let last = pieces.len() - 1;
            const CONTINUATION: u8 = 9;
            for (i, piece) in pieces.iter().enumerate() {
                let kind = if i == 0 { HEADERS } else { CONTINUATION };
                conn.try_send(kind, if i == last { END_HEADERS } else { 0 }, stream, piece);
            }
            conn.expect_end();
        });
        let fault = call(&pools, &h2c(&peer), post("{}"))
            .await
            .expect_err("too large");
        // `h2` resets the stream without telling what it found wrong.
        assert_eq!((fault.kind, fault.sent), (FaultKind::Protocol, true), "{fault}");
        drop(pools);
        peer.finished().await;
    });
}

#[test]
fn connections_of_one_credential_are_never_used_for_another() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conns: Vec<Frames> = Vec::new();
            for _ in 0..2 {
                conns.push(Frames::open(listener.accept(), &[]));
                let conn = conns.last_mut().expect("just pushed");
                let (stream, _) = conn.request();
                conn.answer(stream, "ok");
            }
            for conn in &mut conns {
                let (stream, _) = conn.request();
                conn.answer(stream, "ok");
            }
            listener.expect_nobody();
        });
        let endpoint = h2c(&peer);
        for _ in 0..2 {
            for credential in [CredentialId(1), CredentialId(2)] {
                let response = pools
                    .send(&endpoint, credential, post("{}"))
                    .await
                    .expect("answers");
                assert_eq!(text(response).await.expect("whole"), "ok");
            }
        }
        peer.finished().await;
    });
}

#[test]
fn idle_connections_and_those_of_vanished_endpoints_say_goodbye() {
    on_workers(
        UpstreamLimits {
            idle_ms: 150,
            ..limits()
        },
        |pools| async move {
            let peer = Peer::start(|listener| {
                let mut conn = Frames::open(listener.accept(), &[]);
                let (stream, _) = conn.request();
                conn.answer(stream, "aged");
                conn.expect_end();
                let mut conn = Frames::open(listener.accept(), &[]);
                let (stream, _) = conn.request();
                conn.head(stream);
                conn.send(DATA, 0, stream, b"half");
                conn.send(DATA, END_STREAM, stream, b"way");
                conn.expect_end();
            });
            let endpoint = h2c(&peer);
            assert_eq!(
                call(&pools, &endpoint, post("{}")).await.expect("answers"),
                "aged"
            );
            until(|| stats(&pools).open == 0).await;
            let response = pools.send(&endpoint, ANYONE, post("{}")).await.expect("a head");
            pools.retain(|_| false);
            assert_eq!(text(response).await.expect("finishes"), "halfway");
            peer.finished().await;
            until(|| stats(&pools).open == 0).await;
        },
    );
}

#[test]
fn a_worker_may_end_with_calls_under_way() {
    let kept: Rc<std::cell::RefCell<Vec<io::Task<()>>>> = Rc::default();
    on_workers(limits(), |pools| {
        let kept = kept.clone();
        async move {
            let peer = Peer::start(|listener| {
                let mut conn = Frames::open(listener.accept(), &[]);
                for _ in 0..30 {
                    let (stream, _) = conn.request();
                    conn.head(stream);
                }
            });
            let endpoint = h2c(&peer);
            for _ in 0..30 {
                let (pools, endpoint) = (pools.clone(), endpoint.clone());
                kept.borrow_mut().push(io::spawn(async move {
                    let response = pools.send(&endpoint, ANYONE, post("{}")).await;
                    std::future::pending::<()>().await;
                    drop(response);
                }));
            }
            peer.finished().await;
        }
    });
}
