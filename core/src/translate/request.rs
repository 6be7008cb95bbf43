//! Requests on their way upstream.

use super::{EditFault, edited, quoted};
use ringway_proto::{json, revision::Revision, rpc::Message};

/// What a legacy session knows and a modern request must say (specification 2026-07-28, "Request metadata").
#[derive(Clone, Copy, Debug)]
pub struct ClientFacts<'a> {
    /// Raw `capabilities` object of the client's `initialize`.
    pub capabilities: &'a [u8],
    /// Raw `clientInfo` object, when it fitted into the session.
    pub info: Option<&'a [u8]>,
    /// Level last set by `logging/setLevel`.
    pub log_level: Option<&'a str>,
}

/// Replaces the target's name or URI by the one its server knows; other bytes stay.
///
/// `params.name` for tools and prompts, `params.uri` for resources, `params.ref.name` or `.uri` for completion.
pub fn renamed(doc: &[u8], message: &Message, name: &str) -> Result<Vec<u8>, EditFault> {
    let span = target_span(doc, message).ok_or(EditFault)?;
    edited(doc, |s| _ = s.replace(span, quoted(name)))
}

/// The quoted string a request addresses its target by.
fn target_span(doc: &[u8], message: &Message) -> Option<json::Span> {
    let params = message.params.as_ref()?;
    params.name.or(params.uri).or_else(|| {
        let reference = params.reference?;
        json::member(doc, reference, "name").or_else(|| json::member(doc, reference, "uri"))
    })
}

/// A `tools/call` for the tool inside an `EXECUTE_TOOL` call: its arguments are moved, not written again.
pub fn unwrapped(
    doc: &[u8],
    message: &Message,
    name: &str,
    arguments: Option<json::Span>,
) -> Result<Vec<u8>, EditFault> {
    let params = message.params.as_ref().ok_or(EditFault)?;
    let inner = arguments.map_or(&b"{}"[..], |a| a.of(doc));
    edited(doc, |s| {
        _ = s
            .set_member(params.span, "name", quoted(name))
            .set_member(params.span, "arguments", inner)
    })
}

/// A legacy request as a modern one: the session's facts move into `_meta`.
///
/// `id` is the raw JSON id to use (a retry of a round trip needs a fresh one); `input` carries the answers and
/// the state of a round trip, both raw JSON.
pub fn to_modern(
    doc: &[u8],
    message: &Message,
    id: Option<&[u8]>,
    client: ClientFacts<'_>,
    input: Option<(&[u8], Option<&[u8]>)>,
) -> Result<Vec<u8>, EditFault> {
    let mut facts: Vec<(&'static str, Vec<u8>)> = vec![
        (
            "io.modelcontextprotocol/protocolVersion",
            quoted(Revision::NEWEST.as_str()),
        ),
        (
            "io.modelcontextprotocol/clientCapabilities",
            client.capabilities.to_vec(),
        ),
    ];
    if let Some(info) = client.info {
        facts.push(("io.modelcontextprotocol/clientInfo", info.to_vec()));
    }
    if let Some(level) = client.log_level {
        facts.push(("io.modelcontextprotocol/logLevel", quoted(level)));
    }
    let mut extra: Vec<(&'static str, Vec<u8>)> = Vec::new();
    if let Some((responses, state)) = input {
        extra.push(("inputResponses", responses.to_vec()));
        extra.extend(state.map(|state| ("requestState", state.to_vec())));
    }
    edited(doc, |s| {
        if let (Some(span), Some(id)) = (message.id, id) {
            s.replace(span, id.to_vec());
        }
        match &message.params {
            Some(params) => {
                match &params.meta {
                    Some(meta) => {
                        for (key, value) in facts {
                            s.set_member(meta.span, key, value);
                        }
                    }
                    None => _ = s.set_member(params.span, "_meta", object(&facts)),
                }
                for (key, value) in extra {
                    s.set_member(params.span, key, value);
                }
            }
            None => {
                extra.push(("_meta", object(&facts)));
                s.set_member(message.root, "params", object(&extra));
            }
        }
    })
}

/// A JSON object of raw values.
fn object(members: &[(&'static str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (n, (key, value)) in members.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        json::write_string(&mut out, key);
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
    out
}

/// The keys of `_meta` that belong to one hop of the modern wire.
const HOP_KEYS: [&str; 4] = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
];

/// A modern request as a legacy one: hop facts leave `_meta`, round-trip fields leave `params`, and id and
/// progress token are replaced, because a session shares one space of both among all its requests.
pub fn to_legacy(
    doc: &[u8],
    message: &Message,
    id: &[u8],
    progress_token: Option<&[u8]>,
) -> Result<Vec<u8>, EditFault> {
    edited(doc, |s| {
        if let Some(span) = message.id {
            s.replace(span, id.to_vec());
        }
        let Some(params) = &message.params else { return };
        // `task` asked for a task in 2025-11-25; in the modern era that is the server's own decision.
        for key in ["inputResponses", "requestState", "task"] {
            s.remove_member(params.span, key);
        }
        let Some(meta) = &params.meta else { return };
        for key in HOP_KEYS {
            s.remove_member(meta.span, key);
        }
        if let (Some(span), Some(token)) = (meta.progress_token, progress_token) {
            s.replace(span, token.to_vec());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_proto::rpc;

    fn text(bytes: Result<Vec<u8>, EditFault>) -> String {
        String::from_utf8(bytes.unwrap()).unwrap()
    }

    const FACTS: ClientFacts<'_> = ClientFacts {
        capabilities: b"{}",
        info: None,
        log_level: None,
    };

    #[test]
    fn renaming_touches_only_the_name() {
        let doc = br#"{"id":7,"params":{"arguments":{"name":"x"}, "name" : "git__log"},"method":"tools/call","jsonrpc":"2.0"}"#;
        let message = rpc::scan(doc).unwrap();
        assert_eq!(
            text(renamed(doc, &message, "log")),
            r#"{"id":7,"params":{"arguments":{"name":"x"}, "name" : "log"},"method":"tools/call","jsonrpc":"2.0"}"#
        );
    }

    #[test]
    fn a_completion_is_renamed_inside_its_reference() {
        let doc = br#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a__b"},"argument":{"name":"x","value":"y"}}}"#;
        let message = rpc::scan(doc).unwrap();
        let out = text(renamed(doc, &message, "b"));
        assert!(out.contains(r#""ref":{"type":"ref/prompt","name":"b"}"#), "{out}");
    }

    #[test]
    fn a_request_without_params_gains_them() {
        let doc = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let message = rpc::scan(doc).unwrap();
        let out = text(to_modern(doc, &message, None, FACTS, None));
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            value["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"],
            "2026-07-28"
        );
        assert_eq!(value["id"], 1);
    }

    #[test]
    fn there_and_back_keeps_the_callers_own_keys() {
        let doc = br#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t","arguments":{"k":1e400},"_meta":{"x":1,"progressToken":0}}}"#;
        let message = rpc::scan(doc).unwrap();
        let modern = to_modern(doc, &message, Some(b"2"), FACTS, Some((b"{}", Some(b"\"s\"")))).unwrap();
        let message = rpc::scan(&modern).unwrap();
        let legacy = text(to_legacy(&modern, &message, b"3", Some(b"\"p\"")));
        let expected = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"t","arguments":{"k":1e400},"_meta":{"x":1,"progressToken":"p"}}}"#;
        assert_eq!(legacy, expected);
    }
}
