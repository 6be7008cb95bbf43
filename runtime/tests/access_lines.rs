//! Access lines as an operator sees them: on the stderr of the program itself.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is the report of a test"
)]

mod mcp_support;

use mcp_support::{Client, Described, PATIENCE, Request, Upstream, Wire, document};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc,
    time::Instant,
};

/// Calls of a test, over each of [`CLIENTS`] connections.
const CALLS: usize = 100;
const CLIENTS: usize = 3;

fn echo() -> Upstream {
    Upstream::start(|request: &Request, wire: &mut Wire| {
        let id = request.json()["id"].clone();
        let failed = request.json()["params"]["arguments"]["fail"] == true;
        wire.json(&json!({"jsonrpc":"2.0","id":id,"result":{"content":[],"isError":failed}}));
    })
}

/// The program, with its log read line by line.
struct Program {
    child: Child,
    stderr: Option<BufReader<ChildStderr>>,
    addr: std::net::SocketAddr,
    _files: tempfile::TempDir,
}

impl Program {
    fn start(upstream: &Upstream, filter: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let document = document(7, vec![Described::modern("up", upstream, &["echo"])]);
        let (snapshot, keys) = (files.path().join("snapshot.json"), files.path().join("keys"));
        std::fs::write(&snapshot, serde_json::to_vec(&document).unwrap()).unwrap();
        std::fs::write(&keys, format!("1 {}\n", "07".repeat(32))).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringway-gateway"))
            .args(["--listen", "127.0.0.1:0", "--workers", "2", "--log-json"])
            .arg("--snapshot")
            .arg(snapshot)
            .arg("--session-keys")
            .arg(keys)
            .env("RINGWAY_LOG", filter)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let addr = loop {
            let line = next(&mut stderr).expect("it serves");
            if line["message"] == "serving" {
                break line["address"].as_str().unwrap().parse().unwrap();
            }
        };
        Self {
            child,
            stderr: Some(stderr),
            addr,
            _files: files,
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    fn ends_well(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return assert!(status.success(), "{status}");
            }
            std::thread::yield_now();
        }
        panic!("it does not end");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ended, unless the test failed.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The next line, which must be whole.
fn next(stderr: &mut BufReader<ChildStderr>) -> Option<Value> {
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")))
}

fn call(client: &mut Client, id: Value, fail: bool) {
    let params = json!({"name":"up__echo","arguments":{"fail":fail}});
    assert_eq!(client.modern("/mcp", id, "tools/call", params).status, 200);
}

fn is_access(line: &Value) -> bool {
    line["target"] == "access"
}

#[test]
fn every_call_has_its_line_whole_and_before_the_end() {
    let upstream = echo();
    let mut program = Program::start(&upstream, "info,ringway_runtime=debug");
    let addr = program.addr;
    let mut stderr = program.stderr.take().unwrap();
    let (seen, first) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let lines = std::iter::from_fn(|| next(&mut stderr));
        let told = lines.inspect(|line| _ = is_access(line).then(|| seen.send(line.clone())));
        told.collect::<Vec<_>>()
    });

    let mut client = program.client();
    call(&mut client, json!("first"), true);
    let line = first
        .recv_timeout(PATIENCE)
        .expect("a line without a second call");
    for (key, value) in [
        ("level", json!("INFO")),
        ("message", json!("call")),
        ("id", json!("\"first\"")),
        ("method", json!("tools/call")),
        ("credential", json!("anonymous")),
        ("endpoint", json!("")),
        ("server", json!("up")),
        ("tool", json!("echo")),
        ("revision", json!("2026-07-28")),
        ("resumed", json!(false)),
        ("remote", json!("127.0.0.1")),
    ] {
        assert_eq!(line[key], value, "{line}");
    }

    let clients = (0..CLIENTS).map(|c| {
        std::thread::spawn(move || {
            let mut client = Client::connect(addr);
            for n in 0..CALLS {
                call(&mut client, json!(format!("{c}-{n}")), false);
                // A line of the other kind, written by a worker at once.
                let mut wrong = Client::connect(addr);
                wrong.raw(b"nonsense\r\n\r\n");
                wrong.answer();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().unwrap();
    }
    // The last line is not old enough to be handed over in time: the end must do it.
    program.terminate();
    let (lines, others): (Vec<_>, Vec<_>) = reader.join().unwrap().into_iter().partition(is_access);
    program.ends_well();
    assert!(others.len() >= CLIENTS * CALLS, "{} other lines", others.len());
    let mut ids: Vec<_> = lines.iter().map(|l| l["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let all = (0..CLIENTS).flat_map(|c| (0..CALLS).map(move |n| format!("\"{c}-{n}\"")));
    let mut all: Vec<_> = all.chain(["\"first\"".to_owned()]).collect();
    all.sort_unstable();
    assert_eq!(ids, all);
}

#[test]
fn access_lines_can_be_silenced_alone() {
    let upstream = echo();
    let mut program = Program::start(&upstream, "info,access=off");
    call(&mut program.client(), json!(1), false);
    program.terminate();
    let mut stderr = program.stderr.take().unwrap();
    let lines: Vec<_> = std::iter::from_fn(|| next(&mut stderr)).collect();
    assert!(!lines.iter().any(is_access), "{lines:?}");
    assert!(lines.iter().any(|l| l["message"] == "stopped"), "{lines:?}");
    program.ends_well();
}

#[test]
fn a_log_nobody_reads_any_more_stops_nothing() {
    let upstream = echo();
    let mut program = Program::start(&upstream, "info,ringway_runtime=debug");
    let mut client = program.client();
    drop(program.stderr.take());
    for n in 0..CALLS {
        call(&mut client, json!(n), false);
    }
    program.terminate();
    program.ends_well();
}
