//! What connections leave behind and what idle ones hold, in a process of its own because it counts all of it.
//!
//! `IDLE_CONNECTIONS=9000 cargo test --test downstream_footprint -- --nocapture` measures at any number that
//! the descriptor limit allows (two of them for each connection, as both ends are here).

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod downstream_support;

use downstream_support::{Client, DRIVERS, PATIENCE, Server};
use ringway_runtime::{downstream::tls::ServerTls, http::LocalFuture, io, worker::WorkerId};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::{ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;
use std::{
    net::TcpStream,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

/// Idle connections held at once unless the environment says otherwise.
const IDLE: usize = 1_000;
/// Most an idle connection in clear may cost both ends, in bytes: what we promise when we size pods. A burst
/// costs more for as long as the allocator keeps what its buffers took (11.6 KiB for a thousand at once).
const IDLE_BYTES_MAX: usize = 8 * 1024;
/// They come in so many groups, a second apart.
const GROUPS: usize = 4;
/// Descriptors that the kernel may be a moment late to close.
const SLACK: usize = 4;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// One test, so that nothing else opens files or takes memory meanwhile.
#[test]
fn connections_leave_nothing_behind_and_idle_ones_hold_next_to_nothing() {
    for driver in DRIVERS {
        let server = Server::start(driver, |limits| limits.connections_per_worker_max = 100_000);
        five_hundred_cycles(&server);
        out_of_descriptors(&server);
        // Memory the first driver's connections took is there for the second's, so that its number says little.
        if driver == DRIVERS[0] {
            idle(&server, "in clear", || server.client(), IDLE_BYTES_MAX);
        }
    }
    idle_tls();
}

fn five_hundred_cycles(server: &Server) {
    assert_eq!(server.client().get("/echo").status, 200);
    server.until("open connections", |v| v.connections_open.get(), 0);
    let before = settled(0);
    for n in 0..500 {
        let mut client = server.client();
        match n % 5 {
            0 => drop(client),
            1 => client.send("GET /echo HTT"),
            2 => client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n"),
            3 => client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            _ => assert_eq!(client.get("/echo").status, 200),
        }
    }
    server.until("connections", |v| v.connections.get(), 501);
    server.until("open connections", |v| v.connections_open.get(), 0);
    let after = settled(before + SLACK);
    assert!(
        after <= before + SLACK,
        "{before} descriptors before, {after} after"
    );
}

/// A process out of descriptors stops accepting and goes on as soon as it has some.
fn out_of_descriptors(server: &Server) {
    let (release, held) = mpsc::channel::<()>();
    let (here_tx, here) = mpsc::channel();
    let hold = move || -> LocalFuture<'static, ()> {
        Box::pin(async move {
            here_tx.send(()).unwrap();
            held.recv().unwrap();
        })
    };
    server.handle().run_on(WorkerId(0), hold).unwrap();
    here.recv().unwrap();
    // Connected as far as the kernel is concerned, and not accepted yet.
    let mut clients: Vec<Client> = (0..10).map(|_| server.client()).collect();
    let usual = getrlimit(Resource::Nofile);
    let errors = server.sum(|v| v.accept_errors.get());
    let tight = Rlimit {
        current: Some(descriptors() as u64 + 2),
        ..usual
    };
    setrlimit(Resource::Nofile, tight).unwrap();
    release.send(()).unwrap();
    let end = Instant::now() + PATIENCE;
    while server.sum(|v| v.accept_errors.get()) == errors && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    setrlimit(Resource::Nofile, usual).unwrap();
    assert!(server.sum(|v| v.accept_errors.get()) > errors);
    for client in &mut clients {
        assert_eq!(client.get("/echo").status, 200);
    }
}

/// The number of descriptors, once it is at most `enough` or has had time to be.
fn settled(enough: usize) -> usize {
    let end = Instant::now() + Duration::from_secs(if enough == 0 { 1 } else { PATIENCE.as_secs() });
    while descriptors() > enough && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    descriptors()
}

fn idle<T: std::io::Read + std::io::Write>(
    server: &Server,
    what: &str,
    connect: impl Fn() -> Client<T>,
    bytes_max: usize,
) {
    let count = std::env::var("IDLE_CONNECTIONS").map_or(IDLE, |n| n.parse().unwrap());
    // Once before, so that what is taken once is not counted.
    let warm: Vec<_> = (0..50).map(|_| spoken(connect())).collect();
    drop(warm);
    server.until("open connections", |v| v.connections_open.get(), 0);
    let before = resident();
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        let group = count.div_ceil(GROUPS).min(count - held.len());
        held.extend((0..group).map(|_| spoken(connect())));
        std::thread::sleep(Duration::from_millis(1_100));
    }
    // Long enough for the last to give their buffers back.
    std::thread::sleep(Duration::from_millis(400));
    let each = resident().saturating_sub(before) / count;
    println!("{what}: {each} bytes resident for each of {count} idle connections");
    assert!(
        each <= bytes_max,
        "{each} bytes for each idle connection ({what})"
    );
    assert_eq!(held.last_mut().unwrap().get("/echo").status, 200);
    drop(held);
    server.until("open connections", |v| v.connections_open.get(), 0);
}

fn spoken<T: std::io::Read + std::io::Write>(mut client: Client<T>) -> Client<T> {
    assert_eq!(client.post("/echo", b"{\"jsonrpc\":\"2.0\"}").status, 200);
    client
}

/// Both ends hold a TLS state here, so the bound is of both.
fn idle_tls() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = Arc::new(io::tls::client_config(roots, &[]).unwrap());
    let tls = Arc::new(ServerTls::load(cert, key).unwrap());
    let server = Server::start_with(DRIVERS[0], 1, Some(tls), |limits| {
        limits.connections_per_worker_max = 100_000;
    });
    let connect = || {
        let socket = TcpStream::connect(server.addr).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        Client::over(StreamOwned::new(
            ClientConnection::new(config.clone(), name).unwrap(),
            socket,
        ))
    };
    idle(&server, "under TLS, both ends", connect, 64 * 1024);
}
