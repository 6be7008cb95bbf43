//! Waiting for the next request of an HTTP/1.1 connection, cheaply.
//!
//! Thousands of agents hold a connection and say nothing. A connection that spoke a moment ago ([`IDLE_SHRINK_MS`]) waits
//! with a read under way ([`soon`]), so that a busy one costs one system call a request; after that it gives
//! buffer and state back and only asks to be told of bytes ([`long`]), for the price of one call more.

use crate::{
    io::{self, Deadline, Stream},
    worker::signal::{Stage, Watch},
};
use bytes::BytesMut;
use ringway_core::limits::{IDLE_SHRINK_MS, REQUEST_READ_BYTES};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// What came of waiting for a while.
pub(super) enum Soon {
    /// The beginning of a request.
    Bytes(BytesMut),
    /// Nothing yet.
    Quiet,
    /// Nothing more to come: the client closed, or we drain.
    End,
}

/// Waits a moment for the client to speak; `buf` is empty and lends its memory.
///
/// A draining worker gives a connection that spoke a moment ago `grace` to speak again and to hear
/// `connection: close` with its answer, instead of losing a request on its way to our closing.
pub(super) async fn soon(
    stream: &mut Stream,
    deadline: &mut Deadline,
    mut buf: BytesMut,
    watch: &Watch,
    idle: Duration,
    grace: Duration,
) -> Soon {
    let pause = Duration::from_millis(IDLE_SHRINK_MS).min(idle);
    deadline.set(Instant::now() + pause);
    let stop = pin!(async {
        let drains = |cx: &mut Context<'_>| match watch.poll_reached(Stage::Draining, cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => deadline.poll(cx).map(|()| false),
        };
        if poll_fn(drains).await {
            Box::pin(io::sleep(grace)).await;
        }
    });
    // Takes the former request's memory if nobody holds a piece of it any more.
    buf.reserve(REQUEST_READ_BYTES);
    let read = stream.read_append_until(buf, stop).await;
    match read.result {
        Some(Ok(0) | Err(_)) => Soon::End,
        Some(Ok(_)) => Soon::Bytes(read.buf),
        None if watch.stage() > Stage::Serving => Soon::End,
        None => Soon::Quiet,
    }
}

/// Waits until there is something to read; `false` when it is time to close: nothing came until `at`, or the
/// worker drains.
pub(super) async fn long(stream: &Stream, watch: &Watch, at: Instant) -> bool {
    let (mut spoke, mut late) = (pin!(stream.readable()), pin!(io::sleep_until(at)));
    // By hand and not by combinators: this is the state that stands in memory ten thousand times.
    poll_fn(|cx| {
        if spoke.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        match watch.poll_reached(Stage::Draining, cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => late.as_mut().poll(cx).map(|()| false),
        }
    })
    .await
}
