//! A small HTTP client: what control probes servers with, what the command line asks the gateway with, and
//! what the bridge reaches legacy HTTP+SSE servers with.
//!
//! It does one exchange and nothing more: no redirects (a redirect could lead a credential to another host), no
//! cookies, no decompression. TCP connections are kept alive and pooled per origin; a Unix socket gets a
//! connection per request, which on one machine costs some microseconds. The deadline of a request runs to the
//! response head; reading the body is the caller's, with [`read_body`] for the common case.
//!
//! Read [`Address`], then [`HttpClient::request`], then [`ClientError`], whose texts say which side failed.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, Uri, body::Incoming, header::HOST};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{error::Error, fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};
use tokio::{net::UnixStream, time::timeout};

/// Idle connections kept per origin: a prober and a handful of event streams, never a load generator.
const IDLE_PER_ORIGIN_MAX: usize = 8;
/// How long an idle connection is kept; below the 60 s after which common proxies cut theirs.
const IDLE_KEEP: Duration = Duration::from_secs(50);
/// TCP connect alone; the request's own deadline covers TLS and the head.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The path of an MCP endpoint behind a Unix socket, which has no URL of its own.
const UNIX_PATH: &str = "/mcp";

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `http://…` or `https://…`, path included.
    Url(Uri),
    /// `unix:/absolute/path.sock`; requests go to the path `/mcp`.
    Unix(PathBuf),
}

impl Address {
    /// Reads an address as it stands in a configuration or a snapshot document.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let refuse = |reason| {
            Err(AddressError {
                address: text.to_owned(),
                reason,
            })
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.starts_with('/') {
                true => Ok(Self::Unix(PathBuf::from(path))),
                false => refuse("a Unix socket needs an absolute path, as in unix:/run/server.sock"),
            };
        }
        let Ok(uri) = Uri::from_str(text) else {
            return refuse("it is not a URL");
        };
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                refuse("it carries a user name or password; send a credential as a header instead")
            }
            (Some("http" | "https"), Some(authority)) if !authority.host().is_empty() => Ok(Self::Url(uri)),
            (Some("http" | "https"), _) => refuse("it names no host"),
            _ => refuse("it must begin with http://, https:// or unix:/"),
        }
    }

    /// What logs and errors may show: scheme, host and port, or the socket. A path or a query may hold a token.
    pub fn origin(&self) -> String {
        match self {
            Self::Url(uri) => {
                let authority = uri.authority().map_or("", |authority| authority.as_str());
                format!("{}://{authority}", uri.scheme_str().unwrap_or("http"))
            }
            Self::Unix(_) => self.to_string(),
        }
    }

    /// The path (and query) requests go to unless overridden.
    pub fn path(&self) -> &str {
        match self {
            Self::Url(uri) => uri.path_and_query().map_or("/", |p| p.as_str()),
            Self::Unix(_) => UNIX_PATH,
        }
    }

    /// The URI of a request to this address, with another path and query when one is given.
    fn uri(&self, path_override: Option<&str>) -> Result<Uri, hyper::http::Error> {
        let path = path_override.unwrap_or(self.path());
        match self {
            Self::Url(uri) => {
                let mut parts = uri.clone().into_parts();
                parts.path_and_query = Some(path.parse()?);
                Ok(Uri::from_parts(parts)?)
            }
            Self::Unix(_) => Ok(path.parse()?),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The whole address, as it is configured; see [`Address::origin`] for logs.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(uri) => uri.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address that cannot be used, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the address {address:?} cannot be used: {reason}")]
pub struct AddressError {
    /// The text that was read.
    pub address: String,
    /// What is wrong with it and what would be right.
    pub reason: &'static str,
}

/// An exchange that gave no response, sorted by the side at fault.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Our side: the request could not even be written.
    #[error("the request to {address} is not valid HTTP ({reason}); check the configured headers and path")]
    Request {
        /// Where it was meant to go.
        address: String,
        /// What the HTTP library refused.
        reason: String,
    },
    /// Between the two: no connection.
    #[error(
        "cannot connect to {address}: {reason}; check that the server runs and that the address, port and certificate are right"
    )]
    Connect {
        /// Where we tried to connect.
        address: String,
        /// Every cause, outermost first.
        reason: String,
    },
    /// Their side: too slow.
    #[error("{address} gave no answer within {after:?}; check the server's health or allow it more time")]
    Timeout {
        /// Who was asked.
        address: String,
        /// The deadline that passed.
        after: Duration,
    },
    /// Their side: connected, then broke off or spoke something other than HTTP.
    #[error(
        "{address} broke off the exchange: {reason}; check the server's log and that the address speaks HTTP"
    )]
    Exchange {
        /// Who was asked.
        address: String,
        /// Every cause, outermost first.
        reason: String,
    },
    /// Their side: the body ended early, came too slowly or was too large.
    #[error("the response body could not be read: {reason}")]
    Body {
        /// Every cause, outermost first.
        reason: String,
    },
}

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The text is not PEM, or a certificate in it cannot be an authority.
    #[error("the CA file cannot be read: {0}")]
    Pem(String),
    /// PEM, but without a certificate.
    #[error("the CA file holds no certificate")]
    Empty,
}

/// An HTTP client; clones share one pool of connections.
#[derive(Clone)]
pub struct HttpClient {
    pooled: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// As given, to make a client of another kind from.
    tls: ClientConfig,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpClient {
    /// A client that trusts the public authorities.
    pub fn new() -> Self {
        Self::with_tls(tls_builder().with_webpki_roots().with_no_client_auth(), false)
    }

    /// The same client, speaking HTTP/2 only: over TLS by ALPN, in clear with prior knowledge (RFC 9113 §3.3).
    pub fn http2_only(self) -> Self {
        Self::with_tls(self.tls, true)
    }

    /// A client that trusts the authorities of `pem` and no others.
    pub fn with_ca(pem: &[u8]) -> Result<Self, CaError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|e| CaError::Pem(e.to_string()))?;
            roots.add(certificate).map_err(|e| CaError::Pem(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(CaError::Empty);
        }
        Ok(Self::with_tls(
            tls_builder().with_root_certificates(roots).with_no_client_auth(),
            false,
        ))
    }

    fn with_tls(tls: ClientConfig, http2_only: bool) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let pooled = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_KEEP)
            .pool_max_idle_per_host(IDLE_PER_ORIGIN_MAX)
            .http2_only(http2_only)
            .build(connector);
        Self { pooled, tls }
    }

    /// One exchange, up to the response head. `within` bounds connecting, sending and waiting for the head;
    /// dropping the future gives the request up.
    pub async fn request(
        &self,
        address: &Address,
        method: Method,
        path_override: Option<&str>,
        headers: Vec<(String, String)>,
        body: Bytes,
        within: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let request =
            build(address, method, path_override, headers, body).map_err(|e| ClientError::Request {
                address: address.origin(),
                reason: e.to_string(),
            })?;
        let exchange = async {
            match address {
                Address::Url(_) => self.over_tcp(address, request).await,
                Address::Unix(path) => over_unix(address, path, request).await,
            }
        };
        match timeout(within, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ClientError::Timeout {
                address: address.origin(),
                after: within,
            }),
        }
    }

    async fn over_tcp(
        &self,
        address: &Address,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError> {
        self.pooled
            .request(request)
            .await
            .map_err(|error| match error.is_connect() {
                true => ClientError::Connect {
                    address: address.origin(),
                    reason: causes(&error),
                },
                false => ClientError::Exchange {
                    address: address.origin(),
                    reason: causes(&error),
                },
            })
    }
}

/// Reads a whole body of at most `bytes_max` bytes within a deadline.
pub async fn read_body(body: Incoming, bytes_max: usize, within: Duration) -> Result<Bytes, ClientError> {
    match timeout(within, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => Err(ClientError::Body {
            reason: causes(error.as_ref()),
        }),
        Err(_) => Err(ClientError::Body {
            reason: format!("it was not complete within {within:?}"),
        }),
    }
}

fn tls_builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    // Named explicitly: the process-wide default provider is not ours to set.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions() {
        Ok(builder) => builder,
        // ring supports both TLS 1.2 and 1.3; only a provider without any common suite can be refused.
        Err(_) => unreachable!("ring offers the default TLS versions"),
    }
}

fn build(
    address: &Address,
    method: Method,
    path_override: Option<&str>,
    headers: Vec<(String, String)>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder().method(method).uri(address.uri(path_override)?);
    let names_host = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case(HOST.as_str()));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    // Behind a Unix socket there is no authority; HTTP/1.1 wants a Host all the same (RFC 9112 §3.2).
    if matches!(address, Address::Unix(_)) && !names_host {
        request = request.header(HOST, "localhost");
    }
    request.body(Full::new(body))
}

async fn over_unix(
    address: &Address,
    path: &PathBuf,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ClientError> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|e| ClientError::Connect {
            address: address.origin(),
            reason: e.to_string(),
        })?;
    let broken = |e: hyper::Error| ClientError::Exchange {
        address: address.origin(),
        reason: causes(&e),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Ends by itself: once the sender is gone and the body was read or dropped.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

/// An error and what lies beneath it, in one line: hyper's own texts say "client error (Connect)" and no more.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
