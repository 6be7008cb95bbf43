//! A line is one connection's place. Over HTTP/1.1 one lane owns what it opens there; over HTTP/2 all the lanes of
//! a line share one connection, and whoever first finds it spent opens the next.

use crate::wire::{Connection, Fault, Target};
use std::cell::{Cell, RefCell};
use tokio::sync::Mutex;

/// See the module.
pub struct Line {
    to: Target,
    target: usize,
    /// The connection that others share.
    shared: RefCell<Option<Connection>>,
    /// Held while one lane opens it for all.
    opening: Mutex<()>,
}

impl Line {
    /// To the target of this number.
    pub fn new(to: Target, target: usize) -> Self {
        Self {
            to,
            target,
            shared: RefCell::default(),
            opening: Mutex::default(),
        }
    }

    /// The number of its target.
    pub fn target(&self) -> usize {
        self.target
    }

    /// A connection to call on; `old` is what the lane had, and `spent` that it shall not be used again although it
    /// could.
    pub async fn connection(
        &self,
        open: &Cell<u64>,
        old: Option<Connection>,
        spent: bool,
    ) -> Result<Connection, Fault> {
        if old.as_ref().is_some_and(|old| !old.is_multiplexed()) {
            open.set(open.get().saturating_sub(1));
        }
        drop(old);
        let _alone = self.opening.lock().await;
        let shared = self.shared.borrow_mut().take();
        if let Some(shared) = shared {
            let again = (!spent && shared.is_reusable()).then(|| shared.share()).flatten();
            if let Some(again) = again {
                *self.shared.borrow_mut() = Some(shared);
                return Ok(again);
            }
            open.set(open.get().saturating_sub(1));
        }
        let opened = Connection::open(&self.to).await?;
        open.set(open.get() + 1);
        let Some(handle) = opened.share() else {
            return Ok(opened);
        };
        *self.shared.borrow_mut() = Some(opened);
        Ok(handle)
    }
}
