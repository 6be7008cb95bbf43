//! Tasks on one worker.

use futures_util::FutureExt;
use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    task::{Context, Poll},
};

/// A spawned task; dropping the handle lets the task go on.
pub struct Task<T>(monoio::task::JoinHandle<Option<T>>);

impl<T> Future for Task<T> {
    /// `None` when the task panicked.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Starts a task on this worker. A panic in it is logged and ends that task only.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // Combinators and not an async block, here and below: a block keeps its argument beside what it makes of it,
    // and a task would be twice the size of its future.
    Task(monoio::spawn(AssertUnwindSafe(future).catch_unwind().map(
        |done| match done {
            Ok(output) => Some(output),
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .copied()
                    .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                    .unwrap_or("no message");
                tracing::error!("a task panicked and was ended: {text}");
                None
            }
        },
    )))
}

/// Lets every other ready task run, and completions be collected, before going on.
pub async fn yield_now() {
    monoio::spawn(async {}).await;
}

/// Whichever of two pinned futures is done first; the first named wins a tie. Neither is dropped.
pub async fn first<A, B>(mut a: Pin<&mut A>, mut b: Pin<&mut B>) -> Result<A::Output, B::Output>
where
    A: Future + ?Sized,
    B: Future + ?Sized,
{
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = a.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        b.as_mut().poll(cx).map(Err)
    })
    .await
}

/// [`first`] for small futures that may be dropped: `Ok` is the first's output, `Err` the second's.
pub async fn race<A: Future, B: Future>(a: A, b: B) -> Result<A::Output, B::Output> {
    first(pin!(a), pin!(b)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Driver, run};
    use std::{cell::Cell, rc::Rc};

    #[test]
    fn a_panic_ends_its_task_only() {
        for driver in [Driver::Uring, Driver::Epoll] {
            let outputs = run(driver, async {
                let bad = spawn(async { panic!("on purpose") });
                let good = spawn(async { 7 });
                (bad.await, good.await)
            });
            assert_eq!(outputs.unwrap(), (None::<()>, Some(7)));
        }
    }

    #[test]
    fn yielding_lets_other_tasks_run() {
        for driver in [Driver::Uring, Driver::Epoll] {
            run(driver, async {
                let turns = Rc::new(Cell::new(0));
                let other = turns.clone();
                spawn(async move {
                    for _ in 0..10 {
                        other.set(other.get() + 1);
                        yield_now().await;
                    }
                });
                while turns.get() < 10 {
                    yield_now().await;
                }
            })
            .unwrap();
        }
    }
}
