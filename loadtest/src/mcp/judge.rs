//! Is this answer the one that was wanted? The reason why not is what a report counts by.

use super::glance::glance;
use crate::{
    scenario::Operation,
    wire::{Answer, Content},
};
use memchr::memmem::Finder;
use std::borrow::Cow;

/// The reason a call failed, as reports count it: `http_503`, `rpc_-32000`, `tool_error`, `bad_answer`…
pub type Failing = Cow<'static, str>;

/// The answer is no JSON-RPC message, or answers something else.
pub const BAD_ANSWER: &str = "bad_answer";
/// The tool says that it failed.
pub const TOOL_ERROR: &str = "tool_error";
/// The tool should have failed and did not.
pub const NO_TOOL_ERROR: &str = "no_tool_error";
/// The answer lacks the text, the size or the events that was asked for.
pub const UNEXPECTED: &str = "unexpected";
/// The server asks for input that nobody is there to give.
pub const INPUT_REQUIRED: &str = "input_required";

/// What an answer must be.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// Look no further than the status: the target is no MCP server.
    pub status_only: bool,
    text: Option<Finder<'static>>,
    bytes_min: u64,
    events_min: u64,
    tool_error: bool,
}

impl Expectation {
    /// As an operation wants it.
    pub fn of(operation: &Operation, status_only: bool) -> Self {
        let text = operation.expect.as_deref();
        Self {
            status_only,
            text: text.map(|text| Finder::new(text).into_owned()),
            bytes_min: operation.expect_bytes_min,
            events_min: operation.expect_events_min,
            tool_error: operation.expect_tool_error,
        }
    }
}

/// Judges a whole answer to the request `id`.
pub fn judge(answer: &Answer, id: u64, wanted: &Expectation) -> Result<(), Failing> {
    if !(200..300).contains(&answer.status) {
        return Err(format!("http_{}", answer.status).into());
    }
    if !wanted.status_only {
        if answer.content == Content::Other {
            return Err(BAD_ANSWER.into());
        }
        let Some(seen) = glance(&answer.body) else {
            return Err(BAD_ANSWER.into());
        };
        if let Some(code) = seen.error_code {
            return Err(format!("rpc_{code}").into());
        }
        if !seen.has_result || seen.id.and_then(number) != Some(id) {
            return Err(BAD_ANSWER.into());
        }
        if seen.result_type.is_some_and(|kind| kind == b"input_required") {
            return Err(INPUT_REQUIRED.into());
        }
        match (seen.is_tool_error, wanted.tool_error) {
            (true, false) => return Err(TOOL_ERROR.into()),
            (false, true) => return Err(NO_TOOL_ERROR.into()),
            _ => {}
        }
    }
    let short = (answer.body.len() as u64) < wanted.bytes_min || answer.events < wanted.events_min;
    let silent = wanted
        .text
        .as_ref()
        .is_some_and(|text| text.find(&answer.body).is_none());
    match short || silent {
        true => Err(UNEXPECTED.into()),
        false => Ok(()),
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Ended;
    use bytes::Bytes;
    use std::time::Instant;

    fn answer(status: u16, content: Content, body: &str) -> Answer {
        let now = Instant::now();
        Answer {
            status,
            content,
            session_id: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
            body_bytes: body.len() as u64,
            events: 0,
            bytes_out: 0,
            bytes_in: 0,
            written: now,
            first: None,
            last: now,
            ended: Ended::Complete,
        }
    }

    fn verdict(status: u16, body: &str, wanted: &Expectation) -> String {
        match judge(&answer(status, Content::Json, body), 7, wanted) {
            Ok(()) => "ok".to_owned(),
            Err(why) => why.into_owned(),
        }
    }

    #[test]
    fn each_way_to_fail_has_its_name() {
        let wanted = Expectation::default();
        for (status, body, said) in [
            (200, r#"{"id":7,"result":{}}"#, "ok"),
            (200, r#"{"id":8,"result":{}}"#, "bad_answer"),
            (200, r#"{"id":7}"#, "bad_answer"),
            (200, r#"{"id":7,"result":{}"#, "bad_answer"),
            (200, "hello", "bad_answer"),
            (200, r#"{"id":7,"error":{"code":-32602}}"#, "rpc_-32602"),
            (404, r#"{"id":7,"error":{"code":-32601}}"#, "http_404"),
            (503, "", "http_503"),
            (200, r#"{"id":7,"result":{"isError":true}}"#, "tool_error"),
            (
                200,
                r#"{"id":7,"result":{"resultType":"input_required"}}"#,
                "input_required",
            ),
        ] {
            assert_eq!(verdict(status, body, &wanted), said, "{body}");
        }
        let page = answer(200, Content::Other, "<html>");
        assert_eq!(judge(&page, 7, &wanted).unwrap_err(), BAD_ANSWER);
    }

    #[test]
    fn more_can_be_expected() {
        let wanted = Expectation {
            text: Some(Finder::new("needle").into_owned()),
            ..Expectation::default()
        };
        assert_eq!(verdict(200, r#"{"id":7,"result":{"a":"needle"}}"#, &wanted), "ok");
        assert_eq!(
            verdict(200, r#"{"id":7,"result":{"a":"hay"}}"#, &wanted),
            "unexpected"
        );
        let wanted = Expectation {
            bytes_min: 100,
            ..Expectation::default()
        };
        assert_eq!(verdict(200, r#"{"id":7,"result":{}}"#, &wanted), "unexpected");
        let wanted = Expectation {
            events_min: 2,
            ..Expectation::default()
        };
        let mut streamed = answer(200, Content::Events, r#"{"id":7,"result":{}}"#);
        streamed.events = 1;
        assert_eq!(judge(&streamed, 7, &wanted).unwrap_err(), UNEXPECTED);
        streamed.events = 2;
        assert_eq!(judge(&streamed, 7, &wanted), Ok(()));
        let wanted = Expectation {
            tool_error: true,
            ..Expectation::default()
        };
        assert_eq!(
            verdict(200, r#"{"id":7,"result":{"isError":true}}"#, &wanted),
            "ok"
        );
        assert_eq!(verdict(200, r#"{"id":7,"result":{}}"#, &wanted), "no_tool_error");
        let wanted = Expectation {
            status_only: true,
            ..Expectation::default()
        };
        assert_eq!(verdict(200, "pong", &wanted), "ok");
    }
}
