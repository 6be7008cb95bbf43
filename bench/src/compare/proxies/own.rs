//! The relay and the hyper proxy: this program again, as a process of its own.

use super::{Surroundings, command};
use crate::compare::work::Http;
use std::{net::SocketAddr, process::Command};

/// A relay, `relay` or `ping-pong`.
pub fn relay(kind: &str, around: &Surroundings<'_>, address: SocketAddr) -> Command {
    let mut command = peer(kind, around, address);
    if around.in_batches {
        command.arg("--in-batches");
    }
    command
}

/// The minimal hyper proxy.
pub fn hyper(around: &Surroundings<'_>, address: SocketAddr, up: Http) -> Command {
    let mut command = peer("hyper", around, address);
    if up == Http::Two {
        command.arg("--http2");
    }
    command
}

fn peer(name: &str, around: &Surroundings<'_>, address: SocketAddr) -> Command {
    let mut command = command(around, &around.built.bench);
    command.args(["peer", name, "--listen", &address.to_string()]);
    command.args(["--upstream", &around.upstream.to_string()]);
    command
}
