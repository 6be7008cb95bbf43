//! The pieces of work that are timed by the micro-benchmarks and counted in instructions: one list, so that both
//! speak of the same thing under the same name.
//!
//! A piece is prepared once and then done over and over. Where an operation depends on where a hash table put a
//! thing, one piece of work takes another thing each time, so that no table's luck shows in the figure.

mod formats;
mod rooms;

pub use rooms::{Fixture, fleet};

/// One piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// `crate.room.what`; the name in the baseline.
    pub name: &'static str,
    /// How often it is done in the shorter of the two runs that are counted: enough to be far above what one run
    /// differs from the next by, little enough for a simulator that is fifty times slower than the machine.
    pub rounds: u32,
    /// Sets up, and gives what is to be done over and over.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// Every piece of work, in the order in which a call meets it.
pub fn all() -> impl Iterator<Item = &'static Work> {
    formats::ALL.iter().chain(rooms::ALL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_piece_of_work_can_be_done_twice() {
        let mut names = HashSet::new();
        for work in all() {
            assert!(names.insert(work.name), "{} stands twice", work.name);
            let mut once = (work.prepare)();
            once();
            once();
        }
    }
}
