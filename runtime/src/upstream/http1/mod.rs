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

mod body;
mod hold;

pub(super) use body::Http1Body;

use super::{
    Again, Failed, Response,
    clock::{Clock, End},
    endpoint::Endpoint,
    fault::{Fault, FaultKind},
    pool::Slot,
    request::Request,
};
use crate::io::{self, Deadline, Stream};
use bytes::{Bytes, BytesMut};
use ringway_core::limits::{
    INFORMATIONAL_MAX, UPSTREAM_COALESCE_BYTES, UPSTREAM_HEAD_READ_BYTES, UPSTREAM_READ_BYTES,
    UPSTREAM_READ_BYTES_MAX, UpstreamLimits,
};
use ringway_proto::{
    http::{Headers, Method},
    http1::{
        Framing, HeadError, HeadLimits, ResponseFraming, ResponseHead, parse_response, write_request,
        write_request_head,
    },
};
use std::{
    io::{ErrorKind, Result as IoResult},
    time::Duration,
};

/// An open connection. Always boxed: it changes hands several times a call.
pub(super) struct Connection {
    stream: Stream,
    /// Received and not yet read as anything. Empty whenever the connection is idle, but keeps its memory for a
    /// while ([`Connection::release`]).
    buf: BytesMut,
    /// Bytes asked for with the first read of an answer.
    first_room: usize,
    /// Bytes asked for with the next read.
    room: usize,
    /// Memory for the next request.
    out: Vec<u8>,
    slot: Slot,
    idle_limit: Duration,
    /// Of one answer after the other.
    deadline: Deadline,
}

/// Sends `request` and awaits the response head. Dropping this, or the body it gives, closes the connection.
pub(super) async fn exchange(
    mut connection: Box<Connection>,
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
    let mut deadline = std::mem::take(&mut connection.deadline);
    let reading = deadline
        .bound(end.at, connection.read_head(was_head, head_limits))
        .await;
    connection.deadline = deadline;
    let head = match (reading, early.is_some()) {
        (Ok(Ok(head)), _) => head,
        (Ok(Err(fault)), false) => return Err(fault.into()),
        (Err(io::Elapsed), false) => return Err(End::fault(end.kind, true, "response head").into()),
        (_, true) => {
            let broken = Fault::sent(FaultKind::Reset, "the request could not be written whole");
            return Err(early.unwrap_or(broken).into());
        }
    };
    connection.obey_keep_alive(&head.headers, limits);
    let reusable = head.keep_alive && early.is_none() && !connection.idle_limit.is_zero();
    let Some(length) = hold::length(&head, connection.buf.len()) else {
        return Ok(body::respond(connection, head, reusable, clock));
    };
    match hold::begin(connection, head, length, reusable) {
        Ok(response) => Ok(response),
        // Boxed: few answers come so slowly.
        Err(held) => Ok(Box::pin(held.finish(clock)).await?),
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
    pub(super) fn new(stream: Stream, slot: Slot, limits: &UpstreamLimits) -> Box<Self> {
        Box::new(Self {
            stream,
            buf: BytesMut::new(),
            first_room: UPSTREAM_READ_BYTES,
            room: UPSTREAM_READ_BYTES,
            out: Vec::new(),
            slot,
            idle_limit: own_idle_limit(limits),
            deadline: Deadline::default(),
        })
    }

    /// How long it may be idle.
    pub(super) fn idle_limit(&self) -> Duration {
        self.idle_limit
    }

    /// Gives up the memory kept for the next call.
    pub(super) fn release(&mut self) {
        (self.buf, self.out) = (BytesMut::new(), Vec::new());
        (self.first_room, self.room) = (UPSTREAM_READ_BYTES, UPSTREAM_READ_BYTES);
        self.deadline.forget();
        self.stream.release();
    }

    /// Whether the peer has neither closed it nor said anything unasked. One system call.
    pub(super) fn is_quiet(&self) -> bool {
        self.buf.is_empty() && self.stream.is_quiet()
    }

    /// Closes it, keeping its place in the pool.
    fn into_slot(self: Box<Self>) -> Slot {
        let mut slot = self.slot;
        slot.redial();
        slot
    }

    /// Renders the head into this connection's memory, with as much of the body as leaves with it.
    fn render(&mut self, endpoint: &Endpoint, request: &Request) -> Result<(Vec<u8>, usize), Fault> {
        let body = &request.body;
        let framing = request
            .length()
            .map_or(Framing::None, |n| Framing::Length(n as u64));
        let coalesced = if body.len() <= UPSTREAM_COALESCE_BYTES {
            body.len()
        } else {
            0
        };
        let mut first = std::mem::take(&mut self.out);
        first.clear();
        first.reserve(HEAD_ROOM_BYTES + coalesced);
        let headers = &request.headers;
        match &request.prefix {
            Some(prefix) => write_request(&mut first, prefix, headers, framing),
            None => {
                let (target, authority) = (&request.target, endpoint.authority());
                write_request_head(&mut first, request.method, target, authority, headers, framing)
            }
        }
        .map_err(|e| Fault::unsent(FaultKind::Protocol, e.to_string()))?;
        first.extend_from_slice(&body[..coalesced]);
        Ok((first, coalesced))
    }

    async fn write(
        &mut self,
        endpoint: &Endpoint,
        request: &Request,
        clock: &Clock,
    ) -> Result<(), Unwritten> {
        let (first, coalesced) = self.render(endpoint, request).map_err(Unwritten::Fault)?;
        let before = self.stream.bytes_accepted();
        let End { at, kind: late } = clock.write();
        let (written, first) = self.stream.write_vec_within(first, at, clock.idle).await;
        self.out = first;
        let written = match written {
            // Boxed: few requests are so long.
            Ok(()) if coalesced < request.body.len() => {
                Box::pin(self.write_rest(request.body.slice(coalesced..), clock)).await
            }
            other => other.map_err(|error| (error, late)),
        };
        match written {
            Ok(()) => Ok(()),
            Err((error, late)) if error.kind() == ErrorKind::TimedOut => {
                Err(Unwritten::Fault(End::fault(late, true, "room for the request")))
            }
            Err((error, _)) if self.stream.bytes_accepted() == before => Err(Unwritten::Nothing(error)),
            Err((error, _)) => Err(Unwritten::Partly(Fault::broken("writing the request", &error))),
        }
    }

    async fn write_rest(&mut self, rest: Bytes, clock: &Clock) -> Result<(), (std::io::Error, FaultKind)> {
        let writing = self.stream.write_all_within(rest, clock.idle);
        match clock.total {
            Some(at) => match io::timeout_at(at, writing).await {
                Ok(written) => written.map_err(|error| (error, FaultKind::IdleTimeout)),
                Err(io::Elapsed) => Err((ErrorKind::TimedOut.into(), FaultKind::TotalTimeout)),
            },
            None => writing.await.map_err(|error| (error, FaultKind::IdleTimeout)),
        }
    }

    /// The final head: interim ones are skipped, up to a bound.
    async fn read_head(&mut self, was_head: bool, limits: HeadLimits) -> Result<ResponseHead, Fault> {
        let body_room = std::mem::replace(&mut self.room, self.first_room);
        let mut interim = 0;
        // A head that comes byte by byte is parsed once a line, not once a byte; the first bytes always, so
        // that what is not HTTP is known at once.
        let mut parsed_to = 0;
        loop {
            if self.buf.is_empty() {
                // Nothing to look at yet.
            } else if parsed_to == 0
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
                    Ok(Some(head)) => {
                        self.make_room(&head.framing, body_room);
                        return Ok(head);
                    }
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

    /// How much the reads of this body ask for, and the first read of the next answer, which will be like this one.
    fn make_room(&mut self, framing: &ResponseFraming, body_room: usize) {
        let known = match framing {
            ResponseFraming::Length(length) => usize::try_from(*length).ok(),
            _ => None,
        };
        self.room = known.map_or(body_room, |length| {
            length.clamp(UPSTREAM_READ_BYTES, UPSTREAM_READ_BYTES_MAX)
        });
        self.first_room = match known {
            Some(length) if length > UPSTREAM_HEAD_READ_BYTES => UPSTREAM_HEAD_READ_BYTES,
            _ => UPSTREAM_READ_BYTES,
        };
    }

    async fn read(&mut self) -> IoResult<usize> {
        let mut buf = std::mem::take(&mut self.buf);
        // From the front of the last answer's memory, if nobody holds a piece of it any more: it is still in the cache.
        if !buf.try_reclaim(self.room) && buf.capacity() - buf.len() < self.room / 4 {
            if buf.is_empty() && self.room > UPSTREAM_READ_BYTES {
                buf = io::recycled(self.room);
            } else {
                buf.reserve(self.room);
            }
        }
        let room = buf.capacity() - buf.len();
        let (result, buf) = self.stream.read_append(buf).await;
        self.buf = buf;
        if let Ok(n) = result {
            // Doubled while reads come back full, halved while they come back near empty.
            self.room = match n {
                n if n == room && room >= self.room => (2 * self.room).min(UPSTREAM_READ_BYTES_MAX),
                n if n < self.room / 8 => (self.room / 2).max(UPSTREAM_READ_BYTES),
                _ => self.room,
            };
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        io::{Driver, connect_tcp, run},
        side::{SideThread, dns::Resolver},
        upstream::{CredentialId, Pools, pool::Grant},
    };
    use ringway_core::limits::DnsLimits;
    use ringway_proto::snapshot::{HttpVersion, Timeouts};
    use std::{net::TcpListener, sync::Arc};

    /// The peek before reuse catches nearly all of these; what slips through is shown to the exchange itself.
    #[test]
    fn a_write_of_which_the_kernel_took_nothing_may_go_out_again_on_a_fresh_connection() {
        let side = SideThread::start("side").expect("starts");
        for (driver, reused) in [
            (Driver::Uring, true),
            (Driver::Epoll, true),
            (Driver::Uring, false),
        ] {
            let resolver = Resolver::start(&side.handle(), DnsLimits::default());
            let ran = run(driver, async move {
                let pools = Pools::new(resolver, UpstreamLimits::default());
                let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
                let address = listener.local_addr().expect("is bound");
                let url = format!("http://{address}/mcp");
                let endpoint = Endpoint::new(&url, HttpVersion::Auto, None, Timeouts::default());
                let endpoint = Arc::new(endpoint.expect("valid"));
                let pool = pools.shared.pool(&endpoint, CredentialId(0));
                let clock = Clock::start(endpoint.timeouts(), false);
                let Ok(Some(Grant::Dial(slot))) = pool.free(clock.now) else {
                    panic!("nothing was open")
                };
                let stream = connect_tcp(address).await.expect("connects");
                let connection = Connection::new(stream, slot, &UpstreamLimits::default());
                let (server, _) = listener.accept().expect("accepts");
                rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO)).expect("sets");
                drop(server);
                assert!(!connection.is_quiet(), "the reset is there");
                let (target, body) = (Bytes::from_static(b"/mcp"), Bytes::from_static(b"{}"));
                let headers = Headers::default();
                let request = Request {
                    method: Method::Post,
                    target,
                    headers,
                    body,
                    long_lived: false,
                    prefix: None,
                };
                let limits = UpstreamLimits::default();
                exchange(connection, reused, &endpoint, &request, &clock, &limits).await
            });
            let Err(failed) = ran.expect("the driver runs") else {
                panic!("nobody could answer")
            };
            assert_eq!(
                (failed.fault.kind, failed.fault.sent),
                (FaultKind::Reset, false),
                "{}",
                failed.fault
            );
            assert_eq!(matches!(failed.again, Again::Afresh(_)), reused);
        }
    }
}
