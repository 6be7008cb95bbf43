//! HTTP/2 as a client speaks it (RFC 9113), by the `h2` crate: many calls at once on one connection.
//!
//! Frames are moved by a task of the connection's own; handles on it are cheap. What `h2` leaves to its user and
//! matters to a generator: the peer's limit on streams is followed here ([`Http2::capacity`]) rather than queued
//! against without end, and a connection is opened only once the peer's first SETTINGS are here, so that an HTTP/1.1
//! server spoken to by mistake is a fault of opening and not of the first call.
//!
//! What a small call allocates in steady state: the request's fields (a map), the stream's state inside `h2`, the
//! answer's fields, the session id where there is one.

mod exchange;

pub(super) use exchange::Body;

use super::{Fault, FaultKind, OpenOptions, fault::of_io_kind, stream::Stream, watch::Alarm};
use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::sync::oneshot;

/// Flow control of one answer: a large result streams without waiting for us on a fast network.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Flow control of all answers together: slow readers among them do not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 32 * 1024 * 1024;
/// Smallest window a slow reader may ask for; smaller ones make frames of a few bytes.
const WINDOW_BYTES_MIN: u32 = 1024;
/// Frames we take. Larger ones than the least (16 KiB) cost less each byte.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Fields of one answer, as the peer counts them.
const HEAD_BYTES_MAX: u32 = 16 * 1024;
/// Streams on one connection, whatever the peer allows.
const STREAMS_MAX: usize = 10_000;
/// Streams we reset and whose late frames are still expected; beyond it, they would be errors.
const RESETS_REMEMBERED: usize = 10_000;
/// What `h2` reports as the peer's stream limit before its first SETTINGS; no peer can send this value.
const UNSETTLED: usize = usize::MAX - 1;

/// A handle on a connection.
pub(super) struct Http2 {
    send: SendRequest<Bytes>,
    shared: Arc<Shared>,
    alarm: Alarm,
}

/// What all handles share.
struct Shared {
    /// Never sends; asked for the connection's state.
    probe: Mutex<SendRequest<Bytes>>,
    limit: AtomicUsize,
    used: AtomicUsize,
    /// Why no further stream is welcome, once that is so.
    ended: OnceLock<Fault>,
}

/// The right to one stream.
struct Slot(Arc<Shared>);

/// Speaks HTTP/2 on a stream; done when the peer's SETTINGS are here.
pub(super) async fn open(stream: Stream, options: &OpenOptions) -> Result<Http2, Fault> {
    let window = options.receive_buffer_bytes.map_or(STREAM_WINDOW_BYTES, |bytes| {
        bytes.clamp(WINDOW_BYTES_MIN, STREAM_WINDOW_BYTES)
    });
    let (send, connection) = Builder::new()
        .enable_push(false)
        .initial_window_size(window)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_max_send_streams(UNSETTLED)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .handshake(stream)
        .await
        .map_err(|error| fault_of(&error))?;
    let shared = Arc::new(Shared {
        probe: Mutex::new(send.clone()),
        limit: AtomicUsize::new(0),
        used: AtomicUsize::new(0),
        ended: OnceLock::new(),
    });
    let (settled, settings) = oneshot::channel();
    drop(tokio::spawn(drive(connection, Arc::downgrade(&shared), settled)));
    // The sender goes away only with the connection.
    if settings.await.is_err() {
        return Err(match shared.ended.get() {
            Some(fault) => fault.clone(),
            None => Fault::closed("the peer closed the connection before its HTTP/2 settings came"),
        });
    }
    Ok(Http2 {
        send,
        shared,
        alarm: Alarm::default(),
    })
}

/// The connection's own task. It holds no strong reference to the shared part: a connection that nobody has a handle
/// on any more says GOAWAY and closes.
async fn drive(connection: Connection<Stream, Bytes>, shared: Weak<Shared>, settled: oneshot::Sender<()>) {
    let mut connection = pin!(connection);
    let mut settled = Some(settled);
    let end = poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        if let Some(shared) = shared.upgrade()
            && shared.refresh()
            && let Some(settled) = settled.take()
        {
            // A caller that has given up opening does not care.
            let _ = settled.send(());
        }
        polled
    })
    .await;
    if let Some(shared) = shared.upgrade() {
        let _ = shared.ended.set(match end {
            Ok(()) => Fault::closed("the peer closed the HTTP/2 connection"),
            Err(error) => fault_of(&error),
        });
    }
}

impl Shared {
    /// Follows what the last frames changed; whether the peer's SETTINGS are here.
    fn refresh(&self) -> bool {
        let mut probe = self.probe();
        // A handle that never sends is never made to wait: this tells whether new streams are welcome.
        if let Poll::Ready(Err(error)) = probe.poll_ready(&mut Context::from_waker(Waker::noop())) {
            let _ = self.ended.set(fault_of(&error));
        }
        let limit = probe.current_max_send_streams();
        if limit == UNSETTLED {
            return false;
        }
        self.limit.store(limit.min(STREAMS_MAX), Ordering::Relaxed);
        true
    }

    fn probe(&self) -> MutexGuard<'_, SendRequest<Bytes>> {
        // Nothing is left half done by a panic under this lock.
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Http2 {
    /// Another handle.
    pub(super) fn share(&self) -> Self {
        Self {
            send: self.shared.probe().clone(),
            shared: self.shared.clone(),
            alarm: Alarm::default(),
        }
    }

    /// Streams that can be opened now, over all handles.
    pub(super) fn capacity(&self) -> usize {
        if self.takes_calls() {
            let limit = self.shared.limit.load(Ordering::Relaxed);
            limit.saturating_sub(self.shared.used.load(Ordering::Relaxed))
        } else {
            0
        }
    }

    /// Whether the peer still takes new streams.
    pub(super) fn takes_calls(&self) -> bool {
        self.shared.ended.get().is_none()
    }
}

impl Slot {
    fn take(shared: &Arc<Shared>) -> Result<Self, Fault> {
        if let Some(fault) = shared.ended.get() {
            // Nothing of this call was sent, so it is not what ended the connection.
            return Err(fault.clone().stale());
        }
        let limit = shared.limit.load(Ordering::Relaxed);
        let slot = Self(shared.clone());
        if shared.used.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(Fault::new(
                FaultKind::Refused,
                format!("all {limit} streams that the peer allows are in use"),
            ));
        }
        Ok(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an error of `h2` means to a call.
fn fault_of(error: &h2::Error) -> Fault {
    if let Some(io) = error.get_io() {
        // `h2` calls the end of the stream a broken pipe.
        let kind = match io.kind() {
            std::io::ErrorKind::BrokenPipe => FaultKind::Closed,
            _ => of_io_kind(io),
        };
        return Fault::new(kind, format!("HTTP/2 connection: {error}"));
    }
    let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let kind = match (error.is_remote(), error.is_go_away()) {
        _ if error.is_remote() && refused => FaultKind::Refused,
        // A stream that learns of GOAWAY is one that the peer says it has not looked at.
        (true, true) => FaultKind::Refused,
        (true, false) => FaultKind::Reset,
        (false, _) => FaultKind::Protocol,
    };
    Fault::new(kind, format!("HTTP/2: {error}"))
}
