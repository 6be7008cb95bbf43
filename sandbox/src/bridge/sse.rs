//! A legacy HTTP+SSE server (revision 2024-11-05) as a [`Duplex`].
//!
//! A GET opens the event stream; its first event, `endpoint`, names the URI that messages are POSTed to; answers
//! come as `message` events. The endpoint must have the same origin as the stream: a server could otherwise make us
//! POST, with the configured headers, to any host we can reach.

use super::{
    duplex::{Duplex, Incoming, Link, READ_AHEAD},
    message::{failure, single_line},
};
use crate::{
    http_client::{Address, HttpClient, read_body},
    limits::Limits,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, StatusCode, Uri, body::Incoming as Body};
use ringway_proto::{
    rpc::{Shape, scan},
    sse::{Event, Parser},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc, watch};

/// POSTs under way at once to one server: enough that slow acknowledgements do not serialise calls.
const POSTS_MAX: usize = 32;
/// Of a POST's body we read this much, to keep its connection usable.
const ACKNOWLEDGEMENT_MAX: usize = 64 << 10;
/// Connecting to a server and its acknowledgement of one message.
const WITHIN: Duration = Duration::from_secs(30);

/// Where the stream is and what to send along.
#[derive(Clone)]
pub(crate) struct Target {
    pub name: String,
    pub address: Address,
    pub headers: Vec<(String, String)>,
}

/// Opens the stream and waits for its endpoint. Errors are sentences without the server's name.
pub(crate) async fn open(client: &HttpClient, target: Target, limits: &Limits) -> Result<Duplex, String> {
    let mut headers = target.headers.clone();
    headers.push(("accept".to_owned(), "text/event-stream".to_owned()));
    let response = client
        .request(&target.address, Method::GET, None, headers, Bytes::new(), WITHIN)
        .await
        .map_err(|e| e.to_string())?;
    if response.status() != StatusCode::OK {
        return Err(format!(
            "answered {} where an event stream was expected",
            response.status()
        ));
    }
    let mut stream = Stream {
        body: response.into_body(),
        events: Parser::new(limits.line_bytes_max),
    };
    let endpoint = match tokio::time::timeout(WITHIN, stream.endpoint()).await {
        Ok(endpoint) => endpoint?,
        Err(_) => return Err(format!("named no endpoint within {WITHIN:?}")),
    };
    let path = same_origin(&target.address, &endpoint)?;

    let (outgoing, messages) = mpsc::channel(limits.outgoing_queue_max);
    let (events, incoming) = mpsc::channel(READ_AHEAD);
    let (ended_now, ended) = watch::channel(None);
    let (stop, mut stopping) = watch::channel(false);
    let poster = Poster {
        client: client.clone(),
        target: Arc::new(target),
        path: path.into(),
        answers: events.clone(),
        places: Arc::new(Semaphore::new(POSTS_MAX)),
    };
    let posting = tokio::spawn(poster.run(messages));
    tokio::spawn(async move {
        let how = tokio::select! {
            how = stream.read(&events) => how,
            _ = stopping.wait_for(|stop| *stop) => "was disconnected".to_owned(),
        };
        posting.abort();
        ended_now.send_replace(Some(how));
    });
    Ok(Duplex {
        outgoing,
        incoming,
        link: Link::Stream {
            ended,
            stop: Arc::new(stop),
        },
    })
}

struct Stream {
    body: Body,
    events: Parser,
}

impl Stream {
    /// The first event, which must be the endpoint.
    async fn endpoint(&mut self) -> Result<String, String> {
        loop {
            match self.events.next() {
                Some(Ok(Event {
                    name: Some(name),
                    data,
                    ..
                })) if name == "endpoint" => {
                    let text = String::from_utf8(data.into());
                    return text.map_err(|_| "named an endpoint that is not text".to_owned());
                }
                // A priming event: only an id or a retry time.
                Some(Ok(event)) if event.data.is_empty() => {}
                Some(Ok(_)) => return Err("opened its stream without naming an endpoint".to_owned()),
                Some(Err(fault)) => return Err(fault.to_string()),
                None => self.more().await?,
            }
        }
    }

    /// Hands on messages until the stream ends; says how it ended.
    async fn read(&mut self, messages: &mpsc::Sender<Incoming>) -> String {
        loop {
            match self.events.next() {
                Some(Ok(Event { name, data, .. })) => {
                    let message = name.is_none_or(|name| name == "message") && !data.is_empty();
                    if message && messages.send(Incoming::Message(single_line(data))).await.is_err() {
                        return "was disconnected".to_owned();
                    }
                }
                Some(Err(fault)) => return format!("cannot be read on: {fault}"),
                None => {
                    if let Err(how) = self.more().await {
                        return how;
                    }
                }
            }
        }
    }

    async fn more(&mut self) -> Result<(), String> {
        match self.body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.events.push(data);
                }
                Ok(())
            }
            Some(Err(error)) => Err(format!("broke off its event stream ({error})")),
            None => Err("closed its event stream".to_owned()),
        }
    }
}

/// Sends messages, several at once.
struct Poster {
    client: HttpClient,
    target: Arc<Target>,
    path: Arc<str>,
    /// A request that could not be sent is answered here, as if by the server.
    answers: mpsc::Sender<Incoming>,
    places: Arc<Semaphore>,
}

impl Poster {
    async fn run(self, mut messages: mpsc::Receiver<Bytes>) {
        let this = Arc::new(self);
        let mut posts = tokio::task::JoinSet::new();
        while let Some(message) = messages.recv().await {
            while posts.try_join_next().is_some() {}
            // Never closed, so never an error.
            let Ok(place) = this.places.clone().acquire_owned().await else {
                return;
            };
            let this = this.clone();
            posts.spawn(async move {
                if let Err(why) = this.post(&message).await {
                    this.answer(&message, &why).await;
                }
                drop(place);
            });
        }
    }

    async fn post(&self, message: &Bytes) -> Result<(), String> {
        let mut headers = self.target.headers.clone();
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let response = self
            .client
            .request(
                &self.target.address,
                Method::POST,
                Some(&self.path),
                headers,
                message.clone(),
                WITHIN,
            )
            .await
            .map_err(|e| e.to_string())?;
        let status = response.status();
        // Its text is of no use to us, but an unread body costs the connection.
        let _ = read_body(response.into_body(), ACKNOWLEDGEMENT_MAX, WITHIN).await;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("refused the message with {status}"))
        }
    }

    async fn answer(&self, message: &Bytes, why: &str) {
        tracing::warn!(server = self.target.name, why, "a message could not be sent");
        if let Ok(read) = scan(message)
            && let (Shape::Request, Some(id)) = (read.shape(), read.id)
        {
            let text = format!("server {}: {why}", self.target.name);
            let answer = failure(id.of(message), &self.target.name, "not_sent", &text);
            let _ = self.answers.send(Incoming::Message(answer)).await;
        }
    }
}

/// The path and query of an endpoint given as a URI reference, provided that it stays on the stream's origin.
fn same_origin(stream: &Address, endpoint: &str) -> Result<String, String> {
    let elsewhere = || Err("named an endpoint on another origin; it is not followed".to_owned());
    if endpoint.starts_with("//") {
        return elsewhere();
    }
    if let Ok(uri) = endpoint.parse::<Uri>()
        && let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority())
    {
        let Address::Url(ours) = stream else {
            return elsewhere();
        };
        let port = |scheme: &str, port: Option<u16>| {
            port.or(match scheme {
                "http" => Some(80),
                "https" => Some(443),
                _ => None,
            })
        };
        let same = ours.scheme() == Some(scheme)
            && ours
                .host()
                .is_some_and(|host| host.eq_ignore_ascii_case(authority.host()))
            && port(scheme.as_str(), ours.port_u16()) == port(scheme.as_str(), authority.port_u16())
            && !authority.as_str().contains('@');
        return match same {
            true => Ok(uri.path_and_query().map_or("/", |p| p.as_str()).to_owned()),
            false => elsewhere(),
        };
    }
    // `javascript:` and the like; a colon in a relative path's first segment is not allowed there either.
    if endpoint
        .split(['/', '?', '#'])
        .next()
        .is_some_and(|first| first.contains(':'))
    {
        return elsewhere();
    }
    let without_fragment = endpoint.split('#').next().unwrap_or_default();
    if without_fragment.starts_with('/') {
        return Ok(without_fragment.to_owned());
    }
    let base = stream.path().split('?').next().unwrap_or("/");
    if without_fragment.starts_with('?') {
        return Ok(format!("{base}{without_fragment}"));
    }
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    Ok(format!("{folder}/{without_fragment}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_stay_on_their_origin() {
        let stream = Address::parse("http://Example.com:80/a/sse?x=1").expect("address");
        for (endpoint, path) in [
            ("/message?sessionId=1", "/message?sessionId=1"),
            ("message?sessionId=1", "/a/message?sessionId=1"),
            ("?sessionId=1", "/a/sse?sessionId=1"),
            ("http://example.com/m#f", "/m"),
            ("/m#f", "/m"),
        ] {
            assert_eq!(same_origin(&stream, endpoint).as_deref(), Ok(path), "{endpoint}");
        }
        for endpoint in [
            "//evil.example/m",
            "http://evil.example/m",
            "https://example.com/m",
            "http://example.com:81/m",
            "http://a@example.com/m",
            "file:///etc/passwd",
            "javascript:alert(1)",
        ] {
            assert!(same_origin(&stream, endpoint).is_err(), "{endpoint}");
        }
    }
}
