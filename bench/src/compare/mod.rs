//! Side-by-side runs: Ringway and other proxies on the same work, interleaved, pinned, by CPU time per call.
//!
//! The figure that counts is the CPU time of all the proxy's processes over a measured stretch, divided by the
//! calls answered in it. Absolute figures move with the machine by a third within minutes; what holds is the ratio
//! of two rows within one round, so every round has every row and the rows that show the machine's state.
//!
//! How to read it: `rows` is the list of what is compared and `work` of what it is made to do; `rounds` does it;
//! `proxies`, `upstream` and `generator` start the three parties; `results` is what comes out and `report` what
//! people see of it. `peers` are the proxies that this program is itself.

mod build;
mod client;
mod failure;
mod further;
mod generator;
mod goals;
mod http;
mod identity;
mod peers;
mod place;
mod plot;
mod process;
mod proxies;
mod publish;
mod report;
mod results;
mod rounds;
mod rows;
mod upstream;
mod work;

pub use peers::{Args as PeerArgs, run as run_peer};

use failure::{Context, Failure, Result, write};
use further::Further;
use generator::{Generator, Loadtest, Wrk};
use place::{Placement, Scheduling};
use proxies::Built;
use results::{Results, Table};
use rounds::Bench;
use std::{path::PathBuf, process::ExitCode, time::Duration};
use work::Cell;

/// What was measured, in the folder of results.
const RESULTS: &str = "results.json";

/// What to compare.
#[derive(clap::Args)]
pub struct Args {
    /// Three short rounds of the five rows that matter most
    #[arg(long)]
    quick: bool,
    /// Which tables to make; of small calls when nothing else is asked for
    #[arg(long, value_delimiter = ',')]
    cells: Vec<Cell>,
    /// Further measurements, beside the tables
    #[arg(long, value_delimiter = ',', num_args = 1..)]
    further: Vec<Further>,
    /// How often everything is measured
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of one measurement
    #[arg(long)]
    seconds: Option<f64>,
    /// Which rows, by id; `list` prints them. What a ratio is taken to is always among them
    #[arg(long, value_delimiter = ',')]
    proxies: Vec<String>,
    /// Write what was measured into this page's marked sections, and its plots beside it; measures nothing
    #[arg(long, value_name = "PAGE", num_args = 0..=1, default_missing_value = "docs/performance.md")]
    publish: Option<PathBuf>,
    /// Proxies of other people, those that are installed
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/others.toml"))]
    others: PathBuf,
    /// Where results go
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,
    /// How the kernel is asked to schedule what is measured
    #[arg(long, value_enum, default_value = "rr")]
    scheduling: Scheduling,
    /// Who makes the calls
    #[arg(long, value_enum, default_value = "loadtest")]
    generator: Which,
    /// Compare this gateway instead of building one
    #[arg(long, value_name = "PROGRAM")]
    gateway: Option<PathBuf>,
    /// Use this load tester instead of building one
    #[arg(long, value_name = "PROGRAM")]
    loadtest: Option<PathBuf>,
    /// Build with this profile
    #[arg(long, default_value = build::PROFILE)]
    profile: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// Our own, with its own upstream.
    Loadtest,
    /// wrk, with nginx as upstream.
    Wrk,
}

/// Runs the comparison; fails when it could not be made at all.
pub fn run(args: Args) -> ExitCode {
    match compare(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args) -> Result<()> {
    let others = proxies::others(&args.others)?;
    if args.proxies.iter().any(|id| id == "list") {
        let others = others.iter().map(|(row, _)| row.clone());
        for row in rows::all().into_iter().chain(others) {
            println!("{:22} {}", row.id, row.label);
        }
        return Ok(());
    }
    if let Some(page) = &args.publish {
        return publish::page(&Results::resume(&args.out.join(RESULTS)), page);
    }
    let placement = Placement::find(args.scheduling);
    std::fs::create_dir_all(&args.out).map_err(|e| Failure::at(&args.out, &e))?;
    let out = args.out.canonicalize().context(args.out.display())?;
    let work = out.join("work");
    std::fs::create_dir_all(&work).map_err(|e| Failure::at(&work, &e))?;
    let (built, loadtest) = programs(args)?;
    let generator: Box<dyn Generator> = match args.generator {
        Which::Loadtest => Box::new(Loadtest {
            program: loadtest.clone(),
        }),
        Which::Wrk => Box::new(Wrk),
    };
    let bench = Bench {
        generator: &*generator,
        upstream: match args.generator {
            Which::Loadtest => upstream::Kind::Loadtest(loadtest),
            Which::Wrk => upstream::Kind::Fixed,
        },
        placement,
        built,
        identity: identity::make(&work)?,
        dir: work,
        warmup: Duration::from_secs(1),
        duration: Duration::from_secs_f64(args.seconds.unwrap_or(if args.quick { 2.0 } else { 3.0 })),
    };
    let mut results = Results::resume(&out.join(RESULTS));
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 5 });
    let cells = match (&*args.cells, &*args.further) {
        ([], []) => &[Cell::Small],
        (cells, _) => cells,
    };
    for cell in cells {
        let rows = rows::select(*cell, args.quick, &args.proxies, &others)?;
        results.set_table(bench.table(*cell, &rows, rounds)?);
        save(&results, &out)?;
    }
    for further in &args.further {
        results.set_finding(further.run(&bench, rounds)?);
        save(&results, &out)?;
    }
    println!("{}", report::markdown(&results));
    println!("written to {}", out.display());
    let failed = |table: &Table| table.rows.iter().filter(|line| line.samples.is_empty()).count();
    match results
        .cells
        .iter()
        .filter(|t| cells.contains(&t.cell))
        .map(failed)
        .sum()
    {
        0 => Ok(()),
        rows => Err(Failure::new(format!(
            "{rows} rows could not be measured; the tables say why"
        ))),
    }
}

fn programs(args: &Args) -> Result<(Built, PathBuf)> {
    if let (Some(gateway), Some(loadtest)) = (&args.gateway, &args.loadtest) {
        let built = Built {
            gateway: gateway.clone(),
            bench: std::env::current_exe().context("find this program")?,
        };
        return Ok((built, loadtest.clone()));
    }
    let (mut built, mut loadtest) = build::everything(&args.profile)?;
    if let Some(gateway) = &args.gateway {
        built.gateway.clone_from(gateway);
    }
    if let Some(program) = &args.loadtest {
        loadtest.clone_from(program);
    }
    Ok((built, loadtest))
}

fn save(results: &Results, out: &std::path::Path) -> Result<()> {
    let json = serde_json::to_string_pretty(results).context("write the results")?;
    write(&out.join(RESULTS), &json)?;
    for table in &results.cells {
        plot::draw(table, &out.join(format!("performance-{}.svg", table.cell.name())))?;
    }
    write(&out.join("results.md"), &report::markdown(results))
}
