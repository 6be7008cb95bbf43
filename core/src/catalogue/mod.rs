//! The catalogue: what lists say, straight from the snapshot.
//!
//! No list ever asks a server. A list is the caller's permits walked in the snapshot's order (servers as the
//! document has them, then each server's own order), and its items are the bytes that were prepared when the
//! snapshot was compiled. So a dead server empties nothing, equal callers get equal bytes, and a worker keeps
//! what it rendered ([`Cache`]).
//!
//! A list has a digest over its items. Cursors carry it, so that a page is continued only while the list is the
//! same, also across snapshots; and a runtime that holds streams open compares [`Digests`] to tell whom a new
//! snapshot concerns.
//!
//! What the gateway says of itself (`initialize`, `server/discover`) is in [`hello`].

mod cache;
mod hello;

pub use cache::Cache;
pub use hello::{discover, initialize, instructions};

use crate::{
    interface::{self, META_TOOLS, Shown},
    limits::Limits,
    rejection::Rejection,
    resolve::{URI_PREFIX, first_with},
    snapshot::{ItemDigest, Principal, Scope, ServerIndex, Snapshot},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use ring::digest::{Context, SHA256};
use ringway_proto::{
    json::{self, Kind, Span},
    revision::Era,
    rpc::Message,
};
use std::{borrow::Cow, ops::Range};

/// The four lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
}

impl List {
    /// The list a method asks for.
    pub fn of_method(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "prompts/list" => Some(Self::Prompts),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::Templates),
            _ => None,
        }
    }

    /// The result's member that holds the items.
    fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }
}

/// Whose list, and in which words.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Where it comes from.
    pub snapshot: &'a Snapshot,
    /// Whose permits filter it.
    pub principal: &'a Principal,
    /// Exposed names, or one server's own.
    pub scope: Scope,
    /// The members a result must have.
    pub era: Era,
}

/// One page of a list, as a result object. Renders anew; see [`Cache::list`].
pub fn list(view: View<'_>, list: List, cursor: Option<&str>, limits: &Limits) -> Result<Vec<u8>, Rejection> {
    let items = items(view, list);
    let digest = digest(list, &items);
    let from = match cursor.filter(|c| !c.is_empty()) {
        None => 0,
        Some(text) => Cursor::open(text, digest, items.len())?,
    };
    let mut out = Vec::with_capacity(4096);
    out.extend_from_slice(format!("{{\"{}\":[", list.member()).as_bytes());
    let mut next = from;
    for item in items.iter().skip(from).take(limits.page_items_max.max(1)) {
        if next > from {
            if out.len() + item.text.len() > limits.page_bytes_max {
                break;
            }
            out.push(b',');
        }
        out.extend_from_slice(&item.text);
        next += 1;
    }
    out.push(b']');
    if next < items.len() {
        out.extend_from_slice(format!(r#","nextCursor":"{}""#, Cursor::seal(digest, next)).as_bytes());
    }
    if view.era == Era::Modern {
        hello::modern_members(&mut out, view, limits.list_ttl_ms);
    }
    out.push(b'}');
    Ok(out)
}

/// `params.cursor`: absent and `null` are the start; anything but a string is no cursor of ours.
pub fn cursor<'d>(doc: &'d [u8], message: &Message) -> Result<Option<Cow<'d, str>>, Rejection> {
    let span: Option<Span> = message.params.as_ref().and_then(|p| p.cursor);
    match span.map(|s| (s, json::kind(doc, s))) {
        None | Some((_, Some(Kind::Null))) => Ok(None),
        Some((span, _)) => json::string(doc, span).map(Some).ok_or(Rejection::CursorInvalid),
    }
}

/// One line of a list.
struct Item {
    text: Bytes,
    digest: ItemDigest,
    /// Listed under the gateway's form of its URI.
    prefixed: bool,
}

impl Item {
    fn plain(text: &Bytes, digest: ItemDigest) -> Self {
        Self {
            text: text.clone(),
            digest,
            prefixed: false,
        }
    }
}

/// Everything in a list, in order.
fn items(view: View<'_>, list: List) -> Vec<Item> {
    let View {
        snapshot,
        principal,
        scope,
        era,
    } = view;
    let permits = snapshot.permits(principal);
    let merged = scope == Scope::Merged;
    // The whole of a snapshot, or one server's part of it.
    let part = |all: usize, own: fn(&crate::snapshot::Server) -> &Range<u32>| match scope {
        Scope::Merged => 0..all,
        Scope::Server(server) => snapshot.servers.get(server.at()).map_or(0..0, |server| {
            let own = own(server);
            own.start as usize..own.end as usize
        }),
    };
    match list {
        List::Tools if interface::shown(snapshot, principal, scope) == Shown::Search => {
            let meta = META_TOOLS.iter().map(|text| Bytes::from_static(text.as_bytes()));
            meta.map(|text| Item {
                digest: text_digest(&text),
                text,
                prefixed: false,
            })
            .collect()
        }
        List::Tools => part(snapshot.tools.len(), |s| &s.tools)
            .filter(|at| permits.tools.contains(*at))
            .map(|at| &snapshot.tools[at])
            .filter_map(|tool| {
                tool.listed(merged, era)
                    .map(|text| Item::plain(text, tool.digest))
            })
            .collect(),
        List::Prompts => part(snapshot.prompts.len(), |s| &s.prompts)
            .filter(|at| permits.prompts.contains(*at))
            .map(|at| &snapshot.prompts[at])
            .map(|p| {
                Item::plain(
                    if merged {
                        &p.exposed_definition
                    } else {
                        &p.definition
                    },
                    p.digest,
                )
            })
            .collect(),
        List::Resources => part(snapshot.resources.len(), |s| &s.resources)
            .map(|at| &snapshot.resources[at])
            .filter(|r| permits.resources(r.server))
            .map(|r| {
                let keeps = !merged || first_with(snapshot, permits, &r.uri) == Some(r.server);
                uri_item(snapshot, r.server, &r.definition, r.uri_span, r.digest, keeps)
            })
            .collect(),
        List::Templates => {
            let mut seen: Vec<&str> = Vec::new();
            part(snapshot.templates.len(), |s| &s.templates)
                .map(|at| &snapshot.templates[at])
                .filter(|t| permits.resources(t.server))
                .map(|t| {
                    let keeps = !seen.contains(&&*t.text);
                    seen.push(&t.text);
                    uri_item(snapshot, t.server, &t.definition, t.uri_span, t.digest, keeps)
                })
                .collect()
        }
    }
}

/// A resource or template under its own URI, or under `ringway+{server}:{uri}` when an earlier one has taken it.
fn uri_item(
    snapshot: &Snapshot,
    server: ServerIndex,
    definition: &Bytes,
    uri: Span,
    digest: ItemDigest,
    keeps: bool,
) -> Item {
    if keeps {
        return Item::plain(definition, digest);
    }
    // The prefix needs no escapes, so it goes right behind the opening quote.
    let at = uri.start as usize + 1;
    let mut text = Vec::with_capacity(definition.len() + 48);
    text.extend_from_slice(&definition[..at]);
    text.extend_from_slice(format!("{URI_PREFIX}{}:", snapshot.servers[server.at()].name).as_bytes());
    text.extend_from_slice(&definition[at..]);
    Item {
        text: text.into(),
        digest,
        prefixed: true,
    }
}

/// What a list is, in sixteen bytes.
pub type ListDigest = [u8; 16];

fn digest(list: List, items: &[Item]) -> ListDigest {
    let mut hash = Context::new(&SHA256);
    hash.update(list.member().as_bytes());
    for item in items {
        hash.update(&[u8::from(item.prefixed)]);
        hash.update(&item.digest);
    }
    half(hash)
}

fn text_digest(text: &[u8]) -> ItemDigest {
    let mut hash = Context::new(&SHA256);
    hash.update(text);
    half(hash)
}

fn half(hash: Context) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finish().as_ref()[..16]);
    half
}

/// The digests of all lists of one caller. Streams keep them, and on a new snapshot compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    tools: ListDigest,
    prompts: ListDigest,
    resources: ListDigest,
    templates: ListDigest,
}

/// Which `list_changed` notifications are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the notifications'")]
pub struct Changes {
    pub tools: bool,
    pub prompts: bool,
    /// Resources or their templates; both have one notification.
    pub resources: bool,
}

impl Digests {
    /// The digests of what `view` would list.
    pub fn of(view: View<'_>) -> Self {
        let of = |list| digest(list, &items(view, list));
        Self {
            tools: of(List::Tools),
            prompts: of(List::Prompts),
            resources: of(List::Resources),
            templates: of(List::Templates),
        }
    }

    /// What differs in `newer`.
    pub fn changes(&self, newer: &Self) -> Changes {
        Changes {
            tools: self.tools != newer.tools,
            prompts: self.prompts != newer.prompts,
            resources: self.resources != newer.resources || self.templates != newer.templates,
        }
    }
}

/// A cursor: most of the list's digest and the place of the next item. It is no secret and needs no seal, since
/// it reaches nothing that listing from the start does not.
struct Cursor;

impl Cursor {
    /// Of sixteen bytes twelve name the list, four the place.
    const DIGEST_BYTES: usize = 12;

    fn seal(digest: ListDigest, next: usize) -> String {
        let mut raw = digest;
        raw[Self::DIGEST_BYTES..].copy_from_slice(&(next as u32).to_be_bytes());
        URL_SAFE_NO_PAD.encode(raw)
    }

    fn open(text: &str, digest: ListDigest, items: usize) -> Result<usize, Rejection> {
        let raw = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| Rejection::CursorInvalid)?;
        let raw: [u8; 16] = raw.try_into().map_err(|_| Rejection::CursorInvalid)?;
        let (list, place) = raw.split_at(Self::DIGEST_BYTES);
        let place = place.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        let ours = list == &digest[..Self::DIGEST_BYTES] && place < items;
        if ours {
            Ok(place)
        } else {
            Err(Rejection::CursorInvalid)
        }
    }
}

#[cfg(test)]
mod tests;
