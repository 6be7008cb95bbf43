//! Values of `Mcp-Name` and `Mcp-Param-*`: how text that a header cannot carry is carried anyway, and whether a
//! header says the same as the body (specification 2026-07-28, Streamable HTTP, "Value Encoding").
//!
//! Plain visible ASCII goes as it is. Anything else, and anything that would be mistaken for it, goes as
//! `=?base64?` + standard Base64 of the UTF-8 + `?=`. The markers count only exactly so; in capitals, or with one
//! of them missing, the value is literal.

use crate::json::{self, Kind, Span};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::borrow::Cow;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// Why a header value has no text. The answer is 400 with -32020.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderValueFault {
    /// A byte outside visible ASCII, space and tab.
    #[error("header value has a character that must be encoded")]
    Characters,
    /// Wears the markers, but there is no standard Base64 between them.
    #[error("header value is not valid Base64 between its markers")]
    Base64,
    /// The encoded bytes are not UTF-8.
    #[error("header value does not encode UTF-8")]
    Utf8,
}

/// The text a header value stands for. Whitespace around it is not part of it (RFC 9110 §5.5).
pub fn decode(value: &[u8]) -> Result<Cow<'_, str>, HeaderValueFault> {
    let value = trim(value);
    if !value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
        return Err(HeaderValueFault::Characters);
    }
    let text = std::str::from_utf8(value).map_err(|_| HeaderValueFault::Characters)?;
    if !looks_encoded(text) {
        return Ok(Cow::Borrowed(text));
    }
    // Where the markers share their question mark, readers disagree whether anything is encoded: not Base64.
    let payload = text
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    let bytes = STANDARD
        .decode(payload.ok_or(HeaderValueFault::Base64)?)
        .map_err(|_| HeaderValueFault::Base64)?;
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| HeaderValueFault::Utf8)
}

/// The header value that carries `text`.
pub fn encode(text: &str) -> Cow<'_, str> {
    let visible = text.bytes().all(|b| matches!(b, b' '..=b'~'));
    let padded = text.starts_with(' ') || text.ends_with(' ');
    if visible && !padded && !looks_encoded(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(PREFIX.len() + text.len().div_ceil(3) * 4 + SUFFIX.len());
    out.push_str(PREFIX);
    STANDARD.encode_string(text, &mut out);
    out.push_str(SUFFIX);
    Cow::Owned(out)
}

/// Whether a `Mcp-Param-*` value says what the argument at `value` says: strings by text, booleans by their words,
/// numbers by their worth (`42.0` is `42`), exactly and at any size. False for anything a header cannot mirror:
/// null, objects, arrays, and a header without a text.
pub fn matches_json(header: &[u8], doc: &[u8], value: Span) -> bool {
    let Ok(said) = decode(header) else { return false };
    match json::kind(doc, value) {
        Some(Kind::String) => json::string(doc, value).is_some_and(|text| text == said),
        Some(Kind::True) => said == "true",
        Some(Kind::False) => said == "false",
        Some(Kind::Number) => match (Decimal::read(said.as_bytes()), Decimal::read(value.of(doc))) {
            (Some(said), Some(meant)) => said == meant,
            _ => false,
        },
        Some(Kind::Null | Kind::Object | Kind::Array) | None => false,
    }
}

fn looks_encoded(text: &str) -> bool {
    text.starts_with(PREFIX) && text.ends_with(SUFFIX)
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |last| last + 1);
    &value[start..end]
}

/// A JSON number by its worth: digits without zeros at either end, and the power of ten of the last of them. A
/// detour over `f64` would make 9007199254740993 equal to its neighbour.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn read(text: &[u8]) -> Option<Self> {
        json::check(text, 0).ok()?;
        if !matches!(text.first()?, b'-' | b'0'..=b'9') || !text.last()?.is_ascii_digit() {
            return None;
        }
        let (negative, rest) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let split = rest
            .iter()
            .position(|b| matches!(b, b'e' | b'E'))
            .unwrap_or(rest.len());
        let (mantissa, power) = rest.split_at(split);
        let mut exponent: i64 = match std::str::from_utf8(power.get(1..).unwrap_or_default()).ok()? {
            "" => 0,
            // Beyond an i64 nothing can be told apart honestly; such a number equals none.
            power => power.parse().ok()?,
        };
        let point = mantissa.iter().position(|b| *b == b'.');
        let mut digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
        let fraction = point.map_or(0, |at| mantissa.len() - at - 1);
        exponent = exponent.checked_sub(i64::try_from(fraction).ok()?)?;
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent = exponent.checked_add(1)?;
        }
        let leading = digits.iter().take_while(|d| **d == b'0').count();
        digits.drain(..leading);
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                digits,
                exponent: 0,
            });
        }
        Some(Self {
            negative,
            digits,
            exponent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_hold() {
        for (text, header) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("two words", "two words"),
            ("", ""),
        ] {
            assert_eq!(encode(text), header);
            assert_eq!(decode(header.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn only_the_exact_markers_count() {
        for literal in [
            "=?BASE64?SGk=?=",
            "=?base64?SGk=",
            "SGk=?=",
            "=?Base64?SGk=?=",
            "?base64?SGk=?=",
            "=?=",
        ] {
            assert_eq!(decode(literal.as_bytes()).unwrap(), literal);
            assert_eq!(encode(literal), literal);
        }
        assert_eq!(decode(b"=?base64??=").unwrap(), "");
        assert_eq!(
            decode(b"=?base64?="),
            Err(HeaderValueFault::Base64),
            "one reader's prefix is another's suffix"
        );
        assert_eq!(decode(encode("=?base64?=").as_bytes()).unwrap(), "=?base64?=");
    }

    #[test]
    fn whitespace_around_a_value_does_not_count() {
        assert_eq!(decode(b" \t get_weather\t ").unwrap(), "get_weather");
        assert_eq!(decode(b"  =?base64?IHg=?= ").unwrap(), " x");
        assert_eq!(decode(b" \t").unwrap(), "");
        assert_eq!(decode(b"a\tb").unwrap(), "a\tb");
        assert!(encode("a\tb").starts_with(PREFIX));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert_eq!(decode("é".as_bytes()), Err(HeaderValueFault::Characters));
        assert_eq!(decode(b"a\x7fb"), Err(HeaderValueFault::Characters));
        assert_eq!(decode(b"a\nb"), Err(HeaderValueFault::Characters));
        for bad in ["%%%", "SGk", "SG k=", "SGl=", "=", "SGk=SGk=", "-_-_"] {
            assert_eq!(
                decode(format!("=?base64?{bad}?=").as_bytes()),
                Err(HeaderValueFault::Base64),
                "{bad}"
            );
        }
        assert_eq!(decode(b"=?base64?//4=?="), Err(HeaderValueFault::Utf8));
    }

    fn same(header: &str, json: &str) -> bool {
        matches_json(header.as_bytes(), json.as_bytes(), Span::new(0, json.len()))
    }

    #[test]
    fn headers_agree_with_arguments_by_meaning() {
        assert!(same("us-west1", "\"us-west1\""));
        assert!(same("us-west1", "\"us\\u002dwest1\""));
        assert!(same(&encode("größe"), "\"größe\""));
        assert!(same("true", "true") && same("false", "false") && same(" true ", "true"));
        assert!(!same("True", "true") && !same("1", "true") && !same("false", "true"));
        assert!(same("42", "\"42\""), "the text of a string");
        assert!(!same("42.0", "\"42\""), "but not its worth");
        assert!(!same("null", "null") && !same("", "null") && !same("{}", "{}") && !same("[]", "[]"));
        assert!(!same("é", "\"é\""), "must have been encoded");
        assert!(!same("\u{fffd}", "\"\\ud800\""));
    }

    #[test]
    fn numbers_agree_by_worth_at_any_size() {
        for (header, json) in [
            ("42", "42"),
            ("42.0", "42"),
            ("42", "42.0"),
            ("42", "4.2e1"),
            ("4200e-2", "42"),
            ("-7", "-7.00"),
            ("0", "-0"),
            ("0", "0e99"),
            ("0.00", "0"),
            ("100", "1e2"),
            ("1E+2", "100"),
            ("9007199254740993", "9007199254740993.0"),
            (
                "123456789012345678901234567890",
                "1.2345678901234567890123456789e29",
            ),
        ] {
            assert!(same(header, json), "{header} {json}");
        }
        for (header, json) in [
            ("42", "-42"),
            ("42", "43"),
            ("42", "420"),
            ("9007199254740993", "9007199254740992"),
            ("+42", "42"),
            ("042", "42"),
            ("42 ", "42.1"),
            ("", "0"),
            ("0x2a", "42"),
            ("1e99999999999999999999", "1e99999999999999999999"),
            ("42.", "42"),
            ("true", "1"),
            ("[", "1"),
        ] {
            assert!(!same(header, json), "{header} {json}");
        }
    }
}
