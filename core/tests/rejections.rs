//! The table of refusals, printed: a change of any row shows up in review as a change of these files.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use ringway_core::rejection::Rejection;
use std::{fmt::Write, fs, path::Path};

#[test]
fn the_table_reads_as_agreed() {
    let mut text = String::from("reason | http | code | fault | retry_s | text | data\n");
    for r in Rejection::examples() {
        let retry = r
            .retry_after_s()
            .map_or_else(|| "-".to_owned(), |s| s.to_string());
        writeln!(
            text,
            "{} | {} | {} | {} | {retry} | {} | {}",
            r.reason(),
            r.http_status(),
            r.rpc_code(),
            r.fault().as_str(),
            r.public_text(),
            r.data(),
        )
        .unwrap();
    }
    golden(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rejections.txt"),
        &text,
    );
}

/// `docs/reasons.md` has a row `` | `reason` | http | code | fault | … | `` for each reason, and no other.
#[test]
fn the_documentation_lists_exactly_these_reasons() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reasons.md")).unwrap();
    let cells = |line: &str| line.split('|').map(|c| c.trim().to_owned()).collect::<Vec<_>>();
    let written: Vec<Vec<String>> = page.lines().filter(|l| l.starts_with("| `")).map(cells).collect();
    let examples = Rejection::examples();
    for r in &examples {
        let name = format!("`{}`", r.reason());
        let found = written.iter().any(|c| {
            c[1] == name
                && c[2].split(", ").any(|s| s == r.http_status().to_string())
                && c[3].split(", ").any(|s| s == r.rpc_code().to_string())
                && c[4] == r.fault().as_str()
        });
        assert!(
            found,
            "docs/reasons.md lacks `{}` as the table has it: {r:?}",
            r.reason()
        );
    }
    for row in &written {
        assert!(
            examples.iter().any(|r| row[1] == format!("`{}`", r.reason())),
            "not a reason: {}",
            row[1]
        );
    }
}

fn golden(path: &Path, text: &str) {
    if std::env::var_os("RINGWAY_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let agreed = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(agreed, text, "bless with RINGWAY_BLESS=1 if the change is meant");
}
