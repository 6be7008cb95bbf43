//! One small HTTP/1.1 request over a connection of its own, for questions beside the measurement.

use super::failure::{Context, Failure, Result};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Nothing asked here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The body of a successful answer.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    let deed = format!("GET http://{address}{path}");
    let mut stream = TcpStream::connect(address).context(&deed)?;
    stream.set_read_timeout(Some(PATIENCE)).context(&deed)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context(&deed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context(&deed)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(Failure::new(format!(
            "{deed}: {}",
            answer.lines().next().unwrap_or("no answer")
        ))),
    }
}
