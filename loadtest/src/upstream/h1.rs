//! HTTP/1.1 connections.
//!
//! The way of a small call: one read brings the request, the answer is put together in the output buffer, one write
//! sends it. Requests that came together are answered together. Whatever needs more than that (a wait, a fault, a
//! stream) goes through [`flows`](super::flows), in a box, so that an idle connection stays small.

use super::{
    flows::{self, After, COPY_BYTES_MAX, Content, Head, Out},
    head::{self, Framing},
    io::Io,
    protocol::{Plan, Reply, respond},
    server::Shard,
    sessions::SessionId,
    stats::Counter,
};
use bytes::{Bytes, BytesMut};
use ringway_proto::{
    chunked::{CHUNK_END, Chunk, Decoder, LAST_CHUNK, chunk_head},
    http1::reason_phrase,
};
use std::io::{self, IoSlice, Write as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Read at once: holds the usual request several times.
const READ_BYTES: usize = 8 << 10;
/// Answers put together before they are written.
const OUT_BYTES_MAX: usize = 64 << 10;
/// Largest request body.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Bytes of further requests taken while one is being answered, to see whether the client is still there.
const AHEAD_BYTES_MAX: usize = 64 << 10;

/// Serves a connection until it ends; `buf` is what was read of it already.
pub async fn serve(shard: &Shard, mut io: Io, buf: Vec<u8>) -> io::Result<()> {
    let mut own = Connection {
        buf,
        start: 0,
        out: Vec::new(),
    };
    loop {
        match own.step(shard, &mut io).await? {
            After::Keep => {}
            After::Reset => {
                io.reset_on_drop();
                return Ok(());
            }
            After::Fin | After::RstStream | After::Goaway | After::Gone => {
                own.flush(&mut io).await?;
                return io.shutdown().await;
            }
        }
    }
}

struct Connection {
    /// What was read; a request begins at `start`.
    buf: Vec<u8>,
    start: usize,
    /// What is to be written.
    out: Vec<u8>,
}

impl Connection {
    /// Answers one request, or reads more of it.
    async fn step(&mut self, shard: &Shard, io: &mut Io) -> io::Result<After> {
        let head = match head::read(&self.buf[self.start..]) {
            Ok(Some(head)) => head,
            Ok(None) => return self.more(io, 0).await,
            Err(why) => {
                shard.counters.add(Counter::Refused);
                let head = Head::new(400, Content::Text, why.len());
                write_head(&mut self.out, &head, false);
                self.out.extend_from_slice(why.as_bytes());
                return Ok(After::Fin);
            }
        };
        let body_start = self.start + head.bytes;
        let (length, expects) = match head.framing {
            Framing::Length(length) if length <= BODY_BYTES_MAX => (length, head.expects_continue),
            Framing::Length(_) => return Ok(After::Fin),
            Framing::Chunked => return self.chunked(shard, io, head.bytes).await,
        };
        let end = body_start + length;
        if self.buf.len() < end {
            if expects && self.buf.len() == body_start {
                self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            return self.whole_body(io, end).await;
        }
        let keep_alive = head.keep_alive;
        let reply = respond(shard, &head.fields, &self.buf[body_start..end]);
        let after = match quick(shard, &reply) {
            true => write_quick(shard, io, &mut self.out, &reply, keep_alive).await?,
            false => None,
        };
        if let Some(after) = after {
            self.start = end;
            return Ok(after);
        }
        // The answers before this one must not wait for it.
        if !self.out.is_empty() {
            io.write_all(&self.out).await?;
            self.out.clear();
        }
        let mut ahead = Vec::new();
        let after = if let Plan::Hold(_) = reply.plan {
            // Its buffers are of no use while it is held.
            let reply = held(reply);
            ahead.extend_from_slice(&self.buf[end..]);
            (self.buf, self.out, self.start) = (Vec::new(), Vec::new(), 0);
            slow(shard, io, &mut ahead, reply, keep_alive).await?
        } else {
            let after = slow(shard, io, &mut ahead, reply, keep_alive).await?;
            self.start = end;
            after
        };
        self.buf.extend_from_slice(&ahead);
        Ok(after)
    }

    /// Writes what is due and reads on. `wanted`: bytes that are known to be missing.
    async fn more(&mut self, io: &mut Io, wanted: usize) -> io::Result<After> {
        self.flush(io).await?;
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        self.buf.reserve(wanted.max(READ_BYTES));
        match io.read_buf(&mut self.buf).await? {
            0 => Ok(After::Fin),
            _ => Ok(After::Keep),
        }
    }

    /// Reads until the buffer reaches to `end`.
    async fn whole_body(&mut self, io: &mut Io, end: usize) -> io::Result<After> {
        let mut missing = end - self.buf.len();
        while missing > 0 {
            let before = self.buf.len() - self.start;
            if self.more(io, missing).await? != After::Keep {
                return Ok(After::Fin);
            }
            missing = missing.saturating_sub(self.buf.len() - before);
        }
        Ok(After::Keep)
    }

    /// A request whose body is chunked: decoded into a buffer of its own.
    async fn chunked(&mut self, shard: &Shard, io: &mut Io, head_bytes: usize) -> io::Result<After> {
        self.flush(io).await?;
        let mut rest = BytesMut::from(&self.buf[self.start..]);
        let head = rest.split_to(head_bytes);
        let mut body = Vec::new();
        let mut decoder = Decoder::new();
        loop {
            match decoder.decode(&mut rest) {
                Ok(Chunk::Data(piece)) => body.extend_from_slice(&piece),
                Ok(Chunk::End) => break,
                Ok(Chunk::More) if body.len() <= BODY_BYTES_MAX => {
                    if io.read_buf(&mut rest).await? == 0 {
                        return Ok(After::Fin);
                    }
                }
                Ok(Chunk::More) | Err(_) => return Ok(After::Fin),
            }
        }
        let Ok(Some(head)) = head::read(&head) else {
            return Ok(After::Fin);
        };
        let reply = respond(shard, &head.fields, &body);
        let mut ahead = rest.to_vec();
        let after = slow(shard, io, &mut ahead, reply, head.keep_alive).await?;
        (self.buf, self.start) = (ahead, 0);
        Ok(after)
    }

    async fn flush(&mut self, io: &mut Io) -> io::Result<()> {
        if !self.out.is_empty() {
            io.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }
}

/// Whether the answer can be written now and at once.
fn quick(shard: &Shard, reply: &Reply<'_>) -> bool {
    reply.fault.is_none() && reply.wait.is_zero() && shard.server.gate.is_open()
}

/// Puts the answer into the output, or writes it if it is large. `None`: it is not that simple.
async fn write_quick(
    shard: &Shard,
    io: &mut Io,
    out: &mut Vec<u8>,
    reply: &Reply<'_>,
    keep_alive: bool,
) -> io::Result<Option<After>> {
    let after = if keep_alive { After::Keep } else { After::Fin };
    let (answer, events) = match &reply.plan {
        Plan::Empty(status) => {
            write_head(out, &Head::new(*status, Content::None, 0), keep_alive);
            return Ok(Some(after));
        }
        Plan::Json(answer) => (answer, false),
        Plan::Event(answer) => (answer, true),
        Plan::Raw(_) | Plan::Progress(_) | Plan::Hold(_) => return Ok(None),
    };
    if reply.is_call {
        shard.counters.add(Counter::CallsAnswered);
    }
    let mut head = match events {
        true => Head::new(answer.status, Content::Events, None),
        false => Head::new(answer.status, Content::Json, answer.bytes()),
    };
    head.session = reply.opened;
    write_head(out, &head, keep_alive);
    if events {
        chunk_head(out, answer.event_bytes());
    }
    let end: &[u8] = if events { b"\r\n0\r\n\r\n" } else { b"" };
    if answer.bytes() <= COPY_BYTES_MAX {
        answer.write(out, events);
        out.extend_from_slice(end);
    } else {
        answer.write_before(out, events);
        let mut last = Vec::new();
        answer.write_after(&mut last, events);
        last.extend_from_slice(end);
        write_slices(
            io,
            &mut [
                IoSlice::new(out),
                IoSlice::new(answer.text.bytes()),
                IoSlice::new(&last),
            ],
        )
        .await?;
        out.clear();
    }
    if out.len() > OUT_BYTES_MAX {
        io.write_all(out).await?;
        out.clear();
    }
    Ok(Some(after))
}

/// A reply that borrows nothing.
fn held(reply: Reply<'_>) -> Reply<'static> {
    let Reply {
        plan,
        opened,
        session,
        wait,
        fault,
        is_call,
    } = reply;
    let plan = match plan {
        Plan::Hold(hold) => Plan::Hold(hold),
        // Only called for the above.
        _ => Plan::Empty(500),
    };
    Reply {
        plan,
        opened,
        session,
        wait,
        fault,
        is_call,
    }
}

async fn slow(
    shard: &Shard,
    io: &mut Io,
    ahead: &mut Vec<u8>,
    reply: Reply<'_>,
    keep_alive: bool,
) -> io::Result<After> {
    let mut out = Writer {
        io,
        ahead,
        pending: Vec::new(),
        chunked: false,
        keep_alive,
    };
    let after = Box::pin(flows::run(shard, &mut out, reply)).await?;
    let Writer { io, pending, .. } = out;
    if !pending.is_empty() && after != After::Reset {
        io.write_all(&pending).await?;
    }
    Ok(if keep_alive || after != After::Keep {
        after
    } else {
        After::Fin
    })
}

/// Writes one answer that needs more than one step.
struct Writer<'c> {
    io: &'c mut Io,
    /// What the client sent meanwhile.
    ahead: &'c mut Vec<u8>,
    /// A head that waits for the first data, so that they go out together.
    pending: Vec<u8>,
    chunked: bool,
    keep_alive: bool,
}

impl Out for Writer<'_> {
    async fn head(&mut self, head: &Head) -> io::Result<()> {
        self.chunked = head.length.is_none();
        write_head(&mut self.pending, head, self.keep_alive);
        Ok(())
    }

    async fn data(&mut self, piece: Bytes) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        if self.chunked {
            chunk_head(&mut self.pending, piece.len());
        }
        let end = if self.chunked { CHUNK_END } else { b"" };
        let mut slices = [
            IoSlice::new(&self.pending),
            IoSlice::new(&piece),
            IoSlice::new(end),
        ];
        write_slices(self.io, &mut slices).await?;
        self.pending.clear();
        Ok(())
    }

    async fn end(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.chunked) {
            self.pending.extend_from_slice(LAST_CHUNK);
        }
        self.io.write_all(&self.pending).await?;
        self.pending.clear();
        Ok(())
    }

    async fn gone(&mut self) {
        loop {
            if self.ahead.len() >= AHEAD_BYTES_MAX {
                return std::future::pending().await;
            }
            self.ahead.reserve(1);
            match self.io.read_buf(self.ahead).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

async fn write_slices(io: &mut Io, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match io.write_vectored(slices).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => IoSlice::advance_slices(&mut slices, n),
        }
    }
    io.flush().await
}

/// Appends a head.
fn write_head(out: &mut Vec<u8>, head: &Head, keep_alive: bool) {
    match head.status {
        200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        status => append(
            out,
            format_args!("HTTP/1.1 {status} {}\r\n", reason_phrase(status)),
        ),
    }
    out.extend_from_slice(match head.content {
        Content::None => b"",
        Content::Json => b"content-type: application/json\r\n".as_slice(),
        Content::Events => {
            b"content-type: text/event-stream\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
        }
        Content::Text => b"content-type: text/plain\r\n",
    });
    if head.status == 405 {
        out.extend_from_slice(b"allow: POST\r\n");
    }
    if let Some(session) = head.session {
        write_session(out, session);
    }
    if let Some(seconds) = head.retry_after_s {
        append(out, format_args!("retry-after: {seconds}\r\n"));
    }
    if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    }
    match head.length {
        Some(length) => {
            out.extend_from_slice(b"content-length: ");
            decimal(out, length);
            out.extend_from_slice(b"\r\n\r\n");
        }
        None => out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
    }
}

fn write_session(out: &mut Vec<u8>, session: SessionId) {
    append(out, format_args!("mcp-session-id: {session}\r\n"));
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    _ = out.write_fmt(text);
}

/// `n` in decimal, without the formatting machinery: every answer has one.
fn decimal(out: &mut Vec<u8>, mut n: usize) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Answers outside a connection, for admin: the same head, written whole.
pub fn whole_answer(status: u16, content: Content, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(&mut out, &Head::new(status, content, body.len()), false);
    out.extend_from_slice(body);
    out
}
