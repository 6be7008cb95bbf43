//! The small grammars: names, patterns, addresses.

use super::bounds::{EXPOSED_NAME_MAX, ID_MAX, PATTERN_CHARS_MAX, SERVER_NAME_MAX};
use hyper::Uri;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `[a-z0-9][a-z0-9-]*`, at most 32. No underscore, so that the first `__` of an exposed name ends the server.
pub(crate) fn check_server_name(name: &str) -> Result<(), String> {
    let rule = "use lower-case letters, digits and `-`, beginning with a letter or digit";
    if name.is_empty() {
        return Err(format!("a name cannot be empty; {rule}"));
    }
    if name.len() > SERVER_NAME_MAX {
        return Err(format!("a name has at most {SERVER_NAME_MAX} characters"));
    }
    let fits = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits && !name.starts_with('-') {
        Ok(())
    } else {
        Err(rule.to_owned())
    }
}

/// The nearest valid server name, the same for the same text always; `server` when nothing is left.
pub(crate) fn normal_server_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == SERVER_NAME_MAX {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() {
        "server".to_owned()
    } else {
        name.to_owned()
    }
}

/// Ids of roles, keys and tenants: `[A-Za-z0-9][A-Za-z0-9._-]*`, at most 64.
pub(crate) fn check_id(id: &str) -> Result<(), String> {
    let fits = id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits && id.len() <= ID_MAX && id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err(format!(
            "use at most {ID_MAX} letters, digits, `.`, `_` and `-`, beginning with a letter or digit"
        ))
    }
}

/// Whether the text can be a pattern at all: signs of exposed names and `*`.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("an empty pattern matches nothing; `*` matches every tool".to_owned());
    }
    if pattern.len() > PATTERN_CHARS_MAX {
        return Err(format!("a pattern has at most {PATTERN_CHARS_MAX} characters"));
    }
    let strange = pattern
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "_-*".contains(*c)));
    match strange {
        Some('?' | '[' | ']' | '{' | '}' | '(' | ')' | '|' | '^' | '$' | '+' | '\\') => {
            Err("`*` is the only wildcard; list alternatives as several patterns".to_owned())
        }
        Some('/' | ':') => Err("exposed names are `server__tool`: two underscores between them".to_owned()),
        Some('.') => Err("exposed names have no dots; write `*` in its place".to_owned()),
        Some(_) => Err("exposed names have letters, digits, `_` and `-` only".to_owned()),
        None => Ok(()),
    }
}

/// Whether the pattern could match some exposed name `server__tool` of this server.
///
/// The pattern is run over `server__`; it can match when it can go on from there: with at least one sign more,
/// or from a `*`. What it goes on with is free, as long as the name stays within 64 characters.
pub(crate) fn could_match(pattern: &str, server: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let prefix = format!("{server}__");
    let mut at: Vec<bool> = vec![false; pattern.len() + 1];
    at[0] = true;
    let skip_stars = |at: &mut Vec<bool>| {
        for index in 0..pattern.len() {
            if at[index] && pattern[index] == '*' {
                at[index + 1] = true;
            }
        }
    };
    skip_stars(&mut at);
    for c in prefix.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for index in (0..pattern.len()).filter(|index| at[*index]) {
            if pattern[index] == '*' {
                next[index] = true;
            } else if pattern[index] == c {
                next[index + 1] = true;
            }
        }
        skip_stars(&mut next);
        at = next;
    }
    (0..pattern.len()).filter(|index| at[*index]).any(|index| {
        let literals = pattern[index..].iter().filter(|c| **c != '*').count();
        prefix.len() + literals.max(1) <= EXPOSED_NAME_MAX
    })
}

/// Why an address of a server cannot be used: message and advice.
pub(crate) type Refusal = (&'static str, &'static str);

/// Checks `http://…`, `https://…` and `unix:/…` addresses. The text is never repeated: it may hold a token.
pub(crate) fn check_url(url: &str, unix: bool) -> Result<(), Refusal> {
    const USAGE: &str = "write `https://host[:port]/path`";
    if let Some(path) = url.strip_prefix("unix:").filter(|_| unix) {
        return if path.starts_with('/') {
            Ok(())
        } else {
            Err((
                "a Unix socket needs an absolute path",
                "write `unix:/run/server.sock`",
            ))
        };
    }
    if url.trim() != url || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(("the address contains blanks", USAGE));
    }
    let lower = url.to_ascii_lowercase();
    if lower.starts_with("ws://") || lower.starts_with("wss://") {
        return Err((
            "WebSocket servers are not supported",
            "MCP over HTTP has an `http` or `https` address",
        ));
    }
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return Err(("the address does not begin with `http://` or `https://`", USAGE));
    }
    if url.contains('#') {
        return Err((
            "the address has a fragment (`#…`), which is never sent",
            "remove everything from `#` on",
        ));
    }
    let Ok(uri) = url.parse::<Uri>() else {
        return Err(("the address is not a URL", USAGE));
    };
    let Some(authority) = uri.authority() else {
        return Err(("the address names no host", USAGE));
    };
    if authority.as_str().contains('@') {
        return Err((
            "the address holds a user name or password",
            "send credentials in `headers`, as `Authorization: \"Bearer ${TOKEN}\"`",
        ));
    }
    let port = authority
        .as_str()
        .rsplit_once(':')
        .map(|(_, port)| port)
        .filter(|port| !port.ends_with(']'));
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(("the port is not a number from 1 to 65535", USAGE));
    }
    if authority.host().is_empty() {
        return Err(("the address names no host", USAGE));
    }
    Ok(())
}

/// `scheme://host[:port]` of an address that passed [`check_url`]; what may be shown of it.
pub(crate) fn origin(url: &str) -> String {
    if url.starts_with("unix:") {
        return url.to_owned();
    }
    match url.parse::<Uri>() {
        Ok(uri) => match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
            _ => "…".to_owned(),
        },
        Err(_) => "…".to_owned(),
    }
}

/// Whether an address sends in clear to another machine.
pub(crate) fn leaves_in_clear(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    let loopback = host == "localhost"
        || host.ends_with(".localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    uri.scheme_str() == Some("http") && !loopback
}

/// A listening address: `127.0.0.1:8808`, `[::1]:8808`, `localhost:8808`.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    const USAGE: &str = "write an IP address and a port: `127.0.0.1:8808`, `0.0.0.0:8808`, `[::]:8808`";
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    if text.contains("://") {
        return Err(
            "write the address without a scheme: `127.0.0.1:8808`; TLS is the key `tls` beside `address`",
        );
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err("the port is missing: `127.0.0.1:8808`, `[::1]:8808`");
    }
    match text
        .strip_prefix(':')
        .or_else(|| text.strip_prefix("*:"))
        .unwrap_or(text)
        .parse::<u16>()
    {
        Ok(_) => {
            Err("say which addresses: `127.0.0.1:8808` (this machine only) or `0.0.0.0:8808` (every network)")
        }
        Err(_) => Err(USAGE),
    }
}

/// An `Origin` as browsers send it: `scheme://host[:port]`, or `null` for none.
pub(crate) fn check_origin(text: &str) -> Result<(), &'static str> {
    const USAGE: &str = "write `https://host` or `http://host:port`, without a path";
    let (scheme, rest) = text.split_once("://").ok_or(USAGE)?;
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    if rest.contains('*') {
        return Err("wildcards are not understood here; list every origin");
    }
    // Editors' web views have schemes of their own (`vscode-webview://…`), so any scheme goes.
    if !scheme_fits || rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
        return Err(USAGE);
    }
    if rest.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("browsers send hosts in lower case");
    }
    Ok(())
}

/// A `Host` value: `gateway.example.org`, with a port if one is meant; or `*`.
pub(crate) fn check_host(text: &str) -> Result<(), &'static str> {
    if text == "*" {
        return Ok(());
    }
    if text.contains("://") || text.contains('/') {
        return Err("write the host alone: `gateway.example.org` or `gateway.example.org:8443`");
    }
    match text.parse::<hyper::http::uri::Authority>() {
        Ok(authority) if !text.contains(['*', '@']) && !authority.host().is_empty() => Ok(()),
        _ => Err("write a host name, with a port if one is meant; `*` alone accepts any"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names() {
        for name in ["a", "git", "0", "a-b", "a--b", &"a".repeat(32)] {
            assert!(check_server_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "Git", "a_b", "a__b", "a.b", "ä", &"a".repeat(33)] {
            assert!(check_server_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn normal_names_are_valid_and_stable() {
        for (text, name) in [
            ("GitHub MCP", "github-mcp"),
            (
                "@modelcontextprotocol/server-memory",
                "modelcontextprotocol-server-memo",
            ),
            ("my_server", "my-server"),
            ("a__b", "a-b"),
            ("日本", "server"),
            ("-x-", "x"),
        ] {
            assert_eq!(normal_server_name(text), name);
            assert!(check_server_name(&normal_server_name(text)).is_ok());
        }
    }

    #[test]
    fn a_pattern_is_dead_only_when_no_tool_could_match() {
        for (pattern, server, alive) in [
            ("*", "git", true),
            ("git__*", "git", true),
            ("git__log", "git", true),
            ("git__", "git", false),
            ("git", "git", false),
            ("g*", "git", true),
            ("*__log", "git", true),
            ("*log", "git", true),
            ("gitx__*", "git", false),
            ("git_*", "git", true),
            ("time__*", "git", false),
            ("*git__", "git", true), // a tool may be called `git__`
            ("git__*_*", "git", true),
        ] {
            assert_eq!(could_match(pattern, server), alive, "{pattern} on {server}");
        }
        assert!(!could_match(&format!("git__{}", "a".repeat(60)), "git"));
    }

    #[test]
    fn addresses_of_servers() {
        for url in [
            "https://api.example/mcp",
            "http://127.0.0.1:3000/mcp",
            "http://[::1]:3000/",
            "https://a.b",
        ] {
            assert_eq!(check_url(url, true), Ok(()), "{url}");
        }
        assert_eq!(check_url("unix:/run/a.sock", true), Ok(()));
        for url in [
            "",
            "api.example/mcp",
            "ftp://a/b",
            "wss://a/b",
            "https://",
            "https:///mcp",
            "https://a:99999/",
            "https://a:0/",
            "https://user:pass@a/",
            "https://a/#x",
            "https://a b/",
            "unix:run/a.sock",
        ] {
            assert!(check_url(url, true).is_err(), "{url}");
        }
        assert!(check_url("unix:/run/a.sock", false).is_err());
        assert!(leaves_in_clear("http://api.example/mcp"));
        assert!(!leaves_in_clear("http://[::1]:80/mcp"));
        assert!(!leaves_in_clear("https://api.example/mcp"));
    }

    #[test]
    fn listening_addresses() {
        for text in ["127.0.0.1:8808", "[::]:8808", "0.0.0.0:0", "localhost:80"] {
            assert!(listen_address(text).is_ok(), "{text}");
        }
        for text in [
            "8808",
            ":8808",
            "*:8808",
            "127.0.0.1",
            "::1",
            "http://127.0.0.1:80",
            "host:80",
            "127.0.0.1:99999",
        ] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_and_hosts() {
        assert!(check_origin("https://app.example:8443").is_ok());
        assert!(check_origin("vscode-webview://abc").is_ok());
        for text in [
            "app.example",
            "https://a/",
            "https://*.a",
            "https://",
            "https://A.b",
        ] {
            assert!(check_origin(text).is_err(), "{text}");
        }
        assert!(check_host("*").is_ok());
        assert!(check_host("gateway.example:8443").is_ok());
        for text in ["https://a", "a/b", "*.a", "", "a b"] {
            assert!(check_host(text).is_err(), "{text}");
        }
    }
}
