//! `ringway-loadtest report` as a person or a pipeline calls it.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod support;

use std::{
    path::Path,
    process::{Command, Output},
};

use ringway_loadtest::report::file;
use support::sample;

fn report(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let said: Output = Command::new(env!("CARGO_BIN_EXE_ringway-loadtest"))
        .arg("report")
        .args(args)
        .current_dir(dir)
        .output()
        .expect("the command starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        said.status.code().expect("an exit code"),
        text(&said.stdout),
        text(&said.stderr),
    )
}

fn two_runs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    file::write(&dir.path().join("a.json"), &sample::steady(sample::RINGWAY)).expect("written");
    file::write(&dir.path().join("b.json"), &sample::steady(sample::OTHER)).expect("written");
    dir
}

#[test]
fn one_report_is_a_summary_and_two_are_compared() {
    let dir = two_runs();
    let (code, out, err) = report(dir.path(), &["a.json"]);
    assert_eq!(
        (code, err.as_str()),
        (0, ""),
        "a report shown again is no failed run"
    );
    assert!(
        out.contains("✗ tool:search p50 < 500us") && !out.contains('\u{1b}'),
        "{out}"
    );
    let (code, out, _) = report(
        dir.path(),
        &[
            "a.json",
            "b.json",
            "--label",
            "ours",
            "--label",
            "theirs",
            "--html",
            "both.html",
        ],
    );
    assert_eq!(code, 0);
    assert!(
        out.contains("A  ours") && out.contains("B  theirs") && out.contains("B/A"),
        "{out}"
    );
    let page = std::fs::read_to_string(dir.path().join("both.html")).expect("the page");
    assert!(page.starts_with("<!doctype html>") && page.contains("B theirs"));
    let (_, out, _) = report(dir.path(), &["a.json", "b.json", "--markdown"]);
    assert!(
        out.contains("| all calls | A ringway | B another gateway |"),
        "{out}"
    );
}

#[test]
fn thresholds_given_here_decide_the_exit_code() {
    let dir = two_runs();
    let (code, out, _) = report(
        dir.path(),
        &["a.json", "--threshold", "p99 < 2ms", "--threshold", "errors < 1%"],
    );
    assert_eq!(code, 0, "{out}");
    let (code, out, _) = report(dir.path(), &["a.json", "b.json", "--threshold", "p99 < 2ms"]);
    assert_eq!(code, 1);
    assert!(
        out.contains("✓ p99 < 2ms") && out.contains("✗ p99 < 2ms"),
        "{out}"
    );
}

#[test]
fn mistakes_end_with_two_and_say_what_is_wrong() {
    let dir = two_runs();
    let whole = std::fs::read(dir.path().join("a.json")).expect("read");
    std::fs::write(dir.path().join("cut.json"), &whole[..whole.len() / 2]).expect("written");
    for (args, says) in [
        (&["cut.json"][..], "cut.json: the file is cut short"),
        (&["missing.json"], "missing.json: "),
        (
            &["a.json", "--threshold", "p99 < 5"],
            "column 8: a time needs a unit",
        ),
        (
            &["a.json", "--label", "x", "--label", "y"],
            "more labels than reports",
        ),
        (
            &["a.json", "--html", "no/such/folder.html"],
            "no/such/folder.html: ",
        ),
    ] {
        let (code, out, err) = report(dir.path(), args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
}
