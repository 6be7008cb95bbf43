//! A modern caller's request at a legacy server.
//!
//! The gateway holds a session for the caller (see [`Party`]); ids and progress tokens are its own in there.
//! When the server sends a request in the middle of the call, the caller is answered `input_required` and the
//! call is parked: this task keeps the server's stream, unread, and waits for the caller's next request to bring
//! the answers. `requestState` is sealed and names replica, worker and call.
//!
//! If the caller goes away while it is being answered, the server gets `notifications/cancelled`: closing a
//! stream means that in the modern era and not in the legacy one.

use super::{Outgoing, error_inside, id_of, no_messages, refused};
use crate::{
    io,
    mcp::{
        answer::{Answer, Incoming, Messages},
        calls::{Registration, Word},
        outbound::{self, Leg, Wire},
        party::Party,
        reply::Frame,
        sealed,
    },
};
use bytes::Bytes;
use ringway_core::{
    rejection::Rejection,
    translate::{self, notification, result::InputRequest},
};
use ringway_proto::{
    json,
    rpc::{self, Message, Shape},
};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What the modern request said of its caller.
#[derive(Clone)]
pub struct Caller {
    /// `io.modelcontextprotocol/logLevel`.
    pub log_level: Option<String>,
    /// Raw `progressToken`.
    pub progress_token: Option<Bytes>,
    /// Seals `requestState` to the caller and its request.
    pub binding: sealed::Binding,
}

/// A call as it goes on.
struct Call {
    out: Outgoing,
    party: Party,
    caller: Caller,
    registration: Registration,
    /// The id in the server's session.
    upstream_id: Bytes,
    /// The id of the caller's present request.
    id: Bytes,
    method: Bytes,
    frames: mpsc::Sender<Frame>,
}

/// A request of the server's that waits for the caller.
struct Asked {
    id: Bytes,
    request: InputRequest,
}

enum End {
    Last(Bytes),
    CallerGone,
}

/// Runs the call to its end.
pub async fn run(
    out: Outgoing,
    party: Party,
    caller: Caller,
    registration: Registration,
    frames: mpsc::Sender<Frame>,
) {
    let Ok(message) = out.message() else { return };
    let id = id_of(&out.doc, &message);
    let method = message
        .method
        .map(|m| out.doc.slice(m.range()))
        .unwrap_or_default();
    // Unique in the session: sessions are held per worker, and a worker never repeats a number.
    let upstream_id = Bytes::from(registration.call.to_string());
    let note = out.mcp.notes.of(&party.id, party.held);
    let mut call = Call {
        out,
        party,
        caller,
        registration,
        upstream_id,
        id,
        method,
        frames,
    };
    let last = match call.answer(&message).await {
        Ok(End::Last(doc)) => Some(Frame::last(doc)),
        Ok(End::CallerGone) => None,
        Err(rejection) => Some(refused(&rejection, &call.id)),
    };
    if let Some(last) = last {
        _ = call.frames.send(last).await;
    }
    // Until here the note's count says that the session is in use.
    drop(note);
}

impl Call {
    async fn answer(&mut self, message: &Message) -> Result<End, Rejection> {
        self.ask_for_logs().await?;
        let token = message
            .meta()
            .and_then(|m| m.progress_token)
            .map(|_| self.token());
        let body = translate::request::to_legacy(&self.out.doc, message, &self.upstream_id, token.as_deref())
            .map_err(|_| Rejection::Internal)?;
        let (mcp, view, server) = (&self.out.mcp, &self.out.view, self.out.server);
        let posted = {
            // The whole-call deadline is kept below: it must not run while a person is being asked.
            let post = self.party.post(mcp, view, server, body.into(), true);
            tokio::select! {
                biased;
                () = self.frames.closed() => return Ok(End::CallerGone),
                posted = post => posted,
            }
        };
        let (answer, leg) = posted?;
        if let Some((_, doc, message)) = error_inside(&answer) {
            return self.last(&doc, &message);
        }
        let missing = no_messages(self.out.server_name(), &answer);
        if matches!(answer, Answer::Accepted | Answer::Refused { .. }) {
            return Err(missing);
        }
        let bytes_max = mcp.shared.limits.reply_bytes_max;
        let messages = Messages::of(self.out.server_name(), answer, bytes_max).ok_or(missing)?;
        let end = self.relay(messages, &leg).await;
        if matches!(end, Ok(End::CallerGone)) {
            self.cancel(&leg).await;
        }
        end
    }

    /// Our progress token in the server's session: like the id, ours alone.
    fn token(&self) -> Vec<u8> {
        [b"\"ringway-".as_slice(), &self.upstream_id, b"\""].concat()
    }

    fn deadline(&self) -> Instant {
        let total_ms = self.out.view.server(self.out.server).timeouts.total_ms;
        Instant::now() + Duration::from_millis(total_ms.into())
    }

    async fn relay(&mut self, mut messages: Messages, leg: &Leg) -> Result<End, Rejection> {
        let mut deadline = self.deadline();
        let mut asked: Vec<Asked> = Vec::new();
        loop {
            let next = tokio::select! {
                biased;
                () = self.frames.closed() => return Ok(End::CallerGone),
                next = io::timeout_at(deadline, messages.next()) => next,
            };
            let incoming = match next {
                Ok(Some(incoming)) => incoming?,
                Ok(None) => return Err(Rejection::UpstreamReset(self.out.server_name().to_owned())),
                Err(io::Elapsed) => {
                    self.cancel(leg).await;
                    return Err(Rejection::UpstreamTimeout(self.out.server_name().to_owned()));
                }
            };
            if incoming.doc.is_empty() {
                continue;
            }
            let message = rpc::scan(&incoming.doc)
                .map_err(|_| Rejection::UpstreamProtocol(self.out.server_name().to_owned()))?;
            match message.shape() {
                Shape::Notification => self.note(&incoming, &message).await?,
                Shape::Request => {
                    if let Some(question) = self.question(&incoming.doc, &message, leg).await {
                        asked.push(question);
                        asked = self.park(asked, leg).await?;
                        deadline = self.deadline();
                    }
                }
                Shape::Result | Shape::Error => {
                    let id = message.id.map(|id| id.of(&incoming.doc));
                    // Somebody else's answer on our stream would be a grave fault of the server's: never relayed.
                    if id.is_some_and(|id| id != self.upstream_id) {
                        tracing::warn!(
                            server = self.out.server_name(),
                            "an answer to another request was dropped"
                        );
                        continue;
                    }
                    return self.last(&incoming.doc, &message);
                }
            }
        }
    }

    fn last(&self, doc: &[u8], message: &Message) -> Result<End, Rejection> {
        let doc = translate::result::to_modern(doc, message, &self.method, &self.id);
        doc.map(|doc| End::Last(doc.into()))
            .map_err(|_| Rejection::Internal)
    }

    /// Passes on the notifications that belong to this request; all others belong on a listen stream.
    async fn note(&self, incoming: &Incoming, message: &Message) -> Result<(), Rejection> {
        let doc = &incoming.doc;
        let doc = match message.method(doc) {
            Some("notifications/progress") => {
                let token = message
                    .params
                    .as_ref()
                    .and_then(|p| p.progress_token)
                    .map(|t| t.of(doc));
                let (Some(own), true) = (&self.caller.progress_token, token == Some(&self.token())) else {
                    return Ok(());
                };
                notification::with_progress_token(doc, message, own)
                    .map_err(|_| Rejection::Internal)?
                    .into()
            }
            Some("notifications/message") => {
                if !notification::is_wanted(doc, message, self.caller.log_level.as_deref()) {
                    return Ok(());
                }
                doc.clone()
            }
            _ => return Ok(()),
        };
        _ = self.frames.send(Frame::note(doc)).await;
        Ok(())
    }

    /// A request of the server's as a question to the caller; what the gateway can answer itself, it does.
    async fn question(&self, doc: &Bytes, message: &Message, leg: &Leg) -> Option<Asked> {
        let id = doc.slice(message.id?.range());
        let method = message.method(doc)?;
        match method {
            "ping" => {
                self.answer_server(leg, translate::result::render(&id, b"{}"))
                    .await;
                None
            }
            "elicitation/create" | "sampling/createMessage" | "roots/list" => {
                let params = message.params.as_ref().map(|p| p.span.of(doc).to_vec());
                let request = InputRequest {
                    key: String::new(),
                    method: method.to_owned(),
                    params,
                };
                Some(Asked { id, request })
            }
            _ => {
                let era = ringway_proto::revision::Era::Legacy;
                let rejection = Rejection::MethodUnknown {
                    era,
                    method: method.to_owned(),
                };
                self.answer_server(leg, rejection.render(Some(&id))).await;
                None
            }
        }
    }

    /// Answers the caller `input_required` and waits for its next request; gives the questions still open.
    async fn park(&mut self, mut asked: Vec<Asked>, leg: &Leg) -> Result<Vec<Asked>, Rejection> {
        for (n, question) in asked.iter_mut().enumerate() {
            question.request.key = format!("{}-{}", self.registration.call, n + 1);
        }
        let requests: Vec<InputRequest> = asked.iter().map(|a| a.request.clone()).collect();
        let state = sealed::parked_state(&self.out.mcp, self.registration.call, &self.caller.binding)?;
        let doc = translate::result::render_input_required(&self.id, &requests, &state);
        _ = self.frames.send(Frame::last(doc)).await;
        let lifetime = Duration::from_secs(self.out.mcp.shared.limits.parked_lifetime_s.into());
        let end = Instant::now() + lifetime;
        loop {
            match io::timeout_at(end, self.registration.words.recv()).await {
                Ok(Some(Word::Resume {
                    responses,
                    id,
                    progress_token,
                    frames,
                })) => {
                    (self.id, self.frames, self.caller.progress_token) = (id, frames, progress_token);
                    return Ok(self.hand_over(asked, &responses, leg).await);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(io::Elapsed) => {
                    self.cancel(leg).await;
                    return Err(Rejection::ParkedCallGone);
                }
            }
        }
    }

    /// Gives the server the answers that came; the rest stays open.
    async fn hand_over(&self, asked: Vec<Asked>, responses: &Bytes, leg: &Leg) -> Vec<Asked> {
        let root = json::root(responses);
        let mut open = Vec::new();
        for question in asked {
            match json::member(responses, root, &question.request.key) {
                Some(result) => {
                    self.answer_server(leg, translate::result::render(&question.id, result.of(responses)))
                        .await;
                }
                None => open.push(question),
            }
        }
        open
    }

    async fn answer_server(&self, leg: &Leg, doc: Vec<u8>) {
        let (mcp, view, server) = (&self.out.mcp, &self.out.view, self.out.server);
        let sent = outbound::post(mcp, view, server, Wire::Legacy(leg), doc.into(), false).await;
        match sent {
            Ok(Answer::Refused { status, .. }) => {
                tracing::warn!(
                    server = self.out.server_name(),
                    status,
                    "a server refused an answer it had asked for"
                );
            }
            Err(rejection) => {
                tracing::warn!(
                    server = self.out.server_name(),
                    reason = rejection.reason(),
                    "an answer was not delivered"
                );
            }
            Ok(_) => {}
        }
    }

    async fn cancel(&self, leg: &Leg) {
        let params = [
            br#"{"requestId":"#.as_slice(),
            &self.upstream_id,
            br#","reason":"the caller is gone"}"#,
        ]
        .concat();
        self.answer_server(
            leg,
            notification::render("notifications/cancelled", Some(&params)),
        )
        .await;
    }

    /// A legacy server logs at its own level until told otherwise; the caller's level is applied here, so the
    /// session asks for everything once.
    async fn ask_for_logs(&self) -> Result<(), Rejection> {
        let (mcp, view, server) = (&self.out.mcp, &self.out.view, self.out.server);
        if self.caller.log_level.is_none() || !view.has_capability(server, "logging") {
            return Ok(());
        }
        let leg = self.party.leg(mcp, view, server).await?;
        let mark = leg
            .session
            .as_ref()
            .map(|s| String::from_utf8_lossy(s).into_owned())
            .unwrap_or_default();
        let note = mcp.notes.of(&self.party.id, self.party.held);
        if note.log_level.borrow().as_ref() == Some(&mark) {
            return Ok(());
        }
        let number = mcp.calls.number().to_string();
        let params = Some(br#"{"level":"debug"}"#.as_slice());
        let doc = translate::result::render_request(number.as_bytes(), "logging/setLevel", params);
        outbound::post(mcp, view, server, Wire::Legacy(&leg), doc.into(), false).await?;
        *note.log_level.borrow_mut() = Some(mark);
        Ok(())
    }
}
