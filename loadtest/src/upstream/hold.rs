//! Event streams that are held: GET of the older era, `subscriptions/listen` of the new one.
//!
//! A held stream costs its task and a place in the broadcast; its connection's buffers have been given back.

use super::{
    answer,
    catalogue::RESOURCES,
    flows::{Content, Head, Out},
    protocol::Hold,
    server::{Event, Shard},
    stats::Counter,
};
use bytes::Bytes;
use ringway_proto::{
    json::{self, Kind},
    sse::KEEP_ALIVE,
};
use std::{io, time::Duration};
use tokio::{sync::broadcast::error::RecvError, time::Instant};

/// Counts a stream as open for as long as it lives.
#[derive(Debug)]
pub struct OpenStream<'s>(&'s Shard);

impl<'s> OpenStream<'s> {
    /// One more.
    pub fn enter(shard: &'s Shard) -> Self {
        shard.counters.add(Counter::Streams);
        Self(shard)
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.0.counters.add(Counter::StreamsClosed);
    }
}

/// Holds the stream until its client leaves or the server ends.
pub async fn stream<O: Out>(shard: &Shard, out: &mut O, hold: &Hold) -> io::Result<()> {
    let _open = OpenStream::enter(shard);
    let options = &shard.server.options;
    let mut events = shard.server.events.subscribe();
    let mut stop = shard.server.stop.subscribe();
    out.head(&Head::new(200, Content::Events, None)).await?;
    // The first bytes tell the client that the stream stands.
    let first = match &hold.listen {
        Some(id) => answer::event(&acknowledgement(id, &hold.asked)),
        None => Bytes::from_static(KEEP_ALIVE),
    };
    out.data(first).await?;

    let (keep_alive, notify) = (options.keep_alive, options.notify_every);
    let mut next_keep_alive = Instant::now() + keep_alive;
    let mut next_notify = Instant::now() + notify;
    loop {
        let due = match (keep_alive.is_zero(), notify.is_zero()) {
            (true, true) => None,
            (false, true) => Some(next_keep_alive),
            (true, false) => Some(next_notify),
            (false, false) => Some(next_keep_alive.min(next_notify)),
        };
        let piece = tokio::select! {
            () = out.gone() => {
                shard.counters.add(Counter::ClientsGone);
                return Ok(());
            }
            _ = stop.wait_for(|stop| *stop) => break,
            event = events.recv() => match event {
                Ok(event) => rendered(hold, &event),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => break,
            },
            () = at(due) => {
                let now = Instant::now();
                if !notify.is_zero() && next_notify <= now {
                    next_notify = after(next_notify, notify, now);
                    rendered(hold, &Event {
                        method: "notifications/resources/updated".into(),
                        uri: Some(format!("{RESOURCES}0").into()),
                    })
                } else {
                    next_keep_alive = after(next_keep_alive, keep_alive, now);
                    Some(Bytes::from_static(KEEP_ALIVE))
                }
            }
        };
        if let Some(piece) = piece {
            shard.server.gate.pass().await;
            if piece != KEEP_ALIVE {
                shard.counters.add(Counter::Events);
            }
            out.data(piece).await?;
        }
    }
    if let Some(id) = &hold.listen {
        out.data(answer::event(&farewell(id))).await?;
    }
    Ok(())
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The moment after `last`, or one from now if that is past already.
fn after(last: Instant, every: Duration, now: Instant) -> Instant {
    let next = last + every;
    if next > now { next } else { now + every }
}

/// Says which notifications will come: all that were asked for.
fn acknowledgement(id: &[u8], asked: &[u8]) -> Vec<u8> {
    [
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{\"notifications\":",
        asked,
        b",\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":",
        id,
        b"}}}",
    ]
    .concat()
}

fn farewell(id: &[u8]) -> Vec<u8> {
    [
        b"{\"jsonrpc\":\"2.0\",\"id\":",
        id,
        b",\"result\":{\"resultType\":\"complete\",\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":",
        id,
        b"}}}",
    ]
    .concat()
}

/// The event on this stream; `None` when it was not asked for.
fn rendered(hold: &Hold, event: &Event) -> Option<Bytes> {
    let mut params = serde_json::Map::new();
    if let Some(uri) = &event.uri {
        params.insert("uri".into(), uri.as_ref().into());
    }
    if let Some(id) = &hold.listen {
        if !wants(&hold.asked, event) {
            return None;
        }
        let id: serde_json::Value = serde_json::from_slice(id).ok()?;
        let meta = serde_json::json!({ "io.modelcontextprotocol/subscriptionId": id });
        params.insert("_meta".into(), meta);
    }
    let message = serde_json::json!({ "jsonrpc": "2.0", "method": event.method.as_ref(), "params": params });
    Some(answer::event(message.to_string().as_bytes()))
}

/// Whether the `notifications` of a listen ask for this one.
fn wants(asked: &[u8], event: &Event) -> bool {
    let root = json::root(asked);
    let flag =
        |key| json::member(asked, root, key).is_some_and(|span| json::kind(asked, span) == Some(Kind::True));
    match event.method.as_ref() {
        "notifications/tools/list_changed" => flag("toolsListChanged"),
        "notifications/prompts/list_changed" => flag("promptsListChanged"),
        "notifications/resources/list_changed" => flag("resourcesListChanged"),
        "notifications/resources/updated" => {
            let uris = json::member(asked, root, "resourceSubscriptions");
            let uris = uris.filter(|span| json::kind(asked, *span) == Some(Kind::Array));
            uris.is_some_and(|uris| {
                json::elements(asked, uris)
                    .any(|uri| json::string(asked, uri).as_deref() == event.uri.as_deref())
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_hears_only_what_it_asked_for() {
        let asked =
            br#"{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["a:1"]}"#;
        let event = |method: &str, uri: Option<&str>| Event {
            method: format!("notifications/{method}").into(),
            uri: uri.map(Into::into),
        };
        assert!(wants(asked, &event("tools/list_changed", None)));
        assert!(!wants(asked, &event("prompts/list_changed", None)));
        assert!(wants(asked, &event("resources/updated", Some("a:1"))));
        assert!(!wants(asked, &event("resources/updated", Some("a:2"))));
        assert!(!wants(asked, &event("message", None)));
    }
}
