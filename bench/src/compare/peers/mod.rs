//! Proxies of our own to stand beside: the least that a relay must do, and a minimal hyper proxy.
//!
//! They run as processes of their own (`ringway-bench peer …`, a hidden subcommand), because CPU time is counted
//! by process.

mod hyper;
mod ping_pong;
mod relay;

use std::{net::SocketAddr, process::ExitCode};

/// One of them, to be run until it is killed.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    peer: Peer,
}

#[derive(clap::Subcommand)]
enum Peer {
    /// Copies bytes between a connection of its own to the upstream and each client, knowing nothing of HTTP.
    Relay {
        /// Listen here
        #[arg(long)]
        listen: SocketAddr,
        /// Connect there
        #[arg(long)]
        upstream: SocketAddr,
        /// Wait until many sockets are readable
        #[arg(long)]
        in_batches: bool,
    },
    /// The same over the data plane's own I/O, for answers that one read takes in.
    PingPong {
        /// Listen here
        #[arg(long)]
        listen: SocketAddr,
        /// Connect there
        #[arg(long)]
        upstream: SocketAddr,
        /// Rest now and then, so that work gathers
        #[arg(long)]
        in_batches: bool,
    },
    /// hyper's server and pooled client, one thread, nothing in between.
    Hyper {
        /// Listen here
        #[arg(long)]
        listen: SocketAddr,
        /// Forward there
        #[arg(long)]
        upstream: SocketAddr,
        /// Speak HTTP/2 to the upstream
        #[arg(long)]
        http2: bool,
    },
}

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    let ended = match args.peer {
        Peer::Relay {
            listen,
            upstream,
            in_batches,
        } => relay::run(listen, upstream, in_batches).map_err(|e| e.to_string()),
        Peer::PingPong {
            listen,
            upstream,
            in_batches,
        } => ping_pong::run(listen, upstream, in_batches).map_err(|e| e.to_string()),
        Peer::Hyper {
            listen,
            upstream,
            http2,
        } => hyper::run(listen, upstream, http2).map_err(|e| e.to_string()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
