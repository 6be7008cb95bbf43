//! What is no table of rounds: memory, held connections, scaling, overload, start and reload.

mod held;
mod memory;
mod overload;
mod reload;
mod scale;
mod search;
mod start;

use super::{
    failure::{Failure, Result},
    proxies::{Row, Running},
    results::Finding,
    rounds::{Bench, Upstreams},
    rows,
    work::{Cell, Work},
};
use std::collections::BTreeMap;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Further {
    /// Resident memory of idle connections, older-era sessions and event streams
    Memory,
    /// CPU a call while thousands of connections and streams are held
    Held,
    /// Two workers on two processors against one on one
    Scale,
    /// Three times the load that can be borne
    Overload,
    /// The highest rate that is borne, found by the load tester
    Search,
    /// Start to the first served call
    Start,
    /// A large snapshot taken up under load
    Reload,
}

impl Further {
    /// Measures it.
    pub fn run(self, bench: &Bench<'_>, rounds: usize) -> Result<Finding> {
        match self {
            Self::Memory => memory::measure(bench),
            Self::Held => held::measure(bench, rounds),
            Self::Scale => scale::measure(bench, rounds),
            Self::Overload => overload::measure(bench, rounds),
            Self::Search => search::measure(bench),
            Self::Start => start::measure(bench, rounds),
            Self::Reload => reload::measure(bench, rounds),
        }
    }
}

/// A finding to be filled.
fn finding(bench: &Bench<'_>, id: &str, title: &str, columns: &[&str]) -> Finding {
    Finding {
        id: id.to_owned(),
        title: title.to_owned(),
        origin: bench.origin(),
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
        lines: Vec::new(),
        figures: BTreeMap::new(),
        remarks: Vec::new(),
    }
}

/// The row with this id.
fn row(id: &str) -> Result<Row> {
    rows::all()
        .into_iter()
        .find(|row| row.id == id)
        .ok_or_else(|| Failure::new(format!("there is no row {id}")))
}

/// A row's proxy under the work of small calls, warmed up.
fn warm(bench: &Bench<'_>, row: &Row, upstreams: &Upstreams, workers: usize) -> Result<(Running, Work)> {
    let running = bench.start(Cell::Small, row, upstreams, workers)?;
    let work = bench.work(Cell::Small, row, &running);
    bench.warm_up(&work)?;
    Ok((running, work))
}
