//! A small blocking MCP client: opens connections that then stay idle, sessions that stay unused and event streams
//! that stay open, one after the other and by the thousand. It makes no load; generators do.

use super::{
    failure::{Context, Failure, Result},
    work::{Era, Work},
};
use serde_json::json;
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Nothing asked here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Small: there are ten thousand of them in this process.
const BUFFER_BYTES: usize = 1 << 10;

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
    address: SocketAddr,
    session: Option<String>,
}

/// An answer's head, and its body unless it is a stream left open.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Mcp-Session-Id`.
    session: Option<String>,
    /// The whole body.
    pub body: String,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let deed = format!("connect to {address}");
        let stream = TcpStream::connect(address).context(&deed)?;
        stream.set_nodelay(true).context(&deed)?;
        stream.set_read_timeout(Some(PATIENCE)).context(&deed)?;
        Ok(Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, stream),
            address,
            session: None,
        })
    }

    /// `initialize` and its notification, for an older-era client.
    pub fn open_session(&mut self, path: &str, work: &Work) -> Result<()> {
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": work.era.revision(), "capabilities": {},
            "clientInfo": {"name": "ringway-bench", "version": "1"}}});
        self.session = None;
        let answer = self.post(path, work, &[], &body.to_string())?;
        self.session = answer.session.clone();
        answer.expect(200)?;
        let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.post(path, work, &[], body)?.expect(202)
    }

    /// One call of the work's tool.
    pub fn call(&mut self, path: &str, work: &Work) -> Result<()> {
        let body = work.body(1);
        let mut extra = Vec::new();
        if work.era == Era::Modern {
            extra = vec![("mcp-method", "tools/call"), ("mcp-name", &work.tool)];
        }
        let answer = self.post(path, work, &extra, &body)?;
        match answer.body.contains("\"result\"") {
            true => answer.expect(200),
            false => Err(Failure::new(format!(
                "a call failed: {} {}",
                answer.status, answer.body
            ))),
        }
    }

    /// Opens an event stream of notifications and waits for its first event; it stays open with the connection.
    pub fn listen(&mut self, path: &str, work: &Work) -> Result<()> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": {"toolsListChanged": true},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": work.era.revision(),
            "io.modelcontextprotocol/clientCapabilities": {},
        }}});
        self.send(
            path,
            work,
            &[("mcp-method", "subscriptions/listen")],
            &body.to_string(),
        )?;
        let (answer, _) = self.head()?;
        answer.expect(200)?;
        let mut line = String::new();
        while !line.starts_with("data:") {
            line.clear();
            if self.reader.read_line(&mut line).context("read an event")? == 0 {
                return Err(Failure::new("the event stream ended at once"));
            }
        }
        Ok(())
    }

    fn post(&mut self, path: &str, work: &Work, extra: &[(&str, &str)], body: &str) -> Result<Answer> {
        self.send(path, work, extra, body)?;
        let (mut answer, length) = self.head()?;
        answer.body = match length {
            Some(length) => self.exactly(length)?,
            None => self.chunks()?,
        };
        Ok(answer)
    }

    fn send(&mut self, path: &str, work: &Work, extra: &[(&str, &str)], body: &str) -> Result<()> {
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n\
             mcp-protocol-version: {}\r\ncontent-length: {}\r\n",
            self.address,
            work.era.revision(),
            body.len()
        );
        if let Some(key) = &work.key {
            let _ = write!(head, "authorization: Bearer {key}\r\n");
        }
        for (name, value) in extra {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(session) = &self.session {
            let _ = write!(head, "mcp-session-id: {session}\r\n");
        }
        let request = format!("{head}\r\n{body}");
        self.reader
            .get_mut()
            .write_all(request.as_bytes())
            .context(format!("write to {}", self.address))
    }

    /// The head of an answer, and the length of its body when that is said; chunks otherwise.
    fn head(&mut self) -> Result<(Answer, Option<usize>)> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Failure::new(format!("not a status line: {line:?}")))?;
        let mut answer = Answer {
            status,
            session: None,
            body: String::new(),
        };
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok((answer, length.or((!chunked).then_some(0))));
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok(),
                "transfer-encoding" => chunked = true,
                "mcp-session-id" => answer.session = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }

    fn chunks(&mut self) -> Result<String> {
        let mut body = String::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(line.trim(), 16).context("a chunk's size")?;
            body.push_str(&self.exactly(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn exactly(&mut self, bytes: usize) -> Result<String> {
        let mut body = vec![0; bytes];
        self.reader.read_exact(&mut body).context("read a body")?;
        String::from_utf8(body).context("read a body")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self
            .reader
            .read_line(&mut line)
            .context(format!("read from {}", self.address))?;
        match read {
            0 => Err(Failure::new(format!("{} closed the connection", self.address))),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Answer {
    fn expect(&self, status: u16) -> Result<()> {
        match self.status == status {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "expected {status}, got {} {}",
                self.status, self.body
            ))),
        }
    }
}
