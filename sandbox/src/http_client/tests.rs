//! Exchanges with servers on loopback and behind a socket.

use super::*;
use hyper::{body::Body, server::conn::http1, service::service_fn};
use std::convert::Infallible;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

const SOON: Duration = Duration::from_secs(10);

/// Answers with the request's method, path, host and `x-token`, and a redirect status that must not be followed.
async fn mirror(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or("-")
                .to_owned()
        };
        let seen = format!(
            "{} {} {} {}",
            request.method(),
            request.uri(),
            header("x-token"),
            request.body().size_hint().lower()
        );
        let response = Response::builder().status(307).header("location", "/elsewhere");
        Ok::<_, Infallible>(
            response
                .body(Full::new(Bytes::from(seen)))
                .expect("static response"),
        )
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(io), service)
        .await;
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = read_body(response.into_body(), 1 << 20, SOON)
        .await
        .expect("body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn addresses_are_read_and_refused_with_advice() {
    let unix = Address::parse("unix:/run/a.sock").expect("unix");
    assert_eq!(
        (unix.path(), unix.to_string().as_str()),
        ("/mcp", "unix:/run/a.sock")
    );
    let url = Address::parse("https://example.com:8443/a?b=c").expect("url");
    assert_eq!(
        (url.path(), url.to_string().as_str()),
        ("/a?b=c", "https://example.com:8443/a?b=c")
    );
    for (text, advice) in [
        ("unix:run/a.sock", "absolute"),
        ("ftp://example.com/", "http://"),
        ("example.com", "http://"),
        ("http://user:pass@example.com/", "header"),
        ("http://", "not a URL"),
    ] {
        let error = Address::parse(text).expect_err(text).to_string();
        assert!(error.contains(advice), "{error}");
    }
}

#[tokio::test]
async fn speaks_over_tcp_without_following_redirects() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = format!("http://{}/mcp", listener.local_addr().expect("address"));
    tokio::spawn(async move {
        // One accept only: the second request must come over the pooled connection.
        let (io, _) = listener.accept().await.expect("accept");
        mirror(io).await;
    });
    let (client, address) = (HttpClient::new(), Address::parse(&address).expect("address"));
    let token = vec![("X-Token".to_owned(), "t".to_owned())];
    let first = client
        .request(&address, Method::POST, None, token, Bytes::from("{}"), SOON)
        .await;
    let first = first.expect("response");
    assert_eq!(first.status(), 307);
    assert_eq!(text(first).await, "POST /mcp t 2");
    let second = client
        .request(
            &address,
            Method::GET,
            Some("/b?c"),
            Vec::new(),
            Bytes::new(),
            SOON,
        )
        .await;
    assert_eq!(text(second.expect("response")).await, "GET /b?c - 0");
}

#[tokio::test]
async fn speaks_over_a_unix_socket() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.sock");
    let listener = UnixListener::bind(&path).expect("listener");
    tokio::spawn(async move {
        let (io, _) = listener.accept().await.expect("accept");
        mirror(io).await;
    });
    let address = Address::Unix(path);
    let response = HttpClient::new()
        .request(&address, Method::DELETE, None, Vec::new(), Bytes::new(), SOON)
        .await;
    assert_eq!(text(response.expect("response")).await, "DELETE /mcp - 0");
}

#[tokio::test]
async fn failures_say_which_side() {
    let client = HttpClient::new();
    let ask = |address: &str, headers: Vec<(String, String)>, within| {
        let (client, address) = (client.clone(), Address::parse(address).expect("address"));
        async move {
            let outcome = client
                .request(&address, Method::GET, None, headers, Bytes::new(), within)
                .await;
            outcome.expect_err("must fail")
        }
    };
    let gone = ask("unix:/nonexistent/a.sock", Vec::new(), SOON).await;
    assert!(matches!(gone, ClientError::Connect { .. }), "{gone}");

    let bad = vec![("bad name".to_owned(), "v".to_owned())];
    let ours = ask("http://127.0.0.1:1/", bad, SOON).await;
    assert!(matches!(ours, ClientError::Request { .. }), "{ours}");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let silent = format!("http://{}/secret?secret", listener.local_addr().expect("address"));
    let slow = ask(&silent, Vec::new(), Duration::from_millis(50)).await;
    assert!(matches!(slow, ClientError::Timeout { .. }), "{slow}");
    assert!(!slow.to_string().contains("secret"), "{slow}");

    let cut = tokio::spawn(async move {
        // The first accept is the request that timed out above.
        for _ in 0..2 {
            drop(listener.accept().await);
        }
    });
    let broken = ask(&silent, Vec::new(), SOON).await;
    assert!(matches!(broken, ClientError::Exchange { .. }), "{broken}");
    cut.await.expect("listener task");
}

#[test]
fn a_ca_file_without_certificates_is_refused() {
    assert!(matches!(
        HttpClient::with_ca(b"nothing here"),
        Err(CaError::Empty)
    ));
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(HttpClient::with_ca(broken), Err(CaError::Pem(_))));
}

#[tokio::test]
async fn prior_knowledge_speaks_http2_in_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address =
        Address::parse(&format!("http://{}/mcp", listener.local_addr().expect("address"))).expect("address");
    tokio::spawn(async move {
        let (io, _) = listener.accept().await.expect("accept");
        let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
            let text = format!("{:?} {}", request.version(), request.uri().path());
            Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(text))))
        });
        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(io), service);
        drop(served.await);
    });
    let client = HttpClient::new().http2_only();
    let answer = client
        .request(&address, Method::POST, None, Vec::new(), Bytes::new(), SOON)
        .await;
    assert_eq!(text(answer.expect("response")).await, "HTTP/2.0 /mcp");
}
