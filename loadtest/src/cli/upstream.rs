//! `ringway-loadtest upstream`: serve an MCP server that is fast, and faulty on demand.

use super::{Exit, Failure};
use crate::upstream::{self, Options, StartError};
use tokio::signal::unix::{SignalKind, signal};

/// Its flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Say where it listens as one line of JSON, for scripts.
    #[arg(long)]
    json: bool,
}

/// Serves until it is told to stop; then says what it counted.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let server = upstream::serve(args.options).map_err(|why| match why {
        StartError::Io { .. } => Failure::Unreachable(why.to_string()),
        StartError::Option(_) | StartError::Tls(_) => Failure::Input(why.to_string()),
    })?;
    let admin = server.admin.map(|admin| format!("http://{admin}"));
    if args.json {
        println!("{}", serde_json::json!({ "url": server.url(), "admin": admin }));
    } else {
        println!("MCP at {}", server.url());
        if let Some(admin) = admin {
            println!("control at {admin}: /stats, /faults, /notify, /sessions");
        }
    }
    wait_for_the_end().map_err(|why| Failure::Unreachable(format!("signals: {why}")))?;
    let stats = server.stats();
    server.stop();
    if let Ok(text) = serde_json::to_string(&stats) {
        println!("{text}");
    }
    Ok(Exit::Success)
}

/// SIGINT or SIGTERM.
fn wait_for_the_end() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    })
}
