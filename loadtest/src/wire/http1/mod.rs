//! HTTP/1.1 as a client speaks it (RFC 9112): one call at a time on one connection.
//!
//! A call is one write (head and body together) and, when the answer is small, one read. Heads and chunks are read
//! by `ringway-proto`; bodies are slices of the read buffer. What a small call allocates in steady state: the list
//! of the answer's header fields, and nothing else.
//!
//! A connection that was left in the middle of an exchange, by a fault or by choice, is closed at once: that is what
//! the peer sees of a client that walks away.

mod body;

pub(super) use body::Body;

use super::{
    fault::{Fault, Halt},
    message::{Answer, Content, Method, Request, write_field},
    stream::Stream,
    watch::{Alarm, Watch},
};
use bytes::{BufMut as _, BytesMut};
use ringway_proto::http1::{HeadError, HeadLimits, ResponseHead, parse_response};
use std::{
    io::{self, IoSlice, Write as _},
    pin::{Pin, pin},
    time::Instant,
};
use tokio::io::{AsyncReadExt as _, AsyncWrite};

/// Room for one read at least: a small answer with its head, so that an idle connection holds little.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Room for one read at most: what a socket hands over in one go.
const READ_BYTES_MAX: usize = 256 * 1024;
/// A body up to this is copied behind its head; a larger one is written from where it is.
const COPY_BYTES_MAX: usize = 16 * 1024;
/// Interim answers (1xx) before the real one. Nobody sends more than two.
const INTERIM_MAX: usize = 8;
/// Capacity kept for the next call's head and body.
const OUT_BYTES_KEPT: usize = 32 * 1024;

/// One connection.
pub(super) struct Http1 {
    /// None once the connection is of no further use.
    stream: Option<Stream>,
    read: BytesMut,
    out: Vec<u8>,
    alarm: Alarm,
    /// An exchange is under way, or was left in the middle.
    busy: bool,
    /// Answers completed here.
    served: u64,
    /// Bytes read in this exchange.
    bytes_in: u64,
    /// When the last read returned.
    read_at: Instant,
}

impl Http1 {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream: Some(stream),
            read: BytesMut::new(),
            out: Vec::new(),
            alarm: Alarm::default(),
            busy: false,
            served: 0,
            bytes_in: 0,
            read_at: Instant::now(),
        }
    }

    /// Whether the next call can go here.
    pub(super) fn is_reusable(&self) -> bool {
        self.stream.is_some() && !self.busy
    }

    /// Bytes read in this exchange.
    pub(super) fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// When the last read returned.
    pub(super) fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Closes; a peer that is still sending learns it by a reset.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.read = BytesMut::new();
    }

    /// Sends a request and reads the head of its answer into `answer`, whose times and bytes are kept up to date
    /// even where this fails.
    pub(super) async fn begin(
        &mut self,
        request: &Request<'_>,
        answer: &mut Answer,
        watch: &mut Watch,
    ) -> Result<Body, Halt> {
        if std::mem::replace(&mut self.busy, true) {
            self.close();
        }
        self.bytes_in = 0;
        let begun = self.begin_or_fail(request, answer, watch).await;
        answer.bytes_in = self.bytes_in;
        match begun {
            Ok(body) => Ok(body),
            Err(halt) => {
                self.close();
                Err(self.with_staleness(halt))
            }
        }
    }

    /// A connection that served before and then ended without a byte of this answer was given up while idle.
    fn with_staleness(&self, halt: Halt) -> Halt {
        use super::FaultKind::{Closed, Reset};
        match halt {
            Halt::Fault(fault)
                if self.served > 0 && self.bytes_in == 0 && matches!(fault.kind, Closed | Reset) =>
            {
                fault.stale().into()
            }
            other => other,
        }
    }

    async fn begin_or_fail(
        &mut self,
        request: &Request<'_>,
        answer: &mut Answer,
        watch: &mut Watch,
    ) -> Result<Body, Halt> {
        let Some(stream) = &mut self.stream else {
            return Err(Fault::closed("the connection was closed before this call").into());
        };
        if !self.read.is_empty() || stream.is_stale() {
            return Err(Fault::closed("the peer gave the connection up between two calls").into());
        }
        let sent = self.send(request, answer, watch).await;
        if let Err(Halt::Fault(fault)) = sent {
            // A server may refuse a body before it has read all of it; its answer is worth more than our fault.
            return match self.head(watch).await {
                Ok(head) => Ok(self.take(head, answer)),
                Err(_) => Err(fault.into()),
            };
        }
        sent?;
        let head = self.head(watch).await?;
        Ok(self.take(head, answer))
    }

    /// Writes the request; `answer.written` is when its first byte was.
    async fn send(&mut self, request: &Request<'_>, answer: &mut Answer, watch: &Watch) -> Result<(), Halt> {
        let copied = request.body.len() <= COPY_BYTES_MAX;
        self.out.clear();
        render(request, copied, &mut self.out);
        let apart: &[u8] = if copied { &[] } else { &request.body };
        answer.bytes_out = (self.out.len() + apart.len()) as u64;
        answer.written = Instant::now();
        let Some(stream) = &mut self.stream else {
            return Err(Fault::closed("the connection was closed before this call").into());
        };
        let sent = watch
            .guard(&mut self.alarm, write_both(stream, &self.out, apart))
            .await?
            .map_err(|error| Fault::of_io("sending the request", &error));
        if self.out.capacity() > OUT_BYTES_KEPT {
            self.out = Vec::new();
        }
        Ok(sent?)
    }

    /// Reads the answer's head, past interim ones.
    async fn head(&mut self, watch: &mut Watch) -> Result<ResponseHead, Halt> {
        let mut interim = 0;
        loop {
            match parse_response(&mut self.read, false, HeadLimits::default()) {
                Ok(Some(head)) if head.status == 101 => {
                    return Err(Fault::protocol("101 Switching Protocols, which nobody asked for").into());
                }
                Ok(Some(head)) if head.status < 200 => {
                    interim += 1;
                    if interim > INTERIM_MAX {
                        return Err(Fault::protocol("more interim answers (1xx) than anyone sends").into());
                    }
                }
                Ok(Some(head)) => return Ok(head),
                Ok(None) => {
                    if self.fill(watch, 0).await? == 0 {
                        return Err(Fault::closed(match self.bytes_in {
                            0 => "the peer closed the connection without an answer",
                            _ => "the peer closed the connection inside the answer's head",
                        })
                        .into());
                    }
                }
                Err(HeadError::Malformed(why)) => {
                    return Err(Fault::protocol(format!("answer's head: {why}")).into());
                }
                Err(HeadError::TooLarge) => {
                    return Err(Fault::protocol("answer's head is larger than we take").into());
                }
            }
        }
    }

    /// What the head says, into the answer.
    fn take(&mut self, head: ResponseHead, answer: &mut Answer) -> Body {
        answer.status = head.status;
        answer.content = Content::of(head.headers.get("content-type").map(AsRef::as_ref));
        answer.session_id = head.headers.get_bytes("mcp-session-id");
        answer.last = self.read_at;
        Body::new(head.framing, head.keep_alive)
    }

    /// Reads more, expecting about `wanted` bytes; 0 at the stream's end.
    async fn fill(&mut self, watch: &mut Watch, wanted: usize) -> Result<usize, Halt> {
        let limit = watch.allowance(&mut self.alarm).await?;
        let Some(stream) = &mut self.stream else {
            return Ok(0);
        };
        // A buffer that was filled to the brim will be again: grow with what comes.
        let room = wanted.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        if self.read.capacity() - self.read.len() < room.min(limit) {
            self.read.reserve(room);
        }
        let mut into = (&mut self.read).limit(limit);
        let read = watch.guard(&mut self.alarm, stream.read_buf(&mut into)).await?;
        self.read_at = Instant::now();
        let count = read.map_err(|error| Fault::of_io("reading the answer", &error))?;
        self.bytes_in += count as u64;
        watch.took(count);
        Ok(count)
    }

    /// The answer is complete.
    fn done(&mut self, keep: bool) {
        self.served += 1;
        self.busy = false;
        if !keep {
            self.close();
        }
    }
}

/// Start line, fields, the body's length, and the body where it is copied.
fn render(request: &Request<'_>, with_body: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&request.head.rendered);
    for (name, value) in request.extra {
        write_field(out, name, value);
    }
    let length = request.body.len();
    if length > 0 || request.head.method == Method::Post {
        // Writing into a Vec cannot fail.
        let _ = write!(out, "content-length: {length}\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if with_body {
        out.extend_from_slice(&request.body);
    }
}

/// Writes two buffers as one where the stream can.
async fn write_both(stream: &mut Stream, mut head: &[u8], mut body: &[u8]) -> io::Result<()> {
    let mut stream = pin!(stream);
    while !(head.is_empty() && body.is_empty()) {
        let count = std::future::poll_fn(|cx| {
            let stream: Pin<&mut Stream> = Pin::new(&mut **stream);
            match (head.is_empty(), body.is_empty()) {
                (_, true) => stream.poll_write(cx, head),
                (true, _) => stream.poll_write(cx, body),
                _ => stream.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)]),
            }
        })
        .await?;
        if count == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let of_head = count.min(head.len());
        head = &head[of_head..];
        body = &body[count - of_head..];
    }
    // TLS keeps records that the socket did not take.
    std::future::poll_fn(|cx| Pin::new(&mut **stream).poll_flush(cx)).await
}
