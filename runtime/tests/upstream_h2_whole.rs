//! HTTP/2 answers of a stated length: awaited whole where that is of use, and what becomes of those that never are.
//! And the other way: small bodies that leave with their head, or wait for room without being asked about.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod upstream_support;

use bytes::Bytes;
use ringway_core::limits::{UPSTREAM_HOLD_BYTES_MAX, UpstreamLimits};
use ringway_proto::snapshot::{HttpVersion, Timeouts};
use ringway_runtime::{
    io,
    upstream::{Endpoint, FaultKind},
};
use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, mpsc},
};
use upstream_support::{frames::*, *};

const INITIAL_WINDOW_SIZE: u16 = 4;
/// Literal fields without indexing, named by the static table (RFC 7541 §6.2.2): 28 and 31.
const CONTENT_LENGTH: [u8; 2] = [0x0f, 28 - 15];
const CONTENT_TYPE: [u8; 2] = [0x0f, 31 - 15];

fn h2c(peer: &Peer) -> Arc<Endpoint> {
    endpoint_with(&peer.url(), HttpVersion::Http2, Timeouts::default())
}

/// `:status: 200` and these fields.
fn head(fields: &[([u8; 2], &str)]) -> Vec<u8> {
    let mut block = STATUS_200.to_vec();
    for (name, value) in fields {
        block.extend(name);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend(value.as_bytes());
    }
    block
}

/// Answers with a head that states `length`.
fn state(conn: &mut Frames, stream: u32, length: usize) {
    let block = head(&[(CONTENT_LENGTH, &length.to_string())]);
    conn.send(HEADERS, END_HEADERS, stream, &block);
}

/// Returns when the client has read all that was sent.
fn settle(conn: &mut Frames) {
    conn.send(PING, 0, 0, b"all read");
    while conn.next_any().expect("the client goes on").kind != PING {}
}

#[test]
fn an_answer_of_a_stated_length_is_given_when_it_is_whole() {
    on_workers(UpstreamLimits::default(), |pools| async move {
        let (seen, has_seen) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let peer = Peer::start(move |listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let (stream, _) = conn.request();
            state(&mut conn, stream, 11);
            settle(&mut conn);
            conn.send(DATA, 0, stream, b"hello ");
            settle(&mut conn);
            seen.send(()).expect("awaited");
            goes_on.recv().expect("told");
            conn.send(DATA, END_STREAM, stream, b"world");
            conn.expect_end();
        });
        let answered = Rc::new(Cell::new(false));
        let (endpoint, sender, done) = (h2c(&peer), pools.clone(), answered.clone());
        let call = io::spawn(async move {
            let response = sender.send(&endpoint, ANYONE, post("{}")).await;
            done.set(true);
            response
        });
        until(|| has_seen.try_recv().is_ok()).await;
        assert!(!answered.get(), "half an answer is none");
        go_on.send(()).expect("awaited");
        let response = call.await.expect("no panic").expect("answers");
        assert_eq!(response.body.length(), Some(11));
        assert_eq!(response.body.into_whole().ok().expect("whole"), "hello world");
        assert_eq!(stats(&pools).streams, 0);
        pools.retain(|_| false);
        peer.finished().await;
    });
}

#[test]
fn an_answer_that_never_becomes_whole_is_a_fault_of_a_sent_request() {
    type Cut = fn(&mut Frames, u32);
    let cuts: [(Cut, FaultKind); 4] = [
        // Less than was stated, and more.
        (
            |conn, stream| conn.send(DATA, END_STREAM, stream, b"less"),
            FaultKind::Protocol,
        ),
        (
            |conn, stream| conn.send(DATA, END_STREAM, stream, b"too much here"),
            FaultKind::Protocol,
        ),
        (
            |conn, stream| conn.reset(stream, INTERNAL_ERROR),
            FaultKind::Reset,
        ),
        // Refused after its head: it was processed all the same.
        (
            |conn, stream| conn.reset(stream, REFUSED_STREAM),
            FaultKind::Reset,
        ),
    ];
    for (cut, kind) in cuts {
        on_workers(UpstreamLimits::default(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = Frames::open(listener.accept(), &[]);
                let (stream, _) = conn.request();
                state(&mut conn, stream, 11);
                settle(&mut conn);
                conn.send(DATA, 0, stream, b"hello ");
                cut(&mut conn, stream);
                // The connection serves on; a breach of the protocol is reset.
                let stream = loop {
                    let frame = conn.next();
                    if frame.kind != RST_STREAM && frame.flags & END_STREAM != 0 {
                        break frame.stream;
                    }
                };
                conn.answer(stream, "ok");
                conn.expect_end();
            });
            let endpoint = h2c(&peer);
            let sent = pools.send(&endpoint, ANYONE, post("{}")).await;
            let fault = sent.err().expect("never whole");
            assert_eq!((fault.kind, fault.sent), (kind, true), "{fault}");
            assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
            assert_eq!(stats(&pools).retried, 0);
            pools.retain(|_| false);
            peer.finished().await;
        });
    }
}

#[test]
fn a_refusal_whose_body_breaks_off_is_still_a_refusal() {
    on_workers(UpstreamLimits::default(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let (stream, _) = conn.request();
            // `:status: 404` is the thirteenth of the static table.
            let mut block = head(&[(CONTENT_LENGTH, "11")]);
            block[0] = 0x80 | 13;
            conn.send(HEADERS, END_HEADERS, stream, &block);
            settle(&mut conn);
            conn.send(DATA, 0, stream, b"hello ");
            conn.reset(stream, INTERNAL_ERROR);
            conn.expect_end();
        });
        let response = pools.send(&h2c(&peer), ANYONE, post("{}")).await.expect("a head");
        assert_eq!(response.status, 404);
        assert_eq!(text(response).await.expect_err("cut").kind, FaultKind::Reset);
        pools.retain(|_| false);
        peer.finished().await;
    });
}

#[test]
fn silence_before_the_end_is_given_up_and_reset() {
    on_workers(UpstreamLimits::default(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let (stream, _) = conn.request();
            state(&mut conn, stream, 11);
            conn.send(DATA, 0, stream, b"hello ");
            let frame = conn.next();
            assert_eq!((frame.kind, frame.stream), (RST_STREAM, stream));
            assert_eq!(frame.payload, CANCEL.to_be_bytes());
        });
        let timeouts = Timeouts {
            idle_ms: 150,
            ..Timeouts::default()
        };
        let endpoint = endpoint_with(&peer.url(), HttpVersion::Http2, timeouts);
        let sent = pools.send(&endpoint, ANYONE, post("{}")).await;
        let fault = sent.err().expect("never whole");
        assert_eq!((fault.kind, fault.sent), (FaultKind::IdleTimeout, true));
        peer.finished().await;
    });
}

#[test]
fn events_and_long_answers_are_passed_on_as_they_come() {
    on_workers(UpstreamLimits::default(), |pools| async move {
        let (go_on, goes_on) = mpsc::channel();
        let peer = Peer::start(move |listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let long = (UPSTREAM_HOLD_BYTES_MAX + 1).to_string();
            let (stream, _) = conn.request();
            conn.send(HEADERS, END_HEADERS, stream, &head(&[(CONTENT_LENGTH, &long)]));
            conn.send(DATA, 0, stream, b"begun");
            goes_on.recv().expect("told");
            let stream = conn.request_and_resets(vec![stream], CANCEL);
            let events = [(CONTENT_LENGTH, "10"), (CONTENT_TYPE, "text/event-stream")];
            conn.send(HEADERS, END_HEADERS, stream, &head(&events));
            conn.send(DATA, 0, stream, b":\n\n");
            goes_on.recv().expect("told");
        });
        let endpoint = h2c(&peer);
        for piece in ["begun", ":\n\n"] {
            let response = pools.send(&endpoint, ANYONE, post("{}")).await;
            let mut body = response.expect("a head").body;
            assert_eq!(body.chunk().await.expect("goes on").expect("good"), piece);
            go_on.send(()).expect("awaited");
        }
        peer.finished().await;
    });
}

#[test]
fn an_answer_in_one_large_frame_is_taken() {
    on_workers(UpstreamLimits::default(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[]);
            let (stream, _) = conn.request();
            state(&mut conn, stream, UPSTREAM_HOLD_BYTES_MAX);
            // The client's SETTINGS came before its request and are in force.
            conn.send(DATA, END_STREAM, stream, &vec![b'x'; UPSTREAM_HOLD_BYTES_MAX]);
            conn.expect_end();
        });
        let response = pools
            .send(&h2c(&peer), ANYONE, post("{}"))
            .await
            .expect("answers");
        let whole = response.body.into_whole().ok().expect("whole");
        assert!(whole == vec![b'x'; UPSTREAM_HOLD_BYTES_MAX]);
        pools.retain(|_| false);
        peer.finished().await;
    });
}

#[test]
fn a_small_body_waits_for_room_by_itself() {
    on_workers(UpstreamLimits::default(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = Frames::open(listener.accept(), &[(INITIAL_WINDOW_SIZE, 0)]);
            let mut greeted = false;
            for _ in 0..2 {
                // The first may have left before our settings came.
                let asked = conn.next();
                assert_eq!(asked.kind, HEADERS);
                if greeted {
                    settle(&mut conn);
                }
                conn.send(WINDOW_UPDATE, 0, asked.stream, &100u32.to_be_bytes());
                let (stream, body) = conn.request();
                assert_eq!((stream, &body[..]), (asked.stream, &b"{}"[..]));
                conn.answer(stream, "ok");
                greeted = true;
            }
            conn.expect_end();
        });
        let endpoint = h2c(&peer);
        for _ in 0..2 {
            let mut request = post("");
            request.body = Bytes::from_static(b"{}");
            assert_eq!(call(&pools, &endpoint, request).await.expect("answers"), "ok");
        }
        pools.retain(|_| false);
        peer.finished().await;
    });
}
