//! House rules that a machine can hold: the arrows between crates, where `unsafe` and monoio may stand, what every
//! file begins with, and how long it may be. Each message says what to do.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Which of our crates each one may use (docs/architecture.md, "Code map").
const ARROWS: [(&str, &[&str]); 7] = [
    ("ringway-proto", &[]),
    ("ringway-core", &["ringway-proto"]),
    ("ringway-runtime", &["ringway-core", "ringway-proto"]),
    ("ringway-sandbox", &["ringway-proto"]),
    (
        "ringway-control",
        &[
            "ringway-core",
            "ringway-proto",
            "ringway-runtime",
            "ringway-sandbox",
        ],
    ),
    (
        "ringway-bench",
        &["ringway-core", "ringway-proto", "ringway-runtime"],
    ),
    // A black box from outside: it must be able to test any server.
    ("ringway-loadtest", &["ringway-proto"]),
];

/// Crates that must not reach a decision's or a format's crate, not even through others: they do I/O or keep time.
const NO_IO: [&str; 6] = ["tokio", "monoio", "hyper", "rustls", "quanta", "rustix"];

/// A file longer than this is more than one room.
const LINES_MAX: usize = 600;
/// Conversations with one kind of peer are read one by one and may stand together.
const TEST_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace")
}

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if path.is_dir()
                && !name.starts_with('.')
                && !matches!(name, "target" | "node_modules" | "corpus")
            {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    for (package, _) in ARROWS {
        walk(&root.join(package.trim_start_matches("ringway-")), &mut found);
    }
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        (path.strip_prefix(&root).expect("inside").to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        // The packages' own words are enough; nothing has to be resolved or fetched.
        .no_deps()
        .exec()
        .expect("cargo metadata");
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some((_, allowed)) = ARROWS.iter().find(|(n, _)| *n == name) else {
            panic!("{name} is not in the table of arrows: add it there and to docs/architecture.md");
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind == cargo_metadata::DependencyKind::Normal)
        {
            let to = dependency.name.as_str();
            if to.starts_with("ringway-") {
                assert!(allowed.contains(&to), "{name} must not depend on {to}");
            }
            if matches!(name, "ringway-proto" | "ringway-core") {
                assert!(
                    !NO_IO.contains(&to),
                    "{name} must not depend on {to}: it does no I/O and keeps no time"
                );
            }
        }
    }
}

#[test]
fn unsafe_has_no_yard_yet_and_monoio_one() {
    for (path, text) in sources() {
        let shown = path.display();
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
        for line in code {
            let words: BTreeSet<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            assert!(
                !words.contains("unsafe") || line.contains('"'),
                "{shown}: `unsafe` needs a decision record and a yard here first"
            );
            assert!(
                !words.contains("monoio")
                    || path.starts_with("runtime/src/io")
                    || path.starts_with("control/tests"),
                "{shown}: only runtime/src/io names monoio"
            );
        }
    }
}

#[test]
fn files_say_what_they_are_and_are_one_room() {
    for (path, text) in sources() {
        let shown = path.display();
        let first = text
            .lines()
            .find(|l| !l.starts_with("#!") && !l.is_empty())
            .unwrap_or_default();
        assert!(
            first.starts_with("//!"),
            "{shown} begins without `//!`: say what it is for and how to read it"
        );
        let lines = text.lines().count();
        let is_test = path.components().any(|part| part.as_os_str() == "tests");
        let lines_max = if is_test { TEST_LINES_MAX } else { LINES_MAX };
        assert!(
            lines <= lines_max,
            "{shown} has {lines} lines, more than {lines_max}: split it into rooms"
        );
    }
}
