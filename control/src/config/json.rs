//! JSON with comments and trailing commas → the same tree.
//!
//! Desktop clients write `mcp.json` this way. A parser of our own, because we need the place of every value and
//! every duplicate key, and because YAML's reading of JSON differs in escapes and tabs.

use super::{
    bounds::{DEPTH_MAX, NODES_MAX},
    node::{Entry, Kind, Malformed, Node, Position, Scalar, Value},
};
use std::{iter::Peekable, rc::Rc, str::Chars};

/// Whether the first thing in the text, after comments, is an object.
pub(crate) fn looks_like(text: &str) -> bool {
    let mut parser = Parser::new(text);
    parser.skip_blank().is_ok() && parser.peek() == Some('{')
}

/// Reads one value and nothing after it.
pub(crate) fn parse(text: &str) -> Result<Rc<Node>, Malformed> {
    let mut parser = Parser::new(text);
    parser.skip_blank()?;
    let node = parser.value(0)?;
    parser.skip_blank()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected("after the end of the document")),
    }
}

struct Parser<'t> {
    rest: Peekable<Chars<'t>>,
    at: Position,
    nodes: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            rest: text.chars().peekable(),
            at: Position { line: 1, column: 1 },
            nodes: 0,
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.at = Position {
                line: self.at.line + 1,
                column: 1,
            };
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    fn unexpected(&mut self, whereabouts: &str) -> Malformed {
        match self.peek() {
            // Only signs are quoted: letters could be the beginning of a secret somebody forgot to quote.
            Some(c) if c.is_ascii_punctuation() => {
                Malformed::new(self.at, format!("not JSON: unexpected `{c}` {whereabouts}"))
            }
            Some(_) => Malformed::new(self.at, format!("not JSON: unexpected text {whereabouts}")),
            None => Malformed::new(self.at, "not JSON: the text ends too early"),
        }
    }

    fn skip_blank(&mut self) -> Result<(), Malformed> {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r' | '\n') => {
                    self.next();
                }
                Some('/') => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), Malformed> {
        let begin = self.at;
        self.next();
        match self.next() {
            Some('/') => {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.next();
                }
                Ok(())
            }
            Some('*') => {
                let mut last = ' ';
                while let Some(c) = self.next() {
                    if last == '*' && c == '/' {
                        return Ok(());
                    }
                    last = c;
                }
                Err(Malformed::new(begin, "not JSON: this comment does not end"))
            }
            _ => Err(Malformed::new(begin, "not JSON: unexpected `/`")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Rc<Node>, Malformed> {
        let start = self.at;
        if depth > DEPTH_MAX {
            return Err(Malformed::too_large(
                start,
                format!("nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Malformed::too_large(
                start,
                format!("more than {NODES_MAX} values"),
            ));
        }
        let value = match self.peek() {
            Some('{') => Value::Map(self.object(depth)?),
            Some('[') => Value::List(self.array(depth)?),
            Some('"') => Value::Scalar(Scalar {
                text: self.string()?,
                kind: Kind::Text,
            }),
            Some(c) if c.is_ascii_alphanumeric() || c == '-' => Value::Scalar(self.word()?),
            _ => return Err(self.unexpected("where a value belongs")),
        };
        Ok(Rc::new(Node {
            start,
            end: self.at,
            value,
        }))
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Entry>, Malformed> {
        let mut entries = Vec::new();
        self.next();
        loop {
            self.skip_blank()?;
            match self.peek() {
                Some('}') => {
                    self.next();
                    return Ok(entries);
                }
                Some('"') => {}
                _ => return Err(self.unexpected("where a quoted key belongs")),
            }
            let start = self.at;
            let text = self.string()?;
            let key = Value::Scalar(Scalar {
                text,
                kind: Kind::Text,
            });
            let key = Rc::new(Node {
                start,
                end: self.at,
                value: key,
            });
            self.skip_blank()?;
            if self.peek() != Some(':') {
                return Err(self.unexpected("where `:` belongs"));
            }
            self.next();
            self.skip_blank()?;
            entries.push(Entry {
                key,
                value: self.value(depth + 1)?,
            });
            self.skip_blank()?;
            match self.peek() {
                Some(',') => {
                    self.next();
                }
                Some('}') => {}
                _ => return Err(self.unexpected("where `,` or `}` belongs")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Rc<Node>>, Malformed> {
        let mut items = Vec::new();
        self.next();
        loop {
            self.skip_blank()?;
            if self.peek() == Some(']') {
                self.next();
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            self.skip_blank()?;
            match self.peek() {
                Some(',') => {
                    self.next();
                }
                Some(']') => {}
                _ => return Err(self.unexpected("where `,` or `]` belongs")),
            }
        }
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let begin = self.at;
        self.next();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape(at)?),
                Some('\n') | None => {
                    return Err(Malformed::new(begin, "not JSON: this text has no closing quote"));
                }
                Some(c) if (c as u32) < 0x20 && c != '\t' => {
                    return Err(Malformed::new(
                        at,
                        "not JSON: a control character must be written as an escape",
                    ));
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, at: Position) -> Result<char, Malformed> {
        let bad = || {
            Malformed::new(at, "not JSON: this escape does not exist").hint("write `\\\\` for one backslash")
        };
        Ok(match self.next().ok_or_else(bad)? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.four_digits().ok_or_else(bad)?;
                let code = if (0xD800..0xDC00).contains(&first) {
                    if self.next() != Some('\\') || self.next() != Some('u') {
                        return Err(bad());
                    }
                    let second = self
                        .four_digits()
                        .filter(|low| (0xDC00..0xE000).contains(low))
                        .ok_or_else(bad)?;
                    0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                } else {
                    first
                };
                char::from_u32(code).ok_or_else(bad)?
            }
            _ => return Err(bad()),
        })
    }

    fn four_digits(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |value, _| Some(value * 16 + self.next()?.to_digit(16)?))
    }

    fn word(&mut self) -> Result<Scalar, Malformed> {
        let at = self.at;
        let mut text = String::new();
        while let Some(c) = self
            .peek()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'))
        {
            text.push(c);
            self.next();
        }
        let kind = match text.as_str() {
            "null" => Kind::Null,
            "true" => Kind::Boolean(true),
            "false" => Kind::Boolean(false),
            number if serde_json::from_str::<serde_json::Number>(number).is_ok() => Kind::Number,
            _ => return Err(Malformed::new(at, "not JSON: text must be quoted")),
        };
        Ok(Scalar { text, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_tolerated() {
        let text = "// mine\n{\n  /* two\n lines */ \"a\": [1, 2,], // here\n  \"b\": {\"c\": null,},\n}\n";
        let root = parse(text).unwrap();
        assert_eq!(root.entries().len(), 2);
        assert_eq!(root.entries()[1].key.start, Position { line: 5, column: 3 });
    }

    #[test]
    fn escapes_and_surrogates_are_read() {
        let root = parse(r#"{"a": "x\n\u00e9\ud83d\ude00\/"}"#).unwrap();
        assert_eq!(root.peek("a").unwrap().text(), Some("x\né😀/"));
        assert!(parse(r#"{"a": "\ud83d"}"#).is_err());
        assert!(parse(r#"{"a": "\x"}"#).is_err());
    }

    #[test]
    fn what_is_not_json_says_where() {
        for (text, line, column) in [
            ("{\"a\" 1}", 1, 6),
            ("{\"a\": nope}", 1, 7),
            ("{\n\"a\": \"x\n}", 2, 6),
            ("{\"a\": 01}", 1, 7),
            ("{} {}", 1, 4),
            ("{\"a\": /x}", 1, 7),
            ("{", 1, 2),
        ] {
            let refused = parse(text).unwrap_err();
            assert_eq!(
                (refused.at.line, refused.at.column),
                (line, column),
                "{text}: {refused:?}"
            );
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(&"[".repeat(10_000)).unwrap_err().too_large);
    }

    #[test]
    fn only_an_object_looks_like_a_desktop_file() {
        assert!(looks_like(" // c\n{}"));
        assert!(!looks_like("servers: {}"));
        assert!(!looks_like("# a\nservers: {}"));
    }
}
