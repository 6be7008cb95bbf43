//! A plain client: writes what it is given, reads answers byte by byte as HTTP/1.1 says, and shows how they ended.

use serde_json::{Value, json};
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Nothing here takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One answer.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The messages of an event stream.
    pub fn events(&self) -> Vec<Value> {
        let lines = std::str::from_utf8(&self.body).unwrap().lines();
        lines
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    /// The text of a tool's result.
    pub fn result_text(&self) -> String {
        let message = self.json();
        message["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("no text in {message}"))
            .to_owned()
    }
}

/// One connection.
pub struct Client {
    tcp: TcpStream,
    buf: Vec<u8>,
    /// Of the older era.
    pub session: Option<String>,
    /// Whether it speaks 2026-07-28.
    pub modern: bool,
    next_id: u64,
}

impl Client {
    /// A connection that speaks the modern era.
    pub fn modern(addr: SocketAddr) -> Self {
        let tcp = TcpStream::connect(addr).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            tcp,
            buf: Vec::new(),
            session: None,
            modern: true,
            next_id: 1,
        }
    }

    /// A connection of the older era that has opened a session.
    pub fn legacy(addr: SocketAddr, revision: &str) -> Self {
        let mut client = Self::modern(addr);
        client.modern = false;
        let answer = client.request(
            "initialize",
            json!({
                "protocolVersion": revision,
                "capabilities": {},
                "clientInfo": { "name": "test", "version": "1" },
            }),
        );
        assert_eq!(answer.json()["result"]["protocolVersion"], revision);
        client.session = answer.header("mcp-session-id").map(str::to_owned);
        let answer = client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        assert_eq!((answer.status, answer.body.len()), (202, 0));
        client
    }

    /// Another connection in the same session.
    pub fn again(&self) -> Self {
        let mut other = Self::modern(self.tcp.peer_addr().unwrap());
        (other.modern, other.session) = (self.modern, self.session.clone());
        // Ids are unique in a session.
        other.next_id = self.next_id + 1000;
        other
    }

    /// A request with the `_meta` its era wants.
    pub fn message(&mut self, method: &str, mut params: Value) -> Value {
        if self.modern {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            let meta = meta.as_object().unwrap().clone();
            let has = params["_meta"].as_object().cloned().unwrap_or_default();
            params["_meta"] = meta
                .into_iter()
                .chain(has)
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        self.next_id += 1;
        json!({ "jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params })
    }

    pub fn request(&mut self, method: &str, params: Value) -> Answer {
        let message = self.message(method, params);
        self.post(&message)
    }

    pub fn call(&mut self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    pub fn post(&mut self, message: &Value) -> Answer {
        self.send(message);
        self.answer()
    }

    /// The bytes of a POST.
    pub fn bytes(&self, message: &Value) -> Vec<u8> {
        let body = message.to_string();
        let mut head = format!(
            "POST /mcp HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n",
            body.len()
        );
        if self.modern {
            head += "MCP-Protocol-Version: 2026-07-28\r\n";
            head += &format!(
                "Mcp-Method: {}\r\n",
                message["method"].as_str().unwrap_or_default()
            );
            let name = message["params"]["name"]
                .as_str()
                .or(message["params"]["uri"].as_str());
            if let Some(name) = name {
                head += &format!("Mcp-Name: {name}\r\n");
            }
        }
        if let Some(session) = &self.session {
            head += &format!("Mcp-Session-Id: {session}\r\n");
        }
        (head + "\r\n" + &body).into_bytes()
    }

    pub fn send(&mut self, message: &Value) {
        let bytes = self.bytes(message);
        self.raw(&bytes);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).unwrap();
    }

    /// A request without a body.
    pub fn bare(&mut self, method: &str, more: &str) {
        let session = self
            .session
            .as_ref()
            .map(|id| format!("Mcp-Session-Id: {id}\r\n"));
        let head = format!(
            "{method} /mcp HTTP/1.1\r\nHost: test\r\n{}{more}\r\n",
            session.unwrap_or_default()
        );
        self.raw(head.as_bytes());
    }

    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// A whole answer, or how it failed; what has come of it by then is lost.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buf.len() < length {
                self.more()?;
            }
            answer.body = self.buf.drain(..length).collect();
        } else if answer.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend(chunk);
            }
        }
        Ok(answer)
    }

    /// The head of an answer.
    pub fn head(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let text: Vec<u8> = self.buf.drain(..end).collect();
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        let mut lines = text.lines();
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)?.parse().ok());
        Ok(Answer {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect(),
            body: Vec::new(),
        })
    }

    /// The next chunk of a body; `None` at its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = loop {
            if let Some(at) = self.buf.windows(2).position(|w| w == b"\r\n") {
                break self.buf.drain(..at + 2).collect::<Vec<u8>>();
            }
            self.more()?;
        };
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16)
            .map_err(io::Error::other)?;
        while self.buf.len() < size + 2 {
            self.more()?;
        }
        let chunk = self.buf.drain(..size).collect();
        self.buf.drain(..2);
        Ok((size > 0).then_some(chunk))
    }

    /// Everything until the connection ends, and how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, io::ErrorKind) {
        loop {
            if let Err(why) = self.more() {
                return (std::mem::take(&mut self.buf), why.kind());
            }
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 << 10];
        match self.tcp.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.buf.extend_from_slice(&piece[..n]);
                Ok(())
            }
        }
    }
}
