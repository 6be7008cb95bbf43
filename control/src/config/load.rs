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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Written;

    fn load(file: &str, store: &str) -> Outcome {
        let world = Written {
            files: [
                (PathBuf::from("/etc/ringway.yaml"), file.as_bytes().to_vec()),
                (PathBuf::from("/state/keys.json"), store.as_bytes().to_vec()),
            ]
            .into(),
            ..Written::default()
        };
        Loader::new("/etc/ringway.yaml")
            .with_keys("/state/keys.json")
            .with_surroundings(Arc::new(world))
            .load()
    }

    fn store(records: &str) -> String {
        format!("{{\"format\": 1, \"keys\": [{records}]}}")
    }

    fn record(id: &str, digit: char, rest: &str) -> String {
        let hash = digit.to_string().repeat(64);
        format!(
            "{{\"id\": \"{id}\", \"hash\": \"sha256:{hash}\", \"name\": \"n\", \"tenant\": \"t\", \
             \"roles\": [\"r\", \"gone\"], \"created_at\": 1{rest}}}"
        )
    }

    fn file() -> String {
        let hash = "1".repeat(64);
        format!(
            "servers: {{ a: {{ command: x }} }}\nroles: {{ r: {{ allow: [a__x] }} }}\n\
             keys: [{{ id: one, hash: \"sha256:{hash}\", roles: [r] }}]\n"
        )
    }

    fn ids(outcome: &Outcome) -> Vec<&str> {
        outcome
            .config
            .as_ref()
            .unwrap()
            .keys
            .iter()
            .map(|key| key.id.as_str())
            .collect()
    }

    #[test]
    fn keys_of_the_store_join_and_unknown_roles_grant_nothing() {
        let outcome = load(&file(), &store(&record("two", '2', "")));
        assert_eq!(ids(&outcome), ["one", "two"]);
        assert_eq!(outcome.config.as_ref().unwrap().keys[1].roles, ["r"]);
        assert_eq!(outcome.findings.list[0].code, Code::UnknownRole);
    }

    #[test]
    fn the_same_id_or_hash_in_both_is_a_finding_and_the_file_wins() {
        for twin in [record("one", '2', ""), record("two", '1', "")] {
            let outcome = load(&file(), &store(&twin));
            assert_eq!(ids(&outcome), ["one"]);
            assert_eq!(outcome.findings.list[0].code, Code::DuplicateId);
        }
    }

    #[test]
    fn what_the_store_revoked_is_refused_although_the_file_has_it() {
        let outcome = load(&file(), &store(&record("other", '1', ", \"revoked_at\": 5")));
        assert!(ids(&outcome).is_empty());
        assert_eq!(outcome.findings.list[0].code, Code::DuplicateId);
        assert_eq!(outcome.findings.list[1].code, Code::NobodyMayCall);
    }

    #[test]
    fn a_damaged_store_refuses_everything() {
        let outcome = load(&file(), "{");
        assert!(outcome.config.is_none());
        assert_eq!(outcome.findings.list[0].code, Code::UnreadableFile);
        assert_eq!(outcome.findings.list[0].file, "/state/keys.json");
    }

    #[test]
    fn a_missing_file_says_so() {
        let outcome = Loader::new("/nope.yaml")
            .with_surroundings(Arc::new(Written::default()))
            .load();
        assert_eq!(
            outcome.findings.list[0].message,
            "cannot read the configuration: it does not exist"
        );
    }

    #[test]
    fn a_changed_setting_needs_a_restart_and_says_where_it_stands() {
        let before = load(&file(), &store("")).config.unwrap();
        let after = load(&format!("{}drain: 5s\n", file()), &store(""))
            .config
            .unwrap();
        let findings = after.needing_restart(&before.settings);
        assert_eq!(findings.list.len(), 1);
        assert_eq!(
            (findings.list[0].code, findings.list[0].line),
            (Code::NeedsRestart, 4)
        );
        assert_eq!(findings.list[0].path, "drain");
        assert!(after.needing_restart(&after.settings).is_empty());
    }

    #[test]
    fn the_document_has_bridges_references_and_no_disabled_server() {
        let file = "servers:\n  b: { command: x }\n  a: { url: \"https://x/mcp\", headers: { K: \"${HOME:-d}-${K}\" } }\n  \
                    c: { sse: \"https://y/sse\" }\n  d: { command: z, disabled: true }\n";
        let world = Written {
            variables: [("K".to_owned(), "secret".to_owned())].into(),
            files: [(PathBuf::from("/e"), file.as_bytes().to_vec())].into(),
            now: 0,
        };
        let config = Loader::new("/e")
            .with_surroundings(Arc::new(world))
            .load()
            .config
            .unwrap();
        let document = config.document(7, |name| (name != "c").then(|| format!("unix:/run/{name}.sock")));
        let servers: Vec<_> = document
            .servers
            .iter()
            .map(|server| (&*server.name, &*server.url))
            .collect();
        assert_eq!(servers, [("b", "unix:/run/b.sock"), ("a", "https://x/mcp")]);
        assert_eq!(
            document.servers[1].headers["k"], "d-${K}",
            "the secret is not in the document"
        );
        assert_eq!(
            config.bridged().map(|server| &*server.name).collect::<Vec<_>>(),
            ["b", "c"]
        );
    }
}
