//! The command line: one file per subcommand, one table of exit codes.
//!
//! | exit | meaning |
//! |---|---|
//! | 0 | done, and every threshold held |
//! | 1 | a threshold did not hold, or the generator set the pace |
//! | 2 | the command line, a scenario or a file is wrong |
//! | 3 | the target could not be reached at all |
//! | 4 | a generator of a distributed run refused, failed or was lost |

mod discover;
mod fleet;
mod generator;
mod report;
mod run;
mod soak;
mod upstream;

use clap::{Parser, Subcommand};
use std::{io::IsTerminal as _, process::ExitCode};
use tracing_subscriber::EnvFilter;

/// A load tester for MCP servers and gateways.
#[derive(Debug, Parser)]
#[command(name = "ringway-loadtest", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario, or one call described by flags
    Run(Box<run::Args>),
    /// Write a scenario from a server's own tools
    Discover(discover::Args),
    /// Serve an MCP server that is fast, and faulty on demand
    Upstream(Box<upstream::Args>),
    /// Draw, compare and judge finished runs
    Report(report::Args),
    /// Load a gateway while everything around it fails, and prove that nothing leaks and no answer is wrong
    Soak(soak::Args),
    /// Wait for orders from a coordinating run
    Generator(generator::Args),
}

/// How a command ended that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every threshold held, or there was none.
    Success,
    /// A threshold did not hold.
    ThresholdsFailed,
}

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line, a scenario or a file is wrong: says where and what to do.
    #[error("{0}")]
    Input(String),
    /// The target could not be reached at all.
    #[error("{0}")]
    Unreachable(String),
    /// A generator of a distributed run refused, failed or was lost.
    #[error("{0}")]
    Fleet(String),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::ThresholdsFailed => Self::from(1),
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Input(_) => Self::from(2),
            Failure::Unreachable(_) => Self::from(3),
            Failure::Fleet(_) => Self::from(4),
        }
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    // A generator runs unattended, and who used it and who tried to is worth a line.
    log(if matches!(command, Command::Generator(_)) {
        "info"
    } else {
        "warn"
    });
    let done = match command {
        Command::Run(args) => run::run(*args),
        Command::Discover(args) => discover::run(args),
        Command::Upstream(args) => upstream::run(*args),
        Command::Report(args) => report::run(args),
        Command::Soak(args) => soak::run(&args),
        Command::Generator(args) => generator::run(args),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.into()
        }
    }
}

/// Lines to standard error, from `level` on or as `RUST_LOG` says.
fn log(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // Only a second call could fail, and would change nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}
