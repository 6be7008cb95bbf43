//! Who may knock: the `Host` and `Origin` checks that stop a web page from talking to a gateway it can reach
//! but should not (DNS rebinding; specification 2025-11-25 and later, "Streamable HTTP, Security Warning").
//!
//! Two facts drive the rules. A listener on a loopback address is reachable by every page in the user's
//! browser, so it answers only to loopback names. A listener on any other address is meant for a network whose
//! names we cannot know, so it takes every `Host` until `allowed_hosts` says otherwise. `Origin` is only sent
//! by browsers; when it is there it must be one we expect, on every listener.

use crate::rejection::Rejection;
use ringway_proto::snapshot::Gateway;

/// Checks `Host` (or `:authority`) and `Origin` of one request.
///
/// `loopback` says whether the listener's address is a loopback one.
pub fn check(gateway: &Gateway, loopback: bool, host: &[u8], origin: Option<&[u8]>) -> Result<(), Rejection> {
    let listed = gateway
        .allowed_hosts
        .iter()
        .any(|a| a == "*" || matches_host(a, host));
    let host_known = listed || (loopback && is_loopback_name(host_name(host)));
    if !host_known && (loopback || !gateway.allowed_hosts.is_empty()) {
        return Err(Rejection::HostNotAllowed);
    }
    let Some(origin) = origin else { return Ok(()) };
    let expected = gateway.allowed_origins.iter().any(|a| a.as_bytes().eq_ignore_ascii_case(origin))
        || (loopback && origin_host(origin).is_some_and(|h| is_loopback_name(host_name(h))))
        // The same origin as a host we were told is ours; without that list a rebound name would pass as well.
        || (listed && origin_host(origin).is_some_and(|h| h.eq_ignore_ascii_case(host)));
    if expected {
        Ok(())
    } else {
        Err(Rejection::OriginNotAllowed)
    }
}

/// `allowed` may carry a port; without one any port matches.
fn matches_host(allowed: &str, host: &[u8]) -> bool {
    let allowed = allowed.as_bytes();
    allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(host_name(host))
}

/// The host without its port; brackets of an IPv6 literal stay.
fn host_name(host: &[u8]) -> &[u8] {
    if host.first() == Some(&b'[') {
        return match host.iter().position(|b| *b == b']') {
            Some(end) if matches!(host.get(end + 1), None | Some(b':')) => &host[..=end],
            _ => host,
        };
    }
    match host.iter().position(|b| *b == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => &host[..colon],
        _ => host,
    }
}

fn is_loopback_name(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"localhost") || name == b"127.0.0.1" || name == b"[::1]"
}

/// The `host[:port]` of an origin; anything that is not exactly `http(s)://host[:port]` has none.
fn origin_host(origin: &[u8]) -> Option<&[u8]> {
    let rest = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"))?;
    (!rest.is_empty() && !rest.iter().any(|b| matches!(b, b'/' | b'@' | b'?' | b'#'))).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(origins: &[&str], hosts: &[&str]) -> Gateway {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Gateway {
            allowed_origins: own(origins),
            allowed_hosts: own(hosts),
            ..Gateway::default()
        }
    }

    fn ok(gateway: &Gateway, loopback: bool, host: &str, origin: Option<&str>) -> bool {
        check(gateway, loopback, host.as_bytes(), origin.map(str::as_bytes)).is_ok()
    }

    #[test]
    fn loopback_listeners_answer_to_loopback_names_only() {
        let g = gateway(&[], &[]);
        for host in [
            "localhost",
            "localhost:8808",
            "127.0.0.1:8808",
            "[::1]:8808",
            "LOCALHOST:1",
        ] {
            assert!(ok(&g, true, host, None), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8808",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "[::1]x",
            "",
        ] {
            assert!(!ok(&g, true, host, None), "{host}");
        }
    }

    #[test]
    fn an_origin_must_be_expected() {
        let g = gateway(&["https://app.example"], &[]);
        assert!(ok(&g, true, "localhost:1", Some("http://localhost:5173")));
        assert!(ok(&g, true, "localhost:1", Some("https://app.example")));
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost@evil.example",
            "http://localhost/",
            "file://",
        ] {
            assert!(!ok(&g, true, "localhost:1", Some(origin)), "{origin}");
        }
        assert!(
            !ok(&g, false, "gw.example", Some("http://localhost:5173")),
            "public listeners trust no local page"
        );
        assert!(
            !ok(&g, false, "gw.example", Some("https://gw.example")),
            "same origin proves nothing unlisted"
        );
    }

    #[test]
    fn public_listeners_take_any_host_until_told() {
        assert!(ok(&gateway(&[], &[]), false, "anything.example", None));
        let g = gateway(&[], &["gw.example", "other.example:444"]);
        assert!(ok(&g, false, "gw.example:8443", Some("https://gw.example:8443")));
        assert!(ok(&g, false, "other.example:444", None));
        assert!(!ok(&g, false, "other.example:445", None));
        assert!(!ok(&g, false, "anything.example", None));
    }
}
