//! One server's address, parsed once and checked whole, shared by every worker.
//!
//! Two endpoints are equal when connections to one may serve the other: same scheme, host, port, target, HTTP
//! version and authorities. Deadlines are not part of it, so a changed timeout keeps its warm connections.
//! Equality is by a digest made at construction, because it is looked up on every call.

use super::tls;
use bytes::Bytes;
use ring::digest;
use ringway_proto::snapshot::{HttpVersion, Timeouts};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
};

/// Where and how to reach a server: made once per snapshot, shared by reference.
pub struct Endpoint {
    place: Place,
    tls: Option<Tls>,
    http: HttpVersion,
    timeouts: Timeouts,
    path: Bytes,
    authority: Bytes,
    /// `authority` as `:authority` wants it.
    uri_authority: http::uri::Authority,
    identity: Identity,
}

/// Equal for endpoints that may share connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity(u128);

/// What to connect to.
pub(super) enum Place {
    /// A name to resolve, or an address.
    Host { host: Host, port: u16 },
    /// A Unix socket.
    Socket(PathBuf),
}

pub(super) enum Host {
    Name(Arc<str>),
    Address(IpAddr),
}

/// What a TLS handshake needs.
pub(super) struct Tls {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

/// Why a URL or its authorities cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither `http:`, `https:` nor `unix:`.
    #[error("the URL must begin with http://, https:// or unix:/")]
    Scheme,
    /// No host, or not one.
    #[error("{0:?} is not a host name or address")]
    Host(String),
    /// Not 1–65535.
    #[error("{0:?} is not a port")]
    Port(String),
    /// `user:password@`: a secret in a URL ends up in logs.
    #[error("the URL must not contain a user name or password; use headers")]
    UserInfo,
    /// `#…` is never sent.
    #[error("the URL must not contain a fragment")]
    Fragment,
    /// A byte that must be percent-encoded.
    #[error("the URL's path may only hold visible ASCII; percent-encode the rest")]
    Path,
    /// Unix sockets have paths of at most 107 bytes.
    #[error("a Unix socket needs an absolute path of at most 107 bytes")]
    SocketPath,
    /// The CA file.
    #[error("the authorities: {0}")]
    Authorities(String),
}

/// `sun_path` without its terminating zero (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// RFC 1035 §2.3.4, in presentation form.
const HOST_BYTES_MAX: usize = 253;

impl Endpoint {
    /// Parses `url`; `ca_pem` replaces the public authorities for this server.
    pub fn new(
        url: &str,
        http: HttpVersion,
        ca_pem: Option<&[u8]>,
        timeouts: Timeouts,
    ) -> Result<Self, EndpointError> {
        if let Some(path) = url.strip_prefix("unix:") {
            return Self::socket(path, http, timeouts);
        }
        let (secure, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            _ => return Err(EndpointError::Scheme),
        };
        if rest.contains('#') {
            return Err(EndpointError::Fragment);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(EndpointError::UserInfo);
        }
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        if !is_visible(target.as_bytes()) {
            return Err(EndpointError::Path);
        }
        let default_port = if secure { 443 } else { 80 };
        let (host, port) = parse_authority(authority, default_port)?;
        let tls = if secure {
            Some(Tls::new(&host, http, ca_pem)?)
        } else {
            None
        };
        let mut shown = match &host {
            Host::Name(name) => name.to_string(),
            Host::Address(IpAddr::V4(v4)) => v4.to_string(),
            Host::Address(IpAddr::V6(v6)) => format!("[{v6}]"),
        };
        if port != default_port {
            shown.push_str(&format!(":{port}"));
        }
        let scheme = if secure { "https" } else { "http" };
        let identity = Identity::of(
            scheme,
            &format!("{shown}{target}"),
            http,
            ca_pem.filter(|_| secure),
        );
        Self::assemble(
            Place::Host { host, port },
            tls,
            http,
            timeouts,
            target,
            shown,
            identity,
        )
    }

    fn socket(path: &str, http: HttpVersion, timeouts: Timeouts) -> Result<Self, EndpointError> {
        if !path.starts_with('/') || path.len() > SOCKET_PATH_BYTES_MAX || path.contains('\0') {
            return Err(EndpointError::SocketPath);
        }
        let identity = Identity::of("unix", path, http, None);
        let place = Place::Socket(PathBuf::from(path));
        Self::assemble(
            place,
            None,
            http,
            timeouts,
            "/mcp".to_owned(),
            "localhost".to_owned(),
            identity,
        )
    }

    fn assemble(
        place: Place,
        tls: Option<Tls>,
        http: HttpVersion,
        timeouts: Timeouts,
        path: String,
        authority: String,
        identity: Identity,
    ) -> Result<Self, EndpointError> {
        let uri_authority = authority
            .parse()
            .map_err(|_| EndpointError::Host(authority.clone()))?;
        let (path, authority) = (path.into(), authority.into());
        Ok(Self {
            place,
            tls,
            http,
            timeouts,
            path,
            authority,
            uri_authority,
            identity,
        })
    }

    /// The request target of the server's MCP endpoint: path and query.
    pub fn path(&self) -> &Bytes {
        &self.path
    }

    /// What goes into `Host` or `:authority`.
    pub fn authority(&self) -> &Bytes {
        &self.authority
    }

    /// Deadlines of one exchange.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Whether bytes to this server are encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    pub(super) fn http(&self) -> HttpVersion {
        self.http
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn uri_authority(&self) -> &http::uri::Authority {
        &self.uri_authority
    }

    pub(super) fn uri_scheme(&self) -> http::uri::Scheme {
        if self.is_tls() {
            http::uri::Scheme::HTTPS
        } else {
            http::uri::Scheme::HTTP
        }
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Endpoint {}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl std::fmt::Debug for Endpoint {
    /// Without the query: some servers take their key there.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.split(|b| *b == b'?').next().unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match &self.place {
            Place::Socket(socket) => write!(f, "unix:{}", socket.display()),
            Place::Host { .. } => {
                write!(
                    f,
                    "{}://{}{}",
                    self.uri_scheme(),
                    text(&self.authority),
                    text(path)
                )
            }
        }
    }
}

impl Identity {
    fn of(scheme: &str, rest: &str, http: HttpVersion, ca_pem: Option<&[u8]>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        // Scheme and version hold no space and the text no newline, so no two inputs read alike.
        context.update(format!("{scheme} {http:?} {rest}\n").as_bytes());
        if let Some(pem) = ca_pem {
            context.update(pem);
        }
        let digest = context.finish();
        let (half, _) = digest.as_ref().as_chunks::<16>();
        Self(half.first().map_or(0, |bytes| u128::from_be_bytes(*bytes)))
    }
}

impl Tls {
    fn new(host: &Host, http: HttpVersion, ca_pem: Option<&[u8]>) -> Result<Self, EndpointError> {
        let name = match host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => {
                ServerName::try_from(name.to_string()).map_err(|_| EndpointError::Host(name.to_string()))?
            }
        };
        Ok(Self {
            config: tls::client_config(ca_pem, http)?,
            name,
        })
    }
}

/// Bytes that may stand in a request target as they are; anything else could end the line early.
pub(super) fn is_visible(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| (0x21..=0x7e).contains(b))
}

fn parse_authority(authority: &str, default_port: u16) -> Result<(Host, u16), EndpointError> {
    let bad_host = |host: &str| EndpointError::Host(host.to_owned());
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (inside, port) = rest.split_once(']').ok_or_else(|| bad_host(authority))?;
        let v6: Ipv6Addr = inside.parse().map_err(|_| bad_host(authority))?;
        (Host::Address(v6.into()), port)
    } else {
        let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        (parse_name(name).ok_or_else(|| bad_host(name))?, port)
    };
    let port = match port {
        "" | ":" => default_port,
        text => {
            let digits = text
                .strip_prefix(':')
                .filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
            match digits.and_then(|d| d.parse().ok()) {
                Some(port) if port > 0 => port,
                _ => return Err(EndpointError::Port(text.trim_start_matches(':').to_owned())),
            }
        }
    };
    Ok((host, port))
}

fn parse_name(name: &str) -> Option<Host> {
    if let Ok(v4) = name.parse::<Ipv4Addr>() {
        return Some(Host::Address(v4.into()));
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let fits = !bare.is_empty()
        && bare.len() <= HOST_BYTES_MAX
        && bare
            .split('.')
            .all(|label| !label.is_empty() && label.len() <= 63 && label.bytes().all(known));
    // `127.1` and `0x7f.1` are addresses to some readers and names to others.
    let last = bare.rsplit('.').next().unwrap_or(bare);
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    (fits && !numeric).then(|| Host::Name(bare.to_ascii_lowercase().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::new(url, HttpVersion::Auto, None, Timeouts::default())
    }

    fn parts(url: &str) -> (String, String) {
        let endpoint = endpoint(url).expect(url);
        let text = |b: &Bytes| String::from_utf8(b.to_vec()).expect("ascii");
        (text(endpoint.authority()), text(endpoint.path()))
    }

    #[test]
    fn urls_are_read_as_the_wire_wants_them() {
        for (url, authority, path) in [
            ("http://Example.ORG/mcp", "example.org", "/mcp"),
            ("HTTP://example.org:80", "example.org", "/"),
            ("https://example.org:443/a/b?k=v", "example.org", "/a/b?k=v"),
            ("https://example.org.:8443?x", "example.org:8443", "/?x"),
            ("http://127.0.0.1:3000/mcp", "127.0.0.1:3000", "/mcp"),
            ("http://[::1]:3000/mcp", "[::1]:3000", "/mcp"),
            ("http://my_service/mcp", "my_service", "/mcp"),
            ("unix:/run/tools.sock", "localhost", "/mcp"),
        ] {
            assert_eq!(parts(url), (authority.to_owned(), path.to_owned()), "{url}");
        }
    }

    #[test]
    fn urls_that_two_readers_could_read_differently_are_refused() {
        use EndpointError as E;
        for (url, error) in [
            ("ftp://example.org/", E::Scheme),
            ("example.org/mcp", E::Scheme),
            ("http://user:pw@example.org/", E::UserInfo),
            ("http://example.org/#x", E::Fragment),
            ("http://example.org/a b", E::Path),
            ("http://example.org/a\r\nx: y", E::Path),
            ("http://example.org/ü", E::Path),
            ("http:///mcp", E::Host(String::new())),
            ("http://127.1/", E::Host("127.1".into())),
            ("http://a..b/", E::Host("a..b".into())),
            ("http://[::1/", E::Host("[::1".into())),
            ("http://example.org:0/", E::Port("0".into())),
            ("http://example.org:+80/", E::Port("+80".into())),
            ("http://example.org:65536/", E::Port("65536".into())),
            ("unix:relative.sock", E::SocketPath),
        ] {
            assert_eq!(endpoint(url).err(), Some(error), "{url}");
        }
        assert_eq!(
            endpoint(&format!("unix:/{}", "x".repeat(107))).err(),
            Some(E::SocketPath)
        );
    }

    #[test]
    fn equality_is_about_connections_and_not_about_deadlines() {
        let one = endpoint("http://example.org/mcp").expect("valid");
        let slow = Timeouts {
            total_ms: 1,
            ..Timeouts::default()
        };
        let again = Endpoint::new("http://EXAMPLE.org:80/mcp", HttpVersion::Auto, None, slow).expect("valid");
        assert!(one == again);
        assert!(one != endpoint("http://example.org/other").expect("valid"));
        assert!(one != endpoint("https://example.org/mcp").expect("valid"));
        let h2 = Endpoint::new("http://example.org/mcp", HttpVersion::Http2, None, slow).expect("valid");
        assert!(one != h2);
    }

    #[test]
    fn a_key_in_the_query_is_not_printed() {
        let endpoint = endpoint("https://example.org/mcp?key=secret").expect("valid");
        assert_eq!(format!("{endpoint:?}"), "https://example.org/mcp");
    }
}
