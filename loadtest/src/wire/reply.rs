//! An answer while it is coming: [`Reply`] gives its events or its pieces one by one.

use super::{
    fault::{Fault, FaultKind, Halt},
    http1::{self, Http1},
    http2,
    message::{Abandon, Answer, BodyWish, Content, Ended, Flow, Want},
    watch::Watch,
};
use bytes::{Bytes, BytesMut};
use ringway_proto::sse::{Event, Parser};
use std::time::Instant;

/// An answer whose head is here. Dropping it before its end walks away from it: the HTTP/1.1 connection is closed,
/// the HTTP/2 stream reset.
pub struct Reply<'c> {
    carrier: Carrier<'c>,
    answer: Answer,
    watch: Watch,
    want: Want,
    parser: Option<Parser>,
    /// The carrier has nothing more.
    over: bool,
}

pub(super) enum Carrier<'c> {
    Http1(&'c mut Http1, http1::Body),
    Http2(Box<http2::Body<'c>>),
    /// The call was abandoned before there was an answer, or its stream was.
    Nothing,
}

impl Carrier<'_> {
    async fn piece(&mut self, watch: &mut Watch) -> Result<Option<(Bytes, Instant)>, Halt> {
        match self {
            Self::Http1(http, body) => {
                let piece = body.piece(http, watch).await?;
                Ok(piece.map(|bytes| (bytes, http.read_at())))
            }
            Self::Http2(body) => body.piece(watch).await,
            Self::Nothing => Ok(None),
        }
    }

    /// Bytes received so far, if there are any to count.
    fn bytes_in(&self) -> u64 {
        match self {
            Self::Http1(http, _) => http.bytes_in(),
            Self::Http2(body) => body.bytes_in(),
            Self::Nothing => 0,
        }
    }

    /// When something last came.
    fn read_at(&self) -> Instant {
        match self {
            Self::Http1(http, _) => http.read_at(),
            Self::Http2(_) | Self::Nothing => Instant::now(),
        }
    }

    /// The body's length where it was told and is not known to be more than can be had in one piece.
    fn length(&self) -> u64 {
        match self {
            Self::Http2(body) => body.length().unwrap_or_default(),
            Self::Http1(..) | Self::Nothing => 0,
        }
    }
}

impl<'c> Reply<'c> {
    pub(super) fn new(carrier: Carrier<'c>, answer: Answer, watch: Watch, want: Want) -> Self {
        let parser = (answer.content == Content::Events).then(|| Parser::new(want.event_bytes_max));
        Self {
            carrier,
            answer,
            watch,
            want,
            parser,
            over: false,
        }
    }

    pub(super) fn abandoned(mut answer: Answer, watch: Watch, want: Want) -> Self {
        answer.last = Instant::now();
        let mut reply = Self::new(Carrier::Nothing, answer, watch, want);
        reply.end(Ended::Abandoned);
        reply
    }

    /// What is known so far: status, content, session, times and counts.
    pub fn so_far(&self) -> &Answer {
        &self.answer
    }

    /// The next event and when it was here; `None` at the stream's end, when it was abandoned, and of an answer
    /// that is no event stream.
    pub async fn next_event(&mut self) -> Result<Option<(Event, Instant)>, Fault> {
        loop {
            let Some(parser) = &mut self.parser else {
                return Ok(None);
            };
            match parser.next() {
                Some(Ok(event)) => return Ok(self.count(event)),
                Some(Err(fault)) => {
                    self.walk_away(Ended::Stopped);
                    return Err(Fault::protocol(fault.to_string()));
                }
                None => {}
            }
            if self.over {
                return Ok(None);
            }
            if let Some(bytes) = self.piece_uncounted().await?
                && let Some(parser) = &mut self.parser
            {
                parser.push(bytes);
            }
        }
    }

    /// The next piece of an answer that is no event stream, as it came; `None` at its end or when abandoned.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.over || self.parser.is_some() {
            return Ok(None);
        }
        let piece = self.piece_uncounted().await?;
        if piece.is_some() {
            self.first_came();
        }
        Ok(piece)
    }

    /// Ends the exchange, walking away from whatever has not come.
    pub fn finish(mut self) -> Answer {
        if !self.over {
            self.walk_away(Ended::Stopped);
        }
        let spent = Answer::begun(self.answer.written, 0);
        std::mem::replace(&mut self.answer, spent)
    }

    /// Reads to the end, showing each event.
    pub(super) async fn collect(
        mut self,
        listener: &mut impl FnMut(&Event, Instant) -> Flow,
    ) -> Result<Answer, Fault> {
        if self.parser.is_some() {
            while let Some((event, at)) = self.next_event().await? {
                if !event.data.is_empty() {
                    self.answer.body = match self.want.body {
                        BodyWish::Keep { .. } => event.data.clone(),
                        BodyWish::Discard => Bytes::new(),
                    };
                }
                if listener(&event, at) == Flow::Stop {
                    break;
                }
            }
            return Ok(self.finish());
        }
        if let BodyWish::Keep { bytes_max } = self.want.body {
            self.keep(bytes_max).await?;
        } else {
            while self.next_piece().await?.is_some() {}
        }
        Ok(self.finish())
    }

    /// Reads all of the body into the answer.
    async fn keep(&mut self, bytes_max: usize) -> Result<(), Fault> {
        if let Carrier::Http1(http, body) = &mut self.carrier
            && self.want.abandon != Abandon::AfterFirst
        {
            let whole = body.whole(http, &mut self.watch, bytes_max).await;
            self.answer.bytes_in = http.bytes_in();
            self.answer.last = http.read_at();
            match whole {
                Ok(Some((whole, first))) => {
                    self.answer.body_bytes = whole.len() as u64;
                    self.answer.body = whole;
                    self.answer.first = Some(first);
                    self.end(Ended::Complete);
                    return Ok(());
                }
                Ok(None) => {}
                Err(halt) => return self.halted(halt),
            }
        }
        let mut kept = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(piece) = self.next_piece().await? {
            if kept.len() + joined.len() + piece.len() > bytes_max {
                self.walk_away(Ended::Stopped);
                let text = format!("answer's body is larger than the {bytes_max} bytes we keep");
                return Err(Fault::new(FaultKind::Protocol, text));
            }
            if kept.is_empty() && joined.is_empty() {
                kept = piece;
                continue;
            }
            if joined.is_empty() {
                let length = usize::try_from(self.carrier.length()).unwrap_or(bytes_max);
                joined.reserve(length.min(bytes_max));
                joined.extend_from_slice(&std::mem::take(&mut kept));
            }
            joined.extend_from_slice(&piece);
        }
        self.answer.body = if joined.is_empty() { kept } else { joined.freeze() };
        Ok(())
    }

    /// The next piece, its bytes and time counted but its meaning not.
    async fn piece_uncounted(&mut self) -> Result<Option<Bytes>, Fault> {
        let piece = self.carrier.piece(&mut self.watch).await;
        if !matches!(self.carrier, Carrier::Nothing) {
            self.answer.bytes_in = self.carrier.bytes_in();
        }
        match piece {
            Ok(Some((bytes, at))) => {
                self.answer.body_bytes += bytes.len() as u64;
                self.answer.last = at;
                Ok(Some(bytes))
            }
            Ok(None) => {
                // What ends a body (a last chunk, an empty frame) may come after the last of it.
                self.answer.last = self.carrier.read_at();
                self.end(Ended::Complete);
                Ok(None)
            }
            Err(halt) => self.halted(halt).map(|()| None),
        }
    }

    fn count(&mut self, event: Event) -> Option<(Event, Instant)> {
        self.answer.events += 1;
        let at = self.answer.last;
        self.first_came();
        Some((event, at))
    }

    /// Something of the body came: the first time, this may be what the caller waited for.
    fn first_came(&mut self) {
        if self.answer.first.is_none() {
            self.answer.first = Some(self.answer.last);
            if self.want.abandon == Abandon::AfterFirst && !self.over {
                self.walk_away(Ended::Abandoned);
            }
        }
    }

    fn halted(&mut self, halt: Halt) -> Result<(), Fault> {
        match halt {
            Halt::Abandoned => {
                self.answer.last = Instant::now();
                self.walk_away(Ended::Abandoned);
                Ok(())
            }
            Halt::Fault(fault) => {
                self.over = true;
                Err(fault)
            }
        }
    }

    fn walk_away(&mut self, ended: Ended) {
        if let Carrier::Http1(http, _) = &mut self.carrier {
            http.close();
        }
        // Over HTTP/2 this resets the stream.
        self.carrier = Carrier::Nothing;
        // Events that came with the last one wanted are not read.
        self.parser = None;
        self.end(ended);
    }

    fn end(&mut self, ended: Ended) {
        self.over = true;
        self.answer.ended = ended;
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.walk_away(Ended::Stopped);
        }
    }
}
