//! Toward the client: from an accepted socket to the service's answer on the wire.
//!
//! A connection begins here: TLS if the listener speaks it, then HTTP/2 if the handshake agreed on it or the
//! first bytes are its preface, else HTTP/1.1. `h1` and `h2` then speak the protocol; neither knows what is
//! served. Every wait has an end (DESIGN invariant 7), and every connection ends with its worker.

pub(crate) mod date;
mod h1;
mod h2;
pub mod tls;
mod wait;

use crate::{
    http::{Peer, Service},
    io::{self, Stream},
    worker::{
        Vitals,
        signal::{Gate, Live, LiveGuard, Signal, Stage, Watch},
    },
};
use bytes::BytesMut;
use date::Date;
use ringway_core::limits::{DownstreamLimits, REQUEST_READ_BYTES};
use std::{
    cell::Cell,
    future::Future,
    io::ErrorKind,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tls::ServerTls;

/// How an HTTP/2 connection in clear begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What all connections of one worker share.
pub(crate) struct Hall<S> {
    pub(crate) service: Rc<S>,
    pub(crate) limits: DownstreamLimits,
    pub(crate) vitals: Arc<Vitals>,
    /// Connections open now.
    pub(crate) connections: Cell<usize>,
    /// Connections being told that there is no room.
    pub(crate) refusals: Rc<Live>,
    signal: Rc<Signal>,
    /// Connections and streams: what a drain waits for.
    live: Rc<Live>,
    handshakes: Rc<Gate>,
    date: Date,
}

impl<S: Service> Hall<S> {
    pub(crate) fn new(
        service: Rc<S>,
        limits: DownstreamLimits,
        signal: Rc<Signal>,
        live: Rc<Live>,
        vitals: Arc<Vitals>,
    ) -> Rc<Self> {
        let handshakes = Gate::new(limits.handshakes_at_once_max);
        let (connections, refusals, date) = (Cell::new(0), Rc::default(), Date::default());
        Rc::new(Self {
            service,
            limits,
            vitals,
            connections,
            refusals,
            signal,
            live,
            handshakes,
            date,
        })
    }

    pub(crate) fn watch(&self) -> Watch {
        self.signal.watch()
    }

    fn draining(&self) -> bool {
        self.signal.stage() > Stage::Serving
    }

    /// Serves a connection in a task of its own, to its end or the worker's.
    pub(crate) fn serve(
        self: &Rc<Self>,
        stream: Stream,
        remote: SocketAddr,
        local: SocketAddr,
        tls: Option<Arc<ServerTls>>,
    ) {
        let counted = Counted::new(self.clone());
        let peer = Peer {
            remote,
            local,
            tls: tls.is_some(),
        };
        // Boxed, and made here: these states are large and over soon, and what a task begins with stays in it for its
        // life. An idle connection should not carry their size.
        let opening = Box::pin(open(self.clone(), stream, peer, tls));
        io::spawn(async move {
            let hall = &counted.hall;
            let end = hall.watch();
            // Pinned in place: by value it would stand in this task twice.
            let conversation = pin!(converse(hall, opening));
            if io::first(conversation, pin!(end.reached(Stage::Cut)))
                .await
                .is_err()
            {
                hall.vitals.connections_cut.add_one();
            }
        });
    }
}

/// One open connection, counted until it is dropped, even by a panic.
struct Counted<S> {
    hall: Rc<Hall<S>>,
    _live: LiveGuard,
}

impl<S> Counted<S> {
    fn new(hall: Rc<Hall<S>>) -> Self {
        hall.vitals.connections.add_one();
        hall.connections.set(hall.connections.get() + 1);
        hall.vitals.connections_open.set(hall.connections.get());
        let live = hall.live.enter();
        Self { hall, _live: live }
    }
}

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        self.hall.connections.set(self.hall.connections.get() - 1);
        self.hall.vitals.connections_open.set(self.hall.connections.get());
    }
}

async fn converse<S: Service>(hall: &Rc<Hall<S>>, opening: impl Future<Output = Option<Opened>> + Unpin) {
    let Some(opened) = opening.await else { return };
    if opened.http2 {
        Box::pin(h2::serve(hall, opened)).await;
    } else {
        h1::serve(hall, opened).await;
    }
}

/// A connection whose protocol is known.
struct Opened {
    stream: Stream,
    peer: Peer,
    /// Read already; none under TLS.
    buf: BytesMut,
    http2: bool,
}

/// TLS and the choice of protocol; `None` when the connection came to nothing.
async fn open<S: Service>(
    hall: Rc<Hall<S>>,
    stream: Stream,
    peer: Peer,
    tls: Option<Arc<ServerTls>>,
) -> Option<Opened> {
    let mut stream = match tls {
        None => stream,
        Some(tls) => match handshake(&hall, stream, &tls).await {
            Ok(stream) => stream,
            Err(error) => {
                hall.vitals.handshake_errors.add_one();
                tracing::debug!("TLS handshake failed: {error}");
                return None;
            }
        },
    };
    if let Some(protocol) = stream.alpn() {
        let http2 = protocol == b"h2";
        return Some(Opened {
            stream,
            peer,
            buf: BytesMut::new(),
            http2,
        });
    }
    // A client that connects has something to say: it gets a head's time for its first bytes.
    let deadline = Instant::now() + millis(hall.limits.header_timeout_ms);
    let mut buf = BytesMut::with_capacity(REQUEST_READ_BYTES);
    let watch = hall.watch();
    while buf.len() < PREFACE.len() && PREFACE.starts_with(&buf) {
        let stop = async {
            let draining_grace = async {
                watch.reached(Stage::Draining).await;
                io::sleep(millis(hall.limits.linger_timeout_ms)).await;
            };
            let _ = io::race(io::sleep_until(deadline), draining_grace).await;
        };
        let read = stream.read_append_until(buf, pin!(stop)).await;
        buf = read.buf;
        match read.result {
            Some(Ok(n)) if n > 0 => {}
            // Gone or silent; a head begun like the preface and left unfinished is nothing to answer.
            _ => return None,
        }
    }
    let http2 = buf.starts_with(PREFACE);
    Some(Opened {
        stream,
        peer,
        buf,
        http2,
    })
}

async fn handshake<S: Service>(
    hall: &Rc<Hall<S>>,
    stream: Stream,
    tls: &ServerTls,
) -> std::io::Result<Stream> {
    let deadline = Instant::now() + millis(hall.limits.handshake_timeout_ms);
    let turn = async {
        // Who says nothing keeps nobody waiting.
        stream.readable().await?;
        std::io::Result::Ok(hall.handshakes.pass().await)
    };
    let _turn = match io::timeout_at(deadline, turn).await {
        Ok(turn) => turn?,
        Err(io::Elapsed) => {
            return Err(std::io::Error::new(
                ErrorKind::TimedOut,
                "no hello, or no turn for it",
            ));
        }
    };
    io::tls::accept(stream, tls.config(), deadline).await
}

/// Ends a connection whose last answer must arrive: says that we are done, then reads and throws away until the
/// client closes too. Closing with unread bytes would make the kernel reset the connection and the client lose
/// the answer (RFC 9112 §9.6).
pub(crate) async fn linger(stream: &mut Stream, within: Duration) {
    let end = Instant::now() + within;
    if !matches!(io::timeout_at(end, stream.shutdown()).await, Ok(Ok(()))) {
        return;
    }
    let mut buf = BytesMut::with_capacity(REQUEST_READ_BYTES);
    loop {
        buf.clear();
        let (result, back) = stream.read_append_by(buf, end).await;
        buf = back;
        if !matches!(result, Some(Ok(n)) if n > 0) {
            return;
        }
    }
}

fn millis(n: u32) -> Duration {
    Duration::from_millis(u64::from(n))
}
