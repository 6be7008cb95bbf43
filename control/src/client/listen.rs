//! Waiting to hear that a list has changed: `subscriptions/listen` (2026-07-28) or the GET stream (before it).
//!
//! A stream that ends is opened again after a pause that grows; whatever was missed in between counts as a
//! change. A server that will not have it (405, method not found) is asked no more: its schedule serves it.

use super::{
    Failure, McpClient,
    events::EventStream,
    message::{self, Kind, METHOD_NOT_FOUND, raw},
    peer::Reply,
};
use ringway_proto::revision::Era;
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::time::{Instant, sleep};

/// The first pause before a stream is opened again, doubled up to the last.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A stream that lived this long was a good one: the pause starts over.
const GOOD_LIFE: Duration = Duration::from_secs(30);

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The stream is open for the first time; lists taken from now on miss nothing.
    Open,
    /// A list has changed, or may have while the stream was away.
    Changed,
}

/// Why listening has ended.
#[derive(Debug)]
pub enum ListenEnd {
    /// The server offers no such stream.
    Unsupported,
    /// It offered one and now does not answer as it should; its session or the server itself is gone.
    Lost(Failure),
}

impl McpClient {
    /// Listens until the server ends it for good. Cancel by dropping.
    pub async fn listen(&self, mut heard: impl FnMut(Heard) + Send) -> ListenEnd {
        let mut pause = PAUSE;
        let mut last_id = None;
        let mut opened = false;
        loop {
            let stream = match self.open(last_id.take()).await {
                Ok(stream) => stream,
                Err(failure) if !opened && unsupported(&failure) => return ListenEnd::Unsupported,
                Err(failure) => return ListenEnd::Lost(failure),
            };
            heard(if opened { Heard::Changed } else { Heard::Open });
            opened = true;
            let since = Instant::now();
            let (id, retry, end) = self.follow(stream, &mut heard).await;
            last_id = id;
            if let Some(failure) = end {
                return ListenEnd::Lost(failure);
            }
            if since.elapsed() > GOOD_LIFE {
                pause = PAUSE;
            }
            sleep(retry.unwrap_or(pause).max(PAUSE)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn open(&self, last_id: Option<String>) -> Result<(EventStream, u64), Failure> {
        let head = self.peer.deadlines.head;
        if self.era == Era::Legacy {
            let mut headers = self.standing_headers();
            headers.extend(last_id.map(|id| ("last-event-id".to_owned(), id)));
            return Ok((self.peer.get(headers, head).await?, 0));
        }
        let id = self.next_id.fetch_add(1, Relaxed);
        let method = "subscriptions/listen";
        let wanted = raw(&serde_json::json!({"notifications": {
            "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
        }}))?;
        let (headers, params) = self.dress(method, Some(&wanted))?;
        let body = message::request(id, method, params.as_deref())?;
        match self.peer.post(headers, body, head).await?.0 {
            Reply::Stream(stream) => Ok((*stream, id)),
            Reply::Accepted => Err(Failure::Protocol(
                "it accepted listen without a stream".to_owned(),
            )),
            Reply::Messages(mut messages) => match messages.pop().map(|m| m.kind(id)) {
                Some(Kind::Answer(Err(error))) => Err(Failure::Rpc { status: 200, error }),
                _ => Err(Failure::Protocol(
                    "it answered listen without a stream".to_owned(),
                )),
            },
        }
    }

    /// Reads one stream to its end: the last event's id, the server's `retry`, and why, if it was not merely closed.
    async fn follow(
        &self,
        (mut stream, id): (EventStream, u64),
        heard: &mut (impl FnMut(Heard) + Send),
    ) -> (Option<String>, Option<Duration>, Option<Failure>) {
        let mut end = None;
        // A connection cut in between is an ordinary end; what cannot be read is not.
        while let Ok(Some(data)) = stream.next(None).await {
            let Ok(messages) = message::read(&data) else {
                end = Some(Failure::Protocol(
                    "an event of its stream is no JSON-RPC message".to_owned(),
                ));
                break;
            };
            for message in messages {
                match message.kind(id) {
                    Kind::Notification { method, .. } if method.ends_with("/list_changed") => {
                        heard(Heard::Changed)
                    }
                    Kind::Request { id, method } => self.answer(&id, &method),
                    Kind::Answer(Err(error)) if self.era == Era::Modern => {
                        end = Some(Failure::Rpc { status: 200, error });
                    }
                    _ => {}
                }
            }
            if end.is_some() {
                break;
            }
        }
        (stream.last_id, stream.retry, end)
    }
}

fn unsupported(failure: &Failure) -> bool {
    failure.code() == Some(METHOD_NOT_FOUND)
        || matches!(failure.status(), Some(400 | 404 | 405 | 406 | 409 | 501))
        || matches!(failure, Failure::Protocol(_))
}
