//! Headers that mirror the body (2026-07-28, "Streamable HTTP"): `Mcp-Name` and `Mcp-Param-*`.
//!
//! How a value travels that is not plain ASCII is [`ringway_proto::header_value`]'s to know.

use super::{failure::Failure, message::Fields};
use ringway_proto::header_value::encode;
use serde_json::{Value, value::RawValue};

/// How deep a schema's nested `properties` are searched for `x-mcp-header`; deeper ones are not sent by clients.
const DEPTH_MAX: usize = 16;

/// The value `Mcp-Name` mirrors for this method, if it has one.
pub(super) fn mirrored(method: &str, fields: &Fields) -> Option<String> {
    let field = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    serde_json::from_str(fields.get(field)?.get()).ok()
}

/// The `Mcp-Param-*` headers of a call: arguments that the tool's schema marks with `x-mcp-header`.
pub fn param_headers(input_schema: &RawValue, arguments: &Value) -> Result<Vec<(String, String)>, Failure> {
    let schema: Value = serde_json::from_str(input_schema.get())
        .map_err(|e| Failure::Protocol(format!("a tool's inputSchema: {e}")))?;
    let mut headers = Vec::new();
    walk(&schema, arguments, &mut headers, DEPTH_MAX);
    Ok(headers)
}

fn walk(schema: &Value, arguments: &Value, headers: &mut Vec<(String, String)>, depth: usize) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, property) in properties {
        let Some(argument) = arguments.get(name) else {
            continue;
        };
        if let Some(header) = property.get("x-mcp-header").and_then(Value::as_str) {
            let value = match argument {
                Value::String(text) => Some(text.clone()),
                Value::Bool(_) | Value::Number(_) => Some(argument.to_string()),
                _ => None,
            };
            if let Some(value) = value {
                headers.push((
                    format!("mcp-param-{}", header.to_ascii_lowercase()),
                    encode(&value).into_owned(),
                ));
            }
        } else if depth > 0 {
            walk(property, argument, headers, depth - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_arguments_are_mirrored_also_from_within() {
        let schema = RawValue::from_string(
            r#"{"type":"object","properties":{
                "region":{"type":"string","x-mcp-header":"Region"},
                "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
                "plain":{"type":"string"}}}"#
                .to_owned(),
        )
        .unwrap();
        let arguments = serde_json::json!({"region": "eu", "deep": {"n": 42}, "plain": "x"});
        let mut headers = param_headers(&schema, &arguments).unwrap();
        headers.sort();
        assert_eq!(
            headers,
            [
                ("mcp-param-n".to_owned(), "42".to_owned()),
                ("mcp-param-region".to_owned(), "eu".to_owned())
            ]
        );
        assert!(
            param_headers(&schema, &serde_json::json!({"region": null}))
                .unwrap()
                .is_empty()
        );
    }
}
