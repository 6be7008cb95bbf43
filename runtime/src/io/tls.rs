//! TLS over owned buffers: rustls does the protocol, [`Stream`] the socket.
//!
//! [`Tls`] never touches a socket: ciphertext is absorbed into it and taken out of it, plaintext likewise, so
//! that the read-write and the polling stream share it. `process_new_packets` follows every read, else data
//! would wait inside rustls while the socket is quiet. A peer that vanishes without `close_notify` gives
//! `UnexpectedEof`, never an orderly end (RFC 8446 §6.1): a truncated answer must not look complete.

use super::Stream;
use bytes::{Buf, BufMut, BytesMut};
use rustls::{ClientConfig, Connection, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use std::{
    io::{self, BufRead, ErrorKind, Write},
    sync::Arc,
    time::Instant,
};

/// Serves TLS on `stream`; `TimedOut` when the handshake is not done by `deadline`.
pub async fn accept(stream: Stream, config: Arc<ServerConfig>, deadline: Instant) -> io::Result<Stream> {
    let connection = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
    handshake(stream.with_tls(Tls::new(connection.into())), deadline).await
}

/// Speaks TLS to `name` on `stream`; `TimedOut` when the handshake is not done by `deadline`.
pub async fn connect(
    stream: Stream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    deadline: Instant,
) -> io::Result<Stream> {
    let connection = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
    handshake(stream.with_tls(Tls::new(connection.into())), deadline).await
}

/// A client configuration that trusts `roots` and offers `alpn`, most wanted first. Resumption is on.
pub fn client_config(roots: RootCertStore, alpn: &[&[u8]]) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

async fn handshake(mut stream: Stream, deadline: Instant) -> io::Result<Stream> {
    let shake = async {
        loop {
            stream.flush_tls().await?;
            if !stream.tls().is_some_and(Tls::is_handshaking) {
                return Ok(());
            }
            if let Err(error) = stream.feed_tls().await {
                // The alert that names the fault is already encoded.
                let _ = stream.flush_tls().await;
                return Err(error);
            }
        }
    };
    match super::timer::timeout_at(deadline, shake).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::new(
            ErrorKind::TimedOut,
            "TLS handshake not finished in time",
        )),
    }
}

/// One connection's TLS state.
pub(super) struct Tls {
    connection: Connection,
    /// Plaintext that came with the last flight of the handshake.
    early: BytesMut,
    /// The peer has said `close_notify`; its socket may still be open.
    peer_closed: bool,
}

/// What reading plaintext gave.
pub(super) enum Plain {
    /// So many bytes were appended.
    Bytes(usize),
    /// The peer said that it is done.
    Closed,
    /// Nothing yet: more ciphertext is needed.
    Wait,
}

impl Tls {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            early: BytesMut::new(),
            peer_closed: false,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    pub(super) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.connection.peer_certificates()
    }

    /// Whether nothing waits in here to be read: no byte and no end.
    pub(super) fn is_quiet(&self) -> bool {
        self.early.is_empty() && !self.peer_closed
    }

    pub(super) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Takes in what one read gave (nothing: the peer's FIN) and appends the plaintext in it to `into`.
    pub(super) fn absorb(&mut self, mut cipher: &[u8], into: &mut BytesMut) -> io::Result<usize> {
        let before = into.len();
        loop {
            let taken = self.connection.read_tls(&mut cipher)?;
            let state = self
                .connection
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            self.peer_closed |= state.peer_has_closed();
            // Emptied each time: rustls refuses ciphertext while it holds a record's worth of plaintext.
            while let Plain::Bytes(_) = self.drain(into)? {}
            if taken == 0 || cipher.is_empty() {
                return Ok(into.len() - before);
            }
        }
    }

    /// [`Tls::absorb`] for the handshake: plaintext is kept for the first read.
    pub(super) fn absorb_kept(&mut self, cipher: &[u8]) -> io::Result<()> {
        let mut early = std::mem::take(&mut self.early);
        let absorbed = self.absorb(cipher, &mut early);
        self.early = early;
        match absorbed {
            Ok(_) if cipher.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
            other => other.map(drop),
        }
    }

    /// Appends plaintext that is already here to `into`.
    pub(super) fn take_plain(&mut self, into: &mut BytesMut) -> io::Result<Plain> {
        if !self.early.is_empty() {
            let n = self.early.len();
            into.extend_from_slice(&self.early);
            self.early = BytesMut::new();
            return Ok(Plain::Bytes(n));
        }
        self.drain(into)
    }

    fn drain(&mut self, into: &mut BytesMut) -> io::Result<Plain> {
        let mut reader = self.connection.reader();
        match reader.fill_buf() {
            Ok([]) => Ok(Plain::Closed),
            Ok(chunk) => {
                let n = chunk.len();
                into.extend_from_slice(chunk);
                reader.consume(n);
                Ok(Plain::Bytes(n))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Plain::Wait),
            Err(error) => Err(error),
        }
    }

    /// Gives plaintext to be encrypted; rustls takes as much as its buffer allows.
    pub(super) fn put_plain(&mut self, data: &[u8]) -> io::Result<usize> {
        self.connection.writer().write(data)
    }

    /// Appends all ciphertext that wants to leave to `out`.
    pub(super) fn take_cipher(&mut self, out: &mut BytesMut) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut out.writer())?;
        }
        Ok(())
    }

    /// Queues `close_notify`.
    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
    }
}

/// Copies as much of `from` as fits into `to`.
pub(super) fn move_into(from: &mut BytesMut, to: &mut tokio::io::ReadBuf<'_>) -> usize {
    let n = from.len().min(to.remaining());
    to.put_slice(&from[..n]);
    from.advance(n);
    n
}
