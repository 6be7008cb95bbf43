//! A channel of whole messages to one server and back, whatever carries it.
//!
//! Two carriers: the pipes of a local process ([`super::stdio`]) and a legacy HTTP+SSE server ([`super::sse`]).
//! Everything above sees messages in both directions and how the channel ended.

use crate::process::child::{Process, Wish};
use bytes::Bytes;
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, watch};

/// Messages read ahead of the router. Each may be as large as `line_bytes_max`, so few.
pub(super) const READ_AHEAD: usize = 4;

/// An open channel. Dropping it, [`Link`] included, closes it and stops the process.
pub(crate) struct Duplex {
    /// Each message is one line without its end.
    pub outgoing: mpsc::Sender<Bytes>,
    /// Closes when the server will send nothing more.
    pub incoming: mpsc::Receiver<Incoming>,
    /// The life of what is behind the channel.
    pub link: Link,
}

/// What a server sent.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// One line or event.
    Message(Bytes),
    /// A message longer than we take; its ends, because an id is often there.
    TooLong {
        /// The first bytes.
        head: Bytes,
        /// The last bytes.
        tail: Bytes,
    },
}

/// The life of a channel.
#[derive(Clone)]
pub(crate) enum Link {
    /// A local process.
    Process(Process),
    /// An event stream: tells how it ended, and takes the wish to end it.
    Stream {
        /// Set when it has ended.
        ended: watch::Receiver<Option<String>>,
        /// Set to end it; dropped with the last clone, which ends it too.
        stop: Arc<watch::Sender<bool>>,
    },
}

impl Link {
    /// Begins to end it; does not wait.
    pub(crate) fn stop(&self) {
        self.wish(Wish::Stop);
    }

    /// Ends it without any grace; does not wait.
    pub(crate) fn kill(&self) {
        self.wish(Wish::Kill);
    }

    fn wish(&self, wish: Wish) {
        match self {
            Self::Process(process) => process.stop(wish),
            Self::Stream { stop, .. } => {
                stop.send_replace(true);
            }
        }
    }

    /// Waits for the end and says how it was, as the rest of a sentence that begins with the server's name.
    pub(crate) async fn ended(&self) -> String {
        match self {
            Self::Process(process) => process.ended().await.to_string(),
            Self::Stream { ended, .. } => match ended.clone().wait_for(Option::is_some).await.as_deref() {
                Ok(Some(how)) => how.clone(),
                Ok(None) | Err(_) => "closed its event stream".to_owned(),
            },
        }
    }

    /// Waits until nothing is left of it.
    pub(crate) async fn gone(&self) {
        match self {
            Self::Process(process) => {
                process.gone().await;
            }
            Self::Stream { .. } => {
                self.ended().await;
            }
        }
    }

    /// A handle that does not keep it running.
    pub(crate) fn downgrade(&self) -> WeakLink {
        match self {
            Self::Process(process) => WeakLink::Process(process.downgrade()),
            Self::Stream { stop, .. } => WeakLink::Stream(Arc::downgrade(stop)),
        }
    }

    /// The local process, when there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(process) => Some(process.pid()),
            Self::Stream { .. } => None,
        }
    }

    /// What it said last on stderr, for operators.
    pub(crate) fn last_words(&self) -> String {
        match self {
            Self::Process(process) => process.last_words(),
            Self::Stream { .. } => String::new(),
        }
    }
}

/// See [`Link::downgrade`].
pub(crate) enum WeakLink {
    Process(Weak<watch::Sender<Wish>>),
    Stream(Weak<watch::Sender<bool>>),
}

impl WeakLink {
    /// Whether anybody keeps it running.
    pub(crate) fn is_held(&self) -> bool {
        match self {
            Self::Process(wish) => wish.strong_count() > 0,
            Self::Stream(stop) => stop.strong_count() > 0,
        }
    }

    /// Whether it is this link.
    pub(crate) fn is(&self, link: &Link) -> bool {
        match (self, link.downgrade()) {
            (Self::Process(own), Self::Process(other)) => own.ptr_eq(&other),
            (Self::Stream(own), Self::Stream(other)) => own.ptr_eq(&other),
            _ => false,
        }
    }

    /// Ends it without any grace; does not wait.
    pub(crate) fn kill(&self) {
        match self {
            Self::Process(wish) => {
                if let Some(wish) = wish.upgrade() {
                    wish.send_replace(Wish::Kill);
                }
            }
            Self::Stream(stop) => {
                if let Some(stop) = stop.upgrade() {
                    stop.send_replace(true);
                }
            }
        }
    }
}
