//! One definition of a server's catalogue, made fit to stand in a list beside those of other servers.
//!
//! SDKs read a whole list with one strict schema: a single `"description": null` makes them drop every tool of
//! every server. So what is certainly wrong is mended or left out here, with a warning, and what cannot be
//! mended costs only itself. All other bytes stay as the server wrote them.

use crate::limits::{DEFINITION_BYTES_MAX, URI_BYTES_MAX};
use bytes::Bytes;
use ringway_proto::json::{self, Kind, Span, Splice};

/// A listable definition.
#[derive(Debug)]
pub(super) struct Definition {
    /// One JSON object without line breaks (a list may travel as one SSE line).
    pub text: Bytes,
    /// The value that names it: `name` of tools and prompts, `uri` of resources, `uriTemplate` of templates.
    pub key: String,
    /// Where that value stands in `text`, quotes included.
    pub key_span: Span,
    /// What was mended.
    pub mended: Vec<String>,
}

/// The kinds of definition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Tool,
    Prompt,
    /// A resource or a template of resources.
    Resource,
}

/// What a kind of definition must and may have.
pub(super) struct Rules {
    /// Which kind.
    pub subject: Subject,
    /// The member that names it.
    pub key: &'static str,
    /// Bytes of the key's text.
    pub key_bytes_max: usize,
    /// Members that are left out unless they have this type.
    pub optional: &'static [(&'static str, Kind)],
}

/// Tool (2.2 of every revision; `icons` and `execution` since 2025-11-25).
pub(super) const TOOL: Rules = Rules {
    subject: Subject::Tool,
    key: "name",
    key_bytes_max: 256,
    optional: &[
        ("title", Kind::String),
        ("description", Kind::String),
        ("outputSchema", Kind::Object),
        ("annotations", Kind::Object),
        ("execution", Kind::Object),
        ("icons", Kind::Array),
        ("_meta", Kind::Object),
    ],
};

/// Prompt.
pub(super) const PROMPT: Rules = Rules {
    subject: Subject::Prompt,
    key: "name",
    key_bytes_max: 256,
    optional: &[
        ("title", Kind::String),
        ("description", Kind::String),
        ("arguments", Kind::Array),
        ("icons", Kind::Array),
        ("_meta", Kind::Object),
    ],
};

/// Resource.
pub(super) const RESOURCE: Rules = Rules {
    subject: Subject::Resource,
    key: "uri",
    key_bytes_max: URI_BYTES_MAX,
    optional: &[
        ("title", Kind::String),
        ("description", Kind::String),
        ("mimeType", Kind::String),
        ("size", Kind::Number),
        ("annotations", Kind::Object),
        ("icons", Kind::Array),
        ("_meta", Kind::Object),
    ],
};

/// Resource template.
pub(super) const TEMPLATE: Rules = Rules {
    key: "uriTemplate",
    ..RESOURCE
};

/// Reads a definition; the error says why it cannot be listed.
pub(super) fn read(raw: &str, rules: &Rules) -> Result<Definition, String> {
    if raw.len() > DEFINITION_BYTES_MAX {
        return Err(format!("larger than {DEFINITION_BYTES_MAX} bytes"));
    }
    json::check(raw.as_bytes(), json::DEPTH_MAX).map_err(|fault| fault.to_string())?;
    let mut doc = one_line(raw.as_bytes());
    let mut mended = Vec::new();
    unambiguous(&doc)?;
    let mut splice = Splice::new(&doc);
    let root = json::root(&doc);
    for (member, kind) in rules.optional {
        let Some(value) = json::member(&doc, root, member) else {
            continue;
        };
        if json::kind(&doc, value) != Some(*kind) {
            splice.remove_member(root, *member);
            // An absent value written as null is common and harmless; anything else is worth a word.
            if json::kind(&doc, value) != Some(Kind::Null) {
                mended.push(format!("{member} has the wrong type and was left out"));
            }
        }
    }
    match rules.subject {
        Subject::Tool => input_schema(&doc, root, &mut splice, &mut mended)?,
        Subject::Prompt => prompt_arguments(&doc, root)?,
        Subject::Resource => {
            let named = json::member(&doc, root, "name").and_then(|n| json::kind(&doc, n));
            if let (Some(uri), true) = (json::member(&doc, root, rules.key), named != Some(Kind::String)) {
                splice.set_member(root, "name", uri.of(&doc).to_vec());
                mended.push("it has no name; its URI took the place".to_owned());
            }
        }
    }
    if !splice.is_empty() {
        doc = splice.finish().map_err(|fault| fault.to_string())?;
    }
    let key_span =
        json::member(&doc, json::root(&doc), rules.key).ok_or(format!("{} is missing", rules.key))?;
    let key = json::string(&doc, key_span)
        .ok_or(format!("{} is not a string", rules.key))?
        .into_owned();
    if key.is_empty() || key.len() > rules.key_bytes_max || key.chars().any(char::is_control) {
        return Err(format!(
            "{} is empty, too long, or has control characters",
            rules.key
        ));
    }
    Ok(Definition {
        text: Bytes::from(doc),
        key,
        key_span,
        mended,
    })
}

/// `inputSchema` must be an object schema. Old servers leave the type out, or the schema.
fn input_schema<'d>(
    doc: &'d [u8],
    root: Span,
    splice: &mut Splice<'d>,
    mended: &mut Vec<String>,
) -> Result<(), String> {
    let schema = json::member(doc, root, "inputSchema").filter(|s| json::kind(doc, *s) != Some(Kind::Null));
    let Some(schema) = schema else {
        splice.set_member(root, "inputSchema", &br#"{"type":"object"}"#[..]);
        mended.push("it has no inputSchema; any object is taken".to_owned());
        return Ok(());
    };
    if json::kind(doc, schema) != Some(Kind::Object) {
        return Err("inputSchema is not an object".to_owned());
    }
    match json::member(doc, schema, "type") {
        Some(kind) if kind.of(doc) == br#""object""# => Ok(()),
        None => {
            splice.set_member(schema, "type", &br#""object""#[..]);
            mended.push("its inputSchema has no type; object was added".to_owned());
            Ok(())
        }
        Some(_) => Err("inputSchema does not describe an object".to_owned()),
    }
}

fn prompt_arguments(doc: &[u8], root: Span) -> Result<(), String> {
    let Some(arguments) = json::member(doc, root, "arguments") else {
        return Ok(());
    };
    let named = |argument: Span| {
        json::member(doc, argument, "name").is_some_and(|name| json::kind(doc, name) == Some(Kind::String))
    };
    if json::elements(doc, arguments).all(named) {
        Ok(())
    } else {
        Err("an argument has no name".to_owned())
    }
}

/// Two readers must not see two definitions (DESIGN invariant 9): keys at the root are unique without regard to
/// case, and written without escapes.
fn unambiguous(doc: &[u8]) -> Result<(), String> {
    let root = json::root(doc);
    if json::kind(doc, root) != Some(Kind::Object) {
        return Err("not an object".to_owned());
    }
    let mut seen: Vec<&[u8]> = Vec::with_capacity(8);
    for (key, _) in json::members(doc, root) {
        let key = key.of(doc);
        if key.contains(&b'\\') || seen.iter().any(|s| s.eq_ignore_ascii_case(key)) {
            return Err(format!(
                "the key {} stands twice or is written with escapes",
                String::from_utf8_lossy(key)
            ));
        }
        // A definition has about ten members; more than a hundred is an attack on this loop.
        if seen.len() == 100 {
            return Err("more than 100 members".to_owned());
        }
        seen.push(key);
    }
    Ok(())
}

/// The document without line breaks; other white space goes with them.
pub(crate) fn one_line(doc: &[u8]) -> Vec<u8> {
    if !doc.iter().any(|b| matches!(b, b'\n' | b'\r')) {
        return doc.trim_ascii().to_vec();
    }
    let mut out = Vec::with_capacity(doc.len());
    let (mut quoted, mut escaped) = (false, false);
    for byte in doc {
        if quoted {
            quoted = *byte != b'"' || escaped;
            escaped = *byte == b'\\' && !escaped;
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            quoted = *byte == b'"';
        }
        out.push(*byte);
    }
    out
}

/// `text` with `with` (JSON text) in the place of `span`.
pub(super) fn spliced(text: &Bytes, span: Span, with: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + with.len());
    out.extend_from_slice(&text[..span.start as usize]);
    out.extend_from_slice(with);
    out.extend_from_slice(&text[span.end as usize..]);
    Bytes::from(out)
}

/// The definition without `outputSchema`, when older revisions cannot read the one it has: until 2025-11-25 its
/// root had to be an object schema, and SDKs of those days refuse the whole list otherwise.
pub(super) fn without_output_schema(text: &Bytes) -> Option<Bytes> {
    let root = json::root(text);
    let schema = json::member(text, root, "outputSchema")?;
    let plain = json::member(text, schema, "type").is_some_and(|t| t.of(text) == br#""object""#);
    if plain {
        return None;
    }
    let mut splice = Splice::new(text);
    splice.remove_member(root, "outputSchema");
    splice.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn text(d: &Definition) -> &str {
        std::str::from_utf8(&d.text).unwrap()
    }

    #[test]
    fn a_sound_definition_keeps_its_bytes() {
        let raw = r#"{"name":"a","x":1.0e2, "inputSchema":{"type":"object"}}"#;
        let d = read(raw, &TOOL).unwrap();
        assert_eq!((text(&d), d.key.as_str(), d.mended.len()), (raw, "a", 0));
        assert_eq!(d.key_span.of(&d.text), br#""a""#);
    }

    #[test]
    fn small_faults_are_mended() {
        let d = read("{\"name\":\"a\",\n \"description\": null, \"title\":5}", &TOOL).unwrap();
        assert_eq!(text(&d), r#"{"name":"a","inputSchema":{"type":"object"}}"#);
        assert_eq!(d.mended.len(), 2);
        let d = read(r#"{"name":"a","inputSchema":{}}"#, &TOOL).unwrap();
        assert_eq!(text(&d), r#"{"name":"a","inputSchema":{"type":"object"}}"#);
        let d = read(r#"{"uri":"x:1"}"#, &RESOURCE).unwrap();
        assert_eq!(text(&d), r#"{"uri":"x:1","name":"x:1"}"#);
        let d = read(r#"{"name":"p","arguments":null}"#, &PROMPT).unwrap();
        assert_eq!(text(&d), r#"{"name":"p"}"#);
    }

    #[test]
    fn large_faults_cost_the_definition() {
        for raw in [
            "[]",
            r#"{"inputSchema":{}}"#,
            r#"{"name":"","inputSchema":{}}"#,
            r#"{"name":7}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","Name":"b"}"#,
            r#"{"n\u0061me":"a"}"#,
            r#"{"name":"a","inputSchema":{"type":"array"}}"#,
            r#"{"name":"a","inputSchema":[]}"#,
            r#"{"name":"a\n"}"#,
        ] {
            assert!(read(raw, &TOOL).is_err(), "{raw}");
        }
        assert!(read(r#"{"name":"p","arguments":[{}]}"#, &PROMPT).is_err());
        assert!(read(r#"{"name":"p"}"#, &TEMPLATE).is_err());
    }

    #[test]
    fn older_revisions_get_object_output_schemas_only() {
        let with = |schema: &str| Bytes::from(format!(r#"{{"name":"a","outputSchema":{schema},"z":1}}"#));
        assert_eq!(without_output_schema(&with(r#"{"type":"object"}"#)), None);
        assert_eq!(
            without_output_schema(&with(r#"{"type":"array"}"#)).unwrap(),
            r#"{"name":"a","z":1}"#
        );
    }

    proptest! {
        #[test]
        fn one_line_changes_no_value(s in ".{0,40}", n in any::<i32>()) {
            let value = serde_json::json!({ "a \n\"": [s, { "b": n }], "c\\": null });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let line = one_line(pretty.as_bytes());
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), value);
        }
    }
}
