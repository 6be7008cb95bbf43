//! A common start: a run that is ready waits to hear when to begin, so that several begin together.

use std::time::Instant;
use tokio::sync::oneshot;

/// The run's end of it.
#[derive(Debug)]
pub struct StartSignal {
    ready: oneshot::Sender<()>,
    at: oneshot::Receiver<Instant>,
}

impl StartSignal {
    /// A signal, and the starter's ends: told when all is ready, and telling when to begin.
    pub fn new() -> (Self, oneshot::Receiver<()>, oneshot::Sender<Instant>) {
        let (ready, is_ready) = oneshot::channel();
        let (start, at) = oneshot::channel();
        (Self { ready, at }, is_ready, start)
    }

    /// Says that all is ready, and waits to hear when to begin; none when the run was given up.
    pub async fn wait(self) -> Option<Instant> {
        // Whoever gave up waiting has dropped the other one too.
        let _ = self.ready.send(());
        self.at.await.ok()
    }
}
