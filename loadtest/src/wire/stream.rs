//! The byte stream below HTTP: TCP, or TLS over it.

use super::{Fault, OpenOptions, Target, fault::FaultKind, tls};
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::client::TlsStream;

/// A connected stream.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects, and shakes hands in TLS.
pub(super) async fn connect(target: &Target, options: &OpenOptions) -> Result<Stream, Fault> {
    let tcp = dial(target, options).await?;
    let Some(tls) = target.tls() else {
        return Ok(Stream::Tcp(tcp));
    };
    let stream = tls
        .connector
        .connect(tls.name.clone(), tcp)
        .await
        .map_err(|e| Fault::new(FaultKind::Tls, format!("{target}: handshake: {e}")))?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// The first address that accepts.
async fn dial(target: &Target, options: &OpenOptions) -> Result<TcpStream, Fault> {
    let mut last = Fault::new(FaultKind::Connect, "the target has no address");
    for address in target.next_addresses() {
        match dial_one(address, options).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Fault::new(FaultKind::Connect, format!("{address}: {error}")),
        }
    }
    Err(last)
}

async fn dial_one(address: SocketAddr, options: &OpenOptions) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(bytes) = options.receive_buffer_bytes {
        // Before connecting: the window's scale is agreed in the handshake.
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    // A call is one write; waiting for more would only add to its latency.
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Stream {
    /// Whether ALPN agreed on HTTP/2.
    pub(super) fn is_http2_agreed(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(tls::ALPN_HTTP2),
        }
    }

    /// Whether the peer has closed the stream, or said something unasked, since it was last used. Costs no system
    /// call unless something has come.
    pub(super) fn is_stale(&mut self) -> bool {
        let mut byte = [0; 1];
        match self {
            Self::Tcp(stream) => !is_quiet(&stream.try_read(&mut byte)),
            Self::Tls(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                let mut buf = ReadBuf::new(&mut byte);
                Pin::new(stream.as_mut()).poll_read(&mut cx, &mut buf).is_ready()
            }
        }
    }
}

fn is_quiet(read: &io::Result<usize>) -> bool {
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
