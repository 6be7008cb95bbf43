//! Where the sockets of local servers are: a directory of this process's own, and short, for a socket's path has
//! at most 107 bytes.
//!
//! The directory also says whose local servers are whose (`ringway_sandbox::process::OWNER_FILE`). One that a killed
//! gateway left behind is therefore not removed but taken over: the sandbox then ends what that gateway left running.

use ringway_sandbox::process::{OWNER_FILE, is_claimed};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Before the process id in a directory's name.
const PREFIX: &str = "ringway-";

/// A directory for this process's sockets, removed when dropped.
#[derive(Debug)]
pub struct Sockets {
    directory: PathBuf,
}

impl Sockets {
    /// Chooses the directory, `$XDG_RUNTIME_DIR/ringway-PID` or one in the state directory. One that was left
    /// behind takes that name; of several the others wait for the next start. Making it is the sandbox's.
    pub fn choose(runtime: Option<PathBuf>, state: &Path) -> Self {
        let base = runtime
            .filter(|dir| dir.is_absolute() && dir.is_dir())
            .unwrap_or_else(|| state.to_owned());
        let directory = base.join(format!("{PREFIX}{}", std::process::id()));
        match abandoned(&base) {
            Ok(left) => {
                for left in left {
                    let owned = left.join(OWNER_FILE).exists();
                    // Not over one that is there already, which is this process's own by its name.
                    let done = if owned {
                        fs::rename(&left, &directory)
                    } else {
                        remove(&left)
                    };
                    if let Err(error) = done {
                        tracing::debug!(dir = %left.display(), %error, "an old socket directory stays");
                    }
                }
            }
            Err(error) => {
                tracing::debug!(dir = %base.display(), %error, "old socket directories were not looked for");
            }
        }
        Self { directory }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = remove(&self.directory);
    }
}

/// Directories of processes that have ended. A process of another namespace may have a number that is none here, so
/// the claim counts too.
fn abandoned(base: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        let ended = process.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if ended && !is_claimed(&entry.path()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes sockets and claim and then the directory; anything else in it is somebody's and keeps it.
fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let ours = path.extension().is_some_and(|extension| extension == "sock");
        if ours || path.ends_with(OWNER_FILE) {
            fs::remove_file(path)?;
        }
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let dir = |name: &str, file: &str| {
            let dir = base.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join(file), "").unwrap();
            dir
        };
        // No process has this number: the largest possible is 2^22.
        let dead = dir("ringway-99999999", "a.sock");
        let kept = dir("ringway-99999998", "notes.txt");
        let living = dir("ringway-1", "a.sock");
        let other = dir("else", "a.sock");
        let sockets = Sockets::choose(None, base.path());
        assert!(!dead.exists() && kept.exists() && living.exists() && other.exists());
        fs::create_dir(sockets.path()).unwrap();
        let own = sockets.path().to_owned();
        drop(sockets);
        assert!(!own.exists());
    }

    #[test]
    fn what_a_killed_gateway_left_is_taken_over_and_what_a_living_one_has_is_not() {
        let base = tempfile::tempdir().unwrap();
        let dir = |name: &str| {
            let dir = base.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join(OWNER_FILE), name).unwrap();
            dir
        };
        let (killed, living) = (dir("ringway-99999999"), dir("ringway-99999998"));
        let claim = fs::File::open(living.join(OWNER_FILE)).unwrap();
        rustix::fs::flock(&claim, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let sockets = Sockets::choose(None, base.path());
        assert!(!killed.exists() && living.exists());
        let taken = fs::read_to_string(sockets.path().join(OWNER_FILE)).unwrap();
        assert_eq!(taken, "ringway-99999999");
        let own = sockets.path().to_owned();
        drop(sockets);
        assert!(!own.exists() && living.exists());
    }
}
