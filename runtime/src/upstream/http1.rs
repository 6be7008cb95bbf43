//! One request and its response on an HTTP/1.1 connection.
//!
//! ```text
//! idle ──write──► sent ──head──► body ──end──► idle
//!                  │ any fault, bytes behind the end, `connection: close`, or a dropped future
//!                  └──────────────────────────► closed
//! ```
//!
//! A connection is owned by whatever is using it, never shared, so being dropped *is* being closed. It goes back
//! to its pool only from the one state in which both sides agree where the next response begins.

use super::{
    Again, Failed, Response, ResponseBody,
    clock::{Clock, End},
    endpoint::Endpoint,
    fault::{Fault, FaultKind},
    pool::Slot,
    request::Request,
};
use crate::io::{self, Stream};
use bytes::{Bytes, BytesMut};
use ringway_core::limits::{INFORMATIONAL_MAX, UPSTREAM_COALESCE_BYTES, UPSTREAM_READ_BYTES, UpstreamLimits};
use ringway_proto::{
    chunked::{Chunk, Decoder},
    http::{Headers, Method},
    http1::{
        Framing, HeadError, HeadLimits, ResponseFraming, ResponseHead, parse_response, write_request_head,
    },
};
use std::{
    future::Future,
    io::{ErrorKind, Result as IoResult},
    pin::Pin,
    time::{Duration, Instant},
};

/// An open connection.
pub(super) struct Connection {
    stream: Stream,
    /// Received and not yet read as anything. Empty whenever the connection is idle.
    buf: BytesMut,
    slot: Slot,
    idle_limit: Duration,
}

/// Sends `request` and awaits the response head. Dropping this, or the body it gives, closes the connection.
pub(super) async fn exchange(
    mut connection: Connection,
    reused: bool,
    endpoint: &Endpoint,
    request: &Request,
    clock: &Clock,
    limits: &UpstreamLimits,
) -> Result<Response, Failed> {
    let early = match connection.write(endpoint, request, clock).await {
        Ok(()) => None,
        Err(Unwritten::Fault(fault)) => return Err(fault.into()),
        Err(Unwritten::Nothing(error)) => {
            let fault = Fault::unsent(FaultKind::Reset, format!("before the request: {error}"));
            // A connection that was just opened says that the server is in trouble; an old one only that it
            // was closed meanwhile.
            return Err(match reused {
                true => Failed {
                    fault,
                    again: Again::Afresh(connection.into_slot()),
                },
                false => fault.into(),
            });
        }
        // A server may refuse a long body and close while we write; its answer can already be here.
        Err(Unwritten::Partly(fault)) => Some(fault),
    };
    let end = clock.end(clock.header, FaultKind::HeaderTimeout);
    let head_limits = HeadLimits {
        head_bytes_max: limits.head_bytes_max,
        fields_max: limits.head_fields_max,
    };
    let was_head = request.method == Method::Head;
    let reading = end.bound(connection.read_head(was_head, head_limits)).await;
    let head = match (reading, early.is_some()) {
        (Ok(Ok(head)), _) => head,
        (Ok(Err(fault)), false) => return Err(fault.into()),
        (Err(kind), false) => return Err(End::fault(kind, true, "response head").into()),
        (_, true) => {
            let broken = Fault::sent(FaultKind::Reset, "the request could not be written whole");
            return Err(early.unwrap_or(broken).into());
        }
    };
    connection.obey_keep_alive(&head.headers, limits);
    let reusable = head.keep_alive && early.is_none() && !connection.idle_limit.is_zero();
    Ok(respond(connection, head, reusable, clock))
}

fn respond(connection: Connection, head: ResponseHead, reusable: bool, clock: &Clock) -> Response {
    let (rest, length) = match head.framing {
        ResponseFraming::None | ResponseFraming::Length(0) => (Rest::Length(0), Some(0)),
        ResponseFraming::Length(n) => (Rest::Length(n), Some(n)),
        ResponseFraming::Chunked => (Rest::Chunked(Decoder::new()), None),
        ResponseFraming::UntilClose => (Rest::UntilClose, None),
    };
    let mut body = Http1Body {
        state: State::Ready(connection),
        rest,
        length,
        ahead: None,
        reusable,
        clock: *clock,
        waiting_since: None,
    };
    let body = match body.rest {
        Rest::Length(0) => {
            body.finish();
            ResponseBody::empty()
        }
        _ => ResponseBody::http1(body),
    };
    Response {
        status: head.status,
        headers: head.headers,
        body,
    }
}

/// Why a request did not leave whole.
enum Unwritten {
    /// The kernel took no byte.
    Nothing(std::io::Error),
    /// Some bytes are out; there may be an answer.
    Partly(Fault),
    /// There is no use in going on.
    Fault(Fault),
}

impl Connection {
    pub(super) fn new(stream: Stream, slot: Slot, limits: &UpstreamLimits) -> Self {
        Self {
            stream,
            buf: BytesMut::new(),
            slot,
            idle_limit: own_idle_limit(limits),
        }
    }

    /// How long it may be idle.
    pub(super) fn idle_limit(&self) -> Duration {
        self.idle_limit
    }

    /// Whether the peer has neither closed it nor said anything unasked. One system call.
    pub(super) fn is_quiet(&self) -> bool {
        self.buf.is_empty() && self.stream.is_quiet()
    }

    /// Closes it, keeping its place in the pool.
    fn into_slot(self) -> Slot {
        let mut slot = self.slot;
        slot.redial();
        slot
    }

    async fn write(
        &mut self,
        endpoint: &Endpoint,
        request: &Request,
        clock: &Clock,
    ) -> Result<(), Unwritten> {
        let body = &request.body;
        let framing = request
            .length()
            .map_or(Framing::None, |n| Framing::Length(n as u64));
        let coalesced = if body.len() <= UPSTREAM_COALESCE_BYTES {
            body.len()
        } else {
            0
        };
        let mut first = Vec::with_capacity(HEAD_ROOM_BYTES + coalesced);
        let (target, authority) = (&request.target, endpoint.authority());
        write_request_head(
            &mut first,
            request.method,
            target,
            authority,
            &request.headers,
            framing,
        )
        .map_err(|e| Unwritten::Fault(Fault::unsent(FaultKind::Protocol, e.to_string())))?;
        first.extend_from_slice(&body[..coalesced]);
        let before = self.stream.bytes_accepted();
        let writing = async {
            self.stream.write_all_within(first.into(), clock.idle).await?;
            self.stream
                .write_all_within(body.slice(coalesced..), clock.idle)
                .await
        };
        let written = match clock.total {
            Some(at) => io::timeout_at(at, writing).await,
            None => Ok(writing.await),
        };
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == ErrorKind::TimedOut => Err(Unwritten::Fault(End::fault(
                FaultKind::IdleTimeout,
                true,
                "room for the request",
            ))),
            Ok(Err(error)) if self.stream.bytes_accepted() == before => Err(Unwritten::Nothing(error)),
            Ok(Err(error)) => Err(Unwritten::Partly(Fault::broken("writing the request", &error))),
            Err(_) => Err(Unwritten::Fault(End::fault(
                FaultKind::TotalTimeout,
                true,
                "room for the request",
            ))),
        }
    }

    /// The final head: interim ones are skipped, up to a bound.
    async fn read_head(&mut self, was_head: bool, limits: HeadLimits) -> Result<ResponseHead, Fault> {
        let mut interim = 0;
        // A head that comes byte by byte is parsed once a line, not once a byte; the first bytes always, so
        // that what is not HTTP is known at once.
        let mut parsed_to = 0;
        loop {
            if parsed_to == 0
                || self.buf[parsed_to..].contains(&b'\n')
                || self.buf.len() > limits.head_bytes_max
            {
                match parse_response(&mut self.buf, was_head, limits) {
                    Ok(Some(head)) if head.status == 101 => {
                        return Err(Fault::sent(
                            FaultKind::Protocol,
                            "the server switched protocols unasked",
                        ));
                    }
                    Ok(Some(head)) if head.status < 200 => {
                        interim += 1;
                        parsed_to = 0;
                        if interim > INFORMATIONAL_MAX {
                            return Err(Fault::sent(FaultKind::Protocol, "too many interim responses"));
                        }
                        continue;
                    }
                    Ok(Some(head)) => return Ok(head),
                    Ok(None) => parsed_to = self.buf.len(),
                    Err(HeadError::TooLarge) => {
                        return Err(Fault::sent(FaultKind::TooLarge, "the response head is too large"));
                    }
                    Err(error) => return Err(Fault::sent(FaultKind::Protocol, error.to_string())),
                }
            }
            match self.read().await {
                Ok(0) if self.buf.is_empty() => {
                    return Err(Fault::sent(FaultKind::Reset, "closed without an answer"));
                }
                Ok(0) => {
                    return Err(Fault::sent(
                        FaultKind::Reset,
                        "closed in the middle of the response head",
                    ));
                }
                Ok(_) => {}
                Err(error) => return Err(Fault::broken("reading the response head", &error)),
            }
        }
    }

    async fn read(&mut self) -> IoResult<usize> {
        let mut buf = std::mem::take(&mut self.buf);
        if buf.capacity() - buf.len() < UPSTREAM_READ_BYTES / 4 {
            buf.reserve(UPSTREAM_READ_BYTES);
        }
        let (result, buf) = self.stream.read_append(buf).await;
        self.buf = buf;
        result
    }

    /// `Keep-Alive: timeout=5` (RFC 2068 §19.7.1.1; Node and others send it): the server closes after that
    /// time, and a request that crosses the close on the wire is lost. We are done a second before.
    fn obey_keep_alive(&mut self, headers: &Headers, limits: &UpstreamLimits) {
        self.idle_limit = own_idle_limit(limits);
        for parameter in headers
            .get_all("keep-alive")
            .flat_map(|v| v.split(|b| *b == b','))
        {
            let parameter = parameter.trim_ascii();
            let Some((name, value)) = parameter.split_at_checked(b"timeout=".len()) else {
                continue;
            };
            if !name.eq_ignore_ascii_case(b"timeout=") {
                continue;
            }
            if let Some(seconds) = std::str::from_utf8(value)
                .ok()
                .and_then(|v| v.parse::<u32>().ok())
            {
                let theirs = Duration::from_secs(u64::from(seconds)).saturating_sub(KEEP_ALIVE_MARGIN);
                self.idle_limit = self.idle_limit.min(theirs);
            }
        }
    }
}

/// Room for a usual request head: a token, a session id and the MCP fields.
const HEAD_ROOM_BYTES: usize = 1_024;
/// How much earlier than the server we give an idle connection up: a slow network's round trip.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

fn own_idle_limit(limits: &UpstreamLimits) -> Duration {
    Duration::from_millis(u64::from(limits.idle_ms))
}

/// The rest of a response on a connection.
pub(super) struct Http1Body {
    state: State,
    rest: Rest,
    length: Option<u64>,
    /// What looking for the body's end found instead of it.
    ahead: Option<Result<Bytes, Fault>>,
    /// Whether the connection may serve again if the body ends as it should.
    reusable: bool,
    clock: Clock,
    /// When the wait for the next bytes began; a caller may give up waiting and come back.
    waiting_since: Option<Instant>,
}

enum State {
    Ready(Connection),
    /// A read under way owns the connection, so that giving up waiting for a chunk does not give up the read.
    Reading(Pin<Box<dyn Future<Output = (Connection, IoResult<usize>)>>>),
    Done,
}

/// What is still to come.
enum Rest {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
}

/// A step of [`Rest::take`].
enum Piece {
    Data(Bytes),
    More,
    End,
}

impl Rest {
    /// Takes what is there of the body off the front of `buf`.
    fn take(&mut self, buf: &mut BytesMut) -> Result<Piece, Fault> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Length(_) | Self::UntilClose if buf.is_empty() => Ok(Piece::More),
            Self::UntilClose => Ok(Piece::Data(buf.split().freeze())),
            Self::Length(left) => {
                let here = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
                *left -= here as u64;
                Ok(Piece::Data(buf.split_to(here).freeze()))
            }
            Self::Chunked(decoder) => match decoder.decode(buf) {
                Ok(Chunk::Data(data)) => Ok(Piece::Data(data)),
                Ok(Chunk::More) => Ok(Piece::More),
                Ok(Chunk::End) => Ok(Piece::End),
                Err(error) => Err(Fault::sent(FaultKind::Protocol, error.to_string())),
            },
        }
    }
}

impl Http1Body {
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether nothing is left to pull.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done) && self.ahead.is_none()
    }

    /// The next piece. May be dropped while it waits and called again.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, Fault>> {
        loop {
            match self.ahead.take() {
                Some(Ok(data)) => {
                    self.look_ahead();
                    return Some(Ok(data));
                }
                Some(Err(fault)) => return self.fail(fault),
                None => {}
            }
            match &mut self.state {
                State::Done => return None,
                State::Ready(connection) => match self.rest.take(&mut connection.buf) {
                    Ok(Piece::Data(data)) => {
                        self.look_ahead();
                        return Some(Ok(data));
                    }
                    Ok(Piece::End) => {
                        self.finish();
                        return None;
                    }
                    Ok(Piece::More) => self.begin_read(),
                    Err(fault) => return self.fail(fault),
                },
                State::Reading(reading) => {
                    let since = *self.waiting_since.get_or_insert_with(Instant::now);
                    let end = self
                        .clock
                        .end_from(since, self.clock.idle, FaultKind::IdleTimeout);
                    let read = end.bound(reading.as_mut()).await;
                    self.waiting_since = None;
                    match read {
                        Err(kind) => return self.fail(End::fault(kind, true, "piece of the body")),
                        Ok((connection, Ok(n))) if n > 0 => self.state = State::Ready(connection),
                        Ok((_, Ok(_))) if matches!(self.rest, Rest::UntilClose) => {
                            self.state = State::Done;
                            return None;
                        }
                        Ok((_, Ok(_))) => {
                            let cut = Fault::sent(FaultKind::Reset, "closed in the middle of the body");
                            return self.fail(cut);
                        }
                        Ok((_, Err(error))) => return self.fail(Fault::broken("reading the body", &error)),
                    }
                }
            }
        }
    }

    /// Notices an end that came with the last data, so that the connection is free as soon as the caller has
    /// all of the body, asked or not.
    fn look_ahead(&mut self) {
        let State::Ready(connection) = &mut self.state else {
            return;
        };
        if matches!(self.rest, Rest::UntilClose) {
            return;
        }
        match self.rest.take(&mut connection.buf) {
            Ok(Piece::End) => self.finish(),
            Ok(Piece::Data(data)) => self.ahead = Some(Ok(data)),
            Ok(Piece::More) => {}
            Err(fault) => self.ahead = Some(Err(fault)),
        }
    }

    fn begin_read(&mut self) {
        if let State::Ready(mut connection) = std::mem::replace(&mut self.state, State::Done) {
            self.state = State::Reading(Box::pin(async move {
                let result = connection.read().await;
                (connection, result)
            }));
        }
    }

    fn fail(&mut self, fault: Fault) -> Option<Result<Bytes, Fault>> {
        self.state = State::Done;
        Some(Err(fault))
    }

    /// The body is complete: the connection goes back, unless something stands behind the body.
    fn finish(&mut self) {
        let State::Ready(connection) = std::mem::replace(&mut self.state, State::Done) else {
            return;
        };
        if self.reusable
            && connection.buf.is_empty()
            && let Some(pool) = connection.slot.pool()
        {
            let mut connection = connection;
            // An idle connection holds no memory.
            connection.buf = BytesMut::new();
            pool.put_idle(connection);
        }
    }
}
