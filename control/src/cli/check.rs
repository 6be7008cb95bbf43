//! `ringway check`: everything that is wrong with a configuration, at once, before it is used.

use super::{
    exit::{Exit, Stop, say},
    place::{StateArgs, config_file, state_path},
};
use crate::config::Loader;
use clap::Args;
use std::{io::IsTerminal, path::PathBuf};

/// Check a configuration and print every finding
///
/// Nothing is started and no server is reached. The exit code is 0 when the configuration can be used, warnings
/// included, and 3 when it cannot.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The file to check [default: ringway.yaml]
    #[arg(value_name = "CONFIG")]
    config: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    state: StateArgs,
}

/// Runs the command.
pub fn run(args: &CheckArgs) -> Result<Exit, Stop> {
    let file = config_file(args.config.as_deref()).ok_or_else(|| {
        Stop::new(
            Exit::Usage,
            "there is no ringway.yaml here",
            "name the file: ringway check path/to/ringway.yaml",
        )
    })?;
    let mut outcome = Loader::new(&file).load();
    // The store's keys belong to the picture, wherever there is a store.
    if let Ok(path) = state_path(&args.state, outcome.config.as_ref())
        && path.is_dir()
        && let Ok(state) = crate::state::State::open(path)
    {
        outcome = Loader::new(&file).with_keys(state.keys_path()).load();
    }
    if args.json {
        say(outcome.findings.render_json().trim_end());
    } else {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        say(outcome
            .render_check(&file.display().to_string(), colour)
            .trim_end());
    }
    let refused = outcome.config.is_none() || (args.strict && !outcome.findings.is_empty());
    Ok(if refused { Exit::Config } else { Exit::Ok })
}
