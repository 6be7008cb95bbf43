//! The state directory: the few things that outlive the process.
//!
//! | file | what | who writes |
//! |---|---|---|
//! | `session-keys` | keys that seal sessions; several replicas share one file | created at first start, then by hand |
//! | `snapshot.json` | the last good snapshot document | every publication |
//! | `keys.json`, `keys.lock` | API keys created by `ringway keys` | `crate::keys` |
//!
//! The directory is ours alone (0700), every file in it 0600, and no file is ever half written: a new one is
//! written beside the old, synced, and renamed over it. A directory that exists already keeps its mode (it may
//! be a mounted volume that we cannot or must not change); [`State::exposed`] says whether others can look in.

use crate::config::Surroundings;
use ring::rand::{SecureRandom, SystemRandom};
use ringway_core::seal::SealKey;
use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Names tried for a temporary file before giving up; two in a row mean something else is wrong.
const TEMPORARY_NAMES_MAX: usize = 8;
/// A session-keys file of 255 keys with a comment on each is below this.
const SESSION_KEYS_BYTES_MAX: u64 = 64 << 10;

/// An opened state directory.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
}

/// Where state is kept: what the operator or the file says, else `$RINGWAY_STATE_DIR`, `$XDG_STATE_HOME/ringway`,
/// `~/.local/state/ringway`. `None` when there is no home either.
pub fn directory(said: Option<&Path>, surroundings: &dyn Surroundings) -> Option<PathBuf> {
    let variable = |name: &str| {
        surroundings
            .variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    said.map(Path::to_owned)
        .or_else(|| variable("RINGWAY_STATE_DIR"))
        // The XDG rule: relative values are to be ignored.
        .or_else(|| {
            variable("XDG_STATE_HOME")
                .filter(|path| path.is_absolute())
                .map(|path| path.join("ringway"))
        })
        .or_else(|| variable("HOME").map(|path| path.join(".local/state/ringway")))
}

impl State {
    /// Opens the directory, creating it and its parents where missing.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self { directory })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The mode, when users other than the owner can read or write here.
    pub fn exposed(&self) -> Option<u32> {
        let mode = std::fs::metadata(&self.directory).ok()?.permissions().mode() & 0o777;
        (mode & 0o077 != 0).then_some(mode)
    }

    /// The last good snapshot document.
    pub fn snapshot_path(&self) -> PathBuf {
        self.directory.join("snapshot.json")
    }

    /// The keys that seal sessions.
    pub fn session_keys_path(&self) -> PathBuf {
        self.directory.join("session-keys")
    }

    /// The store of API keys.
    pub fn keys_path(&self) -> PathBuf {
        self.directory.join("keys.json")
    }

    /// Reads the session keys; creates the file with one fresh key when there is none. Of several processes that
    /// start at once one creates it, and all read the same.
    pub fn session_keys(&self) -> io::Result<SessionKeys> {
        let path = self.session_keys_path();
        loop {
            match read_session_keys(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => return done,
            }
            let mut secret = [0; 32];
            random(&mut secret)?;
            let fresh = SessionKeys {
                keys: vec![SessionKey { id: 1, secret }],
            };
            match write_new(&path, fresh.to_text().as_bytes()) {
                Ok(()) => return Ok(fresh),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The keys that seal sessions: the first seals, all of them open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKeys {
    /// At least one; ids differ.
    pub keys: Vec<SessionKey>,
}

/// One key and the byte by which a sealed session names it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey {
    /// Stands in clear at the front of every session it sealed.
    pub id: u8,
    /// 256 random bits.
    pub secret: [u8; 32],
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SessionKey({})", self.id)
    }
}

impl SessionKeys {
    /// Reads the file's text. The error names the line, never its content.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys = SealKey::parse_file(text)?.into_iter();
        let keys = keys
            .map(|key| SessionKey {
                id: key.id,
                secret: key.bytes,
            })
            .collect();
        Ok(Self { keys })
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "# Keys that seal sessions: an id (0 to 255) and 64 hex digits, one key a line.\n\
             # The first key seals, every key opens; replicas share one file. To rotate: add a key at the end\n\
             # everywhere, then move it to the front, then remove the old one when its sessions have expired.\n",
        );
        for key in &self.keys {
            text.push_str(&format!("{} {}\n", key.id, hex::encode(key.secret)));
        }
        text
    }
}

fn read_session_keys(path: &Path) -> io::Result<SessionKeys> {
    let mut text = String::new();
    File::open(path)?
        .take(SESSION_KEYS_BYTES_MAX)
        .read_to_string(&mut text)?;
    SessionKeys::parse(&text).map_err(|reason| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {reason}", path.display()),
        )
    })
}

/// Fills with random bytes of the operating system.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| io::Error::other("the operating system gives no random bytes"))
}

/// Replaces a file as a whole: readers see the old content or the new, also after a power cut. Mode 0600.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, bytes)?;
    std::fs::rename(&temporary, path).inspect_err(|_| discard(&temporary))?;
    sync_directory(path)
}

/// Creates a file as a whole; an error of kind `AlreadyExists` when there is one. Mode 0600.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, bytes)?;
    // A link, unlike a rename, refuses to replace.
    let linked = std::fs::hard_link(&temporary, path);
    discard(&temporary);
    linked?;
    sync_directory(path)
}

fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_string_lossy()
        .into_owned();
    for _ in 0..TEMPORARY_NAMES_MAX {
        let mut tag = [0; 8];
        random(&mut tag)?;
        let temporary = path.with_file_name(format!(".{name}.{}.tmp", hex::encode(tag)));
        let mut file = match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            opened => opened?,
        };
        // The mode of creation is cut by the umask, never widened; this makes it exact.
        let written = file
            .set_permissions(Permissions::from_mode(0o600))
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all());
        return written
            .map(|()| temporary.clone())
            .inspect_err(|_| discard(&temporary));
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A temporary file that stays behind is untidy, not wrong.
fn discard(temporary: &Path) {
    let _ = std::fs::remove_file(temporary);
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Written;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_place_is_chosen_in_order() {
        let world = |pairs: &[(&str, &str)]| Written {
            variables: pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..Written::default()
        };
        let all = [
            ("RINGWAY_STATE_DIR", "/r"),
            ("XDG_STATE_HOME", "/x"),
            ("HOME", "/h"),
        ];
        assert_eq!(
            directory(Some(Path::new("/said")), &world(&all)),
            Some("/said".into())
        );
        assert_eq!(directory(None, &world(&all)), Some("/r".into()));
        assert_eq!(directory(None, &world(&all[1..])), Some("/x/ringway".into()));
        assert_eq!(
            directory(None, &world(&all[2..])),
            Some("/h/.local/state/ringway".into())
        );
        assert_eq!(
            directory(None, &world(&[("XDG_STATE_HOME", "rel"), ("HOME", "/h")])),
            Some("/h/.local/state/ringway".into())
        );
        assert_eq!(directory(None, &world(&[])), None);
    }

    #[test]
    fn everything_created_is_ours_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let state = State::open(scratch.path().join("a/b")).unwrap();
        assert_eq!(mode(state.path()), 0o700);
        assert_eq!(state.exposed(), None);
        state.session_keys().unwrap();
        assert_eq!(mode(&state.session_keys_path()), 0o600);
        write_atomic(&state.snapshot_path(), b"{}").unwrap();
        assert_eq!(mode(&state.snapshot_path()), 0o600);
        std::fs::set_permissions(state.path(), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(State::open(state.path()).unwrap().exposed(), Some(0o755));
    }

    #[test]
    fn session_keys_are_created_once_and_shared() {
        let scratch = tempfile::tempdir().unwrap();
        let state = State::open(scratch.path()).unwrap();
        let read: Vec<SessionKeys> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| state.session_keys().unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(read.iter().all(|keys| *keys == read[0]));
        assert_ne!(read[0].keys[0].secret, [0; 32]);
        assert_eq!(
            std::fs::read_dir(scratch.path()).unwrap().count(),
            1,
            "no temporary file stays"
        );
    }

    #[test]
    fn session_keys_read_what_they_write_and_name_bad_lines() {
        let keys = SessionKeys {
            keys: vec![
                SessionKey {
                    id: 2,
                    secret: [2; 32],
                },
                SessionKey {
                    id: 255,
                    secret: [1; 32],
                },
            ],
        };
        assert_eq!(SessionKeys::parse(&keys.to_text()), Ok(keys.clone()));
        let digits = "ab".repeat(32);
        for (text, line) in [
            (format!("1 {digits}\n1 {digits}\n"), "line 2"),
            (format!("\n# c\n256 {digits}\n"), "line 3"),
            (format!("1 {digits}00\n"), "line 1"),
            (digits.clone(), "line 1"),
            (String::new(), "no key"),
        ] {
            let reason = SessionKeys::parse(&text).unwrap_err();
            assert!(reason.contains(line), "{reason}");
            assert!(!reason.contains("abab"), "{reason}");
        }
        assert_eq!(format!("{:?}", keys.keys[0]), "SessionKey(2)");
    }

    #[test]
    fn a_damaged_session_keys_file_is_never_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let state = State::open(scratch.path()).unwrap();
        std::fs::write(state.session_keys_path(), "nonsense").unwrap();
        assert!(state.session_keys().is_err());
        assert_eq!(
            std::fs::read_to_string(state.session_keys_path()).unwrap(),
            "nonsense"
        );
    }

    #[test]
    fn writing_replaces_as_a_whole_and_creating_does_not() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(
            write_new(&path, b"three").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
