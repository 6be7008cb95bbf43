//! `ringway-loadtest generator`: wait for orders from a coordinating run.

use super::{
    Exit, Failure,
    fleet::{LoadEngine, TokenFlags},
};
use crate::fleet;
use tokio::net::TcpListener;

/// Its flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where coordinators are awaited
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7878")]
    listen: String,
    #[command(flatten)]
    token: TokenFlags,
}

/// Serves until it is interrupted.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let token = args.token.token()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Input(format!("no runtime: {e}")))?;
    runtime.block_on(async {
        let unusable = |e| Failure::Input(format!("--listen {}: {e}", args.listen));
        let listener = TcpListener::bind(&args.listen).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        println!("generator listens on {address}");
        tokio::select! {
            served = fleet::serve(listener, token, LoadEngine) => served.map_err(unusable)?,
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(Exit::Success)
    })
}
