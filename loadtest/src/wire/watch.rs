//! The clock of one exchange: its deadline, the moment it is abandoned, and how fast it may read.
//!
//! A timer is not set for each call. The connection keeps one, which is moved only when it rings too early or would
//! ring too late; in steady state a call touches it not at all.

use super::{
    fault::{Fault, FaultKind, Halt},
    message::{Abandon, Want},
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::time::Sleep;

/// A slow reader takes its share in so many portions a second: few enough to be cheap, many enough to be a trickle.
const PORTIONS_PER_S: u32 = 20;

/// A connection's timer.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready at `at`, not before.
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let at = tokio::time::Instant::from_std(at);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        loop {
            if sleep.deadline() > at {
                sleep.as_mut().reset(at);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

/// One exchange's times.
pub(super) struct Watch {
    timeout_at: Option<Instant>,
    abandon_at: Option<Instant>,
    pace: Option<Pace>,
}

struct Pace {
    bytes_per_s: u32,
    since: Instant,
    taken: u64,
}

impl Watch {
    pub(super) fn new(want: &Want, now: Instant) -> Self {
        Self {
            timeout_at: want.timeout.map(|limit| now + limit),
            abandon_at: match want.abandon {
                Abandon::After(limit) => Some(now + limit),
                Abandon::Never | Abandon::AfterFirst => None,
            },
            pace: want.read_bytes_per_s.map(|rate| Pace {
                bytes_per_s: rate.max(1),
                since: now,
                taken: 0,
            }),
        }
    }

    /// `work`, unless time is up first.
    pub(super) async fn guard<T>(&self, alarm: &mut Alarm, work: impl Future<Output = T>) -> Result<T, Halt> {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            self.poll(alarm, cx).map(Err)
        })
        .await
    }

    fn poll(&self, alarm: &mut Alarm, cx: &mut Context<'_>) -> Poll<Halt> {
        let (at, abandons) = match (self.timeout_at, self.abandon_at) {
            (None, None) => return Poll::Pending,
            (Some(at), None) => (at, false),
            (None, Some(at)) => (at, true),
            (Some(timeout), Some(abandon)) => (timeout.min(abandon), abandon <= timeout),
        };
        alarm.poll(at, cx).map(|()| match abandons {
            true => Halt::Abandoned,
            false => Fault::new(FaultKind::Timeout, "no complete answer within the time allowed").into(),
        })
    }

    /// How many bytes may be taken now, after a wait if need be.
    pub(super) async fn allowance(&mut self, alarm: &mut Alarm) -> Result<usize, Halt> {
        let Some(pace) = &self.pace else {
            return Ok(usize::MAX);
        };
        let portion = u64::from((pace.bytes_per_s / PORTIONS_PER_S).max(1));
        let due_at = (pace.taken + portion) as f64 / f64::from(pace.bytes_per_s);
        let at = pace.since + Duration::from_secs_f64(due_at);
        if at > Instant::now() {
            self.guard(alarm, tokio::time::sleep_until(at.into())).await?;
        }
        Ok(usize::try_from(portion).unwrap_or(usize::MAX))
    }

    /// So many bytes were taken.
    pub(super) fn took(&mut self, bytes: usize) {
        if let Some(pace) = &mut self.pace {
            pace.taken += bytes as u64;
        }
    }
}
