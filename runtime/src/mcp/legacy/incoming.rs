//! What a session's client sends besides requests: notifications, answers to requests of servers, log levels.

use super::{Session, known_legs, passed, transparent};
use crate::{
    io,
    mcp::{
        outbound::{self, Leg, Wire},
        relay::id_of,
        reply::Reply,
        sealed::{self, Addressed},
        shared::Letter,
        streams::ready,
        worker::{Call, Mcp},
    },
};
use bytes::Bytes;
use ringway_core::{rejection::Rejection, snapshot::ServerIndex, translate};
use ringway_proto::{
    json,
    rpc::{Message, Shape},
};
use std::rc::Rc;

/// Takes a notification to whom it concerns.
pub async fn notification(
    mcp: &Rc<Mcp>,
    call: &Call,
    session: &Session,
    doc: &Bytes,
    message: &Message,
) -> Result<Reply, Rejection> {
    if let Some(server) = transparent(call) {
        let (answer, _) = session
            .party
            .post(mcp, &call.view, server, doc.clone(), false)
            .await?;
        return passed(&call.view.server(server).name, answer);
    }
    match message.method(doc).unwrap_or_default() {
        "notifications/cancelled" => {
            if let Some(id) = message.params.as_ref().and_then(|p| p.request_id) {
                let (session, id, doc) = (session.party.id, doc.slice(id.range()), doc.clone());
                mcp.shared.write_all(|| Letter::Cancel {
                    session,
                    id: id.clone(),
                    doc: doc.clone(),
                });
            }
        }
        "notifications/roots/list_changed" => {
            for (server, leg) in known_legs(mcp, call, session) {
                let (mcp, view, doc) = (mcp.clone(), call.view.clone(), doc.clone());
                io::spawn(async move {
                    // A leg that is gone by now learns the roots when it is opened anew.
                    _ = outbound::post(&mcp, &view, server, Wire::Legacy(&leg), doc, false).await;
                });
            }
        }
        // `initialized`: legs were told when they were opened. Others address nobody on a merged endpoint.
        _ => {}
    }
    Ok(Reply::Accepted)
}

/// Takes the client's answer to the server, or to the waiting call, that asked.
pub async fn response(
    mcp: &Rc<Mcp>,
    call: &Call,
    session: &Session,
    doc: &Bytes,
    message: &Message,
) -> Result<Reply, Rejection> {
    if let Some(server) = transparent(call) {
        let (answer, _) = session
            .party
            .post(mcp, &call.view, server, doc.clone(), false)
            .await?;
        return passed(&call.view.server(server).name, answer);
    }
    let id = message.id.and_then(|id| json::string(doc, id));
    match id.and_then(|id| sealed::open_id(mcp, session.party.id, &id)) {
        Some(Addressed::Server {
            server,
            session: upstream,
            id,
        }) => {
            let Some(server) = visible(call, &server) else {
                return Err(Rejection::ServerUnknown(server));
            };
            let body = translate::result::restored(doc, message, &id).map_err(|_| Rejection::Internal)?;
            let revision = sealed::leg_revision(call.view.server(server), session.party.revision);
            let leg = Leg {
                session: upstream,
                revision,
            };
            let wire = Wire::Legacy(&leg);
            outbound::post(mcp, &call.view, server, wire, body.into(), false).await?;
        }
        Some(Addressed::Question { worker, call, key }) => {
            let result = (message.shape() == Shape::Result)
                .then(|| message.result.map(|r| doc.slice(r.range())))
                .flatten();
            mcp.shared.write(worker, Letter::Answered { call, key, result });
        }
        // Late, or made up: nobody waits for it.
        None => tracing::debug!("an answer to no question of ours was dropped"),
    }
    Ok(Reply::Accepted)
}

fn visible(call: &Call, name: &str) -> Option<ServerIndex> {
    let snapshot = &call.view.live.snapshot;
    snapshot
        .server(name)
        .filter(|server| snapshot.permits(&call.principal).server(*server))
}

/// `logging/setLevel`: every server of the session that logs is told, in its own era's way.
pub async fn set_level(
    mcp: &Rc<Mcp>,
    call: &Call,
    session: &Session,
    doc: &Bytes,
    message: &Message,
) -> Result<Reply, Rejection> {
    if let Some(server) = transparent(call) {
        let (answer, _) = session
            .party
            .post(mcp, &call.view, server, doc.clone(), false)
            .await?;
        return passed(&call.view.server(server).name, answer);
    }
    let level = message
        .params
        .as_ref()
        .and_then(|p| p.level)
        .and_then(|l| json::string(doc, l));
    let level = level.filter(|l| translate::notification::level_rank(l).is_some());
    let level = level
        .ok_or_else(|| Rejection::ParamsInvalid("params.level is no log level".into()))?
        .into_owned();
    // The client's next call may reach another worker, and must log at this level there too.
    let (pending, ready) = ready::pair();
    for (server, leg) in known_legs(mcp, call, session) {
        if !call.view.server(server).features.logging {
            continue;
        }
        let (mcp, view, doc) = (mcp.clone(), call.view.clone(), doc.clone());
        let pending = pending.clone();
        io::spawn(async move {
            let _until_it_knows = pending;
            // A server that cannot be reached now logs at its own level later; no reason to fail the others.
            _ = outbound::post(&mcp, &view, server, Wire::Legacy(&leg), doc, false).await;
        });
    }
    let id = session.party.id;
    mcp.shared.write_all(|| Letter::LogLevel {
        session: id,
        level: level.clone(),
        pending: pending.clone(),
    });
    drop(pending);
    ready.wait().await;
    Ok(Reply::Message(
        translate::result::render(&id_of(doc, message), b"{}").into(),
    ))
}
