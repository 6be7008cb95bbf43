//! HTTP/2 toward a server: one multiplexed connection, its streams counted by us.
//!
//! The `h2` crate speaks the protocol. What it leaves to its user, and where that is done:
//!
//! | left to us | here |
//! |---|---|
//! | honouring the peer's MAX_CONCURRENT_STREAMS before queueing (RFC 9113 §5.1.2) | [`Stream`] is the right to one stream; [`Http2::refresh`] follows the peer's SETTINGS |
//! | noticing GOAWAY before the next request (§6.8) | [`Http2::refresh`] |
//! | a peer that has gone mute | [`keeper`] |
//! | not resetting so many streams that the peer closes the connection (§5.4.2, §10.5) | `resets` |
//! | flow control, deadlines, and what may be sent again | `exchange` |
//!
//! Before the peer's first SETTINGS only one stream is opened: an answer costs the same round trip, and nothing
//! is refused for being too many. Meanwhile the connection counts as being dialled, so that a burst of first
//! calls opens one connection and not one each.

mod exchange;
mod head;
mod resets;

pub(super) use exchange::{Http2Body, exchange};

use super::{
    fault::{Fault, FaultKind},
    pool::{Pool, Slot},
    stats::Counters,
};
use crate::io::{self, Gathering};
use bytes::{Bytes, BytesMut};
use h2::{
    Ping, PingPong, SendStream,
    client::{Builder, Connection, ResponseFuture, SendRequest},
};
use head::Beginnings;
use resets::Resets;
use ringway_core::limits::{
    HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_FRAME_BYTES, HTTP2_RESET_STREAMS_MAX, HTTP2_STREAM_WINDOW_BYTES,
    UpstreamLimits,
};
use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// What `h2` reports as the peer's stream limit before the first SETTINGS; no peer can send this value.
const UNSETTLED: usize = usize::MAX - 1;

/// A connection that calls share.
pub(super) struct Http2 {
    send: RefCell<SendRequest<Bytes>>,
    pool: Weak<Pool>,
    counters: Rc<Counters>,
    /// Streams at once: ours or the peer's bound, whichever is smaller; 1 before the peer's SETTINGS.
    limit: Cell<usize>,
    limit_max: usize,
    fields_max: usize,
    used: Cell<usize>,
    /// False once the peer said GOAWAY or the connection ended.
    takes_streams: Cell<bool>,
    idle_since: Cell<Instant>,
    /// Why it ended, for the faults of the calls that were on it.
    ended: RefCell<Option<String>>,
    resets: Resets,
    beginnings: Beginnings,
}

/// The right to have one stream open; given back when dropped.
pub(super) struct Stream {
    connection: Rc<Http2>,
}

/// Starts HTTP/2 on a connected stream. The connection runs as a task of its own until both sides are done.
pub(super) async fn start(
    stream: io::Stream,
    slot: Slot,
    counters: Rc<Counters>,
    limits: &UpstreamLimits,
) -> Result<Rc<Http2>, Fault> {
    let io = Gathering::new(stream.into_poll(BytesMut::new()));
    let (send, mut connection): (SendRequest<Bytes>, Connection<Gathering, Bytes>) = Builder::new()
        .enable_push(false)
        .initial_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .initial_max_send_streams(UNSETTLED)
        .max_concurrent_reset_streams(HTTP2_RESET_STREAMS_MAX)
        .handshake(io.clone())
        .await
        .map_err(|error| Fault::unsent(FaultKind::Connect, format!("HTTP/2 preface: {error}")))?;
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    let keeper = keeper(
        connection.ping_pong(),
        millis(limits.ping_every_ms),
        millis(limits.pong_within_ms),
    );
    let http2 = Rc::new(Http2 {
        send: RefCell::new(send),
        pool: slot.pool().as_ref().map(Rc::downgrade).unwrap_or_default(),
        counters,
        limit: Cell::new(1),
        limit_max: limits.http2_streams_max.max(1),
        fields_max: limits.head_fields_max,
        used: Cell::new(0),
        takes_streams: Cell::new(true),
        idle_since: Cell::new(Instant::now()),
        ended: RefCell::default(),
        resets: Resets::new(limits.http2_resets_per_second),
        beginnings: Beginnings::default(),
    });
    drop(io::spawn(drive(
        connection,
        io,
        Rc::downgrade(&http2),
        slot,
        keeper,
    )));
    Ok(http2)
}

/// The connection's own task: moves frames until the end. It holds no strong reference to the shared part, so
/// that a connection nobody wants any more says GOAWAY and closes.
async fn drive(
    mut connection: Connection<Gathering, Bytes>,
    io: Gathering,
    http2: Weak<Http2>,
    mut slot: Slot,
    keeper: impl Future<Output = String>,
) {
    let mut keeper = pin!(keeper);
    let why = poll_fn(|cx| {
        if let Poll::Ready(why) = keeper.as_mut().poll(cx) {
            return Poll::Ready(why);
        }
        let polled = Pin::new(&mut connection).poll(cx);
        if let Some(http2) = http2.upgrade() {
            http2.refresh(cx, &mut slot);
        }
        io.poll_push(cx);
        polled.map(|end| match end {
            Ok(()) => "the connection was closed".to_owned(),
            Err(error) => error.to_string(),
        })
    })
    .await;
    if let Some(http2) = http2.upgrade() {
        tracing::debug!(endpoint = ?http2.counters.endpoint, why, "HTTP/2 connection ended");
        *http2.ended.borrow_mut() = Some(why);
        http2.stop_taking();
        http2.resets.flush();
    }
    // Streams still open learn of the end by this, and only then does the place in the pool become free.
    drop(connection);
    drop(slot);
}

/// Ends with the reason when the peer leaves a PING unanswered.
async fn keeper(pings: Option<PingPong>, every: Duration, within: Duration) -> String {
    let Some(mut pings) = pings else {
        return pending().await;
    };
    loop {
        io::sleep(every).await;
        match io::timeout(within, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection itself knows more about its error.
            Ok(Err(_)) => return pending().await,
            Err(_) => return format!("no answer to a PING within {} ms", within.as_millis()),
        }
    }
}

impl Http2 {
    /// Streams that can be opened now.
    pub(super) fn room(&self) -> usize {
        if self.takes_streams.get() {
            self.limit.get().saturating_sub(self.used.get())
        } else {
            0
        }
    }

    /// Whether no stream was open since `limit` before `now`.
    pub(super) fn is_idle_since(&self, now: Instant, limit: Duration) -> bool {
        self.used.get() == 0 && now.duration_since(self.idle_since.get()) >= limit
    }

    /// Opens a stream. A copy of the handle sends, because a handle remembers the stream it opened last, and would
    /// take that stream's place in the queue for wake-ups as it is asked in [`Http2::refresh`].
    fn send(
        &self,
        head: http::Request<()>,
        whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.send.borrow().clone().send_request(head, whole)
    }

    /// Follows what the last frames changed: the peer's stream limit, or its GOAWAY.
    fn refresh(&self, cx: &mut Context<'_>, slot: &mut Slot) {
        if !self.takes_streams.get() {
            return;
        }
        let (ended, peer_limit) = {
            let mut send = self.send.borrow_mut();
            // This handle never sends, so `poll_ready` never waits: it tells whether new streams are welcome.
            let ended = matches!(send.poll_ready(cx), Poll::Ready(Err(_)));
            (ended, send.current_max_send_streams())
        };
        if ended {
            slot.established();
            return self.stop_taking();
        }
        if peer_limit == UNSETTLED {
            return;
        }
        let settled = slot.established();
        let limit = peer_limit.min(self.limit_max);
        let changed = self.limit.replace(limit) != limit;
        if (settled || changed)
            && let Some(pool) = self.pool.upgrade()
        {
            pool.serve_line();
        }
    }

    /// New calls go elsewhere; streams that are open go on.
    fn stop_taking(&self) {
        if self.takes_streams.replace(false)
            && let Some(pool) = self.pool.upgrade()
        {
            pool.remove_http2(self);
        }
    }
}

impl Stream {
    /// A stream of `connection`, if it has room.
    pub(super) fn open(connection: &Rc<Http2>) -> Option<Self> {
        if connection.room() == 0 {
            return None;
        }
        connection.used.set(connection.used.get() + 1);
        let streams = &connection.counters.streams;
        streams.set(streams.get() + 1);
        Some(Self {
            connection: connection.clone(),
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.used.set(connection.used.get().saturating_sub(1));
        let streams = &connection.counters.streams;
        streams.set(streams.get().saturating_sub(1));
        if connection.used.get() == 0 {
            connection.idle_since.set(Instant::now());
        }
        if let Some(pool) = connection.pool.upgrade() {
            pool.serve_line();
        }
    }
}
