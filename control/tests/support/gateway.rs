//! `ringway up` on free ports, with a configuration and a state directory of its own.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;

/// A running gateway; stopped when dropped.
pub struct Gateway {
    pub process: Process,
    /// `http://127.0.0.1:port`, without a path.
    pub base: String,
    /// The same of `/livez`, `/readyz` and `/metrics`.
    pub admin: String,
    /// The key it made for this machine, where the configuration has none of its own.
    pub key: Option<String>,
    dir: TempDir,
}

impl Gateway {
    /// Starts with the given configuration, to which free ports and a state directory are added, and waits until
    /// it says where it listens; by then every server has been asked for what it has.
    pub fn up(configuration: &str) -> Self {
        Self::up_with(configuration, |_| {})
    }

    /// As [`Gateway::up`], with a chance to set variables or add flags.
    pub fn up_with(configuration: &str, adjust: impl FnOnce(&mut Command)) -> Self {
        let dir = TempDir::with_prefix("ringway-test-").expect("a temporary directory");
        let file = dir.path().join("ringway.yaml");
        std::fs::write(&file, configuration).expect("the temporary directory takes a file");

        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        // Access records would bury what a failing test has to say; `adjust` may ask for them.
        command.env("NO_COLOR", "1").args([
            "up",
            "--json",
            "--log-level",
            "warn",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--state-dir",
        ]);
        command.arg(dir.path().join("state")).arg(&file);
        command.current_dir(dir.path());
        adjust(&mut command);
        let process = Process::spawn("ringway up", command);
        let said = process.wait_for("it said where it listens", |line| {
            serde_json::from_str::<Value>(line)
                .ok()
                .filter(|said| said["url"].is_string())
        });
        let text = |key: &str| said[key].as_str().map(str::to_owned);
        let url = text("url").expect("the line has a URL");
        let base = url
            .strip_suffix("/mcp")
            .expect("the URL is the merged endpoint's")
            .to_owned();
        let admin = format!("http://{}", text("admin").unwrap_or_default());
        Self {
            process,
            base,
            admin,
            key: text("key"),
            dir,
        }
    }

    /// A gateway in front of these servers, open to anybody: for suites that send no credential.
    pub fn open(servers: &[(&str, &String)]) -> Self {
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

    /// The configuration file: what is written there is taken up while it runs.
    pub fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("ringway.yaml")
    }
}

/// Every tool of these servers for callers without a credential, listed one by one however many there are.
pub fn open_configuration(servers: &[(&str, &String)]) -> String {
    let mut text = String::from(
        "gateway: {interface: list}\nanonymous: {roles: [all]}\nroles: {all: {allow: [\"*\"]}}\nservers:\n",
    );
    for (name, url) in servers {
        text.push_str(&format!("  {name}: {{url: \"{url}\"}}\n"));
    }
    text
}
