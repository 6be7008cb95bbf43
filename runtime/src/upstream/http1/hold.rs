//! Answers that are read whole before they are passed on.
//!
//! A JSON result is of no use to anybody before its last byte. So one of known and moderate length
//! ([`UPSTREAM_HOLD_BYTES_MAX`]) is read into one piece of memory, each read under the same deadlines as a piece of a
//! streamed body, and goes to the client with its head in one write. If it breaks off, no head has left yet, and the
//! client gets a proper error.
//!
//! Most of the rest is there when the head has been read, and is taken by a system call at once: the bytes are then
//! written out while they are in the cache, and no operation of the ring holds memory while it waits.

use super::{
    super::{
        Response, ResponseBody,
        clock::{Clock, End},
        fault::{Fault, FaultKind},
    },
    Connection, body,
};
use crate::io::Room;
use bytes::Bytes;
use ringway_core::limits::UPSTREAM_HOLD_BYTES_MAX;
use ringway_proto::{
    http::{accept, names},
    http1::{ResponseFraming, ResponseHead},
};
use std::io::Result as IoResult;

/// How long the body is, if it is not `here` whole and is to be. Refusals are not: they mean what they say even if they
/// break off.
pub(super) fn length(head: &ResponseHead, here: usize) -> Option<usize> {
    let ResponseFraming::Length(length) = head.framing else {
        return None;
    };
    let length = usize::try_from(length).ok()?;
    if !(here + 1..=UPSTREAM_HOLD_BYTES_MAX).contains(&length) || !matches!(head.status, 200..=299) {
        return None;
    }
    let content_type = head.headers.get(names::CONTENT_TYPE);
    (!content_type.is_some_and(accept::is_event_stream)).then_some(length)
}

/// An answer whose body is not here whole.
pub(super) struct Held {
    connection: Box<Connection>,
    head: ResponseHead,
    length: usize,
    reusable: bool,
    filling: Filling,
}

/// Where the body gathers.
enum Filling {
    Room {
        room: Room,
        /// What the first look gave.
        there: IoResult<Option<usize>>,
    },
    /// Plaintext comes through the connection's buffer, and stays there.
    Secret,
}

/// Takes what is there of a body of `length`: most often all of it.
pub(super) fn begin(
    mut connection: Box<Connection>,
    head: ResponseHead,
    length: usize,
    reusable: bool,
) -> Result<Response, Held> {
    let filling = if connection.stream.is_tls() {
        Filling::Secret
    } else {
        let mut room = connection.room_for(length);
        let there = connection.stream.read_now(&mut room);
        if room.filled() >= length {
            return Ok(respond(connection, head, room, length, reusable));
        }
        Filling::Room { room, there }
    };
    Err(Held {
        connection,
        head,
        length,
        reusable,
        filling,
    })
}

fn respond(
    connection: Box<Connection>,
    head: ResponseHead,
    room: Room,
    length: usize,
    reusable: bool,
) -> Response {
    body::free(connection, reusable && room.filled() == length);
    answer(head, room.into_bytes(length))
}

fn answer(head: ResponseHead, data: Bytes) -> Response {
    Response {
        status: head.status,
        headers: head.headers,
        body: ResponseBody::whole(data),
    }
}

impl Held {
    /// Waits for the rest.
    pub(super) async fn finish(self, clock: &Clock) -> Result<Response, Fault> {
        let Self {
            mut connection,
            head,
            length,
            reusable,
            filling,
        } = self;
        match filling {
            Filling::Room { mut room, there } => {
                if let Some(n) = there.map_err(|error| broken(&error))? {
                    some(n)?;
                }
                while room.filled() < length {
                    let end = clock.end(clock.idle, FaultKind::IdleTimeout);
                    let read = end.bound(connection.stream.read_into(&mut room)).await;
                    some(read.map_err(late)?.map_err(|error| broken(&error))?)?;
                }
                Ok(respond(connection, head, room, length, reusable))
            }
            Filling::Secret => {
                while connection.buf.len() < length {
                    let mut buf = std::mem::take(&mut connection.buf);
                    buf.reserve(length - buf.len());
                    let end = clock.end(clock.idle, FaultKind::IdleTimeout);
                    let read = end.bound(connection.stream.read_append(buf)).await;
                    let (result, buf) = read.map_err(late)?;
                    connection.buf = buf;
                    some(result.map_err(|error| broken(&error))?)?;
                }
                let data = connection.buf.split_to(length).freeze();
                body::free(connection, reusable);
                Ok(answer(head, data))
            }
        }
    }
}

impl Connection {
    /// Room for the body with what is here of it, and one byte more: a server that sends more than it said must be
    /// noticed before the next call takes that for its answer.
    fn room_for(&mut self, length: usize) -> Room {
        let mut room = Room::new(length + 1);
        room.put(&self.buf);
        self.buf.clear();
        room
    }
}

fn some(read: usize) -> Result<(), Fault> {
    match read {
        0 => Err(Fault::sent(FaultKind::Reset, "closed in the middle of the body")),
        _ => Ok(()),
    }
}

fn late(kind: FaultKind) -> Fault {
    End::fault(kind, true, "piece of the body")
}

fn broken(error: &std::io::Error) -> Fault {
    Fault::broken("reading the body", error)
}
