//! One HTTP request: is it one at all, and which era's rules apply?
//!
//! A session's id decides for the legacy era without asking the server; everything else needs to know what the
//! server speaks, which may mean starting it.

use super::{
    legacy,
    message::{INVALID_REQUEST, PARSE_ERROR},
    modern,
    reply::{self, Reply},
    server::{Partner, Server},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Incoming,
    header::{ACCEPT, CONTENT_TYPE},
};
use ringway_proto::{
    revision::{Era, Revision},
    rpc::{Message, ScanFault, Shape, scan},
};
use std::sync::Arc;
use tokio::time::timeout;

/// The one path.
const PATH: &str = "/mcp";
/// The header that names the revision.
pub(super) const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The header that names the session.
pub(super) const SESSION_ID: &str = "mcp-session-id";

/// A POST that carries one readable message.
pub(super) struct Post {
    pub headers: HeaderMap,
    pub doc: Bytes,
    pub message: Message,
}

impl Post {
    /// The id as JSON text, for errors.
    pub fn id(&self) -> Option<&[u8]> {
        self.message.id.map(|id| id.of(&self.doc))
    }

    /// The method, empty for responses.
    pub fn method(&self) -> &str {
        self.message.method(&self.doc).unwrap_or_default()
    }
}

/// Answers a request.
pub(super) async fn request(server: Arc<Server>, request: Request<Incoming>) -> Reply {
    if request.uri().path() != PATH {
        return reply::empty(StatusCode::NOT_FOUND);
    }
    match *request.method() {
        Method::POST => match read(&server, request).await {
            Ok(message) => post(&server, message).await,
            Err(refusal) => refusal,
        },
        Method::GET | Method::DELETE if server.era() == Some(Era::Modern) => {
            reply::method_not_allowed("POST")
        }
        Method::GET => legacy::get(&server, request.headers()),
        Method::DELETE => legacy::delete(&server, request.headers()),
        _ => reply::method_not_allowed("POST, GET, DELETE"),
    }
}

async fn post(server: &Arc<Server>, post: Post) -> Reply {
    let modern = header(&post.headers, PROTOCOL_VERSION) == Some(Revision::NEWEST.as_str());
    if !modern && let Some(session) = header(&post.headers, SESSION_ID) {
        return match server.sessions.get(session) {
            Some(session) => legacy::in_session(server, session, post).await,
            None => legacy::unknown_session(post.id()),
        };
    }
    let opens = post.message.shape() == Shape::Request && post.method() == "initialize";
    if server.era() == Some(Era::Legacy) && !opens {
        return legacy::without_session(post.id());
    }
    let listens = post.method() == "subscriptions/listen";
    let place = match server.place(listens) {
        Ok(place) => place,
        Err(why) => return reply::unavailable(&server.name, post.id(), &why),
    };
    match server.partner().await {
        Ok(Partner::Peer(peer)) if peer.era() == Era::Modern => {
            modern::post(server, &peer, post, place).await
        }
        Ok(_) if !opens => legacy::without_session(post.id()),
        Ok(partner) => legacy::initialize(server, partner, &post).await,
        Err(why) => reply::unavailable(&server.name, post.id(), &why),
    }
}

/// Checks what the two eras ask of every POST and reads its message.
async fn read(server: &Server, request: Request<Incoming>) -> Result<Post, Reply> {
    let refuse = |status, text| Err(reply::refusal(status, None, INVALID_REQUEST, text));
    let (head, body) = request.into_parts();
    if media_type(header(&head.headers, CONTENT_TYPE.as_str())) != "application/json" {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        );
    }
    if !accepts(&head.headers, "application/json") || !accepts(&head.headers, "text/event-stream") {
        return refuse(
            StatusCode::NOT_ACCEPTABLE,
            "Accept must list both application/json and text/event-stream",
        );
    }
    let body = Limited::new(body, server.limits.line_bytes_max);
    let doc = match timeout(server.limits.body_deadline, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the message is too large");
        }
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "the message ended early"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the message did not arrive in time"),
    };
    match scan(&doc) {
        Ok(message) => Ok(Post {
            headers: head.headers,
            doc,
            message,
        }),
        Err(fault) => {
            let code = if matches!(fault, ScanFault::Json(_)) {
                PARSE_ERROR
            } else {
                INVALID_REQUEST
            };
            Err(reply::refusal(
                StatusCode::BAD_REQUEST,
                None,
                code,
                &fault.to_string(),
            ))
        }
    }
}

/// A header's text.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
}

/// Whether `Accept` lists a type, by name or by wildcard.
pub(super) fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let family = wanted.split('/').next().unwrap_or_default();
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|range| {
            let range = media_type(Some(range));
            range == wanted || range == "*/*" || range.strip_suffix("/*") == Some(family)
        })
}

/// A media type without its parameters.
fn media_type(value: Option<&str>) -> String {
    value
        .and_then(|v| v.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}
