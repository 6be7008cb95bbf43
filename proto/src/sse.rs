//! Server-sent events (WHATWG HTML, §9.2.5–9.2.6): an incremental parser and a writer.
//!
//! Bytes are pushed as they arrive, however they are cut; events are pulled. A line that lies whole in one pushed
//! piece is never copied, so an ordinary event, one `data` line, is a slice of what was read. Lines may end in LF,
//! CRLF or CR (Python servers use CRLF), fields may come in any order (rmcp sends `data` before `id`).
//!
//! Where we say more than a browser would: an event that carries an id or a retry time but no data is given too,
//! with empty data. Servers prime a stream so, and the id is what a client resumes from. A block with neither data,
//! id nor retry is nothing, as in a browser.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// A comment that keeps a quiet stream open.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; absent means `message`.
    pub name: Option<Bytes>,
    /// The `data` lines, joined by LF.
    pub data: Bytes,
    /// The `id` field of this event (not one remembered from an earlier one).
    pub id: Option<Bytes>,
    /// The `retry` field in milliseconds.
    pub retry: Option<u64>,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseFault {
    /// One event (or one comment line) is larger than the parser was told to hold.
    #[error("server-sent event larger than event_bytes_max ({event_bytes_max} bytes)")]
    TooLarge {
        /// The bound that was exceeded.
        event_bytes_max: usize,
    },
}

/// Reads one stream. After a fault it gives nothing more.
#[derive(Debug)]
pub struct Parser {
    event_bytes_max: usize,
    /// Pushed and not yet read.
    pieces: VecDeque<Bytes>,
    /// The beginning of a line whose end has not arrived.
    line: BytesMut,
    /// The last line ended in CR at the end of a piece: an LF that follows belongs to it.
    after_cr: bool,
    /// No line has been read yet, so a byte order mark may stand ahead.
    first: bool,
    failed: bool,
    event: Building,
}

/// The event whose blank line has not come.
#[derive(Debug, Default)]
struct Building {
    name: Option<Bytes>,
    data: Data,
    id: Option<Bytes>,
    retry: Option<u64>,
    bytes: usize,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Parser {
    /// A parser for a new stream that holds at most `event_bytes_max` bytes of one event.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            pieces: VecDeque::new(),
            line: BytesMut::new(),
            after_cr: false,
            first: true,
            failed: false,
            event: Building::default(),
        }
    }

    /// Adds bytes as they came. What is pushed is kept until [`Parser::next`] has read it: push, then pull until
    /// `None`.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() && !self.failed {
            self.pieces.push_back(piece);
        }
    }

    /// The next whole event, if one has arrived.
    #[expect(
        clippy::should_implement_trait,
        reason = "None means 'not yet', which an iterator's None does not"
    )]
    pub fn next(&mut self) -> Option<Result<Event, SseFault>> {
        while let Some(line) = self.take_line() {
            let read = line.and_then(|line| self.field(line));
            match read {
                Ok(None) => {}
                Ok(Some(event)) => return Some(Ok(event)),
                Err(fault) => {
                    self.failed = true;
                    self.pieces.clear();
                    self.line.clear();
                    self.event = Building::default();
                    return Some(Err(fault));
                }
            }
        }
        None
    }

    /// True when nothing is left unfinished: a stream that ends here has lost nothing.
    pub fn is_between_events(&self) -> bool {
        let Building {
            name,
            data,
            id,
            retry,
            ..
        } = &self.event;
        let blank = name.is_none() && matches!(data, Data::None) && id.is_none() && retry.is_none();
        blank && self.line.is_empty() && self.pieces.is_empty()
    }

    /// The next whole line, without its end.
    fn take_line(&mut self) -> Option<Result<Bytes, SseFault>> {
        loop {
            let piece = self.pieces.front_mut()?;
            if std::mem::take(&mut self.after_cr) && piece.starts_with(b"\n") {
                let _ = piece.split_to(1);
            }
            if let Some(at) = memchr::memchr2(b'\n', b'\r', piece) {
                let ending = piece.split_off(at);
                let end = std::mem::replace(piece, ending);
                match piece.as_ref() {
                    [b'\r', b'\n', ..] => drop(piece.split_to(2)),
                    [b'\r'] => {
                        self.after_cr = true;
                        piece.clear();
                    }
                    _ => drop(piece.split_to(1)),
                }
                if piece.is_empty() {
                    self.pieces.pop_front();
                }
                if !self.fits(self.line.len() + end.len()) {
                    return Some(Err(self.too_large()));
                }
                if self.line.is_empty() {
                    return Some(Ok(end));
                }
                self.line.extend_from_slice(&end);
                return Some(Ok(self.line.split().freeze()));
            }
            let piece = self.pieces.pop_front()?;
            if !self.fits(self.line.len() + piece.len()) {
                return Some(Err(self.too_large()));
            }
            self.line.extend_from_slice(&piece);
        }
    }

    /// Reads one line into the event; a blank one completes it.
    fn field(&mut self, mut line: Bytes) -> Result<Option<Event>, SseFault> {
        if std::mem::take(&mut self.first) && line.starts_with(b"\xef\xbb\xbf") {
            let _ = line.split_to(3);
        }
        if line.is_empty() {
            return Ok(std::mem::take(&mut self.event).finish());
        }
        let colon = memchr::memchr(b':', &line);
        if colon == Some(0) {
            return Ok(None);
        }
        let mut value = line.split_off(colon.unwrap_or(line.len()));
        if value.starts_with(b": ") {
            let _ = value.split_to(2);
        } else if !value.is_empty() {
            let _ = value.split_to(1);
        }
        match line.as_ref() {
            b"data" => {
                self.hold(value.len() + 1)?;
                self.event.data.add(value);
            }
            b"event" => {
                self.hold(value.len())?;
                self.event.name = Some(value);
            }
            b"id" if memchr::memchr(0, &value).is_none() => {
                self.hold(value.len())?;
                self.event.id = Some(value);
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let number = std::str::from_utf8(&value)
                    .ok()
                    .and_then(|digits| digits.parse().ok());
                self.event.retry = number.or(self.event.retry);
            }
            _ => {}
        }
        Ok(None)
    }

    /// Counts bytes the event keeps.
    fn hold(&mut self, bytes: usize) -> Result<(), SseFault> {
        self.event.bytes += bytes;
        if self.fits(self.event.bytes) {
            Ok(())
        } else {
            Err(self.too_large())
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        bytes <= self.event_bytes_max
    }

    fn too_large(&self) -> SseFault {
        SseFault::TooLarge {
            event_bytes_max: self.event_bytes_max,
        }
    }
}

impl Building {
    fn finish(self) -> Option<Event> {
        let Self {
            name,
            data,
            id,
            retry,
            ..
        } = self;
        if matches!(data, Data::None) && id.is_none() && retry.is_none() {
            return None;
        }
        let data = match data {
            Data::None => Bytes::new(),
            Data::One(line) => line,
            Data::Many(lines) => lines.freeze(),
        };
        Some(Event {
            name,
            data,
            id,
            retry,
        })
    }
}

impl Data {
    fn add(&mut self, line: Bytes) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(line),
            Self::One(first) => Self::Many(joined(BytesMut::from(first), &line)),
            Self::Many(lines) => Self::Many(joined(lines, &line)),
        };
    }
}

fn joined(mut lines: BytesMut, line: &[u8]) -> BytesMut {
    lines.extend_from_slice(b"\n");
    lines.extend_from_slice(line);
    lines
}

/// Appends one event. Line breaks in `data` (LF, CRLF, CR) become several `data` lines, which a reader joins by LF
/// again; JSON has none inside its strings, so it survives as it is. A name or id that holds a line break (or, an
/// id, NUL) cannot be sent and is left out rather than let it add fields of its own.
pub fn write_event(out: &mut Vec<u8>, name: Option<&str>, id: Option<&[u8]>, data: &[u8]) {
    if let Some(name) = name.filter(|name| !name.contains(['\n', '\r'])) {
        write_field(out, b"event", name.as_bytes());
    }
    if let Some(id) = id.filter(|id| !id.iter().any(|b| matches!(b, b'\n' | b'\r' | 0))) {
        write_field(out, b"id", id);
    }
    let mut rest = data;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        write_field(out, b"data", &rest[..at]);
        let end = if rest[at..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[at + end..];
    }
    write_field(out, b"data", rest);
    out.push(b'\n');
}

/// Appends a block that tells the client when to reconnect.
pub fn write_retry(out: &mut Vec<u8>, milliseconds: u64) {
    write_field(out, b"retry", milliseconds.to_string().as_bytes());
    out.push(b'\n');
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
