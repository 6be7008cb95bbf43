//! Streams that belong to no request: the GET of a legacy session and `subscriptions/listen` of a modern caller.
//!
//! Each is one task that waits for everything at once: a new snapshot (whose lists may differ), the streams of
//! the servers concerned, and the client's going, which ends it all. It ends too when its owner may not have it any
//! more and when the gateway drains ([`Owner::lost`]).

mod lists_changed;
mod owner;
pub mod ready;
mod upstream;

pub use owner::Owner;

use super::{
    legacy::Session,
    relay::{self, merged},
    reply::{Frame, Frames, RELAY_MESSAGES_MAX, Reply},
    worker::{Call, Mcp},
};
use crate::io;
use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join, join_all};
use ringway_core::{
    rejection::Rejection,
    resolve,
    snapshot::{Scope, ServerIndex},
    translate::{self, notification},
};
use ringway_proto::{
    json::{self, Kind},
    rpc::Message,
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};
use tokio::sync::{mpsc, watch};

/// Resources one listen request may watch; each costs a subscription at a server.
const WATCHED_MAX: usize = 256;

/// Which notifications a stream wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// `notifications/tools/list_changed`.
    pub tools: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts: bool,
    /// `notifications/resources/list_changed`.
    pub resources: bool,
}

/// What a message of a server looks like to the client of a stream.
#[derive(Clone)]
pub enum Form {
    /// Legacy: no subscription ids.
    Plain,
    /// Modern: tagged with the raw id of the listen request.
    Tagged(Bytes),
}

impl Form {
    /// The orderly end: a listen is a request and gets its result (2026-07-28 "Subscriptions").
    fn end(&self) -> Option<Frame> {
        let Self::Tagged(id) = self else { return None };
        let meta =
            br#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":"#.as_slice();
        Some(Frame::last(translate::result::render(
            id,
            &[meta, id, b"}}"].concat(),
        )))
    }

    fn apply(&self, doc: &Bytes, message: &Message) -> Option<Bytes> {
        let edited = match self {
            Self::Plain => notification::without_subscription(doc, message),
            Self::Tagged(id) => notification::with_subscription(doc, message, id),
        };
        edited.ok().map(Bytes::from)
    }
}

type Part = LocalBoxFuture<'static, ()>;

/// Whether a stream has begun: a listen begins with its acknowledgement, and nothing may come before it.
pub type Begun = watch::Receiver<bool>;

/// Runs the parts until the client goes or the owner loses the stream; parts that are done end nothing. `begin`
/// sends what must come first.
fn start(
    mcp: &Rc<Mcp>,
    owner: Owner,
    wants: Wants,
    form: Form,
    tx: mpsc::Sender<Frame>,
    begin: Part,
    parts: Vec<Part>,
) {
    let mcp = mcp.clone();
    io::spawn(async move {
        let changes = async {
            begin.await;
            lists_changed::run(&mcp, &owner, wants, &form, &tx).await;
        };
        let lost = owner.clone().lost(mcp.clone());
        tokio::select! {
            () = tx.closed() => {}
            () = lost => if let Some(last) = form.end() {
                // A client that does not read is cut off instead: nothing may wait for it here.
                _ = tx.try_send(last);
            },
            _ = join(changes, join_all(parts)) => std::future::pending().await,
        }
    });
}

/// The GET stream of a legacy session that is not one server's own.
pub fn session(
    mcp: &Rc<Mcp>,
    call: &Call,
    session: Session,
    resume_after: Option<Bytes>,
) -> Result<Reply, Rejection> {
    let (tx, rx) = mpsc::channel(RELAY_MESSAGES_MAX);
    let snapshot = &call.view.live.snapshot;
    let permits = snapshot.permits(&call.principal);
    let in_scope = |server: ServerIndex| match call.scope {
        Scope::Merged => permits.server(server),
        Scope::Server(own) => own == server,
    };
    let resume = resume_after.as_ref().and_then(merged::split_event_id);
    let session = Rc::new(session);
    let owner = Owner::of(call);
    let mut parts: Vec<Part> = Vec::new();
    let mut push = |name: &str, part: Part| {
        let seen = owner.about(name).lost(mcp.clone());
        parts.push(Box::pin(async move {
            tokio::select! {
                () = part => {}
                () = seen => {}
            }
        }));
    };
    for server in servers(call).filter(|s| in_scope(*s)) {
        let at = call.view.server(server);
        let name = at.name.to_string();
        if at.revision_legacy.is_some() {
            let after = resume
                .as_ref()
                .filter(|(of, _)| *of == name)
                .map(|(_, id)| id.clone());
            push(
                &at.name,
                Box::pin(upstream::leg(
                    mcp.clone(),
                    session.clone(),
                    name,
                    after,
                    tx.clone(),
                )),
            );
        } else if at.modern {
            // On its own endpoint a server's lists are its own; on `/mcp` they are the catalogue's.
            let lists = matches!(call.scope, Scope::Server(_));
            push(
                &at.name,
                Box::pin(upstream::watched(
                    mcp.clone(),
                    session.clone(),
                    name,
                    lists,
                    tx.clone(),
                )),
            );
        }
    }
    let merged = call.scope == Scope::Merged;
    let wants = Wants {
        tools: merged,
        prompts: merged,
        resources: merged,
    };
    start(
        mcp,
        owner,
        wants,
        Form::Plain,
        tx,
        Box::pin(std::future::ready(())),
        parts,
    );
    Ok(Reply::Events(Frames::new(rx)))
}

fn servers(call: &Call) -> impl Iterator<Item = ServerIndex> {
    (0..call.view.live.snapshot.servers.len())
        .filter_map(|at| u16::try_from(at).ok())
        .map(ServerIndex)
}

/// `subscriptions/listen` on `/mcp`, or on the endpoint of a server that speaks the legacy era only.
pub fn listen(mcp: &Rc<Mcp>, call: &Call, doc: &Bytes, message: &Message) -> Result<Reply, Rejection> {
    if mcp.shared.is_draining() {
        return Err(Rejection::Draining);
    }
    let filter = message.params.as_ref().and_then(|p| p.notifications);
    let filter = filter
        .filter(|f| json::kind(doc, *f) == Some(Kind::Object))
        .ok_or_else(|| Rejection::ParamsInvalid("params.notifications must be an object".into()))?;
    let asks = |key: &str| json::member(doc, filter, key).is_some_and(|v| v.of(doc) == b"true");
    let offered = |list: &str| can_change(call, list);
    let wants = Wants {
        tools: asks("toolsListChanged") && offered("tools"),
        prompts: asks("promptsListChanged") && offered("prompts"),
        resources: asks("resourcesListChanged") && offered("resources"),
    };
    let watched = watched_uris(call, doc, filter)?;
    let id = relay::id_of(doc, message);
    let (tx, rx) = mpsc::channel(RELAY_MESSAGES_MAX);
    let acknowledgement = Frame::note(acknowledgement(&id, &wants, &watched));
    let (pending, ready) = ready::pair();
    let (begin, begun) = watch::channel(false);

    let form = Form::Tagged(id);
    let mut by_server: BTreeMap<u16, Vec<Watched>> = BTreeMap::new();
    for one in watched {
        by_server.entry(one.server.0).or_default().push(one);
    }
    let own_lists = match call.scope {
        Scope::Merged => Wants::default(),
        Scope::Server(own) => {
            by_server.entry(own.0).or_default();
            wants.clone()
        }
    };
    let owner = Owner::of(call);
    let mut parts: Vec<Part> = Vec::new();
    for (server, watched) in by_server {
        let seen = owner
            .about(&call.view.server(ServerIndex(server)).name)
            .lost(mcp.clone());
        let listener = upstream::Listener {
            mcp: mcp.clone(),
            server: call.view.server(ServerIndex(server)).name.to_string(),
            wants: own_lists.clone(),
            watched: watched.into_iter().map(|w| (w.original, w.asked)).collect(),
            form: form.clone(),
            capabilities: message
                .meta()
                .and_then(|m| m.client_capabilities)
                .map(|c| doc.slice(c.range())),
            info: message
                .meta()
                .and_then(|m| m.client_info)
                .map(|i| doc.slice(i.range())),
            frames: tx.clone(),
            pending: Rc::new(RefCell::new(vec![pending.clone()])),
            begun: begun.clone(),
        };
        parts.push(Box::pin(async move {
            tokio::select! {
                () = listener.run() => {}
                () = seen => {}
            }
        }));
    }
    let from_catalogue = if call.scope == Scope::Merged {
        wants
    } else {
        Wants::default()
    };
    drop(pending);
    let frames = tx.clone();
    let begin = Box::pin(async move {
        ready.wait().await;
        // The stream's task ends by itself when the client is gone.
        _ = frames.send(acknowledgement).await;
        begin.send_replace(true);
    });
    start(mcp, owner, from_catalogue, form, tx, begin, parts);
    Ok(Reply::Events(Frames::new(rx)))
}

/// A resource somebody watches: as asked for, and as its server knows it.
struct Watched {
    server: ServerIndex,
    asked: String,
    original: String,
}

/// The watched resources that exist for this caller at a server that can tell of changes; others are left out of
/// the acknowledgement, as the specification wants it.
fn watched_uris(call: &Call, doc: &Bytes, filter: json::Span) -> Result<Vec<Watched>, Rejection> {
    let Some(list) = json::member(doc, filter, "resourceSubscriptions") else {
        return Ok(Vec::new());
    };
    let snapshot = &call.view.live.snapshot;
    let permits = snapshot.permits(&call.principal);
    let mut watched = Vec::new();
    for uri in json::elements(doc, list) {
        let uri = json::string(doc, uri).ok_or_else(|| {
            Rejection::ParamsInvalid("params.notifications.resourceSubscriptions holds strings".into())
        })?;
        let found = match call.scope {
            Scope::Merged => resolve::resource(snapshot, permits, &uri),
            Scope::Server(own) => permits.resources(own).then_some((own, &*uri)),
        };
        if let Some((server, original)) = found
            && call.view.server(server).features.resources_subscribe
        {
            watched.push(Watched {
                server,
                asked: uri.to_string(),
                original: original.to_owned(),
            });
        }
        if watched.len() > WATCHED_MAX {
            return Err(Rejection::ParamsInvalid(format!(
                "at most {WATCHED_MAX} resources can be watched at once"
            )));
        }
    }
    Ok(watched)
}

/// Whether a list may change: on `/mcp` whenever a visible server has such a list, because the gateway watches the
/// catalogue; on a server's own endpoint when that server says that it tells.
fn can_change(call: &Call, list: &str) -> bool {
    let offers = |server: ServerIndex| {
        let capabilities = &call.view.server(server).capabilities;
        let root = json::root(capabilities);
        match call.scope {
            Scope::Merged => json::member(capabilities, root, list).is_some(),
            Scope::Server(_) => json::path(capabilities, root, &[list, "listChanged"])
                .is_some_and(|v| v.of(capabilities) == b"true"),
        }
    };
    match call.scope {
        Scope::Server(own) => offers(own),
        Scope::Merged => {
            let permits = call.view.live.snapshot.permits(&call.principal);
            servers(call).any(|server| permits.server(server) && offers(server))
        }
    }
}

fn acknowledgement(id: &[u8], wants: &Wants, watched: &[Watched]) -> Bytes {
    let mut params = br#"{"_meta":{"io.modelcontextprotocol/subscriptionId":"#.to_vec();
    params.extend_from_slice(id);
    params.extend_from_slice(br#"},"notifications":{"#);
    let mut first = true;
    let mut member = |params: &mut Vec<u8>, key: &str| {
        if !std::mem::take(&mut first) {
            params.push(b',');
        }
        json::write_string(params, key);
        params.push(b':');
    };
    for (wanted, key) in [
        (wants.tools, "toolsListChanged"),
        (wants.prompts, "promptsListChanged"),
        (wants.resources, "resourcesListChanged"),
    ] {
        if wanted {
            member(&mut params, key);
            params.extend_from_slice(b"true");
        }
    }
    if !watched.is_empty() {
        member(&mut params, "resourceSubscriptions");
        let uris: Vec<Vec<u8>> = watched.iter().map(|w| translate::quoted(&w.asked)).collect();
        params.push(b'[');
        params.extend_from_slice(&uris.join(&b','));
        params.push(b']');
    }
    params.extend_from_slice(b"}}");
    notification::render("notifications/subscriptions/acknowledged", Some(&params)).into()
}
