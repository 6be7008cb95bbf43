//! What `up` prints once it serves: where, with which key, and what to paste into three clients.

use serde_json::json;
use std::{fmt::Write, net::SocketAddr};

/// What there is to show.
#[derive(Debug)]
pub struct Welcome<'w> {
    /// `http://127.0.0.1:8808/mcp`.
    pub url: &'w str,
    /// What a client needs to be let in.
    pub access: Access<'w>,
    /// `/livez`, `/readyz`, `/metrics`.
    pub admin: Option<SocketAddr>,
    /// One line about each server.
    pub servers: Vec<String>,
}

/// What a client needs to be let in.
#[derive(Clone, Copy, Debug)]
pub enum Access<'w> {
    /// The development key, which is shown.
    Development(&'w str),
    /// Nothing, on this machine.
    Open,
    /// A key that somebody has and that is not kept here.
    Own,
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
    let key = match welcome.access {
        Access::Development(key) => {
            let _ = writeln!(
                text,
                "\nAPI key for this machine (all tools; `ringway keys create` makes narrower ones):\n  {key}"
            );
            Some(key)
        }
        Access::Open => {
            let _ = writeln!(text, "\nCallers on this machine need no key (`anonymous`).");
            None
        }
        Access::Own => {
            let _ = writeln!(
                text,
                "\nPut one of your API keys in place of YOUR_KEY; `ringway keys create` makes one."
            );
            Some("YOUR_KEY")
        }
    };
    let url = welcome.url;
    let mut cursor = json!({"url": url});
    let mut code = json!({"type": "http", "url": url});
    let mut claude = format!("claude mcp add --transport http ringway {url}");
    if let Some(key) = key {
        let headers = json!({"Authorization": format!("Bearer {key}")});
        cursor["headers"] = headers.clone();
        code["headers"] = headers;
        let _ = write!(claude, " --header \"Authorization: Bearer {key}\"");
    }
    let _ = writeln!(
        text,
        "\nClaude Code:\n  {claude}\n\
         \nCursor, in ~/.cursor/mcp.json:\n  {}\n\
         \nVS Code, in .vscode/mcp.json:\n  {}\n\
         \nOr from here:\n  ringway tools list\n",
        json!({"mcpServers": {"ringway": cursor}}),
        json!({"servers": {"ringway": code}}),
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

    fn pasted(access: Access<'_>) -> (String, Vec<serde_json::Value>) {
        let shown = text(&Welcome {
            url: "http://127.0.0.1:8808/mcp",
            access,
            admin: None,
            servers: Vec::new(),
        });
        let json = shown
            .lines()
            .filter_map(|line| serde_json::from_str(line.trim()).ok())
            .collect();
        (shown, json)
    }

    #[test]
    fn what_is_pasted_carries_url_and_key_and_is_json_where_json_belongs() {
        let (shown, clients) = pasted(Access::Development("rwk_k"));
        assert_eq!(clients.len(), 2);
        for client in clients {
            assert!(client.to_string().contains("Bearer rwk_k") && client.to_string().contains("8808/mcp"));
        }
        assert!(shown.contains("claude mcp add --transport http"));
    }

    #[test]
    fn where_no_key_is_needed_none_is_asked_for() {
        let (shown, clients) = pasted(Access::Open);
        assert_eq!(clients.len(), 2);
        assert!(
            !shown.contains("Authorization") && !shown.contains("YOUR_KEY"),
            "{shown}"
        );
    }
}
