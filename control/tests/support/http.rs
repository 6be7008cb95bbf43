//! One plain HTTP/1.1 exchange over a connection of its own, for probes: send, read to the end, close.
//!
//! Not a client: no TLS, no redirects, no reuse. A body is what came, with chunks joined.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
};

use super::process::PATIENCE;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case; of a repeated header, the last.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

pub fn get(url: &str) -> std::io::Result<Answer> {
    exchange("GET", url, &[], "")
}

pub fn post_json(url: &str, headers: &[(&str, &str)], body: &str) -> std::io::Result<Answer> {
    let mut all = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    all.extend_from_slice(headers);
    exchange("POST", url, &all, body)
}

/// A `host` among the headers replaces the one of the URL.
pub fn exchange(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> std::io::Result<Answer> {
    let rest = url.strip_prefix("http://").expect("probes are plain HTTP");
    let (authority, path) = rest
        .split_once('/')
        .map_or((rest, String::new()), |(a, p)| (a, p.to_owned()));
    let mut socket = TcpStream::connect(authority)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!(
        "{method} /{path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("host: {authority}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    socket.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    parse(&bytes)
        .ok_or_else(|| std::io::Error::other(format!("not HTTP: {}", String::from_utf8_lossy(&bytes))))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = &bytes[end + 4..];
    let mut joined = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        loop {
            let line = body.windows(2).position(|window| window == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&body[..line]).ok()?.split(';').next()?, 16)
                .ok()?;
            if size == 0 {
                break;
            }
            joined.extend_from_slice(body.get(line + 2..line + 2 + size)?);
            body = body.get(line + 2 + size + 2..)?;
        }
    } else {
        joined.extend_from_slice(body);
    }
    Some(Answer {
        status,
        headers,
        body: String::from_utf8_lossy(&joined).into_owned(),
    })
}
