//! Server-sent events out of a response body (HTML Living Standard §9.2), as MCP servers really send them.
//!
//! Seen in the field, and all good: CRLF line ends, no `event:` line, `data:` before `id:`, a first event with an
//! id and empty data ("priming", 2025-11-25), `retry:` alone, comment lines as keep-alive, a BOM. A last event
//! without its empty line is not an event: the stream was cut.

use super::failure::Failure;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use ringway_sandbox::http_client::ClientError;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// One event or line may be this long: the largest tool list seen is 2 MB, a tool result with a picture some more.
const EVENT_BYTES_MAX: usize = 16 << 20;
/// A server may ask us to wait before we come back, but not for longer than this.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A body being read event by event.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    lines: Lines,
    /// The id of the last event that had one, for `Last-Event-ID`.
    pub last_id: Option<String>,
    /// How long the server asks us to wait before reconnecting.
    pub retry: Option<Duration>,
}

impl EventStream {
    /// Reads the events of `body`.
    pub fn new(body: Incoming) -> Self {
        Self {
            body,
            lines: Lines::default(),
            last_id: None,
            retry: None,
        }
    }

    /// The data of the next event that has any; `None` when the stream has ended. `until` bounds the wait.
    pub async fn next(&mut self, until: Option<Instant>) -> Result<Option<Bytes>, Failure> {
        loop {
            while let Some(event) = self.lines.event()? {
                if let Some(id) = event.id {
                    self.last_id = (!id.is_empty()).then_some(id);
                }
                if let Some(ms) = event.retry_ms {
                    self.retry = Some(Duration::from_millis(ms).min(RETRY_MAX));
                }
                if !event.data.is_empty() {
                    return Ok(Some(event.data.into()));
                }
            }
            let frame = match until {
                None => self.body.frame().await,
                Some(at) => match timeout_at(at, self.body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => return Err(Failure::Protocol("its event stream fell silent".to_owned())),
                },
            };
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        self.lines.push(&piece)?;
                    }
                }
                Some(Err(error)) => {
                    return Err(Failure::Transport(ClientError::Body {
                        reason: error.to_string(),
                    }));
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Event {
    data: Vec<u8>,
    id: Option<String>,
    retry_ms: Option<u64>,
}

/// The bytes not yet read as events.
#[derive(Debug, Default)]
struct Lines {
    buffer: BytesMut,
    /// Bytes already searched for a line end, so that a long line is not searched twice.
    searched: usize,
    started: bool,
    open: Event,
}

impl Lines {
    fn push(&mut self, piece: &[u8]) -> Result<(), Failure> {
        if self.buffer.len() + self.open.data.len() + piece.len() > EVENT_BYTES_MAX {
            return Err(Failure::Protocol(format!(
                "an event is larger than {EVENT_BYTES_MAX} bytes"
            )));
        }
        self.buffer.extend_from_slice(piece);
        Ok(())
    }

    /// The next whole event, if its empty line has arrived.
    fn event(&mut self) -> Result<Option<Event>, Failure> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                let mut event = std::mem::take(&mut self.open);
                if event.data.last() == Some(&b'\n') {
                    event.data.pop();
                }
                return Ok(Some(event));
            }
            let (name, value) = match line.iter().position(|b| *b == b':') {
                Some(at) => (&line[..at], &line[at + 1..]),
                None => (&line[..], &[][..]),
            };
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match name {
                b"data" => {
                    self.open.data.extend_from_slice(value);
                    self.open.data.push(b'\n');
                }
                // An id with NUL is ignored by the standard; one that is no header value cannot be sent back.
                b"id" => {
                    self.open.id = std::str::from_utf8(value)
                        .ok()
                        .filter(|id| !id.contains(char::is_control))
                        .map(str::to_owned);
                }
                b"retry" => {
                    self.open.retry_ms = std::str::from_utf8(value).ok().and_then(|ms| ms.parse().ok());
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// One line without its end: LF, CRLF or CR.
    fn line(&mut self) -> Option<Bytes> {
        if !self.started {
            if self.buffer.len() < 3 && b"\xEF\xBB\xBF".starts_with(&self.buffer) {
                return None;
            }
            if self.buffer.starts_with(b"\xEF\xBB\xBF") {
                self.buffer.advance(3);
            }
            self.started = true;
        }
        let found = self.buffer[self.searched..]
            .iter()
            .position(|b| matches!(b, b'\n' | b'\r'));
        let Some(at) = found.map(|at| at + self.searched) else {
            self.searched = self.buffer.len();
            return None;
        };
        // A CR at the very end may be half of a CRLF.
        let end = match (self.buffer[at], self.buffer.get(at + 1)) {
            (b'\r', None) => {
                self.searched = at;
                return None;
            }
            (b'\r', Some(b'\n')) => 2,
            _ => 1,
        };
        let line = self.buffer.split_to(at).freeze();
        self.buffer.advance(end);
        self.searched = 0;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text in pieces of every size and returns what the pieces agree on.
    fn events(text: &str) -> Vec<(String, Option<String>, Option<u64>)> {
        let read = |size: usize| {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                lines.push(piece).unwrap();
                while let Some(event) = lines.event().unwrap() {
                    seen.push((String::from_utf8(event.data).unwrap(), event.id, event.retry_ms));
                }
            }
            seen
        };
        let whole = read(text.len().max(1));
        for size in 1..text.len() {
            assert_eq!(read(size), whole, "in pieces of {size}");
        }
        whole
    }

    fn data(text: &str) -> Vec<String> {
        events(text)
            .into_iter()
            .map(|(data, ..)| data)
            .filter(|d| !d.is_empty())
            .collect()
    }

    #[test]
    fn crlf_lf_and_no_event_line_read_alike() {
        assert_eq!(data("event: message\r\ndata: {\"a\":1}\r\n\r\n"), [r#"{"a":1}"#]);
        assert_eq!(data("data: {\"a\":1}\nid: 0/0\n\n"), [r#"{"a":1}"#]);
        assert_eq!(data("\u{FEFF}data:{\"a\":1}\n\n"), [r#"{"a":1}"#]);
    }

    #[test]
    fn a_priming_event_gives_its_id_and_no_message() {
        let seen = events("id: a::1\nretry: 300\ndata: \n\ndata: x\nid: a::2\n\n");
        assert_eq!(seen[0], (String::new(), Some("a::1".to_owned()), Some(300)));
        assert_eq!(seen[1], ("x".to_owned(), Some("a::2".to_owned()), None));
    }

    #[test]
    fn comments_and_unknown_fields_are_passed_over() {
        assert_eq!(data(": keep-alive\n\n:\nfoo: bar\ndata: x\n\n"), ["x"]);
    }

    #[test]
    fn several_data_lines_are_one_text() {
        assert_eq!(data("data: {\ndata: }\n\n"), ["{\n}"]);
    }

    #[test]
    fn an_event_without_its_empty_line_was_cut_and_does_not_count() {
        assert!(data("data: {\"half\":").is_empty());
        assert!(data("data: whole\n").is_empty());
    }

    #[test]
    fn an_endless_line_is_refused_rather_than_kept() {
        let mut lines = Lines::default();
        lines.push(b"data: ").unwrap();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..20).any(|_| lines.push(&piece).is_err()));
    }
}
