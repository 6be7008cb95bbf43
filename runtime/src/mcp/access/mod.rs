//! Access lines: one per request, formatted on its worker, written by a thread of their own.
//!
//! A worker writes each line into its own [`Sheet`], which costs a few hundred nanoseconds and no lock. A sheet that
//! is full, or [`HAND_OVER_AFTER`] after its first line, is handed to the printer's thread through a queue, and
//! that thread makes one system call of many lines. When the queue is full the sheet is dropped and its lines are
//! counted (`ringway_access_lines_dropped_total`): a log must never slow the calls it tells of. The audit record,
//! which may not be dropped silently, is another thing.
//!
//! How to read it: here a line's facts and the way from worker to thread; `format` is what a line looks like,
//! `print` the thread.

mod format;
mod print;

use crate::{io, log::Format};
use format::Stamp;
use print::Parcel;
use std::{
    cell::RefCell,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

pub use print::Printer;

/// A sheet is handed over when it holds this much: some two hundred lines, so that what a hand-over costs (a wake, a
/// system call) is a few nanoseconds of each.
const SHEET_BYTES: usize = 64 << 10;
/// The longest a line waits on its worker. People who watch a log do not notice; an idle gateway writes nothing.
const HAND_OVER_AFTER: Duration = Duration::from_millis(100);
/// Sheets that wait for the printer: 4 MiB, a tenth of a second of lines at full load.
const SHEETS_WAITING_MAX: usize = 64;

/// The facts of one request.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are the line's")]
pub struct Line<'a> {
    /// When it ended.
    pub at: Instant,
    pub id: &'a str,
    pub method: &'static str,
    pub credential: &'a str,
    pub tenant: &'a str,
    pub endpoint: &'a str,
    pub server: &'a str,
    pub tool: &'a str,
    pub revision: &'static str,
    pub outcome: &'static str,
    pub resumed: bool,
    pub remote: IpAddr,
    pub bytes_out: u64,
    pub first_byte: Duration,
    pub total: Duration,
}

/// The way to the printer, shared by all workers.
#[derive(Clone)]
pub struct Lines {
    format: Option<Format>,
    queue: async_channel::Sender<Parcel>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// The way to a printer that writes lines of this format to stderr; with none, no line is made.
    pub fn start(format: Option<Format>) -> std::io::Result<(Self, Printer)> {
        let (queue, parcels) = async_channel::bounded(SHEETS_WAITING_MAX);
        let lines = Self {
            format,
            queue,
            dropped: Arc::default(),
        };
        let to = format.is_some().then(std::io::stderr);
        let printer = Printer::start(to, parcels, lines.dropped.clone())?;
        Ok((lines, printer))
    }

    /// Whether anybody reads access lines; if not, their facts need not be gathered.
    pub fn wanted(&self) -> bool {
        self.format.is_some()
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn hand_over(&self, parcel: Parcel) {
        if let Err(refused) = self.queue.try_send(parcel) {
            // Relaxed: a count and nothing else.
            self.dropped
                .fetch_add(refused.into_inner().lines, Ordering::Relaxed);
        }
    }
}

/// One worker's lines that have not been handed over.
pub struct Sheet {
    lines: Lines,
    page: RefCell<Page>,
    /// Told of the first line on an empty sheet.
    begun: Notify,
}

#[derive(Default)]
struct Page {
    text: Vec<u8>,
    lines: u64,
    stamp: Stamp,
}

impl Sheet {
    /// An empty sheet.
    pub fn new(lines: Lines) -> Self {
        Self {
            lines,
            page: RefCell::default(),
            begun: Notify::new(),
        }
    }

    /// Whether lines are wanted.
    pub fn wanted(&self) -> bool {
        self.lines.wanted()
    }

    /// Adds a line.
    pub fn put(&self, line: &Line<'_>) {
        let Some(format) = self.lines.format else { return };
        let page = &mut *self.page.borrow_mut();
        if page.text.is_empty() {
            // Room for the line that makes it full; nothing is done where there is room.
            page.text.reserve(SHEET_BYTES + (4 << 10));
            self.begun.notify_one();
        }
        format::write(&mut page.text, format, page.stamp.at(line.at), line);
        page.lines += 1;
        if page.text.len() >= SHEET_BYTES {
            let text = std::mem::take(&mut page.text);
            self.hand_over(page, text);
        }
    }

    /// Hands over what there is.
    pub fn flush(&self) {
        let page = &mut *self.page.borrow_mut();
        if !page.text.is_empty() {
            // A copy of its size: the sheet's own room stays here, and a queue of small sheets stays small.
            let text = page.text.clone();
            page.text.clear();
            self.hand_over(page, text);
        }
    }

    fn hand_over(&self, page: &mut Page, text: Vec<u8>) {
        let lines = std::mem::take(&mut page.lines);
        self.lines.hand_over(Parcel { text, lines });
    }

    /// Hands over in time what does not fill a sheet. Runs for as long as the worker lives.
    pub async fn hand_over_in_time(&self) {
        loop {
            self.begun.notified().await;
            io::sleep(HAND_OVER_AFTER).await;
            self.flush();
        }
    }
}

#[cfg(test)]
mod tests;
