//! Responses on their way downstream.

use super::{EditFault, edited, quoted};
use ringway_proto::{
    json::{self, Kind, Splice},
    rpc::{Message, Shape},
};

/// A legacy server's response in the modern era's words, under the client's own id.
///
/// Results gain `resultType`, and those that caches may keep gain `ttlMs` and `cacheScope`: zero and private,
/// because a session's answer promises nothing to anybody else (specification 2026-07-28, "Caching").
/// The legacy "resource not found" code becomes the modern one, which has no code of its own.
pub fn to_modern(doc: &[u8], message: &Message, method: &[u8], id: &[u8]) -> Result<Vec<u8>, EditFault> {
    edited(doc, |s| {
        put_id(s, message, id);
        if let Some(result) = message
            .result
            .filter(|r| json::kind(doc, *r) == Some(Kind::Object))
        {
            let mut default = |key: &'static str, value: &'static [u8]| {
                if json::member(doc, result, key).is_none() {
                    s.set_member(result, key, value);
                }
            };
            default("resultType", br#""complete""#);
            if is_cacheable(method) {
                default("ttlMs", b"0");
                default("cacheScope", br#""private""#);
            }
        } else if let Some(code) = message.error.and_then(|e| json::member(doc, e, "code"))
            && code.of(doc) == b"-32002"
        {
            s.replace(code, &b"-32602"[..]);
        }
    })
}

/// A response under the client's own id, otherwise as it came.
pub fn restored(doc: &[u8], message: &Message, id: &[u8]) -> Result<Vec<u8>, EditFault> {
    edited(doc, |s| put_id(s, message, id))
}

fn put_id(splice: &mut Splice<'_>, message: &Message, id: &[u8]) {
    match message.id {
        Some(span) => splice.replace(span, id.to_vec()),
        // An error about a request whose id the server could not read.
        None => splice.set_member(message.root, "id", id.to_vec()),
    };
}

/// Methods whose modern results must carry cache hints.
fn is_cacheable(method: &[u8]) -> bool {
    matches!(
        method,
        b"server/discover"
            | b"tools/list"
            | b"prompts/list"
            | b"resources/list"
            | b"resources/templates/list"
            | b"resources/read"
    )
}

/// What a modern result says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultType {
    /// The answer, also when an older server says nothing.
    Complete,
    /// The server asks the client for something first.
    InputRequired,
    /// An extension's own kind (`task`); passes through.
    Other,
}

/// Reads `result.resultType`.
pub fn result_type(doc: &[u8], message: &Message) -> ResultType {
    let Some(result) = message
        .result
        .filter(|r| json::kind(doc, *r) == Some(Kind::Object))
    else {
        return ResultType::Complete;
    };
    match json::member(doc, result, "resultType")
        .and_then(|t| json::string(doc, t))
        .as_deref()
    {
        None | Some("complete") => ResultType::Complete,
        Some("input_required") => ResultType::InputRequired,
        Some(_) => ResultType::Other,
    }
}

/// One thing a modern server wants from the client.
#[derive(Clone, Debug)]
pub struct InputRequest {
    /// The key its answer goes under.
    pub key: String,
    /// `elicitation/create`, `sampling/createMessage` or `roots/list`.
    pub method: String,
    /// Raw `params`, when there are any.
    pub params: Option<Vec<u8>>,
}

/// The requests and the state of an `input_required` result (specification 2026-07-28, MRTR).
pub fn input_required(doc: &[u8], message: &Message) -> Option<(Vec<InputRequest>, Option<Vec<u8>>)> {
    let result = message.result?;
    let state = json::member(doc, result, "requestState").map(|s| s.of(doc).to_vec());
    let mut requests = Vec::new();
    if let Some(object) = json::member(doc, result, "inputRequests") {
        if json::kind(doc, object) != Some(Kind::Object) {
            return None;
        }
        for (key, value) in json::members(doc, object) {
            requests.push(InputRequest {
                key: json::unescape(doc, key)?.into_owned(),
                method: json::string(doc, json::member(doc, value, "method")?)?.into_owned(),
                params: json::member(doc, value, "params").map(|p| p.of(doc).to_vec()),
            });
        }
    }
    Some((requests, state))
}

/// An `input_required` result made of requests that a legacy server sent.
pub fn render_input_required(id: &[u8], requests: &[InputRequest], state: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","result":{"resultType":"input_required","inputRequests":{"#);
    for (n, request) in requests.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        json::write_string(&mut out, &request.key);
        out.extend_from_slice(br#":{"method":"#);
        json::write_string(&mut out, &request.method);
        if let Some(params) = &request.params {
            out.extend_from_slice(br#","params":"#);
            out.extend_from_slice(params);
        }
        out.push(b'}');
    }
    out.extend_from_slice(br#"},"requestState":"#);
    json::write_string(&mut out, state);
    out.extend_from_slice(b"}}");
    out
}

/// A JSON-RPC response around a raw result.
pub fn render(id: &[u8], result: &[u8]) -> Vec<u8> {
    [
        br#"{"jsonrpc":"2.0","id":"#.as_slice(),
        id,
        br#","result":"#,
        result,
        b"}",
    ]
    .concat()
}

/// A JSON-RPC request around raw params, as the gateway sends it to a legacy client or server.
pub fn render_request(id: &[u8], method: &str, params: Option<&[u8]>) -> Vec<u8> {
    let mut out = [
        br#"{"jsonrpc":"2.0","id":"#.as_slice(),
        id,
        br#","method":"#,
        &quoted(method),
    ]
    .concat();
    if let Some(params) = params {
        out.extend_from_slice(br#","params":"#);
        out.extend_from_slice(params);
    }
    out.push(b'}');
    out
}

/// The raw JSON of a response's payload to put under an `inputResponses` key: its result, or `None` for an
/// error, which the modern round trip has no word for.
pub fn payload(doc: &[u8], message: &Message) -> Option<Vec<u8>> {
    (message.shape() == Shape::Result)
        .then(|| message.result.map(|r| r.of(doc).to_vec()))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_proto::rpc;

    #[test]
    fn a_legacy_list_gains_the_modern_fields_once() {
        let doc = br#"{"result":{"tools":[]},"jsonrpc":"2.0","id":4}"#;
        let out = to_modern(doc, &rpc::scan(doc).unwrap(), b"tools/list", b"\"x\"").unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["id"], "x");
        assert_eq!(value["result"]["resultType"], "complete");
        assert_eq!(value["result"]["ttlMs"], 0);
        assert_eq!(value["result"]["cacheScope"], "private");
        let again = to_modern(&out, &rpc::scan(&out).unwrap(), b"tools/list", b"\"x\"").unwrap();
        assert_eq!(again, out);
    }

    #[test]
    fn the_legacy_code_for_a_missing_resource_is_replaced() {
        let doc =
            br#"{"jsonrpc":"2.0","id":4,"error":{"code":-32002,"message":"no","data":{"code":-32002}}}"#;
        let out = to_modern(doc, &rpc::scan(doc).unwrap(), b"resources/read", b"1").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","data":{"code":-32002}}}"#
        );
    }

    #[test]
    fn a_round_trip_reads_as_it_was_written() {
        let asked = [InputRequest {
            key: "a\"b".into(),
            method: "roots/list".into(),
            params: None,
        }];
        let doc = render_input_required(b"9", &asked, "st");
        let message = rpc::scan(&doc).unwrap();
        assert_eq!(result_type(&doc, &message), ResultType::InputRequired);
        let (requests, state) = input_required(&doc, &message).unwrap();
        assert_eq!(
            (requests[0].key.as_str(), requests[0].method.as_str()),
            ("a\"b", "roots/list")
        );
        assert_eq!(state.as_deref(), Some(&b"\"st\""[..]));
    }
}
