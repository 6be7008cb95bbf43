//! A response's body, whichever HTTP version carries it.

use super::{
    fault::{Fault, FaultKind},
    http1::Http1Body,
    http2::Http2Body,
};
use bytes::{Bytes, BytesMut};

/// The rest of a response, pulled chunk by chunk; not pulling is what holds the server back.
///
/// Read to its end, it gives its connection back to the pool. Dropped before, it ends the exchange: an HTTP/1.1
/// connection is closed, an HTTP/2 stream reset with CANCEL.
pub struct ResponseBody(Inner);

enum Inner {
    /// All of it is here, or was taken.
    Whole(Bytes),
    Http1(Box<Http1Body>),
    Http2(Box<Http2Body>),
}

impl ResponseBody {
    /// A body that is here already.
    pub fn whole(data: Bytes) -> Self {
        Self(Inner::Whole(data))
    }

    pub(super) fn http1(body: Http1Body) -> Self {
        Self(Inner::Http1(Box::new(body)))
    }

    pub(super) fn http2(body: Http2Body) -> Self {
        Self(Inner::Http2(Box::new(body)))
    }

    /// The next chunk, never empty; `None` is the orderly end. Giving up waiting (dropping this future) loses
    /// nothing: the next call goes on with the same wait, and the idle deadline with it. Not to be asked again
    /// after an error; it then says `None`.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Fault>> {
        match &mut self.0 {
            Inner::Whole(data) if data.is_empty() => None,
            Inner::Whole(data) => Some(Ok(std::mem::take(data))),
            Inner::Http1(body) => body.chunk().await,
            Inner::Http2(body) => body.chunk().await,
        }
    }

    /// The whole body's length, where the server said it; 0 where there is none by rule.
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Inner::Whole(data) => Some(data.len() as u64),
            Inner::Http1(body) => body.length(),
            Inner::Http2(body) => body.length(),
        }
    }

    /// The whole body, if it is all here already and nothing of it was taken.
    pub fn into_whole(self) -> Result<Bytes, Self> {
        match self.0 {
            Inner::Whole(data) => Ok(data),
            inner => Err(Self(inner)),
        }
    }

    /// Whether nothing is left to pull.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            Inner::Whole(data) => data.is_empty(),
            Inner::Http1(body) => body.is_done(),
            Inner::Http2(body) => body.is_done(),
        }
    }

    /// The whole body; `TooLarge` when it is, or says it will be, longer than `bytes_max`.
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, Fault> {
        let too_large = || {
            Fault::sent(
                FaultKind::TooLarge,
                format!("a body of more than {bytes_max} bytes"),
            )
        };
        if self.length().is_some_and(|length| length > bytes_max as u64) {
            return Err(too_large());
        }
        let Some(first) = self.chunk().await.transpose()? else {
            return Ok(Bytes::new());
        };
        if first.len() > bytes_max {
            return Err(too_large());
        }
        let Some(second) = self.chunk().await.transpose()? else {
            return Ok(first);
        };
        // The declared length is within the bound; more than the two chunks is reserved only for what came.
        let declared = self
            .length()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(0);
        let mut whole = BytesMut::with_capacity(declared.max(first.len() + second.len()).min(bytes_max));
        whole.extend_from_slice(&first);
        drop(first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if whole.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            whole.extend_from_slice(&chunk);
            next = self.chunk().await.transpose()?;
        }
        Ok(whole.freeze())
    }
}
