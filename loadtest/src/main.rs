//! The `ringway-loadtest` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringway_loadtest::cli::main()
}
