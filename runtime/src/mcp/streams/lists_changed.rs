//! `list_changed` out of the catalogue: when a new snapshot shows this caller another list than before.

use super::{Form, Owner, Wants};
use crate::{
    io,
    mcp::{reply::Frame, worker::Mcp},
};
use bytes::Bytes;
use ringway_core::{catalogue, translate::notification};
use ringway_proto::{revision::Era, rpc};
use std::{rc::Rc, time::Duration};
use tokio::sync::mpsc;

/// Changes that come within this time are told once.
const COALESCE: Duration = Duration::from_millis(100);

/// Tells of changes until the owner's credential is gone.
pub async fn run(mcp: &Rc<Mcp>, owner: &Owner, wants: Wants, form: &Form, frames: &mpsc::Sender<Frame>) {
    let mut published = mcp.published.subscribe();
    let Some(mut last) = digests(mcp, owner) else {
        return;
    };
    loop {
        if published.changed().await.is_err() {
            return;
        }
        io::sleep(COALESCE).await;
        published.mark_unchanged();
        let Some(now) = digests(mcp, owner) else { return };
        let changes = last.changes(&now);
        for (changed, wanted, method) in [
            (changes.tools, wants.tools, "notifications/tools/list_changed"),
            (
                changes.prompts,
                wants.prompts,
                "notifications/prompts/list_changed",
            ),
            (
                changes.resources,
                wants.resources,
                "notifications/resources/list_changed",
            ),
        ] {
            if changed && wanted {
                tell(form, frames, method).await;
            }
        }
        last = now;
    }
}

async fn tell(form: &Form, frames: &mpsc::Sender<Frame>, method: &str) {
    let doc = Bytes::from(notification::render(method, None));
    let told = match form {
        Form::Plain => Some(doc),
        Form::Tagged(_) => rpc::scan(&doc)
            .ok()
            .and_then(|message| form.apply(&doc, &message)),
    };
    if let Some(told) = told {
        // The stream's task ends by itself when the client is gone.
        _ = frames.send(Frame::note(told)).await;
    }
}

fn digests(mcp: &Rc<Mcp>, owner: &Owner) -> Option<catalogue::Digests> {
    let view = mcp.view();
    let snapshot = &view.live.snapshot;
    let (principal, scope) = owner.in_snapshot(snapshot)?;
    // Of the two eras' lists one is enough: they differ in members, not in when they change.
    Some(catalogue::Digests::of(catalogue::View {
        snapshot,
        principal,
        scope,
        era: Era::Modern,
    }))
}
