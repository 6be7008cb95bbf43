//! MCP as a load generator needs it: requests of both eras made from templates, answers judged at a glance, and
//! the greeting that settles which revision is spoken.
//!
//! [`Dialect`] dresses requests, [`judge`] reads answers, [`greet`] opens sessions and finds revisions out.

mod dialect;
mod glance;
mod greet;
mod judge;

pub use dialect::{Dialect, Dressed, Frame};
pub use glance::{Glance, glance};
pub use greet::{GreetFailure, Greeted, Greeter, discover, greet};
pub use judge::{BAD_ANSWER, Expectation, Failing, judge};
