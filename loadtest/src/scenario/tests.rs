//! Scenarios read: what is taken, what is refused, and where it is said to stand.

use super::{flags::Flags, *};
use std::{path::Path, time::Duration};

const SMALL: &str = r#"
[target]
url = "http://127.0.0.1:8080/mcp"

[load]
rate = 2000

[[operation]]
call = "tools/call"
tool = "echo"
arguments = { message = "{{random_text 151}}", n = "{{seq}}" }
"#;

fn read(text: &str) -> Scenario {
    Scenario::read(text, Path::new("")).unwrap_or_else(|findings| panic!("{findings}"))
}

fn findings(text: &str) -> Vec<String> {
    let findings = Scenario::read(text, Path::new("")).expect_err("something is wrong");
    findings.0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_small_scenario_has_defaults() {
    let scenario = read(SMALL);
    assert_eq!(scenario.name, "run");
    assert_eq!(scenario.operations[0].name, "echo");
    assert_eq!(scenario.connections.count, 64);
    assert_eq!(scenario.client_count(), 64);
    assert_eq!(scenario.target.revision, Speak::Auto);
    let Load::Open {
        warmup,
        steps,
        arrivals,
    } = &scenario.load
    else {
        panic!("{:?}", scenario.load);
    };
    assert_eq!((*warmup, *arrivals), (Duration::from_secs(1), Arrivals::Even));
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].duration, Duration::from_secs(10));
}

#[test]
fn every_finding_is_told_at_once_with_its_line() {
    let text = r#"
nmae = "typo"
[target]
url = "localhost:8080"
revision = "2024-01-01"
[load]
rate = -5
duration = "10"
[connections]
count = 0
[[operation]]
call = "tools/call"
[[operation]]
call = "tools/call"
tool = "x"
arguments = { n = "{{squence}}" }
wieght = 3
"#;
    let found = findings(text);
    for (line, says) in [
        (2, "nmae"),
        (4, "http://"),
        (5, "revision"),
        (7, "above zero"),
        (8, "10s"),
        (10, "connections.count"),
        (11, "tool"),
        (16, "squence"),
    ] {
        assert!(
            found
                .iter()
                .any(|f| f.starts_with(&format!("line {line}:")) && f.contains(says)),
            "line {line} about {says}: {found:#?}"
        );
    }
}

#[test]
fn broken_toml_says_where() {
    let found = findings("[target\nurl = \"http://a/\"\n[load]\nrate = = 3\n");
    assert!(found.iter().any(|f| f.starts_with("line 1:")), "{found:?}");
    assert!(found.iter().any(|f| f.starts_with("line 4:")), "{found:?}");
}

#[test]
fn one_kind_of_load_is_needed_and_only_one() {
    let with = |load: &str| SMALL.replace("rate = 2000", load);
    assert!(findings(&with(""))[0].contains("only one"));
    assert!(findings(&with("rate = 1\nconcurrency = 1"))[0].contains("only one"));
    assert!(findings(&with("concurrency = 8\narrivals = \"poisson\""))[0].contains("belongs to"));
    assert!(findings(&with("rate = 1\nthink = \"1s\""))[0].contains("belongs to"));
    assert!(findings(&with("rate = 1e9"))[0].contains("calls/s"));
    let closed = read(&with("concurrency = 8\nthink = \"5ms\""));
    assert_eq!(closed.connections.count, 8);
    let search = read(&with("[load.search]\np99_max = \"3ms\"\nerrors_max = \"0.5%\""));
    let Load::Search { search, .. } = search.load else {
        panic!("no search")
    };
    assert_eq!(search.p99_max, Duration::from_millis(3));
    assert!((search.errors_max - 0.005).abs() < 1e-9);
}

#[test]
fn steps_ramp_within_themselves() {
    let steps = "[[load.step]]\nrate = 100\nduration = \"10s\"\nramp = \"10s\"\n[[load.step]]\nrate = 500\nduration = \"5s\"";
    let Load::Open { steps, .. } = read(&SMALL.replace("rate = 2000", steps)).load else {
        panic!("open");
    };
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].ramp, Duration::from_secs(10));
    let long = "[[load.step]]\nrate = 100\nduration = \"1s\"\nramp = \"2s\"";
    assert!(findings(&SMALL.replace("rate = 2000", long))[0].contains("ramp"));
}

#[test]
fn callers_and_connections_fit_together() {
    let text = SMALL.replace("rate = 2000", "concurrency = 9\n[connections]\ncount = 8");
    assert!(findings(&text)[0].contains("only 8"));
    let text = SMALL
        .replace("rate = 2000", "concurrency = 250")
        .replace("url =", "http = \"2\"\nurl =");
    let scenario = read(&text);
    assert_eq!(
        (scenario.connections.count, scenario.connections.streams),
        (3, 100)
    );
    let text = SMALL.replace("rate = 2000", "rate = 1\n[generator]\nthreads = 65");
    assert!(findings(&text)[0].contains("64 connections"));
}

#[test]
fn two_operations_need_two_names() {
    let twice = format!("{SMALL}\n[[operation]]\ncall = \"tools/call\"\ntool = \"echo\"\n");
    assert!(findings(&twice)[0].contains("twice"));
}

#[test]
fn keys_come_from_a_file_and_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys"), "# tenants\nk-one\n\n k-two \n").unwrap();
    let text = format!("{SMALL}\n[clients]\nkeys_file = \"keys\"\nheader = \"x-api-key\"\n");
    let scenario = Scenario::read(&text, folder.path()).unwrap();
    assert_eq!(scenario.clients.keys, ["k-one", "k-two"]);
    assert_eq!(scenario.clients.prefix, "", "only `authorization` has a scheme");
    assert!(!format!("{scenario:?}").contains("k-one"));
    assert!(findings(&text)[0].contains("cannot be read"));
}

#[test]
fn flags_alone_are_a_scenario() {
    let flags = Flags {
        url: vec!["http://127.0.0.1:1/mcp".into()],
        tool: Some("echo".into()),
        arguments: Some(r#"{"message": "{{random_text 10}}"}"#.into()),
        rate: Some(2000.0),
        duration: Some("10s".into()),
        connections: Some(8),
        cpus: vec![1, 3],
        headers: vec!["X-Tenant: a b".into()],
        ..Flags::default()
    };
    let scenario = flags.scenario(None).unwrap();
    assert_eq!(scenario.operations[0].name, "echo");
    assert_eq!(scenario.connections.count, 8);
    assert_eq!(scenario.generator.cpus, [1, 3]);
    assert_eq!(
        scenario.target.headers,
        [("x-tenant".to_owned(), "a b".to_owned())]
    );
    let again = Scenario::read(&scenario.text, Path::new("")).unwrap();
    assert_eq!(again.load, scenario.load);
    let wrong = Flags {
        headers: vec!["nonsense".into()],
        ..flags
    };
    assert!(
        wrong
            .scenario(None)
            .unwrap_err()
            .to_string()
            .contains("name: value")
    );
}

#[test]
fn flags_replace_what_a_file_says() {
    let file = Some((SMALL, Path::new("")));
    let flags = Flags {
        concurrency: Some(4),
        tool: Some("add".into()),
        ..Flags::default()
    };
    let scenario = flags.scenario(file).unwrap();
    assert!(matches!(scenario.load, Load::Closed { concurrency: 4, .. }));
    assert_eq!(scenario.operations.len(), 1);
    assert_eq!(scenario.operations[0].name, "add");
    assert_eq!(Flags::default().scenario(file).unwrap().text, SMALL);
    let flags = Flags {
        search: true,
        p99_max: Some("2ms".into()),
        ..Flags::default()
    };
    assert!(matches!(flags.scenario(file).unwrap().load, Load::Search { .. }));
}

#[test]
fn every_kind_of_call_reads() {
    let calls = r#"
[[operation]]
call = "tools/list"
[[operation]]
call = "search+execute"
tool = "a__echo"
query = "say something"
arguments = { message = "x" }
[[operation]]
call = "resources/read"
uri = "test://static-text"
[[operation]]
call = "prompts/get"
prompt = "greet"
arguments = { name = "{{pick ada bob}}" }
[[operation]]
call = "ping"
[[operation]]
call = "session"
calls = 3
tool = "echo"
[[operation]]
call = "completion/complete"
params = '{"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": "{{seq}}"}}'
[[operation]]
name = "slow"
call = "tools/call"
tool = "big"
read_bytes_per_s = "64KiB"
[[operation]]
name = "cancelled"
call = "tools/call"
tool = "big"
cancel_after = "50ms"
[[operation]]
name = "streamed"
call = "tools/call"
tool = "big"
progress = true
weight = 0.5
"#;
    let scenario = read(&format!("{SMALL}{calls}"));
    assert_eq!(scenario.operations.len(), 11);
    assert_eq!(scenario.operations[8].read_bytes_per_s, Some(65_536));
    assert_eq!(
        scenario.operations[9].cancel,
        Some(Cancel::After(Duration::from_millis(50)))
    );
    let Action::Pair(_, execute) = &scenario.operations[2].action else {
        panic!("a pair");
    };
    assert_eq!(execute.subject.as_deref(), Some("EXECUTE_TOOL"));
}

#[test]
fn the_examples_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            if let Err(findings) = Scenario::read(&text, &folder) {
                panic!("{}:\n{findings}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}
