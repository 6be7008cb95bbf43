//! The servers' side of a client's stream.
//!
//! Each function here keeps one stream at one server open for as long as the client's stream lasts, comes back
//! with growing pauses when the server closes it, and gives up only where the server says that it has none.

use super::{Begun, Form, Wants, ready::Pending};
use crate::{
    io,
    mcp::{
        answer::{Answer, Messages},
        legacy::Session,
        outbound::{self, Leg, Wire},
        party::{self, Party},
        relay::merged::{self, LegStream},
        reply::Frame,
        view::View,
        worker::Mcp,
    },
};
use bytes::Bytes;
use ringway_core::{
    snapshot::ServerIndex,
    translate::{self, request::ClientFacts},
};
use ringway_proto::{
    revision::Revision,
    rpc::{self, Shape},
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// First pause before a stream is opened again; doubles up to [`PAUSE_MAX`] while it fails.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Grows while things fail and starts over when they work.
struct Pause(Cell<Duration>);

impl Pause {
    fn new() -> Self {
        Self(Cell::new(PAUSE_MIN))
    }

    fn reset(&self) {
        self.0.set(PAUSE_MIN);
    }

    async fn wait(&self) {
        io::sleep(self.0.get()).await;
        self.0.set((self.0.get() * 2).min(PAUSE_MAX));
    }
}

fn present(mcp: &Mcp, name: &str) -> Option<(Rc<View>, ServerIndex)> {
    let view = mcp.view();
    let server = view.live.snapshot.server(name)?;
    Some((view, server))
}

/// The GET stream of a session's leg at a legacy server.
pub async fn leg(
    mcp: Rc<Mcp>,
    session: Rc<Session>,
    name: String,
    mut resume_after: Option<Bytes>,
    frames: mpsc::Sender<Frame>,
) {
    let pause = Pause::new();
    // A server that left the snapshot has nothing more to say.
    while let Some((view, server)) = present(&mcp, &name) {
        if let Ok(leg) = session.party.leg(&mcp, &view, server).await {
            match outbound::get(&mcp, &view, server, &leg, resume_after.take()).await {
                Ok(Answer::Events { body, .. }) => {
                    pause.reset();
                    let messages = Messages::events(&name, body, mcp.shared.limits.reply_bytes_max);
                    let stream = LegStream {
                        mcp: mcp.clone(),
                        session: session.party.id,
                        server: name.clone(),
                        leg,
                        messages,
                    };
                    merged::run(stream, None, frames.clone()).await;
                }
                Ok(Answer::Refused {
                    status: 405 | 501, ..
                }) => return,
                Ok(answer) if answer.is_session_lost() => {
                    _ = session.party.replace_leg(&mcp, &view, server, Some(&leg)).await;
                }
                Ok(_) | Err(_) => {}
            }
        }
        pause.wait().await;
    }
}

/// What a legacy session wants of a modern server: the resources it subscribed to, and the server's lists when
/// `lists`. Opened anew when the subscriptions change.
pub async fn watched(
    mcp: Rc<Mcp>,
    session: Rc<Session>,
    name: String,
    lists: bool,
    frames: mpsc::Sender<Frame>,
) {
    let note = mcp.notes.of(&session.party.id, false);
    let _listening = note.listening(&name);
    let pending: Rc<RefCell<Vec<Pending>>> = Rc::default();
    loop {
        let changed = note.watches_changed.notified();
        let uris: Vec<(String, String)> = {
            pending.borrow_mut().extend(note.take_pending(&name));
            let watches = note.watches.borrow();
            watches
                .iter()
                .filter(|(server, _)| *server == name)
                .map(|(_, u)| (u.clone(), u.clone()))
                .collect()
        };
        if uris.is_empty() && !lists {
            pending.borrow_mut().clear();
            changed.await;
            continue;
        }
        let listener = Listener {
            mcp: mcp.clone(),
            server: name.clone(),
            wants: Wants {
                tools: lists,
                prompts: lists,
                resources: lists,
            },
            watched: uris.into_iter().collect(),
            form: Form::Plain,
            capabilities: Some(session.capabilities.clone()),
            info: session.info.clone(),
            frames: frames.clone(),
            pending: pending.clone(),
            begun: watch::channel(true).1,
        };
        tokio::select! {
            () = listener.run() => return,
            () = changed => {}
        }
    }
}

/// Notifications of one server for one client's stream, in whichever era the server speaks.
pub struct Listener {
    /// The worker.
    pub mcp: Rc<Mcp>,
    /// The server's name.
    pub server: String,
    /// Its lists.
    pub wants: Wants,
    /// Its resources: as it knows them → as the client asked for them.
    pub watched: HashMap<String, String>,
    /// What the client's messages look like.
    pub form: Form,
    /// Raw client capabilities.
    pub capabilities: Option<Bytes>,
    /// Raw client info.
    pub info: Option<Bytes>,
    /// To the client.
    pub frames: mpsc::Sender<Frame>,
    /// Let go once the server has confirmed, or was found not to.
    pub pending: Rc<RefCell<Vec<Pending>>>,
    /// Nothing is sent before.
    pub begun: Begun,
}

impl Listener {
    /// Listens for as long as it is polled.
    pub async fn run(self) {
        if self.wants == Wants::default() && self.watched.is_empty() {
            return;
        }
        let pause = Pause::new();
        while let Some((view, server)) = present(&self.mcp, &self.server) {
            let at = view.server(server);
            let more = if at.modern {
                self.modern(&view, server, &pause).await
            } else if at.revision_legacy.is_some() {
                self.legacy(&view, server, &pause).await
            } else {
                true
            };
            // Nobody waits for a server through its pauses.
            self.established();
            if !more {
                return;
            }
            pause.wait().await;
        }
    }

    fn established(&self) {
        self.pending.borrow_mut().clear();
    }

    /// One `subscriptions/listen` at a modern server; false when it has no such method.
    async fn modern(&self, view: &Rc<View>, server: ServerIndex, pause: &Pause) -> bool {
        let Some(body) = self.listen_request() else {
            return false;
        };
        let wire = Wire::Modern {
            method: b"subscriptions/listen",
            name: None,
            params: &[],
        };
        match outbound::post(&self.mcp, view, server, wire, body, true).await {
            Ok(Answer::Events { body, .. }) => {
                pause.reset();
                self.pass_on(Messages::events(
                    &self.server,
                    body,
                    self.mcp.shared.limits.reply_bytes_max,
                ))
                .await;
                true
            }
            Ok(Answer::Refused { status: 404, .. }) => false,
            Ok(_) | Err(_) => true,
        }
    }

    fn listen_request(&self) -> Option<Bytes> {
        let mut params = br#"{"notifications":{"#.to_vec();
        for (wanted, key) in [
            (self.wants.tools, &br#""toolsListChanged":true,"#[..]),
            (self.wants.prompts, br#""promptsListChanged":true,"#),
            (self.wants.resources, br#""resourcesListChanged":true,"#),
        ] {
            if wanted {
                params.extend_from_slice(key);
            }
        }
        let uris: Vec<Vec<u8>> = self.watched.keys().map(|uri| translate::quoted(uri)).collect();
        params.extend_from_slice(br#""resourceSubscriptions":["#);
        params.extend_from_slice(&uris.join(&b','));
        params.extend_from_slice(b"]}}");
        let doc =
            translate::result::render_request(br#""ringway-listen""#, "subscriptions/listen", Some(&params));
        let message = rpc::scan(&doc).ok()?;
        let facts = ClientFacts {
            capabilities: self.capabilities.as_deref().unwrap_or(b"{}"),
            info: self.info.as_deref(),
            log_level: None,
        };
        translate::request::to_modern(&doc, &message, None, facts, None)
            .ok()
            .map(Bytes::from)
    }

    /// A session of its own at a legacy server: subscriptions and the GET stream belong together there.
    async fn legacy(&self, view: &Rc<View>, server: ServerIndex, pause: &Pause) -> bool {
        let revision = view
            .server(server)
            .revision_legacy
            .unwrap_or(Revision::NEWEST_LEGACY);
        let capabilities = self.capabilities.as_deref().unwrap_or(b"{}");
        let init = Party::init_params(revision, capabilities, self.info.as_deref());
        let Ok((leg, _)) = party::open(&self.mcp, view, server, revision, &init).await else {
            return true;
        };
        let leg = OwnLeg {
            mcp: self.mcp.clone(),
            view: view.clone(),
            server,
            leg,
        };
        // First the stream, then the subscriptions: an update in between must not be lost.
        let opened = outbound::get(&self.mcp, view, server, &leg.leg, None).await;
        let body = match opened {
            Ok(Answer::Events { body, .. }) => body,
            Ok(Answer::Refused {
                status: 405 | 501, ..
            }) => return false,
            Ok(_) | Err(_) => return true,
        };
        for (n, uri) in self.watched.keys().enumerate() {
            let params = [br#"{"uri":"#.as_slice(), &translate::quoted(uri), b"}"].concat();
            let id = (n + 1).to_string();
            let doc = translate::result::render_request(id.as_bytes(), "resources/subscribe", Some(&params));
            let answer =
                outbound::post(&self.mcp, view, server, Wire::Legacy(&leg.leg), doc.into(), false).await;
            let Ok(answer) = answer else { return true };
            // A head may come before the server has looked at the message; its answer does not.
            let bytes_max = self.mcp.shared.limits.reply_bytes_max;
            if let Some(mut answers) = Messages::of(&self.server, answer, bytes_max) {
                while let Some(Ok(incoming)) = answers.next().await {
                    let shape = rpc::scan(&incoming.doc).map(|m| m.shape());
                    if matches!(shape, Ok(Shape::Result | Shape::Error)) {
                        break;
                    }
                }
            }
        }
        self.established();
        pause.reset();
        self.pass_on(Messages::events(
            &self.server,
            body,
            self.mcp.shared.limits.reply_bytes_max,
        ))
        .await;
        true
    }

    /// Passes on what was asked for until the stream ends.
    async fn pass_on(&self, mut messages: Messages) {
        while let Some(Ok(incoming)) = messages.next().await {
            if incoming.doc.is_empty() {
                continue;
            }
            let Ok(message) = rpc::scan(&incoming.doc) else {
                return;
            };
            if message.shape() != Shape::Notification {
                if matches!(message.shape(), Shape::Result | Shape::Error) {
                    return;
                }
                continue;
            }
            if message.method(&incoming.doc) == Some("notifications/subscriptions/acknowledged") {
                self.established();
            }
            let Some(doc) = self.shown(&incoming.doc, &message) else {
                continue;
            };
            // An error means that the stream is over, which its own task sees to.
            _ = self.begun.clone().wait_for(|begun| *begun).await;
            if self.frames.send(Frame::note(doc)).await.is_err() {
                return;
            }
        }
    }

    fn shown(&self, doc: &Bytes, message: &rpc::Message) -> Option<Bytes> {
        let wanted = match message.method(doc)? {
            "notifications/tools/list_changed" => self.wants.tools,
            "notifications/prompts/list_changed" => self.wants.prompts,
            "notifications/resources/list_changed" => self.wants.resources,
            "notifications/resources/updated" => {
                let uri = message.uri(doc)?;
                let asked = self.watched.get(&*uri)?;
                if *asked == *uri {
                    true
                } else {
                    let doc = Bytes::from(translate::request::renamed(doc, message, asked).ok()?);
                    let message = rpc::scan(&doc).ok()?;
                    return self.form.apply(&doc, &message);
                }
            }
            _ => false,
        };
        wanted.then(|| self.form.apply(doc, message)).flatten()
    }
}

/// A session opened for one stream; ended at its server when the stream is.
struct OwnLeg {
    mcp: Rc<Mcp>,
    view: Rc<View>,
    server: ServerIndex,
    leg: Leg,
}

impl Drop for OwnLeg {
    fn drop(&mut self) {
        // A worker that is going down starts nothing new; the server expires the session.
        if self.mcp.shared.is_draining() {
            return;
        }
        let (mcp, view, server, leg) = (self.mcp.clone(), self.view.clone(), self.server, self.leg.clone());
        io::spawn(async move { outbound::delete(&mcp, &view, server, &leg).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound() {
        let pause = Pause::new();
        for _ in 0..20 {
            pause.0.set((pause.0.get() * 2).min(PAUSE_MAX));
        }
        assert_eq!(pause.0.get(), PAUSE_MAX);
        pause.reset();
        assert_eq!(pause.0.get(), PAUSE_MIN);
    }
}
