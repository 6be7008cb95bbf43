//! What the codecs and the MCP layer hand each other: heads, bodies, and the [`Service`] between them.
//!
//! The codecs (`downstream::{h1,h2}`) do all reading and writing of sockets. A service never sees a socket: it
//! judges a head, then gets the whole (capped) body, then gives a response whose body the codec pulls chunk by
//! chunk, so that back-pressure is simply not being asked for the next chunk. Dropping a response future or a
//! body is how a codec says "the client is gone".

use bytes::Bytes;
use ringway_proto::http::{Headers, Method};
use std::{future::Future, net::SocketAddr, pin::Pin, rc::Rc};

/// A request head, whichever HTTP version it came in.
#[derive(Clone, Debug)]
pub struct Head {
    /// Method token.
    pub method: Method,
    /// Path and query as sent, beginning with `/`.
    pub target: Bytes,
    /// `Host` or `:authority`; a codec refuses requests with none or two that differ.
    pub authority: Bytes,
    /// Fields, names in lower case; `host` is not repeated here.
    pub headers: Headers,
}

impl Head {
    /// The target up to the query.
    pub fn path(&self) -> &[u8] {
        let end = self
            .target
            .iter()
            .position(|b| *b == b'?')
            .unwrap_or(self.target.len());
        &self.target[..end]
    }
}

/// The connection a request came on.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Remote address.
    pub remote: SocketAddr,
    /// The listener's address.
    pub local: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// What a codec can find wrong before the service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// Not HTTP, or a forbidden combination (two lengths, length and chunked, bad field).
    Malformed,
    /// Head larger than its bound, or too many fields.
    TooLarge,
    /// The head did not arrive in time.
    Slow,
}

/// What can go wrong while a request body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// More bytes than the service allowed.
    TooLarge,
    /// Did not arrive in time.
    Slow,
    /// Bad chunk framing, or the stream broke off.
    Malformed,
}

/// A response on its way to the client.
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Fields; the codec adds `content-length`, `transfer-encoding`, `connection` and `date` itself.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

/// A response body.
pub enum Body {
    /// No body.
    Empty,
    /// All of it at once.
    Full(Bytes),
    /// Pulled chunk by chunk.
    Stream(BodyStream),
}

/// A body that is pulled.
pub struct BodyStream {
    /// Total length when known; the codec then sends `content-length` and treats a mismatch as a broken stream.
    pub length: Option<u64>,
    /// Where the chunks come from.
    pub source: Box<dyn Source>,
}

/// The stream broke before its end: the codec resets the stream or cuts the connection so that the client can
/// tell it from a complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// A future on one worker.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Gives a body's chunks in order; `None` is the orderly end. Not asked again after `None` or an error.
pub trait Source {
    /// The next chunk.
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Bytes, Broken>>>;
}

/// What a codec serves. One instance per worker.
pub trait Service: 'static {
    /// What [`Service::admit`] learnt of the head, carried to [`Service::respond`].
    type Call: 'static;

    /// Judges the head alone (identity, path, headers) before a byte of body is read.
    fn admit(self: &Rc<Self>, head: Head, peer: Peer) -> Result<Admitted<Self::Call>, Response>;

    /// Answers an admitted request. Dropped when the client goes away.
    fn respond(
        self: &Rc<Self>,
        call: Self::Call,
        body: Result<Bytes, BodyFault>,
    ) -> impl Future<Output = Response> + 'static;

    /// The answer to a head that could not be read; the codec closes the connection after it.
    fn malformed(self: &Rc<Self>, fault: HeadFault, peer: Peer) -> Response;

    /// The worker ends and its last connection has: time to hand over what was kept back.
    fn ended(self: &Rc<Self>) {}
}

/// A request whose body may be read.
pub struct Admitted<C> {
    /// Cap on the body.
    pub body_bytes_max: usize,
    /// Passed on to [`Service::respond`].
    pub call: C,
}
