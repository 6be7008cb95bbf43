//! How many small calls one core of the generator can carry: `cargo run --release -p ringway-loadtest --example
//! wire_speed [http1|http2] [connections] [seconds]`.
//!
//! One thread calls, another answers (no parsing beyond counting bytes over HTTP/1.1), each on a core of its own where
//! there are two. What is printed is the calling thread's own CPU time for each call, user and system apart: with it
//! the figure holds even where the answering side sets the pace.

use bytes::Bytes;
use ringway_loadtest::wire::{Connection, Head, HttpChoice, Method, Request, Target, TargetOptions, Want};
use std::{
    error::Error,
    net::SocketAddr,
    sync::mpsc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

const ANSWER_BODY_BYTES: usize = 300;
const ARGUMENT_BYTES: usize = 200;
/// Calls at once over one HTTP/2 connection.
const STREAMS: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let http = match arguments.next().as_deref() {
        None | Some("http1") => HttpChoice::Http1,
        Some("http2") => HttpChoice::Http2,
        Some(other) => return Err(format!("{other}: http1 or http2").into()),
    };
    let connections: usize = arguments.next().as_deref().unwrap_or("64").parse()?;
    let seconds: u64 = arguments.next().as_deref().unwrap_or("5").parse()?;

    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        pin_to(1);
        if let Err(error) = runtime().and_then(|runtime| runtime.block_on(answer(http, tell))) {
            eprintln!("answering side: {error}");
        }
    });
    let address = told.recv()?;
    pin_to(0);
    runtime()?.block_on(call(address, http, connections, Duration::from_secs(seconds)))
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Only where there is such a core.
fn pin_to(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

async fn call(
    address: SocketAddr,
    http: HttpChoice,
    connections: usize,
    limit: Duration,
) -> Result<(), Box<dyn Error>> {
    let options = TargetOptions {
        http,
        ..TargetOptions::default()
    };
    let target = Target::resolve(&format!("http://{address}/mcp"), &options).await?;
    let fields = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let head = Head::new(&target, Method::Post, &fields)?;
    let body = Bytes::from("x".repeat(ARGUMENT_BYTES));
    let mut handles = Vec::new();
    for _ in 0..connections {
        let connection = Connection::open(&target).await?;
        for _ in 1..if connection.is_multiplexed() { STREAMS } else { 1 } {
            handles.extend(connection.share());
        }
        handles.push(connection);
    }

    let began = Instant::now();
    let cpu_before = Cpu::of_this_thread()?;
    let mut tasks = Vec::new();
    for mut connection in handles {
        let (head, body) = (head.clone(), body.clone());
        tasks.push(tokio::spawn(async move {
            let want = Want::default();
            let mut count = 0u64;
            while began.elapsed() < limit {
                let request = Request {
                    head: &head,
                    extra: &[],
                    body: body.clone(),
                };
                let answer = connection.exchange(&request, &want).await?;
                debug_assert_eq!(answer.body.len(), ANSWER_BODY_BYTES);
                count += 1;
            }
            Ok::<_, ringway_loadtest::wire::Fault>(count)
        }));
    }
    let mut calls = 0;
    for task in tasks {
        calls += task.await??;
    }
    let elapsed = began.elapsed().as_secs_f64();
    let cpu = Cpu::of_this_thread()?;
    let each = |after: f64, before: f64| (after - before) * 1e6 / calls as f64;
    let (user, system) = (
        each(cpu.user_s, cpu_before.user_s),
        each(cpu.system_s, cpu_before.system_s),
    );
    println!(
        "{calls} calls, {:.0}/s; the calling thread: {:.2} µs CPU each ({user:.2} user, {system:.2} system), so {:.0}/s for one core",
        calls as f64 / elapsed,
        user + system,
        1e6 / (user + system),
    );
    Ok(())
}

struct Cpu {
    user_s: f64,
    system_s: f64,
}

impl Cpu {
    /// From `/proc/thread-self/stat`, in ticks of 10 ms: enough over seconds.
    fn of_this_thread() -> Result<Self, Box<dyn Error>> {
        let stat = std::fs::read_to_string("/proc/thread-self/stat")?;
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |at: usize| -> Result<f64, Box<dyn Error>> {
            Ok(fields.get(at).ok_or("short stat")?.parse::<f64>()? / 100.0)
        };
        Ok(Self {
            user_s: ticks(11)?,
            system_s: ticks(12)?,
        })
    }
}

async fn answer(http: HttpChoice, tell: mpsc::Sender<SocketAddr>) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let _ = tell.send(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        if http == HttpChoice::Http2 {
            tokio::spawn(answer_http2(stream));
        } else {
            tokio::spawn(answer_http1(stream));
        }
    }
}

/// Every read is taken for one whole request, which over loopback it is.
async fn answer_http1(mut stream: TcpStream) -> std::io::Result<()> {
    let body = "y".repeat(ANSWER_BODY_BYTES);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {ANSWER_BODY_BYTES}\r\n\r\n{body}"
    );
    let mut heard = vec![0; 16 * 1024];
    while stream.read(&mut heard).await? > 0 {
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn answer_http2(stream: TcpStream) -> Result<(), h2::Error> {
    let body = Bytes::from("y".repeat(ANSWER_BODY_BYTES));
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(STREAMS as u32)
        .handshake(stream)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (_, mut respond) = accepted?;
        let head = http::Response::builder()
            .header("content-type", "application/json")
            .body(())
            .unwrap_or_default();
        respond
            .send_response(head, false)?
            .send_data(body.clone(), true)?;
    }
    Ok(())
}
