//! A gateway between scripted peers: real sockets, no SDK on either side, so that tests can say what no SDK says.
//!
//! [`Upstream`] is an MCP server whose every answer the test writes, down to the byte; [`Client`] sends what the
//! test wants and reads what came. [`gateway`] starts the data plane between them on an ephemeral port.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    reason = "a panic is the report of a test"
)]

use ringway_core::{limits, seal::SealKey};
use ringway_proto::snapshot::{
    Anonymous, Catalogue, Document, FORMAT, Gateway as GatewayOptions, HttpVersion, Role, Server, Timeouts,
};
use ringway_runtime::{
    gateway::{Gateway, Settings},
    io::Driver,
    worker::Listener,
};
use serde_json::{Value, json, value::RawValue};
use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

/// Nothing in these tests takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A request as a scripted server sees it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn rpc_method(&self) -> String {
        self.json()["method"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// The server's side of one connection.
pub struct Wire {
    stream: TcpStream,
    /// Whether the connection goes on after this answer.
    keep: bool,
}

impl Wire {
    /// Exactly these bytes.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// A whole answer.
    pub fn answer(&mut self, status: u16, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(format!("{head}\r\n{body}").as_bytes());
    }

    /// A JSON answer.
    pub fn json(&mut self, body: &Value) {
        self.answer(200, &[("content-type", "application/json")], &body.to_string());
    }

    /// The head of an event stream, chunked.
    pub fn events(&mut self) {
        self.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
    }

    /// One chunk of whatever.
    pub fn chunk(&mut self, bytes: &str) {
        self.raw(format!("{:x}\r\n{bytes}\r\n", bytes.len()).as_bytes());
    }

    /// One event with a JSON message.
    pub fn event(&mut self, message: &Value) {
        self.chunk(&format!("event: message\ndata: {message}\n\n"));
    }

    /// The orderly end of a chunked body.
    pub fn end(&mut self) {
        self.raw(b"0\r\n\r\n");
    }

    /// Drops the connection after this.
    pub fn close(&mut self) {
        self.keep = false;
    }

    /// Blocks until the gateway closes this connection (true), or patience ends.
    pub fn closed_by_peer(&mut self) -> bool {
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        let mut byte = [0];
        matches!(self.stream.read(&mut byte), Ok(0)) || self.stream.take_error().is_ok_and(|e| e.is_some())
    }
}

/// A server that answers as the test says.
pub struct Upstream {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    arrivals: Mutex<mpsc::Receiver<()>>,
    pub connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// Each request is given to `script` on a thread of its connection.
    pub fn start(script: impl Fn(&Request, &mut Wire) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (arrived, arrivals) = mpsc::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let script = Arc::new(script);
        let (all, count) = (seen.clone(), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, all, arrived, count) =
                    (script.clone(), all.clone(), arrived.clone(), count.clone());
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                    let mut wire = Wire { stream, keep: true };
                    while wire.keep {
                        let Some(request) = read_request(&mut reader) else {
                            break;
                        };
                        all.lock().expect("sound").push(request.clone());
                        let _ = arrived.send(());
                        script(&request, &mut wire);
                    }
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            addr,
            seen,
            arrivals: Mutex::new(arrivals),
            connections,
        }
    }

    /// A server of the older era with one session; `script` gets everything but the handshake.
    pub fn legacy(script: impl Fn(&Request, &mut Wire) + Send + Sync + 'static) -> Self {
        let sessions = AtomicUsize::new(0);
        Self::start(
            move |request, wire| match (request.method.as_str(), request.rpc_method().as_str()) {
                ("POST", "initialize") => {
                    let n = sessions.fetch_add(1, Ordering::SeqCst) + 1;
                    let body = json!({"jsonrpc":"2.0","id":request.json()["id"],"result":{
                    "protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{}},
                    "serverInfo":{"name":"scripted","version":"1"}}});
                    let session = format!("s{n}");
                    let headers = [
                        ("content-type", "application/json"),
                        ("mcp-session-id", session.as_str()),
                    ];
                    wire.answer(200, &headers, &body.to_string());
                }
                ("POST", "notifications/initialized") => wire.answer(202, &[], ""),
                ("DELETE", _) => wire.answer(200, &[], ""),
                _ => script(request, wire),
            },
        )
    }

    /// Everything that has arrived so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("sound").clone()
    }

    /// Waits until a request of this JSON-RPC method has arrived, and gives it.
    pub fn wait_for(&self, method: &str) -> Request {
        self.wait_until(|request| request.rpc_method() == method)
    }

    /// Waits until such a request has arrived, and gives it.
    pub fn wait_until(&self, wanted: impl Fn(&Request) -> bool) -> Request {
        loop {
            if let Some(found) = self.seen().into_iter().find(&wanted) {
                return found;
            }
            let arrivals = self.arrivals.lock().expect("sound");
            let arrived = arrivals.recv_timeout(PATIENCE);
            arrived.unwrap_or_else(|_| panic!("it did not come; seen: {:?}", self.seen()));
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut parts = line.split_whitespace();
    let (method, path) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let headers = read_headers(reader)?;
    let length = headers
        .get("content-length")
        .and_then(|l| l.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

fn read_headers(reader: &mut impl BufRead) -> Option<HashMap<String, String>> {
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            return Some(headers);
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

/// A server as the registry would describe it.
pub struct Described {
    server: Server,
}

/// One tool definition.
pub fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("does {name}"), "inputSchema": {"type": "object"}})
}

impl Described {
    pub fn new(name: &str, url: &str, legacy: bool, modern: bool, tools: &[Value]) -> Self {
        let raw = |value: &Value| RawValue::from_string(value.to_string()).expect("JSON");
        let capabilities = json!({
            "tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"prompts":{},"logging":{}});
        Self {
            server: Server {
                name: name.to_owned(),
                url: url.to_owned(),
                http: HttpVersion::Http1,
                ca_file: None,
                headers: BTreeMap::new(),
                timeouts: Timeouts::default(),
                catalogue: Some(Catalogue {
                    legacy_revision: legacy.then(|| "2025-11-25".to_owned()),
                    modern,
                    capabilities: raw(&capabilities),
                    server_info: Some(raw(&json!({"name": name, "version": "1"}))),
                    instructions: None,
                    tools: tools.iter().map(raw).collect(),
                    resources: Vec::new(),
                    resource_templates: Vec::new(),
                    prompts: Vec::new(),
                }),
            },
        }
    }

    pub fn legacy(name: &str, upstream: &Upstream, tools: &[&str]) -> Self {
        let tools: Vec<Value> = tools.iter().map(|t| tool(t)).collect();
        Self::new(name, &upstream.url(), true, false, &tools)
    }

    pub fn modern(name: &str, upstream: &Upstream, tools: &[&str]) -> Self {
        let tools: Vec<Value> = tools.iter().map(|t| tool(t)).collect();
        Self::new(name, &upstream.url(), false, true, &tools)
    }

    pub fn with(mut self, change: impl FnOnce(&mut Server)) -> Self {
        change(&mut self.server);
        self
    }
}

/// A document in which anonymous callers may do everything.
pub fn document(number: u64, servers: Vec<Described>) -> Document {
    Document {
        format: FORMAT,
        number,
        gateway: GatewayOptions::default(),
        servers: servers.into_iter().map(|d| d.server).collect(),
        roles: vec![Role {
            name: "all".into(),
            allow: vec!["*".into()],
        }],
        keys: Vec::new(),
        anonymous: Some(Anonymous {
            roles: vec!["all".into()],
            allow_on_public_listeners: false,
        }),
    }
}

/// A running data plane; drained at the end.
pub struct Running {
    gateway: Option<Gateway>,
    pub addr: SocketAddr,
}

impl Running {
    pub fn start(document: &Document) -> Self {
        Self::start_with(document, |_| {})
    }

    pub fn start_with(document: &Document, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            listeners: vec![Listener {
                addr: "127.0.0.1:0".parse().expect("an address"),
                tls: None,
            }],
            admin: None,
            workers: 2,
            driver: Driver::Auto,
            limits: limits::Limits::default(),
            downstream: limits::DownstreamLimits::default(),
            upstream: limits::UpstreamLimits::default(),
            dns: limits::DnsLimits::default(),
            session_keys: vec![SealKey {
                id: 1,
                bytes: [7; 32],
            }],
        };
        change(&mut settings);
        let gateway = Gateway::start(settings, document).expect("starts");
        let addr = gateway.addresses()[0];
        Self {
            gateway: Some(gateway),
            addr,
        }
    }

    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("running")
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.drain(Duration::from_millis(500));
        }
    }
}

/// A client that sends what it is told.
pub struct Client {
    reader: BufReader<TcpStream>,
    addr: SocketAddr,
}

/// An answer, with its body read as far as asked.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_nodelay(true).expect("set");
        Self {
            reader: BufReader::new(stream),
            addr,
        }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("sent");
    }

    pub fn shutdown(self) {
        let _ = self.reader.get_ref().shutdown(std::net::Shutdown::Both);
    }

    /// Sends a POST with the usual headers and these beside them.
    pub fn send(&mut self, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\ncontent-length: {}\r\n",
            self.addr,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(format!("{head}\r\n{body}").as_bytes());
    }

    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(path, headers, body);
        self.answer()
    }

    /// Sends a bodiless request.
    pub fn bare(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.addr);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(format!("{head}\r\n").as_bytes());
    }

    /// Reads a head.
    pub fn head(&mut self) -> Answer {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a status line");
        let status = line.split_whitespace().nth(1).and_then(|s| s.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {line:?}"));
        let headers = read_headers(&mut self.reader).expect("headers");
        Answer {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// Reads a whole answer.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if let Some(length) = answer.headers.get("content-length") {
            answer.body = vec![0; length.parse().expect("a length")];
            self.reader.read_exact(&mut answer.body).expect("the body");
        } else if answer
            .headers
            .get("transfer-encoding")
            .is_some_and(|t| t == "chunked")
        {
            while let Some(chunk) = self.chunk() {
                answer.body.extend(chunk);
            }
        }
        answer
    }

    /// Exactly so many bytes of a body.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("the body");
        bytes
    }

    /// The next chunk of a chunked body; `None` at its orderly end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a chunk's size");
        assert!(!line.is_empty(), "the body was cut");
        let size = usize::from_str_radix(line.trim(), 16).expect("a size");
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).expect("a chunk");
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// Whether the server closes instead of ending in good order.
    pub fn is_cut(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => !rest.ends_with(b"0\r\n\r\n"),
            Err(_) => true,
        }
    }

    /// The JSON of the next event that has data, over as many chunks as it takes.
    pub fn event(&mut self) -> Option<Value> {
        let mut text = String::new();
        loop {
            let chunk = self.chunk()?;
            text.push_str(&String::from_utf8(chunk).expect("UTF-8"));
            while let Some(end) = text.find("\n\n") {
                let event: String = text.drain(..end + 2).collect();
                let data: Vec<&str> = event
                    .lines()
                    .filter_map(|l| l.strip_prefix("data:"))
                    .map(str::trim_start)
                    .collect();
                let data = data.join("\n");
                if !data.is_empty() {
                    assert!(
                        text.is_empty(),
                        "one event a chunk keeps this reader simple: {text:?}"
                    );
                    return Some(serde_json::from_str(&data).expect("JSON"));
                }
            }
        }
    }

    /// `initialize` and `notifications/initialized`; gives the session id.
    pub fn open_session(&mut self, path: &str, capabilities: &Value) -> String {
        let body = json!({"jsonrpc":"2.0","id":0,"method":"initialize","params":{
            "protocolVersion":"2025-11-25","capabilities":capabilities,"clientInfo":{"name":"t","version":"1"}}});
        let answer = self.post(path, &[], &body.to_string());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let session = answer.header("mcp-session-id").expect("a session").to_owned();
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let answer = self.post(path, &[("mcp-session-id", &session)], initialized);
        assert_eq!(answer.status, 202);
        session
    }

    /// Sends a modern request with right headers.
    pub fn send_modern(&mut self, path: &str, id: Value, method: &str, mut params: Value) {
        let name = params["name"]
            .as_str()
            .or(params["uri"].as_str())
            .map(str::to_owned);
        let meta = &mut params["_meta"];
        if meta["io.modelcontextprotocol/clientCapabilities"].is_null() {
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        let body = json!({"jsonrpc":"2.0","id":id,"method":method,"params":params}).to_string();
        let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        if let Some(name) = &name {
            headers.push(("mcp-name", name));
        }
        self.send(path, &headers, &body);
    }

    pub fn modern(&mut self, path: &str, id: Value, method: &str, params: Value) -> Answer {
        self.send_modern(path, id, method, params);
        self.answer()
    }
}

/// The hash under which a document knows a key.
pub fn hash(key: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}
