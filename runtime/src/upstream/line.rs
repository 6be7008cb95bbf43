//! A line of waiting calls: what becomes free is given to its head.
//!
//! Leaving the line is dropping one's place. What was granted to a place and not taken is handed back with it,
//! so nothing is lost when a call is given up at the very moment its turn comes.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// Who waits, oldest first.
pub(super) struct Line<T> {
    places: RefCell<VecDeque<Rc<Waiting<T>>>>,
    places_max: usize,
}

struct Waiting<T> {
    /// Set when the head of the line was this one.
    called: Cell<bool>,
    granted: RefCell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

/// One's place in a line.
pub(super) struct Place<'l, T> {
    line: &'l Line<T>,
    waiting: Rc<Waiting<T>>,
}

impl<T> Line<T> {
    pub(super) fn new(places_max: usize) -> Self {
        Self {
            places: RefCell::default(),
            places_max,
        }
    }

    /// A place at the end, if the line is not full.
    pub(super) fn enter(&self) -> Option<Place<'_, T>> {
        let mut places = self.places.borrow_mut();
        if places.len() >= self.places_max {
            return None;
        }
        let (called, granted, waker) = (Cell::new(false), RefCell::new(None), Cell::new(None));
        let waiting = Rc::new(Waiting {
            called,
            granted,
            waker,
        });
        places.push_back(waiting.clone());
        Some(Place { line: self, waiting })
    }

    /// Gives `what` to the head of the line, or back when nobody waits.
    pub(super) fn give(&self, what: T) -> Option<T> {
        let Some(head) = self.places.borrow_mut().pop_front() else {
            return Some(what);
        };
        head.called.set(true);
        *head.granted.borrow_mut() = Some(what);
        if let Some(waker) = head.waker.take() {
            waker.wake();
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.places.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Place<'_, T> {
    /// Waits for one's turn.
    pub(super) async fn turn(&self) -> T {
        poll_fn(|cx| match self.waiting.granted.borrow_mut().take() {
            Some(granted) => Poll::Ready(granted),
            None => {
                self.waiting.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    /// Leaves the line, with what was granted and not taken.
    pub(super) fn leave(&self) -> Option<T> {
        if !self.waiting.called.replace(true) {
            let mut places = self.line.places.borrow_mut();
            // Who leaves has most often waited longest.
            if let Some(at) = places.iter().position(|w| Rc::ptr_eq(w, &self.waiting)) {
                places.remove(at);
            }
        }
        self.waiting.granted.borrow_mut().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_head_is_served_first_and_a_full_line_turns_away() {
        let line = Line::new(2);
        let (one, two) = (line.enter().expect("room"), line.enter().expect("room"));
        assert!(line.enter().is_none());
        assert_eq!(one.turn().now_or_never(), None);
        assert_eq!(line.give("first"), None);
        assert_eq!(two.turn().now_or_never(), None);
        assert_eq!(one.turn().now_or_never(), Some("first"));
        assert_eq!(line.give("second"), None);
        assert_eq!(line.give("third"), Some("third"), "nobody waits");
        assert_eq!(two.leave(), Some("second"), "granted and not taken");
    }

    #[test]
    fn who_leaves_is_passed_over() {
        let line = Line::new(8);
        let (one, two) = (line.enter().expect("room"), line.enter().expect("room"));
        assert_eq!(one.leave(), None);
        assert_eq!(line.len(), 1);
        assert_eq!(line.give(7), None);
        assert_eq!(two.turn().now_or_never(), Some(7));
        assert!(line.is_empty());
    }
}
