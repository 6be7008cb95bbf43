//! HTTP heads as values, for both codecs (HTTP/1.1, HTTP/2) and both sides (downstream, upstream).
//!
//! A head is one piece of text and a list of places in it; see [`Headers`]. Names are lower case (RFC 9113 §8.2), and
//! the ones every MCP exchange carries are numbers ([`names`]). [`accept`] answers what two common fields mean.

pub mod accept;
mod fields;
mod headers;
mod lines;
pub mod names;
pub(crate) mod octets;

pub(crate) use fields::Place;
pub(crate) use headers::Content;
pub use headers::{FieldFault, Headers, Repeated};
pub use names::{FieldName, Name};

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
