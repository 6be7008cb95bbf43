//! Sending a message to a server: the one place that writes upstream heads.
//!
//! Nothing of the client's head goes up by default: credentials, cookies and addresses stay here (specification
//! 2026-07-28, "Token passthrough"). What goes up is listed in [`Wire`] and the server's own static headers.

use super::{
    answer::{Answer, rejection},
    view::View,
    worker::Mcp,
};
use crate::upstream::{CredentialId, Request};
use bytes::Bytes;
use ringway_core::{rejection::Rejection, snapshot::ServerIndex};
use ringway_proto::{
    header_value,
    http::{Headers, Method},
    revision::Revision,
};
use std::{borrow::Cow, rc::Rc};

/// The protocol headers of one message.
pub enum Wire<'a> {
    /// 2026-07-28: the head repeats what the body says.
    Modern {
        /// `Mcp-Method`.
        method: &'a [u8],
        /// `Mcp-Name`, decoded.
        name: Option<&'a str>,
        /// `Mcp-Param-*`, encoded, lower-case names.
        params: &'a [(Bytes, Bytes)],
    },
    /// Up to 2025-11-25: the head names the session.
    Legacy(&'a Leg),
}

/// A session of ours at a legacy server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// `Mcp-Session-Id`; servers without sessions give none.
    pub session: Option<Bytes>,
    /// The revision agreed by `initialize`.
    pub revision: Revision,
}

/// POSTs one JSON-RPC message. `long_lived` lifts the deadline on the whole call: streams that wait for a person.
pub async fn post(
    mcp: &Rc<Mcp>,
    view: &Rc<View>,
    server: ServerIndex,
    wire: Wire<'_>,
    body: Bytes,
    long_lived: bool,
) -> Result<Answer, Rejection> {
    let mut headers = base_headers(view, server, &wire);
    headers.push("content-type", "application/json");
    headers.push("accept", "application/json, text/event-stream");
    send(mcp, view, server, Method::Post, headers, body, long_lived)
        .await
        .map(|(answer, _)| answer)
}

/// POSTs an `initialize` and gives the session id that came with the answer.
pub async fn open(
    mcp: &Rc<Mcp>,
    view: &Rc<View>,
    server: ServerIndex,
    revision: Revision,
    body: Bytes,
) -> Result<(Answer, Option<Bytes>), Rejection> {
    // `initialize` itself carries no session; the version header is allowed and helps dual-era servers.
    let mut headers = base_headers(
        view,
        server,
        &Wire::Legacy(&Leg {
            session: None,
            revision,
        }),
    );
    headers.push("content-type", "application/json");
    headers.push("accept", "application/json, text/event-stream");
    send(mcp, view, server, Method::Post, headers, body, false).await
}

/// GETs the stream of a legacy session, from after `last_event_id` when it is given.
pub async fn get(
    mcp: &Rc<Mcp>,
    view: &Rc<View>,
    server: ServerIndex,
    leg: &Leg,
    last_event_id: Option<Bytes>,
) -> Result<Answer, Rejection> {
    let mut headers = base_headers(view, server, &Wire::Legacy(leg));
    headers.push("accept", "text/event-stream");
    if let Some(id) = last_event_id {
        headers.push("last-event-id", id);
    }
    send(mcp, view, server, Method::Get, headers, Bytes::new(), true)
        .await
        .map(|(answer, _)| answer)
}

/// DELETEs a legacy session; a server may refuse, and nobody waits for it.
pub async fn delete(mcp: &Rc<Mcp>, view: &Rc<View>, server: ServerIndex, leg: &Leg) {
    if leg.session.is_some() {
        let headers = base_headers(view, server, &Wire::Legacy(leg));
        let sent = send(mcp, view, server, Method::Delete, headers, Bytes::new(), false).await;
        if let Err(rejection) = sent {
            tracing::debug!(
                reason = rejection.reason(),
                "an upstream session could not be ended"
            );
        }
    }
}

async fn send(
    mcp: &Rc<Mcp>,
    view: &Rc<View>,
    server: ServerIndex,
    method: Method,
    headers: Headers,
    body: Bytes,
    long_lived: bool,
) -> Result<(Answer, Option<Bytes>), Rejection> {
    let at = view.server(server);
    let endpoint = view.endpoint(server);
    let target = endpoint.path().clone();
    let request = Request {
        method,
        target,
        headers,
        body,
        long_lived,
    };
    let sent = mcp.pools.send(endpoint, CredentialId(at.identity), request).await;
    match sent {
        Ok(response) => {
            // A copy: it outlives the answer by far, and a slice would keep the buffer of the whole head.
            let session = response
                .headers
                .get("mcp-session-id")
                .map(|id| Bytes::copy_from_slice(id));
            Ok((Answer::read(&at.name, response).await?, session))
        }
        Err(fault) => {
            tracing::warn!(
                server = %at.name, kind = ?fault.kind, sent = fault.sent, detail = %fault.detail,
                "upstream exchange failed"
            );
            Err(rejection(&at.name, &fault))
        }
    }
}

/// The server's own static headers, then what the protocol asks for.
fn base_headers(view: &View, server: ServerIndex, wire: &Wire<'_>) -> Headers {
    let own = &view.server(server).headers;
    let mut headers = Headers::with_capacity(own.len() + 8);
    for (name, value) in own {
        headers.push_bytes(name.clone(), value.expose().clone());
    }
    headers.push("user-agent", concat!("ringway/", env!("CARGO_PKG_VERSION")));
    match wire {
        Wire::Modern { method, name, params } => {
            headers.push("mcp-protocol-version", Revision::NEWEST.as_str());
            headers.push("mcp-method", Bytes::copy_from_slice(method));
            if let Some(name) = name {
                headers.push("mcp-name", encoded(name));
            }
            for (name, value) in *params {
                headers.push_bytes(name.clone(), value.clone());
            }
        }
        Wire::Legacy(leg) => {
            headers.push("mcp-protocol-version", leg.revision.as_str());
            if let Some(session) = &leg.session {
                headers.push("mcp-session-id", session.clone());
            }
        }
    }
    headers
}

fn encoded(text: &str) -> Bytes {
    match header_value::encode(text) {
        Cow::Borrowed(plain) => Bytes::copy_from_slice(plain.as_bytes()),
        Cow::Owned(sentinel) => sentinel.into(),
    }
}
