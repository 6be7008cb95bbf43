//! The socket under a [`Stream`](super::Stream): TCP or Unix, one operation at a time.

use super::{Deadline, Room, task, timer};
use bytes::{Bytes, BytesMut};
use monoio::{
    BufResult,
    buf::{IoBuf, IoBufMut, SliceMut},
    io::{AsyncReadRent, AsyncWriteRent, CancelableAsyncReadRent, Canceller},
    net::{TcpStream, UnixStream},
};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv, sendmsg},
};
use std::{
    future::Future,
    io::{self, ErrorKind, IoSlice},
    net::SocketAddr,
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    time::{Duration, Instant},
};

/// Room made for a read when the caller's buffer is full: a call and its head fit almost always.
pub(super) const READ_ROOM: usize = 8 * 1024;

/// Not to be waited for, and no signal when the peer is gone.
const AT_ONCE: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What [`Stream::read_append_until`](super::Stream::read_append_until) saw.
pub struct ReadUntil<T> {
    /// The read: `None` when it was cancelled with nothing read. Both this and `stopped` can be there when they
    /// came at the same moment.
    pub result: Option<io::Result<usize>>,
    /// The buffer, with what was read appended.
    pub buf: BytesMut,
    /// What the stopping future gave, if it ended first.
    pub stopped: Option<T>,
}

impl<T> ReadUntil<T> {
    pub(super) fn new(result: Option<io::Result<usize>>, buf: BytesMut, stopped: Option<T>) -> Self {
        Self { result, buf, stopped }
    }
}

fn with_room(mut buf: BytesMut) -> SliceMut<BytesMut> {
    // A read into no room would look like the end of the stream.
    if buf.capacity() == buf.len() {
        buf.reserve(READ_ROOM);
    }
    let (begin, end) = (buf.len(), buf.capacity());
    buf.slice_mut(begin..end)
}

impl Socket {
    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr(),
            Self::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    pub(super) async fn read(&mut self, buf: BytesMut) -> (io::Result<usize>, BytesMut) {
        let (result, slice) = match self {
            Self::Tcp(socket) => socket.read(with_room(buf)).await,
            Self::Unix(socket) => socket.read(with_room(buf)).await,
        };
        (result, slice.into_inner())
    }

    pub(super) async fn read_until<S: Future>(
        &mut self,
        buf: BytesMut,
        canceller: &mut Option<Canceller>,
        stop: Pin<&mut S>,
    ) -> ReadUntil<S::Output> {
        match self {
            Self::Tcp(socket) => read_until(socket, buf, canceller, stop).await,
            Self::Unix(socket) => read_until(socket, buf, canceller, stop).await,
        }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
        }
    }

    /// Takes what is there, by a system call; `None` when that is nothing.
    pub(super) fn read_now(&mut self, room: &mut Room) -> io::Result<Option<usize>> {
        let taken = recv(self.descriptor(), room.rest(), MsgFlags::MSG_DONTWAIT);
        let n = unless_busy(taken)?;
        room.fill(n.unwrap_or(0));
        Ok(n)
    }

    /// Reads once into `room`, which must not be full.
    pub(super) async fn read_into(&mut self, room: &mut Room) -> io::Result<usize> {
        let (memory, place) = room.lend();
        let slice = memory.slice_mut(place);
        let (result, slice) = match self {
            Self::Tcp(socket) => socket.read(slice).await,
            Self::Unix(socket) => socket.read(slice).await,
        };
        room.give_back(slice.into_inner());
        room.fill(*result.as_ref().unwrap_or(&0));
        result
    }

    /// Gives the kernel what it takes at once of `head` and `body`, by a system call: as a rule all of it.
    ///
    /// An answer of some size is then still in the cache, and its memory free at once. For small ones and for pieces of a stream
    /// an operation of the ring is cheaper: they leave together with those of other connections, or wait for the peer.
    pub(super) fn write_now(&self, head: &[u8], body: &[u8], accepted: &mut u64) -> io::Result<usize> {
        let both = [IoSlice::new(head), IoSlice::new(body)];
        let sent = sendmsg::<()>(self.descriptor(), &both, &[], AT_ONCE, None);
        let n = unless_busy(sent)?.unwrap_or(0);
        *accepted += n as u64;
        Ok(n)
    }

    pub(super) async fn write_all(
        &mut self,
        data: Bytes,
        stall: Option<Duration>,
        accepted: &mut u64,
    ) -> io::Result<()> {
        let mut rest = data;
        while !rest.is_empty() {
            let (result, given) = match stall {
                None => self.write(rest).await,
                Some(stall) => timer::timeout(stall, self.write(rest))
                    .await
                    .map_err(|_| io::Error::new(ErrorKind::TimedOut, "the peer takes nothing"))?,
            };
            rest = given;
            match result? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => {
                    *accepted += n as u64;
                    drop(rest.split_to(n));
                }
            }
        }
        Ok(())
    }

    /// Writes all of `data` and gives its memory back, so that one buffer can serve every message of a connection.
    pub(super) async fn write_vec(
        &mut self,
        mut data: Vec<u8>,
        mut end: Instant,
        stall: Duration,
        deadline: &mut Deadline,
        accepted: &mut u64,
    ) -> (io::Result<()>, Vec<u8>) {
        let (mut at, length) = (0, data.len());
        while at < length {
            let Ok((result, given)) = deadline.bound(end, self.write(data.slice(at..length))).await else {
                let error = io::Error::new(ErrorKind::TimedOut, "the peer takes nothing");
                return (Err(error), Vec::new());
            };
            data = given.into_inner();
            match result {
                Ok(0) => return (Err(ErrorKind::WriteZero.into()), data),
                Ok(n) => {
                    *accepted += n as u64;
                    at += n;
                    if at < length {
                        end = Instant::now() + stall;
                    }
                }
                Err(error) => return (Err(error), data),
            }
        }
        (Ok(()), data)
    }

    async fn write<B: IoBuf>(&mut self, data: B) -> BufResult<usize, B> {
        match self {
            Self::Tcp(socket) => socket.write(data).await,
            Self::Unix(socket) => socket.write(data).await,
        }
    }
}

/// `None` when the call would have had to wait.
fn unless_busy(done: nix::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(n) => Ok(Some(n)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn read_until<R: CancelableAsyncReadRent, S: Future>(
    socket: &mut R,
    buf: BytesMut,
    slot: &mut Option<Canceller>,
    stop: Pin<&mut S>,
) -> ReadUntil<S::Output> {
    /// What the kernel says of an operation that was cancelled in time.
    const CANCELED: i32 = rustix::io::Errno::CANCELED.raw_os_error();

    let canceller = slot.take().unwrap_or_default();
    let mut read = std::pin::pin!(socket.cancelable_read(with_room(buf), canceller.handle()));
    match task::first(read.as_mut(), stop).await {
        Ok((result, slice)) => {
            *slot = Some(canceller);
            ReadUntil::new(Some(result), slice.into_inner(), None)
        }
        Err(stopped) => {
            *slot = Some(canceller.cancel());
            let (result, slice) = read.await;
            let result = match result {
                Err(error) if error.raw_os_error() == Some(CANCELED) => None,
                other => Some(other),
            };
            ReadUntil::new(result, slice.into_inner(), Some(stopped))
        }
    }
}
