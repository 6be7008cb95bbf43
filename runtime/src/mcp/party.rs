//! Parties and their legs: who talks to legacy servers, and over which sessions.
//!
//! A [`Party`] is either a legacy client, whose sealed session id names the legs that were open when it was
//! made, or a modern caller with its capabilities, on whose behalf the gateway holds sessions itself. Legs that
//! were opened later, or healed after a server lost its session, are notes: soft facts of each worker, told to
//! the others by letter. Forgetting one costs an `initialize` and nothing else.

use super::{
    answer::{Answer, Messages},
    outbound::{self, Leg, Wire},
    shared::{Letter, SessionId},
    streams::ready::Pending,
    view::View,
    worker::Mcp,
};
use crate::io;
use bytes::Bytes;
use ringway_core::{rejection::Rejection, snapshot::ServerIndex, translate};
use ringway_proto::{
    json,
    revision::{Era, Revision},
    rpc::{self, Shape},
};
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    rc::Rc,
    time::{Duration, Instant},
};

/// Parties one worker keeps notes of. Each note is below a kilobyte; the longest unused goes first.
const PARTIES_NOTED_MAX: usize = 20_000;

/// A held session that nobody used for this long is ended at its server.
const HELD_IDLE: Duration = Duration::from_secs(10 * 60);

/// Somebody with sessions at legacy servers.
pub struct Party {
    /// Identity: sealed in the session token, or derived from the caller.
    pub id: SessionId,
    /// True for sessions the gateway holds for modern callers; their notes stay on this worker.
    pub held: bool,
    /// The revision to ask servers for.
    pub revision: Revision,
    /// Raw `params` of `initialize`.
    pub init: Bytes,
    /// Legs named by the session token.
    pub sealed: Vec<(String, Leg)>,
}

/// What a worker knows of a party beyond its token.
#[derive(Default)]
pub struct Note {
    /// Legs by server name.
    legs: RefCell<HashMap<String, Leg>>,
    /// Legs being opened, by server name: each server's own, so that a silent one holds up no other.
    opening: RefCell<HashMap<String, Rc<Opening>>>,
    /// Level set by `logging/setLevel`, for modern servers.
    pub log_level: RefCell<Option<String>>,
    /// Resources of modern servers the client subscribed to: (server, URI).
    pub watches: RefCell<HashSet<(String, String)>>,
    /// Woken when `watches` change.
    pub watches_changed: tokio::sync::Notify,
    /// Servers that a stream of this worker listens to on the client's behalf, and by how many streams.
    listening: RefCell<HashMap<String, usize>>,
    /// Clients' requests that wait until the watches of a server stand there.
    pending: RefCell<Vec<(String, Pending)>>,
    used: Cell<Option<Instant>>,
}

/// A leg being opened: concurrent calls open one, and what became of it is the answer to all who waited for it.
/// One attempt each, in turn, would take a server's time limit for everybody in front.
#[derive(Default)]
struct Opening {
    turn: tokio::sync::Mutex<()>,
    failed: RefCell<Option<Rejection>>,
}

/// A worker's notes.
#[derive(Default)]
pub struct Notes {
    by_party: RefCell<HashMap<SessionId, (Rc<Note>, bool)>>,
}

impl Note {
    /// Says that a stream listens to `server` until the guard is dropped.
    pub fn listening(self: &Rc<Self>, server: &str) -> Listening {
        *self.listening.borrow_mut().entry(server.to_owned()).or_default() += 1;
        Listening {
            note: self.clone(),
            server: server.to_owned(),
        }
    }

    /// A watch has changed: whoever listens takes it up and lets `pending` go when it stands; with nobody
    /// listening nothing is to be waited for.
    pub fn watch_changed(&self, server: &str, pending: Pending) {
        if self.listening.borrow().contains_key(server) {
            self.pending.borrow_mut().push((server.to_owned(), pending));
        }
        self.watches_changed.notify_waiters();
    }

    /// Who waits for this server's watches to stand.
    pub fn take_pending(&self, server: &str) -> Vec<Pending> {
        let mut all = self.pending.borrow_mut();
        let taken = all.extract_if(.., |(of, _)| *of == server);
        taken.map(|(_, pending)| pending).collect()
    }
}

/// See [`Note::listening`].
pub struct Listening {
    note: Rc<Note>,
    server: String,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listening = self.note.listening.borrow_mut();
        if let Some(count) = listening.get_mut(&self.server) {
            *count -= 1;
            if *count == 0 {
                listening.remove(&self.server);
                drop(listening);
                self.note.take_pending(&self.server);
            }
        }
    }
}

impl Notes {
    /// The note of a party, made when absent.
    pub fn of(&self, id: &SessionId, held: bool) -> Rc<Note> {
        let mut map = self.by_party.borrow_mut();
        if map.len() >= PARTIES_NOTED_MAX && !map.contains_key(id) {
            let oldest = map
                .iter()
                .min_by_key(|(_, (note, _))| note.used.get())
                .map(|(id, _)| *id);
            oldest.map(|id| map.remove(&id));
        }
        let (note, _) = map.entry(*id).or_insert_with(|| (Rc::default(), held));
        note.used.set(Some(Instant::now()));
        note.clone()
    }

    /// Takes in what another worker, or this one, learnt of a leg.
    pub fn put_leg(&self, id: &SessionId, server: &str, leg: Option<Leg>) {
        let note = self.of(id, false);
        let mut legs = note.legs.borrow_mut();
        match leg {
            Some(leg) => _ = legs.insert(server.to_owned(), leg),
            None => _ = legs.remove(server),
        }
    }

    /// Forgets a party.
    pub fn remove(&self, id: &SessionId) {
        self.by_party.borrow_mut().remove(id);
    }

    /// Legs of held sessions that nobody has used for [`HELD_IDLE`] and nobody is using, forgotten here and to be
    /// ended at their servers by the caller.
    pub fn take_idle(&self, now: Instant) -> Vec<(String, Leg)> {
        let idle = |note: &Rc<Note>| {
            Rc::strong_count(note) == 1
                && note
                    .used
                    .get()
                    .is_none_or(|used| now.saturating_duration_since(used) >= HELD_IDLE)
        };
        let mut ended = Vec::new();
        self.by_party.borrow_mut().retain(|_, (note, held)| {
            let keep = !(*held && idle(note));
            if !keep {
                ended.extend(note.legs.borrow_mut().drain());
            }
            keep
        });
        ended
    }
}

/// Servers that lately took too long to open a leg: sessions that begin now do not wait for them.
#[derive(Default)]
pub struct Slow {
    since: RefCell<HashMap<String, Instant>>,
}

/// How long a server is taken to be slow after it was.
const SLOW_FOR: Duration = Duration::from_secs(30);

impl Slow {
    /// Whether to wait for it.
    pub fn is_slow(&self, server: &str) -> bool {
        self.since
            .borrow()
            .get(server)
            .is_some_and(|since| since.elapsed() < SLOW_FOR)
    }

    /// It took too long.
    pub fn was_slow(&self, server: &str) {
        self.since.borrow_mut().insert(server.to_owned(), Instant::now());
    }

    /// It did not. The table holds no more names than there are servers.
    pub fn was_quick(&self, server: &str) {
        self.since.borrow_mut().remove(server);
    }
}

impl Party {
    /// `initialize` parameters out of raw parts.
    pub fn init_params(revision: Revision, capabilities: &[u8], info: Option<&[u8]>) -> Bytes {
        let info = info.unwrap_or(
            concat!(
                r#"{"name":"ringway","version":""#,
                env!("CARGO_PKG_VERSION"),
                r#""}"#
            )
            .as_bytes(),
        );
        [
            br#"{"protocolVersion":""#.as_slice(),
            revision.as_str().as_bytes(),
            br#"","capabilities":"#,
            capabilities,
            br#","clientInfo":"#,
            info,
            b"}",
        ]
        .concat()
        .into()
    }

    /// The leg to use now: noted, sealed, or opened.
    pub async fn leg(&self, mcp: &Rc<Mcp>, view: &Rc<View>, server: ServerIndex) -> Result<Leg, Rejection> {
        match self.known_leg(mcp, view, server) {
            Some(leg) => Ok(leg),
            None => self.replace_leg(mcp, view, server, None).await,
        }
    }

    /// The leg, if one is open as far as we know.
    pub fn known_leg(&self, mcp: &Mcp, view: &View, server: ServerIndex) -> Option<Leg> {
        let name = &*view.server(server).name;
        let note = mcp.notes.of(&self.id, self.held);
        let noted = note.legs.borrow().get(name).cloned();
        noted.or_else(|| {
            self.sealed
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, leg)| leg.clone())
        })
    }

    /// Opens a leg in place of `lost`, unless somebody already has.
    pub async fn replace_leg(
        &self,
        mcp: &Rc<Mcp>,
        view: &Rc<View>,
        server: ServerIndex,
        lost: Option<&Leg>,
    ) -> Result<Leg, Rejection> {
        let note = mcp.notes.of(&self.id, self.held);
        let name = view.server(server).name.to_string();
        let opening = note.opening.borrow_mut().entry(name.clone()).or_default().clone();
        let _turn = opening.turn.lock().await;
        if let Some(leg) = self.known_leg(mcp, view, server).filter(|leg| Some(leg) != lost) {
            return Ok(leg);
        }
        if let Some(rejection) = &*opening.failed.borrow() {
            return Err(rejection.clone());
        }
        let opened = open(mcp, view, server, self.revision, &self.init).await;
        // Who waits already shares the outcome; who comes from now on looks or tries anew.
        note.opening.borrow_mut().remove(&name);
        let leg = match opened {
            Ok((leg, _)) => leg,
            Err(rejection) => {
                *opening.failed.borrow_mut() = Some(rejection.clone());
                return Err(rejection);
            }
        };
        if lost.is_some() {
            tracing::info!(server = %name, "a lost upstream session was opened anew");
        }
        note.legs.borrow_mut().insert(name.clone(), leg.clone());
        if !self.held {
            let (session, leg) = (self.id, leg.clone());
            mcp.shared.write_all(|| Letter::Leg {
                session,
                server: name.clone(),
                leg: Some(leg.clone()),
            });
        }
        Ok(leg)
    }

    /// POSTs over the party's leg; a leg the server has lost is replaced once and the message sent again.
    pub async fn post(
        &self,
        mcp: &Rc<Mcp>,
        view: &Rc<View>,
        server: ServerIndex,
        body: Bytes,
        long_lived: bool,
    ) -> Result<(Answer, Leg), Rejection> {
        let leg = self.leg(mcp, view, server).await?;
        let answer = outbound::post(mcp, view, server, Wire::Legacy(&leg), body.clone(), long_lived).await?;
        if !(leg.session.is_some() && answer.is_session_lost()) {
            return Ok((answer, leg));
        }
        let leg = self.replace_leg(mcp, view, server, Some(&leg)).await?;
        let answer = outbound::post(mcp, view, server, Wire::Legacy(&leg), body, long_lived).await?;
        if answer.is_session_lost() {
            return Err(Rejection::UpstreamSessionLost(
                view.server(server).name.to_string(),
            ));
        }
        Ok((answer, leg))
    }
}

/// Opens a session: `initialize`, then `notifications/initialized`. Gives the leg and the whole response.
pub async fn open(
    mcp: &Rc<Mcp>,
    view: &Rc<View>,
    server: ServerIndex,
    revision: Revision,
    params: &[u8],
) -> Result<(Leg, Bytes), Rejection> {
    let body = translate::result::render_request(br#""ringway-initialize""#, "initialize", Some(params));
    let (leg, doc) = initialize(mcp, view, server, revision, body.into()).await?;
    let initialized = translate::notification::render("notifications/initialized", None);
    let answer = outbound::post(mcp, view, server, Wire::Legacy(&leg), initialized.into(), false).await?;
    if let Answer::Refused { status, .. } = answer {
        return Err(Rejection::UpstreamStatus(
            view.server(server).name.to_string(),
            status,
        ));
    }
    Ok((leg, doc))
}

/// Sends one `initialize` request as it is and reads the response.
pub async fn initialize(
    mcp: &Rc<Mcp>,
    view: &Rc<View>,
    server: ServerIndex,
    revision: Revision,
    body: Bytes,
) -> Result<(Leg, Bytes), Rejection> {
    let name = &*view.server(server).name;
    let (answer, session) = outbound::open(mcp, view, server, revision, body).await?;
    if let Answer::Refused { status, .. } = answer {
        return Err(Rejection::UpstreamStatus(name.to_owned(), status));
    }
    let protocol = || Rejection::UpstreamProtocol(name.to_owned());
    let mut messages = Messages::of(name, answer, mcp.shared.limits.reply_bytes_max).ok_or_else(protocol)?;
    while let Some(incoming) = messages.next().await {
        let doc = incoming?.doc;
        if doc.is_empty() {
            continue;
        }
        let message = rpc::scan(&doc).map_err(|_| protocol())?;
        match message.shape() {
            Shape::Result => {
                let stated = message
                    .result_member(&doc, "protocolVersion")
                    .and_then(|v| json::string(&doc, v));
                let revision = stated
                    .and_then(|text| Revision::parse(text.as_bytes()))
                    .filter(|r| r.era() == Era::Legacy)
                    .unwrap_or(Revision::NEWEST_LEGACY);
                return Ok((Leg { session, revision }, doc));
            }
            Shape::Error => {
                tracing::warn!(
                    server = name,
                    code = message.error_code(&doc),
                    "a server refused initialize"
                );
                return Err(protocol());
            }
            Shape::Request | Shape::Notification => {}
        }
    }
    Err(Rejection::UpstreamReset(name.to_owned()))
}

/// Ends held sessions that fell idle; runs for as long as the worker does.
pub async fn sweep(mcp: Rc<Mcp>) {
    loop {
        io::sleep(HELD_IDLE / 10).await;
        let view = mcp.view();
        for (name, leg) in mcp.notes.take_idle(Instant::now()) {
            if let Some(server) = view.live.snapshot.server(&name) {
                outbound::delete(&mcp, &view, server, &leg).await;
            }
        }
    }
}
