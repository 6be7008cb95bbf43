//! Conversations over loopback sockets, on both drivers.

use super::*;
use bytes::{Bytes, BytesMut};
use std::{
    io::ErrorKind,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn on_both<F: Future<Output = ()>>(conversation: impl Fn() -> F) {
    for driver in [Driver::Uring, Driver::Epoll] {
        run(driver, async {
            timeout(Duration::from_secs(20), conversation()).await.unwrap()
        })
        .unwrap();
    }
}

async fn pair() -> (Stream, Stream) {
    let listener = TcpListener::bind(LOCAL, false, 16).unwrap();
    let addr = listener.local_addr();
    let client = spawn(async move { connect_tcp(addr).await.unwrap() });
    let (server, peer) = listener.accept().await.unwrap();
    let client = client.await.unwrap();
    assert_eq!(client.local_addr().unwrap(), peer);
    assert_eq!(server.local_addr().unwrap(), addr);
    (server, client)
}

#[test]
fn reads_append_and_the_end_is_zero() {
    on_both(|| async {
        let (mut server, mut client) = pair().await;
        client.write_all(Bytes::from_static(b"world")).await.unwrap();
        client.shutdown().await.unwrap();
        let (n, buf) = server.read_append(BytesMut::from(&b"hello "[..])).await;
        assert_eq!((n.unwrap(), &buf[..]), (5, &b"hello world"[..]));
        let (n, buf) = server.read_append(buf).await;
        assert_eq!((n.unwrap(), &buf[..]), (0, &b"hello world"[..]));
    });
}

#[test]
fn a_stopped_read_loses_nothing() {
    on_both(|| async {
        let (mut server, mut client) = pair().await;
        for round in 0..20u8 {
            // Bytes and the stop at the same moment, in both orders.
            let buf = BytesMut::with_capacity(16);
            let (mut got, write) = if round % 2 == 0 {
                client.write_all(Bytes::copy_from_slice(&[round])).await.unwrap();
                (
                    server.read_append_until(buf, pin!(std::future::ready(()))).await,
                    false,
                )
            } else {
                (server.read_append_until(buf, pin!(yield_now())).await, true)
            };
            if write {
                assert!(got.result.is_none() && got.stopped.is_some());
                client.write_all(Bytes::copy_from_slice(&[round])).await.unwrap();
            }
            while got.buf.is_empty() {
                let (n, buf) = server.read_append(got.buf).await;
                n.unwrap();
                got.buf = buf;
            }
            assert_eq!(&got.buf[..], &[round]);
        }
        let soon = Instant::now() + Duration::from_millis(5);
        let (result, _) = server.read_append_by(BytesMut::new(), soon).await;
        assert!(result.is_none());
    });
}

#[test]
fn a_dropped_accept_loses_no_connection_and_no_descriptor() {
    on_both(|| async {
        let listener = TcpListener::bind(LOCAL, false, 64).unwrap();
        let addr = listener.local_addr();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        // The first of each: files the runtime opens once.
        let client = spawn(async move { connect_tcp(addr).await.unwrap() });
        let first = listener.accept().await.unwrap();
        drop((client.await, first));
        sleep(Duration::from_millis(5)).await;
        let before = open();
        for _ in 0..50 {
            let client = spawn(async move { connect_tcp(addr).await.unwrap() });
            // Dropped at every possible moment around the connection's arrival.
            let early = race(listener.accept(), yield_now()).await;
            let client = client.await.unwrap();
            let served = match early {
                Ok(served) => served.unwrap(),
                Err(()) => listener.accept().await.unwrap(),
            };
            assert_eq!(served.1, client.local_addr().unwrap());
        }
        sleep(Duration::from_millis(20)).await;
        // Other tests of this process open and close files meanwhile: a leak of 50 would show all the same.
        assert!(
            open() < before + 40,
            "{} descriptors before, {} after",
            before,
            open()
        );
    });
}

#[test]
fn a_peer_that_takes_nothing_is_a_timeout() {
    on_both(|| async {
        let (mut server, client) = pair().await;
        let big = Bytes::from(vec![0; 32 << 20]);
        let error = server
            .write_all_within(big, Duration::from_millis(20))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(client);
    });
}

#[test]
fn a_head_and_its_body_arrive_in_order_however_slowly_they_are_taken() {
    const LONG: usize = 5 << 20;
    on_both(|| async {
        for (mut server, mut client) in [pair().await, tls_pair().await] {
            let reading = spawn(async move {
                let mut buf = BytesMut::with_capacity(3 * LONG + 1_024);
                loop {
                    // The kernel's buffers are full when a second head comes.
                    sleep(Duration::from_millis(1)).await;
                    let (n, back) = client.read_append(buf).await;
                    buf = back;
                    if n.unwrap() == 0 {
                        return buf;
                    }
                }
            });
            let mut sent = Vec::new();
            for (round, length) in [(b'1', LONG), (b'2', 40_000), (b'3', LONG)] {
                let body: Bytes = (0..length).map(|at| (at % 251) as u8).collect();
                let head = vec![round; 300];
                sent.extend_from_slice(&head);
                sent.extend_from_slice(&body);
                let patience = Duration::from_secs(10);
                let (written, head) = server.write_pair_within(head, body, patience).await;
                written.unwrap();
                assert!(head.capacity() >= 300, "the memory comes back");
            }
            server.shutdown().await.unwrap();
            assert!(reading.await.unwrap() == sent);
        }
        let (mut server, client) = pair().await;
        let big = Bytes::from(vec![0; 32 << 20]);
        let (written, _) = server
            .write_pair_within(vec![0; 300], big, Duration::from_millis(20))
            .await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(client);
    });
}

#[test]
fn accepted_sockets_inherit_what_the_listener_was_told() {
    on_both(|| async {
        let listener = bind_std(LOCAL, true, 16).unwrap();
        keep_alive(&listener, Duration::from_secs(8)).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = loop {
            match listener.accept() {
                Ok((accepted, _)) => break accepted,
                Err(_) => yield_now().await,
            }
        };
        use rustix::net::sockopt;
        assert!(accepted.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap(), Duration::from_secs(8));
        assert_eq!(sockopt::tcp_keepintvl(&accepted).unwrap(), Duration::from_secs(2));
        assert_eq!(sockopt::tcp_user_timeout(&accepted).unwrap(), 16_000);
        assert!(
            rustix::io::fcntl_getfd(&accepted)
                .unwrap()
                .contains(rustix::io::FdFlags::CLOEXEC)
        );
        drop(client);
    });
}

#[test]
fn unix_sockets_speak_too() {
    on_both(|| async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let echo = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut copy = peer.try_clone().unwrap();
            std::io::copy(&mut peer, &mut copy).unwrap();
        });
        let mut stream = connect_unix(&path).await.unwrap();
        stream.write_all(Bytes::from_static(b"ping")).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut buf = BytesMut::new();
        loop {
            let (n, back) = stream.read_append(buf).await;
            buf = back;
            if n.unwrap() == 0 {
                break;
            }
        }
        assert_eq!(&buf[..], b"ping");
        drop(stream);
        echo.join().unwrap();
    });
}

#[test]
fn the_polling_stream_carries_megabytes_both_ways() {
    on_both(|| async {
        for with_tls in [false, true] {
            let (server, client) = if with_tls { tls_pair().await } else { pair().await };
            let mut server = server.into_poll(BytesMut::from(&b"before "[..]));
            let client = client.into_poll(BytesMut::new());
            let data: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
            let sent = data.clone();
            let talk = spawn(async move {
                let (mut read, mut write) = tokio::io::split(client);
                let back = spawn(async move {
                    let mut back = Vec::new();
                    read.read_to_end(&mut back).await.unwrap();
                    back
                });
                write.write_all(&sent).await.unwrap();
                write.shutdown().await.unwrap();
                back.await.unwrap()
            });
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            assert!(got.strip_prefix(b"before ").unwrap() == data);
            server.write_all(&got).await.unwrap();
            server.shutdown().await.unwrap();
            assert!(talk.await.unwrap() == got);
        }
    });
}

fn tls_configs() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    // A client that closes with unread tickets would reset the connection and cut what it sent.
    server.send_tls13_tickets = 0;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (
        Arc::new(server),
        Arc::new(tls::client_config(roots, &[]).unwrap()),
    )
}

async fn tls_pair() -> (Stream, Stream) {
    let (server_config, client_config) = tls_configs();
    let (server, client) = pair().await;
    let by = Instant::now() + Duration::from_secs(10);
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let client = spawn(tls::connect(client, client_config, name, by));
    let server = tls::accept(server, server_config, by).await.unwrap();
    (server, client.await.unwrap().unwrap())
}

#[test]
fn tls_tells_an_orderly_end_from_a_cut() {
    on_both(|| async {
        for orderly in [true, false] {
            let (mut server, mut client) = tls_pair().await;
            client.write_all(Bytes::from(vec![7; 200_000])).await.unwrap();
            if orderly {
                client.shutdown().await.unwrap();
            }
            drop(client);
            let mut buf = BytesMut::new();
            let end = loop {
                let (n, back) = server.read_append(buf).await;
                buf = back;
                match n {
                    Ok(0) => break Ok(()),
                    Ok(_) => {}
                    Err(error) => break Err(error.kind()),
                }
            };
            assert_eq!(buf.len(), 200_000);
            assert_eq!(
                end,
                if orderly {
                    Ok(())
                } else {
                    Err(ErrorKind::UnexpectedEof)
                }
            );
        }
    });
}

#[test]
fn a_silent_tls_client_is_given_up() {
    on_both(|| async {
        let (server, _client) = pair().await;
        let by = Instant::now() + Duration::from_millis(10);
        let error = tls::accept(server, tls_configs().0, by).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}
