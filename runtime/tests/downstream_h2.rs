//! HTTP/2 conversations with the server: through the `h2` client where it behaves, by raw frames where it must not.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod downstream_support;

use bytes::Bytes;
use downstream_support::{BODY_MAX, DRIVERS, Events, PATIENCE, Server};
use h2::{Reason, RecvStream, SendStream, client::SendRequest};
use http::{HeaderMap, Method, Request};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Runs a conversation of tokio clients with a server on each driver.
fn converse<F: Future<Output = ()>>(
    tweak: impl Fn(&mut ringway_core::limits::DownstreamLimits),
    conversation: impl Fn(SocketAddr, Events) -> F,
) {
    for driver in DRIVERS {
        let server = Server::start(driver, &tweak);
        let client = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        client.block_on(async {
            tokio::time::timeout(PATIENCE, conversation(server.addr, server.events.clone()))
                .await
                .unwrap();
        });
    }
}

type Ended = tokio::task::JoinHandle<Result<(), h2::Error>>;

async fn connect(addr: SocketAddr) -> (SendRequest<Bytes>, Ended) {
    connect_with(addr, |_| {}).await
}

async fn connect_with(
    addr: SocketAddr,
    tweak: impl FnOnce(&mut h2::client::Builder),
) -> (SendRequest<Bytes>, Ended) {
    let socket = tokio::net::TcpStream::connect(addr).await.unwrap();
    let mut builder = h2::client::Builder::new();
    tweak(&mut builder);
    let (send, connection) = builder.handshake(socket).await.unwrap();
    (send, tokio::spawn(connection))
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("http://here{path}"))
        .body(())
        .unwrap()
}

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Result<Vec<u8>, h2::Error>,
}

async fn read(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        all.extend_from_slice(&data);
    }
    Ok(all)
}

async fn reply(response: h2::client::ResponseFuture) -> Result<Reply, h2::Error> {
    let (parts, body) = response.await?.into_parts();
    Ok(Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: read(body).await,
    })
}

async fn get(send: &SendRequest<Bytes>, path: &str) -> Reply {
    let mut send = send.clone().ready().await.unwrap();
    let (response, _) = send.send_request(request(Method::GET, path), true).unwrap();
    reply(response).await.unwrap()
}

/// Begins a request whose body is still to come.
async fn begin(
    send: &SendRequest<Bytes>,
    request: Request<()>,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let mut send = send.clone().ready().await.unwrap();
    send.send_request(request, false).unwrap()
}

async fn post(send: &SendRequest<Bytes>, path: &str, body: impl Into<Bytes>) -> Reply {
    let (response, mut stream) = begin(send, request(Method::POST, path)).await;
    stream.send_data(body.into(), true).unwrap();
    reply(response).await.unwrap()
}

#[test]
fn many_calls_share_a_connection() {
    converse(
        |_| {},
        |addr, events| async move {
            let (send, ended) = connect(addr).await;
            let echo = post(&send, "/echo", "hello").await;
            assert_eq!((echo.status, echo.body.unwrap()), (200, b"hello".to_vec()));
            assert_eq!(echo.headers["x-authority"], "here");
            assert_eq!(echo.headers["content-length"], "5");
            assert!(echo.headers["date"].to_str().unwrap().ends_with(" GMT"));
            assert_eq!(get(&send, "/empty").await.status, 202);
            assert_eq!(get(&send, "/refuse").await.status, 403);
            assert_eq!(get(&send, "/status?204").await.status, 204);
            assert_eq!(get(&send, "/big?3000000").await.body.unwrap().len(), 3_000_000);
            assert_eq!(
                get(&send, "/stream-large?20").await.body.unwrap().len(),
                1_000_000
            );
            assert_eq!(
                get(&send, "/stream-known?4").await.headers["content-length"],
                "40"
            );
            assert_eq!(get(&send, "/stream-paced?9").await.body.unwrap().len(), 90);
            assert_eq!(get(&send, "/bad-field").await.status, 500);

            let mut sender = send.clone().ready().await.unwrap();
            let (response, _) = sender
                .send_request(request(Method::HEAD, "/big?77"), true)
                .unwrap();
            let head = reply(response).await.unwrap();
            assert_eq!(
                (&head.headers["content-length"], head.body.unwrap().len()),
                (&"77".parse().unwrap(), 0)
            );

            // A slow call does not hold up the others.
            let slow = tokio::spawn({
                let send = send.clone();
                async move { get(&send, "/slow?150").await.status }
            });
            tokio::task::spawn_blocking(move || events.wait("slow", 1))
                .await
                .unwrap();
            for _ in 0..5 {
                assert_eq!(post(&send, "/echo", "x").await.status, 200);
            }
            assert!(!slow.is_finished());
            assert_eq!(slow.await.unwrap(), 200);
            drop((send, sender));
            ended.await.unwrap().unwrap();
        },
    );
}

#[test]
fn a_client_may_not_open_more_streams_than_it_is_told() {
    converse(
        |limits| limits.streams_per_connection_max = 3,
        |addr, events| async move {
            let (send, _ended) = connect(addr).await;
            assert_eq!(get(&send, "/echo").await.status, 200);
            let calls: Vec<_> = (0..8)
                .map(|_| {
                    let send = send.clone();
                    tokio::spawn(async move { get(&send, "/slow?20").await.status })
                })
                .collect();
            for call in calls {
                assert_eq!(call.await.unwrap(), 200);
            }
            assert_eq!(events.count("slow"), 8);
        },
    );
}

#[test]
fn bodies_are_capped_and_timed() {
    converse(
        |limits| limits.body_timeout_ms = 100,
        |addr, _| async move {
            let (send, _ended) = connect(addr).await;
            let body = vec![b'x'; BODY_MAX];
            assert_eq!(post(&send, "/echo", body.clone()).await.body.unwrap(), body);
            // Too large by its frames, then by its word.
            assert_eq!(post(&send, "/echo", vec![b'x'; BODY_MAX + 1]).await.status, 413);
            let mut said = request(Method::POST, "/echo");
            said.headers_mut()
                .insert("content-length", "999999".parse().unwrap());
            let (response, _stream) = begin(&send, said).await;
            assert_eq!(reply(response).await.unwrap().status, 413);
            // Never finished.
            let (response, mut stream) = begin(&send, request(Method::POST, "/echo")).await;
            stream.send_data("half".into(), false).unwrap();
            assert_eq!(reply(response).await.unwrap().status, 408);
            // In pieces.
            let (response, mut stream) = begin(&send, request(Method::POST, "/echo")).await;
            for piece in ["one ", "two ", "three"] {
                stream.send_data(piece.into(), false).unwrap();
                tokio::task::yield_now().await;
            }
            stream.send_data(Bytes::new(), true).unwrap();
            assert_eq!(reply(response).await.unwrap().body.unwrap(), b"one two three");
            // The connection is none the worse.
            assert_eq!(get(&send, "/echo").await.status, 200);
        },
    );
}

#[test]
fn a_broken_body_is_reset_and_its_neighbours_are_not() {
    converse(
        |_| {},
        |addr, _| async move {
            let (send, _ended) = connect(addr).await;
            for path in ["/stream-broken?3", "/stream-short?3", "/stream-long?3"] {
                let error = get(&send, path).await.body.unwrap_err();
                assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}");
            }
            let mut sender = send.clone().ready().await.unwrap();
            let (response, _) = sender.send_request(request(Method::GET, "/panic"), true).unwrap();
            assert!(reply(response).await.is_err());
            assert_eq!(get(&send, "/echo").await.status, 200);
        },
    );
}

#[test]
fn a_cancelled_call_is_dropped() {
    converse(
        |_| {},
        |addr, events| async move {
            let (send, ended) = connect(addr).await;
            let wait = |name, n| {
                let events = events.clone();
                tokio::task::spawn_blocking(move || events.wait(name, n))
            };
            let (response, mut stream) = begin(&send, request(Method::POST, "/hang")).await;
            stream.send_data(Bytes::new(), true).unwrap();
            wait("hang", 1).await.unwrap();
            stream.send_reset(Reason::CANCEL);
            drop(response);
            wait("hang dropped", 1).await.unwrap();

            let mut sender = send.clone().ready().await.unwrap();
            let (response, mut stream) = sender
                .send_request(request(Method::GET, "/stream-hang?2"), true)
                .unwrap();
            let body = response.await.unwrap().into_body();
            wait("stream hangs", 1).await.unwrap();
            stream.send_reset(Reason::CANCEL);
            drop(body);
            wait("stream dropped", 1).await.unwrap();

            // A lost connection cancels all of its streams.
            let calls: Vec<_> = (0..5)
                .map(|_| {
                    let send = send.clone();
                    tokio::spawn(async move { get(&send, "/hang").await.status })
                })
                .collect();
            wait("hang", 6).await.unwrap();
            ended.abort();
            wait("hang dropped", 6).await.unwrap();
            calls.into_iter().for_each(|call| call.abort());
        },
    );
}

#[test]
fn a_client_that_makes_no_room_stops_the_pulling_and_loses_the_stream() {
    converse(
        |limits| limits.write_stall_timeout_ms = 200,
        |addr, events| async move {
            let (send, _ended) = connect(addr).await;
            let mut sender = send.clone().ready().await.unwrap();
            let (response, _) = sender
                .send_request(request(Method::GET, "/stream-large?10000"), true)
                .unwrap();
            let mut body = response.await.unwrap().into_body();
            tokio::task::spawn_blocking({
                let events = events.clone();
                move || events.wait("stream dropped", 1)
            })
            .await
            .unwrap();
            // One window and what stands ready behind it, of 500 MB.
            assert!(
                events.count("pull") < 20,
                "{} chunks pulled",
                events.count("pull")
            );
            let end = loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error.reason(),
                    None => panic!("a cut body looks whole"),
                }
            };
            assert_eq!(end, Some(Reason::CANCEL));
            assert_eq!(get(&send, "/echo").await.status, 200);
        },
    );
}

#[test]
fn large_heads_are_refused() {
    converse(
        |limits| limits.header_fields_max = 20,
        |addr, _| async move {
            let (send, _ended) = connect(addr).await;
            let mut many = request(Method::GET, "/echo");
            for n in 0..21 {
                many.headers_mut().insert(
                    http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap(),
                    "y".parse().unwrap(),
                );
            }
            let mut large = request(Method::GET, "/echo");
            large
                .headers_mut()
                .insert("x", "y".repeat(40_000).parse().unwrap());
            for request in [many, large] {
                let mut sender = send.clone().ready().await.unwrap();
                let (response, _) = sender.send_request(request, true).unwrap();
                assert_eq!(reply(response).await.unwrap().status, 431);
            }
            assert_eq!(get(&send, "/echo").await.status, 200);
        },
    );
}

#[test]
fn a_drain_lets_calls_finish_and_says_goaway() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        let client = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        client.block_on(async {
            let (send, ended) = connect(server.addr).await;
            let (idle, idle_ended) = connect(server.addr).await;
            assert_eq!(get(&idle, "/echo").await.status, 200);
            let call = tokio::spawn({
                let send = send.clone();
                async move { get(&send, "/slow?100").await }
            });
            let events = server.events.clone();
            tokio::task::spawn_blocking(move || events.wait("slow", 1))
                .await
                .unwrap();
            let drained = tokio::spawn(server.handle().drain(PATIENCE));
            let reply = call.await.unwrap();
            assert_eq!(
                (reply.status, reply.body.unwrap()),
                (200, b"slow but sure".to_vec())
            );
            // Both connections end in order, the idle one without being asked.
            ended.await.unwrap().unwrap();
            idle_ended.await.unwrap().unwrap();
            assert_eq!(drained.await.unwrap().cut, 0);
            assert!(send.ready().await.is_err());
            assert!(tokio::net::TcpStream::connect(server.addr).await.is_err());
        });
    }
}

#[test]
fn an_unused_connection_is_given_up() {
    converse(
        |limits| {
            limits.idle_timeout_ms = 60;
            limits.ping_every_ms = 20;
        },
        |addr, _| async move {
            // Only this client's answers to PING keep it from being taken for dead.
            let (send, ended) = connect(addr).await;
            assert_eq!(get(&send, "/slow?200").await.status, 200);
            ended.await.unwrap().unwrap();
            drop(send);
        },
    );
}

/// A client that sends frames as they are.
struct Raw {
    socket: TcpStream,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Raw {
    fn connect(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self { socket };
        raw.socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        raw.frame(SETTINGS, 0, 0, &[]);
        raw
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        assert!(self.try_frame(kind, flags, stream, payload));
    }

    fn try_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.socket.write_all(&frame).is_ok()
    }

    /// A request by literal fields (RFC 7541 §6.2.2).
    fn headers(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.as_bytes());
            }
        }
        self.frame(HEADERS, flags | END_HEADERS, stream, &block);
    }

    fn get(&mut self, stream: u32, path: &str, more: &[(&str, &str)]) {
        let mut fields = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "here"),
        ];
        fields.extend(more);
        self.headers(stream, END_STREAM, &fields);
    }

    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame {
            kind: head[3],
            stream,
            payload,
        })
    }

    /// The next frame of one of these kinds.
    fn wait(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if kinds.contains(&frame.kind) {
                return Some(frame);
            }
        }
    }

    /// The reason of the GOAWAY that must come.
    fn goaway(&mut self) -> Reason {
        let frame = self.wait(&[GOAWAY]).unwrap();
        Reason::from(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()))
    }
}

#[test]
fn malformed_requests_are_reset() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        let mut raw = Raw::connect(server.addr);
        let bad: [&[(&str, &str)]; 6] = [
            // Connection fields (RFC 9113 §8.2.2).
            &[("connection", "keep-alive")],
            &[("transfer-encoding", "chunked")],
            &[("keep-alive", "1")],
            &[("upgrade", "h2c")],
            &[("proxy-connection", "close")],
            &[("te", "gzip")],
        ];
        for (n, more) in bad.into_iter().enumerate() {
            let stream = 2 * u32::try_from(n).unwrap() + 1;
            raw.get(stream, "/echo", more);
            let frame = raw.wait(&[RST_STREAM, HEADERS, GOAWAY]).unwrap();
            assert_eq!((frame.kind, frame.stream), (RST_STREAM, stream), "{more:?}");
            assert_eq!(frame.payload, Reason::PROTOCOL_ERROR.to_be_bytes(), "{more:?}");
        }
        assert_eq!(server.events.count("admit"), 0);
        raw.get(101, "/echo", &[("te", "trailers")]);
        assert_eq!(raw.wait(&[RST_STREAM, HEADERS]).unwrap().kind, HEADERS);
        assert_eq!(server.events.count("admit"), 1);
        // A name in upper case (§8.2) is beyond repair for `h2`.
        raw.get(103, "/echo", &[("X-Upper", "a")]);
        assert_eq!(raw.goaway(), Reason::PROTOCOL_ERROR);
    }
}

trait ToBytes {
    fn to_be_bytes(self) -> Vec<u8>;
}

impl ToBytes for Reason {
    fn to_be_bytes(self) -> Vec<u8> {
        u32::from(self).to_be_bytes().to_vec()
    }
}

#[test]
fn two_hosts_or_a_user_before_one_are_refused() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        let mut raw = Raw::connect(server.addr);
        let base = [(":method", "GET"), (":scheme", "http"), (":path", "/echo")];
        for (n, (authority, more, fine)) in [
            (Some("here"), vec![("host", "there")], false),
            (Some("here"), vec![("host", "HERE")], true),
            (None, vec![("host", "here")], true),
            (None, vec![("host", "here"), ("host", "here")], false),
            (None, vec![], false),
            (Some("user@here"), vec![], false),
            (None, vec![("host", "a,b")], false),
        ]
        .into_iter()
        .enumerate()
        {
            let mut fields = base.to_vec();
            fields.extend(authority.map(|authority| (":authority", authority)));
            fields.extend(&more);
            raw.headers(2 * u32::try_from(n).unwrap() + 1, END_STREAM, &fields);
            let before = server.events.count("admit");
            let frame = raw.wait(&[RST_STREAM, HEADERS]).unwrap();
            let admitted = server.events.count("admit") > before || (fine && before > 0);
            assert_eq!(frame.kind, HEADERS, "{authority:?} {more:?}");
            // `:status: 200` is one octet of the static table.
            assert_eq!(
                frame.payload[0] == 0x88,
                fine,
                "{authority:?} {more:?} {admitted}"
            );
        }
    }
}

#[test]
fn a_body_of_another_length_than_stated_is_reset() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        let mut raw = Raw::connect(server.addr);
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/echo"),
            (":authority", "here"),
            ("content-length", "9"),
        ];
        raw.headers(1, 0, &fields);
        raw.frame(DATA, END_STREAM, 1, b"hello");
        assert_eq!(raw.wait(&[RST_STREAM, HEADERS]).unwrap().kind, RST_STREAM);
    }
}

#[test]
fn a_flood_of_resets_ends_the_connection() {
    for driver in DRIVERS {
        let server = Server::start(driver, |_| {});
        // Before we have seen the streams: rapid reset.
        let mut raw = Raw::connect(server.addr);
        for n in 0..2_000 {
            let mut fields = vec![0x82, 0x86, 0x41, 4];
            fields.extend(b"here");
            fields.extend([0x04, 5]);
            fields.extend(b"/hang");
            if !raw.try_frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &fields)
                || !raw.try_frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes())
            {
                break;
            }
        }
        assert_eq!(raw.goaway(), Reason::ENHANCE_YOUR_CALM);
        let begun = server.events.count("hang");
        assert!(begun < 500, "{begun} calls were begun");
        // After each call has begun: each cost us one.
        let mut raw = Raw::connect(server.addr);
        for n in 0..200u32 {
            raw.get(2 * n + 1, "/hang", &[]);
            let before = begun + n as usize;
            if server.sum(|v| v.reset_floods.get()) > 0 {
                break;
            }
            wait_or_flood(&server, before + 1);
            raw.try_frame(RST_STREAM, 0, 2 * n + 1, &8u32.to_be_bytes());
        }
        assert_eq!(raw.goaway(), Reason::ENHANCE_YOUR_CALM);
        server.until("open connections", |v| v.connections_open.get(), 0);
        assert_eq!(server.events.count("hang"), server.events.count("hang dropped"));
        // Others are served as before.
        assert_eq!(server.client().get("/echo").status, 200);
    }
}

fn wait_or_flood(server: &Server, calls: usize) {
    let end = std::time::Instant::now() + PATIENCE;
    while server.events.count("hang") < calls && server.sum(|v| v.reset_floods.get()) == 0 {
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(Duration::from_micros(50));
    }
}

#[test]
fn a_mute_client_is_given_up() {
    for driver in DRIVERS {
        let server = Server::start(driver, |limits| {
            limits.ping_every_ms = 20;
            limits.pong_within_ms = 20;
        });
        let mut raw = Raw::connect(server.addr);
        raw.get(1, "/hang", &[]);
        server.events.wait("hang dropped", 1);
        // Read to the end: it never answered the PING.
        while raw.next().is_some() {}
        server.until("open connections", |v| v.connections_open.get(), 0);
    }
}

#[test]
fn a_preface_in_pieces_is_a_preface() {
    for driver in DRIVERS {
        let server = Server::start(driver, |limits| limits.header_timeout_ms = 500);
        let mut socket = TcpStream::connect(server.addr).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
            socket.write_all(&[*byte]).unwrap();
        }
        let mut raw = Raw { socket };
        raw.frame(SETTINGS, 0, 0, &[]);
        raw.get(1, "/echo", &[]);
        assert_eq!(raw.wait(&[HEADERS]).unwrap().stream, 1);
        // Almost a preface is a malformed request, and the beginning of one is nothing.
        let mut client = server.client();
        client.send("PRI * HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.reply().status, 400);
        let mut client = server.client();
        client.send("PRI * HT");
        assert!(client.is_closed());
    }
}
