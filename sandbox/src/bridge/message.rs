//! The few JSON-RPC messages the bridge writes itself, and the edits it makes to those of others.
//!
//! Messages of others are never written anew: an id, a token, a level is replaced in the bytes as they came.

use bytes::Bytes;
use ringway_proto::{
    json::{self, Span, Splice},
    rpc::{Message, Params},
};
use serde_json::{Value, json};

/// JSON-RPC: not JSON.
pub(crate) const PARSE_ERROR: i64 = -32700;
/// JSON-RPC: not a request we take.
pub(crate) const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC: no such method.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: params do not fit.
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC: our failure, or the server's.
pub(crate) const INTERNAL_ERROR: i64 = -32603;
/// Specification 2026-07-28: header and body differ.
pub(crate) const HEADER_MISMATCH: i64 = -32020;
/// Specification 2026-07-28: the client lacks a capability.
pub(crate) const CAPABILITY_MISSING: i64 = -32021;
/// Specification 2026-07-28: no such revision here.
pub(crate) const VERSION_UNSUPPORTED: i64 = -32022;

/// What goes wrong between a client and a server, as a JSON-RPC error. `reason` is stable, for programs.
pub(crate) fn failure(id: &[u8], server: &str, reason: &str, text: &str) -> Bytes {
    error(
        Some(id),
        INTERNAL_ERROR,
        text,
        Some(json!({ "server": server, "reason": reason })),
    )
}

/// An error response; `id` as JSON text, `null` when it is not known.
pub(crate) fn error(id: Option<&[u8]>, code: i64, text: &str, data: Option<Value>) -> Bytes {
    let mut error = json!({ "code": code, "message": text });
    if let Some(data) = data {
        error["data"] = data;
    }
    response(id.unwrap_or(b"null"), "error", error.to_string().as_bytes())
}

/// A result response; `id` and `result` as JSON text.
pub(crate) fn result(id: &[u8], result: &[u8]) -> Bytes {
    response(id, "result", result)
}

fn response(id: &[u8], kind: &str, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(40 + id.len() + body.len());
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id);
    out.extend_from_slice(b",\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(body);
    out.push(b'}');
    out.into()
}

/// A request of our own.
pub(crate) fn request(id: u64, method: &str, params: Value) -> Bytes {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
        .to_string()
        .into()
}

/// A notification of our own.
pub(crate) fn notification(method: &str, params: Value) -> Bytes {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
        .to_string()
        .into()
}

/// `notifications/cancelled` for a request of ours.
pub(crate) fn cancelled(id: u64, why: &str) -> Bytes {
    notification(
        "notifications/cancelled",
        json!({ "requestId": id, "reason": why }),
    )
}

/// A client's request under our id; its progress token, when it has one, becomes the same number.
pub(crate) fn outward(doc: &Bytes, message: &Message, id: u64, level: Option<&str>) -> Option<Bytes> {
    let ours = id.to_string();
    let mut splice = Splice::new(doc);
    splice.replace(message.id?, ours.clone().into_bytes());
    if let Some(token) = progress_token(message) {
        splice.replace(token, ours.into_bytes());
    }
    if let (
        Some(level),
        Some(Params {
            level: Some(span), ..
        }),
    ) = (level, &message.params)
    {
        splice.replace(*span, format!("\"{level}\"").into_bytes());
    }
    finish(splice)
}

/// Where a request asks for progress.
pub(crate) fn progress_token(message: &Message) -> Option<Span> {
    message.meta()?.progress_token
}

/// `doc` with one value replaced.
pub(crate) fn with(doc: &Bytes, span: Span, value: &[u8]) -> Option<Bytes> {
    let mut splice = Splice::new(doc);
    splice.replace(span, value.to_vec());
    finish(splice)
}

/// A server's answer under the client's id. A listen's answer also names the subscription (specification
/// 2026-07-28, "Subscriptions", graceful closure).
pub(crate) fn inward(doc: &Bytes, message: &Message, client_id: &[u8]) -> Option<Bytes> {
    let mut splice = Splice::new(doc);
    splice.replace(message.id?, client_id.to_vec());
    if let Some(subscription) = message
        .result_meta(doc)
        .and_then(|meta| json::member(doc, meta, SUBSCRIPTION_ID))
    {
        splice.replace(subscription, client_id.to_vec());
    }
    finish(splice)
}

/// The `_meta` key that ties a message to the listen request it belongs to.
pub(crate) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

fn finish(splice: Splice<'_>) -> Option<Bytes> {
    // Spans of one scan of this very document never overlap, so this never fails; a failure drops the message.
    splice.finish().map(Bytes::from).ok()
}

/// One line: JSON allows line breaks between values, the stdio framing and SSE do not (within strings they are
/// escaped, so every raw one is blank space).
pub(crate) fn single_line(doc: Bytes) -> Bytes {
    if !doc.iter().any(|b| matches!(b, b'\n' | b'\r')) {
        return doc;
    }
    doc.iter()
        .map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b })
        .collect()
}

/// A JSON value that is one of our ids.
pub(crate) fn our_id(doc: &[u8], span: Span) -> Option<u64> {
    let text = span.of(doc);
    // A server that hands the number back as a string is understood as well.
    let digits = text
        .strip_prefix(b"\"")
        .and_then(|t| t.strip_suffix(b"\""))
        .unwrap_or(text);
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_proto::rpc::scan;

    #[test]
    fn ids_and_tokens_keep_their_type_there_and_back() {
        for (id, token) in [("7", "0"), ("\"7\"", "\"t\""), ("\"a\\\"b\"", "7")] {
            let doc = format!(
                r#"{{"method":"tools/call","params":{{"name":"x","_meta":{{"progressToken":{token},"k":1}}}},"id":{id},"jsonrpc":"2.0"}}"#
            );
            let doc = Bytes::from(doc);
            let message = scan(&doc).expect("message");
            let out = outward(&doc, &message, 41, None).expect("edit");
            let expected = r#"{"method":"tools/call","params":{"name":"x","_meta":{"progressToken":41,"k":1}},"id":41,"jsonrpc":"2.0"}"#;
            assert_eq!(out, expected);

            let answer = Bytes::from(r#"{"result":{"content":[]},"jsonrpc":"2.0","id":41}"#);
            let message = scan(&answer).expect("message");
            assert_eq!(our_id(&answer, message.id.expect("id")), Some(41));
            let back = inward(&answer, &message, id.as_bytes()).expect("edit");
            assert_eq!(
                back,
                format!(r#"{{"result":{{"content":[]}},"jsonrpc":"2.0","id":{id}}}"#)
            );
        }
    }

    #[test]
    fn the_end_of_a_subscription_names_the_clients_id() {
        let doc = Bytes::from(
            r#"{"jsonrpc":"2.0","id":9,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":9}}}"#,
        );
        let back = inward(&doc, &scan(&doc).expect("message"), b"\"s\"").expect("edit");
        assert_eq!(
            back,
            r#"{"jsonrpc":"2.0","id":"s","result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}"#
        );
    }

    #[test]
    fn our_own_messages_are_messages() {
        let text = "a \"quoted\"\ntext";
        for doc in [
            failure(b"\"x\"", "git", "process_ended", text),
            error(None, PARSE_ERROR, text, None),
            result(b"3", b"{}"),
            request(1, "ping", json!({})),
            cancelled(5, text),
        ] {
            scan(&doc).expect("message");
            assert_eq!(single_line(doc.clone()), doc);
        }
        assert_eq!(single_line(Bytes::from("{\r\n \"a\":1}")), "{   \"a\":1}");
    }
}
