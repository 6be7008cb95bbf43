//! The official conformance suite: running it, reading its checks, comparing two runs, baselines.
//!
//! Compared is every single check, not the suite's exit status: a run is a table from (scenario, check, name) to
//! the worst status seen there. "Through the gateway" must nowhere be worse than "directly".

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{peers::Node, tests_dir};

/// The revisions the suite has requirement sets for.
pub const LEGACY: &str = "2025-11-25";
pub const MODERN: &str = "2026-07-28";

/// From good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Success,
    Skipped,
    Warning,
    Failure,
    /// The check was not reported at all.
    Absent,
}

/// One check: scenario, id, name. Ids repeat within a scenario, names tell the cases apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check {
    pub scenario: String,
    pub id: String,
    pub name: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({})", self.scenario, self.id, self.name)
    }
}

#[derive(Debug, Default)]
pub struct Run {
    checks: BTreeMap<Check, (Status, String)>,
    passed: usize,
    failed: usize,
}

impl Run {
    /// Runs one requirement set against a URL.
    pub fn of(node: &Node, url: &str, requirements: &str) -> Self {
        let dir = TempDir::with_prefix("ringway-suite-").expect("a temporary directory");
        let mut command: Command = node.package("conformance");
        command
            .args(["server", "--url", url, "--requirements", requirements, "-o"])
            .arg(dir.path());
        let output = command.stdin(Stdio::null()).output().expect("the suite starts");
        let run = Self::read(dir.path());
        // Any failing check makes the suite's status 1, so the status says nothing here; no checks at all does.
        assert!(
            !run.checks.is_empty(),
            "the suite reported nothing:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        run
    }

    /// `passed/failed`, as the suite counts.
    pub fn totals(&self) -> String {
        format!("{}/{}", self.passed, self.failed)
    }

    /// Checks that are worse here than in `other`, in words.
    pub fn worse_than(&self, other: &Run) -> Vec<String> {
        let statuses = |run: &Run, check: &Check| {
            run.checks
                .get(check)
                .map_or((Status::Absent, String::new()), Clone::clone)
        };
        let all = self.checks.keys().chain(
            other
                .checks
                .keys()
                .filter(|check| !self.checks.contains_key(check)),
        );
        all.filter_map(|check| {
            let (here, why) = statuses(self, check);
            let (there, _) = statuses(other, check);
            // A check only one side reports is judged by what it says: setup failures have ids of their own.
            let worse = if there == Status::Absent {
                here == Status::Failure
            } else {
                here > there
            };
            worse.then(|| format!("{check}: {here:?} instead of {there:?}: {why}"))
        })
        .collect()
    }

    /// The worst status among the checks of a scenario; `Absent` if it did not run.
    pub fn scenario(&self, name: &str) -> Status {
        let of = self.checks.iter().filter(|(check, _)| check.scenario == name);
        of.map(|(_, (status, _))| *status).max().unwrap_or(Status::Absent)
    }

    /// Failing checks as baseline entries, `scenario:id`, each with the suite's first word about it.
    pub fn failures(&self) -> BTreeMap<String, String> {
        let mut failures = BTreeMap::new();
        for (check, (status, why)) in &self.checks {
            if *status == Status::Failure {
                failures
                    .entry(format!("{}:{}", check.scenario, check.id))
                    .or_insert_with(|| why.clone());
            }
        }
        failures
    }

    fn read(dir: &Path) -> Self {
        let mut run = Self::default();
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Some(scenario) = scenario_of(&entry.file_name().to_string_lossy()) else {
                continue;
            };
            let text =
                std::fs::read_to_string(entry.path().join("checks.json")).expect("every scenario has checks");
            let checks: Vec<Value> = serde_json::from_str(&text).expect("checks.json is a list");
            for check in &checks {
                run.add(&scenario, check);
            }
        }
        run
    }

    /// Takes one entry of a scenario's checks.json.
    pub fn add(&mut self, scenario: &str, check: &Value) {
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let status = match check["status"].as_str() {
            Some("SUCCESS") => Status::Success,
            Some("SKIPPED") => Status::Skipped,
            Some("WARNING") => Status::Warning,
            Some("FAILURE") => Status::Failure,
            // INFO is the suite's own log.
            _ => return,
        };
        self.passed += usize::from(status == Status::Success);
        self.failed += usize::from(status == Status::Failure);
        let key = Check {
            scenario: scenario.to_owned(),
            id: text("id"),
            name: text("name"),
        };
        let worst = self.checks.entry(key).or_insert((status, String::new()));
        if status >= worst.0 {
            *worst = (status, text("errorMessage"));
        }
    }
}

/// `server-<scenario>-<time>` → scenario.
fn scenario_of(folder: &str) -> Option<String> {
    const TIME: usize = "-2026-11-20T11-12-35-906Z".len();
    let rest = folder.strip_prefix("server-")?;
    Some(rest.get(..rest.len().checked_sub(TIME)?)?.to_owned())
}

/// What is known to fail, with a reason for each: `tests/conformance-baseline/<name>.yaml`.
///
/// The suite's own format, `server:` and a list of `scenario:check`; a comment behind each entry says why, and an
/// entry without one is refused. An entry ending in `:*` stands for every check of its scenario.
pub struct Baseline {
    name: String,
    entries: Vec<String>,
}

impl Baseline {
    pub fn read(name: &str) -> Self {
        let path = tests_dir()
            .join("conformance-baseline")
            .join(format!("{name}.yaml"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|reason| panic!("{}: {reason}", path.display()));
        Self::parse(name, &text)
    }

    pub fn parse(name: &str, text: &str) -> Self {
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line == "server:" || line == "server: []" {
                continue;
            }
            let entry = line.strip_prefix("- ").and_then(|entry| entry.split_once(" # "));
            let reason = entry.map(|(_, reason)| reason.trim()).unwrap_or_default();
            if reason.is_empty() || reason.starts_with("TODO") {
                panic!(
                    "{name}.yaml, line {}: wants `- scenario:check # reason`",
                    number + 1
                );
            }
            entries.extend(entry.map(|(entry, _)| entry.trim().to_owned()));
        }
        Self {
            name: name.to_owned(),
            entries,
        }
    }

    /// Panics when something unlisted fails or something listed no longer does.
    pub fn check(&self, run: &Run) {
        let failures = run.failures();
        let covers = |entry: &String, failure: &str| match entry.strip_suffix('*') {
            Some(scenario) => failure.starts_with(scenario),
            None => entry == failure,
        };
        let unlisted: Vec<String> = failures
            .iter()
            .filter(|(failure, _)| !self.entries.iter().any(|entry| covers(entry, failure)))
            .map(|(failure, why)| format!("  - {failure} # TODO {}", why.lines().next().unwrap_or_default()))
            .collect();
        let stale: Vec<&String> = self
            .entries
            .iter()
            .filter(|entry| !failures.keys().any(|failure| covers(entry, failure)))
            .collect();
        assert!(
            unlisted.is_empty() && stale.is_empty(),
            "{}: {}\nfailing and not listed in conformance-baseline/{}.yaml:\n{}\nlisted and no longer failing: {stale:#?}",
            self.name,
            run.totals(),
            self.name,
            unlisted.join("\n"),
        );
    }
}
