//! Established: the word that a subscription stands at its server.
//!
//! A client that is told "subscribed" may provoke the very update it waits for with its next message. So the
//! answer waits until the server has confirmed, or until it is clear that it will not do so soon: one slow or dead
//! server must not keep a client from everything else.

use crate::io;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a client waits for servers to confirm.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Held by whoever still establishes something. Dropping it is the word.
#[derive(Clone, Debug)]
pub struct Pending {
    _held: mpsc::Sender<()>,
}

/// Waits for every [`Pending`] of its pair.
pub struct Ready(mpsc::Receiver<()>);

/// One to hold (and to clone for others who establish something), one to wait with.
pub fn pair() -> (Pending, Ready) {
    let (held, ready) = mpsc::channel(1);
    (Pending { _held: held }, Ready(ready))
}

impl Ready {
    /// Waits until everything stands, at most [`READY_WITHIN`].
    pub async fn wait(mut self) {
        // Nobody sends: the channel ends with its last holder. Too late is as good an end.
        _ = io::timeout(READY_WITHIN, self.0.recv()).await;
    }
}
