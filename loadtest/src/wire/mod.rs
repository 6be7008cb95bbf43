//! One call over one connection: HTTP/1.1 or HTTP/2, in clear or under TLS.
//!
//! How to read it: a [`Target`] says where; [`Connection::open`] connects; a [`Head`] is rendered once and sent many
//! times; [`Connection::exchange`] carries one call and gives its [`Answer`] with the times of its first byte out,
//! its first and its last byte in. [`Connection::start`] gives a [`Reply`] instead, whose events are read one by one,
//! for streams that live long. A [`Want`] says how patient the client is, how fast it reads and when it walks away.
//! What goes wrong is a [`Fault`] whose key reports count by.
//!
//! Nothing here knows MCP, retries, or keeps a pool: a call that fails is a finding, and the engine's business.

mod fault;
mod http1;
mod http2;
mod message;
mod reply;
mod stream;
mod target;
mod tls;
mod watch;

pub use fault::{Fault, FaultKind};
pub use message::{
    Abandon, Answer, BODY_BYTES_MAX, BodyWish, Content, EVENT_BYTES_MAX, Ended, Flow, Head, Method, Request,
    Want,
};
pub use reply::Reply;
pub use ringway_proto::sse::Event;
pub use target::{HttpChoice, Target, TargetError, TargetOptions, Trust};

use fault::Halt;
use http1::Http1;
use http2::Http2;
use reply::Carrier;
use std::time::Instant;
use watch::Watch;

/// What a connection can be opened with beyond its target.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// The socket's receive buffer (`SO_RCVBUF`), for slow readers whose kernel must not read ahead for them.
    pub receive_buffer_bytes: Option<u32>,
}

/// An open connection, or a handle on one that others share (HTTP/2).
pub struct Connection {
    speaks: Speaks,
}

enum Speaks {
    Http1(Box<Http1>),
    Http2(Box<Http2>),
}

impl Connection {
    /// Connects.
    pub async fn open(target: &Target) -> Result<Self, Fault> {
        Self::open_with(target, &OpenOptions::default()).await
    }

    /// Connects, with options.
    pub async fn open_with(target: &Target, options: &OpenOptions) -> Result<Self, Fault> {
        let limit = target.connect_timeout();
        match tokio::time::timeout(limit, Self::open_untimed(target, options)).await {
            Ok(opened) => opened,
            Err(_) => Err(Fault::new(
                FaultKind::Connect,
                format!("{target}: no connection within {} ms", limit.as_millis()),
            )),
        }
    }

    async fn open_untimed(target: &Target, options: &OpenOptions) -> Result<Self, Fault> {
        let stream = stream::connect(target, options).await?;
        let http2 = match target.http() {
            HttpChoice::Http1 => false,
            HttpChoice::Auto => stream.is_http2_agreed(),
            HttpChoice::Http2 if target.is_tls() && !stream.is_http2_agreed() => {
                let text = format!("{target}: the server did not agree to HTTP/2 (ALPN)");
                return Err(Fault::new(FaultKind::Tls, text));
            }
            HttpChoice::Http2 => true,
        };
        let speaks = if http2 {
            Speaks::Http2(Box::new(http2::open(stream, options).await?))
        } else {
            Speaks::Http1(Box::new(Http1::new(stream)))
        };
        Ok(Self { speaks })
    }

    /// Whether several calls can be under way at once, each through its own [`Connection::share`].
    pub fn is_multiplexed(&self) -> bool {
        matches!(self.speaks, Speaks::Http2(_))
    }

    /// Another handle on the same connection; none over HTTP/1.1.
    pub fn share(&self) -> Option<Self> {
        match &self.speaks {
            Speaks::Http1(_) => None,
            Speaks::Http2(http) => Some(Self {
                speaks: Speaks::Http2(Box::new(http.share())),
            }),
        }
    }

    /// Calls that can start now, over all handles.
    pub fn capacity(&self) -> usize {
        match &self.speaks {
            Speaks::Http1(http) => usize::from(http.is_reusable()),
            Speaks::Http2(http) => http.capacity(),
        }
    }

    /// Whether another call can go here, now or when one that is under way has ended.
    pub fn is_reusable(&self) -> bool {
        match &self.speaks {
            Speaks::Http1(http) => http.is_reusable(),
            Speaks::Http2(http) => http.takes_calls(),
        }
    }

    /// Carries one call to its end. Events, if the answer is a stream of them, are counted; the last one's data is
    /// the answer's body.
    pub async fn exchange(&mut self, request: &Request<'_>, want: &Want) -> Result<Answer, Fault> {
        self.exchange_with(request, want, &mut |_: &Event, _| Flow::Continue)
            .await
    }

    /// Carries one call to its end, showing each event and when it was here.
    pub async fn exchange_with(
        &mut self,
        request: &Request<'_>,
        want: &Want,
        listener: &mut impl FnMut(&Event, Instant) -> Flow,
    ) -> Result<Answer, Fault> {
        self.start(request, want).await?.collect(listener).await
    }

    /// Sends a request and waits for the answer's head. Where [`Want::abandon`] comes before it, the reply is over
    /// and its status 0.
    pub async fn start(&mut self, request: &Request<'_>, want: &Want) -> Result<Reply<'_>, Fault> {
        let now = Instant::now();
        let mut watch = Watch::new(want, now);
        let mut answer = Answer::begun(now, 0);
        let begun = match &mut self.speaks {
            Speaks::Http1(http) => http
                .begin(request, &mut answer, &mut watch)
                .await
                .map(|body| Carrier::Http1(http, body)),
            Speaks::Http2(http) => http
                .begin(request, &mut answer, &mut watch)
                .await
                .map(|body| Carrier::Http2(Box::new(body))),
        };
        match begun {
            Ok(carrier) => Ok(Reply::new(carrier, answer, watch, *want)),
            Err(Halt::Fault(fault)) => Err(fault),
            Err(Halt::Abandoned) => Ok(Reply::abandoned(answer, watch, *want)),
        }
    }
}

#[cfg(test)]
mod tests;
