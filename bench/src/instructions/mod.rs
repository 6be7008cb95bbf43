//! Instruction counts: callgrind over one case at a time, by the difference of two runs, against a baseline.

use std::process::ExitCode;

/// What to count.
#[derive(clap::Args)]
pub struct Args {}

/// Counts, compares and fails on a regression.
pub fn run(_: Args) -> ExitCode {
    eprintln!("ringway-bench instructions: this build knows no case to count");
    ExitCode::FAILURE
}
