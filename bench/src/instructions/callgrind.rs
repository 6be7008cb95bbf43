//! Runs one case under callgrind and reads what it wrote.
//!
//! Callgrind counts each instruction a thread executes in user space, without any hardware counter, and follows
//! calls. Two runs of a case, the second with twice the rounds, differ by what those rounds cost and by nothing
//! else: start, set-up and end are the same in both. What a process hands to the kernel is not counted.
//!
//! Allocations are the calls of the allocator's three entries, whatever allocator stands behind them, told apart
//! by the functions that led there ([`Site`]).

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// What a case costs, in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Instructions executed in user space.
    pub instructions: u64,
    /// Calls of the allocator, by who made them.
    pub allocations: BTreeMap<Site, u64>,
}

/// The counts of a process, by callgrind's number of the thread.
pub type Threads = BTreeMap<u32, Count>;

/// Where memory was asked for: our innermost function, and what it called to get there when that is another crate's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site(pub String);

/// Why a case could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No valgrind.
    #[error("valgrind does not start ({0}); install the package `valgrind`")]
    Valgrind(io::Error),
    /// The case failed.
    #[error("{what} failed: {status}\n{said}")]
    Case {
        what: String,
        status: String,
        said: String,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// Callgrind wrote something that is not understood.
    #[error("{}: {what}", path.display())]
    Format { path: PathBuf, what: String },
    /// A session was opened too slowly to be like the others; on a machine that is less busy it is not.
    #[error("a session took too long to open, several times: the machine is too busy")]
    Slow,
    /// The peers of a gateway case could not do their part.
    #[error("{0}")]
    Peer(String),
}

/// Entries of the allocator. All memory that Rust code asks for goes through them.
const ENTRIES: [&str; 3] = ["__rust_alloc", "__rust_alloc_zeroed", "__rust_realloc"];
/// Frames of a site that are told apart. Deep enough to come out of the standard library's containers.
const FRAMES: u32 = 16;

/// `program` under callgrind, writing to `out`, in an environment that is the same everywhere.
pub fn command(program: &Path, out: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .arg("--tool=callgrind")
        .arg("--separate-threads=yes")
        .arg(format!("--callgrind-out-file={}", out.display()));
    for entry in ENTRIES {
        command.arg(format!("--separate-callers{FRAMES}=__rustc::{entry}"));
    }
    command.arg(program);
    command
}

/// What each thread of a finished run did.
pub fn read(out: &Path) -> Result<Threads, Failure> {
    let folder = out.parent().unwrap_or(Path::new("."));
    let name = out.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let failed = |error| Failure::File {
        path: folder.to_owned(),
        error,
    };
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let of_thread = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_prefix(name)?.strip_prefix('-')?.parse().ok());
        let Some(thread) = of_thread else { continue };
        let text = fs::read_to_string(&path).map_err(|error| Failure::File {
            path: path.clone(),
            error,
        })?;
        let count = parse(&text).map_err(|what| Failure::Format { path, what })?;
        threads.insert(thread, count);
    }
    if threads.is_empty() {
        let what = "callgrind wrote no thread's file beside it".to_owned();
        return Err(Failure::Format {
            path: out.to_owned(),
            what,
        });
    }
    Ok(threads)
}

/// One thread's file ("Callgrind Format Specification" of the valgrind manual).
pub fn parse(text: &str) -> Result<Count, String> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut count = Count::default();
    let mut totals = None;
    let mut callee = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            named(&mut names, name)?;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            callee = Some(named(&mut names, name)?);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let site = callee.take().and_then(site);
            let calls = calls.split_whitespace().next().and_then(|n| n.parse().ok());
            let calls: u64 = calls.ok_or_else(|| format!("not understood: {line}"))?;
            if let Some(site) = site {
                *count.allocations.entry(site).or_default() += calls;
            }
        } else if let Some(number) = line.strip_prefix("totals:") {
            totals = number.split_whitespace().next().and_then(|n| n.parse().ok());
        }
    }
    count.instructions = totals.ok_or("it has no totals")?;
    Ok(count)
}

/// `(id) name` gives a name to an id, `(id)` uses it.
fn named<'t>(names: &mut HashMap<&'t str, &'t str>, text: &'t str) -> Result<&'t str, String> {
    match text.split_once(") ") {
        Some((id, name)) => {
            names.insert(id, name);
            Ok(name)
        }
        None => {
            let id = text.trim_end().trim_end_matches(')');
            names
                .get(id)
                .copied()
                .ok_or_else(|| format!("no name for {text}"))
        }
    }
}

/// The site that a call of `function` is, when it is an allocator's entry. Frames are separated by `'`, the
/// innermost first.
fn site(function: &str) -> Option<Site> {
    let mut frames = function.split('\'');
    let entry = frames.next()?.rsplit("::").next()?;
    if !ENTRIES.contains(&entry) {
        return None;
    }
    // Closures are of the function they stand in.
    let frames: Vec<&str> = frames.map(|f| f.trim_end_matches("::{{closure}}")).collect();
    let ours = frames.iter().position(|f| f.contains("ringway_"));
    let foreign = frames[..ours.unwrap_or(frames.len())]
        .iter()
        .rev()
        .find(|f| !is_std(f));
    let site = match (ours.map(|at| frames[at]), foreign) {
        (Some(ours), Some(foreign)) => format!("{ours} < {foreign}"),
        (Some(ours), None) => ours.to_owned(),
        (None, Some(foreign)) => (*foreign).to_owned(),
        (None, None) => "?".to_owned(),
    };
    Some(Site(site))
}

/// The standard library's own frames, and those of its containers' implementation: they ask for somebody.
fn is_std(frame: &str) -> bool {
    let plain = frame.trim_start_matches(['<', '&', '(', '[']);
    [
        "alloc::",
        "core::",
        "std::",
        "hashbrown::",
        "__rustc",
        "str>",
        "T as ",
        "0x",
        "(",
    ]
    .iter()
    .any(|of| plain.starts_with(of))
        && !plain.contains("> as bytes::")
}

/// What `longer` costs beyond `shorter`, for each of `rounds` rounds.
pub fn difference(shorter: &Count, longer: &Count, rounds: u32) -> Cost {
    let each = |longer: u64, shorter: u64| (longer as f64 - shorter as f64) / f64::from(rounds);
    let sites = longer.allocations.iter().map(|(site, n)| {
        let before = shorter.allocations.get(site).copied().unwrap_or(0);
        (site.clone(), each(*n, before))
    });
    Cost {
        instructions: each(longer.instructions, shorter.instructions),
        // Below that it is growth of a container now and then, not a call's own.
        sites: sites.filter(|(_, each)| *each >= 0.005).collect(),
    }
}

/// What one round costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// Instructions executed in user space.
    pub instructions: f64,
    /// Calls of the allocator by site.
    pub sites: BTreeMap<Site, f64>,
}

impl Cost {
    /// Calls of the allocator.
    pub fn allocations(&self) -> f64 {
        // An empty `sum` of floats is minus nothing.
        self.sites.values().fold(0.0, |sum, each| sum + each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# callgrind format
fn=(1) ringway_core::rooms::open
0 300
cfn=(2) __rustc::__rust_alloc'alloc::raw_vec::grow'bytes::bytes::Bytes::copy'ringway_core::rooms::open'main
calls=100 0 
0 17538
cfn=(3) memcpy
calls=7 0
0 70
fn=(4) ringway_core::rooms::close
cfn=(2)
calls=20 0
0 40
cfn=(5) __rustc::__rust_realloc'alloc::raw_vec::grow'ringway_core::rooms::close::{{closure}}'main
calls=3 0
0 4
totals: 18252
";

    #[test]
    fn allocations_are_told_apart_by_who_asked() {
        let count = parse(FILE).expect("understood");
        assert_eq!(count.instructions, 18_252);
        let sites: Vec<(&str, u64)> = count
            .allocations
            .iter()
            .map(|(s, n)| (s.0.as_str(), *n))
            .collect();
        assert_eq!(
            sites,
            [
                ("ringway_core::rooms::close", 3),
                ("ringway_core::rooms::open < bytes::bytes::Bytes::copy", 120),
            ]
        );
    }

    #[test]
    fn a_file_that_was_cut_is_an_error() {
        assert!(parse(FILE.strip_suffix("totals: 18252\n").expect("ends so")).is_err());
        assert!(parse("cfn=(9)\ncalls=1 0\ntotals: 1\n").is_err());
    }

    #[test]
    fn a_round_costs_what_the_longer_run_has_more() {
        let shorter = parse(FILE).expect("understood");
        let mut longer = shorter.clone();
        longer.instructions += 1_000;
        let rooms = Site("ringway_core::rooms::close".to_owned());
        *longer.allocations.get_mut(&rooms).expect("there") += 20;
        let cost = difference(&shorter, &longer, 10);
        assert_eq!((cost.instructions, cost.allocations()), (100.0, 2.0));
        assert_eq!(cost.sites.len(), 1, "sites that stand still are not a round's");
    }
}
