//! `ringway-loadtest soak`: a gateway under mixed load while everything around it fails.

use super::{Exit, Failure};
use crate::soak;

pub use crate::soak::Options as Args;

/// Runs it and prints the verdict.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::Unreachable(format!("runtime: {why}")))?;
    let verdict = runtime
        .block_on(soak::run(args))
        .map_err(|why| Failure::Unreachable(why.to_string()))?;
    print!("{verdict}");
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&verdict).map_err(|why| Failure::Input(why.to_string()))?;
        std::fs::write(path, text).map_err(|why| Failure::Input(format!("{}: {why}", path.display())))?;
    }
    Ok(if verdict.holds() {
        Exit::Success
    } else {
        Exit::ThresholdsFailed
    })
}
