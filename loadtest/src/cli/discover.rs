//! `ringway-loadtest discover`: write a scenario from a server's own tools.

use super::{Exit, Failure};

/// Its flags.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Does it.
pub fn run(_args: Args) -> Result<Exit, Failure> {
    Err(Failure::Input("not available in this build".to_owned()))
}
