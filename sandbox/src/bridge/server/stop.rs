//! Stopping: sessions that end, servers that are idle, replaced or removed.

use super::{Server, Slot};
use crate::bridge::{duplex::WeakLink, session::Session};
use serde_json::json;
use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// A killed process is gone after some milliseconds; one that hangs in the kernel is not waited for longer.
const GONE_WITHIN: Duration = Duration::from_secs(10);

impl Server {
    /// Ends a session: its calls, its subscriptions, and its process when it has one of its own.
    pub(crate) fn end_session(&self, session: &Arc<Session>) {
        if let Some(own) = &session.peer {
            own.cancel_all(session);
            return own.stop();
        }
        let Some(peer) = self.running() else { return };
        peer.cancel_all(session);
        let wanted = self.sessions.subscriptions();
        for uri in session.subscriptions() {
            if !wanted.contains(&uri) {
                peer.send_own("resources/unsubscribe", json!({ "uri": uri }));
            }
        }
    }

    /// Ends the session that has been unused for the longest time, to make room for a new one. False when all are
    /// in use, or were a moment ago.
    pub(super) fn make_room(&self) -> bool {
        let spared = self.limits.session_spared.min(self.session_idle());
        let unused = self.sessions.remove_longest_unused(Instant::now(), spared);
        if let Some(session) = &unused {
            tracing::info!(server = %self.name, "the session unused for the longest time ends for a new one");
            self.end_session(session);
        }
        unused.is_some()
    }

    /// How long a session may be unused.
    fn session_idle(&self) -> Duration {
        self.limits.session_idle.min(self.spec.idle_stop)
    }

    /// Takes nothing new, lets calls under way finish until the deadline, then stops everything and waits until it
    /// is gone.
    pub(crate) async fn retire(&self, deadline: Duration) {
        let peers = {
            let mut state = self.state();
            state.retired = true;
            // A handshake has no work to lose, and calls that wait for it need not wait any longer.
            state.starting.iter().for_each(WeakLink::kill);
            state.peers.clone()
        };
        for peer in &peers {
            peer.end_listens();
        }
        let all = u32::try_from(self.limits.calls_per_server_max).unwrap_or(u32::MAX);
        let _ = timeout(deadline, self.calls.acquire_many(all)).await;
        self.stop_all().await;
    }

    async fn stop_all(&self) {
        self.sessions.remove_such(|_| true);
        let peers = self.state().peers.clone();
        for peer in &peers {
            peer.stop();
        }
        for peer in peers {
            peer.link.gone().await;
        }
        // Each process holds a place until nothing of it is left, those included that had no peer yet.
        let all = u32::try_from(self.limits.processes_per_server_max).unwrap_or(u32::MAX);
        let _ = timeout(GONE_WITHIN, self.own_processes.acquire_many(all)).await;
    }

    /// Ends everything without any grace; does not wait.
    pub(crate) fn kill(&self) {
        let state = self.state();
        state.starting.iter().for_each(WeakLink::kill);
        for peer in &state.peers {
            peer.link.kill();
        }
    }

    /// Begins to stop everything, without waiting.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        state.retired = true;
        for peer in &state.peers {
            peer.stop();
        }
    }

    fn tidy_up(&self, now: Instant) {
        for session in self.sessions.remove_expired(now, self.session_idle()) {
            tracing::debug!(server = %self.name, "an idle session has expired");
            self.end_session(&session);
        }
        let mut state = self.state();
        let quiet = now.saturating_duration_since(state.last_used) >= self.spec.idle_stop
            && self.sessions.len() == 0
            && self.calls.available_permits() == self.limits.calls_per_server_max
            && self.listens.available_permits() == self.limits.sessions_per_server_max;
        if quiet && let Slot::Running(peer) = &state.slot {
            tracing::info!(server = %self.name, "local server is idle; stopping it");
            peer.stop();
            state.slot = Slot::Empty;
        }
    }
}

/// Ends idle sessions and idle processes for as long as the server exists.
pub(super) async fn tidy(server: Weak<Server>) {
    let pause = match server.upgrade() {
        Some(server) => server.session_idle() / 4,
        None => return,
    };
    let pause = pause.clamp(Duration::from_millis(20), Duration::from_secs(15));
    loop {
        sleep(pause).await;
        match server.upgrade() {
            Some(server) => server.tidy_up(Instant::now()),
            None => return,
        }
    }
}
