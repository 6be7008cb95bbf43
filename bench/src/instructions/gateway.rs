//! The counted side of a whole call: the standalone gateway as it is released, one worker, under callgrind. Its
//! peers live in the counting process ([`super::peers`]), so that nothing of them is in the count.
//!
//! It drives its sockets by epoll: valgrind (3.19) keeps its one lock while a thread waits in `io_uring_enter`, and
//! no other thread of the process runs. What stands above the driver is the same code.

use super::callgrind::{self, Failure};
use ringway_proto::snapshot::Document;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Callgrind needs a second or two to start a program; a busy machine makes it ten.
const START: Duration = Duration::from_secs(120);

/// Builds the gateway beside `program`, which is this one, with the same profile and features.
pub fn build(program: &Path) -> Result<PathBuf, Failure> {
    let folder = program.parent().unwrap_or(Path::new("."));
    let target = folder.parent().unwrap_or(Path::new("."));
    let profile = match folder.file_name().and_then(|n| n.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(target)
        // Both packages, so that their dependencies keep the features they have.
        .args(["-p", "ringway-bench", "--bin", "ringway-bench"])
        .args(["-p", "ringway-runtime", "--bin", "ringway-gateway"])
        .status();
    match built {
        Ok(status) if status.success() => Ok(folder.join("ringway-gateway")),
        Ok(status) => Err(Failure::Peer(format!("the gateway does not build: {status}"))),
        Err(error) => Err(Failure::Peer(format!("cargo does not start: {error}"))),
    }
}

/// A gateway under callgrind; killed when dropped before its end.
pub struct Gateway {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Gateway {
    /// Starts `program` with `document`; files go to `folder`, counts to `out`.
    pub fn start(program: &Path, document: &Document, folder: &Path, out: &Path) -> Result<Self, Failure> {
        let (snapshot, keys) = (folder.join("snapshot.json"), folder.join("session-keys"));
        let text = serde_json::to_string(document).map_err(|e| Failure::Peer(e.to_string()))?;
        write(&snapshot, &text)?;
        write(&keys, &format!("1 {}\n", "07".repeat(32)))?;
        let mut child = callgrind::command(program, out)
            .arg("--snapshot")
            .arg(snapshot)
            .arg("--session-keys")
            .arg(keys)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--workers",
                "1",
                "--io",
                "epoll",
                "--drain",
                "1",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Failure::Valgrind)?;
        let said = child.stderr.take();
        match said
            .ok_or_else(|| Failure::Peer("no stderr".to_owned()))
            .and_then(address_in)
        {
            Ok(address) => Ok(Self { child, address }),
            Err(failure) => {
                // It may hang; what it would still say is of no use.
                let _ = child.kill();
                let _ = child.wait();
                Err(failure)
            }
        }
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, and waits until it has and callgrind has written.
    pub fn stop(mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|e| Failure::Peer(format!("the gateway cannot be told to stop: {e}")))?;
        let ended = self.child.wait().map_err(Failure::Valgrind)?;
        if ended.success() {
            Ok(())
        } else {
            Err(Failure::Peer(format!("the gateway ended with {ended}")))
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::File {
        path: path.to_owned(),
        error,
    })
}

/// The address in the gateway's log. The rest of it, access lines for the most part, is read and dropped by a
/// thread, so that the gateway never waits for somebody to read.
fn address_in(log: impl std::io::Read + Send + 'static) -> Result<SocketAddr, Failure> {
    let (found, address) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let text = line.split_whitespace().find_map(|w| w.strip_prefix("address="));
            if let Some(address) = text.and_then(|a| a.parse::<SocketAddr>().ok()) {
                // Only the first is waited for.
                let _ = found.send(address);
            }
        }
    });
    address
        .recv_timeout(START)
        .map_err(|_| Failure::Peer("the gateway did not start; is valgrind installed?".to_owned()))
}
