//! Where a server is: its URL, read once.

use bytes::Bytes;

/// How to reach a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// What to connect to.
    pub transport: Transport,
    /// The `Host` (or `:authority`) to send: host, and port where it is not the scheme's own.
    pub authority: Bytes,
    /// Path and query to POST to.
    pub path: Bytes,
}

/// What to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, with TLS or without.
    Tcp {
        /// Whether TLS is spoken; the host is then the name to verify.
        tls: bool,
        /// A name, an IPv4 literal, or an IPv6 literal without its brackets.
        host: Box<str>,
        /// Never zero.
        port: u16,
    },
    /// A socket in the file system, in clear.
    Unix(Box<str>),
}

impl Address {
    /// Reads `http://…`, `https://…` or `unix:/absolute/path.sock`. The error says what is wrong.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        if let Some(path) = url.strip_prefix("unix:") {
            if !path.starts_with('/') || path.bytes().any(|b| b.is_ascii_control()) {
                return Err("a unix: URL needs an absolute path");
            }
            // `sun_path` of Linux has 108 bytes, the last a zero.
            if path.len() > 107 {
                return Err("a Unix socket's path has at most 107 bytes");
            }
            return Ok(Self {
                transport: Transport::Unix(path.into()),
                authority: Bytes::from_static(b"localhost"),
                path: Bytes::from_static(b"/mcp"),
            });
        }
        let (tls, rest) = match (strip_scheme(url, "https://"), strip_scheme(url, "http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("expected http://, https:// or unix:/"),
        };
        if !rest.bytes().all(|b| b.is_ascii_graphic()) || rest.contains('#') {
            return Err("a URL has visible ASCII characters and no fragment");
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("credentials do not belong into a URL; use headers");
        }
        let (host, port) = host_and_port(authority)?;
        let own = if tls { 443 } else { 80 };
        let port = port.unwrap_or(own);
        let bracketed = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_ascii_lowercase()
        };
        let authority = if port == own {
            bracketed
        } else {
            format!("{bracketed}:{port}")
        };
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Ok(Self {
            transport: Transport::Tcp {
                tls,
                host: host.to_ascii_lowercase().into(),
                port,
            },
            authority: authority.into(),
            path: path.into(),
        })
    }
}

fn strip_scheme<'u>(url: &'u str, scheme: &str) -> Option<&'u str> {
    let (start, rest) = url.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or("an IPv6 address lacks its closing bracket")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("not an IPv6 address");
        }
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err("unexpected text after the IPv6 address"),
        }
    } else {
        let (host, port) = authority
            .split_once(':')
            .map_or((authority, None), |(h, p)| (h, Some(p)));
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(plain) {
            return Err("the host is not a name or an address");
        }
        (host, port)
    };
    match port {
        None => Ok((host, None)),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse() {
            Ok(0) | Err(_) => Err("the port is not a number from 1 to 65535"),
            Ok(port) => Ok((host, Some(port))),
        },
        Some(_) => Err("the port is not a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(url: &str) -> (bool, String, u16, String, String) {
        let a = Address::parse(url).unwrap();
        let text = |b: &Bytes| String::from_utf8(b.to_vec()).unwrap();
        match &a.transport {
            Transport::Tcp { tls, host, port } => {
                (*tls, host.to_string(), *port, text(&a.authority), text(&a.path))
            }
            Transport::Unix(_) => panic!("not TCP"),
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let own = |tls, host: &str, port, authority: &str, path: &str| {
            (tls, host.to_owned(), port, authority.to_owned(), path.to_owned())
        };
        assert_eq!(
            tcp("https://A.example/mcp?x=1"),
            own(true, "a.example", 443, "a.example", "/mcp?x=1")
        );
        assert_eq!(
            tcp("HTTP://127.0.0.1:8080"),
            own(false, "127.0.0.1", 8080, "127.0.0.1:8080", "/")
        );
        assert_eq!(tcp("http://[::1]:81/x"), own(false, "::1", 81, "[::1]:81", "/x"));
        assert_eq!(tcp("https://h:443?q"), own(true, "h", 443, "h", "/?q"));
        let unix = Address::parse("unix:/run/x.sock").unwrap();
        assert_eq!(unix.transport, Transport::Unix("/run/x.sock".into()));
        assert_eq!(unix.path, "/mcp");
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for bad in [
            "",
            "ftp://x",
            "http://",
            "http:///x",
            "http://u:p@h/",
            "http://h:0/",
            "http://h:65536/",
            "http://h:/",
            "http://h:+80/",
            "http://[::1/",
            "http://[x]/",
            "http://[::1]x/",
            "http://h/a b",
            "http://h/#f",
            "http://h\r\n/",
            "unix:x.sock",
            "unix://",
            "http://hé/",
        ] {
            // `unix://` is the absolute path `//`: odd, but a path.
            assert_eq!(Address::parse(bad).is_err(), bad != "unix://", "{bad}");
        }
    }
}
