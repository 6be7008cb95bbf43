//! From "due" to "started": one thread's calls on their way to a lane.
//!
//! A call that falls due goes to the lane that has been idle longest; when none is idle it waits, and keeps its due
//! time. Lanes that finish take the longest waiting call first, and before that move everything on that has fallen
//! due meanwhile, so a busy thread does not depend on its dispatcher being polled.

use super::{
    plan::Plan,
    record::Record,
    schedule::{Due, Schedule},
};
use rand::rngs::SmallRng;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    task::{Poll, Waker},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// A call that is due, or under way.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Which operation.
    pub operation: usize,
    /// Which stage counts it, if any.
    pub stage: Option<usize>,
    /// When it was due.
    pub due: Instant,
    /// Its number in the run.
    pub seq: u64,
}

/// A time, and the stage that counts what falls in it.
pub type Window = (Option<usize>, Instant, Instant);

/// What lanes do when they have nothing to do.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Nothing.
    Rest,
    /// Wait for what falls due.
    Open,
    /// Call again, until the phase is over.
    Closed { lanes: usize, think: Duration },
}

/// Where a lane finds its next call.
#[derive(Debug, Default)]
struct Slot {
    job: Cell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
    /// Standing among the idle.
    idle: Cell<bool>,
}

/// See the module.
#[derive(Debug)]
pub struct Flow {
    slots: Vec<Slot>,
    idle: RefCell<VecDeque<usize>>,
    waiting: RefCell<VecDeque<Job>>,
    waiting_max: usize,
    mode: Cell<Mode>,
    schedule: RefCell<Option<Schedule>>,
    /// The schedule's next call.
    next: Cell<Option<Due>>,
    /// When the phase began.
    began: Cell<Instant>,
    /// A closed loop's times: the stage that counts them, begin, end.
    windows: RefCell<Vec<Window>>,
    /// Calls handed to lanes and not finished.
    under_way: Cell<u64>,
    /// Moves with everything that is done here.
    pub work: Cell<u64>,
    next_seq: Cell<u64>,
    seq_step: u64,
    /// Somebody may be waiting for the last call to end.
    pub settled: Notify,
    /// No more calls are to be started.
    pub stopped: Cell<bool>,
}

impl Flow {
    /// For so many lanes on thread `thread` of `threads`.
    pub fn new(lanes: usize, waiting_max: usize, thread: u64, threads: u64) -> Self {
        Self {
            slots: (0..lanes).map(|_| Slot::default()).collect(),
            idle: RefCell::default(),
            waiting: RefCell::default(),
            waiting_max,
            mode: Cell::new(Mode::Rest),
            schedule: RefCell::default(),
            next: Cell::default(),
            began: Cell::new(Instant::now()),
            windows: RefCell::default(),
            under_way: Cell::default(),
            work: Cell::default(),
            next_seq: Cell::new(thread),
            seq_step: threads,
            settled: Notify::new(),
            stopped: Cell::default(),
        }
    }

    /// Begins an open phase.
    pub fn open(&self, mut schedule: Schedule, began: Instant, random: &RefCell<SmallRng>) {
        self.next.set(schedule.next(&mut random.borrow_mut()));
        *self.schedule.borrow_mut() = Some(schedule);
        self.began.set(began);
        self.mode.set(Mode::Open);
    }

    /// Begins a closed phase on the first `lanes` lanes.
    pub fn closed(&self, lanes: usize, think: Duration, windows: Vec<Window>) {
        *self.windows.borrow_mut() = windows;
        self.mode.set(Mode::Closed { lanes, think });
        self.wake_all();
    }

    /// Ends the phase: nothing more falls due, and nothing that waits will be started.
    pub fn rest(&self, record: &RefCell<Record>) {
        self.mode.set(Mode::Rest);
        *self.schedule.borrow_mut() = None;
        self.next.set(None);
        for job in self.waiting.borrow_mut().drain(..) {
            record.borrow_mut().not_started(job.operation, job.stage);
        }
    }

    /// Whether callers wait for their answers now.
    pub fn is_closed_loop(&self) -> bool {
        matches!(self.mode.get(), Mode::Closed { .. })
    }

    /// When the next call is due; none when there will be none.
    pub fn next_due(&self) -> Option<Instant> {
        Some(self.began.get() + self.next.get()?.at)
    }

    /// Calls that have been handed to lanes and have not ended.
    pub fn under_way(&self) -> u64 {
        self.under_way.get()
    }

    /// Calls that are due and wait.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Moves on everything that is due by `now`.
    pub fn advance(&self, now: Instant, plan: &Plan, record: &RefCell<Record>, random: &RefCell<SmallRng>) {
        while let Some(due) = self.next.get() {
            let at = self.began.get() + due.at;
            if at > now || self.stopped.get() {
                return;
            }
            let random = &mut *random.borrow_mut();
            self.next
                .set(self.schedule.borrow_mut().as_mut().and_then(|s| s.next(random)));
            let job = self.job(at, due.stage, plan, random);
            let record = &mut *record.borrow_mut();
            record.due(job.operation, job.stage);
            if let Some(lane) = self.idle.borrow_mut().pop_front() {
                self.hand(lane, job);
            } else if self.waiting.borrow().len() < self.waiting_max {
                self.waiting.borrow_mut().push_back(job);
            } else {
                record.not_started(job.operation, job.stage);
            }
        }
    }

    /// The lane's next call. `free` is when it became free.
    pub async fn take(
        &self,
        lane: usize,
        free: Instant,
        plan: &Plan,
        record: &RefCell<Record>,
        random: &RefCell<SmallRng>,
    ) -> Job {
        loop {
            match self.mode.get() {
                Mode::Open => {
                    self.advance(free, plan, record, random);
                    let waiting = self.waiting.borrow_mut().pop_front();
                    if let Some(job) = waiting {
                        self.under_way.set(self.under_way.get() + 1);
                        return job;
                    }
                }
                Mode::Closed { lanes, think } if lane < lanes && !self.stopped.get() => {
                    if !think.is_zero() {
                        tokio::time::sleep(think).await;
                    }
                    if let Some(job) = self.again(plan, record, random) {
                        return job;
                    }
                }
                Mode::Closed { .. } | Mode::Rest => {}
            }
            if let Some(job) = self.wait(lane).await {
                return job;
            }
        }
    }

    /// A call has ended.
    pub fn ended(&self) {
        self.work.set(self.work.get() + 1);
        self.under_way.set(self.under_way.get().saturating_sub(1));
        if self.under_way.get() == 0 && self.waiting.borrow().is_empty() {
            self.settled.notify_one();
        }
    }

    /// A closed loop's next call, if its time is not over.
    fn again(&self, plan: &Plan, record: &RefCell<Record>, random: &RefCell<SmallRng>) -> Option<Job> {
        let now = Instant::now();
        let windows = self.windows.borrow();
        let over = windows.last().is_none_or(|(.., end)| now >= *end);
        if over || self.stopped.get() || !matches!(self.mode.get(), Mode::Closed { .. }) {
            return None;
        }
        let within = windows
            .iter()
            .find(|(_, begin, end)| (*begin..*end).contains(&now));
        let stage = within.and_then(|(stage, ..)| *stage);
        let job = self.job(now, stage, plan, &mut random.borrow_mut());
        record.borrow_mut().due(job.operation, job.stage);
        self.under_way.set(self.under_way.get() + 1);
        Some(job)
    }

    fn job(&self, due: Instant, stage: Option<usize>, plan: &Plan, random: &mut SmallRng) -> Job {
        let seq = self.next_seq.get();
        self.next_seq.set(seq + self.seq_step);
        self.work.set(self.work.get() + 1);
        Job {
            operation: plan.pick(random),
            stage,
            due,
            seq,
        }
    }

    fn hand(&self, lane: usize, job: Job) {
        let slot = &self.slots[lane];
        slot.idle.set(false);
        slot.job.set(Some(job));
        self.under_way.set(self.under_way.get() + 1);
        let waker = slot.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Until a job is handed over, or the phase changes (then there is none).
    async fn wait(&self, lane: usize) -> Option<Job> {
        let slot = &self.slots[lane];
        let mut first = true;
        poll_fn(|cx| {
            if let Some(job) = slot.job.take() {
                return Poll::Ready(Some(job));
            }
            if !std::mem::take(&mut first) && !slot.idle.get() {
                return Poll::Ready(None);
            }
            if !slot.idle.replace(true) {
                self.idle.borrow_mut().push_back(lane);
            }
            *slot.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn wake_all(&self) {
        self.idle.borrow_mut().clear();
        for slot in &self.slots {
            slot.idle.set(false);
            let waker = slot.waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
