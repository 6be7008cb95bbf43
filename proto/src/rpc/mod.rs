//! One JSON-RPC message, read without a tree: what kind it is, and where its envelope stands.
//!
//! [`scan`] goes over the bytes once. It validates all of them (like `json::check`) and notes the offsets of the
//! fields a gateway decides on: the root, `params`, and `params._meta`. At these three levels JSON readers disagree
//! about duplicate keys, escaped keys and (Go) case, so a message that two readers could take differently is
//! refused here: whoever authorises one reading must not forward the other. Everything below those levels
//! (`arguments` above all) is checked for grammar and is otherwise the upstream's business.
//!
//! What is deliberately let through: numbers no reader can hold (`1e999`), lone surrogates and duplicate keys below
//! the envelope, unknown keys everywhere, any order of keys.

mod fault;
mod keys;
mod scan;

pub use fault::{Level, ScanFault};
pub use scan::{scan, split_batch};

use crate::json::{self, Kind, Span, kind};
use std::borrow::Cow;

/// Most keys one envelope object may have besides those we know. Clients send fewer than 10; the comparison of
/// each with all before it is quadratic.
pub const KEYS_MAX: usize = 64;

/// Most messages in one batch (revision 2025-03-26 only).
pub const BATCH_MAX: usize = 100;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Answers a request with `result`.
    Result,
    /// Answers a request with `error`; the id is missing when the peer could not tell it.
    Error,
}

/// Where the envelope of a message stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The whole object.
    pub root: Span,
    /// The id as written: an integer, or a string with its quotes.
    pub id: Option<Span>,
    /// The method, without quotes; never has an escape in it.
    pub method: Option<Span>,
    /// The parameters, when there are any.
    pub params: Option<Params>,
    /// The result, any value.
    pub result: Option<Span>,
    /// The error object.
    pub error: Option<Span>,
}

/// Where the fields of `params` stand. A span covers the whole value, of a string with its quotes; only those said
/// to be strings have been looked at for their type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// The whole object.
    pub span: Span,
    /// `name`, a string.
    pub name: Option<Span>,
    /// `uri`, a string.
    pub uri: Option<Span>,
    /// `arguments`.
    pub arguments: Option<Span>,
    /// `_meta`, an object.
    pub meta: Option<Meta>,
    /// `taskId`, a string.
    pub task_id: Option<Span>,
    /// `cursor`.
    pub cursor: Option<Span>,
    /// `requestId`, of cancellations.
    pub request_id: Option<Span>,
    /// `progressToken`, of progress notifications.
    pub progress_token: Option<Span>,
    /// `protocolVersion`, of `initialize`.
    pub protocol_version: Option<Span>,
    /// `clientInfo`, of `initialize`.
    pub client_info: Option<Span>,
    /// `capabilities`, of `initialize`.
    pub capabilities: Option<Span>,
    /// `ref`, of completions.
    pub reference: Option<Span>,
    /// `level`, of logging.
    pub level: Option<Span>,
    /// `notifications`, of `subscriptions/listen`.
    pub notifications: Option<Span>,
    /// `inputResponses`, of a repeated request.
    pub input_responses: Option<Span>,
    /// `requestState`, of a repeated request.
    pub request_state: Option<Span>,
    /// `task`.
    pub task: Option<Span>,
}

/// Where the fields of `params._meta` stand; types have not been looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The whole object.
    pub span: Span,
    /// `progressToken`.
    pub progress_token: Option<Span>,
    /// `io.modelcontextprotocol/protocolVersion`.
    pub protocol_version: Option<Span>,
    /// `io.modelcontextprotocol/clientInfo`.
    pub client_info: Option<Span>,
    /// `io.modelcontextprotocol/clientCapabilities`.
    pub client_capabilities: Option<Span>,
    /// `io.modelcontextprotocol/logLevel`.
    pub log_level: Option<Span>,
    /// `io.modelcontextprotocol/subscriptionId`.
    pub subscription_id: Option<Span>,
}

impl Message {
    /// What this message is.
    pub fn shape(&self) -> Shape {
        match (self.method, self.id, self.result) {
            (Some(_), Some(_), _) => Shape::Request,
            (Some(_), None, _) => Shape::Notification,
            (None, _, Some(_)) => Shape::Result,
            (None, _, None) => Shape::Error,
        }
    }

    /// The method's text.
    pub fn method<'d>(&self, doc: &'d [u8]) -> Option<&'d str> {
        self.method
            .and_then(|span| std::str::from_utf8(span.of(doc)).ok())
    }

    /// The text of `params.name`; `None` only when there is none.
    pub fn name<'d>(&self, doc: &'d [u8]) -> Option<Cow<'d, str>> {
        self.params
            .as_ref()?
            .name
            .and_then(|span| json::string(doc, span))
    }

    /// The text of `params.uri`; `None` only when there is none.
    pub fn uri<'d>(&self, doc: &'d [u8]) -> Option<Cow<'d, str>> {
        self.params.as_ref()?.uri.and_then(|span| json::string(doc, span))
    }

    /// The text of `params.taskId`; `None` only when there is none.
    pub fn task_id<'d>(&self, doc: &'d [u8]) -> Option<Cow<'d, str>> {
        self.params
            .as_ref()?
            .task_id
            .and_then(|span| json::string(doc, span))
    }

    /// `params._meta`.
    pub fn meta(&self) -> Option<&Meta> {
        self.params.as_ref()?.meta.as_ref()
    }

    /// The revision this request states in `_meta`; `None` when there is none or it is not a string.
    pub fn meta_protocol_version<'d>(&self, doc: &'d [u8]) -> Option<Cow<'d, str>> {
        self.meta()?
            .protocol_version
            .and_then(|span| json::string(doc, span))
    }

    /// The value under `key` in a `result` that is an object. Walks; not for the hot pass.
    pub fn result_member(&self, doc: &[u8], key: &str) -> Option<Span> {
        json::member(doc, self.result?, key)
    }

    /// `result.resultType`; absent (an older server) means `complete`.
    pub fn result_type<'d>(&self, doc: &'d [u8]) -> Option<Cow<'d, str>> {
        json::string(doc, self.result_member(doc, "resultType")?)
    }

    /// Whether `result.isError` is `true`: the tool ran and failed.
    pub fn is_error(&self, doc: &[u8]) -> bool {
        self.result_member(doc, "isError")
            .is_some_and(|span| kind(doc, span) == Some(Kind::True))
    }

    /// `result._meta`.
    pub fn result_meta(&self, doc: &[u8]) -> Option<Span> {
        self.result_member(doc, "_meta")
    }

    /// `error.code`; `None` when it is missing or no integer an `i64` holds.
    pub fn error_code(&self, doc: &[u8]) -> Option<i64> {
        let code = json::member(doc, self.error?, "code")?;
        std::str::from_utf8(code.of(doc)).ok()?.parse().ok()
    }

    /// `error.message`.
    pub fn error_message<'d>(&self, doc: &'d [u8]) -> Option<Cow<'d, str>> {
        json::string(doc, json::member(doc, self.error?, "message")?)
    }

    /// `error.data`.
    pub fn error_data(&self, doc: &[u8]) -> Option<Span> {
        json::member(doc, self.error?, "data")
    }
}

#[cfg(test)]
mod tests;
