//! Time on one worker: sleeping and deadlines.
//!
//! monoio's own timers are not used. They are looked at only before the loop sleeps, so a worker that always has
//! something to do never gets to them: under saturating load deadlines, heartbeats and drains were seen seconds late.
//! Here the kernel tells the time like it tells everything else: one `timerfd` for each worker, waited for as for any
//! other descriptor, whose readiness comes in with the other completions however busy the loop is. It is set for
//! the wheel's next tick only, and set again only when something earlier is filed, so a call with deadlines of
//! seconds costs no system call for them.
//!
//! Ticks are milliseconds since the loop began, and deadlines round up: nothing ends early.

use super::wheel::{Key, Wheel};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

const TICK: Duration = Duration::from_millis(1);

thread_local! {
    static TIMERS: RefCell<Option<Timers>> = const { RefCell::new(None) };
    static LOOPS: Cell<u64> = const { Cell::new(0) };
}

/// One worker's deadlines.
struct Timers {
    /// Which loop of this thread: what an ended loop leaves behind must not touch the deadlines of the next.
    of_loop: u64,
    /// Tick 0.
    began: Instant,
    wheel: Wheel<Waker>,
    bell: OwnedFd,
    /// The tick the bell is set for.
    set_for: Option<u64>,
}

/// This thread's timers, for the time of a loop.
pub(super) struct Installed(());

/// What waits for their bell.
pub(super) struct Bell(monoio::net::UnixStream);

/// Makes this thread's timers. To be called on the loop, which must then run [`Bell::ring`].
pub(super) fn install() -> io::Result<(Installed, Bell)> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let bell = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
    // Any descriptor can be waited for by this name; nothing of a socket is ever asked of it.
    let waiter = monoio::net::UnixStream::from_std(StdUnixStream::from(bell.try_clone()?))?;
    let timers = Timers {
        of_loop: LOOPS.replace(LOOPS.get() + 1),
        began: Instant::now(),
        wheel: Wheel::new(),
        bell,
        set_for: None,
    };
    drop(TIMERS.replace(Some(timers)));
    Ok((Installed(()), Bell(waiter)))
}

impl Drop for Installed {
    fn drop(&mut self) {
        // Dropped outside the borrow: a waker may be a task's last, and that task's sleeps come back here.
        drop(TIMERS.try_with(|timers| timers.take()));
    }
}

impl Bell {
    /// Rings out what is due, for as long as the loop runs.
    pub(super) async fn ring(self) -> io::Result<()> {
        let mut due = Vec::new();
        loop {
            let rung = TIMERS.with_borrow_mut(|timers| {
                let Some(timers) = timers else { return false };
                if let Err(rustix::io::Errno::AGAIN) = rustix::io::read(&timers.bell, &mut [0; 8]) {
                    return false;
                }
                timers.set_for = None;
                let now = timers.tick_before(Instant::now());
                timers.wheel.advance(now, |waker| due.push(waker));
                timers.set_bell();
                true
            });
            due.drain(..).for_each(Waker::wake);
            if !rung {
                self.0.readable(false).await?;
            }
        }
    }
}

impl Timers {
    /// The tick that has begun by `at`.
    fn tick_before(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The first tick that is not before `at`.
    fn tick_after(&self, at: Instant) -> u64 {
        self.tick_before(at + (TICK - Duration::from_nanos(1)))
    }

    fn file(&mut self, at: Instant, waker: Waker) -> Key {
        let due = self.tick_after(at);
        let key = self.wheel.insert(due, waker);
        if self.set_for.is_none_or(|set_for| due < set_for) {
            self.set_bell();
        }
        key
    }

    /// Sets the bell for the next tick that matters. It cannot fail: the descriptor is ours and the time is valid.
    fn set_bell(&mut self) {
        let Some(next) = self.wheel.next() else { return };
        if self.set_for.is_some_and(|set_for| set_for <= next) {
            return;
        }
        let at = self.began + Duration::from_millis(next);
        // A bell that is set to nothing never rings.
        let within = at
            .saturating_duration_since(Instant::now())
            .max(Duration::from_nanos(1));
        let bell = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: within.as_secs() as i64,
                tv_nsec: i64::from(within.subsec_nanos()),
            },
        };
        match rustix::time::timerfd_settime(&self.bell, TimerfdTimerFlags::empty(), &bell) {
            Ok(_) => self.set_for = Some(next),
            Err(error) => tracing::error!("deadlines cannot be kept: {error}"),
        }
    }
}

/// Waits until a moment; rounds up to a millisecond.
#[must_use]
pub struct Sleep {
    at: Instant,
    filed: Option<Filed>,
}

/// Where a sleep is filed.
#[derive(Clone, Copy)]
struct Filed {
    of_loop: u64,
    key: Key,
}

/// Waits until `at`.
pub fn sleep_until(at: Instant) -> Sleep {
    Sleep { at, filed: None }
}

/// Waits for `duration`.
pub fn sleep(duration: Duration) -> Sleep {
    // Further than a clock can tell is as good as for ever.
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    sleep_until(Instant::now() + duration.min(FOR_EVER))
}

impl Sleep {
    /// Ends at `at` instead.
    pub fn move_to(&mut self, at: Instant) {
        self.forget();
        self.at = at;
    }

    fn forget(&mut self) {
        if let Some(filed) = self.filed.take() {
            filed.remove();
        }
    }
}

impl Filed {
    /// Files the end of a wait; `None` without a loop, where there is nobody to wake: a wait outlives its loop only to
    /// be dropped. One that is over already is rung out with the next tick.
    fn new(at: Instant, cx: &Context<'_>) -> Option<Self> {
        TIMERS.with_borrow_mut(|timers| {
            let timers = timers.as_mut()?;
            Some(Self {
                of_loop: timers.of_loop,
                key: timers.file(at, cx.waker().clone()),
            })
        })
    }

    /// Ready once it was rung out; it is removed then.
    fn poll(self, cx: &Context<'_>) -> Poll<()> {
        let mut replaced = None;
        let polled = TIMERS.with_borrow_mut(|timers| {
            let Some(timers) = timers.as_mut().filter(|timers| timers.of_loop == self.of_loop) else {
                return Poll::Pending;
            };
            match timers.wheel.value_mut(self.key) {
                Some(waker) => {
                    if !waker.will_wake(cx.waker()) {
                        replaced = Some(std::mem::replace(waker, cx.waker().clone()));
                    }
                    Poll::Pending
                }
                None => {
                    timers.wheel.remove(self.key);
                    Poll::Ready(())
                }
            }
        });
        // Outside the borrow: it may be a task's last.
        drop(replaced);
        polled
    }

    fn remove(self) {
        // What a thread leaves behind may be dropped after its timers, hence `try_with`.
        let waker = TIMERS.try_with(|timers| match &mut *timers.borrow_mut() {
            Some(timers) if timers.of_loop == self.of_loop => timers.wheel.remove(self.key),
            _ => None,
        });
        // Outside the borrow: it may be a task's last.
        drop(waker);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.filed {
            None => {
                self.filed = Filed::new(self.at, cx);
                Poll::Pending
            }
            Some(filed) => {
                ready!(filed.poll(cx));
                self.filed = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The end of one wait after another, for who waits all the time: a busy connection's reads and writes.
///
/// Nearly every such wait is over long before its end, so moving the end must cost nothing. What is filed stays
/// filed when the end moves further away or does not matter any more; when it comes up too early, it is filed again for
/// the end of that moment. The price is a poll for nothing once in a while.
#[derive(Default)]
pub struct Deadline {
    at: Option<Instant>,
    filed: Option<Filed>,
    /// When what is filed comes up.
    filed_for: Option<Instant>,
}

impl Deadline {
    /// From now on the end is `at`.
    pub fn set(&mut self, at: Instant) {
        self.at = Some(at);
        if self.filed_for.is_some_and(|filed_for| at < filed_for) {
            self.forget();
        }
    }

    /// There is no end now.
    pub fn clear(&mut self) {
        self.at = None;
    }

    /// Files nothing any more; of use before a long silence.
    pub fn forget(&mut self) {
        self.filed_for = None;
        if let Some(filed) = self.filed.take() {
            filed.remove();
        }
    }

    /// Ready once the end has come.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        loop {
            let filed = match self.filed {
                Some(filed) => filed,
                None => match Filed::new(at, cx) {
                    Some(filed) => {
                        self.filed_for = Some(at);
                        *self.filed.insert(filed)
                    }
                    None => return Poll::Pending,
                },
            };
            match filed.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => {
                    let filed_for = self.filed_for.take();
                    self.filed = None;
                    if filed_for.is_some_and(|filed_for| filed_for >= at) {
                        self.at = None;
                        return Poll::Ready(());
                    }
                }
            }
        }
    }

    /// `future` with an end at `at`. It is dropped when time is up.
    pub async fn bound<F: Future>(&mut self, at: Instant, future: F) -> Result<F::Output, Elapsed> {
        self.set(at);
        let mut future = std::pin::pin!(future);
        let done = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.poll(cx).map(|()| Err(Elapsed)),
        })
        .await;
        self.clear();
        done
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// `future` with an end. It is dropped when time is up, so a read in it must belong to a socket that is given up
/// then; other reads use [`Stream::read_append_until`](super::Stream::read_append_until).
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout {
        sleep: sleep(duration),
        future,
    }
}

/// [`timeout`] with an absolute end.
pub fn timeout_at<F: Future>(at: Instant, future: F) -> Timeout<F> {
    Timeout {
        sleep: sleep_until(at),
        future,
    }
}

pin_project_lite::pin_project! {
    /// See [`timeout`].
    #[must_use]
    pub struct Timeout<F> {
        sleep: Sleep,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        ready!(Pin::new(this.sleep).poll(cx));
        Poll::Ready(Err(Elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Driver, run, spawn, yield_now};
    use std::{cell::Cell, rc::Rc};

    async fn polled(sleep: &mut Sleep) -> Poll<()> {
        std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *sleep).poll(cx))).await
    }

    fn on_both(run_one: impl Fn(Driver)) {
        [Driver::Uring, Driver::Epoll].into_iter().for_each(run_one);
    }

    #[test]
    fn a_timeout_tells_itself_from_an_answer() {
        on_both(|driver| {
            run(driver, async {
                let never = std::future::pending::<()>();
                assert_eq!(timeout(Duration::from_millis(1), never).await, Err(Elapsed));
                assert_eq!(timeout(Duration::from_secs(60), async { 3 }).await, Ok(3));
            })
            .unwrap();
        });
    }

    #[test]
    fn nothing_ends_early_and_the_earlier_ends_first() {
        on_both(|driver| {
            run(driver, async {
                let order = Rc::new(std::cell::RefCell::new(Vec::new()));
                let tasks: Vec<_> = [30_u64, 3, 70, 1, 130]
                    .map(|ms| {
                        let order = order.clone();
                        spawn(async move {
                            let wanted = Duration::from_millis(ms);
                            let began = Instant::now();
                            sleep(wanted).await;
                            assert!(began.elapsed() >= wanted);
                            order.borrow_mut().push(ms);
                        })
                    })
                    .into();
                for task in tasks {
                    assert!(task.await.is_some());
                }
                assert_eq!(*order.borrow(), [1, 3, 30, 70, 130]);
            })
            .unwrap();
        });
    }

    /// The reason for timers of our own: monoio's do not fire while a worker always has something to do.
    #[test]
    fn a_deadline_comes_on_a_worker_that_is_never_idle() {
        on_both(|driver| {
            run(driver, async {
                let done = Rc::new(Cell::new(false));
                let seen = done.clone();
                let busy = spawn(async move {
                    while !seen.get() {
                        yield_now().await;
                    }
                });
                sleep(Duration::from_millis(20)).await;
                done.set(true);
                busy.await
            })
            .unwrap();
        });
    }

    #[test]
    fn a_deadline_that_moves_ends_the_last_wait_and_no_earlier_one() {
        on_both(|driver| {
            run(driver, async {
                let mut deadline = Deadline::default();
                let began = Instant::now();
                let after = |ms| began + Duration::from_millis(ms);
                for ms in 2..40 {
                    // Ends before its time; what is filed for it comes up during a later one.
                    assert_eq!(deadline.bound(after(ms), async { 7 }).await, Ok(7));
                    let pause = sleep(Duration::from_millis(1));
                    assert_eq!(deadline.bound(after(3_600_000), pause).await, Ok(()));
                }
                for ms in [60, 61, 90] {
                    let never = std::future::pending::<()>();
                    assert_eq!(deadline.bound(after(ms), never).await, Err(Elapsed));
                    assert!(began.elapsed() >= Duration::from_millis(ms));
                }
            })
            .unwrap();
        });
    }

    #[test]
    fn a_dropped_sleep_wakes_nobody_and_a_moved_one_waits_anew() {
        run(Driver::Auto, async {
            let mut far = sleep(Duration::from_secs(3600));
            assert!(polled(&mut far).await.is_pending());
            far.move_to(Instant::now() + Duration::from_millis(2));
            far.await;
            for _ in 0..1_000 {
                let mut dropped = sleep(Duration::from_millis(5));
                assert!(polled(&mut dropped).await.is_pending());
            }
            let left = TIMERS.with_borrow(|timers| timers.as_ref().map(|t| t.wheel.next().is_some()));
            assert_eq!(left, Some(false));
        })
        .unwrap();
    }
}
