//! TLS: whom we believe, and what ALPN agrees on.

use super::*;
use rustls::{ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use std::{io::Write as _, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A server with its own certificate for `localhost`, which answers over whatever ALPN chose.
struct Server {
    address: SocketAddr,
    certificate: tempfile::NamedTempFile,
}

impl Server {
    async fn start(alpn: &[&str]) -> Self {
        Self::start_for(alpn, None).await
    }

    /// Which serves only clients that show a certificate of `authority`.
    async fn start_for(alpn: &[&str], authority: Option<&rcgen::Certificate>) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match authority {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(authority.der().clone()).expect("a root");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let mut config = builder
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a pair");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(serve(listener, tokio_rustls::TlsAcceptor::from(Arc::new(config))));
        let mut certificate = tempfile::NamedTempFile::new().expect("a file");
        certificate.write_all(made.cert.pem().as_bytes()).expect("writes");
        Self { address, certificate }
    }

    async fn target(&self, http: HttpChoice, trust: Trust) -> Target {
        let options = TargetOptions {
            http,
            trust,
            connect_to: Some(self.address.to_string()),
            ..TargetOptions::default()
        };
        Target::resolve("https://localhost/mcp", &options)
            .await
            .expect("resolves")
    }

    fn trusted(&self) -> Trust {
        Trust::CaFile(self.certificate.path().to_owned())
    }
}

async fn serve(listener: TcpListener, acceptor: tokio_rustls::TlsAcceptor) {
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not believe us hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let mut connection = h2::server::handshake(stream).await.expect("shakes hands");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut send = respond
                        .send_response(http::Response::new(()), false)
                        .expect("sends");
                    send.send_data(Bytes::from_static(b"over h2"), true)
                        .expect("sends");
                }
                return;
            }
            let mut heard = Vec::new();
            while stream.read_buf(&mut heard).await.is_ok_and(|n| n > 0) {
                if heard.ends_with(CALL.as_bytes()) {
                    heard.clear();
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nover h1";
                    stream.write_all(answer).await.expect("writes");
                }
            }
        });
    }
}

async fn call(target: &Target) -> Result<Answer, Fault> {
    let head = post(target);
    let mut connection = Connection::open(target).await?;
    connection.exchange(&request(&head), &want()).await?;
    connection.exchange(&request(&head), &want()).await
}

#[tokio::test]
async fn alpn_chooses_and_the_caller_may_insist() {
    let both = Server::start(&["h2", "http/1.1"]).await;
    let old = Server::start(&["http/1.1"]).await;
    let mute = Server::start(&[]).await;
    let cases = [
        (&both, HttpChoice::Auto, Some("over h2")),
        (&both, HttpChoice::Http1, Some("over h1")),
        (&both, HttpChoice::Http2, Some("over h2")),
        (&old, HttpChoice::Auto, Some("over h1")),
        (&old, HttpChoice::Http2, None),
        (&mute, HttpChoice::Auto, Some("over h1")),
        (&mute, HttpChoice::Http2, None),
    ];
    for (n, (server, http, expected)) in cases.into_iter().enumerate() {
        let target = server.target(http, server.trusted()).await;
        match (call(&target).await, expected) {
            (Ok(answer), Some(expected)) => assert_eq!(answer.body, expected, "case {n}"),
            (Err(fault), None) => assert_eq!(fault.key(), "tls", "case {n}: {fault}"),
            (other, _) => panic!("case {n}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn only_whom_we_were_told_to_believe_is_believed() {
    let server = Server::start(&["http/1.1"]).await;
    let stranger = Server::start(&["http/1.1"]).await;
    for trust in [Trust::Public, stranger.trusted()] {
        let fault = call(&server.target(HttpChoice::Auto, trust).await)
            .await
            .expect_err("a stranger");
        assert_eq!(fault.key(), "tls", "{fault}");
    }
    call(&server.target(HttpChoice::Auto, Trust::Anyone).await)
        .await
        .expect("anyone will do");

    let options = TargetOptions {
        trust: server.trusted(),
        server_name: Some("elsewhere".to_owned()),
        connect_to: Some(server.address.to_string()),
        ..TargetOptions::default()
    };
    let target = Target::resolve("https://localhost/", &options)
        .await
        .expect("resolves");
    assert_eq!(call(&target).await.expect_err("another name").key(), "tls");

    let missing = TargetOptions {
        trust: Trust::CaFile("/does/not/exist.pem".into()),
        ..TargetOptions::default()
    };
    let error = Target::resolve("https://127.0.0.1/", &missing)
        .await
        .expect_err("no file");
    assert!(error.to_string().contains("/does/not/exist.pem"), "{error}");
}

#[tokio::test]
async fn plain_text_where_tls_was_expected_is_a_tls_fault() {
    use super::peer::{Step, say};
    let peer = Peer::start(vec![vec![say("HTTP/1.1 400 Bad Request\r\n\r\n"), Step::Hold]]).await;
    let options = TargetOptions {
        trust: Trust::Anyone,
        ..TargetOptions::default()
    };
    let target = Target::resolve(&peer.url("https"), &options)
        .await
        .expect("resolves");
    assert_eq!(
        Connection::open(&target).await.err().expect("no TLS").key(),
        "tls"
    );
}

#[tokio::test]
async fn a_client_shows_who_it_is_when_asked() {
    let made = rcgen::generate_simple_self_signed(vec!["a client".to_owned()]).expect("a certificate");
    let server = Server::start_for(&["h2", "http/1.1"], Some(&made.cert)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).expect("writes");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("writes");
    let options = |client_identity| TargetOptions {
        trust: server.trusted(),
        client_identity,
        connect_to: Some(server.address.to_string()),
        ..TargetOptions::default()
    };
    let resolve = async |options| Target::resolve("https://localhost/mcp", &options).await;
    let known = resolve(options(Some((chain.clone(), key.clone()))))
        .await
        .expect("resolves");
    assert_eq!(call(&known).await.expect("is let in").body, "over h2");
    // Its refusal may be overtaken by the end of the connection.
    let fault = call(&resolve(options(None)).await.expect("resolves"))
        .await
        .expect_err("is not");
    assert!(
        matches!(fault.kind, FaultKind::Tls | FaultKind::Closed | FaultKind::Reset),
        "{fault}"
    );
    let swapped = resolve(options(Some((key, chain))))
        .await
        .expect_err("no certificate there");
    assert!(matches!(swapped, TargetError::Tls(_)), "{swapped}");
}
