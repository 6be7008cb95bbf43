//! HTTP/1.1 toward scripted servers: framing, reuse, and above all what is never sent twice.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod upstream_support;

use bytes::Bytes;
use ringway_core::limits::UpstreamLimits;
use ringway_proto::{
    http::Method,
    snapshot::{HttpVersion, Timeouts},
};
use ringway_runtime::{
    io,
    upstream::{FaultKind, Request},
};
use std::{rc::Rc, time::Duration};
use tokio::sync::oneshot;
use upstream_support::*;

fn limits() -> UpstreamLimits {
    UpstreamLimits::default()
}

#[test]
fn the_request_is_written_as_given_plus_host_and_length() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = listener.accept();
            let (head, body) = conn.request();
            let host = listener.0.local_addr().expect("bound");
            let expected = format!(
                "POST /mcp?x=1 HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\
                 mcp-session-id: s\r\ncontent-length: 2\r\n\r\n"
            );
            assert_eq!(head, expected);
            assert_eq!(body, b"{}");
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\ndone");
            // A GET has no body and says so by silence; an empty POST says 0.
            assert!(!conn.serve("").contains("content-length"));
            assert!(conn.serve("").contains("\r\ncontent-length: 0\r\n"));
        });
        let mut request = Request {
            target: Bytes::from_static(b"/mcp?x=1"),
            ..post("{}")
        };
        request.headers.push("accept", "text/event-stream");
        request.headers.push("mcp-session-id", "s");
        let endpoint = peer.endpoint();
        let response = pools.send(&endpoint, ANYONE, request).await.expect("answers");
        assert_eq!(response.status, 200);
        assert_eq!(
            response.headers.get("content-type"),
            Some(&b"application/json"[..])
        );
        assert_eq!(response.body.length(), Some(4));
        assert_eq!(text(response).await.expect("whole"), "done");
        call(&pools, &endpoint, get()).await.expect("answers");
        call(&pools, &endpoint, post("")).await.expect("answers");
        let stats = stats(&pools);
        assert_eq!(
            (stats.dialled, stats.reused, stats.open, stats.idle),
            (1, 2, 1, 1)
        );
        peer.finished().await;
    });
}

#[test]
fn answers_are_the_same_however_they_are_cut() {
    const ANSWERS: [&str; 3] = [
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n00006\r\n world\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
         HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb;ext=1\r\nhello world\r\n0\r\nx: y\r\n\r\n",
    ];
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = listener.accept();
            for answer in ANSWERS {
                for cut in [1, 2, 3, 7, 20, answer.len()] {
                    conn.request();
                    answer.as_bytes().chunks(cut).for_each(|piece| conn.send(piece));
                }
            }
        });
        let endpoint = peer.endpoint();
        for _ in 0..ANSWERS.len() * 6 {
            assert_eq!(
                call(&pools, &endpoint, post("{}")).await.expect("whole"),
                "hello world"
            );
        }
        assert_eq!(
            stats(&pools).dialled,
            1,
            "every answer ended where its framing says"
        );
        peer.finished().await;
    });
}

#[test]
fn a_connection_closed_while_idle_is_noticed_before_it_is_used() {
    on_workers(limits(), |pools| async move {
        let (closed, is_closed) = oneshot::channel();
        let peer = Peer::start(move |listener| {
            let mut first = listener.accept();
            first.serve("one");
            drop(first);
            closed.send(()).expect("the test waits");
            let mut second = listener.accept();
            assert_eq!(second.serve("two").lines().next(), Some("POST /mcp HTTP/1.1"));
        });
        let endpoint = peer.endpoint();
        assert_eq!(call(&pools, &endpoint, post("1")).await.expect("answers"), "one");
        is_closed.await.expect("the script goes on");
        no_longer_fresh().await;
        assert_eq!(call(&pools, &endpoint, post("2")).await.expect("answers"), "two");
        let stats = stats(&pools);
        assert_eq!((stats.dialled, stats.reused, stats.retried), (2, 0, 0));
        peer.finished().await;
    });
}

#[test]
fn a_call_whose_connection_dies_unanswered_is_not_sent_again() {
    // The tool may have run. Whether the connection was new or reused, closed or reset, makes no difference.
    for (reused, reset) in [(false, false), (false, true), (true, false), (true, true)] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                if reused {
                    conn.serve("fine");
                }
                let (_, body) = conn.request();
                assert_eq!(body, b"delete everything");
                if reset {
                    conn.reset()
                } else {
                    drop(conn)
                }
                // The retry, were there one, would be here by the time a later call is.
                let mut later = listener.accept();
                let (_, body) = later.request();
                assert_eq!(body, b"later");
                later.answer("fine");
                listener.expect_nobody();
            });
            let endpoint = peer.endpoint();
            if reused {
                call(&pools, &endpoint, post("warm up")).await.expect("answers");
            }
            let fault = call(&pools, &endpoint, post("delete everything"))
                .await
                .expect_err("no answer");
            assert_eq!((fault.kind, fault.sent), (FaultKind::Reset, true), "{fault}");
            call(&pools, &endpoint, post("later")).await.expect("answers");
            assert_eq!(stats(&pools).retried, 0);
            peer.finished().await;
        });
    }
}

#[test]
fn an_answer_that_breaks_off_is_told_from_a_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello",
    ] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                conn.request();
                conn.send(answer);
            });
            let response = pools
                .send(&peer.endpoint(), ANYONE, post("{}"))
                .await
                .expect("a head");
            let mut body = response.body;
            assert_eq!(body.chunk().await.expect("a chunk").expect("good"), "hello");
            let fault = body.chunk().await.expect("not the end").expect_err("cut");
            assert_eq!((fault.kind, fault.sent), (FaultKind::Reset, true));
            assert!(body.chunk().await.is_none());
            assert_eq!(stats(&pools).idle, 0);
            peer.finished().await;
        });
    }
}

#[test]
fn a_head_that_breaks_off_or_is_not_http_is_a_fault() {
    for (answer, kind) in [
        ("HTTP/1.1 200 OK\r\ncontent-", FaultKind::Reset),
        ("SSH-2.0-OpenSSH\r\n", FaultKind::Protocol),
        ("hello", FaultKind::Protocol),
        ("HTTP/2 200\r\n\r\n", FaultKind::Protocol),
        ("HTTP/1.1 2000 OK\r\n\r\n", FaultKind::Protocol),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            FaultKind::Protocol,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            FaultKind::Protocol,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            FaultKind::Protocol,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            FaultKind::Protocol,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            FaultKind::Protocol,
        ),
    ] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                conn.request();
                conn.send(answer);
            });
            let fault = call(&pools, &peer.endpoint(), post("{}"))
                .await
                .expect_err(answer);
            assert_eq!((fault.kind, fault.sent), (kind, true), "{answer:?}: {fault}");
            peer.finished().await;
        });
    }
}

#[test]
fn heads_and_interim_answers_without_end_are_cut_short() {
    let fields = |n: usize| -> String {
        let fields: String = (0..n).map(|i| format!("x-{i}: y\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n")
    };
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(limits().head_bytes_max));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9);
    for (answer, kind) in [
        (long, FaultKind::TooLarge),
        (fields(limits().head_fields_max), FaultKind::TooLarge),
        (interim, FaultKind::Protocol),
    ] {
        on_workers(limits(), |pools| {
            let answer = answer.clone();
            async move {
                let peer = Peer::start(move |listener| {
                    let mut conn = listener.accept();
                    conn.request();
                    conn.send(answer);
                    conn.expect_close();
                });
                let fault = call(&pools, &peer.endpoint(), post("{}"))
                    .await
                    .expect_err("refused");
                assert_eq!((fault.kind, fault.sent), (kind, true), "{fault}");
                peer.finished().await;
            }
        });
    }
    on_workers(limits(), |pools| {
        let answer = fields(limits().head_fields_max - 1);
        async move {
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                conn.request();
                conn.send(answer);
            });
            call(&pools, &peer.endpoint(), post("{}"))
                .await
                .expect("just within the bound");
            peer.finished().await;
        }
    });
}

#[test]
fn bytes_behind_an_answer_end_the_connection_and_not_the_answer() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            for answer in [
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
                "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
            ] {
                let mut conn = listener.accept();
                conn.request();
                conn.send(answer);
                conn.expect_close();
            }
            // Until the connection closes: what else could end it?
            let mut conn = listener.accept();
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\n\r\nok");
        });
        let endpoint = peer.endpoint();
        for _ in 0..5 {
            assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("whole"), "ok");
        }
        assert_eq!(stats(&pools).dialled, 5);
        peer.finished().await;
    });
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = listener.accept();
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n");
            for status in [
                "204 No Content",
                "304 Not Modified",
                "202 Accepted\r\ncontent-length: 0",
            ] {
                conn.request();
                conn.send(format!("HTTP/1.1 {status}\r\n\r\n"));
            }
        });
        let endpoint = peer.endpoint();
        let head = Request {
            method: Method::Head,
            ..get()
        };
        for (request, status) in [(head, 200), (get(), 204), (get(), 304), (post("{}"), 202)] {
            let response = pools.send(&endpoint, ANYONE, request).await.expect("answers");
            assert_eq!((response.status, response.body.length()), (status, Some(0)));
            assert_eq!(text(response).await.expect("nothing"), "");
        }
        assert_eq!(stats(&pools).dialled, 1);
        peer.finished().await;
    });
}

#[test]
fn each_deadline_has_its_own_fault() {
    let short = |change: fn(&mut Timeouts)| {
        let mut timeouts = Timeouts::default();
        change(&mut timeouts);
        timeouts
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    for (timeouts, answer, kind) in [
        (short(|t| t.header_ms = 100), "", FaultKind::HeaderTimeout),
        (
            short(|t| t.header_ms = 100),
            "HTTP/1.1 200 OK\r\n",
            FaultKind::HeaderTimeout,
        ),
        (short(|t| t.idle_ms = 100), head, FaultKind::IdleTimeout),
        (short(|t| t.total_ms = 100), "", FaultKind::TotalTimeout),
        (short(|t| t.total_ms = 100), head, FaultKind::TotalTimeout),
    ] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                conn.request();
                conn.send(answer);
                conn.expect_close();
            });
            let endpoint = endpoint_with(&peer.url(), HttpVersion::Auto, timeouts);
            let fault = call(&pools, &endpoint, post("{}")).await.expect_err("too slow");
            assert_eq!((fault.kind, fault.sent), (kind, true), "{fault}");
            peer.finished().await;
        });
    }
}

#[test]
fn a_long_lived_stream_outlasts_every_deadline_of_a_call() {
    on_workers(limits(), |pools| async move {
        let (go, went) = std::sync::mpsc::channel();
        let peer = Peer::start(move |listener| {
            let mut conn = listener.accept();
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while let Ok(()) = went.recv() {
                // Longer than any deadline below.
                std::thread::sleep(Duration::from_millis(20));
                conn.send("2\r\n:\n\r\n");
            }
            conn.send("0\r\n\r\n");
        });
        let timeouts = Timeouts {
            total_ms: 1,
            header_ms: 1,
            // The head may come with the first event, so this one bounds the head.
            idle_ms: 10_000,
            ..Timeouts::default()
        };
        let endpoint = endpoint_with(&peer.url(), HttpVersion::Auto, timeouts);
        let request = Request {
            long_lived: true,
            ..get()
        };
        let mut body = pools
            .send(&endpoint, ANYONE, request)
            .await
            .expect("a stream")
            .body;
        for _ in 0..3 {
            go.send(()).expect("the script listens");
            assert_eq!(body.chunk().await.expect("goes on").expect("good"), ":\n");
        }
        drop(go);
        assert!(body.chunk().await.is_none(), "the orderly end");
        peer.finished().await;
    });
}

#[test]
fn giving_up_a_call_closes_its_connection() {
    on_workers(limits(), |pools| async move {
        let (asked, was_asked) = oneshot::channel();
        let (half_sent, was_half_sent) = oneshot::channel();
        let peer = Peer::start(move |listener| {
            // Before the head …
            let mut conn = listener.accept();
            conn.request();
            asked.send(()).expect("the test waits");
            conn.expect_close();
            // … and within the body.
            let mut conn = listener.accept();
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
            conn.expect_close();
            // … whether the body is handed on in pieces or when it is whole.
            let mut conn = listener.accept();
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
            half_sent.send(()).expect("the test waits");
            conn.expect_close();
        });
        let endpoint = peer.endpoint();
        let asked = io::race(call(&pools, &endpoint, post("{}")), was_asked).await;
        assert!(asked.is_err(), "the question came first");
        let mut response = pools.send(&endpoint, ANYONE, post("{}")).await.expect("a head");
        assert_eq!(response.body.chunk().await.expect("some").expect("good"), "hello");
        drop(response);
        let half = io::race(call(&pools, &endpoint, post("{}")), was_half_sent).await;
        assert!(half.is_err(), "the half came first");
        peer.finished().await;
        assert_eq!(stats(&pools).open, 0);
    });
}

#[test]
fn giving_up_waiting_for_a_chunk_loses_nothing() {
    on_workers(limits(), |pools| async move {
        let (go, went) = std::sync::mpsc::channel::<()>();
        let peer = Peer::start(move |listener| {
            let mut conn = listener.accept();
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 10\r\n\r\n");
            went.recv().expect("the test says when");
            conn.send("helloworld");
        });
        let mut body = pools
            .send(&peer.endpoint(), ANYONE, post("{}"))
            .await
            .expect("a head")
            .body;
        for _ in 0..3 {
            let early = io::timeout(Duration::from_millis(2), body.chunk()).await;
            assert!(early.is_err(), "nothing was sent yet");
        }
        go.send(()).expect("the script listens");
        assert_eq!(body.collect(10).await.expect("whole"), "helloworld");
        assert_eq!(stats(&pools).idle, 1);
        peer.finished().await;
    });
}

#[test]
fn a_long_body_refused_early_still_gives_the_answer() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = listener.accept();
            // Reads nothing: the client's body cannot leave whole.
            conn.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\n\r\nbig!");
            conn.half_read_then_close();
        });
        let body = Bytes::from(vec![b'x'; 8 << 20]);
        let request = Request { body, ..post("") };
        let response = pools
            .send(&peer.endpoint(), ANYONE, request)
            .await
            .expect("the refusal");
        assert_eq!(response.status, 413);
        assert_eq!(text(response).await.expect("whole"), "big!");
        assert_eq!(stats(&pools).idle, 0, "half a request stands on that connection");
        peer.finished().await;
    });
}

#[test]
fn a_body_longer_than_the_cap_is_refused_known_or_not() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            for answer in [
                "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhello",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n",
            ] {
                let mut conn = listener.accept();
                conn.request();
                conn.send(answer);
                conn.expect_close();
            }
            let mut conn = listener.accept();
            conn.serve("hello world");
        });
        let endpoint = peer.endpoint();
        for _ in 0..2 {
            let response = pools.send(&endpoint, ANYONE, post("{}")).await.expect("a head");
            let fault = response.body.collect(10).await.expect_err("too long");
            assert_eq!(fault.kind, FaultKind::TooLarge);
        }
        let response = pools.send(&endpoint, ANYONE, post("{}")).await.expect("a head");
        assert_eq!(response.body.collect(11).await.expect("fits"), "hello world");
        peer.finished().await;
    });
}

#[test]
fn a_unix_socket_is_a_server_called_localhost() {
    on_workers(limits(), |pools| async move {
        use std::io::{Read, Write};
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tools.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("binds");
        let thread = std::thread::spawn(move || {
            let (mut conn, _) = listener.accept().expect("a client");
            conn.set_read_timeout(Some(PATIENCE)).expect("sets");
            for _ in 0..2 {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n{}") {
                    let mut byte = [0];
                    assert_eq!(conn.read(&mut byte).expect("a request"), 1);
                    head.extend(byte);
                }
                assert!(head.starts_with(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n"));
                conn.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .expect("writes");
            }
        });
        let endpoint = endpoint(&format!("unix:{}", path.display()));
        assert_eq!(endpoint.path(), "/mcp");
        for _ in 0..2 {
            assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
        }
        assert_eq!(stats(&pools).dialled, 1);
        thread.join().expect("the script went well");
    });
}

#[test]
fn nobody_listening_is_told_at_once_and_nothing_was_sent() {
    on_workers(limits(), |pools| async move {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("binds")
            .local_addr()
            .expect("bound");
        let mut urls = vec![
            format!("http://{free}/mcp"),
            "unix:/nowhere/at/all.sock".to_owned(),
        ];
        // A name whose every address refuses.
        urls.push(format!("http://localhost:{}/mcp", free.port()));
        for url in urls {
            let fault = call(&pools, &endpoint(&url), post("{}"))
                .await
                .expect_err("nobody there");
            assert_eq!((fault.kind, fault.sent), (FaultKind::Connect, false), "{fault}");
        }
        assert!(pools.stats().iter().all(|s| s.open == 0));
    });
}

#[test]
fn the_worker_may_end_with_connections_open() {
    on_workers(limits(), |pools| async move {
        let peer = Peer::start(|listener| {
            let mut conn = listener.accept();
            conn.serve("fine");
            conn.expect_close();
        });
        call(&pools, &peer.endpoint(), post("{}")).await.expect("answers");
        let weak = Rc::downgrade(&pools);
        drop(pools);
        assert!(weak.upgrade().is_none());
        peer.finished().await;
    });
}

impl Conn {
    fn half_read_then_close(&mut self) {
        use std::io::Read;
        let mut some = [0; 1024];
        let _ = self.stream.read(&mut some).expect("some of it");
    }
}
