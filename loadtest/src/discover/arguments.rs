//! Arguments that fit a tool's `inputSchema`, with blanks where calls may differ.
//!
//! Only what is required is filled in. What is offered is taken first: a constant, one of the choices, an example,
//! a default; then something of the right type and within the bounds. A pattern cannot be turned around, so a text
//! that must match one is left for a person.

use serde_json::{Map, Value, json};

/// Deepest a schema is followed: `$ref`s may go in circles.
const DEPTH_MAX: usize = 12;
/// Choices put into one `pick`.
const CHOICES_MAX: usize = 12;
/// Length of a text without bounds.
const TEXT_CHARS: u64 = 24;
/// Whole numbers without bounds.
const INT_MAX: i64 = 100;

/// Arguments for a tool, and what a person should look at.
pub fn arguments(schema: &Value) -> (Value, Vec<String>) {
    let mut maker = Maker {
        root: schema,
        remarks: Vec::new(),
    };
    let value = maker.object(schema, "", 0);
    (value, maker.remarks)
}

struct Maker<'s> {
    root: &'s Value,
    remarks: Vec<String>,
}

impl<'s> Maker<'s> {
    fn object(&mut self, schema: &'s Value, path: &str, depth: usize) -> Value {
        let mut made = Map::new();
        for part in self.parts(schema) {
            let required = part.get("required").and_then(Value::as_array);
            for key in required.into_iter().flatten().filter_map(Value::as_str) {
                let property = part.get("properties").and_then(|properties| properties.get(key));
                let path = if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                };
                let value = match property {
                    Some(property) => self.value(property, &path, depth + 1),
                    None => {
                        self.remarks
                            .push(format!("`{path}` is required and not described"));
                        Value::Null
                    }
                };
                made.insert(key.to_owned(), value);
            }
        }
        Value::Object(made)
    }

    /// The schema, and those it is said to hold with.
    fn parts(&self, schema: &'s Value) -> Vec<&'s Value> {
        let schema = self.resolve(schema);
        let all = schema.get("allOf").and_then(Value::as_array);
        let one = ["oneOf", "anyOf"]
            .iter()
            .filter_map(|key| schema.get(*key)?.as_array()?.first());
        let mut parts = vec![schema];
        parts.extend(
            all.into_iter()
                .flatten()
                .chain(one)
                .map(|part| self.resolve(part)),
        );
        parts
    }

    fn resolve(&self, schema: &'s Value) -> &'s Value {
        let mut schema = schema;
        for _ in 0..DEPTH_MAX {
            let pointer = schema
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|r| r.strip_prefix('#'));
            match pointer.and_then(|pointer| self.root.pointer(pointer)) {
                Some(meant) => schema = meant,
                None => break,
            }
        }
        schema
    }

    fn value(&mut self, schema: &'s Value, path: &str, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            self.remarks.push(format!("`{path}` nests too deep"));
            return Value::Null;
        }
        let schema = self.resolve(schema);
        if let Some(offered) = offered(schema) {
            return offered;
        }
        for key in ["oneOf", "anyOf", "allOf"] {
            if let (None, Some(first)) = (
                schema.get("type"),
                schema.get(key).and_then(|s| s.as_array()?.first()),
            ) {
                return self.value(first, path, depth + 1);
            }
        }
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds
                .iter()
                .filter_map(Value::as_str)
                .find(|kind| *kind != "null"),
            Some(kind) => kind.as_str(),
            None if schema.get("properties").is_some() => Some("object"),
            None => None,
        };
        match kind {
            Some("string") => self.text(schema, path),
            Some("integer" | "number") => number(schema),
            Some("boolean") => json!("{{pick true false}}"),
            Some("array") => {
                let item = schema.get("items");
                let count = schema
                    .get("minItems")
                    .and_then(Value::as_u64)
                    .unwrap_or(1)
                    .min(CHOICES_MAX as u64);
                Value::Array(match item {
                    Some(item) => (0..count).map(|_| self.value(item, path, depth + 1)).collect(),
                    None => Vec::new(),
                })
            }
            Some("object") => self.object(schema, path, depth),
            Some("null") => Value::Null,
            _ => {
                self.remarks.push(format!("`{path}` has no type"));
                json!("{{random_text 8}}")
            }
        }
    }

    fn text(&mut self, schema: &Value, path: &str) -> Value {
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
            self.remarks.push(format!("`{path}` must match {pattern}"));
        }
        let fixed = match schema.get("format").and_then(Value::as_str) {
            Some("uuid") => "{{uuid}}",
            Some("date-time") => "2026-01-31T12:00:00Z",
            Some("date") => "2026-01-31",
            Some("time") => "12:00:00Z",
            Some("email") => "load-{{random_int 1 1000}}@example.com",
            Some("uri" | "url") => "https://example.com/{{random_int 1 1000}}",
            Some("hostname") => "example.com",
            Some("ipv4") => "192.0.2.{{random_int 1 254}}",
            _ => {
                let bound = |key| schema.get(key).and_then(Value::as_u64);
                let least = bound("minLength").unwrap_or(0);
                let most = bound("maxLength").unwrap_or(u64::MAX).max(least);
                return json!(format!("{{{{random_text {}}}}}", TEXT_CHARS.clamp(least, most)));
            }
        };
        json!(fixed)
    }
}

/// What the schema itself offers.
fn offered(schema: &Value) -> Option<Value> {
    if let Some(constant) = schema.get("const") {
        return Some(literal(constant));
    }
    if let Some(choices) = schema
        .get("enum")
        .and_then(Value::as_array)
        .filter(|c| !c.is_empty())
    {
        let words: Option<Vec<String>> = choices.iter().take(CHOICES_MAX).map(word).collect();
        let one_kind = choices.iter().all(Value::is_string) || !choices.iter().any(Value::is_string);
        return Some(match words {
            Some(words) if one_kind => {
                let text = if choices[0].is_string() { "text " } else { "" };
                json!(format!("{{{{{text}pick {}}}}}", words.join(" ")))
            }
            _ => literal(&choices[0]),
        });
    }
    let example = schema
        .get("examples")
        .and_then(|examples| examples.as_array()?.first());
    example.or_else(|| schema.get("default")).map(literal)
}

/// A choice as `pick` reads it; none for those it cannot hold.
fn word(choice: &Value) -> Option<String> {
    match choice {
        Value::String(text) if text.contains(['"', '{', '}']) => None,
        Value::String(text) => Some(format!("\"{text}\"")),
        Value::Number(_) | Value::Bool(_) | Value::Null => Some(choice.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A value as it is, even where its text would be taken for a blank.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains("{{") => json!("{{random_text 8}}"),
        Value::Array(items) => Value::Array(items.iter().map(literal).collect()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), literal(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a bound beyond i64 is cut to it")]
fn number(schema: &Value) -> Value {
    let bound = |key: &str, step: i64| {
        let exclusive = schema.get(format!("exclusive{key}")).and_then(Value::as_f64);
        let bound = schema.get(key.to_lowercase()).and_then(Value::as_f64);
        match (bound, exclusive) {
            (_, Some(bound)) => Some(bound as i64 + step),
            (Some(bound), None) => Some(bound as i64),
            (None, None) => None,
        }
    };
    let (least, most) = match (bound("Minimum", 1), bound("Maximum", -1)) {
        (Some(least), Some(most)) => (least, most.max(least)),
        (Some(least), None) => (least, least.saturating_add(INT_MAX)),
        (None, Some(most)) => (most.saturating_sub(INT_MAX), most),
        (None, None) => (1, INT_MAX),
    };
    match schema
        .get("multipleOf")
        .and_then(Value::as_i64)
        .filter(|step| *step > 1)
    {
        Some(step) => json!(least + (step - least.rem_euclid(step)) % step),
        None => json!(format!("{{{{random_int {least} {most}}}}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::template::{Template, Values};
    use bytes::BytesMut;
    use rand::{SeedableRng as _, rngs::SmallRng};

    fn filled(schema: &Value) -> Value {
        let (made, _) = arguments(schema);
        let template = Template::compile(&made).unwrap_or_else(|e| panic!("{e}: {made}"));
        let mut out = BytesMut::new();
        let mut values = Values {
            seq: 1,
            id: 1,
            client: 0,
            random: &mut SmallRng::seed_from_u64(3),
        };
        template.render(&mut out, &mut values);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn what_is_made_fits_the_schema() {
        let schema = json!({
            "type": "object",
            "$defs": {"color": {"enum": ["red", "dark \\ blue", "green"]}, "self": {"$ref": "#/$defs/self"}},
            "properties": {
                "text": {"type": "string", "minLength": 30, "maxLength": 40},
                "short": {"type": "string", "maxLength": 3},
                "n": {"type": "integer", "minimum": 5, "exclusiveMaximum": 8},
                "x": {"type": ["null", "number"]},
                "even": {"type": "integer", "minimum": 3, "multipleOf": 4},
                "on": {"type": "boolean"},
                "color": {"$ref": "#/$defs/color"},
                "level": {"enum": [1, 2, 3]},
                "id": {"type": "string", "format": "uuid"},
                "list": {"type": "array", "minItems": 2, "items": {"type": "object", "required": ["a"], "properties": {"a": {"const": 7}}}},
                "either": {"anyOf": [{"type": "string"}, {"type": "number"}]},
                "kept": {"type": "string", "default": "as {{is}}"},
                "optional": {"type": "string"},
                "circle": {"$ref": "#/$defs/self"},
            },
            "required": ["text", "short", "n", "x", "even", "on", "color", "level", "id", "list", "either", "kept", "circle"],
        });
        let made = filled(&schema);
        assert_eq!(made["text"].as_str().unwrap().len(), 30);
        assert_eq!(made["short"].as_str().unwrap().len(), 3);
        assert!((5..8).contains(&made["n"].as_i64().unwrap()), "{made}");
        assert!(
            made["x"].is_number() && made["on"].is_boolean() && made["level"].is_number(),
            "{made}"
        );
        assert_eq!(made["even"], 4);
        assert!(["red", "dark \\ blue", "green"].contains(&made["color"].as_str().unwrap()));
        assert_eq!(made["id"].as_str().unwrap().len(), 36);
        assert_eq!(made["list"], json!([{"a": 7}, {"a": 7}]));
        assert!(made["either"].is_string() && made["kept"].is_string());
        assert!(made.get("optional").is_none());
    }

    #[test]
    fn what_a_person_must_look_at_is_said() {
        let schema = json!({
            "required": ["code", "what", "ghost"],
            "properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}$"}, "what": {}},
        });
        let (_, remarks) = arguments(&schema);
        assert_eq!(remarks.len(), 3, "{remarks:?}");
        assert!(remarks[0].contains("[A-Z]{3}"));
        assert_eq!(arguments(&json!({"type": "object"})).0, json!({}));
        assert_eq!(arguments(&json!(true)).0, json!({}));
    }
}
