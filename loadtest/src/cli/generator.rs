//! `ringway-loadtest generator`: wait for orders from a coordinating run.

use super::{Exit, Failure};

/// Its flags.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Does it.
pub fn run(_args: Args) -> Result<Exit, Failure> {
    Err(Failure::Input("not available in this build".to_owned()))
}
