//! The counted side of a whole call: the data plane itself, through its public face, one worker, in a process of
//! its own. Its peers live in the process that counts ([`super::peers`]), so that nothing of them is in the count.
//!
//! It drives its sockets by epoll: valgrind (3.19) keeps its one lock while a thread waits in `io_uring_enter`, and
//! no other thread of the process runs. What stands above the driver is the same code.
//!
//! It says its address on stdout and serves until stdin ends.

use ringway_core::{
    limits::{DnsLimits, DownstreamLimits, Limits, UpstreamLimits},
    seal::SealKey,
};
use ringway_proto::snapshot::Document;
use ringway_runtime::{
    gateway::{Gateway, Settings},
    io::Driver,
    log,
    worker::Listener,
};
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// What to serve.
#[derive(clap::Args)]
pub struct Args {
    /// A snapshot document.
    document: PathBuf,
}

/// Calls under way end with their peers; there is nothing to wait for.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until stdin ends.
pub fn run(args: &Args) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<(), String> {
    // Access lines are on, as they are in service; the side thread writes them.
    log::start("info", false);
    let text = std::fs::read_to_string(&args.document).map_err(|e| e.to_string())?;
    let document: Document = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let settings = Settings {
        listeners: vec![Listener {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
        }],
        admin: None,
        workers: 1,
        driver: Driver::Epoll,
        limits: Limits::default(),
        downstream: DownstreamLimits::default(),
        upstream: UpstreamLimits::default(),
        dns: DnsLimits::default(),
        session_keys: vec![SealKey {
            id: 1,
            bytes: [7; 32],
        }],
    };
    let gateway = Gateway::start(settings, &document).map_err(|e| e.to_string())?;
    for address in gateway.addresses() {
        println!("{address}");
    }
    std::io::stdout().flush().map_err(|e| e.to_string())?;
    // The parent writes nothing; this returns when it is done or gone.
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .map_err(|e| e.to_string())?;
    gateway.drain(DRAIN);
    Ok(())
}
