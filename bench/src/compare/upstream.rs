//! What stands behind the proxies: one process that answers every call the same way.

use super::{
    failure::{Result, write},
    place::{Placement, installed},
    process::{Process, free_address},
    work::Cell,
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What the upstream is made of.
#[derive(Clone, Debug)]
pub enum Kind {
    /// `ringway-loadtest upstream`.
    Loadtest(PathBuf),
    /// nginx's `return`: always the answer to the call with id 1, HTTP/1.1 only. What wrk goes with.
    Fixed,
}

/// A certificate and its key, for whoever serves TLS; the authority is the certificate itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// PEM file.
    pub certificate: PathBuf,
    /// PEM file.
    pub key: PathBuf,
}

/// A running upstream.
#[derive(Debug)]
pub struct Upstream {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What an upstream shall be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// Whose answers it gives.
    pub cell: Cell,
    /// Under TLS, with this identity.
    pub tls: Option<&'w Identity>,
    /// In the proxy's place, for the direct row.
    pub on_proxy_cpu: bool,
    /// Before the generator, whenever it has something to do.
    pub ahead: bool,
    /// How long it takes for a call, as `ringway-loadtest upstream --latency` reads it.
    pub latency: Option<&'w str>,
}

impl Wanted<'_> {
    /// In clear, on the load's processor, at once.
    pub fn plain(cell: Cell) -> Self {
        Self {
            cell,
            tls: None,
            on_proxy_cpu: false,
            ahead: false,
            latency: None,
        }
    }
}

impl Kind {
    /// Starts it.
    pub fn start(&self, wanted: Wanted<'_>, placement: &Placement, dir: &Path) -> Result<Upstream> {
        let Wanted {
            cell,
            tls,
            on_proxy_cpu,
            ahead,
            latency,
        } = wanted;
        let address = free_address()?;
        let command = |program: &Path| match (on_proxy_cpu, ahead) {
            (true, _) => placement.on_proxy_cpu(program),
            (false, true) => placement.ahead_on_load_cpu(program),
            (false, false) => placement.on_load_cpu(program),
        };
        let name = match (tls.is_some(), on_proxy_cpu) {
            (false, false) => "upstream",
            (true, false) => "upstream-tls",
            (_, true) => "upstream-direct",
        };
        let command = match self {
            Self::Loadtest(program) => {
                let mut command = command(program);
                command.arg("upstream").args(["--listen", &address.to_string()]);
                command.args(["--size", &cell.result_bytes().to_string()]);
                if let Some(latency) = latency {
                    command.args(["--latency", latency]);
                }
                if let Some(identity) = tls {
                    command.arg("--tls-certificate").arg(&identity.certificate);
                    command.arg("--tls-key").arg(&identity.key);
                }
                command
            }
            Self::Fixed => {
                let dir = dir.join(name);
                std::fs::create_dir_all(&dir).map_err(|e| super::failure::Failure::at(&dir, &e))?;
                let conf = dir.join("nginx.conf");
                write(&conf, &fixed(address, cell))?;
                let mut command = command(&installed("nginx")?);
                command.arg("-p").arg(&dir).arg("-c").arg(&conf);
                command
            }
        };
        let process = Process::start(name, command, dir)?.ready(address)?;
        Ok(Upstream { process, address })
    }
}

fn fixed(address: SocketAddr, cell: Cell) -> String {
    let text = "x".repeat(cell.result_bytes().min(8 << 10));
    let answer = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete","content":[{{"type":"text","text":"{text}"}}]}}}}"#
    );
    format!(
        "worker_processes 1;\ndaemon off;\npid nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 16000; }}\n\
         http {{\n  access_log off;\n  default_type application/json;\n  client_body_temp_path cb;\n\
         proxy_temp_path pt;\n  fastcgi_temp_path ft;\n  uwsgi_temp_path ut;\n  scgi_temp_path st;\n\
         keepalive_timeout 600s;\n  keepalive_requests 1000000000;\n\
         server {{ listen {address} backlog=4096; location / {{ return 200 '{answer}'; }} }}\n}}\n"
    )
}
