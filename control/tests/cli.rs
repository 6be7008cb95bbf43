//! The command line as a script sees it: exit codes, stdout, stderr.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Output},
};

/// Runs `ringway` in `dir`, with its state there and nothing of ours in the environment.
fn ringway(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(args)
        .current_dir(dir)
        .env_remove("RINGWAY_KEY")
        .env_remove("RINGWAY_URL")
        .env_remove("RINGWAY_LOG")
        .env("RINGWAY_STATE_DIR", dir.join("state"))
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|e| panic!("{e}: {}", stdout(output)))
}

const GOOD: &str = "servers:\n  a: {url: \"http://127.0.0.1:9/mcp\"}\nroles:\n  dev: {allow: [\"*\"]}\n";

#[test]
fn help_names_every_command_and_each_has_its_own() {
    let here = tempfile::tempdir().unwrap();
    let help = ringway(here.path(), &["--help"]);
    assert_eq!(code(&help), 0);
    for command in ["up", "check", "import", "keys", "tools", "call", "doctor"] {
        assert!(stdout(&help).contains(&format!("  {command} ")), "{command}");
        let own = ringway(here.path(), &[command, "--help"]);
        assert_eq!(code(&own), 0, "{command}");
        assert!(stdout(&own).len() > 200, "{command}: {}", stdout(&own));
    }
    assert!(!stdout(&help).contains("builtin-server"), "it is for `up` alone");
}

#[test]
fn a_wrong_command_line_is_told_from_everything_else() {
    let here = tempfile::tempdir().unwrap();
    let wrong: [&[&str]; 5] = [
        &[],
        &["nonsense"],
        &["keys", "create", "x"],
        &["call", "tool", "not json"],
        &["check"],
    ];
    for args in wrong {
        let output = ringway(here.path(), args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(
            stdout(&output).is_empty() && !stderr(&output).is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("ringway.yaml"), GOOD).unwrap();
    let good = ringway(here.path(), &["check"]);
    assert_eq!(code(&good), 0, "{}", stdout(&good));
    assert_eq!(
        code(&ringway(here.path(), &["check", "--strict"])),
        3,
        "nobody may call: a warning"
    );

    std::fs::write(
        here.path().join("bad.yaml"),
        "servers:\n  a: {url: \"ftp://x\"}\nrolls: {}\n",
    )
    .unwrap();
    let bad = ringway(here.path(), &["check", "bad.yaml", "--json"]);
    assert_eq!(code(&bad), 3);
    let findings = json(&bad);
    assert_eq!(findings["errors"], findings["findings"].as_array().unwrap().len());
    assert!(
        findings["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["line"] == 3)
    );
    let up = ringway(here.path(), &["up", "bad.yaml"]);
    assert_eq!(code(&up), 3, "what does not check does not start");
    assert!(stderr(&up).contains("bad.yaml:3"), "{}", stderr(&up));
}

#[test]
fn a_key_lives_from_create_to_revoke() {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("ringway.yaml"), GOOD).unwrap();
    let created = ringway(
        here.path(),
        &["keys", "create", "CI", "--role", "dev", "--expires", "90d"],
    );
    assert_eq!(code(&created), 0, "{}", stderr(&created));
    let key = stdout(&created).trim().to_owned();
    assert!(
        key.starts_with("rwk_") && !key.contains(char::is_whitespace),
        "alone on stdout: {key}"
    );
    assert!(!stderr(&created).contains(&key));

    let unknown = ringway(here.path(), &["keys", "create", "x", "--role", "nope"]);
    assert!(stderr(&unknown).contains("nope"), "{}", stderr(&unknown));

    let rotated = json(&ringway(
        here.path(),
        &["keys", "rotate", "ci", "--overlap", "1h", "--json"],
    ));
    assert_eq!(rotated["record"]["rotated_from"], "ci");
    assert_ne!(rotated["key"], key);
    let ids = |args: &[&str]| -> Vec<String> {
        let listed = json(&ringway(here.path(), args));
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&["keys", "list", "--json"]), ["ci", "x", "ci-2"]);
    assert_eq!(code(&ringway(here.path(), &["keys", "revoke", "ci"])), 0);
    assert_eq!(ids(&["keys", "list", "--json"]), ["x", "ci-2"]);
    assert_eq!(ids(&["keys", "list", "--all", "--json"]), ["ci", "x", "ci-2"]);
    let again = ringway(here.path(), &["keys", "revoke", "ci"]);
    assert_eq!(code(&again), 1, "{}", stderr(&again));
    assert!(stderr(&again).contains("next:"));
}

#[test]
fn an_import_can_be_checked_and_never_repeats_a_secret() {
    let here = tempfile::tempdir().unwrap();
    let desktop = r#"{"mcpServers": {"Git Hub": {"type": "http", "url": "https://example.com/mcp",
        "headers": {"Authorization": "Bearer ghp_0123456789abcdefghijABCDEFGHIJ012345"}}}}"#;
    std::fs::write(here.path().join("desktop.json"), desktop).unwrap();
    let imported = ringway(here.path(), &["import", "desktop.json", "-o", "ringway.yaml"]);
    assert_eq!(code(&imported), 0, "{}", stderr(&imported));
    let yaml = std::fs::read_to_string(here.path().join("ringway.yaml")).unwrap();
    for text in [&yaml, &stderr(&imported), &stdout(&imported)] {
        assert!(!text.contains("ghp_0123"), "{text}");
    }
    assert!(yaml.contains("example.com/mcp"), "{yaml}");
    let kept = ringway(here.path(), &["import", "desktop.json", "-o", "ringway.yaml"]);
    assert_eq!(code(&kept), 1, "an existing file is not replaced");
    assert_eq!(
        code(&ringway(
            here.path(),
            &["import", "desktop.json", "-o", "ringway.yaml", "--force"]
        )),
        0
    );
    std::fs::write(here.path().join("broken.json"), "{\"mcpServers\": 7}").unwrap();
    assert_eq!(code(&ringway(here.path(), &["import", "broken.json"])), 3);
}

#[test]
fn the_doctor_looks_at_everything_and_changes_nothing() {
    let here = tempfile::tempdir().unwrap();
    let output = ringway(here.path(), &["doctor", "--json"]);
    let checks = json(&output);
    let names: Vec<_> = checks
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    for name in [
        "kernel",
        "io_uring",
        "memlock",
        "nofile",
        "listen",
        "admin",
        "state dir",
        "node",
        "npx",
        "uvx",
        "python",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let failed = checks.as_array().unwrap().iter().any(|c| c["state"] == "fail");
    assert_eq!(code(&output), i32::from(failed));
    for check in checks.as_array().unwrap() {
        assert_eq!(check["state"] == "ok", check.get("advice").is_none(), "{check}");
    }
    assert!(!here.path().join("state").exists());
}

#[test]
fn a_gateway_that_is_not_there_has_its_own_code() {
    let here = tempfile::tempdir().unwrap();
    for args in [&["tools", "list"][..], &["call", "a__b"]] {
        let output = ringway(
            here.path(),
            &[args, &["--url", "http://127.0.0.1:9/mcp"]].concat(),
        );
        assert_eq!(code(&output), 4, "{}", stderr(&output));
        assert!(stderr(&output).contains("next:"));
    }
}

#[test]
fn the_manual_lists_the_exit_codes_as_they_are() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md")).unwrap();
    for exit in ringway_control::cli::exit::Exit::ALL {
        let row = format!("| {} | {} |", exit as u8, exit.meaning());
        assert!(page.contains(&row), "docs/cli.md lacks: {row}");
    }
}
