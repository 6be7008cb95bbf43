//! The checked-in baseline, and what differs from it.
//!
//! A cost that is more than [`TOLERANCE`] above its line is a regression and fails. One that is as much below is no
//! failure, but the new floor should be kept: bless it. What has no line yet, and a line that no case has, fail as
//! well, so that the file always says what there is.

use super::callgrind::Cost;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

/// What a cost may differ by: a tenth of it is noise of hash tables' seeds, the rest lets a change of one room
/// move code of its neighbours about.
pub const TOLERANCE: f64 = 0.03;
/// What a cost may differ by in any case: three in a hundred of a room that answers with a bit are no instruction.
const INSTRUCTIONS_TOLERANCE: f64 = 20.0;
/// What the number of allocations may differ by: below a whole one it is a container that grows now and then.
const ALLOCATIONS_TOLERANCE: f64 = 0.5;

/// `bench/instructions.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What it was taken with; other code generation gives other counts.
    pub taken_with: TakenWith,
    /// By case.
    pub cases: BTreeMap<String, Line>,
}

/// What decides about counts beside the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenWith {
    /// As `rustc --version` says it.
    pub rustc: String,
    /// Architecture, and the vector instructions that libraries choose by.
    pub cpu: String,
}

/// One case's costs per round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Instructions executed in user space.
    pub instructions: u64,
    /// Calls of the allocator, to a tenth.
    pub allocations: f64,
}

impl From<&Cost> for Line {
    fn from(cost: &Cost) -> Self {
        Self {
            instructions: cost.instructions.round().max(0.0) as u64,
            allocations: (cost.allocations() * 10.0).round() / 10.0,
        }
    }
}

/// How a case stands to its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within the tolerance.
    Same,
    /// Cheaper: keep it.
    Better,
    /// Dearer: a regression.
    Worse,
    /// It has no line.
    New,
    /// A line without its case.
    Gone,
}

impl Standing {
    fn of(before: Option<Line>, now: Option<Line>) -> Self {
        let (before, now) = match (before, now) {
            (Some(before), Some(now)) => (before, now),
            (None, _) => return Self::New,
            (_, None) => return Self::Gone,
        };
        let (old, new) = (before.instructions as f64, now.instructions as f64);
        let grown = now.allocations - before.allocations;
        let tolerance = (old * TOLERANCE).max(INSTRUCTIONS_TOLERANCE);
        if new > old + tolerance || grown > ALLOCATIONS_TOLERANCE {
            Self::Worse
        } else if new < old - tolerance || grown < -ALLOCATIONS_TOLERANCE {
            Self::Better
        } else {
            Self::Same
        }
    }

    fn fails(self) -> bool {
        matches!(self, Self::Worse | Self::New | Self::Gone)
    }
}

/// Baseline and counts side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    name: String,
    before: Option<Line>,
    now: Option<Line>,
    standing: Standing,
}

impl Comparison {
    /// `counted` against the lines of `baseline` whose case was `chosen`.
    pub fn new(baseline: &Baseline, counted: &BTreeMap<String, Line>, chosen: impl Fn(&str) -> bool) -> Self {
        let lines = baseline.cases.keys().filter(|name| chosen(name));
        let names: std::collections::BTreeSet<&String> = lines.chain(counted.keys()).collect();
        let rows = names.into_iter().map(|name| {
            let (before, now) = (baseline.cases.get(name).copied(), counted.get(name).copied());
            Row {
                name: name.clone(),
                before,
                now,
                standing: Standing::of(before, now),
            }
        });
        Self { rows: rows.collect() }
    }

    /// Whether any case is dearer than its line, or has none.
    pub fn fails(&self) -> bool {
        self.rows.iter().any(|r| r.standing.fails())
    }

    /// What to do about it, in a sentence.
    pub fn verdict(&self) -> String {
        let count = |s: Standing| self.rows.iter().filter(|r| r.standing == s).count();
        let mut text = String::new();
        let mut say = |n: usize, what: &str| {
            if n > 0 {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{n} {what}");
            }
        };
        say(
            count(Standing::Worse),
            "dearer by more than 3 % or an allocation: find out why, or bless with a reason",
        );
        say(count(Standing::New), "without a line in the baseline: bless");
        say(count(Standing::Gone), "of the baseline no longer a case: bless");
        say(
            count(Standing::Better),
            "cheaper by more than 3 % or an allocation: bless, so that it stays so",
        );
        if text.is_empty() {
            text.push_str("all as the baseline has it\n");
        }
        text
    }
}

/// The table: a case a line, the differing ones marked.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<34} {:>13} {:>13} {:>8}  {:>7} {:>7}",
            "case", "baseline", "now", "change", "allocs", "now"
        )?;
        let shown = |line: Option<Line>, of: fn(Line) -> String| line.map_or("-".to_owned(), of);
        for row in &self.rows {
            let instructions = |line: Line| line.instructions.to_string();
            let allocations = |line: Line| format!("{:.1}", line.allocations);
            let change = match (row.before, row.now) {
                (Some(before), Some(now)) if before.instructions > 0 => {
                    let ratio = now.instructions as f64 / before.instructions as f64;
                    format!("{:+.2} %", (ratio - 1.0) * 100.0)
                }
                _ => String::new(),
            };
            let mark = match row.standing {
                Standing::Same => "",
                Standing::Better => "better",
                Standing::Worse => "WORSE",
                Standing::New => "NEW",
                Standing::Gone => "GONE",
            };
            let line = format!(
                "{:<34} {:>13} {:>13} {:>8}  {:>7} {:>7}  {mark}",
                row.name,
                shown(row.before, instructions),
                shown(row.now, instructions),
                change,
                shown(row.before, allocations),
                shown(row.now, allocations),
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(of: &[(&str, u64, f64)]) -> BTreeMap<String, Line> {
        let line = |(name, instructions, allocations): &(&str, u64, f64)| {
            let line = Line {
                instructions: *instructions,
                allocations: *allocations,
            };
            ((*name).to_owned(), line)
        };
        of.iter().map(line).collect()
    }

    fn compared(before: &[(&str, u64, f64)], now: &[(&str, u64, f64)]) -> Comparison {
        let baseline = Baseline {
            cases: lines(before),
            ..Baseline::default()
        };
        Comparison::new(&baseline, &lines(now), |_| true)
    }

    #[test]
    fn three_percent_more_pass_and_a_little_beyond_fails() {
        let before = [("proto.scan", 10_000, 2.0)];
        assert!(!compared(&before, &[("proto.scan", 10_300, 2.0)]).fails());
        let planted = compared(&before, &[("proto.scan", 10_301, 2.0)]);
        assert!(planted.fails());
        assert!(planted.to_string().contains("+3.01 %"), "{planted}");
        assert!(planted.to_string().contains("WORSE"), "{planted}");
    }

    #[test]
    fn a_few_instructions_of_a_tiny_room_are_nobodys() {
        assert!(!compared(&[("a", 66, 0.0)], &[("a", 86, 0.0)]).fails());
        assert!(compared(&[("a", 66, 0.0)], &[("a", 87, 0.0)]).fails());
    }

    #[test]
    fn one_more_allocation_fails_at_the_same_count() {
        assert!(compared(&[("a", 10_000, 2.0)], &[("a", 10_000, 3.0)]).fails());
        assert!(!compared(&[("a", 10_000, 2.0)], &[("a", 10_000, 2.4)]).fails());
    }

    #[test]
    fn less_is_no_failure_and_wants_a_blessing() {
        for now in [("a", 9_600, 2.0), ("a", 10_000, 1.0)] {
            let better = compared(&[("a", 10_000, 2.0)], &[now]);
            assert!(!better.fails());
            assert!(better.verdict().contains("bless"), "{}", better.verdict());
        }
    }

    #[test]
    fn the_file_and_the_cases_must_be_the_same_ones() {
        assert!(compared(&[], &[("new", 1, 0.0)]).fails());
        assert!(compared(&[("gone", 1, 0.0)], &[]).fails());
        let baseline = Baseline {
            cases: lines(&[("not_chosen", 1, 0.0)]),
            ..Baseline::default()
        };
        assert!(!Comparison::new(&baseline, &BTreeMap::new(), |name| name != "not_chosen").fails());
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let baseline = Baseline {
            taken_with: TakenWith {
                rustc: "rustc 1.95.0".to_owned(),
                cpu: "x86_64 avx2".to_owned(),
            },
            cases: lines(&[("core.pipeline.legacy", 27_260, 17.0)]),
        };
        let text = toml::to_string(&baseline).expect("written");
        assert_eq!(toml::from_str::<Baseline>(&text).expect("read"), baseline);
    }
}
