//! `initialize`: a session is agreed, its legs are opened, and both are sealed into its id.

use super::{endpoint_name, transparent};
use crate::{
    io,
    mcp::{
        lists,
        outbound::Leg,
        party::{self, Party},
        relay,
        reply::Reply,
        sealed,
        shared::now_s,
        view::View,
        worker::{Call, Mcp},
    },
};
use bytes::Bytes;
use futures_util::future::join_all;
use ringway_core::{
    rejection::Rejection,
    session::SessionToken,
    snapshot::{Scope, ServerIndex},
    translate,
};
use ringway_proto::{
    json,
    revision::{Era, Revision},
    rpc::{Message, Shape},
};
use std::{rc::Rc, time::Duration};

/// `initialize` on `/mcp` waits this long for the legs it opens. A server that is slower gets its leg with the
/// first call to it: a slow server must not delay the others.
const LEGS_DEADLINE: Duration = Duration::from_millis(1_500);

/// Answers `initialize`.
pub async fn initialize(
    mcp: &Rc<Mcp>,
    call: &Call,
    doc: &Bytes,
    message: &Message,
) -> Result<Reply, Rejection> {
    if message.shape() != Shape::Request {
        return Err(Rejection::EnvelopeInvalid("initialize is a request".into()));
    }
    if mcp.shared.is_draining() {
        return Err(Rejection::Draining);
    }
    let params = message.params.as_ref();
    let asked = params
        .and_then(|p| p.protocol_version)
        .and_then(|v| json::string(doc, v));
    let asked =
        asked.ok_or_else(|| Rejection::ParamsInvalid("params.protocolVersion must be a string".into()))?;
    // An unknown revision is answered with the newest of this era (2025-11-25, "Version Negotiation").
    let known = Revision::parse(asked.as_bytes()).filter(|r| r.era() == Era::Legacy);
    let revision = known.unwrap_or(Revision::NEWEST_LEGACY);
    let object = |span: Option<json::Span>| {
        span.filter(|s| json::kind(doc, *s) == Some(json::Kind::Object))
            .map(|s| doc.slice(s.range()))
    };
    let capabilities = object(params.and_then(|p| p.capabilities));
    let info = object(params.and_then(|p| p.client_info));
    let mut token = SessionToken::new(
        &call.principal,
        endpoint_name(call).as_deref(),
        revision,
        capabilities.as_deref(),
        info.as_deref(),
        now_s(),
        &mcp.shared.limits,
        &mut sealed::entropy,
    );
    call.record.session(revision);
    let answer = match transparent(call) {
        Some(server) => {
            let (leg, answer) =
                transparent_leg(mcp, call, server, revision, known.is_some(), doc, message).await?;
            token.revision = leg.revision;
            set_leg(&mut token, &call.view, server, &leg);
            answer
        }
        None => {
            for (server, leg) in open_legs(mcp, call, &token).await {
                set_leg(&mut token, &call.view, server, &leg);
            }
            lists::initialize(call, revision, &relay::id_of(doc, message))
        }
    };
    let session = token.seal(&mcp.shared.sealer, &mut sealed::entropy)?;
    Ok(Reply::Opened {
        message: answer,
        session: session.into(),
    })
}

fn set_leg(token: &mut SessionToken, view: &View, server: ServerIndex, leg: &Leg) {
    // Visible ASCII by the specification; an id that is no text at all is kept out and healed lazily.
    match leg.session.as_deref().map(std::str::from_utf8) {
        None => token.set_leg(&view.server(server).name, None),
        Some(Ok(session)) => token.set_leg(&view.server(server).name, Some(session)),
        Some(Err(_)) => {}
    }
}

/// The one server of this endpoint answers `initialize` itself; `notifications/initialized` will be the client's.
async fn transparent_leg(
    mcp: &Rc<Mcp>,
    call: &Call,
    server: ServerIndex,
    revision: Revision,
    revision_known: bool,
    doc: &Bytes,
    message: &Message,
) -> Result<(Leg, Bytes), Rejection> {
    let version = message.params.as_ref().and_then(|p| p.protocol_version);
    let body = match version {
        // Some servers echo revisions that do not exist; ours to stop.
        Some(span) if !revision_known => {
            let mut splice = json::Splice::new(doc);
            splice.replace(span, translate::quoted(revision.as_str()));
            splice
                .finish()
                .map(Bytes::from)
                .map_err(|_| Rejection::Internal)?
        }
        _ => doc.clone(),
    };
    party::initialize(mcp, &call.view, server, revision, body).await
}

/// Legs at every visible server that speaks the legacy era, all at once, as far as they come in time.
async fn open_legs(mcp: &Rc<Mcp>, call: &Call, token: &SessionToken) -> Vec<(ServerIndex, Leg)> {
    let snapshot = &call.view.live.snapshot;
    let permits = snapshot.permits(&call.principal);
    let wanted = (0..snapshot.servers.len())
        .filter_map(|at| u16::try_from(at).ok())
        .map(ServerIndex)
        .filter(|server| {
            let at = &snapshot.servers[server.at()];
            let in_scope = matches!(call.scope, Scope::Merged) || call.scope == Scope::Server(*server);
            in_scope && permits.server(*server) && at.ready && at.revision_legacy.is_some()
        });
    let init = Party::init_params(token.revision, &token.capabilities, token.client_info.as_deref());
    let (id, revision) = (token.id, token.revision);
    let opening = wanted.map(|server| {
        let name = call.view.server(server).name.to_string();
        let patience = if mcp.slow.is_slow(&name) {
            Duration::ZERO
        } else {
            LEGS_DEADLINE
        };
        let (mcp, view, init) = (mcp.clone(), call.view.clone(), init.clone());
        // A task of its own: a leg that comes too late for the token is noted and serves the first call.
        let opened = io::spawn(async move {
            let party = Party {
                id,
                held: false,
                revision,
                init,
                sealed: Vec::new(),
            };
            party.leg(&mcp, &view, server).await.map(|leg| (server, leg))
        });
        async move { (name, patience, io::timeout(patience, opened).await.ok().flatten()) }
    });
    let mut legs = Vec::new();
    for (server, patience, opened) in join_all(opening).await {
        match opened {
            Some(Ok(leg)) => {
                mcp.slow.was_quick(&server);
                legs.push(leg);
            }
            Some(Err(rejection)) => {
                tracing::warn!(
                    server,
                    reason = rejection.reason(),
                    "a session begins without one of its legs"
                );
            }
            None => {
                tracing::info!(server, "a session begins before one of its legs is open");
                if !patience.is_zero() {
                    mcp.slow.was_slow(&server);
                }
            }
        }
    }
    legs
}
