//! Requests of revision 2026-07-28: each stands alone.
//!
//! Headers and `_meta` have been checked by the envelope. What the gateway knows by itself (lists, discovery,
//! search) it answers; what needs a server goes through the pipeline and comes back through a relay when the
//! server speaks the other era.

use super::{
    answer::Answer,
    lists,
    outbound::{self, Wire},
    party::Party,
    relay::{self, Outgoing, error_inside, no_messages, to_legacy},
    reply::{Frames, RELAY_MESSAGES_MAX, Reply},
    sealed, streams,
    worker::{Call, Mcp},
};
use crate::{io, mcp::shared::Letter};
use bytes::Bytes;
use ringway_core::{
    pipeline::{self, AuthorizedCall, Exchange},
    rejection::Rejection,
};
use ringway_proto::{
    json,
    revision::{Era, Revision},
    rpc::{self, Message, Shape},
};
use std::rc::Rc;
use tokio::sync::mpsc;

/// Methods that this revision took out (its changelog, "Removed").
const REMOVED: [&str; 6] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/list",
];

/// Answers one message.
pub async fn answer(mcp: &Rc<Mcp>, call: &Call, doc: &Bytes, message: &Message) -> Result<Reply, Rejection> {
    // No notification of this revision asks anything of an HTTP server: a closed stream is the cancellation.
    if message.shape() == Shape::Notification {
        return Ok(Reply::Accepted);
    }
    let caller = call.caller(Era::Modern);
    let method = message.method(doc).unwrap_or_default();
    let exchange = Modern {
        mcp,
        call,
        doc,
        message,
    };
    match method {
        _ if REMOVED.contains(&method) => Err(Rejection::MethodUnknown {
            era: Era::Modern,
            method: method.to_owned(),
        }),
        "server/discover" | "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
            match pipeline::whole_server(caller) {
                // A server that knows no discovery is described by what the registry found.
                Some(server) if method == "server/discover" && call.view.server(server).modern => {
                    let reply = pipeline::passed(&exchange, caller, doc, message).await?;
                    discovered(
                        reply,
                        mcp.shared.limits.reply_bytes_max,
                        &call.view.server(server).name,
                    )
                    .await
                }
                Some(_) if method != "server/discover" => {
                    pipeline::passed(&exchange, caller, doc, message).await
                }
                _ => lists::answer(mcp, call, Era::Modern, doc, message),
            }
        }
        "tools/call" => {
            if let Some(reply) = resumed(mcp, call, doc, message).await? {
                return Ok(reply);
            }
            pipeline::tools_call(&exchange, caller, doc, message).await
        }
        "prompts/get" | "resources/read" => {
            if let Some(reply) = resumed(mcp, call, doc, message).await? {
                return Ok(reply);
            }
            if method == "prompts/get" {
                pipeline::prompts_get(&exchange, caller, doc, message).await
            } else {
                pipeline::resource(&exchange, caller, doc, message).await
            }
        }
        "completion/complete" => pipeline::complete(&exchange, caller, doc, message).await,
        "subscriptions/listen" => match pipeline::whole_server(caller) {
            Some(server) if call.view.server(server).modern => {
                pipeline::passed(&exchange, caller, doc, message).await
            }
            _ => streams::listen(mcp, call, doc, message),
        },
        _ => pipeline::passed(&exchange, caller, doc, message).await,
    }
}

/// A server's own word about itself, with the revisions that are spoken at this endpoint in place of its own: what
/// it does not speak, the gateway translates.
async fn discovered(reply: Reply, bytes_max: usize, server: &str) -> Result<Reply, Rejection> {
    if matches!(reply, Reply::MessageWithStatus(..)) {
        return Ok(reply);
    }
    let doc = reply
        .into_message(bytes_max)
        .await
        .ok_or(Rejection::UpstreamReset(server.to_owned()))?;
    let message = rpc::scan(&doc).map_err(|_| Rejection::UpstreamProtocol(server.to_owned()))?;
    let Some(own) = message.result_member(&doc, "supportedVersions") else {
        return Ok(Reply::Message(doc));
    };
    let spoken: Vec<String> = Revision::ALL
        .iter()
        .rev()
        .map(|r| format!("\"{}\"", r.as_str()))
        .collect();
    let mut splice = json::Splice::new(&doc);
    splice.replace(own, format!("[{}]", spoken.join(",")).into_bytes());
    let doc = splice.finish().map_err(|_| Rejection::Internal)?;
    Ok(Reply::Message(doc.into()))
}

struct Modern<'a> {
    mcp: &'a Rc<Mcp>,
    call: &'a Call,
    /// As the client sent it.
    doc: &'a Bytes,
    message: &'a Message,
}

impl Exchange for Modern<'_> {
    type Answer = Reply;

    async fn forward(&self, authorized: AuthorizedCall) -> Result<Reply, Rejection> {
        let out = Outgoing::of(self.mcp, self.call, authorized)?;
        if out.view.server(out.server).modern {
            self.to_modern(out).await
        } else {
            self.to_legacy(out).await
        }
    }

    fn answer(&self, message: Vec<u8>) -> Reply {
        Reply::Message(message.into())
    }
}

impl Modern<'_> {
    /// The same era on both sides: bytes pass.
    async fn to_modern(&self, out: Outgoing) -> Result<Reply, Rejection> {
        let mut params = out.header_params()?;
        // Headers we know nothing of are the upstream's to judge, and must reach it (SEP-2243).
        for (name, value) in self
            .call
            .head
            .headers
            .iter()
            .filter(|(n, _)| n.starts_with(b"mcp-param-"))
        {
            if !params.iter().any(|(known, _)| known == name) {
                params.push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
            }
        }
        // A message changes its names on the way, never its method.
        let method = self.message.method.map(|m| m.of(self.doc)).unwrap_or_default();
        let long_lived = method == b"subscriptions/listen";
        let wire = Wire::Modern {
            method,
            name: out.name.as_deref(),
            params: &params,
        };
        let answer =
            outbound::post(&out.mcp, &out.view, out.server, wire, out.doc.clone(), long_lived).await?;
        match answer {
            Answer::Events { content_type, body } if long_lived => {
                let lost = Box::pin(streams::Owner::of_whole(self.call).lost(self.mcp.clone()));
                Ok(Reply::PassedStream {
                    content_type,
                    body,
                    lost,
                })
            }
            other => passed(out.server_name(), other),
        }
    }

    async fn to_legacy(&self, out: Outgoing) -> Result<Reply, Rejection> {
        let message = out.message()?;
        let method = message.method(&out.doc).unwrap_or_default();
        if method.starts_with("tasks/") {
            return Err(Rejection::MethodUnknown {
                era: Era::Modern,
                method: method.to_owned(),
            });
        }
        // Such a server never gave a state out: this one was forged, or its call is over.
        if message.params.as_ref().is_some_and(|p| p.request_state.is_some()) {
            return Err(Rejection::ParkedCallGone);
        }
        let party = held_party(self.call, &out, &message)?;
        let meta = message.meta();
        let text = |span: Option<json::Span>| {
            span.and_then(|s| json::string(&out.doc, s))
                .map(|t| t.into_owned())
        };
        let caller = to_legacy::Caller {
            log_level: text(meta.and_then(|m| m.log_level)),
            progress_token: meta
                .and_then(|m| m.progress_token)
                .map(|t| out.doc.slice(t.range())),
            binding: sealed::Binding::new(self.call, self.doc, self.message),
        };
        let registration = self.mcp.calls.register(None);
        let (tx, rx) = mpsc::channel(RELAY_MESSAGES_MAX);
        let server = out.server_name().to_owned();
        io::spawn(to_legacy::run(out, party, caller, registration, tx));
        let reply = Frames::new(rx)
            .into_reply()
            .await
            .ok_or(Rejection::UpstreamReset(server))?;
        Ok(with_status(reply))
    }
}

/// Errors that 2026-07-28 ties to an HTTP status ("Streamable HTTP", "Sending Messages") get it here, because the
/// legacy server that gave them answers all of them with 200.
fn with_status(reply: Reply) -> Reply {
    let Reply::Message(doc) = reply else { return reply };
    let code = rpc::scan(&doc).ok().and_then(|message| message.error_code(&doc));
    match code {
        Some(-32601) => Reply::MessageWithStatus(404, doc),
        Some(-32022..=-32020) => Reply::MessageWithStatus(400, doc),
        _ => Reply::Message(doc),
    }
}

/// A modern upstream's answer for a modern client.
pub fn passed(server: &str, answer: Answer) -> Result<Reply, Rejection> {
    if let Some((status, body, _)) = error_inside(&answer) {
        return Ok(Reply::MessageWithStatus(status, body));
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
        Answer::Events { content_type, body } => Ok(Reply::Passed {
            status: 200,
            content_type,
            body,
        }),
        other => Err(no_messages(server, &other)),
    }
}

/// The party that holds sessions at legacy servers for this caller: one per credential and capabilities, so that
/// nothing of one principal is reused for another (DESIGN invariant 10) and a server only ever sees one set of
/// capabilities in a session.
pub fn held_party(call: &Call, out: &Outgoing, message: &Message) -> Result<Party, Rejection> {
    let meta = message.meta();
    let capabilities = meta
        .and_then(|m| m.client_capabilities)
        .map_or(&b"{}"[..], |c| c.of(&out.doc));
    let info = meta.and_then(|m| m.client_info).map(|i| i.of(&out.doc));
    let server = out.view.server(out.server);
    let revision = server.revision_legacy.unwrap_or(Revision::NEWEST_LEGACY);
    Ok(Party {
        id: sealed::held_id(&call.principal, server, capabilities),
        held: true,
        revision,
        init: Party::init_params(revision, capabilities, info),
        sealed: Vec::new(),
    })
}

/// Goes on with a parked call, when the request brings the state of one. A state that is not ours belongs to a
/// modern server and passes through.
async fn resumed(
    mcp: &Rc<Mcp>,
    call: &Call,
    doc: &Bytes,
    message: &Message,
) -> Result<Option<Reply>, Rejection> {
    let Some(params) = &message.params else {
        return Ok(None);
    };
    let Some(state) = params.request_state.and_then(|s| json::string(doc, s)) else {
        return Ok(None);
    };
    let binding = sealed::Binding::new(call, doc, message);
    let Some(parked) = sealed::open_parked(mcp, &state, &binding)? else {
        return Ok(None);
    };
    call.record.resumed();
    let responses = params
        .input_responses
        .map_or(Bytes::from_static(b"{}"), |r| doc.slice(r.range()));
    let (frames, rx) = mpsc::channel(RELAY_MESSAGES_MAX);
    mcp.shared.write(
        parked.worker.into(),
        Letter::Resume {
            call: parked.call,
            responses,
            id: relay::id_of(doc, message),
            progress_token: message
                .meta()
                .and_then(|m| m.progress_token)
                .map(|t| doc.slice(t.range())),
            frames,
        },
    );
    Frames::new(rx)
        .into_reply()
        .await
        .map(Some)
        .ok_or(Rejection::ParkedCallGone)
}
