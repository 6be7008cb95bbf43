//! The pool of HTTP/1.1 connections toward scripted servers: whose they are, how long they are kept, who waits.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod upstream_support;

use ringway_core::limits::UpstreamLimits;
use ringway_proto::snapshot::{HttpVersion, Timeouts};
use ringway_runtime::{
    io,
    upstream::{CredentialId, FaultKind},
};
use std::time::Duration;
use upstream_support::*;

fn limits() -> UpstreamLimits {
    UpstreamLimits::default()
}

#[test]
fn connections_of_one_credential_are_never_used_for_another() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conns: Vec<_> = Vec::new();
            for body in ["a", "b", "c"] {
                conns.push(listener.accept());
                conns.last_mut().expect("just pushed").serve(body);
            }
            // The second round comes on the connections of the first.
            for (conn, body) in conns.iter_mut().zip(["a", "b", "c"]) {
                conn.serve(body);
            }
            listener.expect_nobody();
        });
        let (mcp, other) = (
            peer.endpoint(),
            endpoint(&format!("http://{}/other", peer.address)),
        );
        for _ in 0..2 {
            for (endpoint, credential, body) in [(&mcp, 1, "a"), (&mcp, 2, "b"), (&other, 1, "c")] {
                let response = pools.send(endpoint, CredentialId(credential), post("{}")).await;
                assert_eq!(text(response.expect("answers")).await.expect("whole"), body);
            }
        }
        peer.finished().await;
    });
}

#[test]
fn the_youngest_idle_connection_is_used_first_and_old_ones_are_closed() {
    on_workers(
        UpstreamLimits {
            idle_ms: 400,
            ..limits()
        },
        |pools| async move {
            let (go, went) = std::sync::mpsc::channel::<()>();
            let peer = Peer::start(move |listener| {
                let (mut one, mut two) = (listener.accept(), listener.accept());
                one.request();
                two.request();
                one.answer("one");
                went.recv().expect("the test says when");
                two.answer("two");
                two.serve("two again");
                one.expect_close();
                two.expect_close();
            });
            let endpoint = peer.endpoint();
            let start = || {
                let (pools, endpoint) = (pools.clone(), endpoint.clone());
                io::spawn(async move { call(&pools, &endpoint, post("{}")).await })
            };
            let calls = [start(), start()];
            until(|| pools.stats().iter().any(|s| s.idle == 1)).await;
            go.send(()).expect("the script listens");
            for call in calls {
                call.await.expect("ran").expect("answers");
            }
            assert_eq!(
                call(&pools, &endpoint, post("{}")).await.expect("answers"),
                "two again"
            );
            peer.finished().await;
            until(|| stats(&pools).open == 0).await;
        },
    );
}

#[test]
fn a_server_that_announces_its_keep_alive_is_believed() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            for (timeout, reused) in [
                ("timeout=1", false),
                ("max=5, Timeout=60", true),
                ("timeout=x", true),
            ] {
                let mut conn = listener.accept();
                conn.request();
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\nkeep-alive: {timeout}\r\ncontent-length: 0\r\n\r\n"
                ));
                if reused {
                    conn.request();
                    conn.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                }
                conn.expect_close();
            }
        });
        let endpoint = peer.endpoint();
        for _ in 0..5 {
            call(&pools, &endpoint, post("{}")).await.expect("answers");
        }
        peer.finished().await;
    });
}

#[test]
fn a_full_pool_makes_calls_wait_in_line_and_a_full_line_refuses() {
    let limits = UpstreamLimits {
        pool_open_max: 1,
        pool_waiting_max: 1,
        ..limits()
    };
    on_workers(limits, |pools| async move {
        let (go, went) = std::sync::mpsc::channel::<()>();
        let peer = Peer::start(move |listener| {
            let mut conn = listener.accept();
            assert_eq!(conn.request().1, b"first");
            went.recv().expect("the test says when");
            conn.answer("one");
            assert_eq!(conn.request().1, b"second");
            conn.answer("two");
            listener.expect_nobody();
        });
        let endpoint = peer.endpoint();
        let start = |body: &'static str| {
            let (pools, endpoint) = (pools.clone(), endpoint.clone());
            io::spawn(async move { call(&pools, &endpoint, post(body)).await })
        };
        let first = start("first");
        until(|| pools.stats().first().is_some_and(|s| s.open == 1)).await;
        let second = start("second");
        until(|| stats(&pools).waiting == 1).await;
        let refused = call(&pools, &endpoint, post("third"))
            .await
            .expect_err("no place");
        assert_eq!((refused.kind, refused.sent), (FaultKind::PoolFull, false));
        go.send(()).expect("the script listens");
        assert_eq!(first.await.expect("ran").expect("answers"), "one");
        assert_eq!(second.await.expect("ran").expect("answers"), "two");
        peer.finished().await;
    });
}

#[test]
fn who_gives_up_waiting_leaves_the_line_and_who_waits_too_long_is_told() {
    let limits = UpstreamLimits {
        pool_open_max: 1,
        ..limits()
    };
    on_workers(limits, |pools| async move {
        let (go, went) = std::sync::mpsc::channel::<()>();
        let peer = Peer::start(move |listener| {
            let mut conn = listener.accept();
            conn.request();
            went.recv().expect("the test says when");
            conn.answer("one");
        });
        let timeouts = Timeouts {
            connect_ms: 300,
            ..Timeouts::default()
        };
        let endpoint = endpoint_with(&peer.url(), HttpVersion::Auto, timeouts);
        let first = {
            let (pools, endpoint) = (pools.clone(), endpoint.clone());
            io::spawn(async move { call(&pools, &endpoint, post("{}")).await })
        };
        until(|| pools.stats().first().is_some_and(|s| s.open == 1)).await;
        let gave_up = io::timeout(Duration::from_millis(2), call(&pools, &endpoint, post("{}"))).await;
        assert!(gave_up.is_err());
        assert_eq!(stats(&pools).waiting, 0);
        let fault = call(&pools, &endpoint, post("{}"))
            .await
            .expect_err("waited in vain");
        assert_eq!((fault.kind, fault.sent), (FaultKind::PoolFull, false));
        go.send(()).expect("the script listens");
        assert_eq!(first.await.expect("ran").expect("answers"), "one");
        peer.finished().await;
    });
}

#[test]
fn a_busy_worker_closes_idle_connections_of_others_before_it_refuses() {
    let limits = UpstreamLimits {
        worker_open_max: 2,
        ..limits()
    };
    on_workers(limits, |pools| async move {
        let peers: Vec<Peer> = (0..4)
            .map(|_| {
                Peer::start(|listener| {
                    let mut conn = listener.accept();
                    conn.serve("fine");
                    conn.expect_close();
                })
            })
            .collect();
        for peer in &peers {
            call(&pools, &peer.endpoint(), post("{}")).await.expect("answers");
            let open: usize = pools.stats().iter().map(|s| s.open).sum();
            assert!(open <= 2);
        }
        pools.retain(|_| false);
        for peer in peers {
            peer.finished().await;
        }
    });
}

#[test]
fn a_snapshot_without_the_endpoint_closes_idle_connections_and_lets_calls_finish() {
    on_workers(limits(), |pools| async move {
        let (go, went) = std::sync::mpsc::channel::<()>();
        let peer = Peer::start(move |listener| {
            let (mut busy, mut idle) = (listener.accept(), listener.accept());
            busy.request();
            idle.serve("idle");
            idle.expect_close();
            went.recv().expect("the test says when");
            busy.answer("busy");
            busy.expect_close();
        });
        let endpoint = peer.endpoint();
        let busy = {
            let (pools, endpoint) = (pools.clone(), endpoint.clone());
            io::spawn(async move { call(&pools, &endpoint, post("{}")).await })
        };
        until(|| pools.stats().first().is_some_and(|s| s.dialled == 1)).await;
        call(&pools, &endpoint, post("{}")).await.expect("answers");
        let kept = endpoint_with(
            &peer.url(),
            HttpVersion::Auto,
            Timeouts {
                total_ms: 1,
                ..Timeouts::default()
            },
        );
        pools.retain(|e| *e == *kept);
        assert_eq!(stats(&pools).idle, 1, "another deadline is no other endpoint");
        pools.retain(|_| false);
        assert_eq!(stats(&pools).idle, 0);
        go.send(()).expect("the script listens");
        assert_eq!(busy.await.expect("ran").expect("answers"), "busy");
        peer.finished().await;
        pools.retain(|_| false);
        assert!(pools.stats().is_empty());
    });
}
