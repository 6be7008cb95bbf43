//! What can go wrong between us and a server, in words an operator can act on.
//!
//! Texts that came from the server are shortened, freed of control characters and of every header value we sent:
//! a server that repeats our credential in its error must not get it into our log.

use ringway_sandbox::http_client::ClientError;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{fmt, time::Duration};

/// How much of a server's own words is repeated; enough for a sentence or two.
const QUOTE_CHARS_MAX: usize = 300;
/// Header values shorter than this are no secrets, and hiding them would make texts unreadable ("1" in "-32601").
const SECRET_CHARS_MIN: usize = 6;

/// A JSON-RPC error as a server answered it.
#[derive(Clone, Debug, Deserialize)]
pub struct RpcError {
    /// The code (JSON-RPC 2.0 §5.1 and the specification's own range).
    pub code: i64,
    /// One sentence from the server.
    #[serde(default)]
    pub message: String,
    /// Anything more it had to say.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No HTTP response at all, or it broke off.
    #[error(transparent)]
    Transport(#[from] ClientError),
    /// The server answered the request with a JSON-RPC error.
    #[error("the server answered with an error: {error}")]
    Rpc {
        /// The HTTP status around it: some servers put the meaning there.
        status: u16,
        /// The error itself.
        error: RpcError,
    },
    /// An HTTP status that is not success, without a JSON-RPC error.
    #[error("the server answered HTTP {status}{advice}")]
    Status {
        /// The status.
        status: u16,
        /// What to do about it, and what the server said.
        advice: String,
    },
    /// The server answered something that is not MCP.
    #[error("the server does not answer as an MCP server: {0}")]
    Protocol(String),
    /// The request's whole deadline passed.
    #[error("the server did not finish its answer within {0:?}")]
    Late(Duration),
}

impl Failure {
    /// The JSON-RPC code, where there is one.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Rpc { error, .. } => Some(error.code),
            _ => None,
        }
    }

    /// The HTTP status, where one arrived with the failure.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Rpc { status, .. } | Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// True when the server itself was not reached, so that asking in another way is pointless.
    pub fn unreachable(&self) -> bool {
        matches!(
            self,
            Self::Transport(ClientError::Connect { .. } | ClientError::Request { .. })
        )
    }

    /// A status without a JSON-RPC error, with the advice an operator needs most.
    pub(super) fn from_status(status: u16, location: Option<&str>, said: &str) -> Self {
        let hint = match status {
            401 => ": it wants a credential; set one under `headers` of this server".to_owned(),
            403 => ": the credential may not do this, or the server refuses our Host or Origin".to_owned(),
            404 | 405 => ": is the path right? Most servers end in /mcp; one that ends in /sse speaks the 2024-11-05 transport".to_owned(),
            301 | 302 | 303 | 307 | 308 => match location {
                Some(to) => format!(": it redirects to {to}; redirects are not followed, use that address if you trust it"),
                None => ": it redirects, without saying where to".to_owned(),
            },
            429 => ": it limits our rate; it is asked again later".to_owned(),
            502..=504 => ": a proxy in between cannot reach it".to_owned(),
            _ => String::new(),
        };
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(" (it says: {said})")
        };
        Self::Status {
            status,
            advice: hint + &said,
        }
    }
}

/// Shortens a server's words to one printable line and hides every secret in them.
pub(super) fn quote(text: &str, secrets: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (_, value) in secrets {
        // A value such as "Bearer abc" hides as a whole and by its last word, which is the secret part.
        for secret in [Some(value.as_str()), value.rsplit(' ').next()]
            .into_iter()
            .flatten()
        {
            if secret.len() >= SECRET_CHARS_MIN {
                text = text.replace(secret, "[hidden]");
            }
        }
    }
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(QUOTE_CHARS_MAX)
        .collect();
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_make_us_print_the_credential_it_was_sent() {
        let sent = vec![("authorization".to_owned(), "Bearer s3cr3t-token".to_owned())];
        let line = quote(
            "bad token 's3cr3t-token'\nin Bearer s3cr3t-token\u{1b}[31m",
            &sent,
        );
        assert_eq!(line, "bad token '[hidden]' in [hidden] [31m");
    }

    #[test]
    fn long_words_are_shortened_and_say_so() {
        let line = quote(&"x".repeat(1000), &[]);
        assert_eq!(line.chars().count(), QUOTE_CHARS_MAX + 1);
        assert!(line.ends_with('…'));
    }

    #[test]
    fn a_redirect_names_its_target_and_is_not_followed() {
        let text = Failure::from_status(307, Some("http://x/mcp/"), "").to_string();
        assert!(
            text.contains("http://x/mcp/") && text.contains("not followed"),
            "{text}"
        );
    }
}
