//! Edits over the original bytes: a forwarded message keeps every byte that nobody asked to change.
//!
//! Two kinds of edit, in any order and mixture. By offset: [`Splice::replace`], [`Splice::insert`]. By member:
//! [`Splice::set_member`], [`Splice::remove_member`]; these are only noted, and [`Splice::finish`] turns all those
//! of one object into offset edits at once, because where the commas go depends on what else was removed or added.
//!
//! After `set_member` or `remove_member` no duplicate of that key is left in the object, so that readers which take
//! the first, the last, or refuse duplicates all see the same.

use super::{Span, kind, members, walk::same, write_string};
use crate::json::Kind;
use std::{borrow::Cow, fmt};

/// A set of edits to one document. The document must have been checked; new bytes are taken as they are, so the
/// result is JSON if each of them is.
#[derive(Clone, Debug)]
pub struct Splice<'e> {
    doc: &'e [u8],
    edits: Vec<Edit<'e>>,
    changes: Vec<Change<'e>>,
}

/// The edits contradict each other or the document: a mistake of the program, not of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpliceFault {
    /// Two edits touch the same byte; the offset is where the later one begins.
    Overlap(u32),
    /// An edit reaches beyond the document.
    Outside(u32),
    /// A member was to be changed where no object stands.
    NotObject(u32),
}

impl fmt::Display for SpliceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap(at) => write!(f, "edits overlap at byte {at}"),
            Self::Outside(at) => write!(f, "edit at byte {at} reaches beyond the document"),
            Self::NotObject(at) => write!(f, "no object at byte {at} to change a member of"),
        }
    }
}

impl std::error::Error for SpliceFault {}

/// Replace `span` (empty: insert there) by `with`.
#[derive(Clone, Debug)]
struct Edit<'e> {
    span: Span,
    with: Cow<'e, [u8]>,
}

/// Give `key` of `object` a value, or remove it.
#[derive(Clone, Debug)]
struct Change<'e> {
    object: Span,
    key: Cow<'e, str>,
    value: Option<Cow<'e, [u8]>>,
}

impl<'e> Splice<'e> {
    /// No edits yet.
    pub fn new(doc: &'e [u8]) -> Self {
        Self {
            doc,
            edits: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Puts `bytes` where `span` was.
    pub fn replace(&mut self, span: Span, bytes: impl Into<Cow<'e, [u8]>>) -> &mut Self {
        self.edits.push(Edit {
            span,
            with: bytes.into(),
        });
        self
    }

    /// Puts `bytes` before the byte at `at`. Several insertions at one place stand in the order they were made.
    pub fn insert(&mut self, at: u32, bytes: impl Into<Cow<'e, [u8]>>) -> &mut Self {
        self.replace(Span { start: at, end: at }, bytes)
    }

    /// Makes `value` (JSON text) the value of `key`, replacing what is there or adding the member at the end. Of
    /// several changes to one key the last holds.
    pub fn set_member(
        &mut self,
        object: Span,
        key: impl Into<Cow<'e, str>>,
        value: impl Into<Cow<'e, [u8]>>,
    ) -> &mut Self {
        self.changes.push(Change {
            object,
            key: key.into(),
            value: Some(value.into()),
        });
        self
    }

    /// Removes `key`, if it is there, with its comma.
    pub fn remove_member(&mut self, object: Span, key: impl Into<Cow<'e, str>>) -> &mut Self {
        self.changes.push(Change {
            object,
            key: key.into(),
            value: None,
        });
        self
    }

    /// True when nothing was asked for; the document can then be used as it is.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.changes.is_empty()
    }

    /// The edited document.
    pub fn finish(self) -> Result<Vec<u8>, SpliceFault> {
        let Self {
            doc,
            mut edits,
            mut changes,
        } = self;
        // Stable: the changes of one object stay in the order they were made.
        changes.sort_by_key(|change| (change.object.start, change.object.end));
        for of_one_object in changes.chunk_by(|a, b| a.object == b.object) {
            resolve(doc, of_one_object, &mut edits)?;
        }
        // Insertions at an offset go before a replacement that begins there, and otherwise keep their order.
        edits.sort_by_key(|edit| (edit.span.start, !edit.span.is_empty()));

        let grown: usize = edits.iter().map(|edit| edit.with.len()).sum();
        let mut out = Vec::with_capacity(doc.len() + grown);
        let mut done = 0;
        for edit in &edits {
            let Span { start, end } = edit.span;
            if start < done {
                return Err(SpliceFault::Overlap(start));
            }
            if end < start || end as usize > doc.len() {
                return Err(SpliceFault::Outside(start));
            }
            out.extend_from_slice(
                Span {
                    start: done,
                    end: start,
                }
                .of(doc),
            );
            out.extend_from_slice(&edit.with);
            done = end;
        }
        out.extend_from_slice(doc.get(done as usize..).unwrap_or_default());
        Ok(out)
    }
}

/// Turns the changes of one object into edits.
fn resolve<'e>(doc: &'e [u8], changes: &[Change<'e>], edits: &mut Vec<Edit<'e>>) -> Result<(), SpliceFault> {
    let Some(object) = changes.first().map(|change| change.object) else {
        return Ok(());
    };
    if kind(doc, object) != Some(Kind::Object) {
        return Err(SpliceFault::NotObject(object.start));
    }
    let list: Vec<(Span, Span)> = members(doc, object).collect();
    let mut kept = vec![true; list.len()];
    let mut added: Vec<&Change<'e>> = Vec::new();

    for (n, change) in changes.iter().enumerate() {
        if changes[n + 1..].iter().any(|later| later.key == change.key) {
            continue;
        }
        let mut place = None;
        for (i, (key, value)) in list.iter().enumerate() {
            if same(doc, *key, &change.key) {
                kept[i] = false;
                place = Some((i, *value));
            }
        }
        match (&change.value, place) {
            (Some(with), Some((i, span))) => {
                kept[i] = true;
                edits.push(Edit {
                    span,
                    with: with.clone(),
                });
            }
            (Some(_), None) => added.push(change),
            (None, _) => {}
        }
    }

    // A run of removed members takes the comma before it; a run at the front takes the one behind it.
    let quoted_start = |i: usize| list.get(i).map(|(key, _)| key.start - 1);
    let mut i = 0;
    let mut before: Option<u32> = None;
    while i < list.len() {
        if kept[i] {
            before = Some(list[i].1.end);
            i += 1;
            continue;
        }
        let first = i;
        while i < list.len() && !kept[i] {
            i += 1;
        }
        let run_end = list[i - 1].1.end;
        let span = match (before, quoted_start(first), quoted_start(i)) {
            (Some(start), _, _) => Span { start, end: run_end },
            (None, Some(start), Some(end)) => Span { start, end },
            (None, Some(start), None) => Span { start, end: run_end },
            (None, None, _) => continue,
        };
        edits.push(Edit {
            span,
            with: Cow::Borrowed(b""),
        });
    }

    if !added.is_empty() {
        let at = before.unwrap_or(object.start + 1);
        let mut text = Vec::new();
        for change in added {
            if before.is_some() || !text.is_empty() {
                text.push(b',');
            }
            write_string(&mut text, &change.key);
            text.push(b':');
            text.extend_from_slice(change.value.as_deref().unwrap_or_default());
        }
        edits.push(Edit {
            span: Span { start: at, end: at },
            with: Cow::Owned(text),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{member, root};
    use super::*;

    fn text(splice: Splice<'_>) -> String {
        String::from_utf8(splice.finish().unwrap()).unwrap()
    }

    #[test]
    fn an_untouched_document_stays_byte_for_byte() {
        let doc = b" { \"a\" : 1 } ";
        let splice = Splice::new(doc);
        assert!(splice.is_empty());
        assert_eq!(splice.finish().unwrap(), doc);
    }

    #[test]
    fn a_value_is_replaced_or_added() {
        let set = |doc: &str| {
            let mut splice = Splice::new(doc.as_bytes());
            splice.set_member(root(doc.as_bytes()), "k", b"9");
            text(splice)
        };
        assert_eq!(set("{}"), r#"{"k":9}"#);
        assert_eq!(set("{ \n}"), "{\"k\":9 \n}");
        assert_eq!(set(r#"{"a":1}"#), r#"{"a":1,"k":9}"#);
        assert_eq!(set(r#"{"a":1 }"#), r#"{"a":1,"k":9 }"#);
        assert_eq!(set(r#"{ "k" : {"x":[1]} , "a":2}"#), r#"{ "k" : 9 , "a":2}"#);
        assert_eq!(set(r#"{"\u006b":1}"#), r#"{"\u006b":9}"#);
        assert_eq!(
            set(r#"{"k":1,"b":2,"k":3}"#),
            r#"{"b":2,"k":9}"#,
            "one reader's key, everybody's value"
        );
    }

    #[test]
    fn removal_takes_the_right_comma() {
        let without = |doc: &str, keys: &[&'static str]| {
            let mut splice = Splice::new(doc.as_bytes());
            for key in keys {
                splice.remove_member(root(doc.as_bytes()), *key);
            }
            text(splice)
        };
        let doc = r#"{"a":1, "b":2 ,"c":3}"#;
        assert_eq!(without(doc, &["a"]), r#"{"b":2 ,"c":3}"#);
        assert_eq!(without(doc, &["b"]), r#"{"a":1 ,"c":3}"#);
        assert_eq!(without(doc, &["c"]), r#"{"a":1, "b":2}"#);
        assert_eq!(without(doc, &["a", "b"]), r#"{"c":3}"#);
        assert_eq!(without(doc, &["c", "b"]), r#"{"a":1}"#);
        assert_eq!(without(doc, &["a", "c"]), r#"{"b":2}"#);
        assert_eq!(without(doc, &["c", "a", "b"]), "{}");
        assert_eq!(without(doc, &["zzz"]), doc);
        assert_eq!(without("{}", &["a"]), "{}");
        assert_eq!(without(r#"{"a":1,"a":2}"#, &["a"]), "{}");
    }

    #[test]
    fn many_changes_to_one_object_agree_on_commas() {
        let doc = br#"{"a":1,"b":2}"#;
        let all = root(doc);
        let mut splice = Splice::new(doc);
        splice
            .remove_member(all, "a")
            .remove_member(all, "b")
            .set_member(all, "x", b"1")
            .set_member(all, "y", b"2");
        assert_eq!(text(splice), r#"{"x":1,"y":2}"#);

        let mut splice = Splice::new(doc);
        splice
            .set_member(all, "x", b"1")
            .remove_member(all, "b")
            .set_member(all, "a", b"0")
            .set_member(all, "x", b"7");
        assert_eq!(text(splice), r#"{"a":0,"x":7}"#);

        let mut splice = Splice::new(doc);
        splice
            .set_member(all, "a", b"5")
            .remove_member(all, "a")
            .set_member(all, "q\"", b"[]");
        assert_eq!(text(splice), r#"{"b":2,"q\"":[]}"#);
    }

    #[test]
    fn offset_edits_come_in_any_order() {
        let doc = b"0123456789";
        let mut splice = Splice::new(doc);
        splice
            .replace(Span { start: 8, end: 9 }, b"H")
            .insert(2, b"a")
            .insert(10, b"z")
            .insert(2, b"b");
        splice
            .replace(Span { start: 2, end: 4 }, b"")
            .insert(8, b"-")
            .insert(0, b"<");
        assert_eq!(text(splice), "<01ab4567-H9z");
    }

    #[test]
    fn nested_objects_can_be_changed_together() {
        let doc = br#"{"params":{"name":"a","_meta":{}},"id":1}"#;
        let params = member(doc, root(doc), "params").unwrap();
        let meta = member(doc, params, "_meta").unwrap();
        let mut splice = Splice::new(doc);
        splice
            .set_member(root(doc), "id", b"\"x\"")
            .set_member(meta, "progressToken", b"3");
        splice
            .set_member(params, "name", b"\"b\"")
            .remove_member(root(doc), "nothing");
        assert_eq!(
            text(splice),
            r#"{"params":{"name":"b","_meta":{"progressToken":3}},"id":"x"}"#
        );
    }

    #[test]
    fn contradictions_are_errors() {
        let doc = br#"{"a":{"b":1}}"#;
        let inner = member(doc, root(doc), "a").unwrap();
        let mut splice = Splice::new(doc);
        splice
            .set_member(root(doc), "a", b"1")
            .set_member(inner, "b", b"2");
        assert!(matches!(splice.finish(), Err(SpliceFault::Overlap(_))));

        let mut splice = Splice::new(doc);
        splice.replace(Span { start: 0, end: 4 }, b"").insert(2, b"x");
        assert_eq!(splice.finish(), Err(SpliceFault::Overlap(2)));

        let mut splice = Splice::new(doc);
        splice.replace(Span { start: 5, end: 400 }, b"");
        assert_eq!(splice.finish(), Err(SpliceFault::Outside(5)));

        let mut splice = Splice::new(doc);
        splice.insert(400, b"x");
        assert_eq!(splice.finish(), Err(SpliceFault::Outside(400)));

        let mut splice = Splice::new(doc);
        splice.remove_member(Span { start: 1, end: 4 }, "a");
        assert_eq!(splice.finish(), Err(SpliceFault::NotObject(1)));
    }
}
