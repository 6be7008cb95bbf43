//! Waits that end when they should: tokio's own timer rounds up to a millisecond, which is too coarse for
//! `exp(200us)`. One thread sleeps until the earliest of all short waits and wakes whoever is due; with `--busy-poll`,
//! where no thread may sleep, a wait looks at the clock at every turn of its runtime instead.
//!
//! Long waits need no such care and go to tokio, so that the heap here stays small.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// From here on a millisecond more or less is below 2 %.
const COARSE_FROM: Duration = Duration::from_millis(50);

/// Short waits of all threads. The thread behind it ends when this is dropped.
#[derive(Debug)]
pub struct Timer {
    spin: bool,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waits: Mutex<Waits>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waits {
    heap: BinaryHeap<Wait>,
    over: bool,
}

#[derive(Debug)]
struct Wait {
    at: Reverse<Instant>,
    wake: oneshot::Sender<()>,
}

impl Timer {
    /// A timer; `spin`: without a thread, by looking at the clock again and again.
    pub fn start(spin: bool) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        if !spin {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("upstream-timer".to_owned())
                .spawn(move || shared.run())?;
        }
        Ok(Self { spin, shared })
    }

    /// Comes back after `time`. Dropping the future ends the wait.
    pub async fn sleep(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        if time >= COARSE_FROM {
            return tokio::time::sleep(time).await;
        }
        let at = Instant::now() + time;
        if self.spin {
            while Instant::now() < at {
                tokio::task::yield_now().await;
            }
            return;
        }
        let (wake, woken) = oneshot::channel();
        self.shared.enter(Wait {
            at: Reverse(at),
            wake,
        });
        // An error means that the timer has ended, and with it the server.
        _ = woken.await;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.waits().over = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn enter(&self, wait: Wait) {
        let mut waits = self.waits();
        // Reversed: the greatest is the earliest.
        let is_earliest = waits.heap.peek().is_none_or(|first| first.at < wait.at);
        waits.heap.push(wait);
        drop(waits);
        if is_earliest {
            self.changed.notify_one();
        }
    }

    fn run(&self) {
        let mut waits = self.waits();
        while !waits.over {
            waits = match waits.wake_due(Instant::now()) {
                None => self.changed.wait(waits).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let woken = self.changed.wait_timeout(waits, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waits {
    /// Wakes everything that is due; how long until the next.
    fn wake_due(&mut self, now: Instant) -> Option<Duration> {
        while let Some(first) = self.heap.peek() {
            let left = first.at.0.saturating_duration_since(now);
            if !left.is_zero() {
                return Some(left);
            }
            if let Some(due) = self.heap.pop() {
                // Nobody listens when the wait was given up.
                _ = due.wake.send(());
            }
        }
        None
    }
}

impl PartialEq for Wait {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Wait {}
impl PartialOrd for Wait {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Wait {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn in_order(timer: Timer) {
        let order = Mutex::new(Vec::new());
        let wait = |us: u64| {
            let (timer, order) = (&timer, &order);
            async move {
                let began = Instant::now();
                timer.sleep(Duration::from_micros(us)).await;
                assert!(began.elapsed() >= Duration::from_micros(us));
                order.lock().unwrap().push(us);
            }
        };
        tokio::join!(wait(40_000), wait(0), wait(300), wait(10_000), wait(90_000));
        assert_eq!(*order.lock().unwrap(), [0, 300, 10_000, 40_000, 90_000]);
    }

    #[tokio::test]
    async fn waits_end_in_their_order_and_not_early() {
        in_order(Timer::start(false).unwrap()).await;
        in_order(Timer::start(true).unwrap()).await;
    }
}
