//! The key store: `keys.json` in the state directory.
//!
//! ```text
//! create ──► live ──(expires_at)──► over
//!   ▲         │
//!   │ rotate: a second record, the first gets an end
//!             └──(revoke)──► revoked: kept, so that an id in old logs still has a name
//! ```
//!
//! Writers take `keys.lock`, read, change, and replace the file as a whole; readers need no lock. A running
//! `ringway up` watches the file, so a revocation acts at once and without a word between the processes.

use super::{generate, hash};
use crate::{
    config::{Secret, check_id, moment_text},
    state::{State, write_atomic},
};
use ringway_proto::snapshot::{ApiKey, Interface, default_tenant};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// The format number this code writes and reads.
const FORMAT: u32 = 1;
/// Records in the store: a snapshot carries them all, at about 250 bytes each.
const RECORDS_MAX: usize = 10_000;
/// Bytes of the file: the records at their longest.
pub(crate) const STORE_BYTES_MAX: usize = 16 << 20;
/// Writers hold the lock for one small write; who waits longer than this waits for something dead.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Revoked records are forgotten after this long, in seconds: 400 days, past any yearly audit.
const REVOKED_KEPT_S: u64 = 400 * 86_400;

/// One key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Stable id, shown in logs and records.
    pub id: String,
    /// `sha256:` and 64 hex digits of the key's text.
    pub hash: String,
    /// Who holds it.
    pub name: String,
    /// The isolated customer it belongs to.
    pub tenant: String,
    /// Granted roles.
    pub roles: Vec<String>,
    /// Seconds since the epoch.
    pub created_at: u64,
    /// Refused from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Overrides the gateway's interface mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
    /// Revoked at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<u64>,
    /// The key this one takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_from: Option<String>,
}

impl Record {
    /// As the snapshot document has it.
    pub fn api_key(&self) -> ApiKey {
        ApiKey {
            id: self.id.clone(),
            hash: self.hash.clone(),
            tenant: self.tenant.clone(),
            name: Some(self.name.clone()),
            roles: self.roles.clone(),
            expires_at: self.expires_at,
            interface: self.interface,
        }
    }

    /// `live`, `revoked since …`, `over since …`, for a list.
    pub fn standing(&self, now: u64) -> String {
        match (self.revoked_at, self.expires_at) {
            (Some(at), _) => format!("revoked at {}", moment_text(at)),
            (None, Some(at)) if at <= now => format!("over since {}", moment_text(at)),
            (None, Some(at)) => format!("live until {}", moment_text(at)),
            (None, None) => "live".to_owned(),
        }
    }

    fn is_live(&self, now: u64) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

/// What a new key is to be.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// Who holds it; its id is made of this.
    pub name: String,
    /// The tenant; `default` when absent.
    pub tenant: Option<String>,
    /// Roles to grant.
    pub roles: Vec<String>,
    /// Seconds since the epoch after which it is refused.
    pub expires_at: Option<u64>,
    /// Overrides the gateway's interface mode.
    pub interface: Option<Interface>,
    /// Ids that are in use elsewhere (in the configuration file) and must not be given again.
    pub taken: Vec<String>,
}

/// A new key: the only time its text exists.
#[derive(Debug)]
pub struct Created {
    /// What was stored.
    pub record: Record,
    /// The key itself.
    pub key: Secret,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StoreError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("another process holds {} for more than {} s", path.display(), LOCK_WAIT.as_secs())]
    Busy { path: PathBuf },
    #[error("the store has no key `{id}`")]
    Unknown { id: String },
    #[error("the key `{id}` is {standing}")]
    NotLive { id: String, standing: String },
    #[error("{what}: {rule}")]
    BadName { what: String, rule: String },
    #[error("the key's time would be over before it begins")]
    ExpiresInPast,
    #[error(
        "the store holds {RECORDS_MAX} keys, which is all it can; keys for that many holders come from an identity provider"
    )]
    Full,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    keys: Vec<Record>,
}

/// Reads the store's text.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Record>, String> {
    let content: Content = serde_json::from_slice(bytes).map_err(|error| {
        // serde's messages may quote values; the place is enough.
        format!(
            "not a key store (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    if content.format != FORMAT {
        return Err(format!(
            "written in format {}, this program reads {FORMAT}",
            content.format
        ));
    }
    if content.keys.len() > RECORDS_MAX {
        return Err(format!("more than {RECORDS_MAX} keys"));
    }
    Ok(content.keys)
}

/// The store of one state directory.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The store of this state directory; the file need not exist.
    pub fn of(state: &State) -> Self {
        Self {
            path: state.keys_path(),
        }
    }

    /// Every record, revoked ones included, oldest first.
    pub fn list(&self) -> Result<Vec<Record>, StoreError> {
        match std::fs::read(&self.path) {
            Ok(bytes) => parse(&bytes).map_err(|reason| StoreError::Damaged {
                path: self.path.clone(),
                reason,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(self.io(source)),
        }
    }

    /// Makes a key and stores its hash.
    pub fn create(&self, new: NewKey, now: u64) -> Result<Created, StoreError> {
        let tenant = new.tenant.unwrap_or_else(default_tenant);
        let named = [("tenant", &tenant)]
            .into_iter()
            .chain(new.roles.iter().map(|role| ("role", role)));
        for (what, name) in named {
            check_id(name).map_err(|rule| StoreError::BadName {
                what: format!("{what} `{name}`"),
                rule,
            })?;
        }
        if new.name.trim().is_empty() || new.name.chars().any(char::is_control) {
            let rule = "say who or what will hold the key".to_owned();
            return Err(StoreError::BadName {
                what: "name".to_owned(),
                rule,
            });
        }
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(StoreError::ExpiresInPast);
        }
        self.change(now, |records| {
            let key = self.fresh()?;
            let record = Record {
                id: free_id(&slug(&new.name), records, &new.taken),
                hash: key.1,
                name: new.name.trim().to_owned(),
                tenant,
                roles: new.roles,
                created_at: now,
                expires_at: new.expires_at,
                interface: new.interface,
                revoked_at: None,
                rotated_from: None,
            };
            records.push(record.clone());
            Ok(Created { record, key: key.0 })
        })
    }

    /// Ends a key now and for good. Doing it twice is an error, so that a typing mistake is noticed.
    pub fn revoke(&self, id: &str, now: u64) -> Result<Record, StoreError> {
        self.change(now, |records| {
            let record = find(records, id)?;
            if record.revoked_at.is_some() {
                return Err(StoreError::NotLive {
                    id: id.to_owned(),
                    standing: record.standing(now),
                });
            }
            record.revoked_at = Some(now);
            Ok(record.clone())
        })
    }

    /// Makes a key with the same rights; the old one ends after `overlap`, in which its holder changes over.
    pub fn rotate(
        &self,
        id: &str,
        overlap: Duration,
        taken: &[String],
        now: u64,
    ) -> Result<Created, StoreError> {
        self.change(now, |records| {
            let old = find(records, id)?;
            if !old.is_live(now) {
                return Err(StoreError::NotLive {
                    id: id.to_owned(),
                    standing: old.standing(now),
                });
            }
            let mut record = old.clone();
            let end = now.saturating_add(overlap.as_secs());
            old.expires_at = Some(old.expires_at.map_or(end, |at| at.min(end)));
            if overlap.is_zero() {
                old.revoked_at = Some(now);
            }
            let key = self.fresh()?;
            // `ci` is followed by `ci-2`, `ci-3`, …
            let stem = id
                .rsplit_once('-')
                .filter(|(_, n)| n.parse::<u32>().is_ok())
                .map_or(id, |(stem, _)| stem);
            record.id = free_id(stem, records, taken);
            record.hash = key.1;
            record.created_at = now;
            record.rotated_from = Some(id.to_owned());
            records.push(record.clone());
            Ok(Created { record, key: key.0 })
        })
    }

    fn fresh(&self) -> Result<(Secret, String), StoreError> {
        let key = generate().map_err(|source| self.io(source))?;
        let hash = hash(key.expose()).map_err(|error| StoreError::Damaged {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        Ok((key, hash))
    }

    /// Reads, changes and replaces the store under its lock. Nothing is written when the change fails.
    fn change<T>(
        &self,
        now: u64,
        change: impl FnOnce(&mut Vec<Record>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _lock = self.lock()?;
        let mut records = self.list()?;
        records.retain(|record| {
            record
                .revoked_at
                .is_none_or(|at| at.saturating_add(REVOKED_KEPT_S) > now)
        });
        let done = change(&mut records)?;
        if records.len() > RECORDS_MAX {
            return Err(StoreError::Full);
        }
        let content = Content {
            format: FORMAT,
            keys: records,
        };
        let mut bytes = serde_json::to_vec_pretty(&content).map_err(|error| StoreError::Damaged {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        bytes.push(b'\n');
        write_atomic(&self.path, &bytes).map_err(|source| self.io(source))?;
        Ok(done)
    }

    /// The lock is a file of its own: the store itself is replaced, and a lock would stay with the old one.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.path.with_extension("lock");
        let io = |source| StoreError::Io {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_WAIT => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Busy { path }),
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
    }

    fn io(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

fn find<'r>(records: &'r mut [Record], id: &str) -> Result<&'r mut Record, StoreError> {
    records
        .iter_mut()
        .find(|record| record.id == id)
        .ok_or_else(|| StoreError::Unknown { id: id.to_owned() })
}

/// An id out of a name: letters, digits and single dashes.
fn slug(name: &str) -> String {
    /// Leaves room for `-10000`.
    const SLUG_MAX: usize = 48;
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= SLUG_MAX {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "key".to_owned()
    } else {
        slug.to_owned()
    }
}

fn free_id(stem: &str, records: &[Record], taken: &[String]) -> String {
    let is_free = |id: &String| !records.iter().any(|record| record.id == *id) && !taken.contains(id);
    let numbered = (2..).map(|number: u64| format!("{stem}-{number}"));
    // The chain never ends before a free one: the store is bounded.
    std::iter::once(stem.to_owned())
        .chain(numbered)
        .find(is_free)
        .unwrap_or_else(|| stem.to_owned())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
