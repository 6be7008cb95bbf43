//! Distributed runs with real processes: two generators, the built-in upstream, and the run that leads them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic in a test is its report"
)]

use ringway_loadtest::{
    report::model::Report,
    upstream::{self, Options},
};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-loadtest");
const TOKEN: &str = "a token for this test";
/// Long enough for a loaded machine, short enough to notice a hang.
const PATIENCE: Duration = Duration::from_secs(60);

struct Generator {
    child: Child,
    address: String,
}

impl Generator {
    fn start() -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["generator", "--listen", "127.0.0.1:0"])
            .env("RINGWAY_LOADTEST_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, address }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server() -> upstream::Handle {
    upstream::serve(Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..Options::default()
    })
    .unwrap()
}

fn run(url: &str, generators: &[&Generator], more: &[&str]) -> Command {
    let addresses: Vec<&str> = generators
        .iter()
        .map(|generator| generator.address.as_str())
        .collect();
    let mut command = Command::new(PROGRAM);
    command
        .args([
            "run",
            "--url",
            url,
            "--tool",
            "echo",
            "--arguments",
            r#"{"text":"hello"}"#,
        ])
        .args([
            "--generators",
            &addresses.join(","),
            "--connections",
            "7",
            "--warmup",
            "200ms",
        ])
        .args(more)
        .env("RINGWAY_LOADTEST_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn two_generators_make_one_run_and_one_report() {
    let server = server();
    let generators = [Generator::start(), Generator::start()];
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let keys = folder.path().join("keys.txt");
    std::fs::write(&keys, "key-one\nkey-two\n").unwrap();
    let load = ["--rate", "200", "--duration", "2s", "--threshold", "errors < 50%"];
    let files = [
        "--json",
        json.to_str().unwrap(),
        "--keys-file",
        keys.to_str().unwrap(),
    ];
    let output = run(
        &server.url(),
        &[&generators[0], &generators[1]],
        &[&load[..], &files[..]].concat(),
    )
    .output()
    .unwrap();
    // 0 or, where this machine is too busy to keep pace, 1; the report is there in both cases.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", said(&output));
    let report: Report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert!((350..=450).contains(&report.total.due), "{}", report.total.due);
    assert_eq!(report.total.latency.count, report.total.ok);
    assert!(report.total.ok > 0, "{:?}", report.total.errors);
    assert_eq!(report.stages[0].offered_per_s, Some(200.0));
    assert_eq!(report.headroom.threads, 2);
    assert!(!report.thresholds.is_empty());
    assert!(
        report.generator.ends_with("× 2 generators"),
        "{}",
        report.generator
    );
    let connections = report.timeline.iter().map(|moment| moment.connections).max();
    assert_eq!(connections, Some(7));
    assert!(!report.scenario.contains("key-one"));
}

#[test]
fn a_generator_that_dies_voids_the_run_and_the_other_is_free_again() {
    let server = server();
    let mut generators = [Generator::start(), Generator::start()];
    let stays = generators[0].address.clone();
    let dies = generators[1].address.clone();
    let child = run(
        &server.url(),
        &[&generators[0], &generators[1]],
        &["--rate", "50", "--duration", "10m"],
    )
    .spawn()
    .unwrap();
    let until = Instant::now() + PATIENCE;
    while server.stats().counts["calls_echo"] < 20 {
        assert!(Instant::now() < until, "the run does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    generators[1].child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains(&dies) && said.contains("lost") && !said.contains(&stays),
        "{said}"
    );
    let again = run(
        &server.url(),
        &[&generators[0]],
        &["--concurrency", "3", "--duration", "500ms"],
    )
    .output()
    .unwrap();
    assert!(matches!(again.status.code(), Some(0 | 1)), "{again:?}");
}

#[test]
fn a_search_is_led_from_outside() {
    let server = server();
    let generators = [Generator::start(), Generator::start()];
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    // So low that any machine bears it: the search ends at the highest rate allowed, or where noise ends it.
    let search = [
        "--search",
        "--rate-min",
        "20",
        "--rate-max",
        "40",
        "--probe",
        "400ms",
        "--p99-max",
        "1s",
    ];
    let output = run(&server.url(), &[&generators[0], &generators[1]], &search)
        .args(["--json", json.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", said(&output));
    let report: Report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let found = report.saturation.expect("a search");
    assert!(report.stages.len() >= 2 && report.stages[1].from_s >= report.stages[0].to_s);
    assert!(
        found.sustained_per_s <= 40.0 && !found.conditions.is_empty(),
        "{found:?}"
    );
    assert!(report.scenario.contains("search"), "{}", report.scenario);
}

#[test]
fn the_command_line_says_what_is_missing() {
    let missing = Command::new(PROGRAM)
        .args(["generator", "--listen", "127.0.0.1:0"])
        .env_remove("RINGWAY_LOADTEST_TOKEN")
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(said(&missing).contains("--token-file"), "{}", said(&missing));
    let generator = Generator::start();
    let few = run(
        "http://127.0.0.1:1/mcp",
        &[&generator],
        &["--rate", "5", "--duration", "1s"],
    )
    .env("RINGWAY_LOADTEST_TOKEN", "quite another token")
    .output()
    .unwrap();
    assert_eq!(few.status.code(), Some(4), "{}", said(&few));
    assert!(
        said(&few).contains("token") && said(&few).contains(&generator.address),
        "{}",
        said(&few)
    );
}
