//! Who makes the calls: one trait, so that another generator can witness ours.

mod loadtest;
mod wrk;

use super::{
    failure::Result,
    place::Placement,
    work::{Answered, Work},
};
use std::path::Path;

pub use loadtest::Loadtest;
pub use wrk::Wrk;

/// Makes calls and says what became of them.
pub trait Generator {
    /// For reports.
    fn name(&self) -> &'static str;

    /// Does the work from the load's processor and gives what it saw. Files go to `dir`.
    fn run(&self, work: &Work, placement: &Placement, dir: &Path) -> Result<Answered>;
}
