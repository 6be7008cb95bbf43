//! Answers the gateway gives out of its snapshot: lists, and what it says of itself.

use super::{
    relay,
    reply::Reply,
    worker::{Call, Mcp},
};
use bytes::Bytes;
use ringway_core::{
    catalogue::{self, List},
    rejection::Rejection,
    translate,
};
use ringway_proto::{
    revision::{Era, Revision},
    rpc::Message,
};

/// The catalogue as this call's caller sees it.
pub fn catalogue_view(call: &Call, era: Era) -> catalogue::View<'_> {
    catalogue::View {
        snapshot: &call.view.live.snapshot,
        principal: &call.principal,
        scope: call.scope,
        era,
    }
}

/// A list or `server/discover`.
pub fn answer(mcp: &Mcp, call: &Call, era: Era, doc: &Bytes, message: &Message) -> Result<Reply, Rejection> {
    let method = message.method(doc).unwrap_or_default();
    let view = catalogue_view(call, era);
    let limits = &mcp.shared.limits;
    let result = match List::of_method(method) {
        Some(list) => {
            let cursor = catalogue::cursor(doc, message)?;
            call.view
                .lists
                .borrow_mut()
                .list(view, list, cursor.as_deref(), limits)?
        }
        None => catalogue::discover(view, limits).into(),
    };
    Ok(Reply::Message(
        translate::result::render(&relay::id_of(doc, message), &result).into(),
    ))
}

/// `initialize`, for the revision that was agreed.
pub fn initialize(call: &Call, revision: Revision, id: &[u8]) -> Bytes {
    translate::result::render(
        id,
        &catalogue::initialize(catalogue_view(call, Era::Legacy), revision),
    )
    .into()
}
