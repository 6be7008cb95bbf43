//! Listening sockets.
//!
//! monoio's own accept is not used: its future leaks the descriptor when dropped after the kernel has completed
//! it, and its sockets lack close-on-exec. Instead the listener is non-blocking, we wait until it is readable
//! (a wait that may be dropped freely) and accept with one system call that sets the flag.

use super::{Stream, driver};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener as StdListener},
    os::fd::OwnedFd,
    time::Duration,
};

/// A listening TCP socket of this worker.
pub struct TcpListener {
    /// Accepts.
    socket: StdListener,
    /// Same socket, known to the loop: waits.
    waiter: monoio::net::TcpListener,
    local: SocketAddr,
}

/// Opens a listening socket that any thread may later adopt with [`TcpListener::from_std`]. With `reuse_port`,
/// several sockets share the address and the kernel spreads connections over them.
pub fn bind_std(addr: SocketAddr, reuse_port: bool, backlog: i32) -> io::Result<StdListener> {
    let socket = bound(addr, reuse_port)?;
    // Accepted sockets inherit this, and what `keep_alive` sets, at no call of their own. Answers are written whole;
    // waiting to fill a segment would only add latency.
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(StdListener::from(socket))
}

/// Lets the kernel find out about vanished clients of the connections a listener takes: after `idle` without a
/// word it probes them, every quarter of `idle`, and gives up after four probes; likewise one that acknowledges
/// nothing of what was sent for twice `idle` (without this, retransmission goes on for a quarter of an hour).
pub fn keep_alive(listener: &StdListener, idle: Duration) -> io::Result<()> {
    const PROBES: u32 = 4;
    let unheard = u32::try_from(2 * idle.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_keepidle(listener, idle.max(Duration::from_secs(1)))?;
    sockopt::set_tcp_keepintvl(listener, (idle / PROBES).max(Duration::from_secs(1)))?;
    sockopt::set_tcp_keepcnt(listener, PROBES)?;
    sockopt::set_socket_keepalive(listener, true)?;
    Ok(sockopt::set_tcp_user_timeout(listener, unheard)?)
}

/// An error if somebody listens on `addr`, even somebody who would share it: with `SO_REUSEPORT` two processes of
/// one user would take each other's connections without noticing.
pub fn check_free(addr: SocketAddr) -> io::Result<()> {
    bound(addr, false).map(drop)
}

fn bound(addr: SocketAddr, reuse_port: bool) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart must not wait for connections of the former process in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if reuse_port {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    Ok(socket)
}

impl TcpListener {
    /// Binds and listens.
    pub fn bind(addr: SocketAddr, reuse_port: bool, backlog: i32) -> io::Result<Self> {
        Self::from_std(bind_std(addr, reuse_port, backlog)?)
    }

    /// Adopts a listening socket.
    pub fn from_std(socket: StdListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let waiter = monoio::net::TcpListener::from_std(socket.try_clone()?)?;
        Ok(Self {
            socket,
            waiter,
            local,
        })
    }

    /// The bound address, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next connection. May be dropped at any time without losing one.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        loop {
            if let Some(accepted) = self.try_accept()? {
                return Ok(accepted);
            }
            match self.waiter.readable(false).await {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// The next connection of those already in the kernel's queue.
    pub fn try_accept(&self) -> io::Result<Option<(Stream, SocketAddr)>> {
        loop {
            match self.socket.accept() {
                Ok((socket, peer)) => {
                    // On a ring a non-blocking socket would answer EAGAIN instead of waiting.
                    if driver::running() == Some(driver::Running::Epoll) {
                        socket.set_nonblocking(true)?;
                    }
                    let socket = monoio::net::TcpStream::from_std(socket)?;
                    return Ok(Some((Stream::from_tcp(socket), peer)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                // The client gave up while it was queued; that is not the listener's trouble.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
