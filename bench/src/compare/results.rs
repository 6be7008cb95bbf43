//! What was measured, as it is written to `results.json`; tables and plots are drawn from it alone.

use super::{place::Scheduling, work::Cell};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Written as `format`.
pub const FORMAT: u32 = 1;

/// What was measured on one machine. A later run replaces the tables that it made anew and leaves the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// Where.
    pub machine: Machine,
    /// A table each.
    pub cells: Vec<Table>,
    /// What is no table of rounds.
    #[serde(default)]
    pub further: Vec<Finding>,
}

/// How one table or finding came about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// Which generator made the calls.
    pub generator: String,
    /// How processes were scheduled.
    pub scheduling: Scheduling,
    /// Seconds of each measurement.
    pub measured_s: f64,
    /// Seconds since the Unix epoch at the start.
    pub started_unix: u64,
    /// Abbreviated commit, with a `+` when files differed from it.
    pub commit: String,
}

/// One further measurement: a small table of its own, and the figures that goals are judged by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// Its name on the command line.
    pub id: String,
    /// The heading.
    pub title: String,
    /// How it came about.
    pub origin: Origin,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Lines of as many texts.
    pub lines: Vec<Vec<String>>,
    /// Named figures.
    pub figures: BTreeMap<String, f64>,
    /// What to know when reading it.
    pub remarks: Vec<String>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// Model name of the first processor.
    pub processor: String,
    /// How many.
    pub processors: usize,
    /// Of main memory.
    pub memory_gib: u64,
}

/// The rounds of one cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    /// Which.
    pub cell: Cell,
    /// How it came about.
    pub origin: Origin,
    /// One line each.
    pub rows: Vec<Line>,
}

/// One proxy's rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// [`super::proxies::Row::id`].
    pub id: String,
    /// For people.
    pub label: String,
    /// One for each round in which it could be measured.
    pub samples: Vec<Sample>,
    /// Why a round is missing; empty when none is.
    pub failures: Vec<String>,
}

/// One measurement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Counted from zero; samples of one round are comparable.
    pub round: usize,
    /// CPU time of the proxy's processes by call answered.
    pub cpu_us: f64,
    /// Of it in user space.
    pub user_us: f64,
    /// Of it in the kernel.
    pub system_us: f64,
    /// Calls answered rightly.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls answered by second.
    pub per_s: f64,
    /// CPU time of the proxy by time passed: 1 is a whole processor.
    pub busy: f64,
    /// Microseconds.
    pub p50_us: f64,
    /// Microseconds.
    pub p99_us: f64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// The generator set the pace.
    pub limited: bool,
    /// Access lines that the proxy dropped, by its own count.
    pub log_dropped: u64,
}

impl Machine {
    /// Of the machine this runs on.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
            line.split_once(':')
                .map_or(String::new(), |(_, v)| v.trim().to_owned())
        };
        let kib: u64 = field(&read("/proc/meminfo"), "MemTotal")
            .trim_end_matches(" kB")
            .parse()
            .unwrap_or(0);
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib.div_ceil(1 << 20),
        }
    }
}

impl Results {
    /// What an earlier run left in this file, if it was made on this machine; otherwise nothing yet.
    pub fn resume(file: &Path) -> Self {
        let machine = Machine::here();
        let earlier = std::fs::read(file)
            .ok()
            .and_then(|text| serde_json::from_slice::<Self>(&text).ok())
            .filter(|earlier| earlier.format == FORMAT && earlier.machine == machine);
        earlier.unwrap_or(Self {
            format: FORMAT,
            machine,
            cells: Vec::new(),
            further: Vec::new(),
        })
    }

    /// Puts a table in the place of the one before, or in its order.
    pub fn set_table(&mut self, table: Table) {
        self.cells.retain(|other| other.cell != table.cell);
        let place = self.cells.partition_point(|other| other.cell < table.cell);
        self.cells.insert(place, table);
    }

    /// Puts a finding in the place of the one before.
    pub fn set_finding(&mut self, finding: Finding) {
        match self.further.iter_mut().find(|other| other.id == finding.id) {
            Some(before) => *before = finding,
            None => self.further.push(finding),
        }
    }

    /// The table of a cell.
    pub fn table(&self, cell: Cell) -> Option<&Table> {
        self.cells.iter().find(|table| table.cell == cell)
    }

    /// A finding's figure.
    pub fn figure(&self, finding: &str, name: &str) -> Option<f64> {
        let finding = self.further.iter().find(|other| other.id == finding)?;
        finding.figures.get(name).copied()
    }
}

impl Origin {
    /// Of something that begins now.
    pub fn now(generator: &str, scheduling: Scheduling, measured: Duration) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            generator: generator.to_owned(),
            scheduling,
            measured_s: measured.as_secs_f64(),
            started_unix: now.map_or(0, |d| d.as_secs()),
            commit: commit(),
        }
    }
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git")
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        output.map_or(String::new(), |o| {
            String::from_utf8_lossy(&o.stdout).trim().to_owned()
        })
    };
    let dirty = if git(&["status", "--porcelain", "--untracked-files=no"]).is_empty() {
        ""
    } else {
        "+"
    };
    format!("{}{dirty}", git(&["rev-parse", "--short", "HEAD"]))
}

impl Table {
    /// The line of a row.
    pub fn line(&self, id: &str) -> Option<&Line> {
        self.rows.iter().find(|line| line.id == id)
    }

    /// For each round in which both were measured, one row's CPU time by another's.
    pub fn ratios(&self, id: &str, base: &str) -> Vec<f64> {
        self.paired(id, base, |one, other| one.cpu_us / other.cpu_us)
    }

    /// For each round in which both were measured, what `of` makes of the two.
    pub fn paired(&self, id: &str, base: &str, of: impl Fn(&Sample, &Sample) -> f64) -> Vec<f64> {
        let (Some(line), Some(base)) = (self.line(id), self.line(base)) else {
            return Vec::new();
        };
        let pair = |sample: &Sample| {
            let other = base.samples.iter().find(|other| other.round == sample.round)?;
            Some(of(sample, other))
        };
        line.samples
            .iter()
            .filter_map(pair)
            .filter(|r| r.is_finite())
            .collect()
    }
}

/// Least, middle and greatest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Least.
    pub min: f64,
    /// Middle; the mean of two when there is no middle one.
    pub median: f64,
    /// Greatest.
    pub max: f64,
}

impl Spread {
    /// Of none there is none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut all: Vec<f64> = figures.into_iter().collect();
        all.sort_by(f64::total_cmp);
        let (min, max) = (*all.first()?, *all.last()?);
        let half = all.len() / 2;
        let median = if all.len() % 2 == 1 {
            all[half]
        } else {
            (all[half - 1] + all[half]) / 2.0
        };
        Some(Self { min, median, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_count_is_between_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round_only() {
        let sample = |round, cpu_us| Sample {
            round,
            cpu_us,
            ..Sample::default()
        };
        let line = |id: &str, samples| Line {
            id: id.to_owned(),
            label: String::new(),
            samples,
            failures: Vec::new(),
        };
        let table = Table {
            cell: Cell::Small,
            origin: Origin::now("none", Scheduling::Normal, Duration::ZERO),
            rows: vec![
                line("base", vec![sample(0, 10.0), sample(2, 20.0)]),
                line("one", vec![sample(0, 12.0), sample(1, 99.0), sample(2, 18.0)]),
            ],
        };
        assert_eq!(table.ratios("one", "base"), [1.2, 0.9]);
    }
}
