//! Long work that no call should wait for, done beside the workers: compiling a publication, and taking one down.
//!
//! With thousands of tools the first is a second of work, and freeing them is milliseconds that the calls of a worker
//! would wait for. Where processors are few, calls go first: such threads step back behind the workers.

use super::view::Live;
use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

/// How far they step back, in niceness: a third of a worker's share of a processor that both want.
const STEP_BACK: i32 = 5;

/// Does `work` on a thread of its own and waits for it.
pub fn compile<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("ringway-compile".to_owned())
            .spawn_scoped(scope, || {
                step_back();
                work()
            })?;
        worker.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Where views of publications that are over go: whoever is the last to know one must not be a worker.
#[derive(Clone)]
pub struct Retired(mpsc::Sender<Arc<Live>>);

impl Retired {
    /// Starts the thread that drops them. It ends with the last of these.
    pub fn start() -> io::Result<Self> {
        let (retired, dropped) = mpsc::channel::<Arc<Live>>();
        thread::Builder::new()
            .name("ringway-retired".to_owned())
            .spawn(move || {
                step_back();
                dropped.into_iter().for_each(drop);
            })?;
        Ok(Self(retired))
    }

    /// Hands over a share of a publication, before the holder lets go of its own.
    pub fn take(&self, live: &Arc<Live>) {
        // At the end of the process nobody is there to take it.
        let _ = self.0.send(live.clone());
    }
}

fn step_back() {
    if let Err(error) = rustix::process::nice(STEP_BACK) {
        tracing::debug!("a thread beside the workers keeps their priority: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_proto::snapshot::Document;

    fn live() -> Arc<Live> {
        let document: Document =
            serde_json::from_str(r#"{"format": 1, "number": 1, "servers": []}"#).expect("sound");
        Arc::new(Live::compile(&document, None).expect("sound"))
    }

    #[test]
    fn what_is_retired_is_dropped_elsewhere() {
        let retired = Retired::start().expect("a thread");
        let live = live();
        let gone = Arc::downgrade(&live);
        retired.take(&live);
        drop(live);
        // The thread ends when it has dropped everything and nobody can send it more.
        drop(retired);
        while gone.strong_count() > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn work_is_done_behind_the_workers_and_its_panic_is_the_callers() {
        let usual = rustix::process::getpriority_process(None).expect("told");
        let there = compile(|| rustix::process::getpriority_process(None).expect("told")).expect("a thread");
        assert_eq!(there, (usual + STEP_BACK).min(19));
        assert_eq!(rustix::process::getpriority_process(None).expect("told"), usual);
        let panic = std::panic::catch_unwind(|| compile(|| panic!("planted")));
        assert!(panic.is_err());
    }
}
