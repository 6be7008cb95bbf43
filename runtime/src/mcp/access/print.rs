//! The printer: a thread that writes sheets of whole lines to stderr.
//!
//! A thread of its own, because whoever reads stderr may be slow or stuck, and a write that waits for it must keep
//! neither workers nor name lookups waiting. Other lines of this process go to stderr too, one write each under
//! the standard library's lock; under the same lock nothing of ours is torn by them or tears them. A pipe, which
//! other processes may write to as well, takes up to [`PIPE_WHOLE_BYTES`] in one piece, so a pipe gets pieces of
//! that size. What cannot be written is lost and counted.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, fstat},
    io::{Errno, write},
};
use std::{
    io,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// A pipe takes a write of this size whole or not at all (`PIPE_BUF`, pipe(7)).
const PIPE_WHOLE_BYTES: usize = 4096;
/// How often a printer whose reader does not read looks whether it should give up.
const LOOK_UP: Duration = Duration::from_millis(50);
/// A line of which the reader has taken only a part is waited for this long, under the lock; then its rest is lost.
const TORN_MAX: Duration = Duration::from_secs(1);
/// The end of the process waits this long for lines to be taken.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// Whole lines on their way.
pub(super) struct Parcel {
    pub text: Vec<u8>,
    pub lines: u64,
}

/// The running thread.
pub struct Printer {
    parcels: async_channel::Receiver<Parcel>,
    give_up: Arc<AtomicBool>,
    /// Disconnected when the thread has ended. Behind a lock only because whoever holds the printer is shared.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Printer {
    /// Writes what comes until the end; without anywhere to write to, there is no thread.
    pub(super) fn start<F: AsFd + Send + 'static>(
        to: Option<F>,
        parcels: async_channel::Receiver<Parcel>,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let give_up = Arc::new(AtomicBool::new(false));
        let (held, ended) = mpsc::channel();
        let printer = Self {
            parcels: parcels.clone(),
            give_up: give_up.clone(),
            ended: Mutex::new(ended),
        };
        if let Some(to) = to {
            let mut sink = Sink::new(to, give_up);
            let life = move || {
                let _held_until_the_end: mpsc::Sender<()> = held;
                while let Ok(parcel) = parcels.recv_blocking() {
                    // Relaxed: a count and nothing else.
                    dropped.fetch_add(sink.write(&parcel.text), Ordering::Relaxed);
                }
            };
            std::thread::Builder::new()
                .name("ringway-access".to_owned())
                .spawn(life)?;
        }
        Ok(printer)
    }

    /// Takes no more, and waits until what was handed over is written, or for [`FINISH_MAX`].
    pub fn finish(self) {
        self.parcels.close();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(FINISH_MAX) == Err(RecvTimeoutError::Timeout) {
            // The thread is not waited for: the kernel may hold it in a write for ever.
            self.give_up.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.parcels.close();
    }
}

/// Where lines go.
struct Sink<F> {
    to: F,
    pipe: bool,
    /// A line's beginning stands there without its end.
    torn: bool,
    give_up: Arc<AtomicBool>,
}

impl<F: AsFd> Sink<F> {
    fn new(to: F, give_up: Arc<AtomicBool>) -> Self {
        let kind = fstat(&to).map(|stat| FileType::from_raw_mode(stat.st_mode));
        Self {
            to,
            pipe: kind == Ok(FileType::Fifo),
            torn: false,
            give_up,
        }
    }

    /// Writes whole lines; gives the number of lines lost.
    fn write(&mut self, mut text: &[u8]) -> u64 {
        let mut lost = 0;
        while !text.is_empty() {
            let (piece, rest) = text.split_at(if self.pipe { whole(text) } else { text.len() });
            text = rest;
            if let Err(unwritten) = self.piece(piece) {
                lost += count(&piece[piece.len() - unwritten..]);
            }
        }
        lost
    }

    /// Writes a piece in one go where the kernel lets it. `Err` is the number of bytes at its end that are lost.
    fn piece(&mut self, piece: &[u8]) -> Result<(), usize> {
        let mut lock = io::stderr().lock();
        // Room is waited for without the lock, so that others who log are not held up by ours.
        while !self.has_room(Duration::ZERO) {
            drop(lock);
            loop {
                if self.give_up.load(Ordering::Relaxed) {
                    return Err(piece.len());
                }
                if self.has_room(LOOK_UP) {
                    break;
                }
            }
            lock = io::stderr().lock();
        }
        let mut left = piece;
        if self.torn {
            match write(&self.to, b"\n") {
                Ok(1) => self.torn = false,
                _ => return Err(left.len()),
            }
        }
        let mut torn_since = None;
        while !left.is_empty() {
            match write(&self.to, left) {
                Ok(0) => break,
                Ok(taken) => left = &left[taken..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let since = *torn_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= TORN_MAX || self.give_up.load(Ordering::Relaxed) {
                        break;
                    }
                    self.has_room(LOOK_UP);
                }
                Err(_) => break,
            }
        }
        drop(lock);
        if left.is_empty() {
            return Ok(());
        }
        let written = piece.len() - left.len();
        self.torn = written > 0 && piece[written - 1] != b'\n';
        Err(left.len())
    }

    /// Whether a write would be taken, or fail, at once.
    fn has_room(&self, within: Duration) -> bool {
        let within = Timespec {
            tv_sec: 0,
            tv_nsec: within.subsec_nanos().into(),
        };
        // An error of the descriptor is the write's to report.
        poll(&mut [PollFd::new(&self.to, PollFlags::OUT)], Some(&within)) != Ok(0)
    }
}

/// Length of the whole lines at the beginning that a pipe takes in one piece; at least one line.
fn whole(text: &[u8]) -> usize {
    if text.len() <= PIPE_WHOLE_BYTES {
        return text.len();
    }
    let last = memchr::memrchr(b'\n', &text[..PIPE_WHOLE_BYTES]);
    last.or_else(|| memchr::memchr(b'\n', text))
        .map_or(text.len(), |at| at + 1)
}

fn count(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}
