//! YAML text → tree.
//!
//! Built on the parser's events rather than on a loader: a loader drops duplicate keys and recurses; we want
//! every key, bounded depth, and a count of values with aliases written out. An alias shares its anchor's node,
//! so the bound is on what a walk would see, not on memory.
//!
//! What YAML offers and we refuse: several documents, tags other than the core schema's, aliases to something
//! unfinished. What we take although YAML 1.2 dropped it: the merge key `<<`, because Compose files taught it.

use super::{
    bounds::{DEPTH_MAX, NODES_MAX},
    node::{Entry, Kind, Malformed, Node, Position, Scalar, Value},
};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use std::{collections::HashMap, rc::Rc};

/// Reads one document. An empty text gives `None`.
pub(crate) fn parse(text: &str) -> Result<Option<Rc<Node>>, Malformed> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(text, position(*error.marker()), error.info()))?;
        builder.event(event, span)?;
    }
    Ok(builder.root)
}

fn syntax(text: &str, at: Position, info: &str) -> Malformed {
    let line = text.lines().nth(at.line.saturating_sub(1) as usize).unwrap_or("");
    let malformed = Malformed::new(at, format!("not YAML: {info}"));
    if line.trim_start_matches(' ').starts_with('\t') {
        return malformed.hint("YAML does not allow tabs for indentation: use spaces");
    }
    let unquoted = line.split_once(": ").map(|(_, value)| value.trim_start());
    match unquoted.and_then(|value| value.chars().next()) {
        Some(sign @ ('@' | '`' | '%' | '*' | '&' | '!')) => {
            malformed.hint(format!("a value that begins with `{sign}` needs quotes"))
        }
        _ => malformed,
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// Finished anchors, with the number of values each stands for.
    anchors: HashMap<usize, (Rc<Node>, usize)>,
    root: Option<Rc<Node>>,
    documents: usize,
    nodes: usize,
}

struct Open {
    start: Position,
    anchor: usize,
    /// The count when this one began, so that its size is known when it ends.
    nodes_before: usize,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map {
        entries: Vec<Entry>,
        key: Option<Rc<Node>>,
    },
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Malformed> {
        let at = position(span.start);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Malformed::new(
                        at,
                        "a second document begins here; one file is one document",
                    )
                    .hint("remove the line `---` or split the file"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let kind = kind(&text, style, tag.as_deref(), at)?;
                let value = Value::Scalar(Scalar {
                    text: text.into_owned(),
                    kind,
                });
                let node = Rc::new(Node {
                    start: at,
                    end: position(span.end),
                    value,
                });
                self.count(1, at)?;
                self.finish(node, anchor, 1, at)?;
            }
            Event::SequenceStart(anchor, tag) => {
                only_core(tag.as_deref(), at)?;
                self.begin(at, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                only_core(tag.as_deref(), at)?;
                self.begin(
                    at,
                    anchor,
                    Content::Map {
                        entries: Vec::new(),
                        key: None,
                    },
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Ok(());
                };
                let value = match open.content {
                    Content::List(items) => Value::List(items),
                    Content::Map { entries, .. } => Value::Map(merge(entries)),
                };
                let size = self.nodes - open.nodes_before;
                let node = Rc::new(Node {
                    start: open.start,
                    end: position(span.end),
                    value,
                });
                self.finish(node, open.anchor, size, at)?;
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).map(|(node, size)| (Rc::clone(node), *size))
                else {
                    return Err(Malformed::new(at, "this alias refers to the value it stands in"));
                };
                self.count(size, at)?;
                self.finish(node, 0, size, at)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, start: Position, anchor: usize, content: Content) -> Result<(), Malformed> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Malformed::too_large(
                start,
                format!("nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        let nodes_before = self.nodes;
        self.count(1, start)?;
        self.open.push(Open {
            start,
            anchor,
            nodes_before,
            content,
        });
        Ok(())
    }

    fn count(&mut self, size: usize, at: Position) -> Result<(), Malformed> {
        self.nodes = self.nodes.saturating_add(size);
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} values once every alias is written out");
            return Err(Malformed::too_large(at, message));
        }
        Ok(())
    }

    fn finish(&mut self, node: Rc<Node>, anchor: usize, size: usize, at: Position) -> Result<(), Malformed> {
        if anchor > 0 {
            self.anchors.insert(anchor, (Rc::clone(&node), size));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None if self.root.is_some() => {
                return Err(Malformed::new(at, "text after the end of the document"));
            }
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push(Entry { key, value: node }),
            },
        }
        Ok(())
    }
}

/// Writes out `<<: *anchor` and `<<: [*a, *b]`: a merged key never replaces one that stands in the map itself.
fn merge(entries: Vec<Entry>) -> Vec<Entry> {
    let is_merge = |entry: &Entry| {
        entry.key.text() == Some("<<")
            && match &entry.value.value {
                Value::Map(_) => true,
                Value::List(items) => items.iter().all(|item| matches!(item.value, Value::Map(_))),
                Value::Scalar(_) => false,
            }
    };
    if !entries.iter().any(is_merge) {
        return entries;
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_merge);
    for source in &merges {
        let maps: &[Rc<Node>] = match &source.value.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(&source.value),
        };
        for entry in maps.iter().flat_map(|map| map.entries()) {
            let name = entry.key.text();
            if name.is_none() || !own.iter().any(|present| present.key.text() == name) {
                own.push(Entry {
                    key: Rc::clone(&entry.key),
                    value: Rc::clone(&entry.value),
                });
            }
        }
    }
    own
}

fn only_core(tag: Option<&Tag>, at: Position) -> Result<(), Malformed> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(Malformed::new(at, "tags (`!…`) have no meaning in this file")
                .hint("quote the value or remove the tag"))
        }
        _ => Ok(()),
    }
}

fn kind(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Result<Kind, Malformed> {
    if style != ScalarStyle::Plain {
        return only_core(tag, at).map(|()| Kind::Text);
    }
    match tag {
        None => Ok(core_schema(text)),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(Kind::Text),
        Some(_) => only_core(tag, at).map(|()| core_schema(text)),
    }
}

/// YAML 1.2.2, section 10.3.2: what a plain scalar is.
fn core_schema(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Boolean(true),
        "false" | "False" | "FALSE" => Kind::Boolean(false),
        _ if is_number(text) => Kind::Number,
        _ => Kind::Text,
    }
}

/// Whether a text can stand without quotes and stay text.
pub(crate) fn plain_is_text(text: &str) -> bool {
    core_schema(text) == Kind::Text
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all =
        |digits: &str, allowed: fn(&char) -> bool| !digits.is_empty() && digits.chars().all(|c| allowed(&c));
    if let Some(octal) = text.strip_prefix("0o") {
        return all(octal, |c| ('0'..='7').contains(c));
    }
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        return all(hexadecimal, char::is_ascii_hexdigit);
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    if exponent.is_some_and(|digits| !all(digits, char::is_ascii_digit)) {
        return false;
    }
    match mantissa.split_once('.') {
        None => all(mantissa, char::is_ascii_digit),
        Some(("", fraction)) => all(fraction, char::is_ascii_digit),
        Some((whole, fraction)) => {
            all(whole, char::is_ascii_digit) && fraction.chars().all(|c| c.is_ascii_digit())
        }
    }
}

fn position(marker: Marker) -> Position {
    Position {
        line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
        column: u32::try_from(marker.col()).unwrap_or(u32::MAX - 1) + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Rc<Node> {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn places_are_counted_from_one() {
        let root = read("a: 1\nlonger:\n  b: x\n");
        let entries = root.entries();
        assert_eq!(entries[0].value.start, Position { line: 1, column: 4 });
        let inner = &entries[1].value.entries()[0];
        assert_eq!(inner.key.start, Position { line: 3, column: 3 });
        assert_eq!(inner.value.end, Position { line: 3, column: 7 });
    }

    #[test]
    fn duplicate_keys_survive_for_the_reader_to_report() {
        assert_eq!(read("a: 1\na: 2\n").entries().len(), 2);
    }

    #[test]
    fn plain_scalars_follow_the_core_schema_of_1_2() {
        for (text, kind) in [
            ("yes", Kind::Text),
            ("off", Kind::Text),
            ("1.10", Kind::Number),
            ("2026.8.31", Kind::Text),
            ("0x1F", Kind::Number),
            ("1e3", Kind::Number),
            ("12:30", Kind::Text),
            ("1_000", Kind::Text),
            ("-", Kind::Text),
            (".", Kind::Text),
            ("TRUE", Kind::Boolean(true)),
            ("~", Kind::Null),
        ] {
            assert_eq!(core_schema(text), kind, "{text}");
        }
    }

    #[test]
    fn billion_laughs_are_refused_early() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let refused = parse(&text).unwrap_err();
        assert!(refused.too_large, "{refused:?}");
    }

    #[test]
    fn depth_is_bounded_in_both_styles() {
        let flow = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
        assert!(parse(&flow).unwrap_err().too_large);
        let block: String = (0..200)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect();
        assert!(parse(&block).unwrap_err().too_large);
    }

    #[test]
    fn an_alias_to_its_own_parent_is_refused() {
        assert!(parse("a: &a [*a]\n").is_err());
    }

    #[test]
    fn merge_keys_fill_in_and_never_replace() {
        let root = read("base: &base {x: 1, y: 2}\nown: {<<: *base, y: 3}\n");
        let own = root.peek("own").unwrap();
        assert_eq!(own.entries().len(), 2);
        let Value::Scalar(y) = &own.peek("y").unwrap().value else {
            panic!("y is a scalar")
        };
        assert_eq!(y.text, "3");
    }

    #[test]
    fn tags_and_second_documents_are_refused() {
        assert!(parse("a: !secret x\n").is_err());
        assert!(parse("a: 1\n---\nb: 2\n").is_err());
        assert!(matches!(
            read("a: !!str 1\n").peek("a").unwrap().text(),
            Some("1")
        ));
    }

    #[test]
    fn tabs_get_a_hint() {
        let refused = parse("a:\n\tb: 1\n").unwrap_err();
        assert!(refused.hint.unwrap().contains("tabs"));
    }
}
