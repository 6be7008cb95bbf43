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
    Compare(Box<compare::Args>),
    /// A proxy to stand beside, as `compare` runs it
    #[command(hide = true)]
    Peer(compare::PeerArgs),
    /// Instructions per operation against the checked-in baseline.
    Instructions(instructions::Args),
    /// One case of `instructions`, to be run under callgrind.
    #[command(hide = true)]
    InstructionsRun(instructions::RunArgs),
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::Compare(args) => compare::run(*args),
        Command::Peer(args) => compare::run_peer(args),
        Command::Instructions(args) => instructions::run(&args),
        Command::InstructionsRun(args) => instructions::run_case(&args),
    }
}
