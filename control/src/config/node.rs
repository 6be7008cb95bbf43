//! The tree both syntaxes are read into: values with their places, maps with their keys as written.
//!
//! Nothing is decided here. A map keeps duplicate and odd keys so that the reader can report every one of them
//! with its place; a scalar keeps its text so that `version: 1.10` is not turned into `1.1`.

use std::rc::Rc;

/// A place: line from 1, column in characters from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// One value.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it begins.
    pub start: Position,
    /// Where it ends, exclusive.
    pub end: Position,
    pub value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub key: Rc<Node>,
    pub value: Rc<Node>,
}

/// A scalar: its text, and what the YAML core schema (or JSON) takes it for.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub text: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean(bool),
    Number,
    Text,
}

impl Node {
    /// What it is, for a message.
    pub fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Null => "nothing",
                Kind::Boolean(_) => "true or false",
                Kind::Number => "a number",
                Kind::Text => "text",
            },
        }
    }

    /// The value of a key in a map, first wins; for looking ahead, never for reading.
    pub fn peek(&self, key: &str) -> Option<&Rc<Node>> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .find(|entry| entry.key.text() == Some(key))
            .map(|entry| &entry.value)
    }

    /// The text of a scalar that is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(Scalar {
                text,
                kind: Kind::Text,
            }) => Some(text),
            _ => None,
        }
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }
}

/// Why a text could not become a tree. Always the one reason: after it nothing can be trusted.
#[derive(Debug)]
pub(crate) struct Malformed {
    pub at: Position,
    pub too_large: bool,
    pub message: String,
    pub hint: Option<String>,
}

impl Malformed {
    pub fn new(at: Position, message: impl Into<String>) -> Self {
        Self {
            at,
            too_large: false,
            message: message.into(),
            hint: None,
        }
    }

    pub fn too_large(at: Position, message: impl Into<String>) -> Self {
        Self {
            at,
            too_large: true,
            message: message.into(),
            hint: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
