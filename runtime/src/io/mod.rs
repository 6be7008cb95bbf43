//! The one door to the kernel: sockets, timers and tasks of a worker, with owned buffers in the interface.
//!
//! No other module names monoio, so another runtime (or a ring of our own) can take its place here. What the
//! module promises to its callers, each line because the opposite was reproduced as a failure:
//!
//! * Nothing that was read is ever lost: reads append to a buffer that always comes back, and a read that must
//!   end early is cancelled and then awaited ([`Stream::read_append_until`]), never dropped.
//! * Accepting cannot leak a descriptor: [`TcpListener::accept`] waits for readiness and then takes the
//!   connection with one `accept4(SOCK_CLOEXEC)`, so there is no accept in flight that could be dropped.
//! * A panic stays in its task: [`spawn`] catches it and logs it; one left alone would end the worker's thread.
//! * [`yield_now`] lets other tasks run. Never wake your own task from inside its poll instead: the scheduler
//!   would run it again at once, for ever.
//! * Deadlines come however busy the worker is ([`sleep`]): the kernel rings for them as for any other descriptor.
//! * Names are not resolved here; [`connect_tcp`] takes an address.
//!
//! How to read it: `driver` starts a thread's loop, `listener`, `socket` and `stream` are the sockets, `tls` wraps a
//! stream, `poll` is the bridge to `h2`, which polls; `timer` keeps time with a `wheel`.

mod driver;
mod listener;
mod poll;
mod recycled;
mod room;
mod socket;
mod stream;
mod task;
#[cfg(test)]
mod tests;
mod timer;
pub mod tls;
mod wheel;

pub use driver::{Driver, Running, run, running};
pub use listener::{TcpListener, bind_std, check_free, keep_alive};
pub use poll::{Gathering, PollStream};
pub use recycled::{recycle, recycled};
pub use room::Room;
pub use socket::ReadUntil;
pub use stream::{Stream, connect_tcp, connect_unix};
pub use task::{Task, first, race, spawn, yield_now};
pub use timer::{Deadline, Elapsed, Sleep, Timeout, sleep, sleep_until, timeout, timeout_at};
