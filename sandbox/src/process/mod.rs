//! Supervised local processes: started with a small environment, stopped to the last descendant.
//!
//! Constraints:
//! - A server may be a chain of wrappers (`npx` → `sh` → `node`) and may start helpers of its own, some of which
//!   leave the process group or the session. All of them must be gone after a stop, and after a crash.
//! - No descriptor of ours may leak into a child; the standard library opens everything close-on-exec.
//! - `unsafe` is forbidden, so nothing runs between fork and exec. What must hold for descendants is arranged from
//!   outside: own process group, a marker in the environment, and this process as their subreaper.
//!
//! How to read it: [`launch`] says what is started and with which environment, [`child`] runs one process from
//! spawn to gone, [`descendants`] finds and ends whatever a process left behind, [`orphans`] waits for adopted
//! processes so that none stays a zombie, [`owner`] ends what a killed gateway left running, [`backoff`] decides when
//! a failed one may be tried again.

pub(crate) mod backoff;
pub(crate) mod child;
mod descendants;
mod launch;
pub(crate) mod orphans;
pub(crate) mod owner;
mod proc;

pub use child::End;
pub use launch::{INHERITED, Launch, MARKER, PACKAGE_RUNNERS, RUNNER_INHERITED};
pub use owner::{FILE as OWNER_FILE, is_claimed};
