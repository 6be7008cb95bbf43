//! The `ringway-bench` command: side-by-side runs (`compare`) and instruction counts (`instructions`).
//!
//! Each subcommand is a module with its own `Args` and its own `run`; this file only dispatches.

mod compare;
mod instructions;

use std::process::ExitCode;

use clap::Parser;

/// Measures Ringway's hot path.
#[derive(Parser)]
#[command(name = "ringway-bench", version)]
enum Command {
    /// Ringway beside other proxies, on the same work.
    Compare(compare::Args),
    /// Instructions per operation against the checked-in baseline.
    Instructions(instructions::Args),
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Compare(args) => compare::run(args),
        Command::Instructions(args) => instructions::run(args),
    }
}
