//! Server-sent events out of a response body; [`ringway_proto::sse`] knows the format, this knows the waiting.

use super::failure::Failure;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use ringway_proto::sse::Parser;
use ringway_sandbox::http_client::ClientError;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// One event may be this long: the largest tool list seen is 2 MB, a tool result with a picture some more.
const EVENT_BYTES_MAX: usize = 16 << 20;
/// A server may ask us to wait before we come back, but not for longer than this.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A body being read event by event.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    parser: Parser,
    /// The id of the last event that had one, for `Last-Event-ID`.
    pub last_id: Option<String>,
    /// How long the server asks us to wait before reconnecting.
    pub retry: Option<Duration>,
}

impl EventStream {
    /// Reads the events of `body`.
    pub fn new(body: Incoming) -> Self {
        Self {
            body,
            parser: Parser::new(EVENT_BYTES_MAX),
            last_id: None,
            retry: None,
        }
    }

    /// The data of the next event that has any; `None` when the stream has ended. `until` bounds the wait.
    pub async fn next(&mut self, until: Option<Instant>) -> Result<Option<Bytes>, Failure> {
        loop {
            while let Some(event) = self.parser.next() {
                let event = event.map_err(|fault| Failure::Protocol(fault.to_string()))?;
                if let Some(id) = event.id {
                    // One that is no header value cannot be sent back.
                    self.last_id = std::str::from_utf8(&id)
                        .ok()
                        .filter(|id| !id.is_empty() && !id.contains(char::is_control))
                        .map(str::to_owned);
                }
                if let Some(ms) = event.retry {
                    self.retry = Some(Duration::from_millis(ms).min(RETRY_MAX));
                }
                if !event.data.is_empty() {
                    return Ok(Some(event.data));
                }
            }
            let frame = match until {
                None => self.body.frame().await,
                Some(at) => match timeout_at(at, self.body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => return Err(Failure::Protocol("its event stream fell silent".to_owned())),
                },
            };
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        self.parser.push(piece);
                    }
                }
                Some(Err(error)) => {
                    return Err(Failure::Transport(ClientError::Body {
                        reason: error.to_string(),
                    }));
                }
            }
        }
    }
}
