//! nginx of the distribution, as a plain reverse proxy with its best settings for this work.

use super::{Row, Surroundings};
use crate::compare::{
    failure::{Result, write},
    place::installed,
    work::Http,
};
use std::{net::SocketAddr, process::Command};

/// What rows differ in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Answers are passed on as they come, as event streams need.
    pub unbuffered: bool,
    /// One line a request, written in blocks of 64 KiB.
    pub access_log: bool,
}

/// Writes the configuration and gives the command.
pub fn command(
    row: &Row,
    options: &Options,
    around: &Surroundings<'_>,
    address: SocketAddr,
) -> Result<Command> {
    let conf = around.dir.join("nginx.conf");
    write(&conf, &config(row, options, around, address))?;
    let mut command = super::command(around, &installed("nginx")?);
    command.arg("-p").arg(&around.dir).arg("-c").arg(&conf);
    Ok(command)
}

fn config(row: &Row, options: &Options, around: &Surroundings<'_>, address: SocketAddr) -> String {
    let workers = around.workers;
    let upstream = around.upstream;
    let log = if options.access_log {
        "access_log access.log combined buffer=64k flush=1s"
    } else {
        "access_log off"
    };
    let mut listen = address.to_string();
    let mut tls = String::new();
    if row.down.tls {
        listen.push_str(" ssl");
        tls = format!(
            "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;",
            around.identity.certificate.display(),
            around.identity.key.display()
        );
    }
    if row.down.http == Http::Two {
        listen.push_str(" http2");
    }
    let scheme = if row.up.tls { "https" } else { "http" };
    // 64 KiB and more never goes to disk.
    let buffers = if options.unbuffered {
        "proxy_buffering off; proxy_request_buffering off; proxy_buffers 8 16k; proxy_buffer_size 16k;"
    } else {
        "proxy_buffers 16 16k; proxy_buffer_size 16k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;"
    };
    format!(
        r#"worker_processes {workers};
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
  {log};
  client_body_temp_path cb; proxy_temp_path pt; fastcgi_temp_path ft; uwsgi_temp_path ut; scgi_temp_path st;
  tcp_nodelay on; keepalive_timeout 600s; keepalive_requests 1000000000;
  http2_max_concurrent_streams 1024;
  client_body_buffer_size 16k;
  proxy_http_version 1.1; proxy_set_header Connection "";
  upstream u {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  server {{
    listen {listen} backlog=4096;
    {tls}
    location / {{ proxy_pass {scheme}://u; {buffers} }}
  }}
}}
"#
    )
}
