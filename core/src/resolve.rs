//! Resolve: from what a caller wrote to what it means in this snapshot.
//!
//! These answer for names alone; whether the caller may have the thing is [`crate::authorize`]'s question, and
//! its refusals repeat ours word for word.

use crate::{
    authorize::Permits,
    rejection::Rejection,
    snapshot::{PromptIndex, Scope, ServerIndex, Snapshot, ToolIndex},
};

/// Before the server's name in the URI of a resource whose own URI an earlier server offers too.
pub const URI_PREFIX: &str = "ringway+";

/// The tool that `name` means in `scope`.
pub fn tool(snapshot: &Snapshot, scope: Scope, name: &str) -> Result<ToolIndex, Rejection> {
    let found = match scope {
        Scope::Merged => snapshot.tool(name.as_bytes()),
        Scope::Server(server) => snapshot.tool_of(server, name.as_bytes()),
    };
    found.ok_or_else(|| Rejection::ToolUnknown(name.to_owned()))
}

/// The prompt that `name` means in `scope`.
pub fn prompt(snapshot: &Snapshot, scope: Scope, name: &str) -> Result<PromptIndex, Rejection> {
    let found = match scope {
        Scope::Merged => snapshot.prompt(name.as_bytes()),
        Scope::Server(server) => snapshot.prompt_of(server, name.as_bytes()),
    };
    found.ok_or_else(|| Rejection::PromptUnknown(name.to_owned()))
}

/// The server that answers for `uri` on `/mcp`, and the URI as that server knows it.
///
/// In this order: the form `ringway+{server}:{uri}`; the first visible server that lists the URI; the visible
/// template that matches, the longest fixed beginning first; the only visible server that has resources at all.
pub fn resource<'u>(snapshot: &Snapshot, permits: &Permits, uri: &'u str) -> Option<(ServerIndex, &'u str)> {
    if let Some((server, original)) = prefixed(snapshot, uri) {
        return permits.resources(server).then_some((server, original));
    }
    if let Some(server) = first_with(snapshot, permits, uri) {
        return Some((server, uri));
    }
    // `max_by_key` keeps the last of equals; reversed, the first server wins.
    let by_template = snapshot
        .templates
        .iter()
        .rev()
        .filter(|t| permits.resources(t.server) && t.template.as_ref().is_some_and(|t| t.matches(uri)))
        .max_by_key(|t| t.template.as_ref().map_or(0, |t| t.literal_prefix_len()));
    if let Some(template) = by_template {
        return Some((template.server, uri));
    }
    let mut holders = permits
        .resources
        .iter()
        .filter(|at| snapshot.servers[*at].has_resources());
    match (holders.next(), holders.next()) {
        (Some(only), None) => Some((ServerIndex(u16::try_from(only).ok()?), uri)),
        _ => None,
    }
}

/// The first visible server that lists exactly this URI.
pub(crate) fn first_with(snapshot: &Snapshot, permits: &Permits, uri: &str) -> Option<ServerIndex> {
    let holders = snapshot.resources_by_uri.get(uri)?;
    holders
        .iter()
        .map(|r| snapshot.resources[*r as usize].server)
        .find(|server| permits.resources(*server))
}

/// Takes `ringway+{server}:{uri}` apart, when the server is one of ours.
pub(crate) fn prefixed<'u>(snapshot: &Snapshot, uri: &'u str) -> Option<(ServerIndex, &'u str)> {
    let (name, original) = uri.strip_prefix(URI_PREFIX)?.split_once(':')?;
    Some((snapshot.server(name)?, original))
}
