//! Access lines: one per request, written by the side thread.
//!
//! Formatting and writing a line would cost a worker a system call and a lock that all workers meet at. So a
//! worker only puts the finished facts into a queue, which is lock-free, and the side thread writes them. When the
//! queue is full the line is dropped and counted (`ringway_access_lines_dropped_total`): a log must never slow
//! the calls it tells of. The audit record, which may not be dropped silently, is another thing.

use super::record::Outcome;
use ringway_core::snapshot::Principal;
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Lines that wait for the side thread: a tenth of a second at full load.
const LINES_WAITING_MAX: usize = 8_192;
/// Lines written before other tasks of the side thread have their turn.
const LINES_AT_ONCE: usize = 256;

/// The facts of one request.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the line's")]
pub struct Line {
    pub id: String,
    pub method: &'static str,
    pub principal: Option<Arc<Principal>>,
    pub endpoint: String,
    pub server: String,
    pub tool: String,
    pub revision: &'static str,
    pub outcome: Outcome,
    pub resumed: bool,
    pub remote: IpAddr,
    pub bytes_out: u64,
    pub first_byte: Duration,
    pub total: Duration,
}

/// A worker's end of the queue.
pub struct Lines {
    queue: async_channel::Sender<Line>,
    dropped: AtomicU64,
}

impl Lines {
    /// The queue, and its other end for [`write`].
    pub fn new() -> (Self, async_channel::Receiver<Line>) {
        let (queue, lines) = async_channel::bounded(LINES_WAITING_MAX);
        (
            Self {
                queue,
                dropped: AtomicU64::new(0),
            },
            lines,
        )
    }

    /// Whether anybody reads access lines; if not, their facts need not be gathered.
    pub fn wanted() -> bool {
        tracing::enabled!(target: "access", tracing::Level::INFO)
    }

    /// Hands a line over, or drops it.
    pub fn put(&self, line: Line) {
        if self.queue.try_send(line).is_err() {
            // Relaxed: a count and nothing else.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Writes lines until every sender is gone.
pub async fn write(lines: async_channel::Receiver<Line>) {
    while let Ok(line) = lines.recv().await {
        emit(&line);
        for _ in 1..LINES_AT_ONCE {
            match lines.try_recv() {
                Ok(line) => emit(&line),
                Err(_) => break,
            }
        }
        tokio::task::yield_now().await;
    }
}

fn emit(line: &Line) {
    let who = line.principal.as_deref();
    tracing::info!(
        target: "access",
        id = %line.id,
        method = line.method,
        credential = who.map_or("", |p| &*p.credential),
        tenant = who.map_or("", |p| &*p.tenant),
        endpoint = %line.endpoint,
        server = %line.server,
        tool = %line.tool,
        revision = line.revision,
        outcome = line.outcome.label(),
        resumed = line.resumed,
        remote = %line.remote,
        bytes_out = line.bytes_out,
        first_byte_us = micros(line.first_byte),
        total_us = micros(line.total),
        "call"
    );
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (lines, waiting) = Lines::new();
        let line = || Line {
            id: String::new(),
            method: "ping",
            principal: None,
            endpoint: String::new(),
            server: String::new(),
            tool: String::new(),
            revision: "",
            outcome: Outcome::Ok,
            resumed: false,
            remote: IpAddr::from([127, 0, 0, 1]),
            bytes_out: 0,
            first_byte: Duration::ZERO,
            total: Duration::ZERO,
        };
        for _ in 0..LINES_WAITING_MAX + 3 {
            lines.put(line());
        }
        assert_eq!((waiting.len(), lines.dropped()), (LINES_WAITING_MAX, 3));
    }
}
