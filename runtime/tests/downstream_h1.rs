//! HTTP/1.1 conversations with the server, on both drivers.

mod downstream_support;

use downstream_support::{BODY_MAX, Client, DRIVERS, Server};
use std::{io::Write, net::Shutdown};

/// Runs a conversation on each driver.
fn converse(conversation: impl Fn(&Server)) {
    for driver in DRIVERS {
        conversation(&Server::start(driver, |_| {}));
    }
}

#[test]
fn a_request_is_answered_and_the_connection_stays() {
    converse(|server| {
        let mut client = server.client();
        for round in 0..3 {
            let body = vec![b'x'; round * 7];
            let reply = client.post("/echo", &body);
            assert_eq!((reply.status, &reply.body), (200, &body));
            assert_eq!(reply.header("x-method"), Some("POST"));
            assert_eq!(reply.header("x-authority"), Some("here"));
            assert_eq!(reply.header("x-fields"), Some("1"));
            assert!(reply.header("date").unwrap().ends_with(" GMT"));
            assert!(!reply.closes());
        }
        assert_eq!(client.get("/empty").status, 202);
        assert_eq!(client.get("/nowhere").status, 404);
        assert_eq!(server.sum(|v| v.requests.get()), 5);
        assert_eq!(server.sum(|v| v.connections.get()), 1);
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    converse(|server| {
        let mut client = server.client();
        let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nTrailer: gone\r\n\r\n";
        let plain = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nabcdefg";
        for wire in [chunked, plain, chunked] {
            for byte in wire.as_bytes() {
                client.send([*byte]);
            }
            assert_eq!(client.reply().body, b"abcdefg");
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    converse(|server| {
        let mut client = server.client();
        // The first is the slowest; a partial fourth follows at once.
        client.send(
            "GET /slow?30 HTTP/1.1\r\nHost: a\r\n\r\n\
             POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo\
             GET /stream?3 HTTP/1.1\r\nHost: a\r\n\r\n\
             POST /echo HTTP/1.1\r\nHost: a\r\nContent-Le",
        );
        assert_eq!(client.reply().body, b"slow but sure");
        assert_eq!(client.reply().body, b"two");
        assert_eq!(client.reply().body, b"aaaaaaaaaabbbbbbbbbbcccccccccc");
        client.send("ngth: 4\r\n\r\nfour");
        assert_eq!(client.reply().body, b"four");
    });
}

#[test]
fn bytes_that_come_while_a_call_is_watched_are_kept() {
    converse(|server| {
        let mut client = server.client();
        client.send("GET /slow?100 HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("slow", 1);
        // Well inside the hundred milliseconds, and in pieces.
        for piece in [
            "POST /echo HTTP/1.1\r\nHo",
            "st: a\r\nContent-Length: 5\r\n\r\nhe",
            "llo",
        ] {
            client.send(piece);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(client.reply().body, b"slow but sure");
        assert_eq!(client.reply().body, b"hello");
    });
}

#[test]
fn a_body_is_asked_for_only_when_it_is_wanted() {
    converse(|server| {
        let mut client = server.client();
        let head = |target: &str, length: usize| {
            format!(
                "POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        client.send(head("/echo", 5));
        assert_eq!(client.head().status, 100);
        client.send("hello");
        assert_eq!(client.reply().body, b"hello");
        // A client that does not wait is not asked.
        client.send(head("/echo", 5) + "hello");
        assert_eq!(client.reply().status, 200);
        // Refused: the final answer at once, and an end, since nobody knows whether the body follows.
        client.send(head("/refuse", 5));
        let reply = client.reply();
        assert_eq!((reply.status, reply.closes()), (403, true));
        assert!(client.is_closed());
        let mut client = server.client();
        client.send(head("/echo", BODY_MAX + 1));
        assert_eq!(client.reply().status, 413);
        assert!(client.is_closed());
    });
}

#[test]
fn bodies_have_the_framing_of_their_request() {
    converse(|server| {
        let mut client = server.client();
        let reply = client.get("/stream?4");
        assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
        assert_eq!(reply.body.len(), 40);
        let reply = client.get("/stream-known?4");
        assert_eq!(
            (reply.header("content-length"), reply.body.len()),
            (Some("40"), 40)
        );
        // HEAD has the head and nothing more, whatever the body would be.
        for target in ["/echo", "/stream?4", "/stream-known?4", "/big?100000"] {
            client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(client.head().status, 200);
        }
        for status in [204, 304] {
            let reply = client.get(&format!("/status?{status}"));
            assert_eq!((reply.status, reply.header("content-length")), (status, None));
        }
        assert_eq!(client.get("/big?3000000").body.len(), 3_000_000);
        assert_eq!(client.get("/stream-large?20").body.len(), 1_000_000);
        assert_eq!(client.get("/stream-paced?20").body.len(), 200);
        // HTTP/1.0 knows no chunks and closes, unless asked not to.
        client.send("GET /stream?4 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let reply = client.reply();
        assert_eq!((reply.body.len(), reply.closes()), (40, true));
        let mut client = server.client();
        client.send("GET /echo HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert!(client.reply().closes());
        assert!(client.is_closed());
        let mut client = server.client();
        client.send("GET /big?10 HTTP/1.0\r\nHost: a\r\n\r\n");
        assert!(client.reply().closes());
        assert!(client.is_closed());
        let mut client = server.client();
        client.send("GET /big?10 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(client.reply().closes());
        assert!(client.is_closed());
    });
}

#[test]
fn a_broken_body_never_looks_whole() {
    converse(|server| {
        for target in ["/stream-broken?3", "/stream-short?3", "/stream-long?3"] {
            let mut client = server.client();
            client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let head = client.head();
            let rest = client.rest();
            match head.header("content-length") {
                Some(length) => assert!(rest.len() < length.parse().unwrap(), "{target}"),
                None => assert!(
                    !rest.ends_with(b"0\r\n\r\n") && rest.ends_with(b"c\r\n"),
                    "{target}"
                ),
            }
        }
        server.events.wait("stream dropped", 3);
    });
}

#[test]
fn a_field_that_would_break_out_is_not_sent() {
    converse(|server| {
        let mut client = server.client();
        let reply = client.get("/bad-field");
        assert_eq!((reply.status, reply.header("set-cookie")), (500, None));
        assert_eq!(client.get("/echo").status, 200);
    });
}

#[test]
fn heads_that_two_readers_could_read_differently_are_refused() {
    converse(|server| {
        for head in [
            "POST /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "POST /echo HTTP/1.1\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "POST /echo HTTP/1.1\nHost: a\n\n",
            "not http at all\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}",
        ] {
            let mut client = server.client();
            client.send(head);
            let reply = client.reply();
            assert_eq!((reply.status, reply.closes()), (400, true), "{head:?}");
            // Nothing behind it is taken for a request.
            assert!(client.is_closed());
        }
        assert_eq!(server.events.count("admit"), 0);
    });
}

#[test]
fn bodies_that_are_not_what_they_say_are_refused() {
    converse(|server| {
        for chunks in ["5\r\nhello!\r\n", "x\r\n", "5\nhello\r\n"] {
            let mut client = server.client();
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            client.send(chunks);
            let reply = client.reply();
            assert_eq!((reply.status, reply.closes()), (400, true), "{chunks:?}");
            assert!(client.is_closed());
        }
        // A body that breaks off is not taken for a shorter one.
        let mut client = server.client();
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello");
        client.io.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.reply().status, 400);
    });
}

#[test]
fn heads_are_bounded_in_bytes_and_fields() {
    converse(|server| {
        let mut client = server.client();
        let fits = "x".repeat(30_000);
        client.send(format!("GET /echo HTTP/1.1\r\nHost: a\r\nX: {fits}\r\n\r\n"));
        assert_eq!(client.reply().status, 200);
        for head in [
            format!(
                "GET /echo HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(40_000)
            ),
            format!("GET /echo HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100)),
        ] {
            let mut client = server.client();
            client.send(head);
            let reply = client.reply();
            assert_eq!((reply.status, reply.closes()), (431, true));
            assert!(client.is_closed());
        }
    });
}

#[test]
fn a_body_beyond_its_cap_is_refused_and_small_ones_leave_the_connection_usable() {
    converse(|server| {
        // Unread and small enough to read past.
        let mut client = server.client();
        for _ in 0..3 {
            let reply = client.post("/refuse", &[b'x'; 50_000]);
            assert_eq!((reply.status, reply.closes()), (403, false));
        }
        assert_eq!(client.post("/echo", b"still here").body, b"still here");
        // Too much to read past: the answer arrives whole although the client is still sending.
        for length in [BODY_MAX + 1, 3_000_000] {
            let mut client = server.client();
            client.send(format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
            ));
            let mut sending = client.io.try_clone().unwrap();
            let sender = std::thread::spawn(move || drop(sending.write_all(&vec![b'x'; length])));
            let reply = client.reply();
            assert_eq!(
                (reply.status, reply.closes(), &reply.body[..]),
                (413, true, &b"too large"[..])
            );
            drop(client);
            sender.join().unwrap();
        }
        let mut client = server.client();
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("ffffff\r\n");
        client.send(vec![b'x'; BODY_MAX + 1]);
        assert_eq!(client.reply().status, 413);
    });
}

#[test]
fn slow_heads_and_bodies_are_ended() {
    for driver in DRIVERS {
        let server = Server::start(driver, |limits| {
            limits.header_timeout_ms = 60;
            limits.body_timeout_ms = 60;
        });
        // One byte at a time does not move the deadline.
        let mut client = server.client();
        let mut drip = client.io.try_clone().unwrap();
        let dripping = std::thread::spawn(move || {
            for byte in b"GET /echo HTTP/1.1\r\nHost: a\r\nX-Long: "
                .iter()
                .chain([b'x'; 1000].iter())
            {
                if drip.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        let reply = client.reply();
        assert_eq!(
            (reply.status, reply.closes(), &reply.body[..]),
            (408, true, &b"slow"[..])
        );
        drop(client);
        dripping.join().unwrap();

        let mut client = server.client();
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello");
        let reply = client.reply();
        assert_eq!(
            (reply.status, reply.closes(), &reply.body[..]),
            (408, true, &b"slow body"[..])
        );
        assert!(client.is_closed());

        // Who says nothing at all hears nothing.
        assert!(server.client().is_closed());
    }
}

#[test]
fn an_idle_connection_is_closed_and_one_idle_for_long_still_answers() {
    for driver in DRIVERS {
        let server = Server::start(driver, |limits| limits.idle_timeout_ms = 1_500);
        let mut client = server.client();
        assert_eq!(client.get("/echo").status, 200);
        // By now it waits with its tiny buffer.
        std::thread::sleep(std::time::Duration::from_millis(1_200));
        let body = vec![b'y'; 20_000];
        assert_eq!(client.post("/echo", &body).body, body);
        assert!(client.is_closed());
    }
}

#[test]
fn a_call_whose_client_goes_away_is_dropped() {
    converse(|server| {
        let mut client = server.client();
        client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("hang", 1);
        drop(client);
        server.events.wait("hang dropped", 1);

        // The same while a body is being pulled.
        let mut client = server.client();
        client.send("GET /stream-hang?2 HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("stream hangs", 1);
        assert_eq!(client.head().status, 200);
        assert_eq!(client.chunk().unwrap(), b"aaaaaaaaaa");
        drop(client);
        server.events.wait("stream dropped", 1);

        // A reset counts as well, and so does a client that sent more before it left.
        let mut client = server.client();
        client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HT");
        server.events.wait("hang", 2);
        drop(client);
        server.events.wait("hang dropped", 2);
        server.until("abandoned calls", |v| v.requests_abandoned.get(), 3);
        server.until("open connections", |v| v.connections_open.get(), 0);
    });
}

#[test]
fn while_watching_no_more_than_a_bound_is_read() {
    for driver in DRIVERS {
        let server = Server::start(driver, |limits| limits.watch_bytes_max = 10_000);
        let mut client = server.client();
        client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("hang", 1);
        client
            .io
            .set_write_timeout(Some(std::time::Duration::from_millis(300)))
            .unwrap();
        let mut sent = 0;
        while let Ok(n) = client.io.write(&[b'x'; 100_000]) {
            sent += n;
            assert!(sent < 64 << 20, "a client may send without end");
        }
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_pulling() {
    for driver in DRIVERS {
        let server = Server::start(driver, |limits| limits.write_stall_timeout_ms = 300);
        let mut client = server.client();
        // 500 MB if it were pulled to the end.
        client.send("GET /stream-large?10000 HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("stream dropped", 1);
        let pulled = server.events.count("pull");
        assert!(
            pulled < 1_000,
            "{pulled} chunks pulled for a client that reads nothing"
        );
        assert!(!client.rest().ends_with(b"0\r\n\r\n"));
    }
}

#[test]
fn a_panic_ends_its_connection_only() {
    converse(|server| {
        let (mut one, mut other) = (server.client(), server.client());
        assert_eq!(other.get("/echo").status, 200);
        one.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(one.rest(), b"");
        assert_eq!(other.get("/echo").status, 200);
        server.until("open connections", |v| v.connections_open.get(), 1);
    });
}

#[test]
fn connections_beyond_the_bound_are_told_so() {
    for driver in DRIVERS {
        let server = Server::start(driver, |limits| limits.connections_per_worker_max = 2);
        let mut kept: Vec<Client> = (0..2).map(|_| server.client()).collect();
        for client in &mut kept {
            assert_eq!(client.get("/echo").status, 200);
        }
        let mut more = server.client();
        more.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = more.reply();
        assert_eq!((reply.status, reply.closes()), (503, true));
        drop(kept.pop());
        server.until("open connections", |v| v.connections_open.get(), 1);
        assert_eq!(server.client().get("/echo").status, 200);
        assert_eq!(server.sum(|v| v.connections_refused.get()), 1);
    }
}
