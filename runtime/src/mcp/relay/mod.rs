//! Relays: how one upstream answer becomes the client's answer, in each of the four cells.
//!
//! | client | server | relay | when the client goes away |
//! |---|---|---|---|
//! | modern | modern | none, bytes pass | the upstream stream is closed, which cancels |
//! | legacy | legacy, one server | none, bytes pass | the upstream connection closes, which does not cancel |
//! | legacy | legacy, merged | [`merged`]: ids of server requests and events are sealed | the same |
//! | legacy | modern | [`to_modern`]: questions become requests to the client | the call runs on, unread |
//! | modern | legacy | [`to_legacy`]: requests become questions, the call is parked | `notifications/cancelled` |
//!
//! "Cancels" and "does not" are the rules of the revisions (2026-07-28 "Cancellation", 2025-11-25 "Transports,
//! Sending Messages"). Every relay is a task that writes [`Frame`]s into a small channel.

pub mod merged;
pub mod to_legacy;
pub mod to_modern;

use super::{
    answer::Answer,
    reply::Frame,
    view::View,
    worker::{Call, Mcp},
};
use bytes::Bytes;
use ringway_core::{
    pipeline::AuthorizedCall,
    rejection::Rejection,
    snapshot::{ServerIndex, ToolIndex},
};
use ringway_proto::rpc::{self, Message, Shape};
use std::rc::Rc;

/// One request on its way to a server: what every relay needs.
pub struct Outgoing {
    /// The worker.
    pub mcp: Rc<Mcp>,
    /// The snapshot this call sees.
    pub view: Rc<View>,
    /// Where to.
    pub server: ServerIndex,
    /// The message under the server's own names.
    pub doc: Bytes,
    /// `Mcp-Name`: the target under the server's own name.
    pub name: Option<String>,
    /// The tool, when it is one of the catalogue.
    pub tool: Option<ToolIndex>,
}

impl Outgoing {
    /// An authorised call on its way; a server that no probe has reached yet takes none.
    pub fn of(mcp: &Rc<Mcp>, call: &Call, authorized: AuthorizedCall) -> Result<Self, Rejection> {
        let (server, tool) = (authorized.server(), authorized.tool());
        let (doc, name) = authorized.into_parts();
        let at = call.view.server(server);
        call.record.target(server, tool, name.as_deref());
        if !at.ready {
            return Err(Rejection::ServerNotReady(at.name.to_string()));
        }
        let (mcp, view) = (mcp.clone(), call.view.clone());
        Ok(Self {
            mcp,
            view,
            server,
            doc,
            name,
            tool,
        })
    }

    /// The server's name.
    pub fn server_name(&self) -> &str {
        &self.view.server(self.server).name
    }

    /// The `Mcp-Param-*` headers of a call: arguments its tool wants repeated in the head (2026-07-28, "Streamable
    /// HTTP"). Most tools want none, and then nothing is read.
    pub fn header_params(&self) -> Result<Vec<(Bytes, Bytes)>, Rejection> {
        match self.tool {
            Some(tool) if self.view.wants_header_params(tool) => {
                Ok(self.view.header_params(tool, &self.doc, &self.message()?))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The message again; it was scanned before it came here.
    pub fn message(&self) -> Result<Message, Rejection> {
        rpc::scan(&self.doc).map_err(|_| Rejection::Internal)
    }
}

/// The raw id of a request, or `null`.
pub fn id_of(doc: &Bytes, message: &Message) -> Bytes {
    message
        .id
        .map_or(Bytes::from_static(b"null"), |id| doc.slice(id.range()))
}

/// A refusal's body, when it is a JSON-RPC error: better than anything we could say in its place.
pub fn error_inside(answer: &Answer) -> Option<(u16, Bytes, Message)> {
    let Answer::Refused { status, body, .. } = answer else {
        return None;
    };
    let message = rpc::scan(body).ok().filter(|m| m.shape() == Shape::Error)?;
    Some((*status, body.clone(), message))
}

/// The rejection for an answer without messages.
pub fn no_messages(server: &str, answer: &Answer) -> Rejection {
    match answer {
        Answer::Refused { status, .. } => Rejection::UpstreamStatus(server.to_owned(), *status),
        _ => Rejection::UpstreamProtocol(server.to_owned()),
    }
}

/// The last frame of a call that failed here.
pub fn refused(rejection: &Rejection, id: &[u8]) -> Frame {
    Frame::last(rejection.render(Some(id)))
}
