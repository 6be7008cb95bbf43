//! An upstream's HTTP answer, read as what it means: taken, one message, a stream of messages, or a refusal.

use crate::upstream::{Fault, FaultKind, Response, ResponseBody};
use bytes::Bytes;
use ringway_core::rejection::Rejection;
use ringway_proto::{
    http::{accept, names},
    sse,
};

/// The body of a refusal is read this far: JSON-RPC errors are short, HTML pages are not for us.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// What an upstream made of a POST or GET.
pub enum Answer {
    /// 202: a notification or a response was taken.
    Accepted,
    /// `application/json`.
    Json {
        /// The status, always 2xx.
        status: u16,
        /// As sent.
        content_type: Bytes,
        /// Its bytes.
        body: ResponseBody,
    },
    /// `text/event-stream`.
    Events {
        /// As sent.
        content_type: Bytes,
        /// Its bytes.
        body: ResponseBody,
    },
    /// Any other status; the body was read as far as [`REFUSAL_BYTES_MAX`].
    Refused {
        /// The status.
        status: u16,
        /// As sent.
        content_type: Bytes,
        /// What was read.
        body: Bytes,
    },
}

/// Words by which servers say that a session is gone, beside the 404 they should use.
const LOST_CODES: [i64; 4] = [-32000, -32001, -32600, -32602];

impl Answer {
    /// Whether a legacy server says that it does not know our session.
    ///
    /// The rule is a 404 (2025-11-25 "Session Management"). Widely used servers answer 400 with a JSON-RPC error
    /// that speaks of the session instead; both mean that the message was not looked at, so sending it again on
    /// a new session cannot run anything twice.
    pub fn is_session_lost(&self) -> bool {
        let Self::Refused { status, body, .. } = self else {
            return false;
        };
        match status {
            404 => true,
            400 | 422 => {
                let speaks_of_it = body.to_ascii_lowercase().windows(7).any(|w| w == b"session");
                let code = ringway_proto::rpc::scan(body)
                    .ok()
                    .and_then(|m| m.error_code(body));
                speaks_of_it && code.is_none_or(|code| LOST_CODES.contains(&code))
            }
            _ => false,
        }
    }

    /// What a response means, when its status and content type say it all.
    pub fn of(response: Response) -> Result<Self, Unusual> {
        let content_type = response
            .headers
            .get_bytes(names::CONTENT_TYPE)
            .unwrap_or_default();
        match response.status {
            202 | 204 => Ok(Self::Accepted),
            status @ 200..=299 if accept::is_json(&content_type) => Ok(Self::Json {
                status,
                content_type,
                body: response.body,
            }),
            200 if accept::is_event_stream(&content_type) => Ok(Self::Events {
                content_type,
                body: response.body,
            }),
            200..=299 if response.body.length() == Some(0) => Ok(Self::Accepted),
            _ => Err(Unusual(Box::new(response), content_type)),
        }
    }
}

/// A response that is read before it is understood.
pub struct Unusual(Box<Response>, Bytes);

impl Unusual {
    /// Reads a refusal as far as it matters; `server` is named in rejections.
    pub async fn read(self, server: &str) -> Result<Answer, Rejection> {
        let Self(response, content_type) = self;
        if matches!(response.status, 200..=299) {
            return Err(Rejection::UpstreamProtocol(server.to_owned()));
        }
        // A refusal whose body breaks off is still a refusal.
        let body = response.body.collect(REFUSAL_BYTES_MAX).await.unwrap_or_default();
        Ok(Answer::Refused {
            status: response.status,
            content_type,
            body,
        })
    }
}

/// The messages of an answer, one at a time, whichever form it has.
pub struct Messages {
    form: Form,
    server: String,
}

enum Form {
    Json(Option<(ResponseBody, usize)>),
    Events(ResponseBody, Box<sse::Parser>),
}

/// One message of an answer.
#[derive(Debug)]
pub struct Incoming {
    /// The JSON text; empty for an event without data, which only carries an id.
    pub doc: Bytes,
    /// Event id, when the answer is a stream that can be resumed.
    pub id: Option<Bytes>,
    /// Milliseconds after which a client may reconnect.
    pub retry_ms: Option<u64>,
}

impl Messages {
    /// Reads a JSON body of at most `bytes_max`.
    pub fn json(server: &str, body: ResponseBody, bytes_max: usize) -> Self {
        Self {
            form: Form::Json(Some((body, bytes_max))),
            server: server.to_owned(),
        }
    }

    /// Reads events of at most `event_bytes_max` each.
    pub fn events(server: &str, body: ResponseBody, event_bytes_max: usize) -> Self {
        Self {
            form: Form::Events(body, Box::new(sse::Parser::new(event_bytes_max))),
            server: server.to_owned(),
        }
    }

    /// Either, after the shape of `answer`; `None` when the answer carries no messages.
    pub fn of(server: &str, answer: Answer, bytes_max: usize) -> Option<Self> {
        match answer {
            Answer::Json { body, .. } => Some(Self::json(server, body, bytes_max)),
            Answer::Events { body, .. } => Some(Self::events(server, body, bytes_max)),
            Answer::Accepted | Answer::Refused { .. } => None,
        }
    }

    /// The next message; `None` at an orderly end. Dropping a pending read gives up the connection.
    pub async fn next(&mut self) -> Option<Result<Incoming, Rejection>> {
        match &mut self.form {
            Form::Json(whole) => {
                let (body, bytes_max) = whole.take()?;
                let doc = body.collect(bytes_max).await;
                Some(doc.map(Incoming::bare).map_err(|fault| match fault.kind {
                    FaultKind::TooLarge => Rejection::ReplyTooLarge(self.server.clone(), bytes_max),
                    _ => rejection(&self.server, &fault),
                }))
            }
            Form::Events(body, parser) => loop {
                match parser.next() {
                    Some(Ok(event)) => {
                        if event.name.as_deref().is_some_and(|n| n != b"message") {
                            continue;
                        }
                        return Some(Ok(Incoming {
                            doc: event.data,
                            id: event.id,
                            retry_ms: event.retry,
                        }));
                    }
                    Some(Err(_)) => return Some(Err(Rejection::UpstreamTooLarge(self.server.clone()))),
                    None => {}
                }
                match body.chunk().await? {
                    Ok(piece) => parser.push(piece),
                    Err(fault) => return Some(Err(rejection(&self.server, &fault))),
                }
            },
        }
    }
}

impl Incoming {
    fn bare(doc: Bytes) -> Self {
        Self {
            doc,
            id: None,
            retry_ms: None,
        }
    }
}

/// What a transport fault means to the caller.
pub fn rejection(server: &str, fault: &Fault) -> Rejection {
    let name = server.to_owned();
    match fault.kind {
        FaultKind::Resolve | FaultKind::Connect | FaultKind::ConnectTimeout | FaultKind::Tls => {
            Rejection::UpstreamConnect(name)
        }
        FaultKind::HeaderTimeout | FaultKind::IdleTimeout | FaultKind::TotalTimeout => {
            Rejection::UpstreamTimeout(name)
        }
        FaultKind::Reset => Rejection::UpstreamReset(name),
        FaultKind::Protocol => Rejection::UpstreamProtocol(name),
        FaultKind::TooLarge => Rejection::UpstreamTooLarge(name),
        FaultKind::PoolFull => Rejection::UpstreamPoolFull(name),
    }
}
