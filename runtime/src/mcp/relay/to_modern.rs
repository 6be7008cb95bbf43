//! A legacy client's request at a modern server.
//!
//! The session's facts go into the request's `_meta`. When the server answers `input_required`, each question is
//! put to the client as a request of the legacy kind, on the stream of its own POST; its answers come back as
//! POSTs to any worker, find their way here by the sealed id, and the request is made again with them
//! (specification 2026-07-28, "Multi round-trip requests").

use super::{Outgoing, error_inside, id_of, no_messages, refused};
use crate::{
    io,
    mcp::{
        answer::Messages,
        calls::{Registration, Word},
        outbound::{self, Wire},
        reply::Frame,
        sealed,
        shared::SessionId,
    },
};
use bytes::Bytes;
use ringway_core::{
    rejection::Rejection,
    translate::{
        self,
        request::ClientFacts,
        result::{InputRequest, ResultType},
    },
};
use ringway_proto::{
    json,
    rpc::{self, Shape},
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Rounds of questions one call may go through; a server that asks more often is looping.
const ROUNDS_MAX: usize = 16;

/// What the session knows of its client.
#[derive(Clone)]
pub struct Client {
    /// The session the questions are bound to.
    pub session: SessionId,
    /// Raw capabilities.
    pub capabilities: Bytes,
    /// Raw client info.
    pub info: Option<Bytes>,
    /// `logging/setLevel`.
    pub log_level: Option<String>,
}

/// Runs the call to its end, whether or not the client still reads.
pub async fn run(out: Outgoing, client: Client, mut call: Registration, frames: mpsc::Sender<Frame>) {
    let Ok(message) = out.message() else { return };
    let id = id_of(&out.doc, &message);
    let outcome = rounds(&out, &client, &mut call, &frames, &id).await;
    let last = match outcome {
        Ok(Some(last)) => last,
        // Cancelled: nothing is owed.
        Ok(None) => return,
        Err(rejection) => refused(&rejection, &id),
    };
    // A client that went away is no error.
    _ = frames.send(last).await;
}

async fn rounds(
    out: &Outgoing,
    client: &Client,
    call: &mut Registration,
    frames: &mpsc::Sender<Frame>,
    id: &Bytes,
) -> Result<Option<Frame>, Rejection> {
    let mut input: Option<(Vec<u8>, Option<Vec<u8>>)> = None;
    for round in 0..ROUNDS_MAX {
        let exchange = one_round(out, client, frames, id, round, input.as_ref());
        let end = tokio::select! {
            end = exchange => end?,
            () = cancelled(call) => return Ok(None),
        };
        match end {
            RoundEnd::Last(frame) => return Ok(Some(frame)),
            RoundEnd::Asked(requests, state) => match ask(out, call, frames, client.session, requests).await?
            {
                Some(responses) => input = Some((responses, state)),
                None => return Ok(None),
            },
        }
    }
    tracing::warn!(
        server = out.server_name(),
        "a server asked for input more than {ROUNDS_MAX} times in one call"
    );
    Err(Rejection::UpstreamProtocol(out.server_name().to_owned()))
}

enum RoundEnd {
    Last(Frame),
    Asked(Vec<InputRequest>, Option<Vec<u8>>),
}

/// Waits for a cancellation; other words cannot come while no question is open.
async fn cancelled(call: &mut Registration) {
    loop {
        match call.words.recv().await {
            Some(Word::Cancel) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

async fn one_round(
    out: &Outgoing,
    client: &Client,
    frames: &mpsc::Sender<Frame>,
    id: &Bytes,
    round: usize,
    input: Option<&(Vec<u8>, Option<Vec<u8>>)>,
) -> Result<RoundEnd, Rejection> {
    let message = out.message()?;
    let method = message
        .method
        .map(|m| out.doc.slice(m.range()))
        .unwrap_or_default();
    // A retry is a new request and needs an id of its own.
    let fresh = (round > 0).then(|| format!("\"ringway-round-{round}\"").into_bytes());
    let facts = ClientFacts {
        capabilities: &client.capabilities,
        info: client.info.as_deref(),
        log_level: client.log_level.as_deref(),
    };
    let input = input.map(|(responses, state)| (responses.as_slice(), state.as_deref()));
    let body = translate::request::to_modern(&out.doc, &message, fresh.as_deref(), facts, input)
        .map_err(|_| Rejection::Internal)?;
    let params = out.header_params()?;
    let wire = Wire::Modern {
        method: &method,
        name: out.name.as_deref(),
        params: &params,
    };
    let server = out.server_name();
    let answer = outbound::post(&out.mcp, &out.view, out.server, wire, body.into(), false).await?;
    if let Some((_, doc, message)) = error_inside(&answer) {
        return last(&doc, &message, id);
    }
    let missing = no_messages(server, &answer);
    let mut messages = Messages::of(server, answer, out.mcp.shared.limits.reply_bytes_max).ok_or(missing)?;
    while let Some(incoming) = messages.next().await {
        let doc = incoming?.doc;
        if doc.is_empty() {
            continue;
        }
        let message = rpc::scan(&doc).map_err(|_| Rejection::UpstreamProtocol(server.to_owned()))?;
        match message.shape() {
            // A client that went away does not end the call; its notes are simply not kept.
            Shape::Notification => _ = frames.send(Frame::note(doc)).await,
            // Modern servers send no requests.
            Shape::Request => return Err(Rejection::UpstreamProtocol(server.to_owned())),
            Shape::Error => return last(&doc, &message, id),
            Shape::Result if translate::result::result_type(&doc, &message) == ResultType::InputRequired => {
                let (requests, state) = translate::result::input_required(&doc, &message)
                    .ok_or_else(|| Rejection::UpstreamProtocol(server.to_owned()))?;
                return Ok(RoundEnd::Asked(requests, state));
            }
            Shape::Result => return last(&doc, &message, id),
        }
    }
    Err(Rejection::UpstreamReset(server.to_owned()))
}

fn last(doc: &[u8], message: &rpc::Message, id: &[u8]) -> Result<RoundEnd, Rejection> {
    let restored = translate::result::restored(doc, message, id).map_err(|_| Rejection::Internal)?;
    Ok(RoundEnd::Last(Frame::last(restored)))
}

/// Puts the questions to the client and gathers a raw `inputResponses` object; `None` when cancelled.
async fn ask(
    out: &Outgoing,
    call: &mut Registration,
    frames: &mpsc::Sender<Frame>,
    session: SessionId,
    requests: Vec<InputRequest>,
) -> Result<Option<Vec<u8>>, Rejection> {
    let mut open: HashMap<String, String> = HashMap::new();
    for request in requests {
        let id = sealed::question_id(&out.mcp, session, call.call, &request.key)?;
        let params = request
            .params
            .map(|params| with_elicitation_id(&request.method, params, call.call));
        let doc = translate::result::render_request(&id, &request.method, params.as_deref());
        // Without a reader the answer cannot come; the deadline below ends the wait.
        _ = frames.send(Frame::note(doc)).await;
        open.insert(request.key, request.method);
    }
    let end = Instant::now() + Duration::from_secs(out.mcp.shared.limits.parked_lifetime_s.into());
    let mut responses = b"{".to_vec();
    while !open.is_empty() {
        let word = io::timeout_at(end, call.words.recv()).await;
        let (key, result) = match word {
            Ok(Some(Word::Answered { key, result })) => (key, result),
            Ok(Some(Word::Cancel)) => return Ok(None),
            Ok(Some(Word::Resume { .. })) => continue,
            Ok(None) | Err(_) => return Err(Rejection::ParkedCallGone),
        };
        let Some(method) = open.remove(&key) else { continue };
        let result = match result {
            Some(result) => result,
            // An elicitation can be declined in words; the other two have none.
            None if method == "elicitation/create" => Bytes::from_static(br#"{"action":"cancel"}"#),
            None => return Err(Rejection::ParamsInvalid(format!("the client refused {method}"))),
        };
        if responses.len() > 1 {
            responses.push(b',');
        }
        json::write_string(&mut responses, &key);
        responses.push(b':');
        responses.extend_from_slice(&result);
    }
    responses.push(b'}');
    Ok(Some(responses))
}

/// 2025-11-25 requires an `elicitationId` in URL mode; 2026-07-28 has none.
fn with_elicitation_id(method: &str, params: Vec<u8>, call: u64) -> Vec<u8> {
    if method != "elicitation/create" {
        return params;
    }
    let root = json::root(&params);
    let is_url = json::member(&params, root, "mode")
        .and_then(|m| json::string(&params, m))
        .as_deref()
        == Some("url");
    if !is_url || json::member(&params, root, "elicitationId").is_some() {
        return params;
    }
    let mut splice = json::Splice::new(&params);
    splice.set_member(root, "elicitationId", format!("\"ringway-{call}\"").into_bytes());
    splice.finish().unwrap_or_default()
}
