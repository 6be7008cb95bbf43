//! Where an answer's body ends, and its pieces until then.

use super::{Http1, READ_BYTES_MAX};
use crate::wire::{
    fault::{Fault, Halt},
    watch::Watch,
};
use bytes::Bytes;
use ringway_proto::{
    chunked::{Chunk, Decoder},
    http1::ResponseFraming,
};
use std::time::Instant;

/// The rest of one answer's body.
pub(in crate::wire) struct Body {
    ends: Ends,
    keep_alive: bool,
}

enum Ends {
    After(u64),
    Chunked(Decoder),
    AtClose,
    Reached,
}

impl Body {
    pub(super) fn new(framing: ResponseFraming, keep_alive: bool) -> Self {
        let ends = match framing {
            ResponseFraming::None => Ends::After(0),
            ResponseFraming::Length(length) => Ends::After(length),
            ResponseFraming::Chunked => Ends::Chunked(Decoder::new()),
            ResponseFraming::UntilClose => Ends::AtClose,
        };
        Self { ends, keep_alive }
    }

    /// The next piece as it came; `None` at the end, after which the connection is free again or closed.
    pub(in crate::wire) async fn piece(
        &mut self,
        http: &mut Http1,
        watch: &mut Watch,
    ) -> Result<Option<Bytes>, Halt> {
        let piece = self.piece_or_fail(http, watch).await;
        match &piece {
            Ok(Some(_)) => {}
            Ok(None) => {
                if !matches!(self.ends, Ends::Reached) {
                    self.ends = Ends::Reached;
                    http.done(self.keep_alive);
                }
            }
            Err(_) => http.close(),
        }
        piece
    }

    async fn piece_or_fail(&mut self, http: &mut Http1, watch: &mut Watch) -> Result<Option<Bytes>, Halt> {
        loop {
            let wanted = match &mut self.ends {
                Ends::Reached | Ends::After(0) => return Ok(None),
                Ends::After(left) => {
                    let here =
                        usize::try_from(*left).map_or(http.read.len(), |left| left.min(http.read.len()));
                    if here > 0 {
                        *left -= here as u64;
                        return Ok(Some(http.read.split_to(here).freeze()));
                    }
                    usize::try_from(*left).unwrap_or(READ_BYTES_MAX)
                }
                Ends::Chunked(decoder) => match decoder.decode(&mut http.read) {
                    Ok(Chunk::Data(data)) => return Ok(Some(data)),
                    Ok(Chunk::End) => return Ok(None),
                    Ok(Chunk::More) => 0,
                    Err(fault) => return Err(Fault::protocol(format!("answer's body: {fault}")).into()),
                },
                Ends::AtClose => {
                    if !http.read.is_empty() {
                        return Ok(Some(http.read.split().freeze()));
                    }
                    0
                }
            };
            if http.fill(watch, wanted).await? == 0 {
                return match self.ends {
                    Ends::AtClose => Ok(None),
                    _ => Err(Fault::closed("the peer closed the connection inside the answer's body").into()),
                };
            }
        }
    }

    /// The whole body in one piece, where its length was told: read to where it will be given from, with no copy.
    /// With it, when its first byte was here. `None` for other framings, and for a body larger than `bytes_max`.
    pub(in crate::wire) async fn whole(
        &mut self,
        http: &mut Http1,
        watch: &mut Watch,
        bytes_max: usize,
    ) -> Result<Option<(Bytes, Instant)>, Halt> {
        let Ends::After(length) = self.ends else {
            return Ok(None);
        };
        let Ok(length) = usize::try_from(length) else {
            return Ok(None);
        };
        if length > bytes_max {
            return Ok(None);
        }
        let mut first = (!http.read.is_empty() || length == 0).then_some(http.read_at);
        if http.read.len() < length {
            // All at once: memory that the server promises to fill and does not is never touched.
            http.read.reserve(length - http.read.len());
        }
        while http.read.len() < length {
            let missing = length - http.read.len();
            match http.fill(watch, missing).await {
                Ok(0) => {
                    http.close();
                    return Err(
                        Fault::closed("the peer closed the connection inside the answer's body").into(),
                    );
                }
                Ok(_) => first = first.or(Some(http.read_at)),
                Err(halt) => {
                    http.close();
                    return Err(halt);
                }
            }
        }
        self.ends = Ends::Reached;
        let body = http.read.split_to(length).freeze();
        http.done(self.keep_alive);
        Ok(Some((body, first.unwrap_or(http.read_at))))
    }
}
