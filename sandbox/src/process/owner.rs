//! Which gateway process a local process belongs to, and what becomes of those whose gateway was killed.
//!
//! A killed gateway (SIGKILL, out of memory) stops nothing: its servers see their stdin end and mostly go, but one
//! that ignores it, or a helper, stays. So each gateway process has an id, the first half of every marker it gives
//! out, and writes it into a file in its socket directory. The next gateway on that directory reads it there and ends
//! what still carries it. A lock on the file, which the kernel releases with the process, keeps two gateways from
//! using one directory at once.

use super::{
    descendants::{self, Marker, Signs},
    launch::MARKER,
};
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The file's name; no server can be called so.
pub const FILE: &str = ".owner";

static OWNER: LazyLock<String> = LazyLock::new(crate::random::token);

/// The id of a new process: unguessable per gateway and unique within it, so that no gateway ever takes another's
/// processes for its own.
pub(super) fn next_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness matters.
    format!("{}-{}", *OWNER, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A directory in use by this process.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Holds the lock.
    _file: File,
    /// The gateway that used it last, unless that is this one.
    earlier: Option<String>,
}

/// Claims a directory; fails when a living gateway has it.
pub(crate) fn claim(directory: &Path) -> io::Result<Claim> {
    let path = directory.join(FILE);
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => io::Error::new(
            io::ErrorKind::AddrInUse,
            format!(
                "another gateway uses the socket directory {directory:?}; stop it or give this one its own"
            ),
        ),
        other => other.into(),
    })?;
    let mut text = String::new();
    // Bounded: whatever the file has become, an id is 32 characters. One that cannot be read names nobody.
    let _ = (&mut file).take(64).read_to_string(&mut text);
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(OWNER.as_bytes())?;
    let is_id = text.len() == OWNER.len() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let earlier = Some(text).filter(|text| is_id && *text != *OWNER);
    Ok(Claim { _file: file, earlier })
}

/// Whether a living gateway has claimed a directory, in this or in another process namespace.
pub fn is_claimed(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join(FILE)) else {
        return false;
    };
    // Locked for a moment by us otherwise, and released with the file.
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

impl Claim {
    /// Ends what an earlier gateway on this directory left running.
    pub(crate) fn end_leftovers(&self, grace: Duration) -> impl Future<Output = ()> + Send + use<> {
        let earlier = self.earlier.clone();
        async move {
            let Some(earlier) = earlier else { return };
            let marker = Marker::Owner(format!("{MARKER}={earlier}-").into_bytes());
            let mut signs = Signs {
                marker,
                leader: None,
                known: HashSet::new(),
            };
            let left = descendants::end(&mut signs, grace, std::future::pending()).await;
            if left > 0 {
                tracing::error!(left, "processes of a killed gateway do not die");
            } else if !signs.known.is_empty() {
                tracing::warn!(
                    ended = signs.known.len(),
                    "processes of a killed gateway were still running"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_and_remembers_the_last() {
        let directory = tempfile::tempdir().expect("directory");
        let first = claim(directory.path()).expect("claim");
        assert_eq!(first.earlier, None);
        assert_eq!(
            claim(directory.path()).expect_err("in use").kind(),
            io::ErrorKind::AddrInUse
        );
        assert!(is_claimed(directory.path()));
        drop(first);
        assert!(!is_claimed(directory.path()));
        assert_eq!(
            claim(directory.path()).expect("claim").earlier,
            None,
            "it was this process"
        );
        for (text, earlier) in [
            ("0123456789abcdef0123456789abcdef", true),
            ("nonsense", false),
            (&"x".repeat(32), false),
        ] {
            std::fs::write(directory.path().join(FILE), text).expect("write");
            let found = claim(directory.path()).expect("claim").earlier;
            assert_eq!(found.as_deref(), earlier.then_some(text));
        }
    }
}
