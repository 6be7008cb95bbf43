//! Where calls go: a URL, read once and resolved once, with all that opening a connection needs.

use super::tls;
use http::{Uri, uri::PathAndQuery};
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Which HTTP to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpChoice {
    /// HTTP/1.1 in clear; in TLS what the server prefers of the two.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by prior knowledge in clear, by ALPN in TLS.
    Http2,
}

/// Whom to believe in TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The public authorities.
    #[default]
    Public,
    /// The authorities in this PEM file, and no others.
    CaFile(PathBuf),
    /// Anyone. For test beds with self-signed certificates.
    Anyone,
}

/// What a URL does not say.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// Which HTTP to speak.
    pub http: HttpChoice,
    /// Whom to believe in TLS.
    pub trust: Trust,
    /// The name to ask for and to verify in TLS, if not the URL's host.
    pub server_name: Option<String>,
    /// Certificate chain and key (PEM files) to show when the server asks.
    pub client_identity: Option<(PathBuf, PathBuf)>,
    /// Whether a second connection may resume the first one's TLS session.
    pub tls_resumption: bool,
    /// For TCP and TLS together.
    pub connect_timeout: Duration,
    /// Connect here (`host:port`) instead of to the URL's host, as for one replica behind a name.
    pub connect_to: Option<String>,
}

impl Default for TargetOptions {
    fn default() -> Self {
        Self {
            http: HttpChoice::Auto,
            trust: Trust::Public,
            server_name: None,
            client_identity: None,
            tls_resumption: true,
            connect_timeout: Duration::from_secs(5),
            connect_to: None,
        }
    }
}

/// What is wrong with a target, its options or a head for it. Found before any load is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL we can call.
    #[error("target {url:?}: {why}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// No address.
    #[error("target host {host:?} does not resolve: {why}")]
    Resolve {
        /// Host and port.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// TLS settings that cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// A header field that cannot be sent.
    #[error("header {name:?}: {why}")]
    Field {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// Where calls go. Clones share everything.
#[derive(Clone)]
pub struct Target {
    shared: Arc<Shared>,
}

struct Shared {
    authority: String,
    path: String,
    addresses: Vec<SocketAddr>,
    next: AtomicUsize,
    http: HttpChoice,
    tls: Option<Tls>,
    connect_timeout: Duration,
}

/// TLS as a connection needs it.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: tokio_rustls::TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl Target {
    /// Reads a URL, resolves its host and builds the TLS settings.
    pub async fn resolve(url: &str, options: &TargetOptions) -> Result<Self, TargetError> {
        let wrong = |why: &str| TargetError::Url {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let uri: Uri = url
            .parse()
            .map_err(|e: http::uri::InvalidUri| wrong(&e.to_string()))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "credentials do not belong into a URL; give them as headers",
            ));
        }
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let place = match &options.connect_to {
            Some(place) => place.clone(),
            None => format!("{host}:{port}"),
        };
        let unresolved = |why: String| TargetError::Resolve {
            host: place.clone(),
            why,
        };
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(place.as_str())
            .await
            .map_err(|e| unresolved(e.to_string()))?
            .collect();
        if addresses.is_empty() {
            return Err(unresolved("no address".to_owned()));
        }
        let tls = match secure {
            false => None,
            true => {
                let name = options.server_name.as_deref().unwrap_or(bare);
                Some(Tls {
                    connector: tls::connector(options)?,
                    name: ServerName::try_from(name.to_owned())
                        .map_err(|_| TargetError::Tls(format!("{name:?} is not a server name")))?,
                })
            }
        };
        Ok(Self {
            shared: Arc::new(Shared {
                authority: authority.as_str().to_owned(),
                path: uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned(),
                addresses,
                next: AtomicUsize::new(0),
                http: options.http,
                tls,
                connect_timeout: options.connect_timeout,
            }),
        })
    }

    /// Host and port as the URL has them.
    pub fn authority(&self) -> &str {
        &self.shared.authority
    }

    /// Path and query of the URL.
    pub fn path(&self) -> &str {
        &self.shared.path
    }

    /// All addresses of the host.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.shared.addresses
    }

    /// Whether calls go through TLS.
    pub fn is_tls(&self) -> bool {
        self.shared.tls.is_some()
    }

    /// Addresses in the order to be tried for the next connection: each connection begins with another one, so that
    /// a name with several addresses has the load spread over them.
    pub(super) fn next_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let addresses = &self.shared.addresses;
        let start = self.shared.next.fetch_add(1, Ordering::Relaxed) % addresses.len();
        addresses[start..].iter().chain(&addresses[..start]).copied()
    }

    pub(super) fn http(&self) -> HttpChoice {
        self.shared.http
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.shared.tls.as_ref()
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.shared.connect_timeout
    }

    /// The whole URI of `path` here, as HTTP/2 wants it.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, TargetError> {
        let scheme = if self.is_tls() { "https" } else { "http" };
        let wrong = |why: String| TargetError::Url {
            url: path.to_owned(),
            why,
        };
        if !path.starts_with('/') {
            return Err(wrong("a path begins with /".to_owned()));
        }
        Uri::builder()
            .scheme(scheme)
            .authority(self.authority())
            .path_and_query(path)
            .build()
            .map_err(|e| wrong(e.to_string()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("url", &self.to_string())
            .field("addresses", &self.shared.addresses)
            .field("http", &self.shared.http)
            .finish_non_exhaustive()
    }
}
