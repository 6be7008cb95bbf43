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
    rustix::net::listen(&socket, backlog)?;
    Ok(StdListener::from(socket))
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
                    // Answers are written whole; waiting to fill a segment only adds latency.
                    socket.set_nodelay(true)?;
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
