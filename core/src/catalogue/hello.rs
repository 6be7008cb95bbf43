//! What the gateway says of itself: `initialize` and `server/discover`, capabilities and instructions.
//!
//! On `/mcp` it speaks for every server the caller can see; on a server's own endpoint for that server, with the
//! server's own name and instructions. Only what Ringway passes on is advertised, never a server's word as such.

use super::View;
use crate::{
    interface::{self, EXECUTE_TOOL, SEARCH_TOOLS, Shown},
    limits::{INSTRUCTIONS_BYTES_MAX, INSTRUCTIONS_SERVER_BYTES_MAX, Limits},
    snapshot::{Features, Scope, ServerIndex, head_of},
};
use ringway_proto::{json, revision::Revision};

/// The result of `initialize`, for the revision that was agreed.
pub fn initialize(view: View<'_>, revision: Revision) -> Vec<u8> {
    let mut out = format!(r#"{{"protocolVersion":"{}","capabilities":"#, revision.as_str()).into_bytes();
    capabilities(&mut out, features(view));
    out.extend_from_slice(br#","serverInfo":"#);
    out.extend_from_slice(server_info(view));
    instructions_member(&mut out, view);
    out.push(b'}');
    out
}

/// The result of `server/discover`.
pub fn discover(view: View<'_>, limits: &Limits) -> Vec<u8> {
    let revisions: Vec<String> = Revision::ALL
        .iter()
        .rev()
        .map(|r| format!("\"{}\"", r.as_str()))
        .collect();
    let mut out = format!(
        r#"{{"supportedVersions":[{}],"capabilities":"#,
        revisions.join(",")
    )
    .into_bytes();
    capabilities(&mut out, features(view));
    instructions_member(&mut out, view);
    modern_members(&mut out, view, limits.list_ttl_ms);
    out.push(b'}');
    out
}

/// The members of every complete, cacheable result of 2026-07-28. `private`, because what a caller sees depends
/// on its credential.
pub(super) fn modern_members(out: &mut Vec<u8>, view: View<'_>, ttl_ms: u32) {
    let fixed = format!(r#","resultType":"complete","ttlMs":{ttl_ms},"cacheScope":"private","_meta":"#);
    out.extend_from_slice(fixed.as_bytes());
    out.extend_from_slice(br#"{"io.modelcontextprotocol/serverInfo":"#);
    out.extend_from_slice(server_info(view));
    out.push(b'}');
}

/// Our own `Implementation`.
const GATEWAY_INFO: &str = concat!(
    r#"{"name":"ringway","title":"Ringway","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
);

fn server_info<'a>(view: View<'a>) -> &'a [u8] {
    let own = match view.scope {
        Scope::Merged => None,
        Scope::Server(server) => view
            .snapshot
            .servers
            .get(server.at())
            .and_then(|s| s.server_info.as_ref()),
    };
    own.map_or(GATEWAY_INFO.as_bytes(), |info| info)
}

/// What the visible servers can do together.
fn features(view: View<'_>) -> Features {
    let permits = view.snapshot.permits(view.principal);
    // On `/mcp` tools are always offered: the set may grow under an open session, and a client that saw no such
    // capability would never ask.
    let mut all = Features {
        tools: view.scope == Scope::Merged,
        ..Features::default()
    };
    for server in visible(view) {
        let has = view.snapshot.servers[server.at()].features;
        let whole = permits.resources(server);
        let mut prompts = view.snapshot.servers[server.at()].prompts.clone();
        all.tools |= has.tools;
        all.prompts |= has.prompts && (whole || prompts.any(|p| permits.prompts.contains(p as usize)));
        all.resources |= has.resources && whole;
        all.resources_subscribe |= has.resources_subscribe && whole;
        all.completions |= has.completions;
        all.logging |= has.logging;
    }
    all
}

/// The servers this view speaks for.
fn visible(view: View<'_>) -> impl Iterator<Item = ServerIndex> {
    let permits = view.snapshot.permits(view.principal);
    let all = permits
        .servers
        .iter()
        .filter_map(|at| u16::try_from(at).ok())
        .map(ServerIndex);
    all.filter(move |server| view.scope == Scope::Merged || view.scope == Scope::Server(*server))
}

/// `listChanged` is always true: even where no server tells, the operator may change the set.
fn capabilities(out: &mut Vec<u8>, has: Features) {
    let subscribe = if has.resources_subscribe {
        r#"{"subscribe":true,"listChanged":true}"#
    } else {
        r#"{"listChanged":true}"#
    };
    let members = [
        (has.tools, "tools", r#"{"listChanged":true}"#),
        (has.prompts, "prompts", r#"{"listChanged":true}"#),
        (has.resources, "resources", subscribe),
        (has.completions, "completions", "{}"),
        (has.logging, "logging", "{}"),
    ];
    let present = members
        .iter()
        .filter(|(has, ..)| *has)
        .map(|(_, key, value)| format!(r#""{key}":{value}"#));
    out.extend_from_slice(format!("{{{}}}", present.collect::<Vec<_>>().join(",")).as_bytes());
}

fn instructions_member(out: &mut Vec<u8>, view: View<'_>) {
    if let Some(text) = instructions(view) {
        out.extend_from_slice(br#","instructions":"#);
        json::write_string(out, &text);
    }
}

/// How to use what is listed: each visible server's instructions under its name, and how to find tools when
/// they are not listed.
pub fn instructions(view: View<'_>) -> Option<String> {
    let mut text = String::new();
    if interface::shown(view.snapshot, view.principal, view.scope) == Shown::Search {
        text.push_str("The tools here are not listed one by one. Find them with ");
        text.push_str(SEARCH_TOOLS);
        text.push_str(" and call them with ");
        text.push_str(EXECUTE_TOOL);
        text.push('.');
    }
    for server in visible(view) {
        let server = &view.snapshot.servers[server.at()];
        let Some(own) = server
            .instructions
            .as_deref()
            .map(str::trim)
            .filter(|own| !own.is_empty())
        else {
            continue;
        };
        if view.scope != Scope::Merged {
            return Some(own.to_owned());
        }
        let own = head_of(own, INSTRUCTIONS_SERVER_BYTES_MAX);
        let part = format!("## {}\n\n{own}", server.name);
        if text.len() + part.len() + 2 > INSTRUCTIONS_BYTES_MAX {
            break;
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&part);
    }
    (!text.is_empty()).then_some(text)
}
