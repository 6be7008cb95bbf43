//! Seal: state that lives with the client, who can neither read nor change it.
//!
//! The gateway keeps no table of sessions or parked calls. What it must remember goes to the client as opaque
//! text and comes back; any replica with the same keys can open it. AES-256-GCM:
//!
//! ```text
//! base64url( key id │ nonce (12) │ ciphertext, tag (16) )      additional data: format, key id, purpose
//! ```
//!
//! - **Purpose** keeps the kinds apart: what was sealed as a session does not open as a parked call.
//! - **Keys** form a ring: the first seals, all open. To rotate, put a new key first and drop the last when what
//!   it sealed has expired.
//! - **Nonces** are random, and drawn by the caller: entropy is an argument here, as time is. With 96 random
//!   bits, 2³² seals under one key leave a chance of 2⁻³³ that any two collide; at a thousand new sessions a
//!   second that is seven weeks, and a key is rotated sooner.
//!
//! Opening fails in one way only. Why it failed is nobody's business.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::fmt;

/// Fills a buffer with bytes nobody can foresee.
pub type Entropy<'e> = &'e mut dyn FnMut(&mut [u8]);

/// What a sealed text is for. The numbers are on the wire and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// A legacy session: `Mcp-Session-Id`.
    Session = 1,
    /// A call that waits for input: `requestState`.
    Parked = 2,
    /// The id under which a server's request reaches the client.
    ServerRequest = 3,
    /// The id under which a modern server's question reaches a legacy client.
    Question = 4,
}

/// Did not open: another key, another purpose, cut, or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// One key of the ring, by the number it has in the text.
pub struct SealKey {
    /// Number of the key; each in a ring has its own.
    pub id: u8,
    /// 256 random bits.
    pub bytes: [u8; 32],
}

impl SealKey {
    /// Reads a file of keys: an id (0 to 255) and 64 hex digits a line, `#` begins a comment. The error names the
    /// line, never its content.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, String> {
        let mut keys: Vec<Self> = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let usage = || format!("line {number}: expected an id from 0 to 255 and 64 hex digits");
            let (id, digits) = line.split_once(char::is_whitespace).ok_or_else(usage)?;
            let mut key = Self {
                id: id.parse().map_err(|_| usage())?,
                bytes: [0; 32],
            };
            hex::decode_to_slice(digits.trim(), &mut key.bytes).map_err(|_| usage())?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(format!("line {number}: the id {} stands twice", key.id));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            Err("the file holds no key".to_owned())
        } else {
            Ok(keys)
        }
    }
}

/// A ring with no key, or with two of one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingFault {
    /// Nothing could be sealed.
    #[error("a key ring needs a key")]
    Empty,
    /// It would not be clear which of them opens.
    #[error("two keys have the id {0}")]
    Twice(u8),
    /// The cipher refused the key.
    #[error("a key is not usable")]
    Unusable,
}

/// Seals and opens. Made once, shared by all workers.
pub struct Sealer {
    /// The first seals.
    ring: Vec<(u8, LessSafeKey)>,
}

/// Format number in the additional data.
const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Bytes a seal adds before base64.
pub(crate) const OVERHEAD_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;

impl Sealer {
    /// A sealer over these keys, the sealing one first.
    pub fn new(keys: impl IntoIterator<Item = SealKey>) -> Result<Self, RingFault> {
        let mut ring: Vec<(u8, LessSafeKey)> = Vec::new();
        for key in keys {
            if ring.iter().any(|(id, _)| *id == key.id) {
                return Err(RingFault::Twice(key.id));
            }
            let unbound = UnboundKey::new(&AES_256_GCM, &key.bytes).map_err(|_| RingFault::Unusable)?;
            ring.push((key.id, LessSafeKey::new(unbound)));
        }
        if ring.is_empty() {
            Err(RingFault::Empty)
        } else {
            Ok(Self { ring })
        }
    }

    /// Seals `plain`. `None` only if the cipher refuses, which it does beyond 64 GiB.
    pub fn seal(&self, purpose: Purpose, plain: &[u8], entropy: Entropy<'_>) -> Option<String> {
        let (id, key) = self.ring.first()?;
        let mut nonce = [0; NONCE_BYTES];
        entropy(&mut nonce);
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
        sealed.push(*id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let (_, body) = sealed.split_at_mut(1 + NONCE_BYTES);
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                additional(*id, purpose),
                body,
            )
            .ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`Self::seal`] gave, for the same purpose. Longer text than `chars_max` is not looked at.
    pub fn open(&self, purpose: Purpose, text: &[u8], chars_max: usize) -> Result<Vec<u8>, Broken> {
        if text.len() > chars_max {
            return Err(Broken);
        }
        let mut sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| Broken)?;
        let id = *sealed.first().ok_or(Broken)?;
        let (_, key) = self.ring.iter().find(|(known, _)| *known == id).ok_or(Broken)?;
        let nonce = sealed.get(1..=NONCE_BYTES).ok_or(Broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Broken)?;
        let plain = key
            .open_within(nonce, additional(id, purpose), &mut sealed, 1 + NONCE_BYTES..)
            .map_err(|_| Broken)?
            .len();
        sealed.truncate(plain);
        Ok(sealed)
    }
}

fn additional(id: u8, purpose: Purpose) -> Aad<[u8; 3]> {
    Aad::from([FORMAT, id, purpose as u8])
}

/// Characters of the text that seals `plain` bytes.
pub(crate) fn sealed_chars(plain: usize) -> usize {
    ((plain + OVERHEAD_BYTES) * 4).div_ceil(3)
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.ring.iter().map(|(id, _)| id))
            .finish()
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.id)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts instead of drawing: tests need distinct nonces, not good ones.
    pub(crate) fn counter() -> impl FnMut(&mut [u8]) {
        let mut n = 0u64;
        move |buffer: &mut [u8]| {
            n += 1;
            let fresh = n.to_le_bytes();
            buffer
                .iter_mut()
                .enumerate()
                .for_each(|(at, b)| *b = fresh[at % 8]);
        }
    }

    pub(crate) fn sealer(ids: &[u8]) -> Sealer {
        Sealer::new(ids.iter().map(|id| SealKey {
            id: *id,
            bytes: [*id; 32],
        }))
        .unwrap()
    }

    #[test]
    fn what_was_sealed_opens() {
        let s = sealer(&[1]);
        let text = s.seal(Purpose::Session, b"state", &mut counter()).unwrap();
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "fit for a header: {text}"
        );
        assert_eq!(text.len(), sealed_chars(5));
        assert_eq!(s.open(Purpose::Session, text.as_bytes(), 100).unwrap(), b"state");
        assert!(!text.contains("state"));
    }

    #[test]
    fn purposes_and_keys_are_kept_apart() {
        let s = sealer(&[1]);
        let text = s.seal(Purpose::Session, b"x", &mut counter()).unwrap();
        assert_eq!(s.open(Purpose::Parked, text.as_bytes(), 100), Err(Broken));
        assert_eq!(s.open(Purpose::ServerRequest, text.as_bytes(), 100), Err(Broken));
        assert_eq!(
            sealer(&[2]).open(Purpose::Session, text.as_bytes(), 100),
            Err(Broken)
        );
        let other = Sealer::new([SealKey {
            id: 1,
            bytes: [9; 32],
        }])
        .unwrap();
        assert_eq!(other.open(Purpose::Session, text.as_bytes(), 100), Err(Broken));
    }

    #[test]
    fn keys_rotate() {
        let (old, both, new) = (sealer(&[1]), sealer(&[2, 1]), sealer(&[2]));
        let before = old.seal(Purpose::Session, b"x", &mut counter()).unwrap();
        let after = both.seal(Purpose::Session, b"x", &mut counter()).unwrap();
        assert!(
            both.open(Purpose::Session, before.as_bytes(), 100).is_ok(),
            "the old one still opens"
        );
        assert!(
            new.open(Purpose::Session, after.as_bytes(), 100).is_ok(),
            "the new one seals"
        );
        assert!(
            new.open(Purpose::Session, before.as_bytes(), 100).is_err(),
            "until it is gone"
        );
    }

    #[test]
    fn a_ring_is_sound_or_not_made() {
        assert_eq!(Sealer::new([]).unwrap_err(), RingFault::Empty);
        let twice = [
            SealKey {
                id: 1,
                bytes: [1; 32],
            },
            SealKey {
                id: 1,
                bytes: [2; 32],
            },
        ];
        assert_eq!(Sealer::new(twice).unwrap_err(), RingFault::Twice(1));
    }

    #[test]
    fn keys_do_not_print() {
        assert_eq!(
            format!(
                "{:?}{:?}",
                sealer(&[3]),
                SealKey {
                    id: 4,
                    bytes: [7; 32]
                }
            ),
            "[3]SealKey(4)"
        );
    }

    #[test]
    fn text_beyond_its_bound_is_not_looked_at() {
        let s = sealer(&[1]);
        let text = s.seal(Purpose::Session, &[0; 50], &mut counter()).unwrap();
        assert_eq!(
            s.open(Purpose::Session, text.as_bytes(), text.len() - 1),
            Err(Broken)
        );
    }

    proptest! {
        #[test]
        fn any_changed_bit_breaks_the_seal(plain in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let s = sealer(&[1]);
            let text = s.seal(Purpose::Parked, &plain, &mut counter()).unwrap();
            let mut raw = URL_SAFE_NO_PAD.decode(&text).unwrap();
            let at = at.index(raw.len());
            raw[at] ^= 1 << bit;
            prop_assert_eq!(s.open(Purpose::Parked, URL_SAFE_NO_PAD.encode(&raw).as_bytes(), 1000), Err(Broken));
            raw[at] ^= 1 << bit;
            raw.pop();
            prop_assert_eq!(s.open(Purpose::Parked, URL_SAFE_NO_PAD.encode(&raw).as_bytes(), 1000), Err(Broken));
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(sealer(&[1]).open(Purpose::Session, &text, 1000), Err(Broken));
        }
    }
}
