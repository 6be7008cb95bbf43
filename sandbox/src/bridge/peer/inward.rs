//! Inward: one router task reads every message of a server and decides by its kind.
//!
//! | message | goes to |
//! |---|---|
//! | response | the call with this number, its client's id restored; unknown numbers are dropped |
//! | progress | the call whose token it carries, the client's token restored |
//! | with a subscription id | the listen with this number |
//! | `notifications/cancelled` (modern) | ends that listen |
//! | log message | modern: the one call that asked for logs; shared: our log; own session: as requests |
//! | `*/list_changed`, `resources/updated` | every session; those that subscribed to the resource |
//! | request | own session: the only call under way, else the session's event stream; otherwise refused |
//! | `ping` | answered here |
//!
//! The router never waits for a client: what a slow one has no room for is dropped or refused (see `limits`).

use super::{Audience, Peer};
use crate::bridge::{
    calls::{Answer, Call, CallId},
    duplex::Incoming,
    message::{self, METHOD_NOT_FOUND},
    session::{Outbox, Sessions},
};
use bytes::Bytes;
use ringway_proto::{
    json,
    revision::Era,
    rpc::{Message, ScanFault, Shape, scan},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

/// How long what a dead process left in its pipe is still read before its calls are failed.
const DRAIN: Duration = Duration::from_millis(250);

/// Reads messages until the server has ended, then fails what is still under way.
pub(super) async fn route(peer: Arc<Peer>, mut incoming: mpsc::Receiver<Incoming>) {
    let deadlines = peer.limits.call_deadline.min(peer.limits.detached_call_deadline) / 4;
    let mut tick = interval(deadlines.clamp(Duration::from_millis(10), Duration::from_secs(5)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let link = peer.link.clone();
    {
        let ended = link.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                message = incoming.recv() => match message {
                    Some(message) => peer.take(message),
                    None => break,
                },
                _ = tick.tick() => peer.enforce_deadlines(Instant::now()),
                _ = &mut ended => {
                    let rest = async {
                        while let Some(message) = incoming.recv().await {
                            peer.take(message);
                        }
                    };
                    let _ = timeout(DRAIN, rest).await;
                    break;
                }
            }
        }
    }
    // It may only have closed its end of the channel.
    link.stop();
    let how: Arc<str> = link.ended().await.into();
    let calls = peer.calls().close();
    let (reason, text) = match peer.was_stopped() {
        true => ("server_stopped", format!("server {} was stopped", peer.name)),
        false => (
            "server_ended",
            format!("server {} {how} while the call was under way", peer.name),
        ),
    };
    for call in calls {
        peer.fail(call, reason, &text);
    }
    peer.ended.send_replace(Some(how));
}

impl Peer {
    fn take(&self, incoming: Incoming) {
        let doc = match incoming {
            Incoming::Message(doc) => doc,
            Incoming::TooLong { head, tail } => return self.too_long(&head, &tail),
        };
        let message = match scan(&doc) {
            Ok(message) => message,
            Err(fault) => return self.malformed(&doc, fault),
        };
        match message.shape() {
            Shape::Result | Shape::Error => self.answer(&doc, &message),
            Shape::Notification => self.notification(doc, &message),
            Shape::Request => self.request(doc, &message),
        }
    }

    fn answer(&self, doc: &Bytes, message: &Message) {
        let call = message
            .id
            .and_then(|id| message::our_id(doc, id))
            .and_then(|id| self.calls().take(id));
        let Some(call) = call else {
            tracing::debug!(server = %self.name, "an answer to no call of ours is dropped");
            return;
        };
        let failed = message.shape() == Shape::Error;
        if let (true, Some(session), Some(uri)) = (failed, &call.session, &call.subscribes) {
            session.unsubscribe(uri);
        }
        let code = failed.then(|| message.error_code(doc)).flatten();
        match message::inward(doc, message, &call.client_id) {
            // Nobody may be waiting any more.
            Some(message) => drop(call.done.send(Answer { message, code })),
            None => self.fail(call, "bad_answer", "the server's answer could not be read"),
        }
    }

    fn notification(&self, doc: Bytes, message: &Message) {
        let method = message.method(&doc).unwrap_or_default();
        let params = message.params.as_ref();
        let our = |span: Option<json::Span>| span.and_then(|s| Some((s, message::our_id(&doc, s)?)));
        if let Some((span, id)) = our(message.meta().and_then(|meta| meta.subscription_id)) {
            return self.to_listen(&doc, span, id);
        }
        match method {
            "notifications/progress" => {
                if let Some((span, id)) = our(params.and_then(|p| p.progress_token)) {
                    let calls = self.calls();
                    if let Some(call) = calls.get(id)
                        && let Some(token) = &call.token
                        && let Some(note) = message::with(&doc, span, token)
                    {
                        let _ = call.notes.try_send(note);
                    }
                }
            }
            "notifications/cancelled" if self.era() == Era::Modern => {
                if let Some((_, id)) = our(params.and_then(|p| p.request_id)) {
                    self.end_listen(id);
                }
            }
            _ => match &self.audience {
                Audience::Nobody => self.unaddressed(&doc, method),
                Audience::All(sessions) => self.to_all(&doc, message, method, sessions),
                Audience::One(outbox) => {
                    if method == "notifications/cancelled"
                        && let Some(id) = params.and_then(|p| p.request_id)
                    {
                        self.asked().remove(id.of(&doc));
                    }
                    let about_lists =
                        method.ends_with("/list_changed") || method == "notifications/resources/updated";
                    self.to_one(doc, outbox, about_lists);
                }
            },
        }
    }

    /// Modern: a log message names no request, but a server may send it only for one that asked for logs. When
    /// exactly one did, it is that one's; otherwise handing it out could show one client another's data.
    fn unaddressed(&self, doc: &Bytes, method: &str) {
        let calls = self.calls();
        match (method, &calls.such(|call| call.wants_log)[..]) {
            ("notifications/message", [only]) => {
                if let Some(call) = calls.get(*only) {
                    let _ = call.notes.try_send(doc.clone());
                }
            }
            _ => self.log(doc, method),
        }
    }

    fn to_listen(&self, doc: &Bytes, span: json::Span, id: CallId) {
        let mut calls = self.calls();
        let Some(call) = calls.get(id).filter(|call| call.listens) else {
            return;
        };
        let Some(note) = message::with(doc, span, &call.client_id) else {
            return;
        };
        if call.notes.try_send(note).is_err() {
            // Dropping both ends of the call cuts the stream; the client listens anew and reads again.
            calls.take(id);
            drop(calls);
            self.send_now(message::cancelled(id, "the client does not keep up"));
        }
    }

    /// The server tears a listen down; over HTTP that is an orderly answer.
    pub(super) fn end_listen(&self, id: CallId) {
        let call = {
            let mut calls = self.calls();
            let listens = calls.get(id).is_some_and(|call| call.listens);
            listens.then(|| calls.take(id)).flatten()
        };
        if let Some(call) = call {
            let id = &call.client_id;
            let mut result = br#"{"resultType":"complete","_meta":{""#.to_vec();
            result.extend_from_slice(message::SUBSCRIPTION_ID.as_bytes());
            result.extend_from_slice(b"\":");
            result.extend_from_slice(id);
            result.extend_from_slice(b"}}");
            let _ = call.done.send(Answer {
                message: message::result(id, &result),
                code: None,
            });
        }
    }

    fn to_all(&self, doc: &Bytes, message: &Message, method: &str, sessions: &Sessions) {
        let about = match method {
            _ if method.ends_with("/list_changed") => None,
            "notifications/resources/updated" => match message.uri(doc) {
                Some(uri) => Some(uri),
                None => return,
            },
            _ => return self.log(doc, method),
        };
        let note = message::single_line(doc.clone());
        for session in sessions.all() {
            if about.as_deref().is_none_or(|uri| session.subscribed(uri))
                && !session.outbox.push(note.clone())
            {
                tracing::debug!(server = %self.name, "a session's queue is full; a notification is dropped");
            }
        }
    }

    /// To the only call under way, or else to the session's event stream. False when neither has room.
    fn to_one(&self, doc: Bytes, outbox: &Outbox, never_to_calls: bool) -> bool {
        let doc = message::single_line(doc);
        if !never_to_calls {
            let calls = self.calls();
            let waiting = calls.such(|call| call.detached.is_none());
            let call = match &waiting[..] {
                [only] => Some(*only),
                // Without an event stream the newest call is the best guess, and better than never.
                [.., newest] if !outbox.is_open() => Some(*newest),
                _ => None,
            };
            if let Some(call) = call.and_then(|id| calls.get(id)) {
                return call.notes.try_send(doc).is_ok();
            }
        }
        outbox.push(doc)
    }

    fn request(&self, doc: Bytes, message: &Message) {
        let (Some(id), Some(method)) = (message.id, message.method(&doc)) else {
            return;
        };
        let id = Bytes::copy_from_slice(id.of(&doc));
        let refuse = |code, text: &str| self.send_now(message::error(Some(&id), code, text, None));
        match (&self.audience, method) {
            (_, "ping") => self.send_now(message::result(&id, b"{}")),
            (Audience::One(outbox), _) => {
                {
                    let mut asked = self.asked();
                    if asked.len() >= self.limits.server_requests_max {
                        return refuse(message::INTERNAL_ERROR, "too many requests wait for the client");
                    }
                    asked.insert(id.clone());
                }
                if !self.to_one(doc, outbox, false) {
                    self.asked().remove(&id);
                    refuse(message::INTERNAL_ERROR, "the client does not read its messages");
                }
            }
            // Nobody can tell which client a shared process means.
            _ => refuse(METHOD_NOT_FOUND, "this client takes no requests"),
        }
    }

    fn log(&self, doc: &Bytes, method: &str) {
        let text = String::from_utf8_lossy(&doc[..doc.len().min(self.limits.stderr_line_bytes_max)]);
        tracing::info!(target: "ringway_sandbox::message", server = %self.name, method, "{text}");
    }

    /// Not a message we accept. When it is JSON with an id of ours, its call must not wait for ever.
    fn malformed(&self, doc: &Bytes, fault: ScanFault) {
        if json::check(doc, json::DEPTH_MAX).is_ok()
            && let Some(id) = json::member(doc, json::root(doc), "id")
            && let Some(call) = message::our_id(doc, id).and_then(|id| self.calls().take(id))
        {
            return self.fail(
                call,
                "bad_answer",
                &format!("the answer of server {} is refused: {fault}", self.name),
            );
        }
        // Relaxed: telling twice would do no harm.
        if self.told_of_noise.swap(true, Ordering::Relaxed) {
            tracing::debug!(server = %self.name, %fault, "a line that is no message is dropped");
        } else {
            let text = String::from_utf8_lossy(&doc[..doc.len().min(200)]);
            tracing::warn!(server = %self.name, %fault, "the server writes lines to stdout that are no messages; they are dropped: {text}");
        }
    }

    fn too_long(&self, head: &[u8], tail: &[u8]) {
        tracing::warn!(server = %self.name, max = self.limits.line_bytes_max, "a message longer than we take is dropped");
        if let Some(call) = id_at_an_end(head, tail).and_then(|id| self.calls().take(id)) {
            let text = format!(
                "the answer of server {} is larger than {} bytes",
                self.name, self.limits.line_bytes_max
            );
            self.fail(call, "answer_too_large", &text);
        }
    }

    fn enforce_deadlines(&self, now: Instant) {
        let over = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        let late: Vec<(CallId, Call)> = {
            let mut calls = self.calls();
            let ids = calls.such(|call| {
                (!call.listens && over(call.since, self.limits.call_deadline))
                    || call
                        .detached
                        .is_some_and(|since| over(since, self.limits.detached_call_deadline))
            });
            ids.into_iter()
                .filter_map(|id| Some((id, calls.take(id)?)))
                .collect()
        };
        for (id, call) in late {
            self.send_now(message::cancelled(id, "deadline exceeded"));
            let text = format!(
                "server {} did not answer within {:?}",
                self.name, self.limits.call_deadline
            );
            self.fail(call, "deadline_exceeded", &text);
        }
    }
}

/// The id of a response we have only the two ends of, when it stands first or last in the object as the common
/// libraries write it. The texts are exact, so no id further inside is ever taken for it.
fn id_at_an_end(head: &[u8], tail: &[u8]) -> Option<CallId> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
    for start in [
        &br#"{"jsonrpc":"2.0","id":"#[..],
        br#"{"jsonrpc": "2.0", "id": "#,
        br#"{"id":"#,
    ] {
        if let Some(rest) = head.strip_prefix(start) {
            return number(&rest[..rest.iter().position(|b| *b == b',')?]);
        }
    }
    let end = tail.strip_suffix(b"}")?;
    let digits = end.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, digits) = end.split_at(end.len() - digits);
    let before = before
        .strip_suffix(b" ")
        .unwrap_or(before)
        .strip_suffix(br#""id":"#)?;
    before
        .trim_ascii_end()
        .ends_with(b",")
        .then(|| number(digits))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::id_at_an_end;

    #[test]
    fn finds_the_id_at_either_end_only() {
        let find = |head: &str, tail: &str| id_at_an_end(head.as_bytes(), tail.as_bytes());
        assert_eq!(
            find(r#"{"jsonrpc":"2.0","id":17,"result":{"#, "xxx\"}}"),
            Some(17)
        );
        assert_eq!(
            find(r#"{"result":{"content":["#, r#"xx"}]},"jsonrpc":"2.0","id":18}"#),
            Some(18)
        );
        assert_eq!(
            find(r#"{"result": {"content": ["#, r#"xx"}]}, "id": 19}"#),
            Some(19)
        );
        assert_eq!(find(r#"{"result":{"content":["#, r#"xx","a":{"id":18}}"#), None);
        assert_eq!(find(r#"{"result":{"content":["#, r#"xx\"id":18}"#), None);
        assert_eq!(find(r#"{"jsonrpc":"2.0","id":"a","result"#, "x}"), None);
    }
}
