//! Scripted peers on loopback, and a worker to talk to them from.
//!
//! A peer is a thread that follows a script with blocking sockets; the client side runs on both I/O drivers.
//! Every wait has an end, so a test that goes wrong fails instead of hanging.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::expect_used, reason = "a panic here is a test's report")]

pub mod frames;

use bytes::Bytes;
use ringway_core::limits::{DnsLimits, UpstreamLimits};
use ringway_proto::{
    http::{Headers, Method},
    snapshot::{HttpVersion, Timeouts},
};
use ringway_runtime::{
    io::{self, Driver},
    side::{SideThread, dns::Resolver},
    upstream::{CredentialId, Endpoint, EndpointStats, Fault, Pools, Request, Response},
};
use rustix::net::sockopt;
use std::{
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;

/// No conversation here takes longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const ANYONE: CredentialId = CredentialId(0);

/// Runs `test` on a worker of each driver.
pub fn on_workers<F: Future>(limits: UpstreamLimits, test: impl Fn(Rc<Pools>) -> F) {
    let side = SideThread::start("side").expect("starts");
    for driver in [Driver::Uring, Driver::Epoll] {
        let resolver = Resolver::start(&side.handle(), DnsLimits::default());
        let ran = io::run(driver, async {
            let pools = Pools::new(resolver, limits.clone());
            io::timeout(PATIENCE, test(pools)).await
        });
        ran.expect("the driver runs")
            .unwrap_or_else(|_| panic!("{driver:?}: the test took too long"));
    }
}

/// Waits until an answer is so long ago that its connection is asked before it is used again.
pub async fn no_longer_fresh() {
    io::sleep(Duration::from_millis(2)).await;
}

pub fn endpoint(url: &str) -> Arc<Endpoint> {
    endpoint_with(url, HttpVersion::Auto, Timeouts::default())
}

pub fn endpoint_with(url: &str, http: HttpVersion, timeouts: Timeouts) -> Arc<Endpoint> {
    Arc::new(Endpoint::new(url, http, None, timeouts).expect("a valid URL"))
}

pub fn post(body: &'static str) -> Request {
    Request {
        method: Method::Post,
        target: Bytes::from_static(b"/mcp"),
        headers: Headers::default(),
        body: Bytes::from_static(body.as_bytes()),
        long_lived: false,
        prefix: None,
    }
}

pub fn get() -> Request {
    Request {
        method: Method::Get,
        ..post("")
    }
}

/// Sends and collects: the whole exchange.
pub async fn call(pools: &Rc<Pools>, endpoint: &Arc<Endpoint>, request: Request) -> Result<String, Fault> {
    let response = pools.send(endpoint, ANYONE, request).await?;
    text(response).await
}

pub async fn text(response: Response) -> Result<String, Fault> {
    let body = response.body.collect(1 << 26).await?;
    Ok(String::from_utf8(body.to_vec()).expect("text"))
}

/// The only endpoint's numbers.
pub fn stats(pools: &Pools) -> EndpointStats {
    let mut all = pools.stats();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Waits until `condition` holds, letting the worker run.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        io::sleep(Duration::from_millis(1)).await;
    }
}

/// A peer following its script on a thread.
pub struct Peer {
    pub address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    done: oneshot::Receiver<()>,
}

pub struct Listener(pub TcpListener);

/// A connection as the script sees it.
pub struct Conn {
    pub stream: TcpStream,
    buf: Vec<u8>,
}

impl Peer {
    pub fn start(script: impl FnOnce(Listener) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        // Accepting ends too.
        sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, Some(PATIENCE)).expect("sets");
        let address = listener.local_addr().expect("is bound");
        let (finished, done) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            script(Listener(listener));
            let _ = finished.send(());
        });
        Self {
            address,
            thread: Some(thread),
            done,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub fn endpoint(&self) -> Arc<Endpoint> {
        endpoint(&self.url())
    }

    /// Waits for the script's end without stopping the worker; its panic becomes the test's.
    pub async fn finished(mut self) {
        let _ = (&mut self.done).await;
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Listener {
    pub fn accept(&self) -> Conn {
        let (stream, _) = self.0.accept().expect("a client connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        stream.set_write_timeout(Some(PATIENCE)).expect("sets");
        stream.set_nodelay(true).expect("sets");
        Conn {
            stream,
            buf: Vec::new(),
        }
    }

    /// Nobody else has connected.
    pub fn expect_nobody(&self) {
        self.0.set_nonblocking(true).expect("sets");
        match self.0.accept() {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            other => panic!("somebody connected: {other:?}"),
        }
    }
}

impl Conn {
    /// The next request: head as sent, and body by its `content-length`.
    pub fn request(&mut self) -> (String, Vec<u8>) {
        let end = loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill() > 0, "closed before a request");
        };
        let head = String::from_utf8(self.buf.drain(..end).collect()).expect("text");
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        while self.buf.len() < length {
            assert!(self.fill() > 0, "closed within a body");
        }
        (head, self.buf.drain(..length).collect())
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the client reads");
    }

    /// A whole answer.
    pub fn answer(&mut self, body: &str) {
        self.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// Takes a request and answers it.
    pub fn serve(&mut self, body: &str) -> String {
        let (head, _) = self.request();
        self.answer(body);
        head
    }

    /// The client closes, and says nothing before.
    pub fn expect_close(&mut self) {
        assert_eq!(
            self.fill(),
            0,
            "the client said {:?}",
            String::from_utf8_lossy(&self.buf)
        );
    }

    /// Whether another byte comes before the end.
    pub fn has_more(&mut self) -> bool {
        !self.buf.is_empty() || self.fill() > 0
    }

    /// Throws away what was read.
    pub fn forget(&mut self) {
        self.buf.clear();
    }

    /// Closes with RST.
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("sets");
    }

    fn fill(&mut self) -> usize {
        let mut piece = [0; 64 << 10];
        match self.stream.read(&mut piece) {
            Ok(n) => {
                self.buf.extend_from_slice(&piece[..n]);
                n
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => 0,
            Err(e) => panic!("the client is silent: {e}"),
        }
    }
}
