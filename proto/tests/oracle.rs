//! Property tests: generated documents, messages, edits and streams, judged by the properties the fuzz targets hold
//! (`proto/fuzz/src`), whose oracle for JSON is serde_json. Fuzzing looks for what nobody thought of; this looks at
//! many well-formed inputs with odd whitespace, escapes and orders, and at their near misses.

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, reason = "the targets this file does not generate input for")]
mod bodies;

use proptest::{collection::vec, prelude::*, sample::select};
use ringway_proto::{json, rpc};

/// Whitespace as RFC 8259 has it, mostly none.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

/// A string literal: plain runs of every length, every escape, pairs, and now and then half a pair.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9 {}\\[\\]:,/'_.-]{0,12}",
        1 => "[x-z]{30,80}",
        2 => "[\u{7f}-\u{7ff}\u{2028}\u{fffd}\u{10000}-\u{10ffff}]{1,3}",
        2 => select(vec!["\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"]).prop_map(str::to_owned),
        1 => "\\\\u[0-9a-cA-C][0-9a-fA-F]{3}",
        1 => "\\\\u[dD][89abAB][0-9a-f]{2}\\\\u[dD][c-fC-F][0-9a-f]{2}",
    ];
    let half = prop_oneof![30 => Just(String::new()), 1 => "\\\\u[dD][89a-f][0-9a-f]{2}"];
    (vec(piece, 0..4), half).prop_map(|(pieces, half)| format!("\"{}{half}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,6})?([eE][+-]?[0-9]{1,3})?"
}

fn scalar() -> impl Strategy<Value = String> {
    let word = select(vec!["true", "false", "null", "{}", "[]", "{ }", "[\n]"]).prop_map(str::to_owned);
    prop_oneof![string(), number(), word]
}

/// Any JSON text.
fn document() -> impl Strategy<Value = String> {
    scalar().prop_recursive(6, 60, 6, |inner| {
        let padded = (space(), inner, space())
            .prop_map(|(a, value, b)| a + &value + &b)
            .boxed();
        prop_oneof![
            vec(padded.clone(), 0..6).prop_map(|list| format!("[{}]", list.join(","))),
            vec(member(padded), 0..6).prop_map(|list| format!("{{{}}}", list.join(","))),
        ]
    })
}

fn member(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop_oneof![
        string(),
        select(vec![r#""a""#, r#""b""#, r#""\u0061""#, r#""\\""#, r#""\\\\""#]).prop_map(str::to_owned)
    ];
    (space(), key, space(), value).prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"))
}

/// An object with few distinct keys, so that edits meet duplicates and each other.
fn object() -> impl Strategy<Value = String> {
    let inner = vec(member(scalar()), 0..4).prop_map(|list| format!("{{{}}}", list.join(",")));
    let value = prop_oneof![2 => scalar(), 1 => inner];
    (space(), vec(member(value), 0..5), space())
        .prop_map(|(a, list, b)| format!("{a}{{{}{b}}}", list.join(",")))
}

/// A document with something done to it.
fn near_miss(whole: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let fragment = select(vec![
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "0",
        "-",
        ".",
        "e",
        "\n",
        "\0",
        "\u{1f}",
        "\\ud800",
        "\u{e9}",
        "nul",
        " ",
        "\"method\":\"x\",",
        "\"Name\":1,",
        "\"na\\u006de\":\"x\",",
        "//",
        "\u{feff}",
    ]);
    (
        whole,
        vec(
            (any::<prop::sample::Index>(), 0..4u8, fragment, any::<u8>()),
            1..4,
        ),
    )
        .prop_map(|(text, changes)| {
            let mut bytes = text.into_bytes();
            for (at, how, fragment, byte) in changes {
                let at = at.index(bytes.len() + 1);
                match how {
                    0 => bytes.truncate(at),
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    2 if at < bytes.len() => bytes[at] = byte,
                    _ => drop(bytes.splice(at..at, fragment.bytes())),
                }
            }
            bytes
        })
}

/// Members in any order.
fn shuffled(members: Vec<(&'static str, String)>) -> impl Strategy<Value = String> {
    (Just(members).prop_shuffle(), space(), space()).prop_map(|(members, a, b)| {
        let list: Vec<String> = members
            .iter()
            .map(|(key, value)| format!("{a}\"{key}\"{b}:{value}{a}"))
            .collect();
        format!("{{{}}}", list.join(","))
    })
}

/// A string literal that has a text.
fn text() -> impl Strategy<Value = String> {
    string().prop_filter("whole characters", |s| serde_json::from_str::<String>(s).is_ok())
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof!["-?(0|[1-9][0-9]{0,25})", text()]
}

/// A message that must be accepted.
fn message() -> impl Strategy<Value = String> {
    let meta = (id(), document(), document()).prop_flat_map(|(token, info, other)| {
        shuffled(vec![
            ("progressToken", token),
            (
                "io.modelcontextprotocol/protocolVersion",
                "\"2026-07-28\"".to_owned(),
            ),
            ("io.modelcontextprotocol/clientInfo", info),
            ("com.example/größe", other),
        ])
    });
    let params = (text(), document(), meta, document()).prop_flat_map(|(name, arguments, meta, other)| {
        shuffled(vec![
            ("name", name),
            ("arguments", arguments),
            ("_meta", meta),
            ("other", other),
        ])
    });
    let version = || ("jsonrpc", "\"2.0\"".to_owned());
    let request = (id(), params).prop_flat_map(move |(id, params)| {
        shuffled(vec![
            version(),
            ("id", id),
            ("method", "\"tools/call\"".to_owned()),
            ("params", params),
        ])
    });
    let result = (id(), document(), document()).prop_flat_map(move |(id, result, other)| {
        shuffled(vec![version(), ("id", id), ("result", result), ("extra", other)])
    });
    let error = (id(), -40000..0i64, text()).prop_flat_map(move |(id, code, text)| {
        shuffled(vec![
            version(),
            ("id", id),
            ("error", format!("{{\"code\":{code},\"message\":{text}}}")),
        ])
    });
    prop_oneof![2 => request, 1 => result, 1 => error]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn documents_are_accepted_and_read_as_serde_json_reads_them(doc in document(), a in space(), b in space()) {
        let doc = a + &doc + &b;
        prop_assert_eq!(json::check(doc.as_bytes(), json::DEPTH_MAX), Ok(()));
        bodies::json_check(doc.as_bytes());
    }

    #[test]
    fn near_misses_are_judged_as_serde_json_judges_them(doc in near_miss(document())) {
        bodies::json_check(&doc);
    }

    #[test]
    fn messages_are_accepted_in_any_order(doc in message()) {
        let read = rpc::scan(doc.as_bytes());
        prop_assert!(read.is_ok(), "{:?}", read);
        bodies::rpc_scan(doc.as_bytes());
    }

    #[test]
    fn a_message_that_is_accepted_has_one_reading(doc in near_miss(message())) {
        bodies::rpc_scan(&doc);
    }

    #[test]
    fn edits_of_bytes_are_edits_of_the_tree(edits in vec(any::<[u8; 3]>(), 0..8), doc in object()) {
        let edits: Vec<u8> = edits.into_iter().flat_map(|[how, key, value]| [how, key % 7, value]).collect();
        let input = [&[(edits.len() / 3) as u8], edits.as_slice(), doc.as_bytes()].concat();
        bodies::splice(&input);
    }

    #[test]
    fn streams_mean_the_same_however_they_are_cut(
        step in any::<u8>(),
        tokens in vec(select(vec![
            "data", "data: ", "data:", "id: 1", "id:", "event: e", "retry: 5", "retry: x", ":", " ", "x", "\n", "\n", "\n\n",
            "\r", "\r\n", "\r\n\r\n", "\0", "\u{feff}", "é",
        ]), 0..30),
    ) {
        let input = [&[step], tokens.concat().as_bytes()].concat();
        bodies::sse(&input);
    }

    #[test]
    fn chunked_bodies_mean_the_same_however_they_are_cut(
        step in any::<u8>(),
        tokens in vec(select(vec![
            "1\r\nx\r\n", "5\r\nhello\r\n", "0\r\n\r\n", "0\r\n", "\r\n", "a;b=c\r\n", "0123456789", "\n", "\r", "x: y\r\n", "F", "G",
        ]), 0..12),
    ) {
        let input = [&[step], tokens.concat().as_bytes()].concat();
        bodies::chunked(&input);
    }

    #[test]
    fn heads_are_read_as_httparse_reads_them(
        flags in any::<u8>(),
        start in select(vec![
            "GET / HTTP/1.1\r\n", "POST /mcp HTTP/1.0\r\n", "POST http://a/b?c HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 204\r\n", "\r\nHTTP/1.1 100 \r\n",
        ]),
        names in vec(select(vec![
            "Host", "host", "Content-Length", "transfer-encoding", "Connection", "mcp-protocol-version", "X-Mine", "te",
            "content-lengt\r", "accept-encodinG", "", "a b", "x",
        ]), 0..8),
        values in vec(select(vec![
            ": a", ":a", ": 5", ": 5", ":\t7 ", ": chunked", ": close", ": keep-alive", ":", ": gr\u{fc}n \u{ff}", ": \u{7f}", " : a",
            ": 12345678\t", ": 1234567\u{80}\u{0}", ": a\n", ": a\r\n b",
        ]), 8),
        flip in proptest::option::weighted(0.2, (any::<prop::sample::Index>(), 0..8_u8)),
    ) {
        let lines: Vec<String> = names.iter().zip(&values).map(|(name, value)| format!("{name}{value}\r\n")).collect();
        let mut input = [&[flags], start.as_bytes(), lines.concat().as_bytes(), b"\r\nbody"].concat();
        if let Some((at, bit)) = flip {
            let at = 1 + at.index(input.len() - 1);
            input[at] ^= 1 << bit;
        }
        bodies::http1_request(&input);
        bodies::http1_response(&input);
    }

    #[test]
    fn header_values_agree_with_what_they_carry(header in ".{0,20}", value in document()) {
        bodies::header_value(format!("{header}\n{value}").as_bytes());
        bodies::header_value(format!("{value}\n{value}").as_bytes());
    }
}
