//! Sending a message to a server: the one place that writes upstream heads.
//!
//! Nothing of the client's head goes up by default: credentials, cookies and addresses stay here (specification
//! 2026-07-28, "Token passthrough"). What goes up is listed in [`Wire`] and the server's own static headers.

use super::{
    answer::{Answer, rejection},
    view::View,
    worker::Mcp,
};
use crate::upstream::{CredentialId, Request, Response};
use bytes::Bytes;
use futures_util::TryFutureExt;
use ringway_core::{rejection::Rejection, snapshot::ServerIndex};
use ringway_proto::{
    header_value,
    http::{Headers, names},
    http1::Prefix,
    revision::Revision,
};
use std::{future::Future, rc::Rc};

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
pub fn post<'a>(
    mcp: &'a Rc<Mcp>,
    view: &'a View,
    server: ServerIndex,
    wire: Wire<'_>,
    body: Bytes,
    long_lived: bool,
) -> impl Future<Output = Result<Answer, Rejection>> + 'a {
    let (prefix, own) = begin_post(view, server, wire);
    let target = view.endpoint(server).path().clone();
    // Made before anything is awaited, so that the future holds the request and not what it was made of.
    let request = Request::new(prefix, target, own, body, long_lived);
    async move {
        let response = send(mcp, view, server, request).await?;
        read(view, server, response).await
    }
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
    let leg = Leg {
        session: None,
        revision,
    };
    let (prefix, own) = begin_post(view, server, Wire::Legacy(&leg));
    let target = view.endpoint(server).path().clone();
    let response = send(mcp, view, server, Request::new(prefix, target, own, body, false)).await?;
    // A copy: it outlives the answer by far, and a slice would keep the buffer of the whole head.
    let session = response.headers.get("mcp-session-id").map(Bytes::copy_from_slice);
    Ok((read(view, server, response).await?, session))
}

/// GETs the stream of a legacy session, from after `last_event_id` when it is given.
pub async fn get(
    mcp: &Rc<Mcp>,
    view: &Rc<View>,
    server: ServerIndex,
    leg: &Leg,
    last_event_id: Option<Bytes>,
) -> Result<Answer, Rejection> {
    let mut own = of_session(leg);
    if let Some(id) = last_event_id {
        own.push("last-event-id", id);
    }
    let (prefix, target) = (
        view.openings(server).get.clone(),
        view.endpoint(server).path().clone(),
    );
    let response = send(
        mcp,
        view,
        server,
        Request::new(prefix, target, own, Bytes::new(), true),
    )
    .await?;
    read(view, server, response).await
}

/// DELETEs a legacy session; a server may refuse, and nobody waits for it.
pub async fn delete(mcp: &Rc<Mcp>, view: &Rc<View>, server: ServerIndex, leg: &Leg) {
    if leg.session.is_some() {
        let (prefix, target) = (
            view.openings(server).delete.clone(),
            view.endpoint(server).path().clone(),
        );
        let request = Request::new(prefix, target, of_session(leg), Bytes::new(), false);
        if let Err(rejection) = send(mcp, view, server, request).await {
            tracing::debug!(
                reason = rejection.reason(),
                "an upstream session could not be ended"
            );
        }
    }
}

fn send<'a>(
    mcp: &'a Rc<Mcp>,
    view: &'a View,
    server: ServerIndex,
    request: Request,
) -> impl Future<Output = Result<Response, Rejection>> + 'a {
    let at = view.server(server);
    let sent = mcp
        .pools
        .send(view.endpoint(server), CredentialId(at.identity), request);
    sent.map_err(|fault| {
        tracing::warn!(
            server = %at.name, kind = ?fault.kind, sent = fault.sent, detail = %fault.detail,
            "upstream exchange failed"
        );
        rejection(&at.name, &fault)
    })
}

async fn read(view: &View, server: ServerIndex, response: Response) -> Result<Answer, Rejection> {
    match Answer::of(response) {
        Ok(answer) => Ok(answer),
        Err(unusual) => Box::pin(unusual.read(&view.server(server).name)).await,
    }
}

/// The beginning of a POST and its own fields.
fn begin_post(view: &View, server: ServerIndex, wire: Wire<'_>) -> (Rc<Prefix>, Headers) {
    let openings = view.openings(server);
    match wire {
        Wire::Modern { method, name, params } => {
            let mut own = Headers::with_capacity(2 + params.len());
            own.push(names::MCP_METHOD, method);
            if let Some(name) = name {
                own.push(names::MCP_NAME, header_value::encode(name).as_bytes());
            }
            for (name, value) in params {
                own.push_bytes(name, value);
            }
            (openings.modern_post.clone(), own)
        }
        Wire::Legacy(leg) => (openings.legacy_post.clone(), of_session(leg)),
    }
}

fn of_session(leg: &Leg) -> Headers {
    let mut own = Headers::with_capacity(3);
    own.push(names::MCP_PROTOCOL_VERSION, leg.revision.as_str());
    if let Some(session) = &leg.session {
        own.push(names::MCP_SESSION_ID, session);
    }
    own
}
