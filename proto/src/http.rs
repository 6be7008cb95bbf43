//! HTTP heads as values: a header list that owns no text of its own.
//!
//! Both codecs (HTTP/1.1, HTTP/2) and both sides (downstream, upstream) speak this one type. Names and values
//! are slices of the buffer they arrived in (`Bytes`), so building a head allocates the list and nothing else.
//! Names are lower case (RFC 9113 §8.2); the HTTP/1.1 parser lowers them in place before freezing the buffer.

use bytes::Bytes;

/// An ordered list of header fields with lower-case names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    list: Vec<(Bytes, Bytes)>,
}

/// A header that must stand at most once came twice (RFC 9110 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl Headers {
    /// An empty list with room for `n` fields.
    pub fn with_capacity(n: usize) -> Self {
        Self {
            list: Vec::with_capacity(n),
        }
    }

    /// The first value of `name` (lower case). O(n).
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.list
            .iter()
            .find(|(n, _)| n.as_ref() == name.as_bytes())
            .map(|(_, v)| v)
    }

    /// The value of `name`, refusing a second one: two readers could pick different ones.
    pub fn get_one(&self, name: &str) -> Result<Option<&Bytes>, Repeated> {
        let mut found = self
            .list
            .iter()
            .filter(|(n, _)| n.as_ref() == name.as_bytes())
            .map(|(_, v)| v);
        let first = found.next();
        if found.next().is_some() {
            Err(Repeated)
        } else {
            Ok(first)
        }
    }

    /// Every value of `name`, in order of arrival.
    pub fn get_all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h Bytes> {
        self.list
            .iter()
            .filter(move |(n, _)| n.as_ref() == name.as_bytes())
            .map(|(_, v)| v)
    }

    /// Appends a field under a name known at compile time (must be lower case).
    pub fn push(&mut self, name: &'static str, value: impl Into<Bytes>) {
        debug_assert!(!name.bytes().any(|b| b.is_ascii_uppercase()));
        self.list
            .push((Bytes::from_static(name.as_bytes()), value.into()));
    }

    /// Appends a field whose name came from outside; the caller has lowered it.
    pub fn push_bytes(&mut self, name: Bytes, value: Bytes) {
        debug_assert!(!name.iter().any(|b| b.is_ascii_uppercase()));
        self.list.push((name, value));
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.list.iter().map(|(n, v)| (n, v))
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True when there is no field.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// The request methods an MCP endpoint can meet; anything else is `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the methods")]
pub enum Method {
    Get,
    Post,
    Delete,
    Options,
    Head,
    Other,
}

impl Method {
    /// Reads a method token; methods are case-sensitive (RFC 9110 §9.1).
    pub fn from_token(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"POST" => Self::Post,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"HEAD" => Self::Head,
            _ => Self::Other,
        }
    }

    /// The token as sent; `Other` has none and is never sent.
    pub fn token(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Head => "HEAD",
            Self::Other => "",
        }
    }
}
