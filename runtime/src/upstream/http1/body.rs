//! The body of an HTTP/1.1 response, and the moment its connection is free again.

use super::{
    super::{
        Response, ResponseBody,
        clock::{Clock, End},
        fault::{Fault, FaultKind},
    },
    Connection,
};
use crate::http::LocalFuture;
use bytes::{Bytes, BytesMut};
use ringway_proto::{
    chunked::{Chunk, Decoder},
    http1::{ResponseFraming, ResponseHead},
};
use std::{io::Result as IoResult, time::Instant};

/// Puts head and body together. A response whose body came with its head frees its connection at once.
pub(super) fn respond(
    mut connection: Box<Connection>,
    head: ResponseHead,
    reusable: bool,
    clock: &Clock,
) -> Response {
    let (rest, length) = match head.framing {
        ResponseFraming::None => (Rest::Length(0), Some(0)),
        ResponseFraming::Length(n) => (Rest::Length(n), Some(n)),
        ResponseFraming::Chunked => (Rest::Chunked(Decoder::new()), None),
        ResponseFraming::UntilClose => (Rest::UntilClose, None),
    };
    let here = |length: u64| {
        usize::try_from(length)
            .ok()
            .filter(|n| *n <= connection.buf.len())
    };
    let body = match length.and_then(here) {
        Some(whole) => {
            let data = connection.buf.split_to(whole).freeze();
            free(connection, reusable);
            ResponseBody::whole(data)
        }
        None => ResponseBody::http1(Http1Body {
            state: State::Ready(connection),
            rest,
            length,
            ahead: None,
            reusable,
            clock: *clock,
            waiting_since: None,
        }),
    };
    Response {
        status: head.status,
        headers: head.headers,
        body,
    }
}

/// Gives a connection back whose body is complete, unless something stands behind the body.
pub(super) fn free(mut connection: Box<Connection>, reusable: bool) {
    if connection.buf.is_empty() && connection.buf.capacity() > connection.first_room {
        // Large memory goes with the body; the next answer's first read asks for little.
        connection.buf = BytesMut::new();
    }
    if reusable
        && connection.buf.is_empty()
        && let Some(pool) = connection.slot.pool()
    {
        pool.put_idle(connection);
    }
}

/// The rest of a response on a connection.
pub(in super::super) struct Http1Body {
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

/// Where the connection is.
enum State {
    Ready(Box<Connection>),
    /// A read under way owns the connection, so that giving up waiting for a chunk does not give up the read.
    Reading(LocalFuture<'static, (Box<Connection>, IoResult<usize>)>),
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
    pub(in super::super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether nothing is left to pull.
    pub(in super::super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done) && self.ahead.is_none()
    }

    /// The next piece. May be dropped while it waits and called again.
    pub(in super::super) async fn chunk(&mut self) -> Option<Result<Bytes, Fault>> {
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

    /// The body is complete.
    fn finish(&mut self) {
        if let State::Ready(connection) = std::mem::replace(&mut self.state, State::Done) {
            free(connection, self.reusable);
        }
    }
}
