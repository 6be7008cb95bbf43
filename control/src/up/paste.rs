//! What `up` prints once it serves: where, with which key, and what to paste into three clients.

use std::{fmt::Write, net::SocketAddr};

/// What there is to show.
#[derive(Debug)]
pub struct Welcome<'w> {
    /// `http://127.0.0.1:8808/mcp`.
    pub url: &'w str,
    /// The development key, where one is in use.
    pub key: Option<&'w str>,
    /// `/livez`, `/readyz`, `/metrics`.
    pub admin: Option<SocketAddr>,
    /// One line about each server.
    pub servers: Vec<String>,
}

/// The URL a client on this machine uses for a listener: an unspecified address is reached by loopback.
pub fn url_of(address: SocketAddr, tls: bool) -> String {
    let host = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => "[::1]".to_owned(),
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{host}:{}/mcp", address.port())
}

/// The whole text, for stdout.
pub fn text(welcome: &Welcome<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\nRingway serves {}", welcome.url);
    for server in &welcome.servers {
        let _ = writeln!(text, "  {server}");
    }
    if let Some(admin) = welcome.admin {
        let _ = writeln!(
            text,
            "Health and metrics: http://{admin}/readyz · http://{admin}/metrics"
        );
    }
    match welcome.key {
        Some(key) => {
            let _ = writeln!(
                text,
                "\nAPI key for this machine (all tools; `ringway keys create` makes narrower ones):\n  {key}"
            );
        }
        None => {
            let _ = writeln!(
                text,
                "\nUse one of your API keys in place of YOUR_KEY; `ringway keys create` makes one."
            );
        }
    }
    let key = welcome.key.unwrap_or("YOUR_KEY");
    let url = welcome.url;
    let _ = writeln!(
        text,
        "\nClaude Code:\n  claude mcp add --transport http ringway {url} --header \"Authorization: Bearer {key}\"\n\
         \nCursor, in ~/.cursor/mcp.json:\n  {cursor}\n\
         \nVS Code, in .vscode/mcp.json:\n  {code}\n\
         \nOr from here:\n  ringway tools list\n",
        cursor = serde_json::json!({"mcpServers": {"ringway": {"url": url, "headers": {"Authorization": format!("Bearer {key}")}}}}),
        code = serde_json::json!({"servers": {"ringway": {"type": "http", "url": url, "headers": {"Authorization": format!("Bearer {key}")}}}}),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_shown_as_one_that_can_be_reached() {
        assert_eq!(
            url_of("0.0.0.0:80".parse().unwrap(), false),
            "http://127.0.0.1:80/mcp"
        );
        assert_eq!(
            url_of("[::]:8808".parse().unwrap(), true),
            "https://[::1]:8808/mcp"
        );
        assert_eq!(
            url_of("10.1.2.3:1".parse().unwrap(), false),
            "http://10.1.2.3:1/mcp"
        );
    }

    #[test]
    fn what_is_pasted_carries_url_and_key_and_is_json_where_json_belongs() {
        let shown = text(&Welcome {
            url: "http://127.0.0.1:8808/mcp",
            key: Some("rw_k"),
            admin: None,
            servers: Vec::new(),
        });
        let json: Vec<serde_json::Value> = shown
            .lines()
            .filter_map(|line| serde_json::from_str(line.trim()).ok())
            .collect();
        assert_eq!(json.len(), 2);
        for client in json {
            assert!(client.to_string().contains("Bearer rw_k") && client.to_string().contains("8808/mcp"));
        }
        assert!(shown.contains("claude mcp add --transport http"));
    }
}
