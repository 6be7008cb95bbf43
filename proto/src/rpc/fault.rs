//! Why a message is refused, precisely enough for the person who wrote the client.

use crate::json::Fault;

/// One of the three envelope objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The message itself.
    Root,
    /// `params`.
    Params,
    /// `params._meta`.
    Meta,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Root => "the message",
            Self::Params => "params",
            Self::Meta => "params._meta",
        })
    }
}

/// Why bytes are not a message we accept. `at` is a byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanFault {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] Fault),
    /// An array where one message is expected.
    #[error("a batch where one message is expected")]
    Batch,
    /// A batch without messages.
    #[error("an empty batch")]
    EmptyBatch,
    /// More than [`BATCH_MAX`](super::BATCH_MAX) messages.
    #[error("too many messages in one batch")]
    BatchTooLong,
    /// JSON, but neither object nor array.
    #[error("a message must be an object")]
    NotObject,
    /// The same key twice.
    #[error("duplicate key in {level} at byte {at}")]
    DuplicateKey {
        /// Where it stands.
        level: Level,
        /// The second one.
        at: u32,
    },
    /// A key written with escapes.
    #[error("escaped key in {level} at byte {at}")]
    EscapedKey {
        /// Where it stands.
        level: Level,
        /// Its first byte.
        at: u32,
    },
    /// A key that is not ASCII, at the root or in `params`.
    #[error("non-ASCII key in {level} at byte {at}")]
    NonAsciiKey {
        /// Where it stands.
        level: Level,
        /// Its first byte.
        at: u32,
    },
    /// A key that differs from a known one in case only; some readers fold it.
    #[error("key in {level} at byte {at} differs from \"{known}\" in case only")]
    CaseVariant {
        /// Where it stands.
        level: Level,
        /// Its first byte.
        at: u32,
        /// The known key.
        known: &'static str,
    },
    /// More than [`KEYS_MAX`](super::KEYS_MAX) unknown keys.
    #[error("too many keys in {level} at byte {at}")]
    TooManyKeys {
        /// Where they stand.
        level: Level,
        /// The first one too many.
        at: u32,
    },
    /// `jsonrpc` is missing.
    #[error("jsonrpc is missing")]
    NoVersion,
    /// `jsonrpc` is something other than `"2.0"`.
    #[error("jsonrpc at byte {at} is not \"2.0\"")]
    Version {
        /// Its value.
        at: u32,
    },
    /// `id` is neither an integer nor a string (`null` passes in an error response only).
    #[error("id at byte {at} is neither an integer nor a string")]
    Id {
        /// Its value.
        at: u32,
    },
    /// A result without `id`.
    #[error("a result needs an id")]
    NoId,
    /// `method` is not a string, or is written with escapes.
    #[error("method at byte {at} is not a plain string")]
    Method {
        /// Its value.
        at: u32,
    },
    /// A known field has a value of another type than it must have.
    #[error("{field} at byte {at} is not {expected}")]
    Type {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        at: u32,
        /// What it must be.
        expected: &'static str,
    },
    /// More than one of `method`, `result` and `error`.
    #[error("a message has one of method, result and error, not two")]
    Ambiguous,
    /// None of `method`, `result` and `error`.
    #[error("a message has method, result or error")]
    Shapeless,
}

impl ScanFault {
    /// The JSON-RPC error code for it: parse error when it is not JSON, invalid request otherwise.
    pub fn code(&self) -> i64 {
        if matches!(self, Self::Json(_)) {
            -32700
        } else {
            -32600
        }
    }
}
