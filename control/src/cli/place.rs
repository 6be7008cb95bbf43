//! Which configuration and which state directory a command is about.

use super::exit::{Exit, Stop};
use crate::{
    config::{Config, Loader, System},
    state::{self, State},
};
use clap::Args;
use std::path::{Path, PathBuf};

/// The configuration that is used when none is named.
pub const DEFAULT_FILE: &str = "ringway.yaml";

/// Options about the state directory.
#[derive(Args, Clone, Debug, Default)]
pub struct StateArgs {
    /// Directory for keys and the last good snapshot [default: state_dir of the configuration, then
    /// $RINGWAY_STATE_DIR, $XDG_STATE_HOME/ringway, ~/.local/state/ringway]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// The file that was named, or `ringway.yaml` where there is one.
pub fn config_file(said: Option<&Path>) -> Option<PathBuf> {
    said.map(Path::to_owned)
        .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()))
}

/// The configuration of that file, for commands to which it only gives names and places: errors in it do not
/// stop them.
pub fn config_if_good(said: Option<&Path>) -> Option<Config> {
    Loader::new(config_file(said)?).load().config
}

/// Where state is kept.
pub fn state_path(args: &StateArgs, config: Option<&Config>) -> Result<PathBuf, Stop> {
    let of_config = config.and_then(|config| config.settings.state_dir.clone());
    let said = args.state_dir.clone().or(of_config);
    let path = state::directory(said.as_deref(), &System).ok_or_else(|| {
        Stop::new(
            Exit::Usage,
            "there is no place for state: $HOME is not set",
            "pass --state-dir DIR or set $RINGWAY_STATE_DIR",
        )
    })?;
    // Absolute, because sockets in it are named to others.
    Ok(std::path::absolute(&path).unwrap_or(path))
}

/// Opens the state directory, creating it where missing.
pub fn open_state(args: &StateArgs, config: Option<&Config>) -> Result<State, Stop> {
    let path = state_path(args, config)?;
    State::open(&path).map_err(|e| {
        Stop::new(
            Exit::Failure,
            format!("the state directory {} cannot be used: {e}", path.display()),
            "pass --state-dir with a directory you may write to",
        )
    })
}
