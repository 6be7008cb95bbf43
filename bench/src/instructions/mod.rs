//! `ringway-bench instructions`: how many instructions, and how many allocations, each piece of work and each whole
//! call costs, against `bench/instructions.toml`.
//!
//! Every case runs twice under callgrind, the second time with twice the rounds; the difference is what a round
//! costs ([`callgrind`]). Rooms and formats are done in a process of this program (`instructions-run`); whole calls go
//! through the gateway's own binary ([`gateway`]) between peers that live in this process ([`peers`]), and the thread
//! that did the calls, the worker, is the one that is counted.
//!
//! `docs/benchmarks.md` tells how to read the table and when to bless.

mod baseline;
mod callgrind;
mod calls;
mod gateway;
mod peers;
mod quiet;

use baseline::{Baseline, Comparison, Line, TakenWith};
use callgrind::{Cost, Count, Failure, Threads};
use calls::Call;
use ringway_bench::work::{self, Work};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What to count.
#[derive(clap::Args)]
pub struct Args {
    /// Write the counts as the new baseline
    #[arg(long)]
    bless: bool,
    /// Print who allocates, per round, for each case
    #[arg(long)]
    allocations: bool,
    /// The baseline
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml"))]
    baseline: PathBuf,
    /// Keep callgrind's files in this folder, for callgrind_annotate
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Only cases whose name contains one of these
    only: Vec<String>,
}

/// One case, run in this process by callgrind.
#[derive(clap::Args)]
pub struct RunArgs {
    name: String,
    rounds: u32,
}

/// Does one piece of work over and over.
pub fn run_case(args: &RunArgs) -> ExitCode {
    let Some(work) = work::all().find(|w| w.name == args.name) else {
        eprintln!("there is no case {}", args.name);
        return ExitCode::FAILURE;
    };
    let mut once = (work.prepare)();
    for _ in 0..args.rounds {
        once();
    }
    ExitCode::SUCCESS
}

/// Counts, compares, and fails on a regression.
pub fn run(args: &Args) -> ExitCode {
    match count_and_compare(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringway-bench instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count_and_compare(args: &Args) -> Result<ExitCode, Failure> {
    let chosen = |name: &str| args.only.is_empty() || args.only.iter().any(|o| name.contains(o.as_str()));
    let cases: Vec<Case> = Case::all().filter(|c| chosen(c.name())).collect();
    let costs = count_all(&cases, args.keep.as_deref())?;
    if args.allocations {
        print_allocations(&costs);
    }
    let counted: BTreeMap<String, Line> = costs
        .iter()
        .map(|(name, cost)| (name.clone(), cost.into()))
        .collect();
    let mut baseline = read_baseline(&args.baseline)?;
    let here = taken_with();
    let comparison = Comparison::new(&baseline, &counted, chosen);
    print!("{comparison}\n{}", comparison.verdict());
    if args.bless {
        baseline
            .cases
            .retain(|name, _| Case::all().any(|c| c.name() == name));
        baseline.cases.extend(counted);
        baseline.taken_with = here;
        write_baseline(&args.baseline, &baseline)?;
        println!("blessed: {}", args.baseline.display());
        return Ok(ExitCode::SUCCESS);
    }
    if baseline.taken_with != here {
        println!(
            "the baseline was taken with {:?}, this is {here:?}: counts differ for that alone",
            baseline.taken_with
        );
    }
    Ok(if comparison.fails() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What runs under callgrind.
struct Programs {
    own: PathBuf,
    gateway: PathBuf,
}

/// A piece of work or a whole call.
#[derive(Clone, Copy)]
enum Case {
    Work(&'static Work),
    Call(&'static Call),
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        // The long ones first, so that the last to end is a short one.
        calls::ALL
            .iter()
            .map(Self::Call)
            .chain(work::all().map(Self::Work))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Work(work) => work.name,
            Self::Call(call) => call.name,
        }
    }

    fn cost(&self, programs: &Programs, folder: &Path) -> Result<Cost, Failure> {
        let (rounds, (shorter, longer)) = match self {
            Self::Work(work) => {
                let run = |rounds| run_work(work, &programs.own, folder, rounds);
                (work.rounds, (run(work.rounds)?, run(2 * work.rounds)?))
            }
            Self::Call(call) => (call.rounds, call.run_twice(&programs.gateway, folder)?),
        };
        Ok(of_the_busiest(&shorter, &longer, rounds))
    }
}

fn run_work(
    work: &Work,
    program: &Path,
    folder: &Path,
    rounds: u32,
) -> Result<BTreeMap<u32, Count>, Failure> {
    let out = folder.join(format!("{}.{rounds}", work.name));
    let run = callgrind::command(program, &out)
        .args(["instructions-run", work.name, &rounds.to_string()])
        .output()
        .map_err(Failure::Valgrind)?;
    if run.status.success() {
        return callgrind::read(&out);
    }
    Err(Failure::Case {
        what: work.name.to_owned(),
        status: run.status.to_string(),
        said: String::from_utf8_lossy(&run.stderr).into_owned(),
    })
}

/// The cost on the thread that did the rounds: the one that did most more for twice of them.
fn of_the_busiest(shorter: &Threads, longer: &Threads, rounds: u32) -> Cost {
    let none = Count::default();
    let costs = longer
        .iter()
        .map(|(thread, longer)| callgrind::difference(shorter.get(thread).unwrap_or(&none), longer, rounds));
    costs
        .max_by(|a, b| a.instructions.total_cmp(&b.instructions))
        .unwrap_or_default()
}

/// Counts all cases, as many at once as there are cores: what else runs has no say in the counts.
fn count_all(cases: &[Case], keep: Option<&Path>) -> Result<BTreeMap<String, Cost>, Failure> {
    let in_folder = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::File { path, error }
    };
    let own = std::env::current_exe().map_err(in_folder(Path::new("/proc/self/exe")))?;
    let programs = Programs {
        gateway: gateway::build(&own)?,
        own,
    };
    let temporary = tempfile::tempdir().map_err(in_folder(&std::env::temp_dir()))?;
    let folder = keep.unwrap_or(temporary.path());
    let next = AtomicUsize::new(0);
    let costs = Mutex::new(BTreeMap::new());
    let work = || -> Result<(), Failure> {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let own = folder.join(case.name());
            fs::create_dir_all(&own).map_err(in_folder(&own))?;
            let cost = case.cost(&programs, &own)?;
            let mut costs = costs.lock().unwrap_or_else(PoisonError::into_inner);
            costs.insert(case.name().to_owned(), cost);
        }
        Ok(())
    };
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(done) => done?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })?;
    Ok(costs.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn print_allocations(costs: &BTreeMap<String, Cost>) {
    for (name, cost) in costs {
        println!("{name}: {:.1} allocations a round", cost.allocations());
        let mut sites: Vec<_> = cost.sites.iter().collect();
        sites.sort_by(|a, b| b.1.total_cmp(a.1));
        for (site, each) in sites {
            println!("  {each:>7.2}  {}", site.0);
        }
    }
    println!();
}

fn read_baseline(path: &Path) -> Result<Baseline, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|e| Failure::Format {
            path: path.to_owned(),
            what: e.to_string(),
        }),
        // The first blessing makes it; until then every case is new.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Baseline::default()),
        Err(error) => Err(Failure::File {
            path: path.to_owned(),
            error,
        }),
    }
}

fn write_baseline(path: &Path, baseline: &Baseline) -> Result<(), Failure> {
    const HEAD: &str = "# Costs per round, counted by callgrind; see docs/benchmarks.md. Written by\n\
        #   cargo run --release -p ringway-bench -- instructions --bless\n\n";
    let text = toml::to_string(baseline).map_err(|e| Failure::Format {
        path: path.to_owned(),
        what: e.to_string(),
    })?;
    fs::write(path, format!("{HEAD}{text}")).map_err(|error| Failure::File {
        path: path.to_owned(),
        error,
    })
}

fn taken_with() -> TakenWith {
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_or_else(
        |_| "unknown".to_owned(),
        |o| String::from_utf8_lossy(&o.stdout).trim().to_owned(),
    );
    TakenWith { rustc, cpu: cpu() }
}

/// Libraries choose their loops by these; callgrind shows a program what the machine has of them, and no more.
#[cfg(target_arch = "x86_64")]
fn cpu() -> String {
    let vectors = if std::arch::is_x86_feature_detected!("avx2") {
        "avx2"
    } else {
        "no avx2"
    };
    format!("x86_64 {vectors}")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu() -> String {
    std::env::consts::ARCH.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_have_names_of_their_own() {
        let names: Vec<&str> = Case::all().map(|c| c.name()).collect();
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len());
    }

    #[test]
    fn the_thread_that_did_the_rounds_is_the_one_that_counts() {
        let count = |instructions| Count {
            instructions,
            ..Count::default()
        };
        let shorter = BTreeMap::from([(1, count(9_000_000)), (2, count(1_000)), (3, count(50_000))]);
        let longer = BTreeMap::from([(1, count(9_000_100)), (2, count(1_500)), (3, count(100_000))]);
        assert_eq!(of_the_busiest(&shorter, &longer, 10).instructions, 5_000.0);
    }

    /// A changed piece of work must not pass because the baseline was forgotten.
    #[test]
    fn the_checked_in_baseline_has_a_line_for_each_case() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml");
        let baseline = read_baseline(&path).expect("read");
        let cases: Vec<&str> = Case::all().map(|c| c.name()).collect();
        let lines: Vec<&str> = baseline.cases.keys().map(String::as_str).collect();
        for case in &cases {
            assert!(lines.contains(case), "{case} has no line: bless");
        }
        for line in &lines {
            assert!(cases.contains(line), "{line} is no case any more: bless");
        }
    }
}
