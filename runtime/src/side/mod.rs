//! The side thread: one tokio current-thread runtime beside the workers.
//!
//! Workers own rings and must never wait for anything slow; what is slow or needs tokio lives here: name
//! lookups, the snapshot feed, key sets, telemetry export, the admin listener. Workers and side tasks talk
//! through channels whose wakes are runtime-neutral (`async-channel`, `tokio::sync`).
//!
//! Stopping drops every task at its next await. A task that must finish something first (flush a spool) is to
//! be told and awaited by its owner before [`SideThread::stop`].

pub mod dns;

use ringway_core::limits::{SIDE_BLOCKING_THREADS_MAX, SIDE_STOP_MS};
use std::{future::Future, io, thread::JoinHandle, time::Duration};
use tokio::sync::oneshot;

/// The running thread. Dropping it stops the thread and waits for its end.
pub struct SideThread {
    handle: SideHandle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts tasks on the side thread, from any thread. After the stop, tasks are dropped unrun.
#[derive(Clone, Debug)]
pub struct SideHandle {
    runtime: tokio::runtime::Handle,
}

impl SideThread {
    /// Builds the runtime here, so that its errors are the caller's, and runs it on a thread called `name`.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(SIDE_BLOCKING_THREADS_MAX)
            .thread_name(format!("{name}-block"))
            .build()?;
        let handle = SideHandle {
            runtime: runtime.handle().clone(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Both a message and a dropped sender mean stop.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(Duration::from_millis(SIDE_STOP_MS));
        })?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// A way to start tasks here.
    pub fn handle(&self) -> SideHandle {
        self.handle.clone()
    }

    /// Drops all tasks and waits for the thread's end.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for SideThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the side thread panicked");
        }
    }
}

impl SideHandle {
    /// Starts a task. The returned handle may be awaited on a worker too; dropping it detaches the task.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(task)
    }

    /// The tokio handle itself, for libraries that ask for one.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_on_the_named_thread_and_answer_other_threads() {
        let side = SideThread::start("side-test").expect("starts");
        let task = side
            .handle()
            .spawn(async { std::thread::current().name().map(str::to_owned) });
        let name = wait_for(task).expect("ran");
        assert_eq!(name.as_deref(), Some("side-test"));
        side.stop();
    }

    #[test]
    fn stopping_drops_waiting_tasks_and_later_ones() {
        let side = SideThread::start("side-stop").expect("starts");
        let handle = side.handle();
        let (kept, dropped) = oneshot::channel::<()>();
        let (started, running) = oneshot::channel::<()>();
        let task = handle.spawn(async move {
            let _ = started.send(());
            let _kept = kept;
            std::future::pending::<()>().await;
        });
        wait_for(running).expect("started");
        side.stop();
        assert!(wait_for(task).expect_err("was cancelled").is_cancelled());
        assert!(wait_for(dropped).is_err(), "what the task held is gone");
        let late = handle.spawn(async {});
        assert!(wait_for(late).is_err());
    }

    #[test]
    fn a_panicking_task_does_not_end_the_thread() {
        let side = SideThread::start("side-panic").expect("starts");
        let bad = side.handle().spawn(async { panic!("a task's own fault") });
        assert!(wait_for::<Result<(), _>>(bad).expect_err("panicked").is_panic());
        assert_eq!(wait_for(side.handle().spawn(async { 7 })).expect("still runs"), 7);
    }

    /// Waits on this thread, outside of any runtime, as a foreign worker would.
    fn wait_for<T>(future: impl Future<Output = T>) -> T {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        loop {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            std::thread::park();
        }
    }
}
