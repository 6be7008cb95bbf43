//! Lists, page by page, with an end to everything a server could make endless.

use super::{Failure, McpClient, message::raw};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};

/// How much of a list is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListBounds {
    /// Pages asked for.
    pub pages_max: usize,
    /// Entries taken; ten thousand tools are more than any catalogue known.
    pub entries_max: usize,
    /// Bytes of all entries together.
    pub bytes_max: usize,
}

impl Default for ListBounds {
    fn default() -> Self {
        Self {
            pages_max: 500,
            entries_max: 10_000,
            bytes_max: 32 << 20,
        }
    }
}

/// A list, and whether all of it was taken.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The entries, each exactly as the server wrote it.
    pub entries: Vec<Box<RawValue>>,
    /// Which bound cut it short.
    pub cut: Option<&'static str>,
}

impl McpClient {
    /// All entries under `field` of a paged list such as `tools/list`.
    pub async fn list(&self, method: &str, field: &str, bounds: ListBounds) -> Result<Listed, Failure> {
        let mut listed = Listed::default();
        let mut seen = HashSet::new();
        let mut bytes = 0;
        let mut cursor: Option<String> = None;
        for _ in 0..bounds.pages_max {
            let params = match &cursor {
                Some(cursor) => Some(raw(&serde_json::json!({ "cursor": cursor }))?),
                None => None,
            };
            let page = self.request(method, params.as_deref()).await?;
            let (entries, next) = read_page(&page, method, field)?;
            for entry in entries {
                bytes += entry.get().len();
                if listed.entries.len() == bounds.entries_max || bytes > bounds.bytes_max {
                    listed.cut = Some("it has more entries than are taken");
                    return Ok(listed);
                }
                listed.entries.push(entry);
            }
            // The empty string is a valid cursor; only absence ends the list.
            let Some(next) = next else { return Ok(listed) };
            if !seen.insert(next.clone()) {
                listed.cut = Some("it repeats a cursor");
                return Ok(listed);
            }
            cursor = Some(next);
        }
        listed.cut = Some("it has more pages than are taken");
        Ok(listed)
    }
}

type Page = (Vec<Box<RawValue>>, Option<String>);

fn read_page(page: &RawValue, method: &str, field: &str) -> Result<Page, Failure> {
    let unread = |what: &str| Failure::Protocol(format!("its answer to {method} {what}"));
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(page.get()).map_err(|e| unread(&format!("cannot be read: {e}")))?;
    if let Some(kind) = fields.get("resultType")
        && kind.get() != r#""complete""#
    {
        return Err(unread("is not complete"));
    }
    let entries = fields
        .remove(field)
        .ok_or_else(|| unread(&format!("has no `{field}`")))?;
    let entries =
        serde_json::from_str(entries.get()).map_err(|_| unread(&format!("has no array in `{field}`")))?;
    let next = match fields.remove("nextCursor") {
        None => None,
        Some(next) => {
            serde_json::from_str(next.get()).map_err(|_| unread("has a `nextCursor` that is no text"))?
        }
    };
    Ok((entries, next))
}
