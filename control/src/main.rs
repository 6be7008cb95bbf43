//! The `ringway` command line.

fn main() -> std::process::ExitCode {
    ringway_control::cli::main()
}
