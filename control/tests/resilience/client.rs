//! An agent on a plain socket, in either era. It reports what became of its calls and never panics over them: a
//! call that finds the gateway gone is an outcome like any other, for the test to judge.

use crate::PATIENCE;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Which rules an agent plays by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Legacy,
    Modern,
}

pub const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The text of its result.
    Text(String),
    /// An error in answer to it.
    Failed { status: u16, message: String },
    /// No answer: the connection ended or nothing came. True when not even a head had come.
    Broken { unheard: bool, why: String },
    /// Something that must never be: another call's answer, or no answer at all inside one.
    Wrong(String),
}

impl Outcome {
    pub fn is(&self, text: &str) -> bool {
        matches!(self, Self::Text(own) if own == text)
    }
}

/// An agent: a connection, and a session where its era has one.
pub struct Agent {
    pub era: Era,
    wire: Wire,
    path: String,
    session: Option<String>,
    key: Option<String>,
    /// Set when the last answer said `connection: close`.
    told_to_close: bool,
}

/// Ids no two requests of this process share, so that an answer that strays is noticed.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl Agent {
    /// An agent that has opened its session, if it needs one.
    pub fn connect(addr: SocketAddr, era: Era, path: &str) -> Result<Self, Outcome> {
        Self::connect_as(addr, era, path, None)
    }

    /// The same with a key.
    pub fn connect_as(addr: SocketAddr, era: Era, path: &str, key: Option<&str>) -> Result<Self, Outcome> {
        let mut agent = Self {
            era,
            wire: Wire::new(addr),
            path: path.to_owned(),
            session: None,
            key: key.map(str::to_owned),
            told_to_close: false,
        };
        if era == Era::Legacy {
            agent.initialize()?;
        }
        Ok(agent)
    }

    fn initialize(&mut self) -> Result<(), Outcome> {
        let id = next_id();
        let body = json!({"jsonrpc":"2.0","id":id,"method":"initialize","params":{
            "protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"agent","version":"1"}}});
        let answer = self.post(&[], &body)?;
        let session = answer.headers.get("mcp-session-id").cloned();
        self.session = Some(session.ok_or_else(|| answer.failure())?);
        let answer = self.post(
            &[],
            &json!({"jsonrpc":"2.0","method":"notifications/initialized"}),
        )?;
        if answer.status == 202 {
            Ok(())
        } else {
            Err(answer.failure())
        }
    }

    /// Calls a tool.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Outcome {
        let id = match self.send_call(tool, arguments) {
            Ok(id) => id,
            Err(outcome) => return outcome,
        };
        self.answer_to(id)
    }

    /// Sends a call; gives its id. Its answer is not read.
    pub fn send_call(&mut self, tool: &str, arguments: Value) -> Result<u64, Outcome> {
        let id = next_id();
        // With progress asked for, answers of servers that report it come as streams.
        let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": id}});
        let body = self.request(id, "tools/call", params);
        let headers = self.headers("tools/call", Some(tool));
        self.wire
            .send("POST", &self.path, &headers, &body.to_string())
            .map_err(|e| broken(true, &e))?;
        Ok(id)
    }

    /// Reads the answer to the call with this id.
    pub fn answer_to(&mut self, id: u64) -> Outcome {
        match self.wire.answer() {
            Ok(answer) => {
                self.told_to_close = answer.closes();
                answer.outcome(id)
            }
            Err(outcome) => outcome,
        }
    }

    /// Takes in as little as the system allows without reading.
    pub fn reads_little(&mut self) {
        let reader = self.wire.reader().expect("connected");
        rustix::net::sockopt::set_socket_recv_buffer_size(reader.get_ref(), 4096).expect("set");
    }

    /// Whether its connection is not to be used again: it was told so, or, where the head of a streamed answer had
    /// left before, it is closed. Waits for that.
    pub fn is_let_go(&mut self) -> bool {
        let closed = |reader: &mut BufReader<TcpStream>| reader.fill_buf().is_ok_and(<[u8]>::is_empty);
        self.told_to_close || self.wire.reader.as_mut().is_none_or(closed)
    }

    /// Whether bytes of an answer have come. Waits for them.
    pub fn hears(&mut self) -> bool {
        self.wire
            .reader()
            .is_ok_and(|reader| reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty()))
    }

    /// A stream that belongs to no call: the GET of a session, or a listen. Gives it once its head has come.
    pub fn listen(mut self) -> Result<Stream, Outcome> {
        match self.era {
            Era::Legacy => {
                let mut headers = self.headers("", None);
                headers.push(("accept".into(), "text/event-stream".into()));
                self.wire
                    .send("GET", &self.path, &headers, "")
                    .map_err(|e| broken(true, &e))?;
            }
            Era::Modern => {
                let method = "subscriptions/listen";
                let params = json!({"notifications": {"toolsListChanged": true}});
                let body = self.request(next_id(), method, params);
                let headers = self.headers(method, None);
                self.wire
                    .send("POST", &self.path, &headers, &body.to_string())
                    .map_err(|e| broken(true, &e))?;
            }
        }
        let (status, headers) = self.wire.head()?;
        if status != 200
            || headers
                .get("content-type")
                .is_none_or(|t| !t.starts_with("text/event-stream"))
        {
            return Err(self.wire.body(status, headers)?.failure());
        }
        Ok(Stream { wire: self.wire })
    }

    /// Ends the session.
    pub fn delete(mut self) -> Result<u16, Outcome> {
        let headers = self.headers("", None);
        self.wire
            .send("DELETE", &self.path, &headers, "")
            .map_err(|e| broken(true, &e))?;
        self.wire.answer().map(|answer| answer.status)
    }

    fn post(&mut self, headers: &[(String, String)], body: &Value) -> Result<Answer, Outcome> {
        let mut all = self.headers("", None);
        all.extend_from_slice(headers);
        self.wire
            .send("POST", &self.path, &all, &body.to_string())
            .map_err(|e| broken(true, &e))?;
        self.wire.answer()
    }

    fn request(&self, id: u64, method: &str, mut params: Value) -> Value {
        if self.era == Era::Modern {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        json!({"jsonrpc":"2.0","id":id,"method":method,"params":params})
    }

    fn headers(&self, method: &str, name: Option<&str>) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        let mut push = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        if let Some(key) = &self.key {
            push("authorization", &format!("Bearer {key}"));
        }
        if let Some(session) = &self.session {
            push("mcp-session-id", session);
        }
        if self.era == Era::Modern && !method.is_empty() {
            push("mcp-protocol-version", "2026-07-28");
            push("mcp-method", method);
            if let Some(name) = name {
                push("mcp-name", name);
            }
        }
        headers
    }
}

/// An open stream.
pub struct Stream {
    wire: Wire,
}

impl Stream {
    /// Whether it has not ended, as far as its bytes have come.
    pub fn goes_on(mut self) -> bool {
        let Ok(reader) = self.wire.reader() else {
            return false;
        };
        let waits =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        loop {
            let soon = reader.get_ref().set_read_timeout(Some(Duration::from_millis(1)));
            match soon.and_then(|()| line(reader)) {
                Err(error) => return waits(&error),
                // The size of the last chunk.
                Ok(line) if line == "0" => return false,
                Ok(_) => {}
            }
        }
    }

    /// Waits until the gateway ends it; true when it ended in good order, with its last chunk.
    pub fn ends_in_order(mut self) -> bool {
        // Heartbeats come on a stream that does not end, so the wait has an end of its own.
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.wire.chunk() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }
}

fn broken(unheard: bool, error: &io::Error) -> Outcome {
    Outcome::Broken {
        unheard,
        why: error.to_string(),
    }
}

type Fields = HashMap<String, String>;

/// One connection, opened when it is needed.
struct Wire {
    addr: SocketAddr,
    reader: Option<BufReader<TcpStream>>,
}

struct Answer {
    status: u16,
    headers: Fields,
    body: Vec<u8>,
}

impl Wire {
    fn new(addr: SocketAddr) -> Self {
        Self { addr, reader: None }
    }

    fn reader(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        if self.reader.is_none() {
            let stream = TcpStream::connect(self.addr)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            self.reader = Some(BufReader::new(stream));
        }
        self.reader
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn send(&mut self, method: &str, path: &str, headers: &[(String, String)], body: &str) -> io::Result<()> {
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.addr);
        if method == "POST" {
            text.push_str(
                "content-type: application/json\r\naccept: application/json, text/event-stream\r\n",
            );
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let sent = self
            .reader()?
            .get_mut()
            .write_all(format!("{text}\r\n{body}").as_bytes());
        if sent.is_err() {
            self.reader = None;
        }
        sent
    }

    fn answer(&mut self) -> Result<Answer, Outcome> {
        let (status, headers) = self.head()?;
        self.body(status, headers)
    }

    fn head(&mut self) -> Result<(u16, Fields), Outcome> {
        let head = self.reader().and_then(read_head);
        head.map_err(|error| {
            self.reader = None;
            broken(true, &error)
        })
    }

    fn body(&mut self, status: u16, headers: Fields) -> Result<Answer, Outcome> {
        let mut body = Vec::new();
        let read = if let Some(length) = headers.get("content-length") {
            body.resize(length.parse().unwrap_or(0), 0);
            self.reader().and_then(|reader| reader.read_exact(&mut body))
        } else if headers.get("transfer-encoding").is_some_and(|t| t == "chunked") {
            loop {
                match self.chunk() {
                    Ok(Some(chunk)) => body.extend(chunk),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
        } else {
            Ok(())
        };
        let answer = Answer {
            status,
            headers,
            body,
        };
        if read.is_err() || answer.closes() {
            self.reader = None;
        }
        read.map(|()| answer).map_err(|error| broken(false, &error))
    }

    /// The next chunk; `None` at the orderly end.
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let reader = self.reader()?;
        let size = line(reader)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| bad(format!("{size:?} is no chunk size")))?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<(u16, Fields)> {
    let first = line(reader)?;
    let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| bad(format!("{first:?} is no status line")))?;
    let mut headers = Fields::new();
    loop {
        let line = line(reader)?;
        match line.split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None if line.is_empty() => return Ok((status, headers)),
            None => return Err(bad(format!("{line:?} is no field"))),
        };
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Answer {
    fn closes(&self) -> bool {
        self.headers
            .get("connection")
            .is_some_and(|c| c.eq_ignore_ascii_case("close"))
    }

    /// The messages, whichever form they came in.
    fn messages(&self) -> Vec<Value> {
        let events = self
            .headers
            .get("content-type")
            .is_some_and(|t| t.starts_with("text/event-stream"));
        if !events {
            return serde_json::from_slice(&self.body).into_iter().collect();
        }
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let data = text.split("\n\n").map(|event| {
            let data = event.lines().filter_map(|line| line.strip_prefix("data:"));
            data.map(str::trim_start).collect::<Vec<_>>().join("\n")
        });
        data.filter_map(|data| serde_json::from_str(&data).ok()).collect()
    }

    /// The message that answers.
    fn message(&self) -> Option<Value> {
        self.messages()
            .into_iter()
            .find(|message| message["method"].is_null())
    }

    /// Progress of another call than this one.
    fn stray(&self, id: u64) -> Option<Value> {
        let stray = |m: &Value| m["method"] == "notifications/progress" && m["params"]["progressToken"] != id;
        self.messages().into_iter().find(stray)
    }

    fn failure(&self) -> Outcome {
        let message = self.message().unwrap_or_default();
        let text = message["error"]["message"].as_str().map(str::to_owned);
        let text = text.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        Outcome::Failed {
            status: self.status,
            message: text,
        }
    }

    fn outcome(&self, id: u64) -> Outcome {
        if let Some(stray) = self.stray(id) {
            return Outcome::Wrong(format!("progress that is not of {id}: {stray}"));
        }
        let Some(message) = self.message() else {
            let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned();
            return match self.status {
                200 => Outcome::Wrong(format!("no message in {shown:?}")),
                _ => self.failure(),
            };
        };
        if message["id"] != id && !(message["id"].is_null() && self.status >= 400) {
            return Outcome::Wrong(format!("the answer to {} came to {id}: {message}", message["id"]));
        }
        let result = &message["result"];
        match result["content"][0]["text"].as_str() {
            Some(text) if result["isError"] != true => Outcome::Text(text.to_owned()),
            Some(text) => Outcome::Failed {
                status: self.status,
                message: text.to_owned(),
            },
            None if message["error"].is_object() => self.failure(),
            None => Outcome::Wrong(format!("neither text nor error: {message}")),
        }
    }
}
