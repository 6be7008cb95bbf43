//! Results of known and moderate length are read whole before anything of them is passed on.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod upstream_support;

use ringway_core::limits::{UPSTREAM_HOLD_BYTES_MAX, UpstreamLimits};
use ringway_proto::snapshot::{HttpVersion, Timeouts};
use ringway_runtime::{io, upstream::FaultKind};
use std::{
    sync::mpsc,
    time::{Duration, Instant},
};
use upstream_support::*;

fn limits() -> UpstreamLimits {
    UpstreamLimits::default()
}

/// A head that says `length`, and a body of which every byte tells its place.
fn answer(length: usize) -> (String, String) {
    let body = (0..length).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    (head, body)
}

#[test]
fn a_result_is_handed_on_whole_however_it_came() {
    const LENGTHS: [usize; 6] = [70_000, 2, UPSTREAM_HOLD_BYTES_MAX, 4_096, 16_385, 65_536];
    on_workers(limits(), |pools| async move {
        let (go, went) = mpsc::channel::<()>();
        let peer = Peer::start(move |listener| {
            let mut conn = listener.accept();
            for length in LENGTHS {
                let (head, body) = answer(length);
                // At once; body apart from head; head and half, and the rest when the client was seen to wait.
                conn.request();
                conn.send(format!("{head}{body}"));
                conn.request();
                conn.send(&head);
                conn.send(&body);
                conn.request();
                conn.send(format!("{head}{}", &body[..length / 2]));
                went.recv().expect("the test says when");
                conn.send(&body[length / 2..]);
            }
        });
        let endpoint = peer.endpoint();
        for length in LENGTHS {
            let (_, body) = answer(length);
            for _ in 0..2 {
                let response = pools
                    .send(&endpoint, ANYONE, post("{}"))
                    .await
                    .expect("an answer");
                let whole = response.body.into_whole().ok().expect("held until it was whole");
                assert!(whole == body, "{length}");
            }
            let mut sending = std::pin::pin!(pools.send(&endpoint, ANYONE, post("{}")));
            let early = io::timeout(Duration::from_millis(3), sending.as_mut()).await;
            assert!(early.is_err(), "half of it is of no use");
            go.send(()).expect("the script listens");
            let whole = sending.await.expect("an answer").body.into_whole();
            assert!(whole.ok().expect("whole") == body, "{length}");
        }
        assert_eq!((stats(&pools).dialled, stats(&pools).idle), (1, 1), "all on one");
        peer.finished().await;
    });
}

#[test]
fn a_result_that_breaks_off_is_a_fault_and_no_answer() {
    for reset in [false, true] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                let (head, body) = answer(70_000);
                conn.request();
                conn.send(format!("{head}{}", &body[..35_000]));
                if reset {
                    conn.reset()
                } else {
                    drop(conn)
                }
                listener.accept().serve("next");
                listener.expect_nobody();
            });
            let endpoint = peer.endpoint();
            let fault = call(&pools, &endpoint, post("{}")).await.expect_err("half of it");
            assert_eq!((fault.kind, fault.sent), (FaultKind::Reset, true), "{fault}");
            assert_eq!(stats(&pools).open, 0);
            assert_eq!(
                call(&pools, &endpoint, post("{}")).await.expect("answers"),
                "next"
            );
            peer.finished().await;
        });
    }
}

#[test]
fn a_result_that_trickles_has_as_long_as_each_piece_may_take_and_the_call_as_a_whole() {
    const PIECES: usize = 12;
    let patient = Timeouts {
        idle_ms: 500,
        ..Timeouts::default()
    };
    let hasty = Timeouts {
        idle_ms: 10_000,
        total_ms: 300,
        ..Timeouts::default()
    };
    for (timeouts, sent, kind) in [
        (patient, PIECES, None),
        (patient, 3, Some(FaultKind::IdleTimeout)),
        (hasty, 3, Some(FaultKind::TotalTimeout)),
    ] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                let (head, body) = answer(PIECES * 1_000);
                conn.request();
                conn.send(head);
                for piece in body.as_bytes().chunks(1_000).take(sent) {
                    std::thread::sleep(Duration::from_millis(50));
                    conn.send(piece);
                }
                conn.expect_close();
            });
            let endpoint = endpoint_with(&peer.url(), HttpVersion::Auto, timeouts);
            let began = Instant::now();
            match (call(&pools, &endpoint, post("{}")).await, kind) {
                (Ok(body), None) => {
                    assert_eq!(body, answer(PIECES * 1_000).1);
                    assert!(
                        began.elapsed() > Duration::from_millis(500),
                        "longer than one piece may"
                    );
                }
                (Err(fault), Some(kind)) => {
                    assert_eq!((fault.kind, fault.sent), (kind, true), "{fault}");
                }
                (other, _) => panic!("{other:?} instead of {kind:?}"),
            }
            drop(pools);
            peer.finished().await;
        });
    }
}

#[test]
fn what_stands_behind_a_result_is_nobodys_answer() {
    for length in [8_000, 70_000] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                let (head, body) = answer(length);
                conn.request();
                conn.send(format!(
                    "{head}{body}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
                ));
                conn.expect_close();
                listener.accept().serve("good");
            });
            let endpoint = peer.endpoint();
            assert_eq!(
                call(&pools, &endpoint, post("{}")).await.expect("answers"),
                answer(length).1
            );
            assert_eq!(stats(&pools).idle, 0);
            assert_eq!(
                call(&pools, &endpoint, post("{}")).await.expect("answers"),
                "good"
            );
            peer.finished().await;
        });
    }
}

#[test]
fn what_is_of_use_before_its_end_is_not_held() {
    let too_long = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        UPSTREAM_HOLD_BYTES_MAX + 1
    );
    let heads = [
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncontent-length: 900\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n",
        &too_long,
    ];
    for head in heads {
        on_workers(limits(), |pools| async move {
            let head = head.to_owned();
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                conn.request();
                conn.send(format!("{head}data:"));
                conn.expect_close();
            });
            let mut response = pools
                .send(&peer.endpoint(), ANYONE, post("{}"))
                .await
                .expect("a head before its body");
            let piece = response.body.chunk().await.expect("some").expect("good");
            assert_eq!(piece, "data:");
            drop(response);
            peer.finished().await;
        });
    }
}
