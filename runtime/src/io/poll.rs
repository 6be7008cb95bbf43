//! The bridge from owned buffers to polling, for `h2`.
//!
//! Polling hands out a borrowed buffer and may come back with another one; the kernel needs one that stays. So
//! each direction owns its half of the socket, its buffer and at most one operation in flight, kept here until
//! it is done. Writes are copied into a bounded buffer, gather there until they are flushed, and leave together;
//! while they are on their way the next ones gather. The TLS state belongs to this struct, not to a direction:
//! reading may have to answer (key updates).
//!
//! `h2` flushes after each frame that has a large payload. [`Gathering`] puts that off until the task that drives
//! the connection has done all it could and says [`Gathering::poll_push`]: one write for a turn of the loop.

use super::{
    Stream,
    recycled::{recycle, recycled},
    socket::Socket,
    tls::{Plain, Tls, move_into},
};
use bytes::{Bytes, BytesMut};
use monoio::{
    buf::IoBufMut,
    io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable},
    net::{TcpStream, UnixStream},
};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use std::{
    cell::RefCell,
    future::Future,
    io,
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// First read of a quiet connection: a call's frames fit.
const READ_MIN: usize = 1024;
/// Largest read into a buffer of ours: what a busy multiplexed connection has waiting in one turn of the loop, and what
/// it may hold while it waits.
const READ_MAX: usize = 16 * 1024;
/// The same for ciphertext, which cannot be read into anybody else's buffer.
const CIPHER_MAX: usize = 64 * 1024;
/// Largest read into the reader's buffer, which is cleared for it.
const DIRECT_MAX: usize = 64 * 1024;
/// Read like that at once: then others have their turn, however fast the peer sends.
const DIRECT_TURN: usize = 256 * 1024;
/// Bytes that may gather for the next write; beyond that the writer is told to wait.
const GATHER_MAX: usize = 128 * 1024;
/// Buffers from here on are shared by the connections of a worker: allocating them anew each time costs more than
/// what is done with them.
const LARGE: usize = 16 * 1024;

/// A stream with `tokio`'s polling traits (no tokio runtime is involved).
pub struct PollStream {
    read: ReadSide,
    write: WriteSide,
    tls: Option<Box<Tls>>,
    /// Plaintext read and not yet asked for.
    inbound: BytesMut,
    /// Bytes for the socket behind the write in flight.
    outbound: BytesMut,
    /// Room of the next read: doubles while reads come back full, halves while they come back near empty.
    room: usize,
    /// After a read that came back full: bytes that may be read without waiting, because more seem to be there.
    direct: usize,
    descriptor: RawFd,
    closing: bool,
    /// Why a write failed that nobody awaited; the next one is told.
    failed: Option<io::Error>,
}

type Operation<T> = Pin<Box<dyn Future<Output = T>>>;

enum ReadSide {
    Idle(ReadHalf),
    Reading(Operation<(ReadHalf, io::Result<usize>, BytesMut)>),
    Lost,
}

enum WriteSide {
    Idle(WriteHalf),
    Writing(Operation<(WriteHalf, io::Result<()>, Bytes)>),
    Lost,
}

enum ReadHalf {
    Tcp(OwnedReadHalf<TcpStream>),
    Unix(OwnedReadHalf<UnixStream>),
}

enum WriteHalf {
    Tcp(OwnedWriteHalf<TcpStream>),
    Unix(OwnedWriteHalf<UnixStream>),
}

impl PollStream {
    pub(super) fn new(stream: Stream, already_read: BytesMut) -> Self {
        let (socket, tls) = stream.into_parts();
        let descriptor = match &socket {
            Socket::Tcp(socket) => socket.as_raw_fd(),
            Socket::Unix(socket) => socket.as_raw_fd(),
        };
        let (read, write) = match socket {
            Socket::Tcp(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Socket::Unix(socket) => {
                let (read, write) = socket.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
        };
        Self {
            read: ReadSide::Idle(read),
            write: WriteSide::Idle(write),
            tls,
            inbound: already_read,
            outbound: BytesMut::new(),
            room: READ_MIN,
            direct: 0,
            descriptor,
            closing: false,
            failed: None,
        }
    }

    /// Reads what is waiting behind a full read straight into a large buffer: the rest of a frame, most often. Zero is
    /// no end of the stream; the next [`PollStream::poll_fill`] will tell.
    fn read_direct(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let may = self.direct > 0 && self.tls.is_none() && matches!(self.read, ReadSide::Idle(_));
        if !may || buf.remaining() < LARGE {
            return Ok(0);
        }
        let room = buf.initialize_unfilled_to(buf.remaining().min(DIRECT_MAX));
        match recv(self.descriptor, room, MsgFlags::MSG_DONTWAIT) {
            Ok(n) => {
                self.direct = if n == room.len() {
                    self.direct.saturating_sub(n)
                } else {
                    0
                };
                buf.advance(n);
                Ok(n)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {
                self.direct = 0;
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One read of the socket into `inbound`; gives what the socket gave.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match std::mem::replace(&mut self.read, ReadSide::Lost) {
                ReadSide::Idle(half) => {
                    let mut buf = if self.tls.is_some() {
                        BytesMut::new()
                    } else {
                        std::mem::take(&mut self.inbound)
                    };
                    buf.reserve(self.room);
                    self.read = ReadSide::Reading(Box::pin(half.read(buf)));
                }
                ReadSide::Reading(mut operation) => match operation.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.read = ReadSide::Reading(operation);
                        return Poll::Pending;
                    }
                    Poll::Ready((half, result, buf)) => {
                        self.read = ReadSide::Idle(half);
                        let n = result?;
                        self.direct = if n >= self.room { DIRECT_TURN } else { 0 };
                        let max = if self.tls.is_some() { CIPHER_MAX } else { READ_MAX };
                        self.room = match n {
                            n if n >= self.room => (self.room * 2).min(max),
                            n if n < self.room / 4 => (self.room / 2).max(READ_MIN),
                            _ => self.room,
                        };
                        match self.tls.as_deref_mut() {
                            None => self.inbound = buf,
                            Some(tls) => {
                                tls.absorb(&buf, &mut self.inbound)?;
                            }
                        }
                        return Poll::Ready(Ok(n));
                    }
                },
                ReadSide::Lost => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    /// Drives writing until everything gathered has left.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        loop {
            match std::mem::replace(&mut self.write, WriteSide::Lost) {
                WriteSide::Idle(half) => {
                    if let Some(tls) = self.tls.as_deref_mut() {
                        tls.take_cipher(&mut self.outbound)?;
                    }
                    if self.outbound.is_empty() {
                        self.write = WriteSide::Idle(half);
                        return Poll::Ready(Ok(()));
                    }
                    let data = std::mem::take(&mut self.outbound).freeze();
                    self.write = WriteSide::Writing(Box::pin(half.write_all(data)));
                }
                WriteSide::Writing(mut operation) => match operation.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.write = WriteSide::Writing(operation);
                        return Poll::Pending;
                    }
                    Poll::Ready((half, result, written)) => {
                        self.write = WriteSide::Idle(half);
                        if written.len() >= LARGE {
                            recycle(written);
                        }
                        result?;
                    }
                },
                WriteSide::Lost => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }
}

impl AsyncRead for PollStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if let (Some(tls), true) = (this.tls.as_deref_mut(), this.inbound.is_empty()) {
                match tls.take_plain(&mut this.inbound)? {
                    Plain::Bytes(_) | Plain::Wait => {}
                    Plain::Closed => return Poll::Ready(Ok(())),
                }
            }
            if !this.inbound.is_empty() {
                move_into(&mut this.inbound, buf);
                if this.inbound.is_empty() {
                    // A quiet connection keeps no buffer.
                    this.inbound = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if this.read_direct(buf)? > 0 {
                return Poll::Ready(Ok(()));
            }
            let read = ready!(this.poll_fill(cx))?;
            if this.tls.as_deref().is_some_and(Tls::wants_write) {
                // An answer to the peer's record; errors come up again with the next write.
                let _ = this.poll_drain(cx);
            }
            if read == 0 && this.tls.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for PollStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.outbound.len() >= GATHER_MAX {
            if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
                return Poll::Ready(Err(error));
            }
            // Still full: the write in flight wakes us when it is done.
            if this.outbound.len() >= GATHER_MAX {
                return Poll::Pending;
            }
        }
        let data = &data[..data.len().min(GATHER_MAX - this.outbound.len())];
        let taken = match this.tls.as_deref_mut() {
            None => {
                let gathered = this.outbound.len();
                if gathered + data.len() > this.outbound.capacity().max(LARGE) {
                    let small = std::mem::replace(&mut this.outbound, recycled(GATHER_MAX));
                    this.outbound.extend_from_slice(&small);
                }
                this.outbound.extend_from_slice(data);
                data.len()
            }
            Some(tls) => {
                let taken = tls.put_plain(data)?;
                tls.take_cipher(&mut this.outbound)?;
                taken
            }
        };
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            this.closing = true;
            if let Some(tls) = this.tls.as_deref_mut() {
                tls.close();
            }
        }
        ready!(this.poll_drain(cx))?;
        match &mut this.write {
            WriteSide::Idle(half) => Poll::Ready(half.shutdown_now()),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// A [`PollStream`] that `h2` writes into and its driver flushes.
///
/// Whoever drives the connection must call [`Gathering::poll_push`] each time after it has polled it.
#[derive(Clone)]
pub struct Gathering(Rc<RefCell<PollStream>>);

impl Gathering {
    /// Lets writes of `stream` gather.
    pub fn new(stream: PollStream) -> Self {
        Self(Rc::new(RefCell::new(stream)))
    }

    /// Sends what has gathered. A failure is told to `h2` as it flushes; `cx` is woken for that.
    pub fn poll_push(&self, cx: &mut Context<'_>) {
        let mut stream = self.0.borrow_mut();
        if let Poll::Ready(Err(error)) = stream.poll_drain(cx) {
            stream.failed = Some(error);
            cx.waker().wake_by_ref();
        }
    }
}

impl AsyncRead for Gathering {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, data)
    }

    /// Only tells of failure: see [`Gathering::poll_push`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.borrow_mut().failed.take().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}

impl ReadHalf {
    async fn read(mut self, buf: BytesMut) -> (Self, io::Result<usize>, BytesMut) {
        let (begin, end) = (buf.len(), buf.capacity());
        let slice = buf.slice_mut(begin..end);
        let (result, slice) = match &mut self {
            Self::Tcp(half) => half.read(slice).await,
            Self::Unix(half) => half.read(slice).await,
        };
        (self, result, slice.into_inner())
    }
}

impl WriteHalf {
    async fn write_all(mut self, data: Bytes) -> (Self, io::Result<()>, Bytes) {
        let (result, data) = match &mut self {
            Self::Tcp(half) => half.write_all(data).await,
            Self::Unix(half) => half.write_all(data).await,
        };
        (self, result.map(drop), data)
    }

    /// FIN; a plain system call under monoio, done at the first poll.
    fn shutdown_now(&mut self) -> io::Result<()> {
        use futures_util::FutureExt;
        let done = match self {
            Self::Tcp(half) => half.shutdown().now_or_never(),
            Self::Unix(half) => half.shutdown().now_or_never(),
        };
        done.unwrap_or(Ok(()))
    }
}
