//! The development key: what makes `ringway up` and one paste enough on one's own machine.
//!
//! It may call everything, so it exists only where it can do no harm: while nobody else has a key, nobody is let
//! in without one, and every listener is on loopback. Its text is in a 0600 file of the state directory, where
//! `ringway call` finds it; it is no part of the key store, so `ringway keys list` shows real keys only. As soon
//! as there is a real key it is refused.

use crate::{
    config::{Config, Secret},
    keys,
    state::{State, write_new},
};
use ringway_proto::snapshot::{ApiKey, Document, Role, default_tenant};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The id in records and logs.
const ID: &str = "development";
/// The file in the state directory.
const FILE: &str = "development-key";

/// The file of the development key in a state directory.
pub fn file(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// True when the configuration leaves room for a key that may do everything.
pub fn wanted(config: &Config) -> bool {
    // A key without a role that exists lets nobody do anything.
    let alone = config.keys.iter().all(|key| key.roles.is_empty()) && config.anonymous.is_none();
    alone
        && config
            .settings
            .listeners
            .iter()
            .all(|listener| listener.address.ip().is_loopback())
}

/// The key of this state directory, made when there is none. A file that holds something else is an error, not
/// replaced: it may be somebody's.
pub fn key(state: &State) -> io::Result<Secret> {
    let path = file(state.path());
    loop {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let text = text.trim();
                return match keys::hash(text) {
                    Ok(_) => Ok(Secret::new(text)),
                    Err(_) => Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!(
                            "{} holds no key; remove it to have a new one made",
                            path.display()
                        ),
                    )),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let fresh = keys::generate()?;
        match write_new(&path, format!("{}\n", fresh.expose()).as_bytes()) {
            Ok(()) => return Ok(fresh),
            // Another process was first; its key is as good.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Adds the key to a document, with a role of its own that covers every tool.
pub fn admit(document: &mut Document, key: &Secret) {
    let Ok(hash) = keys::hash(key.expose()) else {
        return;
    };
    let mut role = ID.to_owned();
    while document.roles.iter().any(|known| known.name == role) {
        role.push_str("-key");
    }
    document.roles.push(Role {
        name: role.clone(),
        allow: vec!["*".to_owned()],
    });
    document.keys.push(ApiKey {
        id: ID.to_owned(),
        hash,
        tenant: default_tenant(),
        name: Some("development key of this machine".to_owned()),
        roles: vec![role],
        expires_at: None,
        interface: None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_kept_private_and_never_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let state = State::open(scratch.path()).unwrap();
        let made = key(&state).unwrap();
        assert_eq!(key(&state).unwrap(), made);
        let path = file(state.path());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::write(&path, "my notes").unwrap();
        assert!(key(&state).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "my notes");
    }

    #[test]
    fn its_role_is_its_own() {
        let mut document: Document = serde_json::from_value(serde_json::json!({
            "format": 1, "number": 1, "servers": [], "roles": [{"name": "development", "allow": ["x__*"]}]
        }))
        .unwrap();
        admit(&mut document, &keys::generate().unwrap());
        assert_eq!(document.roles[1].name, "development-key");
        assert_eq!(document.keys[0].roles, ["development-key"]);
    }
}
