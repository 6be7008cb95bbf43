//! JSON, messages and splices against serde_json.

use ringway_proto::json::{self, DEPTH_MAX, Fault, Kind, Span, Splice, What};
use ringway_proto::rpc::{self, Message, ScanFault, Shape};
use ringway_proto::snapshot::Document;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};
use std::borrow::Cow;

/// `check` accepts what serde_json accepts, and the walkers read what it reads.
pub fn json_check(doc: &[u8]) {
    // Walkers must survive documents nobody has checked.
    let all = Span::new(0, doc.len());
    let _ = (
        json::members(doc, all).count(),
        json::elements(doc, all).count(),
        json::string(doc, all),
    );
    let _ = json::member(doc, json::root(doc), "a");

    let theirs = std::str::from_utf8(doc).map(serde_json::from_str::<IgnoredAny>);
    match json::check(doc, DEPTH_MAX) {
        Ok(()) => assert!(
            matches!(theirs, Ok(Ok(_))),
            "accepted what serde_json refuses: {theirs:?}"
        ),
        Err(Fault {
            what: What::Depth, ..
        }) => return,
        Err(fault) => {
            assert!(
                !matches!(theirs, Ok(Ok(_))),
                "refused what serde_json accepts: {fault}"
            );
            assert!(fault.at as usize <= doc.len());
            return;
        }
    }
    // `Value` cannot hold everything that is JSON (1e999, lone surrogates, 128 levels); what it can must be equal.
    if let Ok(value) = serde_json::from_slice::<Value>(doc) {
        assert_same(doc, json::root(doc), &value);
    }
}

fn assert_same(doc: &[u8], span: Span, value: &Value) {
    match (json::kind(doc, span).expect("a value"), value) {
        (Kind::Null, Value::Null) | (Kind::True, Value::Bool(true)) | (Kind::False, Value::Bool(false)) => {}
        (Kind::Number, Value::Number(number)) => {
            let text = std::str::from_utf8(span.of(doc)).expect("ASCII");
            assert_eq!(
                &serde_json::from_str::<serde_json::Number>(text).expect("a number"),
                number
            );
        }
        (Kind::String, Value::String(text)) => {
            assert_eq!(json::string(doc, span).expect("whole characters"), text.as_str());
            let mut written = Vec::new();
            json::write_string(&mut written, text);
            assert_eq!(
                json::string(&written, Span::new(0, written.len())).expect("ours"),
                text.as_str()
            );
            assert_eq!(written, serde_json::to_vec(text).expect("theirs"));
        }
        (Kind::Array, Value::Array(list)) => {
            assert_eq!(json::elements(doc, span).count(), list.len());
            json::elements(doc, span)
                .zip(list)
                .for_each(|(span, value)| assert_same(doc, span, value));
        }
        (Kind::Object, Value::Object(map)) => {
            for (key, _) in json::members(doc, span) {
                let key = json::unescape(doc, key).expect("whole characters");
                assert!(map.contains_key(key.as_ref()));
            }
            for (key, value) in map {
                assert_same(doc, json::member(doc, span, key).expect("the member"), value);
            }
        }
        (kind, value) => panic!("read {kind:?}, serde_json {value:?}"),
    }
}

/// A reader that refuses duplicates of the fields it knows, as Rust servers are built.
#[derive(Deserialize)]
struct StrictMessage<'d> {
    #[serde(borrow)]
    jsonrpc: Cow<'d, str>,
    #[serde(borrow)]
    id: Option<&'d RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'d, str>>,
    #[serde(borrow)]
    params: Option<StrictParams<'d>>,
    #[serde(borrow)]
    result: Option<&'d RawValue>,
    #[serde(borrow)]
    error: Option<&'d RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StrictParams<'d> {
    name: Option<String>,
    uri: Option<String>,
    task_id: Option<String>,
    #[serde(borrow)]
    arguments: Option<&'d RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<StrictMeta<'d>>,
}

#[derive(Deserialize)]
struct StrictMeta<'d> {
    #[serde(borrow, rename = "progressToken")]
    progress_token: Option<&'d RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    protocol_version: Option<&'d RawValue>,
}

/// What `scan` accepts, serde_json accepts and reads the same way, as a strict struct and as a tree.
pub fn rpc_scan(doc: &[u8]) {
    let _ = rpc::split_batch(doc);
    let checked = json::check(doc, DEPTH_MAX);
    let message = match rpc::scan(doc) {
        Ok(message) => message,
        Err(ScanFault::Json(fault)) => return assert!(checked.is_err(), "{fault}, but check accepts"),
        Err(fault) => return assert!(!fault.to_string().is_empty()),
    };
    assert_eq!(checked, Ok(()), "scan accepts what check refuses");
    assert_eq!(message.root, json::root(doc));
    let strict: StrictMessage<'_> = serde_json::from_slice(doc).expect("a strict reader accepts it too");
    assert_eq!(strict.jsonrpc, "2.0");
    assert_eq!(message.method(doc), strict.method.as_deref());
    assert_eq!(raw(doc, message.id), strict.id.map(RawValue::get));
    assert_eq!(
        raw(doc, message.result).unwrap_or("null"),
        strict.result.map_or("null", RawValue::get)
    );
    assert_eq!(raw(doc, message.error), strict.error.map(RawValue::get));
    assert_eq!(message.params.is_some(), strict.params.is_some());
    if let (Some(params), Some(strict)) = (&message.params, &strict.params) {
        assert_eq!(message.name(doc).as_deref(), strict.name.as_deref());
        assert_eq!(message.uri(doc).as_deref(), strict.uri.as_deref());
        assert_eq!(message.task_id(doc).as_deref(), strict.task_id.as_deref());
        assert_raw(doc, params.arguments, strict.arguments);
        assert_eq!(params.meta.is_some(), strict.meta.is_some());
        if let (Some(meta), Some(strict)) = (&params.meta, &strict.meta) {
            assert_raw(doc, meta.progress_token, strict.progress_token);
            assert_raw(doc, meta.protocol_version, strict.protocol_version);
        }
    }
    if let Ok(tree) = serde_json::from_slice::<Value>(doc) {
        assert_same(doc, message.root, &tree);
        assert_tree(doc, &message, &tree);
    }
}

fn assert_tree(doc: &[u8], message: &Message, tree: &Value) {
    assert_eq!(message.method(doc), tree["method"].as_str());
    assert_eq!(message.name(doc).as_deref(), tree["params"]["name"].as_str());
    let has = |key: &str| tree.get(key).is_some();
    assert_eq!(
        message.shape(),
        match (has("method"), message.id.is_some(), has("result")) {
            (true, true, _) => Shape::Request,
            (true, false, _) => Shape::Notification,
            (false, _, true) => Shape::Result,
            (false, _, false) => Shape::Error,
        }
    );
    let result = &tree["result"];
    assert_eq!(message.result_type(doc).as_deref(), result["resultType"].as_str());
    assert_eq!(message.is_error(doc), result["isError"] == Value::Bool(true));
    assert_eq!(message.result_meta(doc).is_some(), result.get("_meta").is_some());
    if let Some(code) = tree["error"]["code"].as_i64() {
        assert_eq!(message.error_code(doc), Some(code));
    }
    assert_eq!(
        message.error_message(doc).as_deref(),
        tree["error"]["message"].as_str()
    );
}

fn raw(doc: &[u8], span: Option<Span>) -> Option<&str> {
    span.map(|span| std::str::from_utf8(span.of(doc)).expect("UTF-8"))
}

/// serde reads an optional `null` as absent; we keep its span.
fn assert_raw(doc: &[u8], ours: Option<Span>, theirs: Option<&RawValue>) {
    assert_eq!(
        raw(doc, ours).unwrap_or("null"),
        theirs.map_or("null", RawValue::get)
    );
}

const VALUES: [&str; 4] = ["null", "[1, {\"a\":\"}\"}]", "\"\\u00e9,\"", "{}"];

/// Edits of the bytes give what the same edits of the tree give. Input: how many edits, three bytes for each, and
/// the document behind them.
pub fn splice(input: &[u8]) {
    let Some((count, rest)) = input.split_first() else {
        return;
    };
    let count = usize::from(*count % 8).min(rest.len() / 3);
    let (edits, doc) = rest.split_at(count * 3);
    offset_edits(edits, doc);
    let (Ok(()), Ok(mut tree)) = (json::check(doc, DEPTH_MAX), serde_json::from_slice::<Value>(doc)) else {
        return;
    };
    let root = json::root(doc);
    if !tree.is_object() {
        return;
    }

    let keys: Vec<String> = json::members(doc, root)
        .filter_map(|(key, _)| json::unescape(doc, key))
        .map(Cow::into_owned)
        .collect();
    // One inner object may be edited together with the outer one, as long as the outer leaves it where it is.
    let inner = keys.iter().find(|key| tree[key.as_str()].is_object()).cloned();
    let mut splice = Splice::new(doc);
    let mut touched = Vec::new();
    for edit in edits.chunks_exact(3) {
        let key = keys
            .get(usize::from(edit[1]))
            .cloned()
            .unwrap_or(format!("new\"{}", edit[1] % 4));
        let (object, map) = match &inner {
            Some(inner) if edit[0] & 2 != 0 => {
                let span = json::member(doc, root, inner).expect("just seen");
                (span, tree[inner.as_str()].as_object_mut().expect("an object"))
            }
            Some(inner) if *inner == key => continue,
            _ => (root, tree.as_object_mut().expect("an object")),
        };
        if edit[0] & 1 == 0 {
            map.remove(&key);
            splice.remove_member(object, key.clone());
        } else {
            let value = VALUES[usize::from(edit[2]) % VALUES.len()];
            map.insert(key.clone(), serde_json::from_str(value).expect("JSON"));
            splice.set_member(object, key.clone(), value.as_bytes());
        }
        touched.push((object == root, key));
    }
    let untouched = splice.is_empty();
    let edited = splice.finish().expect("these edits do not overlap");
    assert!(!untouched || edited == doc);
    assert_eq!(
        json::check(&edited, DEPTH_MAX + 1),
        Ok(()),
        "{}",
        String::from_utf8_lossy(&edited)
    );
    assert_eq!(serde_json::from_slice::<Value>(&edited).expect("JSON"), tree);
    for (at_root, key) in touched {
        let root = json::root(&edited);
        let object = inner
            .as_ref()
            .filter(|_| !at_root)
            .map_or(Some(root), |k| json::member(&edited, root, k));
        let same = |(k, _): &(Span, Span)| json::unescape(&edited, *k).is_some_and(|k| k == key);
        assert!(
            json::members(&edited, object.expect("still there"))
                .filter(same)
                .count()
                <= 1,
            "{key} is left twice"
        );
    }
}

/// Edits by offset either contradict each other or change the length by what they say.
fn offset_edits(edits: &[u8], doc: &[u8]) {
    let mut splice = Splice::new(doc);
    let mut length = doc.len();
    for edit in edits.chunks_exact(3) {
        let span = Span::new(
            usize::from(edit[0]),
            usize::from(edit[0]) + usize::from(edit[1] % 4),
        );
        splice.replace(span, vec![b'x'; usize::from(edit[2] % 4)]);
        length = length
            .wrapping_add(usize::from(edit[2] % 4))
            .wrapping_sub(span.len());
    }
    if let Ok(edited) = splice.finish() {
        assert_eq!(edited.len(), length);
    }
}

/// A snapshot document that is read can be written and read again to the same effect.
pub fn snapshot_document(input: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Document>(input) else {
        return;
    };
    let written = serde_json::to_vec(&document).expect("can be written");
    let again: Document = serde_json::from_slice(&written).expect("can be read again");
    assert_eq!(serde_json::to_vec(&again).expect("can be written"), written);
    assert!(!format!("{document:?}").is_empty());
}
