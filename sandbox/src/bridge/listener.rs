//! A server's Unix socket: accepts, speaks HTTP/1.1, and hands requests to whichever [`Server`] is current.
//!
//! The socket stays when its server is replaced, so that the data plane's address and pooled connections do. A
//! request keeps the server it began with.

use super::{reply::Reply, serve, server::Server};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::sleep,
};

/// After a failed accept (descriptors are used up): trying again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Listener {
    path: PathBuf,
    current: Arc<Mutex<Arc<Server>>>,
    closing: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Listener {
    /// Binds the socket, replacing one that a dead gateway left behind.
    pub(crate) fn bind(path: PathBuf, server: Arc<Server>) -> io::Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(&path)?;
        let places = Arc::new(Semaphore::new(server.limits.connections_per_server_max));
        let idle = server.limits.connection_idle;
        let current = Arc::new(Mutex::new(server));
        let (closing, closed) = watch::channel(false);
        let accepting = tokio::spawn(accept(socket, current.clone(), places, closed, idle));
        Ok(Self {
            path,
            current,
            closing,
            accepting,
        })
    }

    /// The server that takes new requests.
    pub(crate) fn server(&self) -> Arc<Server> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts another server in its place and gives back the old one.
    pub(crate) fn replace(&self, server: Arc<Server>) -> Arc<Server> {
        std::mem::replace(
            &mut *self.current.lock().unwrap_or_else(PoisonError::into_inner),
            server,
        )
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Connections finish what they are answering.
        self.closing.send_replace(true);
        self.accepting.abort();
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "a socket could not be removed");
        }
    }
}

async fn accept(
    socket: UnixListener,
    current: Arc<Mutex<Arc<Server>>>,
    places: Arc<Semaphore>,
    closed: watch::Receiver<bool>,
    idle: Duration,
) {
    loop {
        // Never closed, so never an error.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match socket.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, current.clone(), closed.clone(), idle);
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept on a bridge's socket");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: UnixStream,
    current: Arc<Mutex<Arc<Server>>>,
    mut closed: watch::Receiver<bool>,
    idle: Duration,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let server = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        async move { Ok::<Reply, Infallible>(serve::request(server, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Counts from the end of the request before.
        .header_read_timeout(idle)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let closing = async { drop(closed.wait_for(|closed| *closed).await) };
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // A client that went away, mostly.
        tracing::debug!(%error, "a connection to a bridge has ended early");
    }
}
