//! JSON strings to text and back.

use super::Span;
use std::borrow::Cow;

/// The text of the quoted string at `span`. `None` when no string stands there, or when it has a lone surrogate,
/// which no Rust string (and no UTF-8) can hold.
pub fn string(doc: &[u8], span: Span) -> Option<Cow<'_, str>> {
    match span.of(doc) {
        [b'"', content @ .., b'"'] => decode(content),
        _ => None,
    }
}

/// The text of a string's content without its quotes, as key spans are. `None` as for [`string`].
pub fn unescape(doc: &[u8], content: Span) -> Option<Cow<'_, str>> {
    decode(content.of(doc))
}

/// Appends `text` as a quoted JSON string: everything that must be escaped is, nothing else.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
            out.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(*byte)]);
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

fn decode(content: &[u8]) -> Option<Cow<'_, str>> {
    let Some(first) = memchr::memchr(b'\\', content) else {
        return std::str::from_utf8(content).ok().map(Cow::Borrowed);
    };
    let mut out = String::with_capacity(content.len());
    let mut rest = content;
    let mut next = Some(first);
    while let Some(at) = next {
        out.push_str(std::str::from_utf8(&rest[..at]).ok()?);
        let (decoded, used) = escape(&rest[at..])?;
        out.push(decoded);
        rest = &rest[at + used..];
        next = memchr::memchr(b'\\', rest);
    }
    out.push_str(std::str::from_utf8(rest).ok()?);
    Some(Cow::Owned(out))
}

/// The character an escape stands for and the bytes it takes.
fn escape(bytes: &[u8]) -> Option<(char, usize)> {
    let simple = match bytes.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let unit = hex(bytes.get(2..6)?)?;
            if let Some(decoded) = char::from_u32(unit) {
                return Some((decoded, 6));
            }
            // Half of a pair: the other half must follow at once (RFC 8259 §7).
            if unit >= 0xdc00 || bytes.get(6..8)? != b"\\u" {
                return None;
            }
            let low = hex(bytes.get(8..12)?)?
                .checked_sub(0xdc00)
                .filter(|low| *low < 0x400)?;
            return char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low).map(|decoded| (decoded, 12));
        }
        _ => return None,
    };
    Some((simple, 2))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |n, d| Some(n << 4 | char::from(*d).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(quoted: &str) -> Option<String> {
        string(quoted.as_bytes(), Span::new(0, quoted.len())).map(Cow::into_owned)
    }

    #[test]
    fn decodes_every_escape() {
        assert_eq!(read(r#""plain \u00e9""#).unwrap(), "plain é");
        assert_eq!(
            read(r#""\"\\\/\b\f\n\r\t\u0000""#).unwrap(),
            "\"\\/\u{8}\u{c}\n\r\t\0"
        );
        assert_eq!(read(r#""\ud83d\ude00!""#).unwrap(), "😀!");
        assert!(matches!(
            string(b"\"as is\"", Span::new(0, 7)),
            Some(Cow::Borrowed("as is"))
        ));
    }

    #[test]
    fn lone_surrogates_have_no_text() {
        for half in [
            r#""\ud800""#,
            r#""\ud800x""#,
            r#""\udc00""#,
            r#""\ud800\ud800""#,
            r#""\ud800\u0041""#,
        ] {
            assert_eq!(read(half), None, "{half}");
        }
        for broken in ["", "\"", "abc", "\"\\", "\"\\\"", r#""\u00"#, r#""\q""#] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let all: String = (0u8..0x80).map(char::from).chain("é\u{2028}😀".chars()).collect();
        let mut out = Vec::new();
        write_string(&mut out, &all);
        assert_eq!(out, serde_json::to_vec(&all).unwrap());
        assert_eq!(string(&out, Span::new(0, out.len())).unwrap(), all);
    }
}
