//! HTTP/2 toward the client (RFC 9113): many calls on one connection.
//!
//! The `h2` crate speaks the protocol and bounds what a peer may make it remember. What it leaves to its user,
//! and where that is done:
//!
//! | left to us | here |
//! |---|---|
//! | a client that has gone mute, a connection nobody uses | [`keeper`] |
//! | a client that opens and cancels streams faster than people do | [`Streams`] |
//! | telling a draining worker's clients, and letting their calls finish | the loop below |
//! | one stream: judging the head, capping the body, pacing the answer | [`stream`] |
//!
//! One task drives the connection; each stream has a task of its own, so that a slow or panicking call is alone
//! with it. When the connection ends, `h2` fails every stream of it, and their tasks end with them.

mod head;
mod keeper;
mod stream;

use super::{Hall, Opened, millis};
use crate::{
    http::{Peer, Service},
    io::{self, Gathering},
    worker::signal::Stage,
};
use bytes::Bytes;
use h2::{Reason, server};
use keeper::{Keeper, Verdict};
use ringway_core::limits::{
    CLIENT_CANCELS_PER_SECOND_MAX, CLIENT_CONNECTION_WINDOW_BYTES, CLIENT_ERROR_RESETS_MAX,
    CLIENT_RESETS_PENDING_MAX, CLIENT_STREAM_SEND_BYTES_MAX, CLIENT_STREAM_WINDOW_BYTES, DownstreamLimits,
};
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Serves a connection whose first bytes are in `buf` to its end.
pub(super) async fn serve<S: Service>(hall: &Rc<Hall<S>>, opened: Opened) {
    let Opened {
        stream, buf, peer, ..
    } = opened;
    let limits = &hall.limits;
    let io = Gathering::new(stream.into_poll(buf));
    let mut begun = pin!(builder(limits).handshake::<_, Bytes>(io.clone()));
    let begun = poll_fn(|cx| {
        let begun = begun.as_mut().poll(cx);
        io.poll_push(cx);
        begun
    });
    let Ok(Ok(mut connection)) = io::timeout(millis(limits.header_timeout_ms), begun).await else {
        return;
    };
    let streams = Rc::new(Streams::default());
    let mut keeper = Keeper::new(connection.ping_pong(), limits);
    let watch = hall.watch();
    let mut leaving = false;
    loop {
        let event = poll_fn(|cx| {
            if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                return Poll::Ready(Event::Accepted(accepted));
            }
            if !leaving && watch.poll_reached(Stage::Draining, cx).is_ready() {
                return Poll::Ready(Event::Leave);
            }
            let verdict = keeper.poll(&streams, cx);
            // All streams at hand have been accepted, all frames at hand stand in the buffer.
            io.poll_push(cx);
            verdict.map(|verdict| match verdict {
                Verdict::Unused => Event::Leave,
                Verdict::Mute => Event::Mute,
            })
        });
        match event.await {
            Event::Accepted(Some(Ok((request, respond)))) => {
                hall.vitals.requests.add_one();
                if streams.is_flooded() {
                    hall.vitals.reset_floods.add_one();
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    continue;
                }
                let open = Open::new(streams.clone());
                io::spawn(converse(hall.clone(), (request, respond), peer, open));
            }
            // GOAWAY: streams that have begun are finished, then `accept` says that it was the last.
            Event::Leave if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
            }
            Event::Leave => {}
            Event::Mute => {
                tracing::debug!("HTTP/2 client {} does not answer", peer.remote);
                return;
            }
            Event::Accepted(Some(Err(error))) => {
                tracing::debug!("HTTP/2 connection of {} ended: {error}", peer.remote);
                break;
            }
            Event::Accepted(None) => break,
        }
    }
    drop(connection);
    linger(io, millis(limits.linger_timeout_ms)).await;
}

/// The life of one stream. Boxed where it is made: it is large, and a task is moved several times until it stands where
/// it runs.
#[inline(never)]
fn converse<S: Service>(
    hall: Rc<Hall<S>>,
    (request, respond): Accepted,
    peer: Peer,
    open: Open,
) -> Pin<Box<impl Future<Output = ()>>> {
    let live = hall.live.enter();
    Box::pin(async move {
        let _live = live;
        if stream::serve(&hall, request, respond, peer).await == stream::Ended::Cancelled {
            hall.vitals.requests_abandoned.add_one();
            open.0.note_cancel();
        }
    })
}

#[expect(clippy::large_enum_variant, reason = "made and taken apart on the spot")]
enum Event {
    Accepted(Option<Result<Accepted, h2::Error>>),
    Leave,
    Mute,
}

type Accepted = (http::Request<h2::RecvStream>, server::SendResponse<Bytes>);

fn builder(limits: &DownstreamLimits) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(CLIENT_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CLIENT_CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(CLIENT_STREAM_SEND_BYTES_MAX)
        .max_pending_accept_reset_streams(CLIENT_RESETS_PENDING_MAX)
        .max_local_error_reset_streams(Some(CLIENT_ERROR_RESETS_MAX));
    builder
}

/// What a connection knows of its streams.
#[derive(Default)]
struct Streams {
    open: Cell<usize>,
    /// When the last one ended.
    last_end: Cell<Option<Instant>>,
    /// Cancels in the second that began then.
    cancels: Cell<(Option<Instant>, u32)>,
}

impl Streams {
    fn note_cancel(&self) {
        let now = Instant::now();
        let (since, count) = self.cancels.get();
        self.cancels.set(match since {
            Some(since) if now - since < Duration::from_secs(1) => (Some(since), count + 1),
            _ => (Some(now), 1),
        });
    }

    fn is_flooded(&self) -> bool {
        self.cancels.get().1 > CLIENT_CANCELS_PER_SECOND_MAX
    }
}

/// An open stream, counted until its task ends.
struct Open(Rc<Streams>);

impl Open {
    fn new(streams: Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self(streams)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.last_end.set(Some(Instant::now()));
    }
}

/// See [`super::linger`].
async fn linger(mut io: Gathering, within: Duration) {
    let all = async {
        let _ = poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await;
        let mut bytes = [0; 1024];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            let read = poll_fn(|cx| Pin::new(&mut io).poll_read(cx, &mut buf)).await;
            if read.is_err() || buf.filled().is_empty() {
                return;
            }
        }
    };
    let _ = io::timeout(within, all).await;
}
