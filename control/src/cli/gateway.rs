//! Reaching a running gateway: its address, the key to show, and what its refusals mean for the exit code.

use super::{
    exit::{Exit, Stop},
    place::StateArgs,
};
use crate::client::{Deadlines, Failure, McpClient, Mode, Peer};
use clap::Args;
use ringway_sandbox::http_client::{Address, HttpClient};
use std::{path::PathBuf, time::Duration};

/// Where the gateway is and who we are to it.
#[derive(Args, Clone, Debug)]
pub struct GatewayArgs {
    /// MCP endpoint of the gateway, or of any MCP server
    #[arg(
        long,
        env = "RINGWAY_URL",
        default_value = "http://127.0.0.1:8808/mcp",
        value_name = "URL"
    )]
    pub url: String,
    /// API key to show
    ///
    /// Without it, `$RINGWAY_KEY` is used, and then, on this machine only, the development key that `ringway up`
    /// left in its state directory. Prefer the variable: command lines are visible to other users.
    #[arg(long, env = "RINGWAY_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
    /// PEM file with the authorities to trust instead of the public ones
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Seconds to wait for the answer
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Where the development key is, on this machine.
    #[command(flatten)]
    pub state: StateArgs,
}

impl GatewayArgs {
    /// Greets the gateway. The command line has nobody to sample for or to ask, so it declares no capabilities.
    pub async fn connect(&self) -> Result<McpClient, Stop> {
        let address: Address = self
            .url
            .parse()
            .map_err(|e| Stop::new(Exit::Usage, format!("{e}"), "pass --url http://host:port/mcp"))?;
        let http = match &self.ca {
            None => HttpClient::new(),
            Some(file) => {
                let pem = std::fs::read(file).map_err(|e| {
                    Stop::plain(
                        Exit::Usage,
                        format!("the CA file {} cannot be read: {e}", file.display()),
                    )
                })?;
                HttpClient::with_ca(&pem).map_err(|e| Stop::plain(Exit::Usage, e.to_string()))?
            }
        };
        let mut headers = Vec::new();
        let key = self.key.clone().filter(|key| !key.trim().is_empty());
        if let Some(key) = key.or_else(|| development_key(&address, &self.state)) {
            headers.push(("authorization".to_owned(), format!("Bearer {}", key.trim())));
        }
        let mut peer = Peer::new(http, address, headers);
        let total = Duration::from_secs(self.timeout);
        // A tool may be silent for as long as the caller is willing to wait.
        peer.deadlines = Deadlines {
            head: total,
            idle: total,
            total,
        };
        let shown = peer.clone();
        McpClient::connect(peer, Mode::Auto, "{}")
            .await
            .map_err(|failure| stop(&failure, &shown))
    }
}

/// What a failure toward the gateway means for a command.
pub fn stop(failure: &Failure, peer: &Peer) -> Stop {
    let what = peer.describe(failure);
    match failure {
        Failure::Transport(_) | Failure::Late(_) => Stop::new(
            Exit::Unreachable,
            what,
            "is a gateway running there? `ringway up` starts one; --url names another; --timeout waits longer",
        ),
        _ if matches!(failure.status(), Some(401)) => Stop::new(
            Exit::Refused,
            what,
            "pass a key with --key or $RINGWAY_KEY; `ringway keys create` makes one",
        ),
        _ if matches!(failure.status(), Some(403)) => Stop::new(
            Exit::Refused,
            what,
            "the key is known but may not do this; look at its roles",
        ),
        Failure::Status {
            status: 502..=504, ..
        } => Stop::plain(Exit::Unreachable, what),
        _ => Stop::plain(Exit::Failure, what),
    }
}

/// The key `up` left for use on this machine; it is never sent anywhere else.
fn development_key(address: &Address, state: &StateArgs) -> Option<String> {
    let Address::Url(url) = address else { return None };
    let host = url.host()?.trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !local {
        return None;
    }
    std::fs::read_to_string(crate::up::development_key_file(state)?).ok()
}
