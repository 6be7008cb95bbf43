//! JSON without a tree: is this document well formed, and where in it does a value stand?
//!
//! The gateway reads a few fields and forwards everything else byte for byte, so no tree is ever built. [`check`]
//! validates a whole document once (UTF-8, RFC 8259 grammar, depth, nothing behind it); after that the walkers
//! ([`members`], [`elements`], [`member`], [`path`]) answer with [`Span`]s of the same bytes, and [`Splice`]
//! makes edits that leave every byte it was not asked about alone. `rpc::scan` is the hot-path sibling of `check`:
//! the same [`cursor`], one pass, envelope fields noted on the way.
//!
//! The walkers trust that the document was checked. Given one that was not, or a span of something else, they
//! stop early or answer `None`; they never panic.

mod cursor;
mod splice;
mod text;
mod walk;

pub(crate) use cursor::{Cursor, Text};
pub use splice::{Splice, SpliceFault};
pub use text::{string, unescape, write_string};
pub use walk::{Elements, Members, elements, member, members, path};

use std::{fmt, ops::Range};

/// Deepest nesting any reader here follows. Real tool arguments stay below 20; serde_json and simd-json give up
/// at about 128 too, so a deeper document would be read by some upstreams and refused by others.
pub const DEPTH_MAX: u32 = 128;

/// Where a value stands: a half-open range of byte offsets into its document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A span over `range`. Offsets beyond `u32` saturate, and then address nothing.
    pub fn new(start: usize, end: usize) -> Self {
        Self {
            start: narrow(start),
            end: narrow(end),
        }
    }

    /// The bytes this span covers; empty when it does not lie within `doc`.
    #[inline]
    pub fn of(self, doc: &[u8]) -> &[u8] {
        doc.get(self.range()).unwrap_or_default()
    }

    /// Number of bytes.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// True when it covers no byte.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// As a range, for slicing.
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// A quoted string's span without its quotes.
    pub fn unquoted(self) -> Self {
        if self.len() < 2 {
            self
        } else {
            Self {
                start: self.start + 1,
                end: self.end - 1,
            }
        }
    }
}

/// The six JSON types, `true` and `false` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the types")]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

/// The type of the value at `span`, told by its first byte; `None` when no value can begin so.
pub fn kind(doc: &[u8], span: Span) -> Option<Kind> {
    span.of(doc).first().and_then(|first| Kind::from_first(*first))
}

impl Kind {
    pub(crate) fn from_first(first: u8) -> Option<Self> {
        Some(match first {
            b'{' => Self::Object,
            b'[' => Self::Array,
            b'"' => Self::String,
            b'-' | b'0'..=b'9' => Self::Number,
            b't' => Self::True,
            b'f' => Self::False,
            b'n' => Self::Null,
            _ => return None,
        })
    }
}

/// Why a document is not JSON we accept, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Offset of the offending byte (or of the document's end).
    pub at: u32,
    /// What is wrong there.
    pub what: What,
}

/// The ways a document can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Longer than a `u32` can address.
    TooLong,
    /// Not UTF-8 (RFC 8259 §8.1).
    Utf8,
    /// Begins with a byte order mark, which some readers drop and some refuse.
    ByteOrderMark,
    /// Ends in the middle of a value.
    End,
    /// A byte that cannot stand here.
    Unexpected,
    /// A raw control character inside a string.
    Control,
    /// An escape that RFC 8259 does not know.
    Escape,
    /// A number with a leading zero, no digits, or a bare sign.
    Number,
    /// Containers nested deeper than allowed.
    Depth,
    /// Something other than whitespace after the value.
    Trailing,
}

impl Fault {
    pub(crate) fn new(at: u32, what: What) -> Self {
        Self { at, what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::TooLong => "document too long",
            What::Utf8 => "not UTF-8",
            What::ByteOrderMark => "byte order mark",
            What::End => "document ends too early",
            What::Unexpected => "unexpected byte",
            What::Control => "control character inside a string",
            What::Escape => "bad escape",
            What::Number => "bad number",
            What::Depth => "nested too deep",
            What::Trailing => "bytes after the document",
        };
        write!(f, "{what} at byte {}", self.at)
    }
}

impl std::error::Error for Fault {}

/// Checks a whole document: UTF-8, RFC 8259 grammar, at most `depth_max` containers inside each other (never
/// more than [`DEPTH_MAX`]), no byte order mark, nothing but whitespace around the one value.
pub fn check(doc: &[u8], depth_max: u32) -> Result<(), Fault> {
    let mut cursor = Cursor::open(doc, depth_max)?;
    cursor.space();
    cursor.skip(0)?;
    cursor.finish()
}

/// The span of the one value in a checked document, without the whitespace around it.
pub fn root(doc: &[u8]) -> Span {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
    let start = doc.iter().position(|b| !blank(b)).unwrap_or(doc.len());
    let end = doc.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    Span::new(start, end)
}

#[inline]
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(doc: &[u8], what: What, at: u32) {
        assert_eq!(
            check(doc, DEPTH_MAX),
            Err(Fault { at, what }),
            "{:?}",
            String::from_utf8_lossy(doc)
        );
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        refuses(b"", What::End, 0);
        refuses(b"  ", What::End, 2);
        refuses(b"\xef\xbb\xbf{}", What::ByteOrderMark, 0);
        refuses(b"[\"a\xff\"]", What::Utf8, 3);
        refuses(b"{\"a\":1,}", What::Unexpected, 7);
        refuses(b"[1,]", What::Unexpected, 3);
        refuses(b"[1 2]", What::Unexpected, 3);
        refuses(b"{\"a\" 1}", What::Unexpected, 5);
        refuses(b"[}", What::Unexpected, 1);
        refuses(b"[1}", What::Unexpected, 2);
        refuses(b"{1:2}", What::Unexpected, 1);
        refuses(b"\"a\nb\"", What::Control, 2);
        refuses(b"\"a\0b\"", What::Control, 2);
        refuses(b"\"\\x\"", What::Escape, 1);
        refuses(b"\"\\u12g4\"", What::Escape, 1);
        refuses(b"\"\\u12", What::Escape, 1);
        refuses(b"\"abc", What::End, 4);
        refuses(b"\"abc\\", What::Escape, 4);
        refuses(b"[01]", What::Unexpected, 2);
        refuses(b"-", What::Number, 0);
        refuses(b"[1.]", What::Number, 1);
        refuses(b"[1e+]", What::Number, 1);
        refuses(b"[.5]", What::Unexpected, 1);
        refuses(b"NaN", What::Unexpected, 0);
        refuses(b"tru", What::Unexpected, 0);
        refuses(b"{} {}", What::Trailing, 3);
        refuses(b"1x", What::Trailing, 1);
        refuses(b"[1] // no", What::Trailing, 4);
        refuses(b"\x0b1", What::Unexpected, 0);
        let said = check(b"[1,]", DEPTH_MAX).unwrap_err().to_string();
        assert_eq!(said, "unexpected byte at byte 3");
    }

    #[test]
    fn accepts_whatever_rfc_8259_accepts() {
        for doc in [
            "0",
            "-0",
            "-0.0e-0",
            "1E+9",
            "1e999",
            "\"\"",
            "\" \\u0000\\ud800\\/\"",
            "true",
            "false",
            "null",
            "{}",
            "[]",
            " [ ] ",
            "\t{ \"\" : [ { } , 1 ] }\r\n",
            "{\"a\":1,\"a\":2}",
            "\"\u{fffd}\u{10ffff}\u{7f}\"",
        ] {
            assert_eq!(check(doc.as_bytes(), DEPTH_MAX), Ok(()), "{doc}");
        }
    }

    #[test]
    fn depth_counts_open_containers() {
        let nest = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        assert_eq!(check(&nest(128), DEPTH_MAX), Ok(()));
        refuses(&nest(129), What::Depth, 128);
        refuses(&nest(100_000), What::Depth, 128);
        // Asking for more than the machine holds is the same as asking for DEPTH_MAX.
        assert_eq!(
            check(&nest(129), u32::MAX),
            Err(Fault {
                at: 128,
                what: What::Depth
            })
        );
        assert_eq!(
            check(&nest(3), 2),
            Err(Fault {
                at: 2,
                what: What::Depth
            })
        );
        assert_eq!(check(b"1", 0), Ok(()));
    }

    #[test]
    fn strings_of_every_length_end_where_they_end() {
        // The word and chunk loops hand over at 8, 32 and 64 bytes; walk past all of them.
        for n in 0..200 {
            let body = "x".repeat(n);
            assert_eq!(check(format!("\"{body}\"").as_bytes(), 1), Ok(()));
            refuses(format!("\"{body}").as_bytes(), What::End, n as u32 + 1);
            refuses(
                format!("\"{body}\u{1f}\"").as_bytes(),
                What::Control,
                n as u32 + 1,
            );
            assert_eq!(
                check(format!("[\"{body}\\\\\",\"{body}\\\"\u{e9}\"]").as_bytes(), 1),
                Ok(())
            );
        }
    }

    #[test]
    fn a_span_outside_its_document_covers_nothing() {
        assert_eq!(Span { start: 3, end: 9 }.of(b"abc"), b"");
        assert_eq!(Span { start: 2, end: 1 }.of(b"abc"), b"");
        assert_eq!(kind(b"abc", Span { start: 7, end: 8 }), None);
        assert_eq!(root(b"  [1]\n"), Span { start: 2, end: 5 });
        assert_eq!(root(b"  "), Span { start: 2, end: 2 });
    }
}
