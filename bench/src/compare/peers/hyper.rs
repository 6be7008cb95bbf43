//! A minimal reverse proxy of hyper's parts: its server, the pooled client of hyper-util, one tokio thread.

use hyper::{
    Request, Response, Uri, Version,
    body::Incoming,
    header::{self, HeaderValue},
    http::uri::{Authority, Scheme},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use std::{io, net::SocketAddr};

/// Idle connections to the upstream that are kept; more than any cell opens.
const POOLED_MAX: usize = 1024;
/// Windows in which a large answer never waits for an update.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Headers of one hop.
const HOP: [header::HeaderName; 4] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

type Pool = Client<HttpConnector, Incoming>;
type Outcome = Result<Response<Incoming>, hyper_util::client::legacy::Error>;

#[derive(Clone)]
struct Proxy {
    pool: Pool,
    authority: Authority,
    host: HeaderValue,
    http2: bool,
}

/// Runs for ever.
pub fn run(listen: SocketAddr, upstream: SocketAddr, http2: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(listen, upstream, http2))
}

async fn serve(listen: SocketAddr, upstream: SocketAddr, http2: bool) -> io::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(POOLED_MAX);
    if http2 {
        builder
            .http2_only(true)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    }
    let text = upstream.to_string();
    let proxy = Proxy {
        pool: builder.build(connector),
        authority: Authority::try_from(text.as_str()).map_err(io::Error::other)?,
        host: HeaderValue::from_str(&text).map_err(io::Error::other)?,
        http2,
    };
    let listener = tokio::net::TcpListener::bind(listen).await?;
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let _ = socket.set_nodelay(true);
        let proxy = proxy.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| forward(&proxy, request));
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn forward(proxy: &Proxy, mut request: Request<Incoming>) -> Outcome {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(proxy.authority.clone());
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    for name in HOP {
        request.headers_mut().remove(name);
    }
    if proxy.http2 {
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(header::HOST);
    } else {
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().insert(header::HOST, proxy.host.clone());
    }
    let mut response = proxy.pool.request(request).await?;
    *response.version_mut() = Version::HTTP_11;
    response.headers_mut().remove(header::CONNECTION);
    Ok(response)
}
