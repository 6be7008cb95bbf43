//! Why a comparison could not be made: one sentence that says where and what to do.

use std::{fmt, io, path::Path};

/// What every step of a comparison gives.
pub type Result<T> = std::result::Result<T, Failure>;

/// A step that did not work.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// Says what happened.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// An error of the system at a file.
    pub fn at(path: &Path, error: &io::Error) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Puts the deed in front of the error, so that a reader knows which of many it was.
pub trait Context<T> {
    /// `context("start nginx")` gives "start nginx: No such file or directory".
    fn context(self, deed: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, deed: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{deed}: {error}")))
    }
}

/// Writes a file, naming it when that fails.
pub fn write(path: &Path, content: &str) -> Result<()> {
    std::fs::write(path, content).map_err(|e| Failure::at(path, &e))
}
