//! Is the client still there, and does it still need the connection?
//!
//! A PING goes out every `ping_every_ms`; one that is not answered within `pong_within_ms` means that the client
//! is gone without a word (a laptop asleep, a lost NAT entry). A connection without streams for `idle_timeout_ms`
//! is unused.

use super::{Streams, millis};
use crate::io;
use h2::{Ping, PingPong};
use ringway_core::limits::DownstreamLimits;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Why a connection should end.
pub(super) enum Verdict {
    /// Nobody has called for long.
    Unused,
    /// A PING was not answered.
    Mute,
}

/// The timer and the PING of one connection.
pub(super) struct Keeper {
    pings: Option<PingPong>,
    timer: Pin<Box<dyn Future<Output = ()>>>,
    /// A PING is on its way.
    asked: bool,
    start: Instant,
    every: Duration,
    within: Duration,
    idle: Duration,
}

impl Keeper {
    pub(super) fn new(pings: Option<PingPong>, limits: &DownstreamLimits) -> Self {
        let (every, idle) = (millis(limits.ping_every_ms), millis(limits.idle_timeout_ms));
        Self {
            pings,
            timer: Box::pin(io::sleep(every.min(idle))),
            asked: false,
            start: Instant::now(),
            every,
            within: millis(limits.pong_within_ms),
            idle,
        }
    }

    /// Ready when the connection should end. After `Unused` it goes on looking for a mute client.
    pub(super) fn poll(&mut self, streams: &Streams, cx: &mut Context<'_>) -> Poll<Verdict> {
        loop {
            if self.asked
                && let Some(pings) = &mut self.pings
                && pings.poll_pong(cx).is_ready()
            {
                self.asked = false;
                self.timer = Box::pin(io::sleep(self.every));
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.asked {
                return Poll::Ready(Verdict::Mute);
            }
            let quiet = streams.last_end.get().unwrap_or(self.start).elapsed();
            let unused = streams.open.get() == 0 && quiet >= self.idle;
            self.asked = self
                .pings
                .as_mut()
                .is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok());
            let next = if self.asked { self.within } else { self.every };
            self.timer = Box::pin(io::sleep(next));
            if unused {
                return Poll::Ready(Verdict::Unused);
            }
        }
    }
}
