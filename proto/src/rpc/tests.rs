//! What `scan` reads and what it refuses, one conversation per rule. The differential tests against other JSON
//! readers are in `proto/tests/`.

use super::*;
use crate::json::{Fault, What};

fn read(doc: &str) -> Message {
    scan(doc.as_bytes()).unwrap_or_else(|fault| panic!("{doc}: {fault}"))
}

fn refusal(doc: &str) -> ScanFault {
    scan(doc.as_bytes())
        .err()
        .unwrap_or_else(|| panic!("accepted: {doc}"))
}

/// Where `needle` begins in `doc`.
fn at(doc: &str, needle: &str) -> u32 {
    doc.find(needle).unwrap() as u32
}

fn cut(doc: &str, span: Option<Span>) -> &str {
    std::str::from_utf8(span.unwrap().of(doc.as_bytes())).unwrap()
}

#[test]
fn a_modern_tool_call_is_read_whole() {
    let doc = r#" {"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"_meta":{"progressToken":0,
        "io.modelcontextprotocol/protocolVersion":"2026-07-28",
        "io.modelcontextprotocol/clientInfo":{"name":"inspector","version":"2"},
        "io.modelcontextprotocol/clientCapabilities":{},
        "io.modelcontextprotocol/logLevel":"info","io.modelcontextprotocol/subscriptionId":7,
        "traceparent":"00-x"},"name":"git__log","arguments":{"n":3,"n":[{"x":1e999}]},"requestState":"s",
        "inputResponses":{}, "task":{"ttl":1}}} "#;
    let message = read(doc);
    assert_eq!(message.shape(), Shape::Request);
    assert_eq!(cut(doc, message.id), "\"a-1\"");
    assert_eq!(message.method(doc.as_bytes()), Some("tools/call"));
    assert_eq!(message.name(doc.as_bytes()).unwrap(), "git__log");
    assert_eq!(
        message.meta_protocol_version(doc.as_bytes()).unwrap(),
        "2026-07-28"
    );
    assert_eq!(Some(message.root.of(doc.as_bytes())), Some(doc.trim().as_bytes()));
    let params = message.params.as_ref().unwrap();
    assert!(cut(doc, Some(params.span)).starts_with("{\"_meta\""));
    assert_eq!(cut(doc, params.arguments), r#"{"n":3,"n":[{"x":1e999}]}"#);
    assert_eq!(cut(doc, params.request_state), "\"s\"");
    assert_eq!(cut(doc, params.input_responses), "{}");
    assert_eq!(cut(doc, params.task), r#"{"ttl":1}"#);
    let meta = message.meta().unwrap();
    assert_eq!(cut(doc, meta.progress_token), "0");
    assert_eq!(
        cut(doc, meta.client_info),
        r#"{"name":"inspector","version":"2"}"#
    );
    assert_eq!(cut(doc, meta.client_capabilities), "{}");
    assert_eq!(cut(doc, meta.log_level), "\"info\"");
    assert_eq!(cut(doc, meta.subscription_id), "7");
}

#[test]
fn any_order_of_keys_will_do() {
    // TypeScript puts the result first and the id last.
    let doc = r#"{"result":{"content":[],"isError":true,"resultType":"complete","_meta":{"a":1}},"id":3,"jsonrpc":"2.0"}"#;
    let message = read(doc);
    assert_eq!(message.shape(), Shape::Result);
    assert_eq!(cut(doc, message.id), "3");
    assert!(message.is_error(doc.as_bytes()));
    assert_eq!(message.result_type(doc.as_bytes()).unwrap(), "complete");
    assert_eq!(cut(doc, message.result_meta(doc.as_bytes())), r#"{"a":1}"#);

    let doc =
        r#"{"params":{"arguments":{},"name":"a\u0062"},"extra":[1],"method":"tools/call","jsonrpc":"2.0"}"#;
    let message = read(doc);
    assert_eq!(message.shape(), Shape::Notification);
    assert_eq!(message.name(doc.as_bytes()).unwrap(), "ab");
}

#[test]
fn every_other_field_of_params_has_its_place() {
    let doc = r#"{"jsonrpc":"2.0","method":"m","params":{"uri":"test://x","taskId":"t","cursor":"","requestId":1,
        "progressToken":"p","protocolVersion":"2025-11-25","clientInfo":{"name":"c"},"capabilities":{"roots":{}},
        "ref":{"type":"ref/prompt"},"level":"debug","notifications":{"tools":true}}}"#;
    let message = read(doc);
    let params = message.params.as_ref().unwrap();
    assert_eq!(message.uri(doc.as_bytes()).unwrap(), "test://x");
    assert_eq!(message.task_id(doc.as_bytes()).unwrap(), "t");
    assert_eq!(cut(doc, params.uri), "\"test://x\"");
    assert_eq!(cut(doc, params.cursor), "\"\"");
    assert_eq!(cut(doc, params.request_id), "1");
    assert_eq!(cut(doc, params.progress_token), "\"p\"");
    assert_eq!(cut(doc, params.protocol_version), "\"2025-11-25\"");
    assert_eq!(cut(doc, params.client_info), r#"{"name":"c"}"#);
    assert_eq!(cut(doc, params.capabilities), r#"{"roots":{}}"#);
    assert_eq!(cut(doc, params.reference), r#"{"type":"ref/prompt"}"#);
    assert_eq!(cut(doc, params.level), "\"debug\"");
    assert_eq!(cut(doc, params.notifications), r#"{"tools":true}"#);
    assert_eq!(message.name(doc.as_bytes()), None);
}

#[test]
fn errors_may_have_lost_their_id() {
    let doc = r#"{"jsonrpc":"2.0","error":{"code":-32020,"message":"no","data":[1]},"id":null}"#;
    let message = read(doc);
    assert_eq!((message.shape(), message.id), (Shape::Error, None));
    assert_eq!(message.error_code(doc.as_bytes()), Some(-32020));
    assert_eq!(message.error_message(doc.as_bytes()).unwrap(), "no");
    assert_eq!(cut(doc, message.error_data(doc.as_bytes())), "[1]");
    assert_eq!(
        read(r#"{"jsonrpc":"2.0","error":{"code":1.5}}"#).error_code(b""),
        None
    );
    let doc = r#"{"jsonrpc":"2.0","method":"m","id":null}"#;
    assert_eq!(refusal(doc), ScanFault::Id { at: at(doc, "null") });
    let doc = r#"{"jsonrpc":"2.0","result":{},"id":null}"#;
    assert_eq!(refusal(doc), ScanFault::Id { at: at(doc, "null") });
    assert_eq!(refusal(r#"{"jsonrpc":"2.0","result":{}}"#), ScanFault::NoId);
}

#[test]
fn ids_are_integers_or_strings() {
    for id in ["0", "-7", "123456789012345678901234567890", "\"\"", "\"\\u00e9\""] {
        assert_eq!(
            cut(&format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#), {
                read(&format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#)).id
            }),
            id
        );
    }
    for id in ["1.0", "1e3", "{}", "[]", "true", "\"\\ud800\""] {
        let doc = format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#);
        assert_eq!(refusal(&doc), ScanFault::Id { at: at(&doc, id) }, "{doc}");
    }
}

#[test]
fn the_version_is_2_0_and_nothing_else() {
    for version in ["\"2.1\"", "2.0", "null", "\"2\\u002e0\""] {
        let doc = format!(r#"{{"jsonrpc":{version},"method":"m"}}"#);
        assert_eq!(
            refusal(&doc),
            ScanFault::Version {
                at: at(&doc, version)
            }
        );
    }
    assert_eq!(refusal(r#"{"method":"m"}"#), ScanFault::NoVersion);
    assert_eq!(refusal("{}"), ScanFault::NoVersion);
}

#[test]
fn one_of_method_result_and_error() {
    assert_eq!(refusal(r#"{"jsonrpc":"2.0","id":1}"#), ScanFault::Shapeless);
    assert_eq!(
        refusal(r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#),
        ScanFault::Ambiguous
    );
    assert_eq!(
        refusal(r#"{"jsonrpc":"2.0","id":1,"result":1,"method":"m"}"#),
        ScanFault::Ambiguous
    );
    assert_eq!(
        refusal(r#"{"jsonrpc":"2.0","id":1,"error":{},"method":"m"}"#),
        ScanFault::Ambiguous
    );
}

#[test]
fn known_fields_have_their_types() {
    let field = |doc: &str| match refusal(doc) {
        ScanFault::Type { field, at, .. } => (field, doc.as_bytes()[at as usize]),
        other => panic!("{doc}: {other}"),
    };
    assert_eq!(
        field(r#"{"jsonrpc":"2.0","method":"m","params":[1]}"#),
        ("params", b'[')
    );
    assert_eq!(
        field(r#"{"jsonrpc":"2.0","method":"m","params":"null"}"#),
        ("params", b'"')
    );
    assert_eq!(
        field(r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":3}}"#),
        ("params._meta", b'3')
    );
    assert_eq!(
        field(r#"{"jsonrpc":"2.0","method":"m","params":{"name":7}}"#),
        ("params.name", b'7')
    );
    assert_eq!(
        field(r#"{"jsonrpc":"2.0","method":"m","params":{"uri":null}}"#),
        ("params.uri", b'n')
    );
    assert_eq!(
        field(r#"{"jsonrpc":"2.0","method":"m","params":{"taskId":{}}}"#),
        ("params.taskId", b'{')
    );
    assert_eq!(
        field(r#"{"jsonrpc":"2.0","method":"m","params":{"name":"\udc00"}}"#),
        ("params.name", b'"')
    );
    assert_eq!(field(r#"{"jsonrpc":"2.0","error":"x"}"#), ("error", b'"'));
    for method in ["1", "null", "\"m\\u0061\"", "[]"] {
        let doc = format!(r#"{{"jsonrpc":"2.0","method":{method}}}"#);
        assert_eq!(refusal(&doc), ScanFault::Method { at: at(&doc, method) });
    }
}

/// A message with `members` at each of the three levels.
fn at_each_level(members: &str) -> [(Level, String); 3] {
    [
        (
            Level::Root,
            format!(r#"{{"jsonrpc":"2.0","method":"m",{members}}}"#),
        ),
        (
            Level::Params,
            format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{{members}}}}}"#),
        ),
        (
            Level::Meta,
            format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{"_meta":{{{members}}}}}}}"#),
        ),
    ]
}

#[test]
fn duplicate_keys_are_refused_at_every_level() {
    for (level, doc) in at_each_level(r#""x":1,"y":2,"x":3"#) {
        assert_eq!(
            refusal(&doc),
            ScanFault::DuplicateKey {
                level,
                at: at(&doc, "x\":3")
            }
        );
    }
    for doc in [
        r#"{"jsonrpc":"2.0","method":"tools/list","method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":null,"id":1,"method":"m"}"#,
        r#"{"jsonrpc":"2.0","method":"m","params":{"name":"a","name":"a"}}"#,
        r#"{"jsonrpc":"2.0","method":"m","params":{"task":1,"arguments":{},"task":2}}"#,
        r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{},"_meta":{}}}"#,
        r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"progressToken":1,"progressToken":1}}}"#,
    ] {
        assert!(matches!(refusal(doc), ScanFault::DuplicateKey { .. }), "{doc}");
    }
}

#[test]
fn escaped_keys_are_refused_at_every_level() {
    for (level, doc) in at_each_level(r#""meth\u006fd":1"#) {
        assert_eq!(
            refusal(&doc),
            ScanFault::EscapedKey {
                level,
                at: at(&doc, "meth\\")
            }
        );
    }
}

#[test]
fn keys_that_some_reader_folds_into_known_ones_are_refused() {
    let variant = |doc: &str| match refusal(doc) {
        ScanFault::CaseVariant { known, .. } => known,
        other => panic!("{doc}: {other}"),
    };
    assert_eq!(
        variant(r#"{"jsonrpc":"2.0","method":"m","Method":"x"}"#),
        "method"
    );
    assert_eq!(variant(r#"{"jsonrpc":"2.0","method":"m","ID":"x"}"#), "id");
    assert_eq!(
        variant(r#"{"jsonrpc":"2.0","method":"m","params":{"name":"a","NAME":"b"}}"#),
        "name"
    );
    assert_eq!(
        variant(r#"{"jsonrpc":"2.0","method":"m","params":{"taskid":"b"}}"#),
        "taskId"
    );
    let meta = |key: &str| format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{"_meta":{{"{key}":1}}}}}}"#);
    assert_eq!(variant(&meta("progresstoken")), "progressToken");
    assert_eq!(variant(&meta("progre\u{17f}sToken")), "progressToken");
    assert_eq!(variant(&meta("progressTo\u{212a}en")), "progressToken");
    let info = "io.modelcontextprotocol/clientInfo";
    assert_eq!(variant(&meta("IO.modelcontextprotocol/clientInfo")), info);
    assert_eq!(
        variant(&meta("\u{130}o.modelcontextprotocol/cl\u{131}entInfo")),
        info
    );
    read(&meta("com.example/größe"));

    for (level, doc) in at_each_level("\"param\u{17f}\":1").into_iter().take(2) {
        assert_eq!(
            refusal(&doc),
            ScanFault::NonAsciiKey {
                level,
                at: at(&doc, "param\u{17f}")
            }
        );
    }
}

#[test]
fn unknown_keys_are_welcome_up_to_a_bound() {
    let keys = |n: usize| {
        (0..n)
            .map(|i| format!("\"k{i}\":{i}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    for (_, doc) in at_each_level(&keys(KEYS_MAX)) {
        read(&doc);
    }
    for (level, doc) in at_each_level(&keys(KEYS_MAX + 1)) {
        assert_eq!(
            refusal(&doc),
            ScanFault::TooManyKeys {
                level,
                at: at(&doc, "k64\"")
            }
        );
    }
    // Duplicates are found on both sides of the inline part.
    for again in ["k0", "k7", "k8", "k40"] {
        for (_, doc) in at_each_level(&format!("{},\"{again}\":0", keys(41))) {
            assert!(matches!(refusal(&doc), ScanFault::DuplicateKey { .. }));
        }
    }
}

#[test]
fn what_is_not_json_is_said_to_be_not_json() {
    let what = |doc: &[u8]| match scan(doc) {
        Err(ScanFault::Json(Fault { what, .. })) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(what(b""), What::End);
    assert_eq!(what(b"x"), What::Unexpected);
    assert_eq!(what(br#"{"jsonrpc":"2.0","method":"m"} x"#), What::Trailing);
    assert_eq!(what(br#"{"jsonrpc":"2.0","method":"m""#), What::End);
    assert_eq!(
        what(b"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"arguments\":\"\xff\"}}"),
        What::Utf8
    );
    let deep = |n: usize| {
        let (open, close) = ("[".repeat(n), "]".repeat(n));
        format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{"arguments":{open}{close}}}}}"#)
    };
    read(&deep(126));
    assert_eq!(
        what(deep(127).as_bytes()),
        What::Depth,
        "two containers stand around the arguments"
    );
    assert_eq!(refusal("\"text\""), ScanFault::NotObject);
    assert_eq!(refusal("[{}]"), ScanFault::Batch);
    assert_eq!(refusal("{").code(), -32700);
    assert_eq!(refusal("{}").code(), -32600);
}

#[test]
fn a_batch_splits_into_its_messages() {
    let doc = br#" [ {"jsonrpc":"2.0","method":"a"} , {"jsonrpc":"2.0","id":1,"method":"b"} ] "#;
    let spans = split_batch(doc).unwrap();
    let methods: Vec<_> = spans
        .iter()
        .map(|span| {
            let one = span.of(doc);
            scan(one).unwrap().method(one).unwrap().to_owned()
        })
        .collect();
    assert_eq!(methods, ["a", "b"]);
    assert_eq!(split_batch(b"[]"), Err(ScanFault::EmptyBatch));
    assert_eq!(split_batch(b"{}"), Err(ScanFault::NotObject));
    assert!(matches!(split_batch(b"[1,]"), Err(ScanFault::Json(_))));
    let many = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    assert_eq!(split_batch(many(BATCH_MAX).as_bytes()).unwrap().len(), BATCH_MAX);
    assert_eq!(
        split_batch(many(BATCH_MAX + 1).as_bytes()),
        Err(ScanFault::BatchTooLong)
    );
}

#[test]
fn params_that_are_null_are_no_params() {
    let message = scan(br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#).unwrap();
    assert_eq!(message.params, None);
}
