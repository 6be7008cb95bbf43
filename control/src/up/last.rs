//! The last good document on disk: what a restart begins with while servers have not been asked yet.
//!
//! It holds references to secrets where the configuration does, and hashes of keys. Still the file is 0600: an
//! address may carry a token.

use crate::state::{State, write_atomic};
use ringway_proto::snapshot::{Document, FORMAT};
use std::{io::Read, path::Path};

/// A document of ten thousand tools is about 20 MB.
const DOCUMENT_BYTES_MAX: u64 = 256 << 20;

/// Reads it. One that cannot be read is as good as none, and is said.
pub fn read(state: &State) -> Option<Document> {
    let path = state.snapshot_path();
    match parse(&path) {
        Ok(document) => Some(document),
        Err(Unread::Missing) => None,
        Err(Unread::Bad(reason)) => {
            tracing::warn!(file = %path.display(), %reason, "the last snapshot is not used");
            None
        }
    }
}

enum Unread {
    Missing,
    Bad(String),
}

fn parse(path: &Path) -> Result<Document, Unread> {
    let file = std::fs::File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Bad(e.to_string()),
    })?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|e| Unread::Bad(e.to_string()))?;
    // serde's messages may quote values; the place is enough.
    let document: Document = serde_json::from_slice(&bytes).map_err(|e| {
        Unread::Bad(format!(
            "it is no snapshot (line {}, column {})",
            e.line(),
            e.column()
        ))
    })?;
    match document.format {
        FORMAT => Ok(document),
        other => Err(Unread::Bad(format!(
            "it is of format {other}, this program reads {FORMAT}"
        ))),
    }
}

/// Writes it. A failure costs a slower restart, not this run.
pub fn write(state: &State, document: &Document) {
    let written = serde_json::to_vec(document)
        .map_err(std::io::Error::other)
        .and_then(|bytes| write_atomic(&state.snapshot_path(), &bytes));
    if let Err(error) = written {
        tracing::warn!(file = %state.snapshot_path().display(), %error, "the snapshot was not saved");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let state = State::open(scratch.path()).unwrap();
        assert!(read(&state).is_none());
        let document: Document =
            serde_json::from_value(serde_json::json!({"format": 1, "number": 7, "servers": []})).unwrap();
        write(&state, &document);
        assert_eq!(read(&state).unwrap().number, 7);
        for damaged in [r#"{"format":1"#, r#"{"format":2,"number":1,"servers":[]}"#] {
            std::fs::write(state.snapshot_path(), damaged).unwrap();
            assert!(read(&state).is_none(), "{damaged}");
        }
    }
}
