//! Side-by-side runs: Ringway and other proxies on the same work, interleaved, pinned, by CPU time per call.

use std::process::ExitCode;

/// What to compare.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the comparison; fails when a proxy could not be measured.
pub fn run(_: Args) -> ExitCode {
    eprintln!("ringway-bench compare: this build knows no proxy to run");
    ExitCode::FAILURE
}
