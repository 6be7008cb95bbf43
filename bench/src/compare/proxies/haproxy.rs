//! HAProxy of the distribution, as a plain reverse proxy.

use super::{Row, Surroundings};
use crate::compare::{
    failure::{Context, Result, write},
    place::installed,
    work::Http,
};
use std::{net::SocketAddr, process::Command};

/// Writes the configuration and gives the command.
pub fn command(row: &Row, around: &Surroundings<'_>, address: SocketAddr) -> Result<Command> {
    let conf = around.dir.join("haproxy.cfg");
    write(&conf, &config(row, around, address)?)?;
    let mut command = super::command(around, &installed("haproxy")?);
    command.arg("-db").arg("-f").arg(&conf);
    Ok(command)
}

fn config(row: &Row, around: &Surroundings<'_>, address: SocketAddr) -> Result<String> {
    let mut bind = String::new();
    if row.down.tls {
        // It wants chain and key in one file.
        let pem = around.dir.join("both.pem");
        let read = |path: &std::path::Path| std::fs::read_to_string(path).context(path.display());
        let both = read(&around.identity.certificate)? + &read(&around.identity.key)?;
        write(&pem, &both)?;
        bind = format!("ssl crt {} ssl-min-ver TLSv1.3", pem.display());
    }
    match (row.down.http, row.down.tls) {
        (Http::Two, true) => bind.push_str(" alpn h2"),
        (Http::Two, false) => bind.push_str(" proto h2"),
        (Http::One, _) => {}
    }
    let mut server = String::new();
    if row.up.tls {
        server.push_str(" ssl verify none");
    }
    match (row.up.http, row.up.tls) {
        (Http::Two, true) => server.push_str(" alpn h2"),
        (Http::Two, false) => server.push_str(" proto h2"),
        (Http::One, _) => {}
    }
    let (workers, upstream) = (around.workers, around.upstream);
    Ok(format!(
        "global
  nbthread {workers}
  maxconn 9900
  tune.h2.max-concurrent-streams 1024
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  http-reuse always
frontend down
  bind {address} backlog 4096 {bind}
  default_backend up
backend up
  server s {upstream} pool-max-conn -1 pool-purge-delay 600s{server}
"
    ))
}
