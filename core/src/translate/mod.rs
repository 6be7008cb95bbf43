//! Translation: the same message, in the words of the other era or under the other name.
//!
//! Everything here edits the original bytes (`json::Splice`); what we do not understand travels untouched. The
//! functions are pure: which translation a message needs is decided by whoever knows both ends of the
//! exchange (`ringway-runtime::mcp`).
//!
//! | from → to | request | result |
//! |---|---|---|
//! | same era | tool or prompt renamed, URI restored ([`request::renamed`]) | untouched |
//! | legacy → modern | `_meta` gains revision, capabilities, client info, log level ([`request::to_modern`]) | id restored; `input_required` becomes requests to the client |
//! | modern → legacy | `_meta` loses them, id and progress token replaced ([`request::to_legacy`]) | gains `resultType`, cache hints ([`result::to_modern`]); a request to the client becomes `input_required` |
//!
//! Reference: specification 2026-07-28 "Versioning" and "Multi round-trip requests"; 2025-11-25 "Transports".

pub mod notification;
pub mod request;
pub mod result;

use ringway_proto::json::{self, Splice};

/// An edit that the document does not allow: only possible when a caller passes spans of another document.
#[derive(Debug, thiserror::Error)]
#[error("the edits of a message overlap or leave it")]
pub struct EditFault;

/// Applies `edits` to `doc`.
fn edited<'d>(doc: &'d [u8], edits: impl FnOnce(&mut Splice<'d>)) -> Result<Vec<u8>, EditFault> {
    let mut splice = Splice::new(doc);
    edits(&mut splice);
    splice.finish().map_err(|_| EditFault)
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    json::write_string(&mut out, text);
    out
}
