//! A remote server that can be stopped and started on its port, and that counts what it executes.
//!
//! Tools: `echo` gives its message back; `gate` does too, once the test opens the gate; `large` gives as many
//! bytes as asked for. Each call carries a number, noted when the call is executed.

use crate::{client::Era, until};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

/// How a session server says that it does not know a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgets {
    /// As the specification has it.
    NotFound,
    /// As widely used servers have it.
    BadRequest,
}

/// A server; stopped when dropped.
pub struct Upstream {
    port: u16,
    state: Arc<State>,
    running: Option<Running>,
}

struct Running {
    stopping: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

struct State {
    era: Era,
    forgets: Forgets,
    executed: Mutex<HashMap<u64, usize>>,
    sessions: Mutex<HashSet<String>>,
    session_count: AtomicU64,
    connections: Mutex<HashMap<u64, TcpStream>>,
    connection_count: AtomicU64,
    streams: AtomicUsize,
    gate: Mutex<bool>,
    gate_opened: Condvar,
    waiting_at_gate: AtomicUsize,
}

/// Ports below those the system gives out: a client that dials a closed one of those may be connected to itself.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

fn listen_on_a_low_port() -> TcpListener {
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    loop {
        let port = start.wrapping_add(NEXT_PORT.fetch_add(1, Ordering::SeqCst) % 2_000);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
    }
}

impl Upstream {
    pub fn start(era: Era) -> Self {
        Self::start_that(era, Forgets::NotFound)
    }

    pub fn start_that(era: Era, forgets: Forgets) -> Self {
        let listener = listen_on_a_low_port();
        let state = State {
            era,
            forgets,
            executed: Mutex::default(),
            sessions: Mutex::default(),
            session_count: AtomicU64::new(0),
            connections: Mutex::default(),
            connection_count: AtomicU64::new(0),
            streams: AtomicUsize::new(0),
            gate: Mutex::new(false),
            gate_opened: Condvar::new(),
            waiting_at_gate: AtomicUsize::new(0),
        };
        let port = listener.local_addr().expect("an address").port();
        let mut upstream = Self {
            port,
            state: Arc::new(state),
            running: None,
        };
        upstream.accept(listener);
        upstream
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// Ends every connection where it stands and takes no new ones. What it has executed stays executed.
    pub fn stop(&mut self) {
        let Some(Running { stopping, accepting }) = self.running.take() else {
            return;
        };
        stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, which then closes the port.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        accepting.join().expect("the accepting thread");
        for connection in self.state.connections.lock().expect("sound").values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        until("its connections end", || {
            self.state.connections.lock().expect("sound").is_empty()
        });
    }

    /// Comes back on the same port; `forgetful` without the sessions it had.
    pub fn start_again(&mut self, forgetful: bool) {
        if forgetful {
            self.state.sessions.lock().expect("sound").clear();
        }
        let listener = crate::eventually("its port is free", || {
            TcpListener::bind(("127.0.0.1", self.port)).ok()
        });
        self.accept(listener);
    }

    /// Forgets its sessions and goes on.
    pub fn forget(&self) {
        self.state.sessions.lock().expect("sound").clear();
    }

    /// Its port while it is stopped: connections are made, by the system, and nobody reads them.
    pub fn take_the_port_and_say_nothing(&self) -> TcpListener {
        crate::eventually("its port is free", || {
            TcpListener::bind(("127.0.0.1", self.port)).ok()
        })
    }

    fn accept(&mut self, listener: TcpListener) {
        let stopping = Arc::new(AtomicBool::new(false));
        let (state, stop) = (self.state.clone(), stopping.clone());
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let id = state.connection_count.fetch_add(1, Ordering::SeqCst);
                let kept = stream.try_clone().expect("a second handle");
                state.connections.lock().expect("sound").insert(id, kept);
                let (state, stop) = (state.clone(), stop.clone());
                std::thread::spawn(move || {
                    converse(&state, &stop, stream);
                    state.connections.lock().expect("sound").remove(&id);
                });
            }
        });
        self.running = Some(Running { stopping, accepting });
    }

    /// How often the call with this number was executed.
    pub fn executed(&self, number: u64) -> usize {
        self.state
            .executed
            .lock()
            .expect("sound")
            .get(&number)
            .copied()
            .unwrap_or(0)
    }

    /// Numbers executed more than once.
    pub fn repeated(&self) -> Vec<(u64, usize)> {
        let executed = self.state.executed.lock().expect("sound");
        executed
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(number, times)| (*number, *times))
            .collect()
    }

    /// Streams open that belong to no call.
    pub fn streams(&self) -> usize {
        self.state.streams.load(Ordering::SeqCst)
    }

    /// Waits until so many calls wait at the gate.
    pub fn waits_for_gate(&self, calls: usize) {
        until("calls wait at the gate", || {
            self.state.waiting_at_gate.load(Ordering::SeqCst) >= calls
        });
    }

    /// Lets the calls at the gate through, and all later ones.
    pub fn open_gate(&self) {
        *self.state.gate.lock().expect("sound") = true;
        self.state.gate_opened.notify_all();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.open_gate();
        self.stop();
    }
}

struct Request {
    method: String,
    headers: HashMap<String, String>,
    body: Value,
}

fn converse(state: &State, stopping: &AtomicBool, stream: TcpStream) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    let mut out = stream;
    while let Some(request) = read_request(&mut reader) {
        // What had not been read when the server stopped was never executed.
        if stopping.load(Ordering::SeqCst) || answer(state, &request, &mut out, &mut reader).is_err() {
            return;
        }
    }
}

fn answer(
    state: &State,
    request: &Request,
    out: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
) -> std::io::Result<()> {
    let (id, params) = (&request.body["id"], &request.body["params"]);
    let rpc = request.body["method"].as_str().unwrap_or_default();
    if state.era == Era::Legacy {
        if rpc == "initialize" {
            let session = format!("session-{}", state.session_count.fetch_add(1, Ordering::SeqCst));
            state.sessions.lock().expect("sound").insert(session.clone());
            let result = json!({"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},
                "serverInfo":{"name":"upstream","version":"1"}});
            return send(out, 200, &[("mcp-session-id", &session)], &answered(id, &result));
        }
        let session = request.headers.get("mcp-session-id").cloned().unwrap_or_default();
        if !state.sessions.lock().expect("sound").contains(&session) {
            let (status, code, text) = match state.forgets {
                Forgets::NotFound => (404, -32001, "Session not found"),
                Forgets::BadRequest => (400, -32000, "Bad Request: No valid session ID provided"),
            };
            let error = json!({"jsonrpc":"2.0","id":null,"error":{"code":code,"message":text}});
            return send(out, status, &[], &error.to_string());
        }
        match request.method.as_str() {
            "DELETE" => {
                state.sessions.lock().expect("sound").remove(&session);
                return send(out, 200, &[], "");
            }
            "GET" => return stream(state, out, reader, None),
            _ => {}
        }
    } else if request.method != "POST" {
        return send(out, 405, &[("allow", "POST")], "");
    }
    let result = match rpc {
        "server/discover" if state.era == Era::Modern => json!({"supportedVersions":["2026-07-28"],
            "capabilities":{"tools":{"listChanged":true}},"resultType":"complete","ttlMs":1000,"cacheScope":"public"}),
        "subscriptions/listen" if state.era == Era::Modern => return stream(state, out, reader, Some(id)),
        "tools/list" => {
            let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
            let tools = json!([tool("echo"), tool("gate"), tool("large")]);
            json!({"tools": tools, "resultType": "complete", "ttlMs": 1000, "cacheScope": "public"})
        }
        "tools/call" => call(state, params),
        "ping" => json!({}),
        _ if id.is_null() => return send(out, 202, &[], ""),
        _ => {
            let error = json!({"jsonrpc":"2.0","id":id,"error":{"code":-32601,"message":"no such method"}});
            let status = if state.era == Era::Modern { 404 } else { 200 };
            return send(out, status, &[], &error.to_string());
        }
    };
    send(out, 200, &[], &answered(id, &result))
}

fn call(state: &State, params: &Value) -> Value {
    let arguments = &params["arguments"];
    if let Some(number) = arguments["number"].as_u64() {
        *state.executed.lock().expect("sound").entry(number).or_default() += 1;
    }
    if params["name"] == "gate" {
        state.waiting_at_gate.fetch_add(1, Ordering::SeqCst);
        let mut open = state.gate.lock().expect("sound");
        while !*open {
            open = state.gate_opened.wait(open).expect("sound");
        }
        state.waiting_at_gate.fetch_sub(1, Ordering::SeqCst);
    }
    let text = match arguments["bytes"].as_u64() {
        Some(bytes) => "x".repeat(usize::try_from(bytes).unwrap_or(0)),
        None => arguments["message"].as_str().unwrap_or_default().to_owned(),
    };
    json!({"content": [{"type": "text", "text": text}], "resultType": "complete"})
}

fn answered(id: &Value, result: &Value) -> String {
    json!({"jsonrpc":"2.0","id":id,"result":result}).to_string()
}

/// A stream that is open until the other side closes it.
fn stream(
    state: &State,
    out: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
    listen: Option<&Value>,
) -> std::io::Result<()> {
    out.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    let first = match listen {
        None => ": open\n\n".to_owned(),
        Some(id) => {
            let note = json!({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{
                "_meta":{"io.modelcontextprotocol/subscriptionId":id},"notifications":{"toolsListChanged":true}}});
            format!("event: message\ndata: {note}\n\n")
        }
    };
    out.write_all(format!("{:x}\r\n{first}\r\n", first.len()).as_bytes())?;
    state.streams.fetch_add(1, Ordering::SeqCst);
    let ended = reader.read(&mut [0]);
    state.streams.fetch_sub(1, Ordering::SeqCst);
    ended.and(Err(std::io::ErrorKind::UnexpectedEof.into()))
}

fn send(out: &mut TcpStream, status: u16, headers: &[(&str, &str)], body: &str) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    if !body.is_empty() {
        head.push_str("content-type: application/json\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    out.write_all(format!("{head}\r\n{body}").as_bytes())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let method = line.split(' ').next()?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}
