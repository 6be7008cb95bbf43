//! Walking a checked document without a tree, for everything that is not the hot pass.

use super::{Cursor, Span, unescape};

/// The members of an object, in order: key (without quotes, escapes as written) and value.
pub fn members(doc: &[u8], object: Span) -> Members<'_> {
    Members {
        cursor: enter(doc, object, b'{'),
    }
}

/// The elements of an array, in order.
pub fn elements(doc: &[u8], array: Span) -> Elements<'_> {
    Elements {
        cursor: enter(doc, array, b'['),
    }
}

/// The value under `key`, escapes in keys decoded. Of several equal keys the **last**, as JavaScript, Python and
/// serde's `Value` read it; where a first-wins reader could be listening, refuse duplicates instead of asking here.
pub fn member(doc: &[u8], object: Span, key: &str) -> Option<Span> {
    members(doc, object)
        .filter(|(k, _)| same(doc, *k, key))
        .map(|(_, value)| value)
        .last()
}

/// The value reached from `root` by one member name after the other.
pub fn path(doc: &[u8], root: Span, keys: &[&str]) -> Option<Span> {
    keys.iter().try_fold(root, |at, key| member(doc, at, key))
}

/// Whether the key written at `span` means `key`.
pub(super) fn same(doc: &[u8], span: Span, key: &str) -> bool {
    let raw = span.of(doc);
    // Raw bytes may only be compared when they are the text: `a\\b` as written is not the key `a\\b`.
    if raw.contains(&b'\\') {
        unescape(doc, span).is_some_and(|k| k == key)
    } else {
        raw == key.as_bytes()
    }
}

/// See [`members`].
pub struct Members<'d> {
    /// Before the next key; `None` once there is none.
    cursor: Option<Cursor<'d>>,
}

/// See [`elements`].
pub struct Elements<'d> {
    /// Before the next element; `None` once there is none.
    cursor: Option<Cursor<'d>>,
}

impl Iterator for Members<'_> {
    type Item = (Span, Span);

    fn next(&mut self) -> Option<Self::Item> {
        let mut cursor = self.cursor.take()?;
        let key = cursor.key().ok()?.content;
        let value = cursor.skip(0).ok()?;
        self.cursor = onward(cursor);
        Some((key, value))
    }
}

impl Iterator for Elements<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Self::Item> {
        let mut cursor = self.cursor.take()?;
        let value = cursor.skip(0).ok()?;
        self.cursor = onward(cursor);
        Some(value)
    }
}

/// Passes the opening bracket; `None` when it is another one, or the container is empty.
fn enter(doc: &[u8], span: Span, opening: u8) -> Option<Cursor<'_>> {
    let mut cursor = Cursor::within(doc, span);
    if cursor.peek() != opening {
        return None;
    }
    cursor.step();
    cursor.space();
    (!matches!(cursor.peek(), b'}' | b']')).then_some(cursor)
}

/// Passes the comma behind a value; `None` when something else stands there.
fn onward(mut cursor: Cursor<'_>) -> Option<Cursor<'_>> {
    cursor.space();
    if cursor.peek() != b',' {
        return None;
    }
    cursor.step();
    cursor.space();
    Some(cursor)
}

#[cfg(test)]
mod tests {
    use super::super::{root, string};
    use super::*;

    #[test]
    fn walks_members_and_elements_in_order() {
        let doc = br#" { "a" : [ 1 , {"x":"]"} ,[] ] ,"\u0062":{}, "c":null } "#;
        let all: Vec<_> = members(doc, root(doc))
            .map(|(k, v)| (k.of(doc), v.of(doc)))
            .collect();
        assert_eq!(
            all,
            [
                (&b"a"[..], &br#"[ 1 , {"x":"]"} ,[] ]"#[..]),
                (&br"\u0062"[..], &b"{}"[..]),
                (&b"c"[..], &b"null"[..])
            ]
        );
        let a = member(doc, root(doc), "a").unwrap();
        let each: Vec<_> = elements(doc, a).map(|v| v.of(doc)).collect();
        assert_eq!(each, [&b"1"[..], br#"{"x":"]"}"#, b"[]"]);
        assert_eq!(elements(doc, root(doc)).count(), 0, "an object has no elements");
        assert_eq!(members(doc, a).count(), 0, "an array has no members");
    }

    #[test]
    fn finds_keys_by_meaning_and_takes_the_last() {
        let doc = br#"{"k":1,"\u006b":2,"K":3}"#;
        assert_eq!(member(doc, root(doc), "k").unwrap().of(doc), b"2");
        assert_eq!(member(doc, root(doc), "nope"), None);
        // Written `a\\b` it means `a\b`, and only that.
        let doc = br#"{"a\\b":1}"#;
        assert_eq!(member(doc, root(doc), r"a\b").map(|v| v.of(doc)), Some(&b"1"[..]));
        assert_eq!(member(doc, root(doc), r"a\\b"), None);
        let doc = br#"{"a":{"b":[]},"a":{"b":"deep"}}"#;
        let found = path(doc, root(doc), &["a", "b"]).unwrap();
        assert_eq!(string(doc, found).unwrap(), "deep");
        assert_eq!(path(doc, root(doc), &["a", "b", "c"]), None);
        assert_eq!(path(doc, root(doc), &[]), Some(root(doc)));
    }

    #[test]
    fn unchecked_bytes_end_the_walk_quietly() {
        for doc in [
            &b"{\"a\":1"[..],
            b"{\"a\"",
            b"{",
            b"[1,",
            b"",
            b"{\"a\":1,\"b\":}",
        ] {
            let span = Span::new(0, doc.len());
            assert!(members(doc, span).count() <= 1 && elements(doc, span).count() <= 1);
        }
        assert_eq!(members(b"{}", Span { start: 40, end: 50 }).count(), 0);
        assert_eq!(members(b"{}", Span { start: 1, end: 0 }).count(), 0);
    }
}
