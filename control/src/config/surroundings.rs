//! What reading a configuration takes from outside: variables, files, the time.
//!
//! Behind a trait, so that a test says what the world looks like and a finding can be provoked without touching
//! the process's environment.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The world outside the file.
pub trait Surroundings: Send + Sync {
    /// An environment variable; `None` when unset. One that is not Unicode counts as unset.
    fn variable(&self, name: &str) -> Option<String>;
    /// A file's bytes; an error of kind `FileTooLarge` beyond `bytes_max`.
    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>>;
    /// Seconds since the epoch.
    fn now(&self) -> u64;
}

/// The process's own environment, disk and clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Surroundings for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        // A pipe or a device could block or never end; a directory gives a clearer error here than on reading.
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(bytes_max as u64 + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn now(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs())
    }
}

/// A world written down: for tests, and for reading an example without its secrets being present.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Variables.
    pub variables: BTreeMap<String, String>,
    /// Files; all others do not exist.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Seconds since the epoch.
    pub now: u64,
}

impl Surroundings for Written {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        match self.files.get(path) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(bytes) if bytes.len() > bytes_max => Err(io::ErrorKind::FileTooLarge.into()),
            Some(bytes) => Ok(bytes.clone()),
        }
    }

    fn now(&self) -> u64 {
        self.now
    }
}

/// An I/O error in a few words, without paths and error numbers.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::FileTooLarge => "it is too large".to_owned(),
        _ => error.to_string(),
    }
}
