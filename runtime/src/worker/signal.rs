//! What one worker's tasks wait for besides the kernel: the stage of its life, its last connection, a turn.
//!
//! All of it is local to a thread: cells and wakers, no atomics. Waiting is a slot in a table, taken once for a
//! connection's life, so that waiting for the next request costs no allocation.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Where a worker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// New connections and new calls are welcome.
    #[default]
    Serving,
    /// What has begun is finished, nothing new begins.
    Draining,
    /// The deadline has passed: connections end now.
    Cut,
}

/// One worker's stage, and who waits for it.
#[derive(Default)]
pub struct Signal {
    stage: Cell<Stage>,
    slots: RefCell<Slots>,
}

#[derive(Default)]
struct Slots {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Signal {
    /// The stage now.
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Moves on to `stage` and wakes everybody. A worker never goes back.
    pub fn set(&self, stage: Stage) {
        if stage <= self.stage.get() {
            return;
        }
        self.stage.set(stage);
        let waiting: Vec<Waker> = self
            .slots
            .borrow_mut()
            .wakers
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// A place to wait from, for one task.
    pub fn watch(self: &Rc<Self>) -> Watch {
        let slots = &mut *self.slots.borrow_mut();
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.wakers.push(None);
            slots.wakers.len() - 1
        });
        Watch {
            signal: self.clone(),
            slot,
        }
    }
}

/// One task's view of a [`Signal`].
pub struct Watch {
    signal: Rc<Signal>,
    slot: usize,
}

impl Watch {
    /// The stage now.
    pub fn stage(&self) -> Stage {
        self.signal.stage()
    }

    /// Ready once the worker has reached `stage`. Only one task may wait with one watch.
    pub fn poll_reached(&self, stage: Stage, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.stage() >= stage {
            return Poll::Ready(());
        }
        let slot = &mut self.signal.slots.borrow_mut().wakers[self.slot];
        match slot {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => *slot = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until the worker has reached `stage`.
    pub async fn reached(&self, stage: Stage) {
        poll_fn(|cx| self.poll_reached(stage, cx)).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let slots = &mut *self.signal.slots.borrow_mut();
        slots.wakers[self.slot] = None;
        slots.free.push(self.slot);
    }
}

/// Counts what is alive and tells when there is nothing left.
#[derive(Default)]
pub struct Live {
    count: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

impl Live {
    /// One more, until the guard is dropped.
    pub fn enter(self: &Rc<Self>) -> LiveGuard {
        self.count.set(self.count.get() + 1);
        LiveGuard(self.clone())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.get()
    }

    /// Waits until there are none. One task may wait.
    pub async fn none(&self) {
        poll_fn(|cx| {
            if self.count.get() == 0 {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// One of the living.
pub struct LiveGuard(Rc<Live>);

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let left = self.0.count.get() - 1;
        self.0.count.set(left);
        if left == 0
            && let Some(waker) = self.0.waiting.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

/// A bound on how many tasks of a worker do something at once; the others wait in order.
pub struct Gate {
    free: Cell<usize>,
    queue: RefCell<VecDeque<Rc<Turn>>>,
}

struct Turn {
    given: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Gate {
    /// A gate for `n` at once.
    pub fn new(n: usize) -> Rc<Self> {
        Rc::new(Self {
            free: Cell::new(n),
            queue: RefCell::default(),
        })
    }

    /// Waits for a turn, which lasts until the pass is dropped. May be dropped while waiting.
    pub async fn pass(self: &Rc<Self>) -> Pass {
        if self.free.get() > 0 {
            self.free.set(self.free.get() - 1);
            return Pass(self.clone());
        }
        let turn = Rc::new(Turn {
            given: Cell::new(false),
            waker: RefCell::default(),
        });
        self.queue.borrow_mut().push_back(turn.clone());
        let waiting = Waiting {
            gate: self.clone(),
            turn,
        };
        poll_fn(|cx| {
            if waiting.turn.given.get() {
                return Poll::Ready(());
            }
            *waiting.turn.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        waiting.turn.given.set(false);
        Pass(self.clone())
    }

    fn release(&self) {
        match self.queue.borrow_mut().pop_front() {
            Some(turn) => {
                turn.given.set(true);
                if let Some(waker) = turn.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
            None => self.free.set(self.free.get() + 1),
        }
    }
}

/// A turn that has come.
pub struct Pass(Rc<Gate>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Somebody in the queue; leaving it early hands a turn that was just given to the next.
struct Waiting {
    gate: Rc<Gate>,
    turn: Rc<Turn>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.turn.given.get() {
            self.gate.release();
        } else {
            self.gate
                .queue
                .borrow_mut()
                .retain(|turn| !Rc::ptr_eq(turn, &self.turn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;

    #[test]
    fn everybody_hears_of_a_stage_once_it_is_reached() {
        let signal = Rc::new(Signal::default());
        let (a, b) = (signal.watch(), signal.watch());
        assert_eq!(a.reached(Stage::Draining).now_or_never(), None);
        signal.set(Stage::Draining);
        assert_eq!(a.reached(Stage::Draining).now_or_never(), Some(()));
        assert_eq!(b.reached(Stage::Cut).now_or_never(), None);
        signal.set(Stage::Cut);
        signal.set(Stage::Draining);
        assert_eq!(b.reached(Stage::Cut).now_or_never(), Some(()));
    }

    #[test]
    fn slots_are_used_again() {
        let signal = Rc::new(Signal::default());
        for _ in 0..10 {
            drop(signal.watch());
        }
        assert_eq!(signal.slots.borrow().wakers.len(), 1);
    }

    #[test]
    fn a_gate_lets_the_next_in_line_in() {
        let gate = Gate::new(1);
        let first = gate.pass().now_or_never().unwrap();
        let mut second = pin!(gate.pass());
        let mut third = pin!(gate.pass());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.now_or_never().unwrap();
        drop(second);
        drop(third.now_or_never().unwrap());
        assert!(gate.pass().now_or_never().is_some());
    }

    #[test]
    fn one_who_leaves_the_line_passes_the_turn_on() {
        let gate = Gate::new(1);
        let held = gate.pass().now_or_never().unwrap();
        {
            let mut leaves_early = Box::pin(gate.pass());
            let mut leaves_late = Box::pin(gate.pass());
            assert!(leaves_early.as_mut().now_or_never().is_none());
            assert!(leaves_late.as_mut().now_or_never().is_none());
            drop(leaves_early);
            drop(held);
            drop(leaves_late);
        }
        assert!(gate.pass().now_or_never().is_some());
    }

    #[test]
    fn the_last_one_out_is_noticed() {
        let live = Rc::new(Live::default());
        let one = live.enter();
        assert_eq!(live.none().now_or_never(), None);
        drop(one);
        assert_eq!(live.none().now_or_never(), Some(()));
    }
}
