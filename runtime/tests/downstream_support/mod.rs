//! A small service with a door to its insides, and clients that speak byte by byte.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use bytes::Bytes;
use ringway_core::limits::DownstreamLimits;
use ringway_proto::http::Headers;
use ringway_runtime::{
    downstream::tls::ServerTls,
    http::{
        Admitted, Body, BodyFault, BodyStream, Broken, Head, HeadFault, LocalFuture, Peer, Response, Service,
        Source,
    },
    io::{self, Driver},
    worker::{Listener, Settings, Workers},
};
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    rc::Rc,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

pub const DRIVERS: [Driver; 2] = [Driver::Uring, Driver::Epoll];
/// Ends a test that waits for something that never comes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Things that happened inside, counted by name; tests wait for them instead of sleeping.
#[derive(Clone, Default)]
pub struct Events(Arc<(Mutex<HashMap<&'static str, usize>>, Condvar)>);

impl Events {
    pub fn note(&self, name: &'static str) {
        *self.0.0.lock().unwrap().entry(name).or_default() += 1;
        self.0.1.notify_all();
    }

    pub fn count(&self, name: &'static str) -> usize {
        self.0.0.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    /// Waits until `name` happened `n` times.
    pub fn wait(&self, name: &'static str, n: usize) {
        let end = Instant::now() + PATIENCE;
        let mut counts = self.0.0.lock().unwrap();
        while counts.get(name).copied().unwrap_or(0) < n {
            let left = end.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("{name} did not happen {n} times: {counts:?}"));
            counts = self.0.1.wait_timeout(counts, left).unwrap().0;
        }
    }
}

/// Notes its name when dropped.
pub struct NoteDrop(pub Events, pub &'static str);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// What is served: the path says what happens.
pub struct Scripted {
    pub events: Events,
}

pub const BODY_MAX: usize = 100_000;

impl Service for Scripted {
    type Call = Head;

    fn admit(self: &Rc<Self>, head: Head, peer: Peer) -> Result<Admitted<Head>, Response> {
        self.events.note(if peer.tls { "admit tls" } else { "admit" });
        match head.path() {
            b"/refuse" => Err(text(403, "refused")),
            _ => Ok(Admitted {
                body_bytes_max: BODY_MAX,
                call: head,
            }),
        }
    }

    fn respond(
        self: &Rc<Self>,
        head: Head,
        body: Result<Bytes, BodyFault>,
    ) -> impl Future<Output = Response> + 'static {
        let events = self.events.clone();
        async move {
            events.note("respond");
            let body = match body {
                Ok(body) => body,
                Err(BodyFault::TooLarge) => return text(413, "too large"),
                Err(BodyFault::Slow) => return text(408, "slow body"),
                Err(BodyFault::Malformed) => return text(400, "malformed body"),
            };
            let query = head.target.iter().position(|b| *b == b'?').map_or(0, |at| {
                std::str::from_utf8(&head.target[at + 1..])
                    .unwrap()
                    .parse::<usize>()
                    .unwrap()
            });
            match head.path() {
                b"/echo" => {
                    let mut headers = Headers::default();
                    headers.push("x-method", head.method.token());
                    headers.push("x-authority", head.authority.clone());
                    headers.push("x-fields", head.headers.len().to_string());
                    Response {
                        status: 200,
                        headers,
                        body: Body::Full(body),
                    }
                }
                b"/big" => full(200, vec![b'b'; query]),
                b"/empty" => Response {
                    status: 202,
                    headers: Headers::default(),
                    body: Body::Empty,
                },
                b"/status" => text(u16::try_from(query).unwrap(), "words"),
                b"/bad-field" => {
                    let mut headers = Headers::default();
                    headers.push("x-bad", "a\r\nset-cookie: stolen");
                    Response {
                        status: 200,
                        headers,
                        body: Body::Empty,
                    }
                }
                b"/panic" => panic!("asked to panic"),
                b"/hang" => {
                    let _note = NoteDrop(events.clone(), "hang dropped");
                    events.note("hang");
                    std::future::pending().await
                }
                b"/slow" => {
                    let _note = NoteDrop(events.clone(), "slow dropped");
                    events.note("slow");
                    io::sleep(Duration::from_millis(query as u64)).await;
                    text(200, "slow but sure")
                }
                b"/stream" => stream(events, Play::Chunks(query, 10), None),
                b"/stream-large" => stream(events, Play::Chunks(query, 50_000), None),
                b"/stream-known" => stream(events, Play::Chunks(query, 10), Some(query as u64 * 10)),
                b"/stream-short" => stream(events, Play::Chunks(query, 10), Some(query as u64 * 10 + 1)),
                b"/stream-long" => stream(events, Play::Chunks(query, 10), Some(query as u64 * 10 - 1)),
                b"/stream-broken" => stream(events, Play::Broken(query), None),
                b"/stream-hang" => stream(events, Play::Hang(query), None),
                b"/stream-paced" => stream(events, Play::Paced(query), None),
                _ => text(404, "not found"),
            }
        }
    }

    fn malformed(self: &Rc<Self>, fault: HeadFault, _: Peer) -> Response {
        match fault {
            HeadFault::Malformed => text(400, "malformed"),
            HeadFault::TooLarge => text(431, "too large"),
            HeadFault::Slow => text(408, "slow"),
        }
    }
}

pub fn text(status: u16, text: &'static str) -> Response {
    full(status, text.as_bytes().to_vec())
}

fn full(status: u16, body: Vec<u8>) -> Response {
    Response {
        status,
        headers: Headers::default(),
        body: Body::Full(body.into()),
    }
}

fn stream(events: Events, play: Play, length: Option<u64>) -> Response {
    let note = NoteDrop(events.clone(), "stream dropped");
    let source = Box::new(Player {
        events,
        play,
        given: 0,
        _note: note,
    });
    Response {
        status: 200,
        headers: Headers::default(),
        body: Body::Stream(BodyStream { length, source }),
    }
}

enum Play {
    /// So many chunks of so many bytes, all ready.
    Chunks(usize, usize),
    /// So many chunks, then a break.
    Broken(usize),
    /// So many chunks, then nothing.
    Hang(usize),
    /// So many chunks, each after a turn of the clock.
    Paced(usize),
}

struct Player {
    events: Events,
    play: Play,
    given: usize,
    _note: NoteDrop,
}

impl Source for Player {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Bytes, Broken>>> {
        Box::pin(async move {
            let chunk = |given: usize, size: usize| {
                let letter = b'a' + u8::try_from(given % 26).unwrap();
                Some(Ok(Bytes::from(vec![letter; size])))
            };
            self.given += 1;
            let given = self.given - 1;
            match self.play {
                Play::Chunks(n, size) if given < n => {
                    self.events.note("pull");
                    chunk(given, size)
                }
                Play::Broken(n) | Play::Hang(n) if given < n => chunk(given, 10),
                Play::Paced(n) if given < n => {
                    io::sleep(Duration::from_millis(1)).await;
                    chunk(given, 10)
                }
                Play::Broken(_) => Some(Err(Broken)),
                Play::Hang(_) => {
                    self.events.note("stream hangs");
                    std::future::pending().await
                }
                Play::Chunks(..) | Play::Paced(_) => None,
            }
        })
    }
}

/// A running server; ends with the test.
pub struct Server {
    pub workers: Option<Workers>,
    pub events: Events,
    pub addr: SocketAddr,
}

impl Server {
    pub fn start(driver: Driver, tweak: impl FnOnce(&mut DownstreamLimits)) -> Self {
        Self::start_with(driver, 1, None, tweak)
    }

    pub fn start_with(
        driver: Driver,
        workers: usize,
        tls: Option<Arc<ServerTls>>,
        tweak: impl FnOnce(&mut DownstreamLimits),
    ) -> Self {
        let mut limits = DownstreamLimits {
            watch_after_ms: 5,
            ..DownstreamLimits::default()
        };
        tweak(&mut limits);
        let settings = Settings {
            workers,
            driver,
            pin: false,
            limits,
        };
        let events = Events::default();
        let inside = events.clone();
        let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let workers = Workers::start(settings, vec![Listener { addr, tls }], move |_| {
            Rc::new(Scripted {
                events: inside.clone(),
            })
        })
        .unwrap();
        let addr = workers.local_addr().unwrap();
        Self {
            workers: Some(workers),
            events,
            addr,
        }
    }

    pub fn handle(&self) -> ringway_runtime::worker::Handle {
        self.workers.as_ref().unwrap().handle()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Sums a number over the workers.
    pub fn sum(&self, number: impl Fn(&ringway_runtime::worker::Vitals) -> u64) -> u64 {
        self.handle().vitals().iter().map(|worker| number(worker)).sum()
    }

    /// Waits, looking every millisecond, until a number that no event tells of is `n`.
    pub fn until(&self, what: &str, number: impl Fn(&ringway_runtime::worker::Vitals) -> u64, n: u64) {
        let end = Instant::now() + PATIENCE;
        while self.sum(&number) != n {
            assert!(
                Instant::now() < end,
                "{what} is {} and not {n}",
                self.sum(&number)
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(workers) = self.workers.take() {
            drop(workers.handle().drain(Duration::ZERO));
            workers.join();
        }
    }
}

/// A blocking HTTP/1.1 client over any transport.
pub struct Client<T = TcpStream> {
    pub io: T,
    buf: Vec<u8>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    pub fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        let io = TcpStream::connect(addr).unwrap();
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        io.set_write_timeout(Some(PATIENCE)).unwrap();
        io.set_nodelay(true).unwrap();
        Self::over(io)
    }
}

impl<T: Read + Write> Client<T> {
    pub fn over(io: T) -> Self {
        Self { io, buf: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).unwrap();
        self.io.flush().unwrap();
    }

    pub fn get(&mut self, target: &str) -> Reply {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: here\r\n\r\n"));
        self.reply()
    }

    pub fn post(&mut self, target: &str, body: &[u8]) -> Reply {
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        self.send(body);
        self.reply()
    }

    fn fill(&mut self) -> usize {
        let mut bytes = [0; 16 * 1024];
        let n = self.io.read(&mut bytes).unwrap();
        self.buf.extend_from_slice(&bytes[..n]);
        n
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        while self.buf.len() < n {
            assert!(
                self.fill() > 0,
                "closed before {n} bytes: {:?}",
                String::from_utf8_lossy(&self.buf)
            );
        }
        self.buf.drain(..n).collect()
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.buf.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8(self.take(at)).unwrap();
                self.take(2);
                return line;
            }
            assert!(
                self.fill() > 0,
                "closed in a line: {:?}",
                String::from_utf8_lossy(&self.buf)
            );
        }
    }

    /// A head without what follows it.
    pub fn head(&mut self) -> Reply {
        let line = self.line();
        let status = line.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return Reply {
                    status,
                    headers,
                    body: Vec::new(),
                };
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// A whole answer.
    pub fn reply(&mut self) -> Reply {
        let mut reply = self.head();
        if let Some(length) = reply.header("content-length") {
            let length = length.parse().unwrap();
            reply.body = self.take(length);
        } else if reply.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                reply.body.extend(chunk);
            }
        } else if !matches!(reply.status, 100..200 | 204 | 304) {
            while self.fill() > 0 {}
            reply.body = std::mem::take(&mut self.buf);
        }
        reply
    }

    /// One chunk; `None` for the last.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line(), 16).unwrap();
        let data = self.take(size);
        assert_eq!(self.take(2), b"\r\n");
        (size > 0).then_some(data)
    }

    /// Everything until the connection ends, in order or by reset.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = [0; 16 * 1024];
        while let Ok(n @ 1..) = self.io.read(&mut bytes) {
            self.buf.extend_from_slice(&bytes[..n]);
        }
        std::mem::take(&mut self.buf)
    }

    /// The server closed, and in good order.
    pub fn is_closed(&mut self) -> bool {
        self.buf.is_empty() && self.io.read(&mut [0; 1]).is_ok_and(|n| n == 0)
    }
}
