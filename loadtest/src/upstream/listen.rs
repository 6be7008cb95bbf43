//! Threads and listeners: one tokio runtime a thread, each with its own socket on the same port (SO_REUSEPORT), so
//! that threads share nothing on the way of a call.

use super::{
    Handle, Options, StartError, admin, h1, h2,
    io::Io,
    server::{Server, Shard},
    stats::Counter,
};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpSocket, TcpStream},
    runtime,
};
use tokio_rustls::TlsAcceptor;

/// Connections the kernel keeps until they are accepted.
const BACKLOG: u32 = 4096;
/// After an accept that failed for want of descriptors.
const PAUSE: Duration = Duration::from_millis(10);
/// How every HTTP/2 connection begins, and no HTTP/1.1 request.
const PREFACE: &[u8] = b"PRI ";

/// Binds, starts all threads, and comes back once every listener listens.
pub fn start(options: Options) -> Result<Handle, StartError> {
    let tls = acceptor(&options)?;
    let server = Server::new(options).map_err(StartError::Option)?;
    let options = &server.options;

    // The first socket finds the port; the others join it.
    let mut sockets = vec![bind(options.listen)?];
    let addr = sockets[0].local_addr().map_err(StartError::io("local address"))?;
    for _ in 1..options.threads.max(1) {
        sockets.push(bind(addr)?);
    }
    let admin_socket = options.admin.map(bind).transpose()?;
    let admin = admin_socket.as_ref().map(TcpSocket::local_addr).transpose();
    let admin = admin.map_err(StartError::io("local address"))?;

    let mut threads = Vec::new();
    for (n, socket) in sockets.into_iter().enumerate() {
        let (server, tls) = (Arc::clone(&server), tls.clone());
        threads.push(spawn(&format!("upstream-{n}"), socket, {
            let cpu = server
                .options
                .cpus
                .get(n % server.options.cpus.len().max(1))
                .copied();
            let shard = server.shard(n);
            move |listener| {
                if let Some(cpu) = cpu {
                    pin(cpu);
                }
                accept(shard, listener, tls)
            }
        })?);
    }
    if let Some(socket) = admin_socket {
        let server = Arc::clone(&server);
        threads.push(spawn("upstream-admin", socket, move |listener| {
            admin::serve(server, listener)
        })?);
    }
    Ok(Handle {
        addr,
        admin,
        server,
        threads,
    })
}

fn bind(addr: SocketAddr) -> Result<TcpSocket, StartError> {
    let open = || {
        let socket = match addr {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(addr)?;
        Ok(socket)
    };
    open().map_err(StartError::io(format!("cannot bind {addr}")))
}

/// Runs `main` on a thread and a runtime of its own; comes back once its socket listens.
fn spawn<F, T>(name: &str, socket: TcpSocket, main: F) -> Result<thread::JoinHandle<()>, StartError>
where
    F: FnOnce(TcpListener) -> T + Send + 'static,
    T: Future<Output = ()>,
{
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::io("runtime"))?;
    let listener = {
        let _entered = runtime.enter();
        socket.listen(BACKLOG).map_err(StartError::io("listen"))?
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || runtime.block_on(main(listener)))
        .map_err(StartError::io("thread"))
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    if let Err(why) = sched_setaffinity(None, &set) {
        tracing::warn!(cpu, %why, "cannot pin the thread");
    }
}

/// Accepts until the server ends. Connections end with the runtime that this returns to.
async fn accept(shard: Arc<Shard>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    if shard.server.options.busy_poll {
        tokio::spawn(async {
            loop {
                // A runtime with a task that is always ready asks the kernel without waiting.
                tokio::task::yield_now().await;
            }
        });
    }
    let mut stop = shard.server.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, _)) => _ = tokio::spawn(connection(Arc::clone(&shard), tcp, tls.clone())),
            Err(why) => {
                tracing::warn!(%why, "accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // Held streams say goodbye in their own tasks, which need a turn or two.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// Counts a connection as open for as long as it lives.
struct OpenConnection(Arc<Shard>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.counters.add(Counter::ConnectionsClosed);
    }
}

async fn connection(shard: Arc<Shard>, tcp: TcpStream, tls: Option<TlsAcceptor>) {
    shard.counters.add(Counter::Connections);
    let open = OpenConnection(shard);
    let shard = &open.0;
    if let Err(why) = conversation(shard, tcp, tls).await {
        tracing::debug!(%why, "connection ended");
    }
}

async fn conversation(shard: &Arc<Shard>, tcp: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut io = match tls {
        None => Io::Plain(tcp),
        Some(tls) => Io::Tls(Box::new(tls.accept(tcp).await?)),
    };
    let mut first = Vec::with_capacity(4096);
    while first.len() < PREFACE.len() {
        if io.read_buf(&mut first).await? == 0 {
            return Ok(());
        }
    }
    if first.starts_with(PREFACE) {
        shard.counters.add(Counter::ConnectionsHttp2);
        Box::pin(h2::serve(Arc::clone(shard), io, first)).await
    } else {
        h1::serve(shard, io, first).await
    }
}

fn acceptor(options: &Options) -> Result<Option<TlsAcceptor>, StartError> {
    let (Some(certificate), Some(key)) = (&options.tls_certificate, &options.tls_key) else {
        return Ok(None);
    };
    let failed = |what: &std::path::Path, why: &dyn std::fmt::Display| {
        StartError::Tls(format!("{}: {why}", what.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| failed(certificate, &why))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|why| failed(key, &why))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| StartError::Tls(why.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|why| failed(certificate, &why))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
