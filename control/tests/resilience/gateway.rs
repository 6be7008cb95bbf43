//! The program under test: started on free ports with a configuration that can be changed, looked at from outside.

use crate::{
    PATIENCE,
    client::{Agent, Era},
    eventually,
    support::{counting, http, process::Process},
    until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};
use tempfile::TempDir;

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway");

/// Everything is allowed to everybody: the head of most configurations here.
pub const OPEN: &str = "anonymous: {roles: [all]}\nroles: {all: {allow: [\"*\"]}}\n";

/// A local server with two processes of its own beside it: one that ends when it is asked, and one in a session of
/// its own that ignores being asked.
pub fn with_strays() -> String {
    let strays = "sleep 1000 & (trap '' TERM; exec setsid sleep 1000) &";
    format!("{{command: sh, args: [-c, \"{strays} exec {PROGRAM} builtin-server\"], sharing: shared}}")
}

/// A running gateway; stopped when dropped.
pub struct Gateway {
    pub process: Process,
    pub addr: SocketAddr,
    admin: String,
    /// What `Gateway::write` puts before every configuration.
    head: String,
    dir: TempDir,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    pub descriptors: usize,
    pub processes: usize,
    pub memory_kib: usize,
}

/// A gateway that may not serve yet.
pub struct Starting {
    pub process: Process,
    head: String,
    dir: TempDir,
}

impl Starting {
    fn new(dir: TempDir, configuration: &str) -> Self {
        let state = dir.path().join("state");
        let head = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nstate_dir: {}\n",
            state.display()
        );
        let text = format!("{head}{configuration}");
        std::fs::write(dir.path().join("ringway.yaml"), text).expect("the temporary directory takes a file");
        Self::spawn(dir, head)
    }

    fn spawn(dir: TempDir, head: String) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(["up", "--json", "ringway.yaml"])
            .current_dir(dir.path());
        // Sockets lie in the state directory then, and go with it.
        command.env("NO_COLOR", "1").env_remove("XDG_RUNTIME_DIR");
        Self {
            process: Process::spawn("ringway up", command),
            head,
            dir,
        }
    }

    fn serves(self) -> Gateway {
        let Self { process, head, dir } = self;
        let said: Value = process.wait_for("it said where it listens", |line| {
            serde_json::from_str(line)
                .ok()
                .filter(|said: &Value| said["url"].is_string())
        });
        let url = said["url"].as_str().expect("a URL");
        let addr = url
            .trim_start_matches("http://")
            .trim_end_matches("/mcp")
            .parse()
            .expect("an address");
        let admin = format!("http://{}", said["admin"].as_str().expect("an admin address"));
        let gateway = Gateway {
            process,
            addr,
            admin,
            head,
            dir,
        };
        until("every server is up", || gateway.ready());
        gateway
    }
}

impl Gateway {
    /// Starts it and waits until it serves and every server has been asked once.
    pub fn up(configuration: &str) -> Self {
        Self::starting(configuration).serves()
    }

    /// As [`Gateway::up`] with one key in the store before the start, whose text is given too.
    pub fn up_with_key(configuration: &str, role: &str) -> (Self, String) {
        let dir = TempDir::with_prefix("ringway-").expect("a temporary directory");
        let (key, _) = create_key(&dir.path().join("state"), "first", role);
        (Starting::new(dir, configuration).serves(), key)
    }

    /// Starts it.
    pub fn starting(configuration: &str) -> Starting {
        Starting::new(
            TempDir::with_prefix("ringway-").expect("a temporary directory"),
            configuration,
        )
    }

    /// Whether `/readyz` says that every server is up.
    pub fn ready(&self) -> bool {
        let Ok(answer) = http::get(&format!("{}/readyz", self.admin)) else {
            return false;
        };
        let Ok(said) = serde_json::from_str::<Value>(&answer.body) else {
            return false;
        };
        let servers = said["servers"].as_array().cloned().unwrap_or_default();
        answer.status == 200 && servers.iter().all(|server| server["state"] == "up")
    }

    /// Waits until calls to these servers are answered: a moment after they are up, because many changes make one
    /// publication.
    pub fn answers_for(&self, servers: &[&str]) {
        for server in servers {
            until("a server answers", || {
                let agent = Agent::connect(self.addr, Era::Modern, "/mcp");
                agent.is_ok_and(|mut a| {
                    a.call(&format!("{server}__echo"), json!({"message": "m"}))
                        .is("m")
                })
            });
        }
    }

    /// Requests whose answer has not ended, by the gateway's own count.
    pub fn calls_in_flight(&self) -> u64 {
        let answer = http::get(&format!("{}/metrics", self.admin)).expect("metrics");
        let line = answer
            .body
            .lines()
            .find_map(|line| line.strip_prefix("ringway_calls_in_flight "));
        line.and_then(|number| number.trim().parse().ok())
            .expect("ringway_calls_in_flight")
    }

    /// Writes the configuration as editors do: a new file, renamed over the old one.
    pub fn write(&self, configuration: &str) {
        self.write_raw(&format!("{}{configuration}", self.head));
    }

    /// The same without the settings before it.
    pub fn write_raw(&self, text: &str) {
        let beside = self.dir.path().join(".ringway.yaml.new");
        std::fs::write(&beside, text).expect("written");
        std::fs::rename(&beside, self.dir.path().join("ringway.yaml")).expect("renamed");
    }

    /// Writes the configuration and waits until the gateway says that it is in effect.
    pub fn reload(&self, configuration: &str) {
        self.and_wait_for("the configuration is in effect", || self.write(configuration));
    }

    /// Does something and waits for a log line that it causes, whatever was logged before.
    pub fn and_wait_for(&self, words: &str, act: impl FnOnce()) {
        let count = |log: String| log.matches(words).count();
        let before = count(self.process.log());
        act();
        until(words, || count(self.process.log()) > before);
    }

    /// `ringway keys create`: the key and its id.
    pub fn create_key(&self, name: &str, role: &str) -> (String, String) {
        create_key(&self.dir.path().join("state"), name, role)
    }

    /// `ringway keys revoke`.
    pub fn revoke_key(&self, id: &str) {
        keys(&self.dir.path().join("state"), &["revoke", id]);
    }

    /// Processes below it whose command line holds `words`.
    pub fn children(&self, words: &str) -> Vec<u32> {
        let all = counting::descendants(self.process.id())
            .into_iter()
            .map(|(id, _)| id);
        all.filter(|id| command_line(*id).contains(words)).collect()
    }

    pub fn holdings(&self) -> Holdings {
        let id = self.process.id();
        Holdings {
            descriptors: counting::descriptors(id),
            processes: counting::descendants(id).len(),
            memory_kib: memory_kib(id),
        }
    }

    /// Waits until it holds what `fits` says it may.
    pub fn holds(&self, what: &str, fits: impl Fn(Holdings) -> bool) -> Holdings {
        let mut last = None;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || {
                let now = self.holdings();
                last = Some(now);
                fits(now).then_some(now)
            })
        }));
        found.unwrap_or_else(|_| {
            panic!(
                "{what}: {last:?} after {PATIENCE:?}; it wrote:\n{}",
                self.process.log()
            )
        })
    }

    /// Directories that hold sockets of local servers, of this gateway and of dead ones.
    pub fn sockets(&self) -> usize {
        let entries = std::fs::read_dir(self.dir.path().join("state")).expect("the state directory");
        entries
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with("ringway-"))
            .count()
    }

    /// Kills it without any warning and starts another one on its state and configuration.
    pub fn killed_and_started_again(mut self) -> Self {
        self.signal(Signal::KILL);
        self.ended();
        Starting::spawn(self.dir, self.head).serves()
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.process.id(), signal);
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let status = self.process.ended(PATIENCE);
        status.unwrap_or_else(|| panic!("it does not end; it wrote:\n{}", self.process.log()))
    }
}

/// Signals a process.
pub fn kill(id: u32, signal: Signal) {
    let pid = Pid::from_raw(id.cast_signed()).expect("a process id");
    // One that has just ended by itself is as good as killed.
    let _ = kill_process(pid, signal);
}

/// Whether a process lives: one that is dead and not yet waited for does not.
pub fn lives(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rfind(')')
        .and_then(|at| stat[at + 1..].trim().chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

fn command_line(id: u32) -> String {
    let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

fn memory_kib(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn create_key(state: &Path, name: &str, role: &str) -> (String, String) {
    let said = keys(state, &["create", name, "--role", role, "--json"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&said["key"]), text(&said["record"]["id"]))
}

fn keys(state: &Path, args: &[&str]) -> String {
    let (command, rest) = args.split_first().expect("a command");
    let mut keys = Command::new(PROGRAM);
    keys.args(["keys", command, "--state-dir"]).arg(state).args(rest);
    // Not in a directory with a configuration of its own.
    let said = keys
        .current_dir(PathBuf::from("/"))
        .output()
        .expect("ringway keys runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).expect("UTF-8")
}
