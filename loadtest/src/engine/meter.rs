//! How much of its core a thread uses, between two moments.

use super::pace::Pace;
use rustix::time::{ClockId, clock_gettime};
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::task::{JoinHandle, spawn_local};

/// CPU time, wall time and time spent awake for nothing, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    at: Instant,
    cpu: Duration,
    spun: Duration,
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
        }
    }

    /// CPU time of use, and wall time.
    pub fn since(&self, before: &Self) -> (Duration, Duration) {
        let cpu = self.cpu.saturating_sub(before.cpu);
        let spun = self.spun.saturating_sub(before.spun);
        (
            cpu.saturating_sub(spun),
            self.at.saturating_duration_since(before.at),
        )
    }
}

/// Measures the thread's CPU time between two moments.
pub struct Meter {
    task: JoinHandle<()>,
    measured: Rc<Cell<(Duration, Duration)>>,
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
    pub fn stop(self) -> (Duration, Duration) {
        self.task.abort();
        self.measured.get()
    }
}
