//! A thread's word on each second.

use super::{
    flow::Flow,
    lane::Common,
    meter::Usage,
    pace::Pace,
    phase::{Tick, Word},
    record::Record,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};
use tokio::sync::mpsc::UnboundedSender;

/// How far the telling of one phase has come.
pub struct Ticks {
    pub began: Instant,
    pub next: Cell<u64>,
    pub used: Cell<Usage>,
    pub words: UnboundedSender<Word>,
}

/// What is looked at to tell of a second.
pub struct Teller {
    pub common: Rc<Common>,
    pub flow: Rc<Flow>,
    pub record: Rc<RefCell<Record>>,
    pub pace: Rc<Pace>,
}

impl Teller {
    /// Tells of the second that ends now, and begins the next.
    pub fn tell(&self, ticks: &Ticks) {
        let used = Usage::now(&self.pace);
        let spent = used.since(&ticks.used.replace(used));
        let record = &mut *self.record.borrow_mut();
        let tick = Tick {
            began: ticks.began,
            index: ticks.next.replace(ticks.next.get() + 1),
            second: record.second.take(),
            counts: record.counts.clone(),
            in_flight: self.flow.under_way(),
            waiting: self.flow.waiting() as u64,
            connections: self.common.connections.get(),
            strain: spent.strain(),
        };
        // Nobody listens any more only when the run is given up.
        let _ = ticks.words.send(Word::Tick(Box::new(tick)));
    }
}
