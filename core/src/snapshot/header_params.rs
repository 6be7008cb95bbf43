//! `x-mcp-header`: which arguments of a tool are repeated in `Mcp-Param-*` headers (specification 2026-07-28,
//! "Streamable HTTP", custom headers from tool parameters; SEP-2243).
//!
//! An annotation is lawful on a string, integer or boolean property that is reached from the schema's root
//! through `properties` alone, under a name that is an HTTP token and unique without regard to case. A tool
//! that breaks the rule must not be listed to modern clients.

use crate::limits::SCHEMA_DEPTH_MAX;
use ringway_proto::json::{self, Kind, Span};

/// One argument that is mirrored into a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderParam {
    /// The whole header name in lower case: `mcp-param-…`.
    pub header: Box<str>,
    /// Member names from `params.arguments` to the value.
    pub path: Box<[Box<str>]>,
    /// How the two are compared.
    pub kind: ParamKind,
}

/// The type of a mirrored argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are JSON Schema's types")]
pub enum ParamKind {
    String,
    /// Compared as numbers: `42.0` equals `42`.
    Integer,
    Boolean,
}

/// Every annotation in the schema at `schema`, or what is unlawful about them.
pub fn find(doc: &[u8], schema: Span) -> Result<Vec<HeaderParam>, &'static str> {
    // Almost no schema has any, and this is cheaper than a walk.
    if !contains(schema.of(doc), b"x-mcp-header") && !contains(schema.of(doc), b"\\u") {
        return Ok(Vec::new());
    }
    let mut walk = Walk {
        doc,
        path: Vec::new(),
        found: Vec::new(),
    };
    walk.schema(schema, true, 0)?;
    Ok(walk.found)
}

struct Walk<'d> {
    doc: &'d [u8],
    path: Vec<Box<str>>,
    found: Vec<HeaderParam>,
}

impl Walk<'_> {
    /// One schema. `reachable`: only `properties` were passed on the way here.
    fn schema(&mut self, schema: Span, reachable: bool, depth: usize) -> Result<(), &'static str> {
        if depth > SCHEMA_DEPTH_MAX {
            return Err("the schema is nested too deep to look for x-mcp-header");
        }
        for (key, value) in json::members(self.doc, schema) {
            let Some(key) = json::unescape(self.doc, key) else {
                continue;
            };
            match key.as_ref() {
                "x-mcp-header" => self.annotation(schema, value, reachable)?,
                "properties" => {
                    for (name, property) in json::members(self.doc, value) {
                        let name =
                            json::unescape(self.doc, name).ok_or("a property's name is not Unicode text")?;
                        self.path.push(name.into());
                        self.schema(property, reachable, depth + 1)?;
                        self.path.pop();
                    }
                }
                // Keywords of JSON Schema 2020-12 and draft 7 whose values are schemas, or hold them.
                "$defs" | "definitions" | "patternProperties" | "dependentSchemas" | "dependencies" => {
                    for (_, inner) in json::members(self.doc, value) {
                        self.schema(inner, false, depth + 1)?;
                    }
                }
                "items"
                | "prefixItems"
                | "allOf"
                | "anyOf"
                | "oneOf"
                | "additionalProperties"
                | "additionalItems"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "contentSchema" => {
                    self.schema(value, false, depth + 1)?;
                    for inner in json::elements(self.doc, value) {
                        self.schema(inner, false, depth + 1)?;
                    }
                }
                // `default`, `const`, `enum`, `examples` and unknown keywords hold data, not schemas.
                _ => {}
            }
        }
        Ok(())
    }

    fn annotation(&mut self, schema: Span, value: Span, reachable: bool) -> Result<(), &'static str> {
        if !reachable || self.path.is_empty() {
            return Err("x-mcp-header stands where only properties may be passed");
        }
        let name = json::string(self.doc, value).ok_or("x-mcp-header is not a string")?;
        if !is_token(name.as_bytes()) {
            return Err("x-mcp-header is not an HTTP token");
        }
        let kind = json::member(self.doc, schema, "type").and_then(|t| json::string(self.doc, t));
        let kind = match kind.as_deref() {
            Some("string") => ParamKind::String,
            Some("integer") => ParamKind::Integer,
            Some("boolean") => ParamKind::Boolean,
            _ => return Err("x-mcp-header stands on a property that is no string, integer or boolean"),
        };
        let header: Box<str> = format!("mcp-param-{}", name.to_ascii_lowercase()).into();
        if self.found.iter().any(|f| f.header == header) {
            return Err("two properties name the same x-mcp-header");
        }
        self.found.push(HeaderParam {
            header,
            path: self.path.clone().into(),
            kind,
        });
        Ok(())
    }
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(text: &[u8]) -> bool {
    let t = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(t)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

/// The kind of the value at the end of `path`, when the arguments have one that is not null.
pub fn value(doc: &[u8], arguments: Span, param: &HeaderParam) -> Option<Span> {
    let at = param
        .path
        .iter()
        .try_fold(arguments, |at, key| json::member(doc, at, key))?;
    (json::kind(doc, at)? != Kind::Null).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(schema: &str) -> Result<Vec<(String, String)>, &'static str> {
        let doc = schema.as_bytes();
        let found = find(doc, json::root(doc))?;
        Ok(found
            .iter()
            .map(|p| (p.header.to_string(), p.path.join("/")))
            .collect())
    }

    #[test]
    fn lawful_annotations_are_found() {
        let got = params(
            r#"{"type":"object","properties":{
                "region":{"type":"string","x-mcp-header":"Region"},
                "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
                "x-mcp-header":{"type":"string","default":{"x-mcp-header":1}}}}"#,
        );
        let own = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            got,
            Ok(vec![
                own("mcp-param-region", "region"),
                own("mcp-param-n", "deep/n")
            ])
        );
    }

    #[test]
    fn unlawful_ones_are_refused() {
        for schema in [
            r#"{"type":"object","x-mcp-header":"A"}"#,
            r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":["string","null"],"x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A b"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":7}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#,
            r#"{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}"#,
            r#"{"oneOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}"#,
            r#"{"$defs":{"s":{"type":"string","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-heade\u0072":""}}}"#,
        ] {
            assert!(params(schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn values_are_found_by_path() {
        let doc = br#"{"deep":{"n":3,"z":null}}"#;
        let param = |path: &[&str]| HeaderParam {
            header: "h".into(),
            path: path.iter().map(|p| (*p).into()).collect(),
            kind: ParamKind::Integer,
        };
        let at = |path: &[&str]| value(doc, json::root(doc), &param(path)).map(|s| s.of(doc));
        assert_eq!(at(&["deep", "n"]), Some(&b"3"[..]));
        assert_eq!(at(&["deep", "z"]), None);
        assert_eq!(at(&["deep", "n", "m"]), None);
    }
}
