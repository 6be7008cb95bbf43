//! Authentication: who is asking?
//!
//! A caller shows an API key as `Authorization: Bearer rwk_…` or as `X-API-Key: rwk_…`. We hold the SHA-256 of
//! each key and nothing else; keys are random, so a plain hash is as good as a slow one. The table is found by
//! the first eight bytes of the hash and compared in constant time on all of them.
//!
//! Whoever shows something that is not a valid key is refused, even where anonymous callers are admitted: a
//! mistyped key must not quietly become another identity. The key's checksum drops typing mistakes and random
//! guesses before they are hashed.

use crate::{
    rejection::Rejection,
    secret,
    snapshot::{ANONYMOUS, PermitsIndex, Principal, Snapshot},
};
use foldhash::HashMap;
use ring::digest::{SHA256, digest};
use ringway_proto::{
    http::{FieldName, Headers, names},
    key, snapshot as document,
};
use std::{fmt, sync::Arc};

/// Who sent these headers?
///
/// `loopback` says whether the listener's address is a loopback one; `now_s` gives seconds since the epoch, and is asked
/// only for keys that expire.
pub fn principal(
    snapshot: &Snapshot,
    headers: &Headers,
    loopback: bool,
    now_s: impl FnOnce() -> u64,
) -> Result<Arc<Principal>, Rejection> {
    let keys = &snapshot.keys;
    let Some(shown) = shown(headers)? else {
        let admitted = keys
            .anonymous
            .as_ref()
            .filter(|a| loopback || a.on_public_listeners);
        return admitted
            .map(|a| Arc::clone(&a.principal))
            .ok_or(Rejection::CredentialMissing);
    };
    let key = keys.by_text(shown).ok_or(Rejection::CredentialInvalid)?;
    if key.expires_at_s.is_some() && key.expired(now_s()) {
        Err(Rejection::CredentialExpired)
    } else {
        Ok(Arc::clone(key))
    }
}

/// The one credential in the headers. Two are as bad as none: which of them a proxy looked at, we cannot know.
fn shown(headers: &Headers) -> Result<Option<&[u8]>, Rejection> {
    // A field that the list would not take may have been a credential.
    if headers.fault().is_some() {
        return Err(Rejection::CredentialInvalid);
    }
    let one = |name: FieldName| headers.get_one(name).map_err(|_| Rejection::CredentialInvalid);
    let bearer = match one(names::AUTHORIZATION)? {
        None => None,
        Some(value) => Some(bearer_token(value.trim_ascii()).ok_or(Rejection::CredentialInvalid)?),
    };
    let key = one(names::X_API_KEY)?.map(|v| v.trim_ascii());
    let shown = match (bearer, key) {
        (Some(a), Some(b)) if !secret::equal(a, b) => return Err(Rejection::CredentialInvalid),
        (Some(a), _) => a,
        (None, Some(b)) => b,
        (None, None) => return Ok(None),
    };
    Ok(Some(shown))
}

/// The scheme's name is case-insensitive (RFC 9110 §11.1).
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| rest.trim_ascii_start())
}

/// Every API key of a snapshot.
#[derive(Default)]
pub(crate) struct Keys {
    entries: Vec<Entry>,
    /// First eight bytes of a hash → places in `entries`. One place each, unless somebody found a collision.
    by_hash: HashMap<u64, Vec<u32>>,
    by_id: HashMap<Box<str>, u32>,
    anonymous: Option<Anonymous>,
}

struct Entry {
    hash: [u8; 32],
    principal: Arc<Principal>,
}

struct Anonymous {
    principal: Arc<Principal>,
    on_public_listeners: bool,
}

impl Keys {
    /// Takes a key in; the error names the field and the fault.
    pub(crate) fn insert(
        &mut self,
        key: &document::ApiKey,
        permits: PermitsIndex,
        snapshot: u64,
    ) -> Result<(), (&'static str, String)> {
        let mut hash = [0; 32];
        let digits = key
            .hash
            .strip_prefix("sha256:")
            .ok_or(("hash", "expected sha256: and 64 hex digits".to_owned()))?;
        hex::decode_to_slice(digits, &mut hash)
            .map_err(|_| ("hash", "expected sha256: and 64 hex digits".to_owned()))?;
        if key.id.is_empty() || key.id.len() > ID_CHARS_MAX || key.id == ANONYMOUS {
            return Err((
                "id",
                format!("an id has 1 to {ID_CHARS_MAX} characters and is not {ANONYMOUS:?}"),
            ));
        }
        if key.tenant.is_empty() || key.tenant.len() > ID_CHARS_MAX {
            return Err(("tenant", format!("a tenant has 1 to {ID_CHARS_MAX} characters")));
        }
        let at = self.entries.len() as u32;
        let same_hash = self.by_hash.entry(prefix(&hash)).or_default();
        if same_hash.iter().any(|e| self.entries[*e as usize].hash == hash) {
            return Err(("hash", "an earlier key has the same hash".to_owned()));
        }
        if self.by_id.contains_key(key.id.as_str()) {
            return Err(("id", format!("{} is the id of an earlier key", key.id)));
        }
        same_hash.push(at);
        self.by_id.insert(key.id.as_str().into(), at);
        let principal = Principal {
            credential: key.id.as_str().into(),
            tenant: key.tenant.as_str().into(),
            name: key.name.as_deref().map(Into::into),
            interface: key.interface,
            expires_at_s: key.expires_at,
            permits,
            snapshot,
        };
        self.entries.push(Entry {
            hash,
            principal: Arc::new(principal),
        });
        Ok(())
    }

    /// Admits callers that show nothing.
    pub(crate) fn admit_anonymous(
        &mut self,
        from: &document::Anonymous,
        permits: PermitsIndex,
        snapshot: u64,
    ) {
        let principal = Principal {
            credential: ANONYMOUS.into(),
            tenant: document::default_tenant().into(),
            name: None,
            interface: None,
            expires_at_s: None,
            permits,
            snapshot,
        };
        self.anonymous = Some(Anonymous {
            principal: Arc::new(principal),
            on_public_listeners: from.allow_on_public_listeners,
        });
    }

    fn by_text(&self, text: &[u8]) -> Option<&Arc<Principal>> {
        let text = key::parse(text).ok()?;
        let hash = digest(&SHA256, text.expose().as_bytes());
        let places = self.by_hash.get(&prefix(hash.as_ref()))?;
        let entries = places.iter().map(|at| &self.entries[*at as usize]);
        entries
            .filter(|e| secret::equal(&e.hash, hash.as_ref()))
            .map(|e| &e.principal)
            .next()
    }

    pub(crate) fn by_id(&self, id: &str, now_s: u64) -> Option<&Arc<Principal>> {
        let found = match self.by_id.get(id) {
            Some(at) => self.entries.get(*at as usize).map(|e| &e.principal),
            None if id == ANONYMOUS => self.anonymous.as_ref().map(|a| &a.principal),
            None => None,
        };
        found.filter(|p| !p.expired(now_s))
    }
}

/// Ids stand in every record and in sealed sessions.
const ID_CHARS_MAX: usize = 128;

impl Principal {
    /// Whether the credential is over at `now_s`.
    pub fn expired(&self, now_s: u64) -> bool {
        self.expires_at_s.is_some_and(|end| now_s >= end)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.entries.len())
    }
}

fn prefix(hash: &[u8]) -> u64 {
    hash.first_chunk::<8>()
        .map_or(0, |first| u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{compile, document, key, key_text, server, snapshot};
    use serde_json::{Value, json};

    fn asked(
        s: &Snapshot,
        fields: &[(&'static str, String)],
        loopback: bool,
        now_s: u64,
    ) -> Result<String, &'static str> {
        let mut headers = Headers::default();
        fields.iter().for_each(|(name, value)| headers.push(*name, value));
        principal(s, &headers, loopback, || now_s)
            .map(|p| p.credential.to_string())
            .map_err(|r| r.reason())
    }

    fn bearer(id: &str) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", key_text(id)))
    }

    fn with(edit: impl FnOnce(&mut Value)) -> Snapshot {
        let mut d = document(vec![server("fs", &["a"], &[])]);
        edit(&mut d);
        snapshot(d)
    }

    #[test]
    fn a_key_is_taken_from_either_header() {
        let s = with(|_| {});
        assert_eq!(asked(&s, &[bearer("fs")], false, 0), Ok("fs".into()));
        assert_eq!(
            asked(&s, &[("x-api-key", format!(" {} ", key_text("read")))], false, 0),
            Ok("read".into())
        );
        assert_eq!(
            asked(
                &s,
                &[("authorization", format!("bEARER  {}", key_text("fs")))],
                false,
                0
            ),
            Ok("fs".into())
        );
        assert_eq!(
            asked(&s, &[bearer("fs"), ("x-api-key", key_text("fs"))], false, 0),
            Ok("fs".into())
        );
    }

    #[test]
    fn everything_else_shown_is_refused_even_where_anonymous_is_welcome() {
        let s = with(|d| d["anonymous"] = json!({"roles": ["all"], "allow_on_public_listeners": true}));
        assert_eq!(asked(&s, &[], false, 0), Ok("anonymous".into()));
        let mistyped = key_text("fs").replace("rwk_", "rwk_x");
        for fields in [
            vec![bearer("nobody")],
            vec![("authorization", String::new())],
            vec![("authorization", "Bearer ".into())],
            vec![("authorization", "Basic eDp5".into())],
            vec![("authorization", key_text("fs"))],
            vec![("authorization", format!("Bearer {mistyped}"))],
            vec![("x-api-key", String::new())],
            vec![("x-api-key", "a".repeat(100_000))],
            vec![bearer("fs"), ("x-api-key", key_text("read"))],
            vec![bearer("fs"), bearer("fs")],
        ] {
            assert_eq!(
                asked(&s, &fields, true, 0),
                Err("credential_invalid"),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn anonymous_callers_come_by_loopback_unless_told() {
        let s = with(|_| {});
        assert_eq!(asked(&s, &[], true, 0), Err("credential_missing"));
        let s = with(|d| d["anonymous"] = json!({"roles": ["all"]}));
        assert_eq!(asked(&s, &[], true, 0), Ok("anonymous".into()));
        assert_eq!(asked(&s, &[], false, 0), Err("credential_missing"));
    }

    #[test]
    fn a_key_ends_when_it_says() {
        let s = with(|d| d["keys"][1]["expires_at"] = json!(100));
        assert_eq!(asked(&s, &[bearer("fs")], false, 99), Ok("fs".into()));
        assert_eq!(asked(&s, &[bearer("fs")], false, 100), Err("credential_expired"));
        assert!(s.principal_of("fs", 99).is_some() && s.principal_of("fs", 100).is_none());
        assert!(s.principal_of("nobody", 0).is_none() && s.principal_of(ANONYMOUS, 0).is_none());
    }

    #[test]
    fn equal_roles_share_their_permits() {
        let s = with(|d| {
            let keys = d["keys"].as_array_mut().unwrap();
            keys.push(key("x", &["fs", "read"]));
            keys.push(key("y", &["read", "fs", "read"]));
        });
        let of = |id: &str| s.principal_of(id, 0).unwrap().permits;
        assert_eq!(of("x"), of("y"));
        assert_ne!(of("x"), of("fs"));
    }

    #[test]
    fn a_key_stands_once() {
        let mut d = document(vec![]);
        let mut copy = key("fs", &[]);
        copy["id"] = json!("other");
        d["keys"].as_array_mut().unwrap().push(copy);
        d["keys"]
            .as_array_mut()
            .unwrap()
            .push(json!({"id": "fs", "hash": format!("sha256:{}", "ab".repeat(32)), "roles": []}));
        let found = compile(d).unwrap_err();
        assert_eq!(
            found.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(),
            ["keys[3].hash", "keys[4].id"]
        );
    }
}
