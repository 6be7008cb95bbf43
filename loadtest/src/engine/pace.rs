//! Waits for a moment exactly, without burning a core.
//!
//! tokio's timer has a grain of one millisecond, which at 2,000 calls/s is two calls. A `timerfd` in the runtime's
//! own epoll has the kernel's grain instead. What remains is how long an idle CPU takes to wake up (some ten
//! microseconds; several times that in a virtual machine), so the last stretch is waited out awake: the task yields,
//! the runtime polls its sockets without sleeping, and comes back. How long that stretch must be is learnt from how
//! late the sleeper woke before. With `busy_poll` the whole wait goes that way.
//!
//! Whatever was waited awake and to no use is told apart from work ([`Pace::spun`]), because it is headroom.

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::{
    cell::Cell,
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};
use tokio::io::unix::AsyncFd;

/// The last stretch before a call is due, waited out awake: never less, and where it begins.
const AWAKE_MIN: Duration = Duration::from_micros(5);
/// Never more: at 2,000 calls/s this is a sixth of a core. From some 12,000 a thread does not sleep at all, and should
/// not: to fall asleep and wake again was measured at some 50 µs of CPU time on a virtual machine, so a generator that
/// slept half of every wait at 16,000 calls/s filled its core, and its calls took four times as long.
const AWAKE_MAX: Duration = Duration::from_micros(80);
/// What a sleeper that woke too late adds to the stretch, and one that woke in time takes off: it comes to rest where
/// about one in twenty wakes too late.
const LONGER: Duration = Duration::from_micros(8);
const SHORTER: Duration = Duration::from_nanos(400);
/// A turn of the loop with nothing to do takes a microsecond or two. In one that took longer somebody else had the
/// core, and that is no CPU time of ours.
const TURN_MAX: Duration = Duration::from_micros(4);
/// A sleeper looks up this often, for orders to stop.
const NAP_MAX: Duration = Duration::from_millis(100);

/// One thread's way to wait.
#[derive(Debug)]
pub struct Pace {
    timer: AsyncFd<OwnedFd>,
    busy: bool,
    awake: Cell<Duration>,
    spun: Cell<Duration>,
}

impl Pace {
    /// Within a runtime.
    pub fn new(busy: bool) -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types whose descriptor may change or close; \
                      an OwnedFd's cannot"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self {
            timer,
            busy,
            awake: Cell::new(AWAKE_MIN),
            spun: Cell::default(),
        })
    }

    /// Until `at`, or a little less long when that is far: the caller looks at the clock again. `work` counts what
    /// other tasks have done; where it moves, the time was not idle.
    pub async fn towards(&self, at: Instant, work: &Cell<u64>) -> io::Result<()> {
        let mut now = Instant::now();
        let wait = at.saturating_duration_since(now);
        let awake = self.awake.get();
        if wait > awake && !self.busy {
            let nap = (wait - awake).min(NAP_MAX);
            self.sleep(nap).await?;
            self.learn(now.elapsed().saturating_sub(nap));
            now = Instant::now();
            if at.saturating_duration_since(now) > AWAKE_MAX {
                return Ok(());
            }
        }
        let until = at.min(now + NAP_MAX);
        while now < until {
            let before = work.get();
            tokio::task::yield_now().await;
            let then = Instant::now();
            if work.get() == before {
                self.spun.set(self.spun.get() + (then - now).min(TURN_MAX));
            }
            now = then;
        }
        Ok(())
    }

    /// Time spent awake with nothing to do, so far.
    pub fn spun(&self) -> Duration {
        self.spun.get()
    }

    /// A sleeper woke so much later than it asked to.
    fn learn(&self, late: Duration) {
        let awake = self.awake.get();
        self.awake.set(match late > awake {
            true => (awake + LONGER).min(AWAKE_MAX),
            false => awake.saturating_sub(SHORTER).max(AWAKE_MIN),
        });
    }

    async fn sleep(&self, wait: Duration) -> io::Result<()> {
        let timer = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        // Setting it also takes back the expiry of the time before, which is why it is never read.
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        self.timer.readable().await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn wait(pace: &Pace, time: Duration) -> Duration {
        let start = Instant::now();
        let work = Cell::new(0);
        while start.elapsed() < time {
            pace.towards(start + time, &work).await.unwrap();
        }
        start.elapsed()
    }

    #[tokio::test]
    async fn a_wait_is_never_short_and_far_finer_than_a_millisecond_sometimes() {
        for busy in [false, true] {
            let pace = Pace::new(busy).unwrap();
            let mut best = Duration::MAX;
            for _ in 0..50 {
                let asked = Duration::from_micros(250);
                let waited = wait(&pace, asked).await;
                assert!(waited >= asked);
                best = best.min(waited);
            }
            // On a loaded machine most waits are long; one of fifty is not.
            assert!(best < Duration::from_millis(1), "busy {busy}: {best:?}");
        }
    }

    #[tokio::test]
    async fn waiting_awake_is_told_apart() {
        let pace = Pace::new(true).unwrap();
        wait(&pace, Duration::from_millis(5)).await;
        assert!(pace.spun() > Duration::from_millis(1), "{:?}", pace.spun());
        let pace = Pace::new(false).unwrap();
        wait(&pace, Duration::from_millis(150)).await;
        assert!(pace.spun() < Duration::from_millis(75), "{:?}", pace.spun());
    }
}
