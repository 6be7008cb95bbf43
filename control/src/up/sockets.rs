//! Where the sockets of local servers are: a directory of this process's own, and short, for a socket's path has
//! at most 107 bytes.

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
    /// Chooses the directory, `$XDG_RUNTIME_DIR/ringway-PID` or one in the state directory, and removes those
    /// that processes left behind which could not say farewell. Making it is the sandbox's.
    pub fn choose(runtime: Option<PathBuf>, state: &Path) -> Self {
        let base = runtime
            .filter(|dir| dir.is_absolute() && dir.is_dir())
            .unwrap_or_else(|| state.to_owned());
        if let Err(error) = sweep(&base) {
            tracing::debug!(dir = %base.display(), %error, "old socket directories were not removed");
        }
        Self {
            directory: base.join(format!("{PREFIX}{}", std::process::id())),
        }
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

fn sweep(base: &Path) -> io::Result<()> {
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if process.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes sockets and then the directory; anything else in it is somebody's and keeps it.
fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sock") {
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
}
