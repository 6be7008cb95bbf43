//! How much of its core a thread uses between two moments, and how much more it wanted.
//!
//! A generator that other programs keep off its core is as little to be trusted as one that fills it: the kernel
//! counts how long a thread was ready to run and did not (`/proc/thread-self/schedstat`).

use super::pace::Pace;
use rustix::time::{ClockId, clock_gettime};
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::task::{JoinHandle, spawn_local};

/// A thread's counters at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    at: Instant,
    cpu: Duration,
    /// Awake for nothing.
    spun: Duration,
    /// Ready to run, and not running.
    queued: Duration,
}

/// What was spent between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// CPU time of use.
    pub cpu: Duration,
    /// Time waited for the CPU.
    pub queued: Duration,
    /// Time passed.
    pub wall: Duration,
}

/// Shares of a core, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Strain {
    /// Used.
    pub busy: f64,
    /// Used or waited for.
    pub pressed: f64,
}

impl Usage {
    /// Of this thread, now.
    pub fn now(pace: &Pace) -> Self {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Self {
            at: Instant::now(),
            cpu: Duration::new(
                u64::try_from(used.tv_sec).unwrap_or_default(),
                u32::try_from(used.tv_nsec).unwrap_or_default(),
            ),
            spun: pace.spun(),
            queued: queued().unwrap_or_default(),
        }
    }

    /// What was spent since.
    pub fn since(&self, before: &Self) -> Spent {
        let spun = self.spun.saturating_sub(before.spun);
        Spent {
            cpu: self.cpu.saturating_sub(before.cpu).saturating_sub(spun),
            queued: self.queued.saturating_sub(before.queued),
            wall: self.at.saturating_duration_since(before.at),
        }
    }
}

/// None where the kernel does not count it.
fn queued() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

impl Spent {
    /// Adds what was spent at another time.
    pub fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.queued += other.queued;
        self.wall += other.wall;
    }

    /// As shares of the time passed.
    pub fn strain(self) -> Strain {
        if self.wall.is_zero() {
            return Strain::default();
        }
        let share = |time: Duration| time.as_secs_f64() / self.wall.as_secs_f64();
        Strain {
            busy: share(self.cpu),
            pressed: share(self.cpu + self.queued),
        }
    }
}

impl Strain {
    /// The worse of two threads, in each respect.
    pub fn worse(self, other: Self) -> Self {
        Self {
            busy: self.busy.max(other.busy),
            pressed: self.pressed.max(other.pressed),
        }
    }
}

/// Measures a thread between two moments.
pub struct Meter {
    task: JoinHandle<()>,
    measured: Rc<Cell<Spent>>,
}

impl Meter {
    /// Begins to watch the clock; nothing is measured when there is no such time.
    pub fn start(between: Option<(Instant, Instant)>, pace: Rc<Pace>) -> Self {
        let measured = Rc::new(Cell::default());
        let out = Rc::clone(&measured);
        let task = spawn_local(async move {
            let Some((begin, end)) = between else { return };
            tokio::time::sleep_until(begin.into()).await;
            let before = Usage::now(&pace);
            // Looked at often enough that a run that is stopped early has it too.
            while Instant::now() < end {
                let look = end.min(Instant::now() + Duration::from_millis(100));
                tokio::time::sleep_until(look.into()).await;
                out.set(Usage::now(&pace).since(&before));
            }
        });
        Self { task, measured }
    }

    /// What was measured until now.
    pub fn stop(self) -> Spent {
        self.task.abort();
        self.measured.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strain_is_shares_of_the_time_passed() {
        let ms = Duration::from_millis;
        let mut spent = Spent {
            cpu: ms(300),
            queued: ms(600),
            wall: ms(1000),
        };
        let strain = spent.strain();
        assert!((strain.busy - 0.3).abs() < 1e-9 && (strain.pressed - 0.9).abs() < 1e-9);
        spent.add(Spent {
            cpu: ms(700),
            queued: ms(0),
            wall: ms(1000),
        });
        assert!((spent.strain().busy - 0.5).abs() < 1e-9);
        assert_eq!(Spent::default().strain(), Strain::default());
    }
}
