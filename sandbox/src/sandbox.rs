//! The sandbox of one gateway process: which servers there are, and their common bounds.

use crate::{
    bridge::{
        listener::Listener,
        server::{Common, Server},
    },
    http_client::HttpClient,
    limits::Limits,
    process::{
        orphans,
        owner::{self, Claim},
    },
    spec::{LocalServer, ServerStatus},
};
use futures_util::future::join_all;
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

/// Longest name of a server.
const NAME_CHARS_MAX: usize = 64;
/// Longest path of a Unix socket, its terminating NUL excluded (`sun_path` in unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why a server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The name cannot name a socket.
    #[error(
        "the server name {0:?} cannot be used: it takes lower-case letters, digits and hyphens, at most {NAME_CHARS_MAX}"
    )]
    Name(String),
    /// The socket's path does not fit into a socket address.
    #[error(
        "the socket path {0:?} is longer than {SOCKET_PATH_BYTES_MAX} bytes; use a shorter socket directory"
    )]
    PathTooLong(PathBuf),
    /// The socket could not be made.
    #[error("cannot listen on {path:?}: {source}")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The sandbox is shutting down.
    #[error("the sandbox is shutting down")]
    ShuttingDown,
}

/// Supervises all local servers of one gateway process. Must be made and used within a tokio runtime.
pub struct Sandbox {
    directory: PathBuf,
    common: Common,
    servers: Mutex<Servers>,
    reaping: JoinHandle<()>,
    /// No other gateway may use the directory.
    _claim: Claim,
}

#[derive(Default)]
struct Servers {
    listeners: BTreeMap<String, Listener>,
    /// Replaced servers finishing their calls. Tasks that go on when nobody waits for them.
    retiring: Vec<JoinHandle<()>>,
    /// All that are on their way out, until they are gone: replaced, removed, or stopped with everything.
    leaving: Vec<Weak<Server>>,
    closed: bool,
}

impl Sandbox {
    /// A sandbox whose sockets are in `socket_dir`, which is made when it does not exist and must be this user's
    /// alone, and used by one gateway at a time. Makes this process the subreaper of its descendants, and ends what a
    /// killed gateway on the same directory left running.
    pub fn new(socket_dir: PathBuf, limits: Limits) -> io::Result<Self> {
        private_directory(&socket_dir)?;
        let claim = owner::claim(&socket_dir)?;
        orphans::adopt();
        tokio::spawn(claim.end_leftovers(limits.term_grace));
        let common = Common {
            processes: Arc::new(Semaphore::new(limits.processes_max)),
            limits: Arc::new(limits),
            client: HttpClient::new(),
        };
        let reaping = tokio::spawn(reap()?);
        Ok(Self {
            directory: socket_dir,
            common,
            servers: Mutex::default(),
            reaping,
            _claim: claim,
        })
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets up the server `spec.name`, replaces it when its description has changed, or leaves it alone. Gives the
    /// address for the snapshot document, `unix:/…/name.sock`. Nothing is started until the first request; a
    /// replaced server finishes its calls first.
    pub async fn ensure(&self, spec: LocalServer) -> Result<String, SandboxError> {
        let path = self.socket(&spec.name)?;
        let mut servers = self.servers();
        if servers.closed {
            return Err(SandboxError::ShuttingDown);
        }
        servers.retiring.retain(|task| !task.is_finished());
        servers.leaving.retain(|server| server.strong_count() > 0);
        match servers.listeners.get(&spec.name) {
            Some(listener) if listener.server().spec == spec => {}
            Some(listener) => {
                let old = listener.replace(Server::new(spec, self.common.clone()));
                servers.leaving.push(Arc::downgrade(&old));
                let deadline = self.common.limits.drain_deadline;
                servers
                    .retiring
                    .push(tokio::spawn(async move { old.retire(deadline).await }));
            }
            None => {
                let name = spec.name.clone();
                let server = Server::new(spec, self.common.clone());
                let listener =
                    Listener::bind(path.clone(), server).map_err(|source| SandboxError::Socket {
                        path: path.clone(),
                        source,
                    })?;
                servers.listeners.insert(name, listener);
            }
        }
        Ok(format!("unix:{}", path.display()))
    }

    /// Removes a server: its socket closes before this returns, its calls finish within the drain deadline, then its
    /// processes stop. The future is done when they are gone; [`Sandbox::shutdown`] hurries it.
    pub fn remove(&self, name: &str) -> impl Future<Output = ()> + Send + use<> {
        let deadline = self.common.limits.drain_deadline;
        let removed = {
            let mut servers = self.servers();
            let listener = servers.listeners.remove(name);
            // Within the lock: a server of this name that is set up now must not lose its socket to this one's end.
            let removed = listener.as_ref().map(Listener::server);
            drop(listener);
            servers.leaving.extend(removed.as_ref().map(Arc::downgrade));
            removed
        };
        async move {
            if let Some(server) = removed {
                server.retire(deadline).await;
            }
        }
    }

    /// How all servers are doing, by name.
    pub fn status(&self) -> Vec<ServerStatus> {
        self.servers()
            .listeners
            .values()
            .map(|listener| listener.server().status())
            .collect()
    }

    /// Stops everything: calls under way may finish during the first quarter of the deadline, processes may end in
    /// good order until its last one, and then they are killed.
    pub async fn shutdown(&self, deadline: Duration) {
        let (servers, stopping) = self.take_all(deadline / 4);
        let all = join_all(stopping);
        tokio::pin!(all);
        if timeout(deadline * 3 / 4, &mut all).await.is_ok() {
            return;
        }
        for server in &servers {
            server.kill();
        }
        if timeout(deadline / 4, all).await.is_err() {
            tracing::warn!(?deadline, "some local servers did not stop in time");
        }
    }

    /// Kills everything, also when a [`Sandbox::shutdown`] was given up; waits at most so long until it is gone.
    pub async fn kill(&self, within: Duration) {
        let (servers, stopping) = self.take_all(Duration::ZERO);
        for server in &servers {
            server.kill();
        }
        if timeout(within, join_all(stopping)).await.is_err() {
            tracing::warn!(?within, "some local servers did not die in time");
        }
    }

    /// Closes all sockets and begins to stop every server, those included that are leaving already.
    fn take_all(&self, calls_may_finish: Duration) -> (Vec<Arc<Server>>, Vec<JoinHandle<()>>) {
        let mut servers = self.servers();
        servers.closed = true;
        let mut all: Vec<Arc<Server>> = servers.leaving.iter().filter_map(Weak::upgrade).collect();
        for listener in std::mem::take(&mut servers.listeners).into_values() {
            all.push(listener.server());
        }
        servers.leaving = all.iter().map(Arc::downgrade).collect();
        let mut stopping = std::mem::take(&mut servers.retiring);
        stopping.extend(all.iter().cloned().map(|server| {
            // Those that are retiring already are hurried by it.
            tokio::spawn(async move { server.retire(calls_may_finish).await })
        }));
        (all, stopping)
    }

    fn socket(&self, name: &str) -> Result<PathBuf, SandboxError> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let usable = !name.is_empty()
            && name.len() <= NAME_CHARS_MAX
            && !name.starts_with('-')
            && name.bytes().all(fits);
        if !usable {
            return Err(SandboxError::Name(name.to_owned()));
        }
        let path = self.directory.join(format!("{name}.sock"));
        match path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            true => Ok(path),
            false => Err(SandboxError::PathTooLong(path)),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.reaping.abort();
        for listener in self.servers().listeners.values() {
            listener.server().abandon();
        }
    }
}

/// Makes the directory, or refuses one that others can enter.
fn private_directory(path: &Path) -> io::Result<()> {
    if !path.is_absolute() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket directory must be an absolute path",
        ));
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let found = fs::metadata(path)?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if ours && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("the socket directory {path:?} must belong to this user and be closed to others (mode 0700)"),
    ))
}

/// Waits for orphans as they end.
fn reap() -> io::Result<impl Future<Output = ()>> {
    let mut ends = signal(SignalKind::child())?;
    Ok(async move {
        let mut pending = false;
        loop {
            tokio::select! {
                _ = ends.recv() => {}
                () = sleep(orphans::STRANGER_AGE), if pending => {}
            }
            pending = spawn_blocking(|| orphans::sweep(Instant::now()))
                .await
                .unwrap_or_default();
        }
    })
}
