//! `ringway up` on free ports, with a configuration and a state directory of its own.

use std::process::Command;

use tempfile::TempDir;

use super::{process::Process, say};

/// A running gateway; stopped when dropped.
pub struct Gateway {
    pub process: Process,
    /// `http://127.0.0.1:port`, without a path.
    pub base: String,
    _dir: TempDir,
}

impl Gateway {
    /// Starts with the given configuration, to which free ports and a state directory are added, and waits until
    /// it says where it listens.
    pub fn up(configuration: &str) -> Self {
        Self::up_with(configuration, |_| {})
    }

    /// As [`Gateway::up`], with a chance to set variables or add flags.
    pub fn up_with(configuration: &str, adjust: impl FnOnce(&mut Command)) -> Self {
        let dir = TempDir::with_prefix("ringway-test-").expect("a temporary directory");
        let file = dir.path().join("ringway.yaml");
        let state = dir.path().join("state");
        let head = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nstate_dir: {}\n",
            state.display()
        );
        std::fs::write(&file, head + configuration).expect("the temporary directory takes a file");

        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command
            .arg("up")
            .arg(&file)
            .current_dir(dir.path())
            .env("NO_COLOR", "1");
        adjust(&mut command);
        let process = Process::spawn("ringway up", command);
        let base = process.wait_for("it said where it listens", listening);
        Self {
            process,
            base,
            _dir: dir,
        }
    }

    /// A gateway in front of these servers, open to anybody: for suites that send no credential.
    pub fn open(servers: &[(&str, &str)]) -> Self {
        Self::up(&open_configuration(servers))
    }

    /// The endpoint that merges all servers.
    pub fn merged(&self) -> String {
        format!("{}/mcp", self.base)
    }

    /// The transparent endpoint of one server.
    pub fn server(&self, name: &str) -> String {
        format!("{}/servers/{name}/mcp", self.base)
    }
}

/// Every tool of these servers for callers without a credential.
pub fn open_configuration(servers: &[(&str, &str)]) -> String {
    let mut text = String::from("anonymous: {roles: [all]}\nroles: {all: {allow: [\"*\"]}}\nservers:\n");
    for (name, url) in servers {
        text.push_str(&format!("  {name}: {{url: \"{url}\"}}\n"));
    }
    text
}

/// Whether `ringway up` exists in this build at all; says so if not.
pub fn exists() -> bool {
    let help = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["up", "--help"])
        .output();
    let exists = help.is_ok_and(|help| help.status.success() && !help.stdout.is_empty());
    if !exists {
        say("SKIPPED: this build has no `ringway up` yet");
    }
    exists
}

/// The first address of a line that is not about the admin socket.
fn listening(line: &str) -> Option<String> {
    if line.to_ascii_lowercase().contains("admin") {
        return None;
    }
    let rest = &line[line.find("http://127.0.0.1:")?..];
    let end = rest["http://".len()..].find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    Some(
        rest[..end.map_or(rest.len(), |end| end + "http://".len())]
            .trim_end_matches(['.', ':'])
            .to_owned(),
    )
}
