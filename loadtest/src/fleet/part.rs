//! What one generator is given: the scenario, the files it names, and which share of it is to be run.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Largest file that travels with a scenario: a list of keys.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Where a scenario names files: `(table, key)`, dots between nested tables.
const FILE_KEYS: [(&str, &str); 4] = [
    ("target.tls", "ca_file"),
    ("target.tls", "cert_file"),
    ("target.tls", "key_file"),
    ("clients", "keys_file"),
];

/// One generator's work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The whole scenario (TOML); the files it names are [`Part::files`].
    pub scenario: String,
    /// What it names.
    pub files: Vec<File>,
    /// Which part, from 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

/// A file that travels.
#[derive(Clone, Serialize, Deserialize)]
pub struct File {
    /// Its name in [`Part::scenario`].
    pub name: String,
    /// Base64.
    pub content: String,
}

impl std::fmt::Debug for File {
    /// Files hold keys: only the name is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Takes the files that a scenario names along: the text with names that mean something elsewhere, and the files.
///
/// # Errors
/// With a text for people, when the scenario is no TOML or a file cannot be read.
pub fn parcel(scenario: &str, base: &Path) -> Result<(String, Vec<File>), String> {
    let mut table: toml::Table = scenario.parse().map_err(|e| format!("the scenario: {e}"))?;
    let mut files = Vec::new();
    for (place, key) in FILE_KEYS {
        let inner = place
            .split('.')
            .try_fold(&mut table, |table, name| table.get_mut(name)?.as_table_mut());
        let Some(toml::Value::String(value)) = inner.and_then(|table| table.get_mut(key)) else {
            continue;
        };
        let path = base.join(&*value);
        let content = read(&path).map_err(|e| format!("{place}.{key}: {}: {e}", path.display()))?;
        let name = format!("{key}-{}", files.len());
        value.clone_from(&name);
        files.push(File {
            name,
            content: STANDARD.encode(content),
        });
    }
    if files.is_empty() {
        // A person's comments are worth keeping.
        return Ok((scenario.to_owned(), files));
    }
    let text = toml::to_string_pretty(&table).map_err(|e| format!("the scenario: {e}"))?;
    Ok((text, files))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        let text = format!("has {bytes} bytes; {FILE_BYTES_MAX} is the most");
        return Err(io::Error::other(text));
    }
    std::fs::read(path)
}

/// Files of a part, unpacked; removed when dropped.
#[derive(Debug)]
pub struct Unpacked {
    folder: Option<PathBuf>,
}

impl Unpacked {
    /// Writes the files to a folder of their own that only we can read.
    pub(super) fn new(files: &[File], mark: &str) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        if files.is_empty() {
            return Ok(Self { folder: None });
        }
        let folder = std::env::temp_dir().join(format!("ringway-loadtest-{mark}"));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let unpacked = Self {
            folder: Some(folder.clone()),
        };
        for file in files {
            // What came over the network names a file and nothing else.
            let name = Path::new(&file.name)
                .file_name()
                .filter(|name| *name == file.name.as_str())
                .ok_or_else(|| io::Error::other(format!("{:?} is no file name", file.name)))?;
            let content = STANDARD.decode(&file.content).map_err(io::Error::other)?;
            std::fs::write(folder.join(name), content)?;
        }
        Ok(unpacked)
    }

    /// What names in the scenario are relative to.
    pub fn base(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new("."))
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder
            && let Err(error) = std::fs::remove_dir_all(folder)
        {
            tracing::warn!("{}: cannot be removed: {error}", folder.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_travel_under_names_of_their_own_and_leave_nothing_behind() {
        let here = tempfile::tempdir().expect("a folder");
        std::fs::write(here.path().join("keys.txt"), "k1\nk2\n").expect("writes");
        let text = "[clients]\nkeys_file = \"keys.txt\"\n[target]\nurl = \"http://a/\"\n";
        let (text, files) = parcel(text, here.path()).expect("packs");
        assert!(!text.contains("keys.txt"), "{text}");
        assert!(!format!("{files:?}").contains("azEK"), "content is not shown");
        let unpacked = Unpacked::new(&files, &format!("test-{}", std::process::id())).expect("unpacks");
        let table: toml::Table = text.parse().expect("TOML");
        let name = table["clients"]["keys_file"].as_str().expect("a name");
        let path = unpacked.base().join(name);
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), "k1\nk2\n");
        drop(unpacked);
        assert!(!path.exists());
    }

    #[test]
    fn a_scenario_without_files_travels_as_it_is_and_a_missing_file_is_named() {
        let text = "# mine\n[target]\nurl = \"http://a/\"\n";
        assert_eq!(parcel(text, Path::new("/")).expect("packs").0, text);
        let missing = "[target.tls]\nca_file = \"nowhere.pem\"\n";
        let why = parcel(missing, Path::new("/")).expect_err("missing");
        assert!(
            why.contains("target.tls.ca_file") && why.contains("/nowhere.pem"),
            "{why}"
        );
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["../evil", "/evil", "a/b", "..", ""] {
            let file = File {
                name: name.to_owned(),
                content: String::new(),
            };
            let mark = format!("test-evil-{}", std::process::id());
            assert!(Unpacked::new(&[file], &mark).is_err(), "{name:?}");
            assert!(
                !std::env::temp_dir()
                    .join(format!("ringway-loadtest-{mark}"))
                    .exists()
            );
        }
    }
}
