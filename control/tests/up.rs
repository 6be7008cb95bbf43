//! `ringway up` as its operator sees it: one process, its files and its signals.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(30);

/// A gateway with its state in a directory of the test's own.
struct Gateway {
    process: Child,
    dir: PathBuf,
    url: String,
    admin: String,
    key: Option<String>,
}

impl Gateway {
    fn start(dir: &Path, config: Option<&str>, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command
            .args([
                "up",
                "--json",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
            ])
            .args(config);
        let mut process = command
            .current_dir(dir)
            .env_remove("XDG_RUNTIME_DIR")
            .env("RINGWAY_STATE_DIR", dir.join("state"))
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let welcome: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!(
                "no welcome: {}",
                std::fs::read_to_string(dir.join("log")).unwrap()
            )
        });
        let text = |name: &str| welcome[name].as_str().map(str::to_owned);
        Self {
            process,
            dir: dir.to_owned(),
            url: text("url").unwrap(),
            admin: text("admin").unwrap(),
            key: text("key"),
        }
    }

    /// A command against this gateway: exit code, stdout, stderr.
    fn ringway(&self, args: &[&str], key: Option<&str>) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command
            .args(args)
            .current_dir(&self.dir)
            .env("RINGWAY_STATE_DIR", self.dir.join("state"))
            .env("RINGWAY_URL", &self.url)
            .env_remove("RINGWAY_KEY");
        if let Some(key) = key {
            command.env("RINGWAY_KEY", key);
        }
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn tools(&self, key: Option<&str>) -> Vec<String> {
        let (_, listed, _) = self.ringway(&["tools", "list", "--json"], key);
        let Ok(listed) = serde_json::from_str::<Value>(&listed) else {
            return Vec::new();
        };
        let tools = listed["tools"].as_array().unwrap();
        tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect()
    }

    fn readyz(&self) -> Value {
        let mut stream = std::net::TcpStream::connect(&self.admin).unwrap();
        std::io::Write::write_all(
            &mut stream,
            b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        soon(|| {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Its local servers' process ids, from its log.
    fn children(&self) -> Vec<Pid> {
        let log = self.log();
        let pids = log.lines().filter(|line| line.contains("local server started"));
        pids.filter_map(|line| Pid::from_raw(line.split("pid=").nth(1)?.split(' ').next()?.parse().ok()?))
            .collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[track_caller]
fn soon(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < end, "it did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A configuration with servers of this program's own kind.
fn config(servers: &[&str], more: &str) -> String {
    let program = env!("CARGO_BIN_EXE_ringway");
    let mut text = String::from("servers:\n");
    for name in servers {
        text.push_str(&format!(
            "  {name}: {{command: {program:?}, args: [builtin-server], sharing: shared}}\n"
        ));
    }
    text + more
}

#[test]
fn without_a_configuration_a_first_call_needs_nothing_else() {
    let here = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(here.path(), None, &[]);
    let key = gateway.key.clone().expect("a development key");
    assert!(gateway.tools(None).contains(&"builtin__add".to_owned()));
    let (code, out, _) = gateway.ringway(&["call", "builtin__add", r#"{"a": 40, "b": 2}"#], None);
    assert_eq!((code, out.trim()), (0, "42"));
    let (code, out, err) = gateway.ringway(&["call", "builtin__progress", r#"{"steps": 3}"#], None);
    assert_eq!(code, 0);
    assert!(
        !out.contains("1/3") && err.contains("1/3"),
        "progress is for stderr: {err}"
    );
    let (code, _, _) = gateway.ringway(&["call", "builtin__add", r#"{"a": 1}"#], None);
    assert_eq!(code, 5, "the tool's own error");
    let (code, _, err) = gateway.ringway(&["call", "builtin__ad"], None);
    assert_eq!(code, 1);
    assert!(err.contains("builtin__add"), "{err}");
    let (code, _, err) = gateway.ringway(&["tools", "list"], Some("rwk_wrong"));
    assert_eq!(code, 6, "{err}");
    let ready = gateway.readyz();
    assert_eq!(
        (&ready["ready"], &ready["servers"][0]["state"]),
        (&Value::Bool(true), &"up".into())
    );

    let children = gateway.children();
    assert!(!children.is_empty());
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.log());
    for child in children {
        assert!(
            test_kill_process(child).is_err(),
            "no local server is left behind"
        );
    }
    assert!(!gateway.log().contains(&key), "no log line holds a key");
    let left: Vec<_> = std::fs::read_dir(here.path().join("state"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().starts_with("ringway-")),
        "{left:?}"
    );

    let again = Gateway::start(here.path(), None, &[]);
    assert_eq!(again.key.as_ref(), Some(&key), "the key stays the same");
}

#[test]
fn an_address_in_use_is_said_and_nothing_is_left_running() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = Gateway::start(here.path(), None, &[]);
    let address = gateway.url.trim_start_matches("http://").trim_end_matches("/mcp");
    let second = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["up", "--no-admin", "--listen", address, "--state-dir", "state"])
        .current_dir(there.path())
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(address) && said.contains("next:"), "{said}");
    assert!(second.stdout.is_empty(), "no welcome");
}

#[test]
fn a_changed_file_takes_effect_and_a_bad_one_does_not() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("ringway.yaml");
    let anonymous = "roles:\n  all: {allow: [\"*\"]}\nanonymous: {roles: [all]}\n";
    std::fs::write(&file, config(&["one"], anonymous)).unwrap();
    let gateway = Gateway::start(here.path(), None, &[]);
    assert_eq!(gateway.key, None, "callers need none");
    assert!(gateway.tools(None).contains(&"one__add".to_owned()));

    std::fs::write(&file, config(&["one", "two"], anonymous)).unwrap();
    soon(|| gateway.tools(None).contains(&"two__add".to_owned()));

    std::fs::write(&file, "servers: 7\n").unwrap();
    soon(|| gateway.log().contains("the one before goes on serving"));
    assert!(gateway.tools(None).contains(&"two__add".to_owned()));

    std::fs::write(&file, config(&["two"], anonymous)).unwrap();
    soon(|| !gateway.tools(None).contains(&"one__add".to_owned()));
    assert!(gateway.tools(None).contains(&"two__add".to_owned()));

    std::fs::write(&file, config(&["two"], &format!("{anonymous}drain: 5s\n"))).unwrap();
    soon(|| gateway.log().contains("read only at start"));
    gateway.signal(Signal::HUP);
    soon(|| gateway.log().contains("SIGHUP"));
    assert!(gateway.tools(None).contains(&"two__add".to_owned()));
}

#[test]
fn keys_come_and_go_while_it_serves() {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(
        here.path().join("ringway.yaml"),
        config(&["one"], "roles:\n  adder: {allow: [one__add]}\n"),
    )
    .unwrap();
    let gateway = Gateway::start(here.path(), None, &[]);
    assert!(gateway.key.is_some());
    let (code, key, _) = gateway.ringway(&["keys", "create", "ci", "--role", "adder"], None);
    assert_eq!(code, 0);
    let key = key.trim();
    soon(|| gateway.tools(Some(key)) == ["one__add"]);
    soon(|| gateway.ringway(&["tools", "list"], gateway.key.as_deref()).0 == 6);
    assert_eq!(gateway.ringway(&["keys", "revoke", "ci"], None).0, 0);
    soon(|| gateway.ringway(&["tools", "list"], Some(key)).0 == 6);
    assert!(!gateway.log().contains(key));
}

#[test]
fn a_server_that_is_away_at_a_restart_stays_listed() {
    let (near, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let upstream = Gateway::start(far.path(), None, &[]);
    let key = upstream.key.clone().unwrap();
    let file = format!(
        "servers:\n  far: {{url: {:?}, headers: {{authorization: \"Bearer ${{FAR_KEY}}\"}}}}\n",
        upstream.url
    );
    std::fs::write(near.path().join("ringway.yaml"), file).unwrap();
    let mut gateway = Gateway::start(near.path(), None, &[("FAR_KEY", &key)]);
    let (code, out, err) = gateway.ringway(&["call", "far__builtin__add", r#"{"a": 1, "b": 1}"#], None);
    assert_eq!((code, out.trim()), (0, "2"), "{err}{}", gateway.log());
    let saved = std::fs::read_to_string(near.path().join("state/snapshot.json")).unwrap();
    assert!(
        saved.contains("builtin__add") && !saved.contains(&key),
        "references stay references"
    );
    gateway.signal(Signal::TERM);
    gateway.wait();
    drop(upstream);

    let gateway = Gateway::start(near.path(), None, &[("FAR_KEY", &key)]);
    assert!(gateway.tools(None).contains(&"far__builtin__add".to_owned()));
    let ready = gateway.readyz();
    assert_eq!(ready["servers"][0]["state"], "down", "{ready}");
    assert!(!ready.to_string().contains(&key) && !gateway.log().contains(&key));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let here = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(here.path(), None, &[]);
    let mut call = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["call", "builtin__progress", r#"{"steps": 100, "delay_ms": 1000}"#])
        .current_dir(here.path())
        .env("RINGWAY_STATE_DIR", here.path().join("state"))
        .env("RINGWAY_URL", &gateway.url)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first step is told, so the call is under way.
    let mut line = String::new();
    BufReader::new(call.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("1/100"), "{line}");
    gateway.signal(Signal::TERM);
    soon(|| gateway.log().contains("draining"));
    assert!(gateway.process.try_wait().unwrap().is_none(), "the call goes on");
    gateway.signal(Signal::INT);
    assert_eq!(gateway.wait().code(), Some(1), "{}", gateway.log());
    let _ = call.wait();
}
