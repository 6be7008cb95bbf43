//! The differential test behind the envelope: whatever `scan` accepts, five other readers accept too and read the
//! same method, name and id. If one of them disagreed, an upstream built on it could be made to do something other
//! than what was authorised.
//!
//! The witnesses: serde_json and sonic-rs into a struct (as Rust servers read; duplicates refused), serde_json,
//! sonic-rs and simd-json into a tree (last wins, first wins, first wins). Known exceptions, all below the envelope
//! and passed on purpose: numbers no float holds, lone surrogates, and exactly 128 levels; trees refuse those.

#![allow(clippy::expect_used, reason = "a panic here is the report")]

use proptest::{collection::vec, prelude::*, sample::select};
use ringway_proto::rpc::{self, ScanFault};
use serde::Deserialize;
use serde_json::value::RawValue;
use simd_json::prelude::*;
use sonic_rs::{JsonContainerTrait as _, JsonValueTrait as _};

/// What a reader makes of a message.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    method: Option<String>,
    name: Option<String>,
    has_id: bool,
}

/// A reader: `None` when it refuses the document.
type Witness = fn(&[u8]) -> Option<Reading>;

const STRUCTS: [(&str, Witness); 2] = [
    ("serde_json struct", serde_struct),
    ("sonic-rs struct", sonic_struct),
];
const TREES: [(&str, Witness); 3] = [
    ("serde_json tree", serde_tree),
    ("sonic-rs tree", sonic_tree),
    ("simd-json tree", simd_tree),
];

#[derive(Deserialize)]
struct Envelope<I> {
    #[allow(dead_code, reason = "must be there and a string")]
    jsonrpc: String,
    id: Option<I>,
    method: Option<String>,
    params: Option<Parameters<I>>,
}

#[derive(Deserialize)]
struct Parameters<I> {
    name: Option<String>,
    #[allow(dead_code, reason = "must be JSON")]
    arguments: Option<I>,
}

impl<I> From<Envelope<I>> for Reading {
    fn from(envelope: Envelope<I>) -> Self {
        let name = envelope.params.and_then(|params| params.name);
        Self {
            method: envelope.method,
            name,
            has_id: envelope.id.is_some(),
        }
    }
}

fn serde_struct(doc: &[u8]) -> Option<Reading> {
    serde_json::from_slice::<Envelope<Box<RawValue>>>(doc)
        .ok()
        .map(Reading::from)
}

fn sonic_struct(doc: &[u8]) -> Option<Reading> {
    sonic_rs::from_slice::<Envelope<sonic_rs::OwnedLazyValue>>(doc)
        .ok()
        .map(Reading::from)
}

fn serde_tree(doc: &[u8]) -> Option<Reading> {
    let tree: serde_json::Value = serde_json::from_slice(doc).ok()?;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    Some(Reading {
        method: text(&tree["method"]),
        name: text(&tree["params"]["name"]),
        has_id: !tree["id"].is_null(),
    })
}

fn sonic_tree(doc: &[u8]) -> Option<Reading> {
    let tree: sonic_rs::Value = sonic_rs::from_slice(doc).ok()?;
    tree.as_object()?;
    let text = |path: &[&str]| {
        tree.pointer(path)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    Some(Reading {
        method: text(&["method"]),
        name: text(&["params", "name"]),
        has_id: tree.get("id").is_some_and(|id| !id.is_null()),
    })
}

fn simd_tree(doc: &[u8]) -> Option<Reading> {
    let mut copy = doc.to_vec();
    let tree = simd_json::to_owned_value(&mut copy).ok()?;
    let text = |value: Option<&simd_json::OwnedValue>| value.and_then(|v| v.as_str()).map(str::to_owned);
    Some(Reading {
        method: text(tree.get("method")),
        name: text(tree.get("params").and_then(|params| params.get("name"))),
        has_id: tree.get("id").is_some_and(|id| !id.is_null()),
    })
}

/// Whether the document has something below the envelope that trees cannot hold: judged by the text alone, and
/// generously, because it only excuses trees, never structs.
fn beyond_trees(doc: &[u8]) -> bool {
    let text = String::from_utf8_lossy(doc).to_ascii_lowercase();
    let long_number = text
        .as_bytes()
        .windows(16)
        .any(|run| run.iter().all(u8::is_ascii_digit));
    let exponent = text
        .as_bytes()
        .windows(2)
        .any(|pair| pair[0].is_ascii_digit() && pair[1] == b'e');
    text.contains("\\ud") || long_number || exponent || deep(text.as_bytes())
}

/// So many opening brackets that it may be nested to the last level. Not a run of them: mutations put spaces between.
fn deep(doc: &[u8]) -> bool {
    doc.iter().filter(|b| matches!(b, b'[' | b'{')).count() >= 100
}

fn ours(doc: &[u8]) -> Result<Reading, ScanFault> {
    rpc::scan(doc).map(|message| Reading {
        method: message.method(doc).map(str::to_owned),
        name: message.name(doc).map(|name| name.into_owned()),
        has_id: message.id.is_some(),
    })
}

fn nobody_disagrees(doc: &[u8]) {
    let Ok(ours) = ours(doc) else { return };
    // Unoptimised, a witness takes some 40 KiB of stack for each level; a test thread has 2 MiB.
    const WITNESS_STACK_BYTES: usize = 32 << 20;
    if doc.iter().filter(|b| matches!(b, b'[' | b'{')).count() < 20 {
        return compare(doc, &ours);
    }
    std::thread::scope(|scope| {
        let witnesses = std::thread::Builder::new().stack_size(WITNESS_STACK_BYTES);
        let compared = witnesses
            .spawn_scoped(scope, || compare(doc, &ours))
            .expect("a thread");
        if let Err(disagreement) = compared.join() {
            std::panic::resume_unwind(disagreement);
        }
    });
}

fn compare(doc: &[u8], ours: &Reading) {
    for (who, witness) in STRUCTS {
        assert_eq!(
            witness(doc).as_ref(),
            Some(ours),
            "{who} on {}",
            String::from_utf8_lossy(doc)
        );
    }
    for (who, witness) in TREES {
        match witness(doc) {
            None => assert!(
                beyond_trees(doc),
                "{who} refuses {}",
                String::from_utf8_lossy(doc)
            ),
            reading => assert_eq!(
                reading.as_ref(),
                Some(ours),
                "{who} on {}",
                String::from_utf8_lossy(doc)
            ),
        }
    }
}

/// A message with `members` in its root, after the usual ones.
fn root(members: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list",{members}}}"#).into_bytes()
}

/// A call with `members` in its params, after the usual ones.
fn params(members: &str) -> Vec<u8> {
    root(&format!(
        r#""params":{{"name":"safe","arguments":{{}},{members}}}"#
    ))
}

/// A call with these bytes as its arguments.
fn arguments(bytes: &[u8]) -> Vec<u8> {
    [
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","arguments":"#,
        bytes,
        b"}}",
    ]
    .concat()
}

/// Documents that some reader in the field accepts, or reads in its own way.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
    vec![
        ("duplicate method", root(r#""method":"tools/call""#)),
        ("duplicate method, escaped", root(r#""meth\u006fd":"tools/call""#)),
        ("duplicate id", root(r#""id":2"#)),
        (
            "duplicate params",
            root(r#""params":{"name":"safe"},"params":{"name":"rm"}"#),
        ),
        ("duplicate name", params(r#""name":"rm""#)),
        ("duplicate name, escaped", params(r#""\u006eame":"rm""#)),
        ("duplicate arguments", params(r#""arguments":{"x":1}"#)),
        (
            "duplicate _meta",
            params(r#""_meta":{},"_meta":{"progressToken":1}"#),
        ),
        (
            "duplicate token",
            params(r#""_meta":{"progressToken":1,"progressToken":2}"#),
        ),
        ("duplicate unknown key", root(r#""x":1,"x":2"#)),
        (
            "only escaped keys",
            br#"{"jsonrpc":"2.0","\u006dethod":"tools/call"}"#.to_vec(),
        ),
        ("method in capitals", root(r#""Method":"tools/call""#)),
        ("name in capitals", params(r#""NAME":"rm""#)),
        ("long s", root("\"param\u{17f}\":{\"name\":\"rm\"}")),
        ("Kelvin sign", params("\"ta\u{17f}\u{212a}Id\":\"x\"")),
        ("long s in _meta", params("\"_meta\":{\"progre\u{17f}sToken\":1}")),
        ("invalid UTF-8 in arguments", arguments(b"\"\xff\"")),
        ("overlong UTF-8", arguments(b"\"\xc0\xaf\"")),
        ("UTF-8 surrogate", arguments(b"\"\xed\xa0\x80\"")),
        ("UTF-8 beyond Unicode", arguments(b"\"\xf4\x90\x80\x80\"")),
        ("cut UTF-8", arguments(b"\"\xe2\x82\"")),
        ("lone surrogate in name", root(r#""params":{"name":"a\ud800"}"#)),
        ("raw newline in a string", arguments(b"\"a\nb\"")),
        ("NUL in a string", arguments(b"\"a\0b\"")),
        ("NUL behind", [root(r#""x":1"#), vec![0]].concat()),
        ("100,000 arrays", arguments(&nested(100_000))),
        ("127 arrays in arguments", arguments(&nested(127))),
        ("second document", [root(r#""x":1"#), root(r#""x":2"#)].concat()),
        ("garbage behind", [root(r#""x":1"#), b"garbage".to_vec()].concat()),
        ("broken behind the wanted fields", arguments(b"{]")),
        ("truncated behind the wanted fields", arguments(b"{\"a\":")),
        ("NaN", arguments(b"NaN")),
        ("Infinity", arguments(b"-Infinity")),
        ("leading zero", arguments(b"01")),
        ("plus sign", arguments(b"+1")),
        ("bare fraction", arguments(b".5")),
        ("open fraction", arguments(b"5.")),
        ("hex", arguments(b"0x10")),
        ("trailing comma", arguments(b"[1,]")),
        (
            "trailing comma in the root",
            br#"{"jsonrpc":"2.0","method":"m",}"#.to_vec(),
        ),
        ("comment", arguments(b"/* x */ 1")),
        ("single quotes", arguments(b"'x'")),
        ("bare key", arguments(b"{x:1}")),
        (
            "byte order mark",
            [b"\xef\xbb\xbf".to_vec(), root(r#""x":1"#)].concat(),
        ),
        ("form feed", [root(r#""x":1"#), vec![0x0c]].concat()),
        ("no-break space", [root(r#""x":1"#), "\u{a0}".into()].concat()),
        (
            "UTF-16",
            root(r#""x":1"#).into_iter().flat_map(|b| [b, 0]).collect(),
        ),
        ("batch", [b"[".to_vec(), root(r#""x":1"#), b"]".to_vec()].concat()),
        ("float id", br#"{"jsonrpc":"2.0","id":1.0,"method":"m"}"#.to_vec()),
        ("object id", br#"{"jsonrpc":"2.0","id":{},"method":"m"}"#.to_vec()),
        ("null id", br#"{"jsonrpc":"2.0","id":null,"method":"m"}"#.to_vec()),
        ("method and result", root(r#""result":{}"#)),
        ("method and error", root(r#""error":{}"#)),
        (
            "escaped method",
            br#"{"jsonrpc":"2.0","id":1,"method":"tools\/call"}"#.to_vec(),
        ),
        ("name of another type", root(r#""params":{"name":["rm"]}"#)),
        ("params as an array", root(r#""params":["rm"]"#)),
        ("version 1", br#"{"jsonrpc":"1.0","id":1,"method":"m"}"#.to_vec()),
        ("empty", Vec::new()),
    ]
}

/// Documents that pass although some tree refuses them.
fn passed_on_purpose() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
    vec![
        ("1e999", arguments(b"1e999")),
        (
            "30-digit id",
            br#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"m"}"#.to_vec(),
        ),
        ("lone surrogate in arguments", arguments(br#""\ud800""#)),
        ("126 arrays in arguments", arguments(&nested(126))),
        (
            "duplicates in arguments",
            arguments(br#"{"a":1,"a":2,"\u0061":3}"#),
        ),
        ("escaped name", root(r#""params":{"name":"a\u0062\ud83d\ude00"}"#)),
        ("non-ASCII key in _meta", params(r#""_meta":{"größe":1}"#)),
        ("unknown keys", root(r#""extra":{"method":"x","method":"y"}"#)),
        (
            "error without an id",
            br#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#.to_vec(),
        ),
    ]
}

#[test]
fn hostile_documents_are_refused() {
    for (what, doc) in hostile() {
        let reading = ours(&doc);
        assert!(reading.is_err(), "{what}: accepted as {reading:?}");
    }
}

#[test]
fn passed_documents_have_one_reading() {
    for (what, doc) in passed_on_purpose() {
        assert!(ours(&doc).is_ok(), "{what}: {:?}", ours(&doc));
        nobody_disagrees(&doc);
    }
}

/// Why the envelope is as strict as it is: the witnesses do read these documents, and not alike.
#[test]
fn the_witnesses_disagree_with_each_other() {
    let doc = root(r#""method":"tools/call""#);
    let method = |witness: Witness| witness(&doc).and_then(|reading| reading.method);
    assert_eq!(method(serde_tree).as_deref(), Some("tools/call"), "last wins");
    assert_eq!(method(serde_struct), None, "refused");
    assert_ne!(method(sonic_tree), method(serde_tree));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Fragments of attacks at any place of any message of the corpus, hostile or not.
    #[test]
    fn no_mutation_makes_two_readings(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), 0..5u8, select(FRAGMENTS.to_vec())), 1..4),
    ) {
        let mut all = hostile();
        all.retain(|(_, doc)| doc.len() < 1000);
        all.extend(passed_on_purpose());
        let mut doc = all.swap_remove(which.index(all.len())).1;
        for (at, how, fragment) in changes {
            let at = at.index(doc.len() + 1);
            match how {
                0 if at < doc.len() => drop(doc.remove(at)),
                1 if at < doc.len() => doc[at] ^= 0x20,
                2 => doc.truncate(at),
                _ => drop(doc.splice(at..at, fragment.bytes())),
            }
        }
        nobody_disagrees(&doc);
    }
}

const FRAGMENTS: [&str; 24] = [
    "\"method\":\"x\",",
    ",\"method\":\"x\"",
    "\"name\":\"x\",",
    ",\"name\":\"x\"",
    "\"id\":2,",
    "\"Method\":1,",
    "\\u0061",
    "\\ud800",
    "\"params\":{},",
    "\"_meta\":{},",
    "\"result\":1,",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\u{17f}",
    "0",
    "null",
    "\n",
];
