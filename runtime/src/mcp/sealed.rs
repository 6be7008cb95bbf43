//! Every text that leaves the gateway and must come back unchanged, sealed with this process's keys.
//!
//! `core::session` says what is in them; here they meet this worker's number, this replica's number and the
//! system's entropy.

use super::{
    outbound::Leg,
    shared::{SessionId, now_s},
    worker::{Call, Mcp},
};
use bytes::Bytes;
use ring::{
    digest::{Context, SHA256},
    rand::{SecureRandom, SystemRandom},
};
use ringway_core::{
    rejection::Rejection,
    session::{Parked, QuestionId, RequestDigest, ServerRequestId, request_digest},
    snapshot::{Principal, Scope, Server},
};
use ringway_proto::{revision::Revision, rpc::Message};
use std::sync::Arc;

/// Fills a buffer from the system; see [`crate::random`] for what happens when it cannot.
pub fn entropy(buffer: &mut [u8]) {
    if SystemRandom::new().fill(buffer).is_err() {
        tracing::error!("the operating system gives no random bytes; stopping");
        std::process::abort();
    }
}

/// Whom a `requestState` is for and what request it continues.
#[derive(Clone)]
pub struct Binding {
    principal: Arc<Principal>,
    request: RequestDigest,
}

impl Binding {
    /// Of this call's request.
    pub fn new(call: &Call, doc: &Bytes, message: &Message) -> Self {
        let server = match call.scope {
            Scope::Merged => "",
            Scope::Server(server) => &call.view.server(server).name,
        };
        let name = message.name(doc).or_else(|| message.uri(doc)).unwrap_or_default();
        let request = request_digest(message.method(doc).unwrap_or_default(), server, &name);
        Self {
            principal: call.principal.clone(),
            request,
        }
    }
}

fn worker_number(mcp: &Mcp) -> u16 {
    u16::try_from(mcp.number).unwrap_or(u16::MAX)
}

/// The `requestState` of a call parked on this worker.
pub fn parked_state(mcp: &Mcp, call: u64, binding: &Binding) -> Result<String, Rejection> {
    let (shared, replica, worker) = (&mcp.shared, mcp.shared.replica, worker_number(mcp));
    let parked = Parked {
        replica,
        worker,
        call,
        upstream_state: None,
    };
    parked
        .seal(
            &shared.sealer,
            &binding.principal,
            binding.request,
            now_s(),
            &shared.limits,
            &mut entropy,
        )
        .map_err(|_| Rejection::Internal)
}

/// The parked call that a `requestState` names; `None` when the state is not ours, or not for this caller and
/// request. A call parked on another replica cannot be reached from here and is gone.
pub fn open_parked(mcp: &Mcp, state: &str, binding: &Binding) -> Result<Option<Parked>, Rejection> {
    let (sealer, principal) = (&mcp.shared.sealer, &binding.principal);
    match Parked::open(sealer, state.as_bytes(), principal, binding.request, now_s()) {
        Ok(parked) if parked.replica != mcp.shared.replica => Err(Rejection::ParkedCallGone),
        Ok(parked) => Ok(Some(parked)),
        Err(_) => Ok(None),
    }
}

/// A server's request id for a merged session's client, as a JSON string.
pub fn server_request_id(
    mcp: &Mcp,
    session: SessionId,
    server: &str,
    leg: &Leg,
    id: &[u8],
) -> Result<Vec<u8>, Rejection> {
    let upstream_session = leg.session.as_ref().map(|s| String::from_utf8_lossy(s).into());
    let request = ServerRequestId {
        server: server.into(),
        upstream_session,
        id: Bytes::copy_from_slice(id),
    };
    let text = request.seal(&mcp.shared.sealer, session, &mut entropy);
    text.map(|text| format!("\"{text}\"").into_bytes())
        .map_err(|_| Rejection::UpstreamTooLarge(server.to_owned()))
}

/// A question's id for a legacy client, as a JSON string.
pub fn question_id(mcp: &Mcp, session: SessionId, call: u64, key: &str) -> Result<Vec<u8>, Rejection> {
    let question = QuestionId {
        replica: mcp.shared.replica,
        worker: worker_number(mcp),
        call,
        key: key.into(),
    };
    let text = question.seal(&mcp.shared.sealer, session, &mut entropy);
    text.map(|text| format!("\"{text}\"").into_bytes())
        .map_err(|_| Rejection::Internal)
}

/// Where a client's answer belongs.
pub enum Addressed {
    /// To a server, over this session of ours, under this raw id.
    Server {
        /// The server's name.
        server: String,
        /// The session at it.
        session: Option<Bytes>,
        /// The request's own id there.
        id: Bytes,
    },
    /// To a call that waits on a worker of this process.
    Question {
        /// The worker.
        worker: usize,
        /// The call.
        call: u64,
        /// The question.
        key: String,
    },
}

/// Opens the id of an answer; `None` when it is not one of ours, or of another session or replica.
pub fn open_id(mcp: &Mcp, session: SessionId, text: &str) -> Option<Addressed> {
    let sealer = &mcp.shared.sealer;
    if let Ok(request) = ServerRequestId::open(sealer, text.as_bytes(), session) {
        return Some(Addressed::Server {
            server: request.server.into(),
            session: request.upstream_session.map(|s| Bytes::from(s.into_string())),
            id: request.id,
        });
    }
    let question = QuestionId::open(sealer, text.as_bytes(), session).ok()?;
    (question.replica == mcp.shared.replica).then(|| Addressed::Question {
        worker: question.worker.into(),
        call: question.call,
        key: question.key.into(),
    })
}

/// The identity of the session held for a modern caller at a legacy server.
pub fn held_id(principal: &Principal, server: &Server, capabilities: &[u8]) -> SessionId {
    let mut hash = Context::new(&SHA256);
    let identity = server.identity.to_le_bytes();
    for part in [
        principal.tenant.as_bytes(),
        principal.credential.as_bytes(),
        server.name.as_bytes(),
        &identity,
        capabilities,
    ] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut id = SessionId::default();
    id.copy_from_slice(&hash.finish().as_ref()[..16]);
    id
}

/// The revision of a leg whose own agreement is not known here: what the server was found to speak, or what the
/// session agreed on where that is older.
pub fn leg_revision(server: &Server, agreed: Revision) -> Revision {
    server.revision_legacy.map_or(agreed, |spoken| spoken.min(agreed))
}
