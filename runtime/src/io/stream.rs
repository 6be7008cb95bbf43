//! A connected socket, plain or TLS, with owned buffers.

use super::{
    Deadline, Room,
    poll::PollStream,
    socket::{READ_ROOM, ReadUntil, Socket},
    timer,
    tls::{Plain, Tls},
};
use bytes::{Buf, Bytes, BytesMut};
use monoio::{
    io::{AsyncWriteRent, Canceller},
    net::{TcpStream, UnixStream},
};
use nix::sys::socket::{MsgFlags, recv};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    time::{Duration, Instant},
};

/// Ciphertext read at once: one full TLS record and a little.
const CIPHER_ROOM_MAX: usize = 17 * 1024;
/// Ciphertext read at once when the caller waits with a small buffer: enough for a first request's record.
const CIPHER_ROOM_MIN: usize = 512;
/// Under TLS a body up to this is copied behind its head, so that both are one record.
const COALESCE_MAX: usize = 16 * 1024;
/// Alerts, tickets and key updates are small; a peer that does not even take those is not waited for longer.
const FLUSH_STALL: Duration = Duration::from_secs(10);
/// Plaintext handed to TLS at once, so that one large body does not stand encrypted in memory as a whole.
const PLAIN_CHUNK: usize = 64 * 1024;

/// A connected TCP or Unix socket, in clear or under TLS.
pub struct Stream {
    socket: Socket,
    tls: Option<Box<Tls>>,
    /// Made at the first read that can be cancelled and kept.
    canceller: Option<Canceller>,
    /// Bytes the kernel took in writes.
    accepted: u64,
    /// Of one write after the other.
    stall: Deadline,
}

/// Connects to an address; names are resolved elsewhere because that blocks.
pub async fn connect_tcp(addr: SocketAddr) -> io::Result<Stream> {
    let socket = TcpStream::connect_addr(addr).await?;
    socket.set_nodelay(true)?;
    Ok(Stream::from_tcp(socket))
}

/// Connects to a Unix socket.
pub async fn connect_unix(path: impl AsRef<Path>) -> io::Result<Stream> {
    Ok(Stream::new(Socket::Unix(UnixStream::connect(path).await?)))
}

impl Stream {
    pub(super) fn from_tcp(socket: TcpStream) -> Self {
        Self::new(Socket::Tcp(socket))
    }

    fn new(socket: Socket) -> Self {
        Self {
            socket,
            tls: None,
            canceller: None,
            accepted: 0,
            stall: Deadline::default(),
        }
    }

    pub(super) fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(Box::new(tls));
        self
    }

    pub(super) fn into_parts(self) -> (Socket, Option<Box<Tls>>) {
        (self.socket, self.tls)
    }

    /// Whether bytes are encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The protocol agreed in the TLS handshake.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.as_ref().and_then(|tls| tls.alpn())
    }

    /// The certificates the peer proved, its own first.
    pub fn peer_certificates(&self) -> Option<&[rustls_pki_types::CertificateDer<'static>]> {
        self.tls.as_ref().and_then(|tls| tls.peer_certificates())
    }

    /// The remote address; a Unix socket has none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// The local address; a Unix socket has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends small writes at once. Set on every TCP stream this module makes.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.set_nodelay(on),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// Lets the kernel probe a silent peer: first after `idle`, then every `interval`, dead after `probes`.
    pub fn set_keepalive(&self, idle: Duration, interval: Duration, probes: u32) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.set_tcp_keepalive(Some(idle), Some(interval), Some(probes)),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// Reads once and appends to `buf`; `Ok(0)` is the orderly end. The read fills the room `buf` has, or 8 KiB
    /// when it has none. Do not drop this future unless the stream is dropped with it.
    pub async fn read_append(&mut self, mut buf: BytesMut) -> (io::Result<usize>, BytesMut) {
        let Some(tls) = self.tls.as_deref_mut() else {
            return self.socket.read(buf).await;
        };
        loop {
            match tls.take_plain(&mut buf) {
                Ok(Plain::Bytes(n)) => return (Ok(n), buf),
                Ok(Plain::Closed) => return (Ok(0), buf),
                Ok(Plain::Wait) => {}
                Err(error) => return (Err(error), buf),
            }
            let (result, cipher) = self.socket.read(cipher_room(&buf)).await;
            let absorbed = result.and_then(|_| tls.absorb(&cipher, &mut buf));
            // Flushed in any case: the peer deserves to hear why (an alert), but the first error is what counts.
            let flushed = flush(&mut self.socket, tls).await;
            match absorbed.and_then(|n| flushed.map(|()| n)) {
                Ok(0) => {}
                seen => return (seen, buf),
            }
        }
    }

    /// Takes what is there by a system call that does not wait; `None` when that is nothing. Not for TLS, whose bytes
    /// come through another buffer.
    pub fn read_now(&mut self, room: &mut Room) -> io::Result<Option<usize>> {
        self.socket.read_now(room)
    }

    /// Reads once into `room`, which must not be full; `Ok(0)` is the orderly end. Not for TLS. Do not drop this future
    /// unless the stream is dropped with it.
    pub async fn read_into(&mut self, room: &mut Room) -> io::Result<usize> {
        self.socket.read_into(room).await
    }

    /// Reads like [`Stream::read_append`] until `stop` is done first; then the read is cancelled and awaited, so
    /// that bytes which arrived at the same moment are kept. The stream stays usable.
    pub async fn read_append_until<S: Future>(
        &mut self,
        mut buf: BytesMut,
        mut stop: Pin<&mut S>,
    ) -> ReadUntil<S::Output> {
        let Some(tls) = self.tls.as_deref_mut() else {
            return self.socket.read_until(buf, &mut self.canceller, stop).await;
        };
        loop {
            match tls.take_plain(&mut buf) {
                Ok(Plain::Bytes(n)) => return ReadUntil::new(Some(Ok(n)), buf, None),
                Ok(Plain::Closed) => return ReadUntil::new(Some(Ok(0)), buf, None),
                Ok(Plain::Wait) => {}
                Err(error) => return ReadUntil::new(Some(Err(error)), buf, None),
            }
            let room = cipher_room(&buf);
            let read = self
                .socket
                .read_until(room, &mut self.canceller, stop.as_mut())
                .await;
            let absorbed = match read.result {
                None => return ReadUntil::new(None, buf, read.stopped),
                Some(Err(error)) => Err(error),
                Some(Ok(_)) => tls.absorb(&read.buf, &mut buf),
            };
            // Flushed in any case: the peer deserves to hear why (an alert), but the first error is what counts.
            let flushed = flush(&mut self.socket, tls).await;
            match absorbed.and_then(|n| flushed.map(|()| n)) {
                Ok(0) if read.stopped.is_none() => {}
                Ok(0) => return ReadUntil::new(None, buf, read.stopped),
                seen => return ReadUntil::new(Some(seen), buf, read.stopped),
            }
        }
    }

    /// Reads until `at`; `None` as a result means that time was up and nothing was read.
    pub async fn read_append_by(
        &mut self,
        buf: BytesMut,
        at: Instant,
    ) -> (Option<io::Result<usize>>, BytesMut) {
        let read = self
            .read_append_until(buf, std::pin::pin!(timer::sleep_until(at)))
            .await;
        (read.result, read.buf)
    }

    /// Gives back what reading keeps for the next time; of use before a long wait.
    pub fn release(&mut self) {
        self.canceller = None;
        self.stall.forget();
    }

    /// Waits until the socket has something to read (bytes, its end or an error). Costs a system call more than
    /// reading; of use to watch a stream without lending it a buffer. May be dropped.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.readable(false).await,
            Socket::Unix(socket) => socket.readable(false).await,
        }
    }

    /// Whether nothing waits to be read: no byte, no end, no error. One system call that does not wait. Under
    /// TLS a byte may also be a record without data; callers that give such a stream up lose a handshake only.
    pub fn is_quiet(&self) -> bool {
        if self.tls.as_deref().is_some_and(|tls| !tls.is_quiet()) {
            return false;
        }
        let peeked = recv(
            self.socket.descriptor(),
            &mut [0],
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        );
        matches!(peeked, Err(nix::errno::Errno::EAGAIN))
    }

    /// Bytes the kernel has taken in finished writes so far, ciphertext under TLS. Unchanged after a failed write,
    /// it says that nothing of that write can reach the peer.
    pub fn bytes_accepted(&self) -> u64 {
        self.accepted
    }

    /// Writes all of `data`.
    pub async fn write_all(&mut self, data: Bytes) -> io::Result<()> {
        self.write_paced(data, None).await
    }

    /// Writes all of `data`; `TimedOut` when the peer takes nothing for as long as `stall`. The stream is of no
    /// use after that.
    pub async fn write_all_within(&mut self, data: Bytes, stall: Duration) -> io::Result<()> {
        self.write_paced(data, Some(stall)).await
    }

    /// Writes `head` and `body`, which leave together if they are not encrypted, and gives the head's memory back to be
    /// used again; after an error there may be none left. `TimedOut` when the peer takes nothing for as long as `stall`.
    pub async fn write_pair_within(
        &mut self,
        mut head: Vec<u8>,
        mut body: Bytes,
        stall: Duration,
    ) -> (io::Result<()>, Vec<u8>) {
        if self.tls.is_some() {
            if body.len() <= COALESCE_MAX {
                head.extend_from_slice(&body);
                body.clear();
            }
            let (written, head) = self.write_vec_within(head, Instant::now() + stall, stall).await;
            return match written {
                Ok(()) => (self.write_paced(body, Some(stall)).await, head),
                failed => (failed, head),
            };
        }
        let now = match self.socket.write_now(&head, &body, &mut self.accepted) {
            Ok(now) => now,
            Err(error) => return (Err(error), head),
        };
        let of_body = now.saturating_sub(head.len());
        body.advance(of_body);
        if body.is_empty() {
            return (Ok(()), head);
        }
        // Boxed: few peers are so slow.
        Box::pin(self.write_rest_of_pair(head, now - of_body, body, stall)).await
    }

    /// What the kernel had no room for.
    async fn write_rest_of_pair(
        &mut self,
        mut head: Vec<u8>,
        of_head: usize,
        body: Bytes,
        stall: Duration,
    ) -> (io::Result<()>, Vec<u8>) {
        if of_head < head.len() {
            head.drain(..of_head);
            let (written, given) = self.write_vec_within(head, Instant::now() + stall, stall).await;
            head = given;
            if written.is_err() {
                return (written, head);
            }
        }
        let waited = self.socket.write_all(body, Some(stall), &mut self.accepted);
        (waited.await, head)
    }

    async fn write_paced(&mut self, data: Bytes, stall: Option<Duration>) -> io::Result<()> {
        let Some(tls) = self.tls.as_deref_mut() else {
            return self.socket.write_all(data, stall, &mut self.accepted).await;
        };
        write_tls(&mut self.socket, tls, &data, stall, &mut self.accepted).await
    }

    /// Writes all of `data` like [`Stream::write_all_within`] and gives its memory back to be used again; after an
    /// error there may be none left. The first bytes must leave by `at`, and what follows must never wait for as long
    /// as `stall`.
    pub async fn write_vec_within(
        &mut self,
        data: Vec<u8>,
        at: Instant,
        stall: Duration,
    ) -> (io::Result<()>, Vec<u8>) {
        match self.tls.as_deref_mut() {
            None => {
                let (deadline, accepted) = (&mut self.stall, &mut self.accepted);
                self.socket.write_vec(data, at, stall, deadline, accepted).await
            }
            Some(tls) => {
                let written = write_tls(&mut self.socket, tls, &data, Some(stall), &mut self.accepted);
                (written.await, data)
            }
        }
    }

    /// Says that nothing more will be written: `close_notify` under TLS, then FIN. Reading goes on.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        if let Some(tls) = self.tls.as_deref_mut() {
            tls.close();
            flush(&mut self.socket, tls).await?;
        }
        match &mut self.socket {
            Socket::Tcp(socket) => socket.shutdown().await,
            Socket::Unix(socket) => socket.shutdown().await,
        }
    }

    /// The stream as `h2` wants it; `already_read` comes out first.
    pub fn into_poll(self, already_read: BytesMut) -> PollStream {
        PollStream::new(self, already_read)
    }

    /// Ciphertext pending in the TLS layer goes out.
    pub(super) async fn flush_tls(&mut self) -> io::Result<()> {
        match self.tls.as_deref_mut() {
            Some(tls) => flush(&mut self.socket, tls).await,
            None => Ok(()),
        }
    }

    /// One read of ciphertext into the TLS layer during the handshake; early plaintext stays inside it.
    pub(super) async fn feed_tls(&mut self) -> io::Result<()> {
        let Some(tls) = self.tls.as_deref_mut() else {
            return Ok(());
        };
        let (result, cipher) = self.socket.read(BytesMut::with_capacity(READ_ROOM)).await;
        result?;
        tls.absorb_kept(&cipher)
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }
}

async fn write_tls(
    socket: &mut Socket,
    tls: &mut Tls,
    mut plain: &[u8],
    stall: Option<Duration>,
    accepted: &mut u64,
) -> io::Result<()> {
    let mut cipher = BytesMut::new();
    while !plain.is_empty() {
        let taken = tls.put_plain(&plain[..plain.len().min(PLAIN_CHUNK)])?;
        plain = &plain[taken..];
        tls.take_cipher(&mut cipher)?;
        socket.write_all(cipher.split().freeze(), stall, accepted).await?;
    }
    Ok(())
}

async fn flush(socket: &mut Socket, tls: &mut Tls) -> io::Result<()> {
    if !tls.wants_write() {
        return Ok(());
    }
    let mut cipher = BytesMut::new();
    tls.take_cipher(&mut cipher)?;
    socket.write_all(cipher.freeze(), Some(FLUSH_STALL), &mut 0).await
}

/// A buffer for ciphertext, small when the caller's is: an idle connection should hold next to nothing.
fn cipher_room(plain: &BytesMut) -> BytesMut {
    let room = match plain.capacity() - plain.len() {
        0 => CIPHER_ROOM_MAX,
        room => room.clamp(CIPHER_ROOM_MIN, CIPHER_ROOM_MAX),
    };
    BytesMut::with_capacity(room)
}
