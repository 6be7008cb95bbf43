//! Waiting for the next request of an HTTP/1.1 connection, cheaply.
//!
//! Thousands of agents hold a connection and say nothing. A connection that spoke within the last second waits
//! with a full read buffer, so that a busy one costs one system call a request; after that it gives the buffer
//! back and waits with a tiny one.

use crate::{
    io::{self, Stream},
    worker::signal::{Stage, Watch},
};
use bytes::BytesMut;
use ringway_core::limits::{IDLE_READ_BYTES, IDLE_SHRINK_MS, REQUEST_READ_BYTES};
use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

/// Waits until the client speaks. `None`: it closed, was silent for `idle`, or the worker drains.
///
/// A drain ends a long idle connection at once. One that spoke within the last second likely speaks again just
/// now, so it is given `grace` to do so and to hear `connection: close` with its answer, instead of losing a
/// request to our closing.
pub(super) async fn next_bytes(
    stream: &mut Stream,
    watch: &Watch,
    idle: Duration,
    grace: Duration,
) -> Option<BytesMut> {
    let start = Instant::now();
    let shrink = Duration::from_millis(IDLE_SHRINK_MS).min(idle);
    let fresh = async {
        if io::race(io::sleep_until(start + shrink), watch.reached(Stage::Draining))
            .await
            .is_err()
        {
            io::sleep(grace).await;
        }
    };
    if let Some(bytes) = read(stream, BytesMut::with_capacity(REQUEST_READ_BYTES), fresh).await? {
        return Some(bytes);
    }
    if watch.stage() > Stage::Serving {
        return None;
    }
    let idle = async {
        let _ = io::race(watch.reached(Stage::Draining), io::sleep_until(start + idle)).await;
    };
    read(stream, BytesMut::with_capacity(IDLE_READ_BYTES), idle).await?
}

/// Reads until `stop`; outer `None` for the client's end, inner `None` when stopped first.
async fn read(
    stream: &mut Stream,
    buf: BytesMut,
    stop: impl Future<Output = ()>,
) -> Option<Option<BytesMut>> {
    let read = stream.read_append_until(buf, pin!(stop)).await;
    match read.result {
        Some(Ok(0) | Err(_)) => None,
        Some(Ok(_)) => Some(Some(read.buf)),
        None => Some(None),
    }
}
