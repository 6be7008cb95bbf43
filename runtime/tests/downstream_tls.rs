//! TLS toward clients: protocols agreed on, certificates renewed, sessions resumed, bad clients ended.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod downstream_support;

use bytes::{Bytes, BytesMut};
use downstream_support::{Client, DRIVERS, PATIENCE, Server};
use ringway_runtime::{
    downstream::tls::{ServerTls, TlsError},
    io,
};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// A certificate for `localhost` in files, trusted by clients made from it.
struct Identity {
    certificate: CertificateDer<'static>,
}

impl Identity {
    fn write(dir: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self {
            certificate: made.cert.der().clone(),
        }
    }

    fn config(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Arc::new(io::tls::client_config(roots, alpn).unwrap())
    }
}

fn load(dir: &Path) -> Arc<ServerTls> {
    Arc::new(ServerTls::load(dir.join("cert.pem"), dir.join("key.pem")).unwrap())
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(server: &Server, config: &Arc<ClientConfig>) -> Client<Tls> {
    let socket = TcpStream::connect(server.addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    Client::over(StreamOwned::new(
        ClientConnection::new(config.clone(), name).unwrap(),
        socket,
    ))
}

#[test]
fn a_conversation_under_tls_is_the_same_as_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::write(dir.path());
    for driver in DRIVERS {
        let server = Server::start_with(driver, 1, Some(load(dir.path())), |_| {});
        for alpn in [&[&b"http/1.1"[..]][..], &[]] {
            let mut client = connect(&server, &identity.config(alpn));
            let body = vec![b'z'; 90_000];
            assert_eq!(client.post("/echo", &body).body, body);
            assert_eq!(client.io.conn.alpn_protocol(), alpn.first().copied());
            assert_eq!(client.get("/big?3000000").body.len(), 3_000_000);
            assert_eq!(client.get("/stream-paced?20").body.len(), 200);
            client.send("GET /slow?50 HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\n");
            client.send("Content-Length: 2\r\n\r\nhi");
            assert_eq!(client.reply().body, b"slow but sure");
            assert_eq!(client.reply().body, b"hi");
            assert_eq!(client.post("/echo", &vec![b'x'; 200_000]).status, 413);
            // Closed with `close_notify`: rustls would call anything else an error.
            assert!(client.is_closed());
        }
        assert!(server.events.count("admit tls") > 0 && server.events.count("admit") == 0);
        let mut client = connect(&server, &identity.config(&[]));
        client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("hang", 1);
        drop(client);
        server.events.wait("hang dropped", 1);
    }
}

#[test]
fn http2_is_agreed_on_by_alpn() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::write(dir.path());
    for driver in DRIVERS {
        let server = Server::start_with(driver, 1, Some(load(dir.path())), |_| {});
        let config = identity.config(&[b"h2", b"http/1.1"]);
        let addr = server.addr;
        io::run(driver, async move {
            let socket = io::connect_tcp(addr).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let by = Instant::now() + PATIENCE;
            let stream = io::tls::connect(socket, config, name, by).await.unwrap();
            assert_eq!(stream.alpn(), Some(&b"h2"[..]));
            let (mut send, connection) = h2::client::handshake(stream.into_poll(BytesMut::new()))
                .await
                .unwrap();
            let ended = io::spawn(connection);
            for n in [0, 10, 90_000] {
                let request = http::Request::post("https://here/echo").body(()).unwrap();
                send = send.ready().await.unwrap();
                let (response, mut body) = send.send_request(request, false).unwrap();
                body.send_data(Bytes::from(vec![b'q'; n]), true).unwrap();
                let mut body = response.await.unwrap().into_body();
                let mut got = 0;
                while let Some(data) = body.data().await {
                    let data = data.unwrap();
                    got += data.len();
                    body.flow_control().release_capacity(data.len()).unwrap();
                }
                assert_eq!(got, n);
            }
            drop(send);
            io::timeout(PATIENCE, ended).await.unwrap().unwrap().unwrap();
        })
        .unwrap();
        // A client that wants neither is told so and not served.
        let mut client = connect(&server, &identity.config(&[b"spdy/3"]));
        let error = client.io.read(&mut [0; 1]).unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        server.until("failed handshakes", |v| v.handshake_errors.get(), 1);
    }
}

#[test]
fn a_certificate_is_renewed_under_living_connections() {
    let dir = tempfile::tempdir().unwrap();
    for driver in DRIVERS {
        let old = Identity::write(dir.path());
        let tls = load(dir.path());
        let server = Server::start_with(driver, 1, Some(tls.clone()), |_| {});
        let mut living = connect(&server, &old.config(&[]));
        assert_eq!(living.get("/echo").status, 200);

        let new = Identity::write(dir.path());
        tls.reload().unwrap();
        assert_eq!(living.get("/echo").status, 200);
        let mut fresh = connect(&server, &new.config(&[]));
        assert_eq!(fresh.get("/echo").status, 200);
        assert_eq!(fresh.io.conn.peer_certificates().unwrap()[0], new.certificate);

        // What cannot be used is refused with its reason, and the new one stays.
        let good = std::fs::read(dir.path().join("cert.pem")).unwrap();
        for (content, says) in [
            (
                &b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"[..],
                "cert.pem",
            ),
            (b"nothing here", "no certificate in"),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "cannot be used",
            ),
        ] {
            std::fs::write(dir.path().join("cert.pem"), content).unwrap();
            let error = tls.reload().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let stranger = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), stranger.cert.pem()).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::Pair { .. })));
        std::fs::remove_file(dir.path().join("cert.pem")).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::File { .. })));
        assert_eq!(connect(&server, &new.config(&[])).get("/echo").status, 200);
        std::fs::write(dir.path().join("cert.pem"), good).unwrap();
        tls.reload().unwrap();
    }
}

#[test]
fn sessions_are_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::write(dir.path());
    for driver in DRIVERS {
        let server = Server::start_with(driver, 2, Some(load(dir.path())), |_| {});
        let config = identity.config(&[]);
        let kinds: Vec<_> = (0..6)
            .map(|_| {
                let mut client = connect(&server, &config);
                assert_eq!(client.get("/echo").status, 200);
                client.io.conn.handshake_kind().unwrap()
            })
            .collect();
        // Whichever worker they came to: the key of the tickets is the process's.
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert!(
            kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed),
            "{kinds:?}"
        );
    }
}

#[test]
fn handshakes_are_bounded_in_time_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::write(dir.path());
    for driver in DRIVERS {
        let server = Server::start_with(driver, 1, Some(load(dir.path())), |limits| {
            limits.handshake_timeout_ms = 150;
            limits.handshakes_at_once_max = 2;
        });
        // Who says nothing keeps nobody waiting.
        let mut mute: Vec<Client> = (0..3).map(|_| server.client()).collect();
        assert_eq!(connect(&server, &identity.config(&[])).get("/echo").status, 200);
        for client in &mut mute {
            assert!(client.rest().is_empty());
        }
        server.until("failed handshakes", |v| v.handshake_errors.get(), 3);
        // Who begins and stops holds a turn until its time is up; who waits gets one then, or is late too.
        let mut slow: Vec<Client> = (0..4).map(|_| server.client()).collect();
        for client in &mut slow {
            client.send(b"\x16\x03");
        }
        for client in &mut slow {
            assert!(client.rest().is_empty());
        }
        server.until("failed handshakes", |v| v.handshake_errors.get(), 7);
        // Plain HTTP, garbage, and a client that leaves in the middle.
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"\x16\x03\x01\x00\x05hello",
            b"\x16\x03",
        ] {
            let mut client = server.client();
            client.io.write_all(bytes).unwrap();
            client.io.shutdown(std::net::Shutdown::Write).unwrap();
            client.rest();
        }
        server.until("failed handshakes", |v| v.handshake_errors.get(), 10);
        assert_eq!(connect(&server, &identity.config(&[])).get("/echo").status, 200);
        server.until("open connections", |v| v.connections_open.get(), 0);
    }
}

#[test]
fn a_drain_ends_tls_connections_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::write(dir.path());
    for driver in DRIVERS {
        let server = Server::start_with(driver, 1, Some(load(dir.path())), |_| {});
        let mut client = connect(&server, &identity.config(&[]));
        client.send("GET /slow?100 HTTP/1.1\r\nHost: a\r\n\r\n");
        server.events.wait("slow", 1);
        let drained = server.handle().drain(Duration::from_secs(10));
        let reply = client.reply();
        assert_eq!((reply.status, reply.closes()), (200, true));
        assert!(client.is_closed());
        drop(client);
        let ended = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(drained);
        assert_eq!(ended.cut, 0);
    }
}
