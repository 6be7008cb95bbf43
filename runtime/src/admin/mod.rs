//! The admin listener: `/livez`, `/readyz`, `/metrics`, on an address of its own and on the side thread.
//!
//! Nothing here needs a credential, so it shows names and numbers only, and belongs on a private address.
//! `/livez` says that the process answers. `/readyz` says whether to send it traffic: red before the first
//! snapshot with a probed server set, and from the beginning of a drain. One server that is down does not make a
//! gateway unready; the detail names it.

mod metrics;

pub use metrics::{METRICS, Metric};

use crate::{
    mcp::{
        shared::{Letter, Shared},
        stats::Stats,
    },
    side::SideHandle,
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{HOST, HeaderValue, ORIGIN},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringway_core::origin;
use ringway_proto::snapshot::Gateway;
use serde::Serialize;
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// A worker that does not give its numbers in this time is left out of the sum, and said to be.
const STATS_DEADLINE: Duration = Duration::from_secs(1);
/// A scraper that sends its head slower than this is cut off.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Connections served at once: a scraper, probes and a person.
const CONNECTIONS_MAX: usize = 64;

/// How one server is, for `/readyz`.
#[derive(Clone, Debug, Serialize)]
pub struct ServerHealth {
    /// Its name.
    pub name: String,
    /// `up`, `down` or `probing`.
    pub state: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Tools in its catalogue.
    pub tools: usize,
}

/// What control knows of the servers; replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The first round of probes is over (or there is nothing to probe).
    pub probed: bool,
    /// One line per server.
    pub servers: Vec<ServerHealth>,
}

/// What the admin listener shows.
pub struct Admin {
    /// The listener is on a loopback address: reachable by every web page on this machine, so it answers to
    /// loopback names only, like the listeners for clients.
    pub loopback: bool,
    /// The data plane.
    pub shared: Arc<Shared>,
    /// The servers.
    pub health: Arc<ArcSwap<Health>>,
}

#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    draining: bool,
    snapshot: u64,
    servers: &'a [ServerHealth],
}

/// Binds `address` and serves until the side thread stops. Gives the bound address.
pub fn serve(side: &SideHandle, address: SocketAddr, admin: Arc<Admin>) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    side.spawn(async move {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => accept(listener, admin).await,
            Err(error) => tracing::error!(%error, "the admin listener cannot be served"),
        }
    });
    Ok(bound)
}

async fn accept(listener: tokio::net::TcpListener, admin: Arc<Admin>) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(admin.clone(), request));
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_DEADLINE)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "an admin connection ended early");
            }
            drop(place);
        });
    }
}

async fn answer(admin: Arc<Admin>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = |name| {
        request
            .headers()
            .get(name)
            .map(|value: &HeaderValue| value.as_bytes())
    };
    let host = text(HOST).unwrap_or_default();
    if origin::check(&Gateway::default(), admin.loopback, host, text(ORIGIN)).is_err() {
        return Ok(plain(
            StatusCode::FORBIDDEN,
            "this name or origin is not allowed here\n".into(),
        ));
    }
    let get = matches!(*request.method(), hyper::Method::GET | hyper::Method::HEAD);
    Ok(match request.uri().path() {
        _ if !get => plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into()),
        "/livez" => plain(StatusCode::OK, "ok\n".into()),
        "/readyz" => admin.readyz(),
        "/metrics" => typed("text/plain; version=0.0.4; charset=utf-8", admin.metrics().await),
        _ => plain(StatusCode::NOT_FOUND, "/livez, /readyz or /metrics\n".into()),
    })
}

impl Admin {
    fn readyz(&self) -> Response<Full<Bytes>> {
        let health = self.health.load();
        let draining = self.shared.is_draining();
        let readiness = Readiness {
            ready: health.probed && !draining,
            draining,
            snapshot: self.shared.live.load().snapshot.number,
            servers: &health.servers,
        };
        let body = serde_json::to_string_pretty(&readiness).unwrap_or_default();
        let mut response = typed("application/json", body);
        if !readiness.ready {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }

    async fn metrics(&self) -> String {
        let mut asked = Vec::with_capacity(self.shared.boxes.len());
        for worker in 0..self.shared.boxes.len() {
            let (tx, rx) = oneshot::channel();
            self.shared.write(worker, Letter::Stats(tx));
            asked.push(rx);
        }
        let (mut sum, mut silent) = (Stats::default(), 0);
        for answer in asked {
            match tokio::time::timeout(STATS_DEADLINE, answer).await {
                Ok(Ok(stats)) => sum.add(&stats),
                _ => silent += 1,
            }
        }
        metrics::render(&sum, &self.shared, &self.health.load(), silent)
    }
}

fn plain(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = typed("text/plain; charset=utf-8", body);
    *response.status_mut() = status;
    response
}

fn typed(kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(kind),
    );
    response
}
