//! TLS toward scripted servers: whom we trust, what ALPN chooses and is remembered, and ends that are no ends.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod upstream_support;

use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ringway_core::limits::UpstreamLimits;
use ringway_proto::snapshot::{HttpVersion, Timeouts};
use ringway_runtime::upstream::{Endpoint, FaultKind};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};
use upstream_support::*;

fn limits() -> UpstreamLimits {
    UpstreamLimits::default()
}

/// An authority and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("generates");
        Self(CertifiedIssuer::self_signed(params, key).expect("signs"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server called `name` that offers these protocols.
    fn server(&self, name: &str, alpn: &[&str]) -> Arc<ServerConfig> {
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("generates");
        let certificate = params.signed_by(&key, &self.0).expect("signs");
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate");
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// The server's side of a connection.
struct Secure(StreamOwned<ServerConnection, TcpStream>);

impl Secure {
    fn accept(listener: &Listener, config: &Arc<ServerConfig>) -> Self {
        let conn = ServerConnection::new(config.clone()).expect("a config");
        Self(StreamOwned::new(conn, listener.accept().stream))
    }

    fn request(&mut self) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n{}") {
            let mut byte = [0];
            let n = self.0.read(&mut byte).expect("a request");
            assert_eq!(n, 1, "closed before a request");
            text.push(byte[0]);
        }
        String::from_utf8(text).expect("text")
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("the client reads");
        self.0.flush().expect("the client reads");
    }

    fn serve(&mut self) {
        self.request();
        self.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
}

fn https(peer: &Peer, http: HttpVersion, ca_pem: Option<&str>, timeouts: Timeouts) -> Arc<Endpoint> {
    let url = format!("https://{}/mcp", peer.address);
    Arc::new(Endpoint::new(&url, http, ca_pem.map(str::as_bytes), timeouts).expect("valid"))
}

#[test]
fn calls_over_tls_reuse_their_connection() {
    for alpn in [&[][..], &["http/1.1"]] {
        on_workers(limits(), |pools| async move {
            let authority = Authority::new();
            let config = authority.server("127.0.0.1", alpn);
            let peer = Peer::start(move |listener| {
                let mut conn = Secure::accept(&listener, &config);
                for _ in 0..3 {
                    conn.serve();
                }
                // A long result, in two pieces.
                conn.request();
                conn.send(&format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n{}",
                    "a".repeat(30_000)
                ));
                conn.send(&"b".repeat(40_000));
                conn.serve();
                let addressed = conn.0.conn.alpn_protocol().map(<[u8]>::to_vec);
                assert_eq!(addressed.is_some(), !config.alpn_protocols.is_empty());
            });
            let endpoint = https(
                &peer,
                HttpVersion::Auto,
                Some(&authority.pem()),
                Timeouts::default(),
            );
            for _ in 0..3 {
                assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
            }
            let long = call(&pools, &endpoint, post("{}")).await.expect("answers");
            assert!(long == "a".repeat(30_000) + &"b".repeat(40_000));
            assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
            let stats = stats(&pools);
            assert_eq!((stats.dialled, stats.reused, stats.http2), (1, 4, Some(false)));
            peer.finished().await;
        });
    }
}

#[test]
fn alpn_is_learnt_once_by_a_burst_of_calls_and_then_remembered() {
    on_workers(limits(), |pools| async move {
        let authority = Authority::new();
        let config = authority.server("127.0.0.1", &["h2", "http/1.1"]);
        let peer = Peer::start(move |listener| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("builds");
            let conn = runtime.block_on(serve_h2(Secure::accept(&listener, &config), 20));
            listener.expect_nobody();
            drop(conn);
        });
        let endpoint = https(
            &peer,
            HttpVersion::Auto,
            Some(&authority.pem()),
            Timeouts::default(),
        );
        for answer in join_all((0..20).map(|_| call(&pools, &endpoint, post("{}")))).await {
            assert_eq!(answer.expect("answers"), "ok");
        }
        let stats = stats(&pools);
        assert_eq!((stats.dialled, stats.http2), (1, Some(true)));
        pools.retain(|_| false);
        peer.finished().await;
    });
}

/// Serves `calls` HTTP/2 calls over blocking TLS, pumped through a pipe in memory.
async fn serve_h2(secure: Secure, calls: usize) -> Secure {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut from_h2, mut to_h2) = tokio::io::split(far);
    let secure = Arc::new(std::sync::Mutex::new(secure));
    // Reads give way often, so that writes get their turn at the one TLS state.
    let timeout = Some(std::time::Duration::from_millis(5));
    secure
        .lock()
        .expect("sound")
        .0
        .sock
        .set_read_timeout(timeout)
        .expect("sets");
    let pump = {
        let secure = secure.clone();
        async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut out = vec![0; 1 << 14];
            loop {
                let mut piece = vec![0; 1 << 14];
                let read = secure.lock().expect("sound").0.read(&mut piece);
                match read {
                    Ok(0) => return,
                    Ok(n) => to_h2.write_all(&piece[..n]).await.expect("open"),
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
                let idle = std::time::Duration::from_millis(1);
                while let Ok(Ok(n)) = tokio::time::timeout(idle, from_h2.read(&mut out)).await {
                    if n == 0 {
                        return;
                    }
                    let mut secure = secure.lock().expect("sound");
                    secure.0.write_all(&out[..n]).expect("the client reads");
                    secure.0.flush().expect("the client reads");
                }
            }
        }
    };
    let serve = async {
        let mut conn = h2::server::handshake(near).await.expect("a client");
        let mut served = 0;
        while let Some(request) = conn.accept().await {
            let (_, mut respond) = request.expect("good");
            let head = http::Response::new(());
            let mut send = respond.send_response(head, false).expect("open");
            send.send_data(bytes::Bytes::from_static(b"ok"), true)
                .expect("open");
            served += 1;
        }
        assert_eq!(served, calls);
    };
    tokio::join!(pump, serve);
    let secure = Arc::into_inner(secure).expect("the pump has ended");
    secure.into_inner().expect("sound")
}

#[test]
fn servers_we_have_no_reason_to_trust_are_refused_before_a_byte_is_sent() {
    let authority = Authority::new();
    let (right, wrong_name) = (
        authority.server("127.0.0.1", &[]),
        authority.server("tools.example", &[]),
    );
    let (pem, other) = (authority.pem(), Authority::new().pem());
    for (config, trusted) in [(&right, None), (&right, Some(&other)), (&wrong_name, Some(&pem))] {
        on_workers(limits(), |pools| async move {
            let config = config.clone();
            let peer = Peer::start(move |listener| {
                let mut conn = Secure::accept(&listener, &config);
                let said = conn.0.read(&mut [0; 64]);
                assert!(!matches!(said, Ok(n) if n > 0), "no request came: {said:?}");
            });
            let endpoint = https(
                &peer,
                HttpVersion::Auto,
                trusted.map(|x| x.as_str()),
                Timeouts::default(),
            );
            let fault = call(&pools, &endpoint, post("{}"))
                .await
                .expect_err("not trusted");
            assert_eq!((fault.kind, fault.sent), (FaultKind::Tls, false), "{fault}");
            assert!(fault.detail.contains("certificate"), "{fault}");
            peer.finished().await;
            assert_eq!(stats(&pools).open, 0);
        });
    }
}

#[test]
fn a_server_that_must_speak_http2_and_does_not_is_refused() {
    for alpn in [&[][..], &["http/1.1"]] {
        on_workers(limits(), |pools| async move {
            let authority = Authority::new();
            let config = authority.server("127.0.0.1", alpn);
            let peer = Peer::start(move |listener| {
                let mut conn = Secure::accept(&listener, &config);
                let said = conn.0.read(&mut [0; 64]);
                assert!(!matches!(said, Ok(n) if n > 0), "no request came: {said:?}");
            });
            let endpoint = https(
                &peer,
                HttpVersion::Http2,
                Some(&authority.pem()),
                Timeouts::default(),
            );
            let fault = call(&pools, &endpoint, post("{}")).await.expect_err("no HTTP/2");
            assert_eq!((fault.kind, fault.sent), (FaultKind::Tls, false), "{fault}");
            peer.finished().await;
        });
    }
}

#[test]
fn a_server_without_tls_or_without_words_is_no_server() {
    for (words, kind) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", FaultKind::Tls),
        ("", FaultKind::ConnectTimeout),
    ] {
        on_workers(limits(), |pools| async move {
            let peer = Peer::start(move |listener| {
                let mut conn = listener.accept();
                assert!(conn.has_more());
                conn.send(words);
                conn.forget();
                while conn.has_more() {
                    conn.forget();
                }
            });
            let timeouts = Timeouts {
                connect_ms: 300,
                ..Timeouts::default()
            };
            let endpoint = https(&peer, HttpVersion::Auto, None, timeouts);
            // All who wait for the first handshake learn of its end together.
            for answer in join_all((0..3).map(|_| call(&pools, &endpoint, post("{}")))).await {
                let fault = answer.expect_err("no TLS");
                let too_late = fault.kind == FaultKind::PoolFull && kind == FaultKind::ConnectTimeout;
                assert!(fault.kind == kind || too_late, "{fault}");
                assert!(!fault.sent);
            }
            peer.finished().await;
        });
    }
}

#[test]
fn an_end_without_goodbye_is_no_end() {
    on_workers(limits(), |pools| async move {
        let authority = Authority::new();
        let config = authority.server("127.0.0.1", &[]);
        let peer = Peer::start(move |listener| {
            for goodbye in [true, false] {
                let mut conn = Secure::accept(&listener, &config);
                conn.request();
                conn.send("HTTP/1.1 200 OK\r\n\r\nall there is");
                if goodbye {
                    conn.0.conn.send_close_notify();
                    conn.0.flush().expect("the client reads");
                }
            }
        });
        let endpoint = https(
            &peer,
            HttpVersion::Auto,
            Some(&authority.pem()),
            Timeouts::default(),
        );
        assert_eq!(
            call(&pools, &endpoint, post("{}")).await.expect("whole"),
            "all there is"
        );
        let fault = call(&pools, &endpoint, post("{}"))
            .await
            .expect_err("cut by whoever");
        assert_eq!((fault.kind, fault.sent), (FaultKind::Reset, true), "{fault}");
        peer.finished().await;
    });
}

#[test]
fn a_connection_closed_while_idle_is_noticed_before_it_is_used() {
    on_workers(limits(), |pools| async move {
        let authority = Authority::new();
        let config = authority.server("127.0.0.1", &[]);
        let (closed, is_closed) = tokio::sync::oneshot::channel();
        let peer = Peer::start(move |listener| {
            let mut conn = Secure::accept(&listener, &config);
            conn.serve();
            conn.0.conn.send_close_notify();
            conn.0.flush().expect("the client reads");
            closed.send(()).expect("the test waits");
            Secure::accept(&listener, &config).serve();
        });
        let endpoint = https(
            &peer,
            HttpVersion::Auto,
            Some(&authority.pem()),
            Timeouts::default(),
        );
        assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
        is_closed.await.expect("the script goes on");
        no_longer_fresh().await;
        assert_eq!(call(&pools, &endpoint, post("{}")).await.expect("answers"), "ok");
        assert_eq!(stats(&pools).dialled, 2);
        peer.finished().await;
    });
}
