//! A scripted MCP server over plain threads: it answers, stalls, streams, closes and remembers, and is slow in no
//! other way. It shares nothing with the generator but the format.

use std::{
    collections::{BTreeSet, HashSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// What the server does.
#[derive(Clone, Debug)]
pub struct Script {
    /// Speaks 2026-07-28, or sessions of 2025-06-18.
    pub modern: bool,
    /// From so long after the first tool call, for so long, no tool call is answered.
    pub stall: Option<(Duration, Duration)>,
    /// Time for each answer.
    pub answer_after: Duration,
    /// Answers in turn instead of results; `ID` stands for the id, and the body `CLOSE` for a closed connection.
    pub answers: Vec<(u16, &'static str)>,
    /// Everything is answered so.
    pub status: Option<u16>,
    /// Progress events before a result, 10 ms apart.
    pub events: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            modern: true,
            stall: None,
            answer_after: Duration::ZERO,
            answers: Vec::new(),
            status: None,
            events: 0,
        }
    }
}

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub credentials: BTreeSet<String>,
    pub ids: HashSet<u64>,
    pub ids_are_unique: bool,
    pub initialized: usize,
    pub deleted: usize,
    pub cancelled: usize,
    pub broken_off: usize,
}

struct Shared {
    script: Script,
    seen: Mutex<Seen>,
    turn: AtomicUsize,
    first_call: Mutex<Option<Instant>>,
    over: AtomicBool,
}

pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            seen: Mutex::new(Seen {
                ids_are_unique: true,
                ..Seen::default()
            }),
            turn: AtomicUsize::new(0),
            first_call: Mutex::new(None),
            over: AtomicBool::new(false),
        });
        let sharing = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if sharing.over.load(Ordering::Relaxed) {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), Arc::clone(&sharing));
                // A peer that walks away ends the conversation, which is all there is to it.
                std::thread::spawn(move || converse(&stream, &shared));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

struct Asked {
    line: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut fields = Vec::new();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = field.trim_end().split_once(':') else {
            break;
        };
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut asked = Asked {
        line,
        fields,
        body: Vec::new(),
    };
    let length = asked
        .field("content-length")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

fn converse(stream: &TcpStream, shared: &Shared) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let asked = read(&mut reader)?;
        if let Some(status) = shared.script.status {
            write(stream, status, &[], "")?;
            continue;
        }
        if let Some(credential) = asked.field("authorization") {
            shared
                .seen
                .lock()
                .unwrap()
                .credentials
                .insert(credential.to_owned());
        }
        answer(stream, shared, &asked)?;
    }
}

fn answer(stream: &TcpStream, shared: &Shared, asked: &Asked) -> Option<()> {
    let script = &shared.script;
    if asked.line.starts_with("DELETE") {
        shared.seen.lock().unwrap().deleted += 1;
        return write(stream, 200, &[], "");
    }
    if asked.line.starts_with("GET") {
        return listen(stream, asked.field("mcp-session-id").is_some());
    }
    let message: serde_json::Value = serde_json::from_slice(&asked.body).ok()?;
    let method = message["method"].as_str()?;
    let Some(id) = message.get("id").and_then(serde_json::Value::as_u64) else {
        if method == "notifications/cancelled" {
            shared.seen.lock().unwrap().cancelled += 1;
        }
        return write(stream, 202, &[], "");
    };
    let result = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    let modern = asked.field("mcp-method").is_some();
    match method {
        "initialize" if !script.modern => {
            let mut seen = shared.seen.lock().unwrap();
            seen.initialized += 1;
            let session = format!("session-{}", seen.initialized);
            drop(seen);
            let greeting = result(
                r#"{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}"#,
            );
            return write(stream, 200, &[("mcp-session-id", &session)], &greeting);
        }
        _ if modern != script.modern => {
            return write(
                stream,
                400,
                &[],
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"era"}}"#,
            );
        }
        _ if !modern && asked.field("mcp-session-id").is_none() => return write(stream, 400, &[], ""),
        "server/discover" => {
            return write(
                stream,
                200,
                &[],
                &result(r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#),
            );
        }
        "subscriptions/listen" => return listen(stream, true),
        _ => {}
    }
    {
        let mut seen = shared.seen.lock().unwrap();
        let fresh = seen.ids.insert(id);
        seen.ids_are_unique &= fresh;
    }
    if method == "tools/call" {
        stall(shared);
    }
    std::thread::sleep(script.answer_after);
    if !script.answers.is_empty() {
        let (status, body) =
            script.answers[shared.turn.fetch_add(1, Ordering::Relaxed) % script.answers.len()];
        if body == "CLOSE" {
            return None;
        }
        return write(stream, status, &[], &body.replace("ID", &id.to_string()));
    }
    let done = result(r#"{"content":[{"type":"text","text":"done"}]}"#);
    if script.events == 0 {
        return write(stream, 200, &[], &done);
    }
    let written = stream_events(stream, script.events, id, &done);
    if written.is_none() {
        shared.seen.lock().unwrap().broken_off += 1;
    }
    written
}

fn stall(shared: &Shared) {
    let Some((after, time)) = shared.script.stall else {
        return;
    };
    let first = *shared.first_call.lock().unwrap().get_or_insert_with(Instant::now);
    let (from, until) = (first + after, first + after + time);
    let now = Instant::now();
    if now >= from && now < until {
        std::thread::sleep(until - now);
    }
}

fn stream_events(mut stream: &TcpStream, events: usize, id: u64, done: &str) -> Option<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .ok()?;
    for n in 0..events {
        let progress = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":{n}}}}}"#
        );
        chunk(stream, &format!("event: message\ndata: {progress}\n\n"))?;
        std::thread::sleep(Duration::from_millis(10));
        // A client that has left is seen by what can be read.
        let mut byte = [0];
        stream.set_nonblocking(true).ok()?;
        let gone = matches!(stream.peek(&mut byte), Ok(0));
        stream.set_nonblocking(false).ok()?;
        if gone {
            return None;
        }
    }
    chunk(stream, &format!("data: {done}\n\n"))?;
    write!(stream, "0\r\n\r\n").ok()
}

/// A stream that acknowledges itself and then stands.
fn listen(mut stream: &TcpStream, allowed: bool) -> Option<()> {
    if !allowed {
        return write(stream, 400, &[], "");
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .ok()?;
    chunk(
        stream,
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\"}\n\n",
    )?;
    let _ = stream.read(&mut [0]);
    None
}

fn chunk(mut stream: &TcpStream, text: &str) -> Option<()> {
    write!(stream, "{:x}\r\n{text}\r\n", text.len()).ok()
}

fn write(mut stream: &TcpStream, status: u16, fields: &[(&str, &str)], body: &str) -> Option<()> {
    let mut text = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    stream.write_all(text.as_bytes()).ok()
}
