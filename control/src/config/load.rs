//! A configuration file together with the key store beside it.
//!
//! The store's keys join those of the file. The file may contradict the store in three ways, and none of them may
//! keep a revocation from taking effect: they are warnings, and the safer reading wins.

use super::{
    bounds::FILE_BYTES_MAX,
    finding::{Code, Finding, Findings, Severity, quote},
    model::Config,
    read::{Outcome, read},
    surroundings::{Surroundings, System, reason},
};
use crate::keys::{Record, STORE_BYTES_MAX, parse_store};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Reads one configuration file, as often as asked.
#[derive(Clone)]
pub struct Loader {
    file: PathBuf,
    keys: Option<PathBuf>,
    surroundings: Arc<dyn Surroundings>,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Loader({})", self.file.display())
    }
}

impl Loader {
    /// Reads this file, without a key store.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            keys: None,
            surroundings: Arc::new(System),
        }
    }

    /// Adds the keys of this store (`State::keys_path`); it need not exist yet.
    pub fn with_keys(mut self, store: impl Into<PathBuf>) -> Self {
        self.keys = Some(store.into());
        self
    }

    /// Sees the world through these eyes.
    pub fn with_surroundings(mut self, surroundings: Arc<dyn Surroundings>) -> Self {
        self.surroundings = surroundings;
        self
    }

    /// The configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The key store, if there is one.
    pub fn keys(&self) -> Option<&Path> {
        self.keys.as_deref()
    }

    pub(crate) fn surroundings(&self) -> &dyn Surroundings {
        &*self.surroundings
    }

    /// The file, and the store's keys in it.
    pub fn load(&self) -> Outcome {
        let mut outcome = self.read();
        if let Some(config) = outcome.config.take() {
            outcome.config = self.join_keys(config, &mut outcome.findings);
        }
        outcome
    }

    /// The file alone.
    pub(crate) fn read(&self) -> Outcome {
        let name = self.file.display().to_string();
        let directory = match self.file.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("."),
        };
        // Absolute, because the document goes to a process that may stand elsewhere.
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        match self.surroundings.read(&self.file, FILE_BYTES_MAX) {
            Ok(bytes) => read(&bytes, &name, &directory, &*self.surroundings),
            Err(error) => {
                let code = if error.kind() == io::ErrorKind::FileTooLarge {
                    Code::TooLarge
                } else {
                    Code::UnreadableFile
                };
                let message = format!("cannot read the configuration: {}", reason(&error));
                Outcome::refused(Finding::about_file(Severity::Error, code, name, message))
            }
        }
    }

    /// The configuration with the store's keys, and a warning when nobody may call at all. `None`, with an error
    /// among the findings, when the store cannot be read: a revocation could be in it.
    pub(crate) fn join_keys(&self, mut config: Config, findings: &mut Findings) -> Option<Config> {
        if let Some(path) = &self.keys {
            match self.surroundings.read(path, STORE_BYTES_MAX) {
                Ok(bytes) => match parse_store(&bytes) {
                    Ok(records) => join(&mut config, &records, &path.display().to_string(), findings),
                    Err(reason) => return self.unreadable(path, &reason, findings),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return self.unreadable(path, &reason(&error), findings),
            }
        }
        if config.keys.is_empty() && config.anonymous.is_none() {
            let message = "no key and no `anonymous`: every call will be refused";
            let hint = "create a key with `ringway keys create`, or add `anonymous: { roles: [...] }`";
            let finding = Finding::about_file(Severity::Warning, Code::NobodyMayCall, &*config.file, message);
            findings.push(finding.with_hint(hint));
        }
        Some(config)
    }

    fn unreadable(&self, path: &Path, reason: &str, findings: &mut Findings) -> Option<Config> {
        let message = format!("cannot read the key store: {reason}");
        let file = path.display().to_string();
        findings.push(Finding::about_file(
            Severity::Error,
            Code::UnreadableFile,
            file,
            message,
        ));
        None
    }
}

fn join(config: &mut Config, records: &[Record], store: &str, findings: &mut Findings) {
    let mut warn = |code: Code, path: String, message: String, hint: &str| {
        let mut finding = Finding::about_file(Severity::Warning, code, store, message).with_hint(hint);
        finding.path = path;
        findings.push(finding);
    };
    let revoked = |hash: &str| {
        records
            .iter()
            .any(|record| record.revoked_at.is_some() && record.hash == hash)
    };
    config.keys.retain(|key| {
        let gone = revoked(&key.hash);
        if gone {
            let message = format!(
                "the key {} of the file was revoked in the store and is refused",
                quote(&key.id)
            );
            warn(
                Code::DuplicateId,
                format!("keys.{}", key.id),
                message,
                "remove it from the file",
            );
        }
        !gone
    });
    for record in records.iter().filter(|record| record.revoked_at.is_none()) {
        let path = format!("keys.{}", record.id);
        let id = quote(&record.id);
        if config
            .keys
            .iter()
            .any(|key| key.id == record.id || key.hash == record.hash)
        {
            let message = format!("the key {id} stands in the file too; the one in the store is not used");
            warn(
                Code::DuplicateId,
                path,
                message,
                "rename the file's key, or revoke the one in the store",
            );
            continue;
        }
        let mut key = record.api_key();
        key.roles.retain(|role| {
            let known = config.roles.iter().any(|known| known.name == *role);
            if !known {
                let message = format!(
                    "the key {id} has the role {}, which the file does not define",
                    quote(role)
                );
                warn(
                    Code::UnknownRole,
                    path.clone(),
                    message,
                    "the key has no rights by it until the role exists",
                );
            }
            known
        });
        config.keys.push(key);
    }
}
