//! One probe: greet, find out the eras, take the lists.
//!
//! Where a server speaks both eras, the lists come from the modern one: it needs no session, and what it says
//! is the richer. The legacy era counts only if a list was really had through it: there are modern servers that
//! answer `initialize` politely and nothing after it.

use super::Spec;
use crate::client::{Deadlines, Failure, ListBounds, McpClient, Mode, Peer, message::METHOD_NOT_FOUND};
use ringway_proto::{
    revision::{Era, Revision},
    snapshot::{Catalogue, Timeouts},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// Some servers list more tools to a client that can be asked for input, so the catalogue is taken as such a
/// client. Whether a caller of a tool can be asked is settled at the call, with the caller's own capabilities.
const DECLARED: &str = r#"{"sampling":{},"elicitation":{"form":{},"url":{}}}"#;
/// One definition may be this large; the largest seen is 40 KB.
const ENTRY_BYTES_MAX: usize = 256 << 10;
/// A remote server answers a probe's request within this, or it is no use to callers either.
const REMOTE: Deadlines = Deadlines {
    head: Duration::from_secs(15),
    idle: Duration::from_secs(15),
    total: Duration::from_secs(30),
};
/// However slow an operator says that a server is, one request of a probe takes no longer.
const REMOTE_TOTAL_MAX: Duration = Duration::from_secs(60);
/// A local one may first have to download its package.
const LOCAL: Deadlines = Deadlines {
    head: Duration::from_secs(150),
    idle: Duration::from_secs(60),
    total: Duration::from_secs(180),
};
/// Notes kept of one probe.
const NOTES_MAX: usize = 20;

/// What is known of a server's legacy side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Legacy {
    /// Not asked yet, or asked without a clear answer.
    Unknown,
    /// It refuses.
    No,
    /// It agreed to this revision.
    Yes(String),
}

/// Which lists a server says it has, and whether it tells of their changes.
#[derive(Debug, Default)]
pub(super) struct Offers {
    tools: bool,
    resources: bool,
    prompts: bool,
    /// It will tell when one of them changes.
    pub tells: bool,
}

impl Offers {
    pub(super) fn of(client: &McpClient) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct List {
            list_changed: bool,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Capabilities {
            tools: Option<List>,
            resources: Option<List>,
            prompts: Option<List>,
        }
        let found: Capabilities =
            serde_json::from_str(client.greeting().capabilities.get()).unwrap_or_default();
        Self {
            tools: found.tools.is_some(),
            resources: found.resources.is_some(),
            prompts: found.prompts.is_some(),
            tells: [&found.tools, &found.resources, &found.prompts]
                .into_iter()
                .flatten()
                .any(|l| l.list_changed),
        }
    }
}

/// The peer a spec describes.
fn peer(spec: &Spec) -> Peer {
    let mut peer = Peer::new(spec.http.clone(), spec.address.clone(), spec.headers.clone());
    peer.deadlines = deadlines(spec);
    peer
}

/// Deadlines an operator has set hold for probes too, up to a bound: a probe keeps a place that others wait for.
fn deadlines(spec: &Spec) -> Deadlines {
    let set = spec.server.timeouts;
    if spec.local.is_some() {
        return LOCAL;
    }
    if set == Timeouts::default() {
        return REMOTE;
    }
    let bounded = |ms: u32| Duration::from_millis(u64::from(ms)).min(REMOTE_TOTAL_MAX);
    let total = bounded(set.total_ms);
    Deadlines {
        head: bounded(set.header_ms).min(total),
        idle: bounded(set.idle_ms).min(total),
        total,
    }
}

/// A failure in words that may be logged.
pub(super) fn describe(spec: &Spec, failure: &Failure) -> String {
    peer(spec).describe(failure)
}

/// Greets the server in the best era it has.
pub(super) async fn greet(spec: &Spec) -> Result<McpClient, Failure> {
    McpClient::connect(peer(spec), Mode::Auto, DECLARED).await
}

/// Asks whether a server that answered as a modern one speaks the legacy era too.
pub(super) async fn legacy_of(client: &McpClient) -> Legacy {
    if client.era() == Era::Legacy {
        return Legacy::Yes(client.revision().to_owned());
    }
    let legacy = match McpClient::connect(client.peer().clone(), Mode::Legacy, DECLARED).await {
        Ok(legacy) => legacy,
        Err(Failure::Transport(_) | Failure::Late(_)) => return Legacy::Unknown,
        Err(_) => return Legacy::No,
    };
    let method = if Offers::of(&legacy).tools {
        "tools/list"
    } else {
        "ping"
    };
    let verdict = match legacy.request(method, None).await {
        Ok(_) => Legacy::Yes(legacy.revision().to_owned()),
        Err(Failure::Transport(_) | Failure::Late(_)) => Legacy::Unknown,
        Err(_) => Legacy::No,
    };
    legacy.close().await;
    verdict
}

/// Takes every list the server offers. Tools are what a server is for: without their list the probe has failed.
/// Another list that fails is kept as it was, with a note.
pub(super) async fn collect(
    client: &McpClient,
    legacy: &Legacy,
    before: Option<&Catalogue>,
) -> Result<(Catalogue, Vec<String>), Failure> {
    let offers = Offers::of(client);
    let greeting = client.greeting();
    let mut notes = Vec::new();
    let mut catalogue = Catalogue {
        legacy_revision: match legacy {
            Legacy::Yes(revision) => Some(nearest_legacy(revision).as_str().to_owned()),
            Legacy::No | Legacy::Unknown => None,
        },
        modern: client.era() == Era::Modern,
        capabilities: greeting.capabilities.clone(),
        server_info: greeting.server_info.clone(),
        instructions: greeting.instructions.clone(),
        tools: Vec::new(),
        resources: Vec::new(),
        resource_templates: Vec::new(),
        prompts: Vec::new(),
    };
    if offers.tools {
        catalogue.tools = list(client, "tools/list", "tools", "name", &mut notes).await?;
    }
    let mut others = Vec::new();
    if offers.resources {
        others.push(("resources/list", "resources", "uri"));
        others.push(("resources/templates/list", "resourceTemplates", "uriTemplate"));
    }
    if offers.prompts {
        others.push(("prompts/list", "prompts", "name"));
    }
    for (method, field, key) in others {
        let (place, old) = match field {
            "resources" => (&mut catalogue.resources, before.map(|c| &c.resources)),
            "resourceTemplates" => (
                &mut catalogue.resource_templates,
                before.map(|c| &c.resource_templates),
            ),
            _ => (&mut catalogue.prompts, before.map(|c| &c.prompts)),
        };
        *place = match list(client, method, field, key, &mut notes).await {
            Ok(entries) => entries,
            Err(failure) => {
                notes.push(format!(
                    "{method} failed, its last list is kept: {}",
                    client.peer().describe(&failure)
                ));
                old.cloned().unwrap_or_default()
            }
        };
    }
    notes.truncate(NOTES_MAX);
    Ok((catalogue, notes))
}

/// The revision a server is recorded under. Dates compare as texts. A stdio server behind the bridge may agree
/// to 2024-11-05, whose messages 2025-03-26 only adds to; what it then agrees with a caller is settled anew.
pub(super) fn nearest_legacy(agreed: &str) -> Revision {
    let known = Revision::ALL
        .into_iter()
        .filter(|revision| revision.era() == Era::Legacy);
    known
        .rev()
        .find(|revision| revision.as_str() <= agreed)
        .unwrap_or(Revision::V2025_03_26)
}

async fn list(
    client: &McpClient,
    method: &str,
    field: &str,
    key: &str,
    notes: &mut Vec<String>,
) -> Result<Vec<Box<RawValue>>, Failure> {
    let listed = match client.list(method, field, ListBounds::default()).await {
        Ok(listed) => listed,
        // Declared but not there, as templates often are: an empty list.
        Err(failure) if failure.code() == Some(METHOD_NOT_FOUND) => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    if let Some(why) = listed.cut {
        notes.push(format!("{method} was cut short: {why}"));
    }
    let mut seen = HashSet::new();
    let mut entries = listed.entries;
    entries.retain(|entry| {
        let verdict = name_of(entry, key).and_then(|name| match seen.insert(name.clone()) {
            true => Ok(()),
            false => Err(format!("{name:?} stands in it twice; the first counts")),
        });
        verdict
            .map_err(|why| notes.push(format!("{method}: an entry was left out: {why}")))
            .is_ok()
    });
    Ok(entries)
}

/// The text under `key` of a definition, if it is one that others could work with.
fn name_of(entry: &RawValue, key: &str) -> Result<String, String> {
    if entry.get().len() > ENTRY_BYTES_MAX {
        return Err(format!("it is larger than {ENTRY_BYTES_MAX} bytes"));
    }
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(entry.get()).map_err(|_| "it is not an object".to_owned())?;
    let name: Option<String> = fields
        .get(key)
        .and_then(|name| serde_json::from_str(name.get()).ok());
    name.filter(|name| !name.is_empty())
        .ok_or_else(|| format!("it has no `{key}`"))
}
