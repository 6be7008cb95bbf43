//! Rendered lists, kept by a worker for as long as its snapshot lives.

use super::{List, View, interface, list};
use crate::{
    interface::Shown,
    limits::Limits,
    rejection::Rejection,
    snapshot::{PermitsIndex, Scope},
};
use bytes::Bytes;
use ringway_proto::revision::Era;
use std::collections::HashMap;

/// One worker's rendered lists. Not shared: a worker renders a list once per permit set and snapshot, which is
/// cheaper than any lock the workers could meet at.
#[derive(Debug, Default)]
pub struct Cache {
    snapshot: u64,
    bytes: usize,
    pages: HashMap<Key, Bytes>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    permits: PermitsIndex,
    scope: Scope,
    era: Era,
    list: List,
    shown: Shown,
    cursor: Option<Box<str>>,
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// One page of a list, as a result object.
    pub fn list(
        &mut self,
        view: View<'_>,
        what: List,
        cursor: Option<&str>,
        limits: &Limits,
    ) -> Result<Bytes, Rejection> {
        // A principal of another snapshot sees nothing; what it sees must not be kept under its number.
        if view.principal.snapshot != view.snapshot.number {
            return list(view, what, cursor, limits).map(Bytes::from);
        }
        if self.snapshot != view.snapshot.number {
            self.clear();
            self.snapshot = view.snapshot.number;
        }
        let key = Key {
            permits: view.principal.permits,
            scope: view.scope,
            era: view.era,
            list: what,
            shown: interface::shown(view.snapshot, view.principal, view.scope),
            cursor: cursor.map(Into::into),
        };
        if let Some(page) = self.pages.get(&key) {
            return Ok(page.clone());
        }
        let page = Bytes::from(list(view, what, cursor, limits)?);
        // Keys cost something too, and a caller may ask with any valid cursor.
        let cost = page.len() + 256;
        if self.bytes + cost > limits.list_cache_bytes_max {
            self.clear();
        }
        if cost <= limits.list_cache_bytes_max {
            self.bytes += cost;
            self.pages.insert(key, page.clone());
        }
        Ok(page)
    }

    fn clear(&mut self) {
        self.pages.clear();
        self.bytes = 0;
    }
}
