//! Starts the loop of one thread: io_uring where the host allows it, epoll where it does not.
//!
//! The ring is built on the thread that runs it (a `SINGLE_ISSUER` ring run by another thread makes no progress
//! and reports no error). `SINGLE_ISSUER | COOP_TASKRUN` costs a third less CPU per call than the default flags;
//! `DEFER_TASKRUN` is not used because monoio submits without asking for events and would miss completions.

use super::timer;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use rustix::io::Errno;
use std::{cell::Cell, future::Future, io, sync::Once};

/// Submission queue entries of a ring: operations that can be queued between two turns of the loop. More only
/// means one more system call, so the bound is soft; 1,024 entries are about 100 KiB of locked memory.
const RING_ENTRIES: u32 = 1024;
/// Completion queue entries: several thousand connections may speak at once without the kernel's overflow list.
const RING_COMPLETIONS: u32 = 4096;

/// Which kernel interface a worker uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// io_uring; epoll where the host forbids it (one warning for the process says why).
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// epoll.
    Epoll,
}

impl std::str::FromStr for Driver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            other => Err(format!(
                "unknown I/O driver {other:?}: expected auto, uring or epoll"
            )),
        }
    }
}

/// The interface a thread ended up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

thread_local! {
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// The interface of this thread's loop; `None` outside [`run`].
pub fn running() -> Option<Running> {
    RUNNING.get()
}

/// Runs `future` on this thread until it is done. Everything it spawned must have ended by then: tasks that are
/// still waiting for the kernel are dropped with the ring.
pub fn run<F: Future>(driver: Driver, future: F) -> io::Result<F::Output> {
    let refused = match driver {
        Driver::Epoll => None,
        Driver::Auto | Driver::Uring => match build_ring() {
            Ok(mut runtime) => {
                let _mark = Mark::set(Running::Uring);
                return runtime.block_on(with_timers(future));
            }
            Err(error) if driver == Driver::Uring => return Err(explained(error)),
            Err(error) => Some(error),
        },
    };
    if let Some(error) = refused {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing::warn!(
                "io_uring is not available, using epoll instead: {}",
                explained(error)
            );
        });
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new()
        .with_entries(RING_ENTRIES)
        .build()?;
    let _mark = Mark::set(Running::Epoll);
    runtime.block_on(with_timers(future))
}

async fn with_timers<F: Future>(future: F) -> io::Result<F::Output> {
    let (_timers, bell) = timer::install()?;
    super::spawn(async {
        if let Err(error) = bell.ring().await {
            tracing::error!("this thread's deadlines do not come any more: {error}");
        }
    });
    Ok(future.await)
}

type Ring = monoio::Runtime<IoUringDriver>;

fn build_ring() -> io::Result<Ring> {
    let build = |flags: bool| {
        let mut ring = io_uring::IoUring::builder();
        ring.setup_cqsize(RING_COMPLETIONS);
        if flags {
            ring.setup_single_issuer().setup_coop_taskrun();
        }
        RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(RING_ENTRIES)
            .uring_builder(ring)
            .build()
    };
    match build(true) {
        // A kernel before 6.0 knows the interface but not the flags.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            if monoio::utils::detect_uring() {
                build(false)
            } else {
                Err(error)
            }
        }
        other => other,
    }
}

/// Adds to the kernel's word what an operator can do about it.
fn explained(error: io::Error) -> io::Error {
    let hint = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOMEM) => {
            "locked memory is exhausted; raise RLIMIT_MEMLOCK (LimitMEMLOCK=, --ulimit memlock) to at least \
             256 KiB per worker"
        }
        Some(Errno::PERM | Errno::ACCESS) => {
            "forbidden by seccomp or by kernel.io_uring_disabled; allow io_uring_setup, io_uring_enter and \
             io_uring_register in the container's profile"
        }
        Some(Errno::NOSYS) => "the kernel or the sandbox does not offer it; Linux 5.11 or newer has it",
        Some(Errno::INVAL) => "the kernel is too old for the operations needed; Linux 6.0 or newer is best",
        _ => "set the driver to epoll to silence this",
    };
    io::Error::new(error.kind(), format!("{error} ({hint})"))
}

/// Sets [`running`] for the time of a loop.
struct Mark;

impl Mark {
    fn set(running: Running) -> Self {
        RUNNING.set(Some(running));
        Self
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        RUNNING.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_drivers_run_a_future_and_a_timer() {
        for (driver, expected) in [(Driver::Uring, Running::Uring), (Driver::Epoll, Running::Epoll)] {
            let ran = run(driver, async {
                crate::io::sleep(std::time::Duration::from_millis(1)).await;
                running()
            });
            assert_eq!(ran.unwrap(), Some(expected));
            assert_eq!(running(), None);
        }
    }

    #[test]
    fn an_out_of_memory_ring_says_what_to_raise() {
        let text = explained(io::Error::from_raw_os_error(Errno::NOMEM.raw_os_error())).to_string();
        assert!(text.contains("MEMLOCK"), "{text}");
    }

    #[test]
    fn driver_names_are_read_and_others_refused() {
        assert_eq!("epoll".parse(), Ok(Driver::Epoll));
        assert!("kqueue".parse::<Driver>().is_err());
    }
}
