//! Notifications on their way downstream.

use super::{EditFault, edited, quoted};
use ringway_proto::{json, rpc::Message};

/// Log levels from quiet to loud order of RFC 5424, as MCP names them.
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// The rank of a level name; unknown names have none.
pub fn level_rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|l| *l == level)
}

/// Whether a `notifications/message` is at or above the level the client asked for. A modern request without a
/// level must see none (specification 2026-07-28, "Logging").
pub fn is_wanted(doc: &[u8], message: &Message, asked: Option<&str>) -> bool {
    let Some(asked) = asked.and_then(level_rank) else {
        return false;
    };
    let level = message
        .params
        .as_ref()
        .and_then(|p| p.level)
        .and_then(|l| json::string(doc, l));
    level
        .as_deref()
        .and_then(level_rank)
        .is_some_and(|rank| rank >= asked)
}

/// Puts the client's own token back into `notifications/progress`.
pub fn with_progress_token(doc: &[u8], message: &Message, token: &[u8]) -> Result<Vec<u8>, EditFault> {
    let span = message
        .params
        .as_ref()
        .and_then(|p| p.progress_token)
        .ok_or(EditFault)?;
    edited(doc, |s| _ = s.replace(span, token.to_vec()))
}

/// The `_meta` key that ties a notification to its `subscriptions/listen` request.
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Tags a notification of a `subscriptions/listen` stream with the id of the listen request.
pub fn with_subscription(doc: &[u8], message: &Message, id: &[u8]) -> Result<Vec<u8>, EditFault> {
    let fresh = [
        b"{\"io.modelcontextprotocol/subscriptionId\":".as_slice(),
        id,
        b"}",
    ]
    .concat();
    edited(doc, |s| {
        match (
            &message.params,
            message.params.as_ref().and_then(|p| p.meta.as_ref()),
        ) {
            (_, Some(meta)) => s.set_member(meta.span, SUBSCRIPTION, id.to_vec()),
            (Some(params), None) => s.set_member(params.span, "_meta", fresh),
            (None, None) => s.set_member(
                message.root,
                "params",
                [b"{\"_meta\":".as_slice(), &fresh, b"}"].concat(),
            ),
        };
    })
}

/// Takes that tag off again, for a legacy client.
pub fn without_subscription(doc: &[u8], message: &Message) -> Result<Vec<u8>, EditFault> {
    edited(doc, |s| {
        if let Some(meta) = message.params.as_ref().and_then(|p| p.meta.as_ref()) {
            s.remove_member(meta.span, SUBSCRIPTION);
        }
    })
}

/// A notification of the gateway's own, with raw params.
pub fn render(method: &str, params: Option<&[u8]>) -> Vec<u8> {
    let mut out = [br#"{"jsonrpc":"2.0","method":"#.as_slice(), &quoted(method)].concat();
    if let Some(params) = params {
        out.extend_from_slice(br#","params":"#);
        out.extend_from_slice(params);
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_proto::rpc;

    #[test]
    fn the_level_decides_and_silence_means_none() {
        let doc =
            br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"warning","data":"x"}}"#;
        let message = rpc::scan(doc).unwrap();
        assert!(is_wanted(doc, &message, Some("info")));
        assert!(!is_wanted(doc, &message, Some("error")));
        assert!(!is_wanted(doc, &message, None));
    }

    #[test]
    fn the_subscription_tag_comes_and_goes() {
        let doc = br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        let tagged = with_subscription(doc, &rpc::scan(doc).unwrap(), b"7").unwrap();
        let value: serde_json::Value = serde_json::from_slice(&tagged).unwrap();
        assert_eq!(
            value["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
            7
        );
        let back = without_subscription(&tagged, &rpc::scan(&tagged).unwrap()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&back).unwrap();
        assert_eq!(value["params"]["_meta"], serde_json::json!({}));
    }
}
