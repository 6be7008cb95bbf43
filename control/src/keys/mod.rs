//! API keys: making them, hashing them, and the store that `ringway keys` writes.
//!
//! The text of a key is shown once, when it is made; what is kept is `sha256:` of it. A plain hash is enough: a
//! key is 256 random bits, so there is nothing to guess, and the data plane hashes on every call. The format
//! itself is `ringway_proto::key`.

mod store;

pub use store::{Created, NewKey, Record, Store, StoreError};
pub(crate) use store::{STORE_BYTES_MAX, parse as parse_store};

use crate::{config::Secret, state};
use ring::digest::{SHA256, digest};
use ringway_proto::key::{self, Malformed};
use std::io;

/// A new key out of the operating system's randomness.
pub fn generate() -> io::Result<Secret> {
    let mut random = [0; 32];
    state::random(&mut random)?;
    Ok(Secret::new(key::format(&random)))
}

/// What is stored of a key: `sha256:` and 64 hex digits. A text that is not a key is refused before it is hashed,
/// so that nobody stores the hash of a typing mistake.
pub fn hash(text: &str) -> Result<String, Malformed> {
    let text = key::parse(text.as_bytes())?;
    Ok(format!(
        "sha256:{}",
        hex::encode(digest(&SHA256, text.expose().as_bytes()))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_hashes_and_no_two_are_equal() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        let hash_of = |key: &Secret| hash(key.expose()).unwrap();
        assert_ne!(hash_of(&one), hash_of(&two));
        assert_eq!(hash_of(&one).len(), "sha256:".len() + 64);
    }

    #[test]
    fn the_hash_is_of_the_whole_text() {
        let text = key::format(&[0; 32]);
        // printf %s "$text" | sha256sum
        assert_eq!(
            hash(&text).unwrap(),
            "sha256:7e4857b4b4f41d579e5302bece994a3d25de1c9a82ccdd6ebd2c9cfbb6d34777"
        );
        assert_eq!(hash("rwk_short"), Err(Malformed::Length));
    }
}
