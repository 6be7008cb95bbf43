//! Requests of revisions up to 2025-11-25: everything after `initialize` belongs to a session.
//!
//! The session is sealed in its id; any worker of any replica opens it. What the gateway knows by itself it
//! answers; what needs a server goes through the pipeline, over the session's leg at that server, or through a
//! relay when the server speaks only the other era.

mod incoming;
mod open;

pub use open::initialize;

use super::{
    answer::{Answer, Messages},
    calls::Registration,
    lists,
    outbound::{self, Leg},
    party::Party,
    relay::{self, Outgoing, error_inside, merged, no_messages, to_modern},
    reply::{Frames, RELAY_MESSAGES_MAX, Reply},
    sealed,
    shared::{Letter, now_s},
    streams,
    view::View,
    worker::{Call, Mcp, Refusal},
};
use crate::io;
use bytes::Bytes;
use ringway_core::{
    pipeline::{self, AuthorizedCall, Exchange},
    rejection::Rejection,
    session::SessionToken,
    snapshot::{Scope, ServerIndex},
    translate,
};
use ringway_proto::{
    revision::{Era, Revision},
    rpc::{self, Message, Shape},
};
use std::rc::Rc;
use tokio::sync::mpsc;

/// A client's session, opened from its token.
pub struct Session {
    /// Identity, legs, and what `initialize` said.
    pub party: Party,
    /// Raw capabilities of the client.
    pub capabilities: Bytes,
    /// Raw client info.
    pub info: Option<Bytes>,
}

impl Session {
    /// The session named by the request's head: the caller's own, of this endpoint, not expired, not ended.
    pub fn of(mcp: &Mcp, call: &Call) -> Result<Self, Rejection> {
        let text = call
            .head
            .headers
            .get_one("mcp-session-id")
            .map_err(|_| Rejection::SessionUnknown)?;
        let text = text.ok_or(Rejection::SessionMissing)?;
        let server = endpoint_name(call);
        let token = SessionToken::open(
            &mcp.shared.sealer,
            text,
            &call.principal,
            server.as_deref(),
            now_s(),
        )?;
        if mcp.shared.ended.contains(&token.id) {
            return Err(Rejection::SessionUnknown);
        }
        Ok(Self::from_token(token, &call.view))
    }

    fn from_token(token: SessionToken, view: &View) -> Self {
        let init = Party::init_params(token.revision, &token.capabilities, token.client_info.as_deref());
        let sealed = token.legs.into_iter().filter_map(|leg| {
            let server = view.live.snapshot.server(&leg.server)?;
            let revision = sealed::leg_revision(view.server(server), token.revision);
            Some((
                leg.server.into(),
                Leg {
                    session: leg.session.map(|s| Bytes::from(s.into_string())),
                    revision,
                },
            ))
        });
        Self {
            party: Party {
                id: token.id,
                held: false,
                revision: token.revision,
                init,
                sealed: sealed.collect(),
            },
            capabilities: token.capabilities,
            info: token.client_info,
        }
    }

    /// What a modern server is told of this client.
    fn client(&self, mcp: &Mcp) -> to_modern::Client {
        let note = mcp.notes.of(&self.party.id, false);
        let log_level = note.log_level.borrow().clone();
        to_modern::Client {
            session: self.party.id,
            capabilities: self.capabilities.clone(),
            info: self.info.clone(),
            log_level,
        }
    }
}

/// The endpoint's name inside tokens: none for `/mcp`.
fn endpoint_name(call: &Call) -> Option<String> {
    match call.scope {
        Scope::Merged => None,
        Scope::Server(server) => Some(call.view.server(server).name.to_string()),
    }
}

/// The server of the caller's own endpoint, when messages can pass to it unread: it speaks the legacy era and the
/// caller may use all of it.
fn transparent(call: &Call) -> Option<ServerIndex> {
    pipeline::whole_server(call.caller(Era::Legacy))
        .filter(|server| call.view.server(*server).revision_legacy.is_some())
}

/// Answers one message of a session.
pub async fn answer(
    mcp: &Rc<Mcp>,
    call: &Call,
    stated: Option<Revision>,
    doc: &Bytes,
    message: &Message,
) -> Result<Reply, Rejection> {
    let session = Session::of(mcp, call)?;
    call.record.session(stated.unwrap_or(session.party.revision));
    match message.shape() {
        Shape::Request => request(mcp, call, &session, doc, message).await,
        Shape::Notification => incoming::notification(mcp, call, &session, doc, message).await,
        Shape::Result | Shape::Error => incoming::response(mcp, call, &session, doc, message).await,
    }
}

async fn request(
    mcp: &Rc<Mcp>,
    call: &Call,
    session: &Session,
    doc: &Bytes,
    message: &Message,
) -> Result<Reply, Rejection> {
    let caller = call.caller(Era::Legacy);
    let exchange = Legacy { mcp, call, session };
    match message.method(doc).unwrap_or_default() {
        "ping" => Ok(Reply::Message(
            translate::result::render(&relay::id_of(doc, message), b"{}").into(),
        )),
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
            match pipeline::whole_server(caller) {
                Some(_) => pipeline::passed(&exchange, caller, doc, message).await,
                None => lists::answer(mcp, call, Era::Legacy, doc, message),
            }
        }
        "tools/call" => pipeline::tools_call(&exchange, caller, doc, message).await,
        "prompts/get" => pipeline::prompts_get(&exchange, caller, doc, message).await,
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            pipeline::resource(&exchange, caller, doc, message).await
        }
        "completion/complete" => pipeline::complete(&exchange, caller, doc, message).await,
        "logging/setLevel" => incoming::set_level(mcp, call, session, doc, message).await,
        method @ ("server/discover" | "subscriptions/listen") => Err(Rejection::MethodUnknown {
            era: Era::Legacy,
            method: method.to_owned(),
        }),
        _ => pipeline::passed(&exchange, caller, doc, message).await,
    }
}

struct Legacy<'a> {
    mcp: &'a Rc<Mcp>,
    call: &'a Call,
    session: &'a Session,
}

impl Exchange for Legacy<'_> {
    type Answer = Reply;

    async fn forward(&self, authorized: AuthorizedCall) -> Result<Reply, Rejection> {
        let out = Outgoing::of(self.mcp, self.call, authorized)?;
        if out.view.server(out.server).revision_legacy.is_some() {
            self.to_legacy(out).await
        } else {
            self.to_modern(out).await
        }
    }

    fn answer(&self, message: Vec<u8>) -> Reply {
        Reply::Message(message.into())
    }
}

impl Legacy<'_> {
    async fn to_legacy(&self, out: Outgoing) -> Result<Reply, Rejection> {
        let message = out.message()?;
        let id = relay::id_of(&out.doc, &message);
        let (mcp, view, server) = (&out.mcp, &out.view, out.server);
        // Known before it is sent: a cancellation may overtake the answer's first byte.
        let leg = self.session.party.leg(mcp, view, server).await?;
        let request = mcp.calls.note(
            self.session.party.id,
            id.clone(),
            out.server_name().to_owned(),
            leg,
        );
        let (answer, leg) = self
            .session
            .party
            .post(mcp, view, server, out.doc.clone(), false)
            .await?;
        if transparent(self.call).is_some() {
            return passed(out.server_name(), answer);
        }
        match answer {
            Answer::Json {
                status,
                content_type,
                body,
            } => Ok(Reply::Passed {
                status,
                content_type,
                body,
            }),
            Answer::Events { body, .. } => {
                let name = out.server_name().to_owned();
                let messages = Messages::events(&name, body, mcp.shared.limits.reply_bytes_max);
                let stream = merged::LegStream {
                    mcp: mcp.clone(),
                    session: self.session.party.id,
                    server: name.clone(),
                    leg,
                    messages,
                };
                let (tx, rx) = mpsc::channel(RELAY_MESSAGES_MAX);
                io::spawn(async move {
                    merged::run(stream, Some(id), tx).await;
                    drop(request);
                });
                Frames::new(rx)
                    .into_reply()
                    .await
                    .ok_or(Rejection::UpstreamReset(name))
            }
            other => match error_inside(&other) {
                Some((_, body, _)) => Ok(Reply::Message(body)),
                None => Err(no_messages(out.server_name(), &other)),
            },
        }
    }

    async fn to_modern(&self, out: Outgoing) -> Result<Reply, Rejection> {
        let message = out.message()?;
        let id = relay::id_of(&out.doc, &message);
        match message.method(&out.doc) {
            Some("resources/subscribe") => return Ok(self.watch(&out, &message, &id, true).await),
            Some("resources/unsubscribe") => return Ok(self.watch(&out, &message, &id, false).await),
            _ => {}
        }
        let registration: Registration = self.mcp.calls.register(Some((self.session.party.id, id)));
        let (tx, rx) = mpsc::channel(RELAY_MESSAGES_MAX);
        let server = out.server_name().to_owned();
        io::spawn(to_modern::run(
            out,
            self.session.client(self.mcp),
            registration,
            tx,
        ));
        // No word at all: the client cancelled the request, and nobody waits for an answer.
        Ok(Frames::new(rx).into_reply().await.unwrap_or_else(|| {
            tracing::debug!(server, "a cancelled call ended without an answer");
            Reply::Accepted
        }))
    }

    /// A modern server has no `resources/subscribe`: the wish is noted on every worker, and whichever holds the
    /// session's GET stream listens for it.
    async fn watch(&self, out: &Outgoing, message: &Message, id: &Bytes, on: bool) -> Reply {
        let uri = message.uri(&out.doc).unwrap_or_default().into_owned();
        let (session, server) = (self.session.party.id, out.server_name().to_owned());
        let (pending, ready) = streams::ready::pair();
        self.mcp.shared.write_all(|| Letter::Watch {
            session,
            server: server.clone(),
            uri: uri.clone(),
            on,
            pending: pending.clone(),
        });
        drop(pending);
        ready.wait().await;
        Reply::Message(translate::result::render(id, b"{}").into())
    }
}

/// A legacy upstream's answer for a legacy client on that server's own endpoint: as it is.
fn passed(server: &str, answer: Answer) -> Result<Reply, Rejection> {
    match answer {
        Answer::Accepted => Ok(Reply::Accepted),
        Answer::Json {
            status,
            content_type,
            body,
        } => Ok(Reply::Passed {
            status,
            content_type,
            body,
        }),
        Answer::Events { content_type, body } => Ok(Reply::Passed {
            status: 200,
            content_type,
            body,
        }),
        refused => match error_inside(&refused) {
            Some((status, body, _)) => Ok(Reply::MessageWithStatus(status, body)),
            None => Err(no_messages(server, &refused)),
        },
    }
}

/// GET and DELETE went with the sessions (2026-07-28, "Streamable HTTP").
fn not_modern(call: &Call) -> Result<(), Rejection> {
    let stated = call.head.headers.get("mcp-protocol-version");
    match stated.and_then(Revision::parse).map(Revision::era) {
        Some(Era::Modern) => Err(Rejection::MethodNotAllowed("POST")),
        _ => Ok(()),
    }
}

/// GET: the session's own stream.
pub async fn get(mcp: &Rc<Mcp>, call: &Call) -> Result<Reply, Rejection> {
    not_modern(call)?;
    let session = Session::of(mcp, call)?;
    if mcp.shared.is_draining() {
        return Err(Rejection::Draining);
    }
    let resume_after = call.head.headers.get_bytes("last-event-id");
    let Some(server) = transparent(call) else {
        return streams::session(mcp, call, session, resume_after);
    };
    let mut leg = session.party.leg(mcp, &call.view, server).await?;
    let mut answer = outbound::get(mcp, &call.view, server, &leg, resume_after.clone()).await?;
    if answer.is_session_lost() {
        leg = session
            .party
            .replace_leg(mcp, &call.view, server, Some(&leg))
            .await?;
        answer = outbound::get(mcp, &call.view, server, &leg, resume_after).await?;
    }
    if let Answer::Refused { status: 405, .. } = answer {
        return Err(Rejection::MethodNotAllowed("POST, DELETE"));
    }
    match answer {
        Answer::Events { content_type, body } => {
            let lost = Box::pin(streams::Owner::of_whole(call).lost(mcp.clone()));
            Ok(Reply::PassedStream {
                content_type,
                body,
                lost,
            })
        }
        other => passed(&call.view.server(server).name, other),
    }
}

/// DELETE: the session ends, here and at every server.
pub async fn delete(mcp: &Rc<Mcp>, call: &Call) -> Result<Reply, Rejection> {
    not_modern(call)?;
    let session = Session::of(mcp, call)?;
    mcp.shared.ended.insert(&session.party.id);
    let legs = known_legs(mcp, call, &session);
    let (id, view, own) = (session.party.id, call.view.clone(), mcp.clone());
    mcp.shared.write_all(|| Letter::Ended(id));
    io::spawn(async move {
        for (server, leg) in legs {
            outbound::delete(&own, &view, server, &leg).await;
        }
    });
    Ok(Reply::Done)
}

/// Every leg of a session that is open as far as this worker knows.
fn known_legs(mcp: &Rc<Mcp>, call: &Call, session: &Session) -> Vec<(ServerIndex, Leg)> {
    let servers = (0..call.view.live.snapshot.servers.len()).filter_map(|at| u16::try_from(at).ok());
    let legs = servers.map(ServerIndex).filter_map(|server| {
        session
            .party
            .known_leg(mcp, &call.view, server)
            .map(|leg| (server, leg))
    });
    legs.collect()
}

/// An array of messages: revision 2025-03-26 only, each answered as if it had come alone.
pub async fn batch(mcp: &Rc<Mcp>, call: &Call, doc: &Bytes) -> Result<Reply, Rejection> {
    let session = Session::of(mcp, call).map_err(|_| Rejection::BatchNotAllowed)?;
    if session.party.revision != Revision::V2025_03_26 {
        return Err(Rejection::BatchNotAllowed);
    }
    let parts =
        rpc::split_batch(doc).map_err(|fault| Rejection::EnvelopeInvalid(fault.to_string().into()))?;
    let mut answers = Vec::with_capacity(parts.len());
    for part in parts {
        let part = doc.slice(part.range());
        let answered = one_of_batch(mcp, call, &part).await;
        let answered = match answered {
            Ok(reply) => reply.into_message(mcp.shared.limits.reply_bytes_max).await,
            Err(Refusal { rejection, id }) => Some(rejection.render(id.as_deref()).into()),
        };
        answers.extend(answered);
    }
    if answers.is_empty() {
        return Ok(Reply::Accepted);
    }
    Ok(Reply::Message(
        [b"[".as_slice(), &answers.join(&b','), b"]"].concat().into(),
    ))
}

async fn one_of_batch(mcp: &Rc<Mcp>, call: &Call, doc: &Bytes) -> Result<Reply, Refusal> {
    let message = rpc::scan(doc).map_err(|fault| Rejection::EnvelopeInvalid(fault.to_string().into()))?;
    let id = message.id.map(|id| doc.slice(id.range()));
    if message.method(doc) == Some("initialize") {
        return Err(Refusal {
            rejection: Rejection::BatchNotAllowed,
            id,
        });
    }
    Box::pin(answer(mcp, call, None, doc, &message))
        .await
        .map_err(|rejection| Refusal { rejection, id })
}
