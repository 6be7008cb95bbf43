//! The `ringway` command line: one file a command, one table of exit codes ([`exit`]).
//!
//! Stdout carries what was asked for and nothing else; progress, logs and errors go to stderr. `docs/cli.md`
//! is the manual.

pub mod call;
pub mod check;
pub mod exit;
pub mod gateway;
pub mod import;
pub mod keys;
pub mod place;
pub mod tools;

use crate::{doctor, up};
use clap::{Parser, Subcommand};
use exit::{Exit, Stop, note};
use ringway_runtime::log;
use std::process::ExitCode;

/// An MCP gateway: one URL for all your MCP servers, with keys, roles and a record of every call.
///
/// `ringway up` starts it. Without a configuration it serves a built-in MCP server, so that you can try a call
/// at once; `ringway import` turns the mcpServers file you already have into a configuration.
#[derive(Parser, Debug)]
#[command(name = "ringway", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 worked, 1 failed, 2 wrong usage, 3 configuration has errors, 4 not reachable, 5 the tool
reported an error, 6 refused.

Environment: RINGWAY_KEY (API key), RINGWAY_URL (gateway), RINGWAY_LOG (log filter), RINGWAY_STATE_DIR,
NO_COLOR.";

// What a command's help says, its arguments' type says.
#[derive(Subcommand, Debug)]
enum Command {
    Up(up::UpArgs),
    Check(check::CheckArgs),
    Import(import::ImportArgs),
    Keys(keys::KeysArgs),
    Tools(tools::ToolsArgs),
    Call(call::CallArgs),
    Doctor(doctor::DoctorArgs),
    /// The MCP server that `up` runs when there is no configuration
    #[command(hide = true)]
    BuiltinServer {
        /// Adds a tool that crashes, for trying what happens then
        #[arg(long)]
        faults: bool,
        /// Speaks the revisions with sessions only
        #[arg(long)]
        legacy: bool,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(stop) => {
            note(&stop.to_string());
            stop.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, Stop> {
    match cli.command {
        Command::Check(args) => check::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Keys(args) => keys::run(args),
        Command::Up(args) => many_threads()?.block_on(up::run(args)),
        Command::Tools(args) => {
            log::start("warn", false);
            one_thread()?.block_on(tools::run(args))
        }
        Command::Call(args) => {
            log::start("warn", false);
            one_thread()?.block_on(call::run(args))
        }
        Command::Doctor(args) => one_thread()?.block_on(doctor::run(&args)),
        Command::BuiltinServer { .. } => ringway_sandbox::builtin::serve_stdio()
            .map(|()| Exit::Ok)
            .map_err(|e| Stop::plain(Exit::Failure, format!("the built-in server ended: {e}"))),
    }
}

/// Threads of the control side of `up`; the data plane has its own.
const CONTROL_THREADS: usize = 2;

fn many_threads() -> Result<tokio::runtime::Runtime, Stop> {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("ringway-control")
        .enable_all()
        .build();
    built.map_err(no_threads)
}

fn one_thread() -> Result<tokio::runtime::Runtime, Stop> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_threads)
}

fn no_threads(error: std::io::Error) -> Stop {
    Stop::new(
        Exit::Failure,
        format!("the system gives no thread or no event queue: {error}"),
        "`ringway doctor` looks at this machine's limits",
    )
}
