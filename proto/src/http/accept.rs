//! What `Accept` and `Content-Type` say about the two media types MCP speaks. The texts that clients usually send
//! are compared whole; any other is read in one pass.

use super::{Headers, names};

/// Which of the two answer types a client takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// `application/json`.
    pub json: bool,
    /// `text/event-stream`.
    pub events: bool,
}

/// What all `Accept` fields say together. Weights are not read: zero is not used for these types.
pub fn accepted(headers: &Headers) -> Accepted {
    if headers.get(names::ACCEPT) == Some(b"application/json, text/event-stream") {
        return Accepted {
            json: true,
            events: true,
        };
    }
    let mut accepted = Accepted::default();
    for value in headers.get_all(names::ACCEPT) {
        for item in value.split(|b| *b == b',') {
            let range = before_parameters(item);
            let (kind, subtype) =
                range.split_at(range.iter().position(|b| *b == b'/').unwrap_or(range.len()));
            let takes = |group: &[u8], of: &[u8]| {
                range == b"*/*"
                    || kind.eq_ignore_ascii_case(group)
                        && (subtype == b"/*" || subtype.eq_ignore_ascii_case(of))
            };
            accepted.json |= takes(b"application", b"/json");
            accepted.events |= takes(b"text", b"/event-stream");
        }
    }
    accepted
}

/// Whether a `Content-Type` is JSON, whatever its parameters.
pub fn is_json(content_type: &[u8]) -> bool {
    is_type(content_type, b"application/json")
}

/// Whether a `Content-Type` is an event stream, whatever its parameters.
pub fn is_event_stream(content_type: &[u8]) -> bool {
    is_type(content_type, b"text/event-stream")
}

fn is_type(content_type: &[u8], of: &[u8]) -> bool {
    content_type == of || before_parameters(content_type).eq_ignore_ascii_case(of)
}

fn before_parameters(item: &[u8]) -> &[u8] {
    let end = item.iter().position(|b| *b == b';').unwrap_or(item.len());
    item[..end].trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> (bool, bool) {
        let mut headers = Headers::default();
        values.iter().for_each(|value| headers.push("accept", value));
        let Accepted { json, events } = accepted(&headers);
        (json, events)
    }

    #[test]
    fn accept_is_read_across_all_its_fields() {
        assert_eq!(of(&["application/json, text/event-stream"]), (true, true));
        assert_eq!(of(&["text/event-stream", "Application/JSON;q=0.5"]), (true, true));
        assert_eq!(of(&["text/event-stream,application/json"]), (true, true));
        assert_eq!(of(&["*/*"]), (true, true));
        assert_eq!(of(&["text/html, */* ; q=0.1"]), (true, true));
        assert_eq!(of(&["application/*"]), (true, false));
        assert_eq!(of(&[" TEXT/*;x=y"]), (false, true));
        assert_eq!(of(&["application/json"]), (true, false));
        for other in [
            "",
            "*",
            "/*",
            "/json",
            "application",
            "application/",
            "application/jso",
            "application/json5",
            "application/json/x",
            "application/*/",
            "json",
            "*/json",
            "application json",
            "application/xml;application/json",
        ] {
            assert_eq!(of(&[other]), (false, false), "{other:?}");
        }
        assert_eq!(of(&[]), (false, false));
    }

    #[test]
    fn a_content_type_is_judged_without_its_parameters() {
        for json in [
            "application/json",
            "Application/Json; charset=utf-8",
            " application/json ;",
        ] {
            assert!(
                is_json(json.as_bytes()) && !is_event_stream(json.as_bytes()),
                "{json}"
            );
        }
        for other in [
            "",
            "application/jsonp",
            "application/problem+json",
            "text/plain; application/json",
        ] {
            assert!(!is_json(other.as_bytes()), "{other}");
        }
        assert!(is_event_stream(b"text/event-stream;charset=utf-8"));
    }
}
