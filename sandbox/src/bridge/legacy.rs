//! The legacy wire (specification 2025-11-25, "Streamable HTTP"): sessions, and three HTTP methods.
//!
//! | request | answer |
//! |---|---|
//! | POST `initialize` | 200, the server's own result, `Mcp-Session-Id` |
//! | POST request | 200 JSON, or an event stream when something else comes first |
//! | POST notification, response | 202 |
//! | GET | the session's event stream; 409 while there is one |
//! | DELETE | 200, the session is over |
//! | without session | 400; 404 when it is unknown |
//!
//! With a shared server some messages of a client are not simply passed on: [`shared`] has the list.

use super::{
    handshake::Greeting,
    message::{self, INVALID_PARAMS, INVALID_REQUEST},
    peer::{Begin, Peer},
    reply::{self, Reply},
    serve::{PROTOCOL_VERSION, Post, SESSION_ID, accepts, header},
    server::{Partner, Server},
    session::{LEVELS, Session},
};
use hyper::{HeaderMap, StatusCode, header::HeaderValue};
use ringway_proto::{
    json,
    revision::{Era, Revision},
    rpc::Shape,
};
use std::sync::Arc;

/// The revision before Streamable HTTP; stdio servers of that age agree on it.
const OLDEST: &str = "2024-11-05";

/// No `Mcp-Session-Id` where one is needed. Clients that try the modern era first take this 400 for "legacy".
pub(super) fn without_session(id: Option<&[u8]>) -> Reply {
    let text = "no session: this server speaks legacy revisions; open one with initialize and send its Mcp-Session-Id";
    reply::refusal(StatusCode::BAD_REQUEST, id, INVALID_REQUEST, text)
}

/// An `Mcp-Session-Id` we do not know: the client must initialize again.
pub(super) fn unknown_session(id: Option<&[u8]>) -> Reply {
    reply::refusal(
        StatusCode::NOT_FOUND,
        id,
        INVALID_REQUEST,
        "the session is unknown or has ended; initialize again",
    )
}

/// Opens a session.
pub(super) async fn initialize(server: &Arc<Server>, partner: Partner, post: &Post) -> Reply {
    let (own, shared) = match partner {
        Partner::Peer(peer) => (None, Some(peer)),
        Partner::PerSession => (Some(post.doc.clone()), None),
    };
    let session = match server.open_session(own).await {
        Ok(session) => session,
        Err(why) => return reply::unavailable(&server.name, post.id(), &why),
    };
    let greeting = session
        .peer
        .as_ref()
        .or(shared.as_ref())
        .map(|peer| &peer.greeting);
    let Some(Greeting::Legacy { result }) = greeting else {
        return without_session(post.id());
    };
    let mut reply = reply::json(
        StatusCode::OK,
        message::result(post.id().unwrap_or(b"null"), result),
    );
    if let Ok(id) = HeaderValue::from_str(&session.id) {
        reply.headers_mut().insert(SESSION_ID, id);
    }
    reply
}

/// Opens a session's event stream.
pub(super) fn get(server: &Server, headers: &HeaderMap) -> Reply {
    if !accepts(headers, "text/event-stream") {
        let text = "Accept must list text/event-stream";
        return reply::refusal(StatusCode::NOT_ACCEPTABLE, None, INVALID_REQUEST, text);
    }
    let session = match find(server, headers) {
        Ok(session) => session,
        Err(refusal) => return refusal,
    };
    match session.outbox.open() {
        Some(reader) => reply::of_session(reader, &server.limits),
        None => {
            let text = "the session has an event stream already";
            reply::refusal(StatusCode::CONFLICT, None, INVALID_REQUEST, text)
        }
    }
}

/// Ends a session.
pub(super) fn delete(server: &Server, headers: &HeaderMap) -> Reply {
    match find(server, headers) {
        Ok(session) => {
            server.sessions.remove(&session.id);
            server.end_session(&session);
            reply::empty(StatusCode::OK)
        }
        Err(refusal) => refusal,
    }
}

fn find(server: &Server, headers: &HeaderMap) -> Result<Arc<Session>, Reply> {
    let Some(id) = header(headers, SESSION_ID) else {
        return Err(without_session(None));
    };
    let session = server.sessions.get(id).ok_or_else(|| unknown_session(None))?;
    revision(headers, None)?;
    Ok(session)
}

/// Absent means 2025-03-26; anything we do not know is refused.
fn revision(headers: &HeaderMap, id: Option<&[u8]>) -> Result<(), Reply> {
    let known = |revision: &str| {
        revision == OLDEST || Revision::parse(revision.as_bytes()).is_some_and(|r| r.era() == Era::Legacy)
    };
    match header(headers, PROTOCOL_VERSION) {
        Some(revision) if !known(revision) => Err(reply::refusal(
            StatusCode::BAD_REQUEST,
            id,
            INVALID_REQUEST,
            "MCP-Protocol-Version names no revision of this session",
        )),
        _ => Ok(()),
    }
}

/// A message within a session.
pub(super) async fn in_session(server: &Arc<Server>, session: Arc<Session>, post: Post) -> Reply {
    if let Err(refusal) = revision(&post.headers, post.id()) {
        return refusal;
    }
    match post.message.shape() {
        Shape::Request => request(server, session, post).await,
        Shape::Notification => {
            let used = session.used();
            notification(server, &session, post).await;
            drop(used);
            reply::empty(StatusCode::ACCEPTED)
        }
        Shape::Result | Shape::Error => {
            // A shared server's requests are never passed on, so nobody waits for this.
            if let Some(peer) = &session.peer {
                peer.answer_server(post.doc, &post.message).await;
            }
            reply::empty(StatusCode::ACCEPTED)
        }
    }
}

async fn notification(server: &Server, session: &Arc<Session>, post: Post) {
    let peer = session.peer.clone().or_else(|| server.running());
    let Some(peer) = peer.filter(|peer| peer.alive()) else {
        return;
    };
    match post.method() {
        "notifications/cancelled" => {
            let params = post.message.params.as_ref();
            if let Some(id) = params.and_then(|params| params.request_id) {
                peer.cancel(session, id.of(&post.doc), "cancelled by the client");
            }
        }
        // Said already, or meant for a process of one's own.
        "notifications/initialized" | "notifications/progress" | "notifications/roots/list_changed"
            if session.peer.is_none() => {}
        _ => {
            peer.send(post.doc).await;
        }
    }
}

async fn request(server: &Arc<Server>, session: Arc<Session>, post: Post) -> Reply {
    match post.method() {
        "ping" => {
            return reply::json(
                StatusCode::OK,
                message::result(post.id().unwrap_or(b"null"), b"{}"),
            );
        }
        "initialize" => {
            let text = "the session is initialized already";
            return reply::refusal(StatusCode::BAD_REQUEST, post.id(), INVALID_REQUEST, text);
        }
        _ => {}
    }
    let used = session.used();
    let place = match server.place(false) {
        Ok(place) => place,
        Err(why) => return reply::unavailable(&server.name, post.id(), &why),
    };
    let peer = match &session.peer {
        Some(own) => own.clone(),
        None => match server.partner().await {
            Ok(Partner::Peer(peer)) if peer.era() == Era::Legacy => peer,
            // It came back modern: its sessions are over.
            Ok(_) => return unknown_session(post.id()),
            Err(why) => return reply::unavailable(&server.name, post.id(), &why),
        },
    };
    let id = post.id().map(<[u8]>::to_vec);
    let Post { doc, message, .. } = post;
    let plain = Begin {
        doc,
        message,
        session: Some(session.clone()),
        subscribes: None,
        level: None,
        place,
    };
    let begun = match session.peer {
        Some(_) => peer.begin(plain).await,
        None => match shared(server, &peer, &session, plain).await {
            Ok(begun) => begun,
            Err(reply) => return reply,
        },
    };
    match begun {
        Ok(ticket) => reply::of_call(ticket, Era::Legacy, &server.limits, Box::new(used)).await,
        Err(how) => {
            let text = format!("server {} {how}; try again", server.name);
            let error = message::failure(
                id.as_deref().unwrap_or(b"null"),
                &server.name,
                "server_ended",
                &text,
            );
            reply::json(StatusCode::OK, error)
        }
    }
}

/// A request to a shared server. Three of them concern more than one client:
/// - `resources/subscribe`: the session is noted first, so that no update is missed;
/// - `resources/unsubscribe`: passed on only when nobody else is subscribed;
/// - `logging/setLevel`: becomes the most verbose level anybody asked for.
async fn shared(
    server: &Server,
    peer: &Peer,
    session: &Arc<Session>,
    mut begin: Begin,
) -> Result<Result<super::calls::Ticket, Arc<str>>, Reply> {
    let id = begin
        .message
        .id
        .map(|id| id.of(&begin.doc).to_vec())
        .unwrap_or_default();
    let uri = begin.message.uri(&begin.doc).map(|uri| uri.into_owned());
    match (begin.message.method(&begin.doc).unwrap_or_default(), uri) {
        ("resources/subscribe", Some(uri)) => {
            let _order = server.subscribing.lock().await;
            if !session.subscribe(&uri, server.limits.subscriptions_per_session_max) {
                let text = "the session has as many subscriptions as it is allowed";
                return Err(reply::refusal(StatusCode::OK, Some(&id), INVALID_PARAMS, text));
            }
            begin.subscribes = Some(uri);
            Ok(peer.begin(begin).await)
        }
        ("resources/unsubscribe", Some(uri)) => {
            let _order = server.subscribing.lock().await;
            session.unsubscribe(&uri);
            if server.sessions.subscriptions().contains(&uri) {
                return Err(reply::json(StatusCode::OK, message::result(&id, b"{}")));
            }
            Ok(peer.begin(begin).await)
        }
        ("logging/setLevel", _) => {
            let asked = begin.message.params.as_ref().and_then(|params| params.level);
            let asked = asked.and_then(|span| json::string(&begin.doc, span));
            let asked = asked.and_then(|level| LEVELS.iter().position(|known| *known == level));
            // A level nobody knows is the server's to refuse.
            if let Some(asked) = asked {
                begin.level = server
                    .sessions
                    .level(Some((session, asked)))
                    .map(|level| LEVELS[level]);
            }
            Ok(peer.begin(begin).await)
        }
        _ => Ok(peer.begin(begin).await),
    }
}
