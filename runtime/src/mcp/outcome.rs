//! How a request ended, and how that is read off a whole answer.

use memchr::memmem;
use ringway_core::rejection::Fault;
use ringway_proto::rpc::{self, Shape};
use std::sync::LazyLock;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered; whatever the answer said came from a server or from the gateway's own knowledge.
    Ok,
    /// A tool ran and reported an error.
    ToolError,
    /// A server answered with a JSON-RPC error.
    RpcError,
    /// Refused, with its reason and whose fault it was.
    Rejected(&'static str, Fault),
    /// A CORS preflight.
    Preflight,
    /// The client went away before the answer was whole.
    ClientGone,
    /// The answer's stream broke on the server's side.
    Broken,
}

/// Answers up to this size are looked through.
const LOOK_INTO_MAX: usize = 64 << 10;
/// Of answers up to this size only the two ends are, where servers put `error` and `isError`: all of it would have to
/// come through the cache once more. Still larger ones count as answered.
const LOOK_AT_MAX: usize = 128 << 10;
/// How far an end goes.
const END_BYTES: usize = 1 << 10;

impl Outcome {
    /// The label in metrics and records.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ToolError => "tool_error",
            Self::RpcError => "rpc_error",
            Self::Rejected(reason, _) => reason,
            Self::Preflight => "preflight",
            Self::ClientGone => "client_gone",
            Self::Broken => "broken",
        }
    }

    /// A tool's own failure, or a server's, inside a whole answer.
    pub fn of(body: &[u8]) -> Self {
        let may = match body.len() {
            0..=LOOK_INTO_MAX => may_tell_of_failure(body),
            length @ ..=LOOK_AT_MAX => {
                has_failure_key(&body[..END_BYTES]) || has_failure_key(&body[length - END_BYTES..])
            }
            _ => false,
        };
        if may { scanned(body) } else { Self::Ok }
    }
}

/// What a scan of the whole answer says.
fn scanned(body: &[u8]) -> Outcome {
    match rpc::scan(body) {
        Ok(message) if message.shape() == Shape::Error => Outcome::RpcError,
        Ok(message) if message.is_error(body) => Outcome::ToolError,
        _ => Outcome::Ok,
    }
}

/// The end of `"error"` and of `"isError"`.
static TAIL: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"rror\""));
/// A key may be written with escapes of this kind.
static ESCAPE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\\u"));

/// The shortest text after the end of a key in which another failure can stand: `,"error":{}}`.
const FAILURE_BYTES: usize = 12;

/// Whether a scan could find a failure; "no" is certain. Inside a JSON string a quote is escaped, so a quoted key
/// that is followed by a colon is a key, of whatever object.
fn may_tell_of_failure(body: &[u8]) -> bool {
    has_failure_key(body)
        || memchr::memchr(b'\\', body).is_some_and(|first| ESCAPE.find(&body[first..]).is_some())
}

/// Whether a key of a failure is there as servers write it.
fn has_failure_key(body: &[u8]) -> bool {
    let mut rest = body;
    while let Some(at) = TAIL.find(rest) {
        let (before, after) = (&rest[..at], &rest[at + TAIL.needle().len()..]);
        if let Some(value) = after.trim_ascii_start().strip_prefix(b":") {
            let is_true = || value.trim_ascii_start().starts_with(b"t");
            if before.ends_with(b"\"e") || (before.ends_with(b"\"isE") && is_true()) {
                return true;
            }
        }
        // `isError` comes last as a rule; what is left is then not worth a search.
        if after.len() < FAILURE_BYTES {
            break;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_tells_its_own_outcome() {
        for (body, outcome) in [
            (
                &br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#[..],
                Outcome::Ok,
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":[]}}"#,
                Outcome::ToolError,
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"result":{"isErr\u006fr" : true,"content":[]}}"#,
                Outcome::ToolError,
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\"isError\":true"}]}}"#,
                Outcome::Ok,
            ),
            (
                br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"x"}}"#,
                Outcome::RpcError,
            ),
        ] {
            assert_eq!(Outcome::of(body), outcome, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_long_answer_is_looked_at_where_failures_stand() {
        let text = "\\\"error\\\":{".repeat(7_000);
        for (before, after, outcome) in [
            ("", "", Outcome::Ok),
            ("\"isError\":true,", "", Outcome::ToolError),
            ("", ",\"isError\":true", Outcome::ToolError),
            ("", ",\"isError\":false", Outcome::Ok),
        ] {
            let content = format!(r#"{before}"content":[{{"type":"text","text":"{text}"}}]{after}"#);
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{content}}}}}"#);
            assert_eq!(Outcome::of(body.as_bytes()), outcome, "{before} {after}");
        }
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"message":"{text}"}}}}"#);
        assert_eq!(Outcome::of(body.as_bytes()), Outcome::RpcError);
    }

    #[test]
    fn an_ordinary_answer_is_not_scanned() {
        let body = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"error"}],"isError": false}}"#;
        assert!(!may_tell_of_failure(body));
    }

    /// Pieces of answers, put together in any order: most are not JSON, many nearly are.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("\"isError\""),
            Just("\"error\""),
            Just("\"isErr\\u006fr\""),
            Just("\"mirror\""),
            Just(":"),
            Just(" :\n"),
            Just("true"),
            Just("false"),
            Just(","),
            Just("{\"code\":1,\"message\":\"\"}"),
            Just("\"a\\\"error\\\":\""),
            Just("{"),
            Just("}"),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn looking_first_changes_no_outcome(inside in pieces(), root in any::<bool>()) {
            let body = if root {
                format!(r#"{{"jsonrpc":"2.0","id":1,{inside}}}"#)
            } else {
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{inside}}}}}"#)
            };
            prop_assert_eq!(Outcome::of(body.as_bytes()), scanned(body.as_bytes()), "{}", body);
        }
    }
}
