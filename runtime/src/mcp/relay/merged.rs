//! A legacy client's request at one legacy server of many, behind the merged endpoint.
//!
//! The client has one session with us and legs at several servers, so two things on a leg's stream need an
//! address: requests of the server (the client's answer carries nothing but their id) and event ids (a resuming
//! client sends back nothing but one). Both are rewritten; all else passes as it came.

use crate::mcp::{answer::Messages, outbound::Leg, reply::Frame, sealed, shared::SessionId, worker::Mcp};
use bytes::Bytes;
use ringway_core::{rejection::Rejection, translate};
use ringway_proto::{
    json,
    rpc::{self, Message, Shape},
};
use std::rc::Rc;
use tokio::sync::mpsc;

/// A leg's stream and whom it belongs to.
pub struct LegStream {
    /// The worker.
    pub mcp: Rc<Mcp>,
    /// The client's session.
    pub session: SessionId,
    /// The server's name.
    pub server: String,
    /// The session the messages belong to.
    pub leg: Leg,
    /// The messages.
    pub messages: Messages,
}

/// Relays until the answer to `request`, the end of the stream, or the client's going.
///
/// `request` is the raw id of the request this stream answers; `None` for the stream of a GET.
pub async fn run(mut stream: LegStream, request: Option<Bytes>, frames: mpsc::Sender<Frame>) {
    loop {
        let next = tokio::select! {
            biased;
            () = frames.closed() => return,
            next = stream.messages.next() => next,
        };
        let frame = match next {
            Some(Ok(incoming)) => stream.frame(incoming.doc, incoming.id, request.as_ref()),
            Some(Err(rejection)) => Err(rejection),
            // A stream may end early when it can be resumed (2025-11-25 "Sending Messages", item 6).
            None => return,
        };
        let frame = match (frame, &request) {
            (Ok(frame), _) => frame,
            (Err(rejection), Some(id)) => Some(super::refused(&rejection, id)),
            (Err(_), None) => return,
        };
        let Some(frame) = frame else { continue };
        let last = frame.last;
        if frames.send(frame).await.is_err() || last {
            return;
        }
    }
}

impl LegStream {
    fn frame(
        &self,
        doc: Bytes,
        id: Option<Bytes>,
        request: Option<&Bytes>,
    ) -> Result<Option<Frame>, Rejection> {
        let id = id.map(|id| event_id(&self.server, &id));
        if doc.is_empty() {
            return Ok(id.map(|id| Frame {
                id: Some(id),
                data: doc,
                last: false,
            }));
        }
        let protocol = || Rejection::UpstreamProtocol(self.server.clone());
        let message = rpc::scan(&doc).map_err(|_| protocol())?;
        let (data, last) = match message.shape() {
            Shape::Request => (self.addressed(&doc, &message)?, false),
            Shape::Notification if is_list_changed(&doc, &message) => return Ok(None),
            Shape::Notification => (doc, false),
            Shape::Result | Shape::Error => {
                let own = message
                    .id
                    .is_none_or(|id| Some(id.of(&doc)) == request.map(|r| r.as_ref()));
                if request.is_some() && !own {
                    return Ok(None);
                }
                (doc, request.is_some())
            }
        };
        Ok(Some(Frame { id, data, last }))
    }

    /// A server's request with an id that leads its answer back to this leg, and says who asks: the client sees
    /// one gateway, the person should see which server wants something.
    fn addressed(&self, doc: &Bytes, message: &Message) -> Result<Bytes, Rejection> {
        let Some(id) = message.id else {
            return Err(Rejection::Internal);
        };
        let sealed = sealed::server_request_id(&self.mcp, self.session, &self.server, &self.leg, id.of(doc))?;
        let mut splice = json::Splice::new(doc);
        splice.replace(id, sealed);
        if message.method(doc) == Some("elicitation/create")
            && let Some(params) = &message.params
            && let Some(text) = json::member(doc, params.span, "message")
            && let Some(said) = json::string(doc, text)
        {
            splice.replace(text, translate::quoted(&format!("[{}] {said}", self.server)));
        }
        splice.finish().map(Bytes::from).map_err(|_| Rejection::Internal)
    }
}

/// The merged lists change when the catalogue does, which the gateway announces itself.
fn is_list_changed(doc: &[u8], message: &Message) -> bool {
    message.method(doc).is_some_and(|m| m.ends_with("/list_changed"))
}

/// An event id that names the server it came from. Not secret and not trusted: it is only ever sent to the
/// session's own leg at that server.
pub fn event_id(server: &str, id: &[u8]) -> Bytes {
    [server.as_bytes(), b"/", id].concat().into()
}

/// The inverse of [`event_id`].
pub fn split_event_id(id: &Bytes) -> Option<(&str, Bytes)> {
    let slash = id.iter().position(|b| *b == b'/')?;
    let server = std::str::from_utf8(&id[..slash]).ok()?;
    Some((server, id.slice(slash + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_lead_back_whatever_is_in_them() {
        let id = event_id("git", b"a/b::c");
        assert_eq!(split_event_id(&id), Some(("git", Bytes::from_static(b"a/b::c"))));
        assert_eq!(split_event_id(&Bytes::from_static(b"none")), None);
    }
}
