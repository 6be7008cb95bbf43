//! References to secrets in the snapshot document, read when it is compiled: `${NAME}` and `${file:/path}`.
//!
//! The document itself never holds a secret, so it can be written to disk and shown.

use std::path::Path;

/// A file with a secret in it holds one token, not a book.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The text behind one reference (without `${` and `}`). Errors name the reference, never a content.
pub fn read(reference: &str) -> Result<String, String> {
    match reference.strip_prefix("file:") {
        Some(path) => file(Path::new(path)),
        None => variable(reference),
    }
}

fn variable(reference: &str) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    match (std::env::var(name), default) {
        (Ok(value), _) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        _ => Err(format!("environment variable {name} is not set")),
    }
}

fn file(path: &Path) -> Result<String, String> {
    let unreadable = |e: std::io::Error| format!("{} cannot be read: {e}", path.display());
    if std::fs::metadata(path).map_err(unreadable)?.len() > SECRET_BYTES_MAX {
        return Err(format!(
            "{} is larger than {SECRET_BYTES_MAX} bytes",
            path.display()
        ));
    }
    std::fs::read_to_string(path)
        .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
        .map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lose_their_last_line_end_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, " s3cret \n").unwrap();
        assert_eq!(
            read(&format!("file:{}", path.display())).as_deref(),
            Ok(" s3cret ")
        );
    }

    #[test]
    fn a_missing_variable_is_named_and_a_default_helps() {
        let error = read("RINGWAY_TEST_SURELY_UNSET").unwrap_err();
        assert!(error.contains("RINGWAY_TEST_SURELY_UNSET"), "{error}");
        assert_eq!(read("RINGWAY_TEST_SURELY_UNSET:-d").as_deref(), Ok("d"));
    }
}
