//! Whose a stream is, and how long it may stay.
//!
//! A stream outlives the request that opened it, so what admitted the request is asked again for as long as the
//! stream lasts: rights are not asked once and then kept. Told by each new snapshot, and by the clock for
//! credentials that expire. A drain ends streams too: they would outlast it, and their clients can open them
//! anew at another replica.

use crate::{
    io,
    mcp::{
        shared::now_s,
        worker::{Call, Mcp},
    },
};
use ringway_core::{
    pipeline::{self, Caller},
    snapshot::{Principal, Scope, Snapshot},
};
use ringway_proto::{http::Headers, revision::Era};
use std::{rc::Rc, sync::Arc, time::Duration};

/// How often the clock is asked whether a credential has expired.
const LOOK: Duration = Duration::from_secs(15);

/// Who owns a stream, in terms that survive a new snapshot.
#[derive(Clone)]
pub struct Owner {
    credential: String,
    /// Server name, or `None` for `/mcp`.
    endpoint: Option<String>,
    /// The server's own stream passes unread, which takes the right to all of that server.
    whole: bool,
    /// The server whose part of a stream this is.
    about: Option<String>,
}

impl Owner {
    /// The owner of a stream that the gateway writes.
    pub fn of(call: &Call) -> Self {
        let endpoint = match call.scope {
            Scope::Merged => None,
            Scope::Server(server) => Some(call.view.server(server).name.to_string()),
        };
        Self {
            credential: call.principal.credential.to_string(),
            endpoint,
            whole: false,
            about: None,
        }
    }

    /// The owner of a server's own stream.
    pub fn of_whole(call: &Call) -> Self {
        Self {
            whole: true,
            ..Self::of(call)
        }
    }

    /// The same for what one server contributes to the stream.
    pub fn about(&self, server: &str) -> Self {
        Self {
            about: Some(server.to_owned()),
            ..self.clone()
        }
    }

    /// What the owner is in a snapshot, if the stream may still be.
    pub fn in_snapshot<'s>(&self, snapshot: &'s Snapshot) -> Option<(&'s Arc<Principal>, Scope)> {
        let principal = snapshot.principal_of(&self.credential, now_s())?;
        let scope = match &self.endpoint {
            None => Scope::Merged,
            Some(name) => Scope::Server(snapshot.server(name)?),
        };
        Some((principal, scope))
    }

    fn may_stay(&self, mcp: &Mcp) -> bool {
        let view = mcp.view();
        let snapshot = &view.live.snapshot;
        let Some((principal, scope)) = self.in_snapshot(snapshot) else {
            return false;
        };
        let sees = |server| snapshot.permits(principal).server(server);
        let headers = &Headers::default();
        let own = match scope {
            Scope::Merged => true,
            // The right to all of a server is the same in both eras.
            Scope::Server(_) if self.whole => pipeline::whole_server(Caller {
                snapshot,
                principal,
                scope,
                era: Era::Modern,
                headers,
            })
            .is_some(),
            Scope::Server(server) => sees(server),
        };
        own && self
            .about
            .as_ref()
            .is_none_or(|name| snapshot.server(name).is_some_and(sees))
    }

    /// Waits until the stream must end.
    pub async fn lost(self, mcp: Rc<Mcp>) {
        let mut published = mcp.published.subscribe();
        let mut draining = mcp.draining.subscribe();
        while self.may_stay(&mcp) {
            tokio::select! {
                // An error is the worker's end, and the stream's.
                _ = draining.wait_for(|draining| *draining) => return,
                changed = published.changed() => if changed.is_err() { return },
                () = io::sleep(LOOK) => {}
            }
        }
    }
}
