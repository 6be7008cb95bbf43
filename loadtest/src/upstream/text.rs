//! Result texts of any size, generated once and shared: a `Bytes` slice of one long master.
//!
//! The master is lines of 64 bytes that begin with their own offset in hexadecimal, joined by spaces: plain ASCII
//! without anything JSON escapes, so a text of n bytes is n bytes on the wire, and a reader can tell a missing,
//! repeated or foreign part from the right one ([`check`]).

use bytes::Bytes;
use std::sync::RwLock;

/// Largest text anybody may ask for: four times the largest result the benchmarks use.
pub const TEXT_BYTES_MAX: usize = 64 << 20;

/// The master's first size; enough for all usual results.
const START_BYTES: usize = 128 << 10;

/// Bytes of one line.
const LINE: usize = 64;

/// What follows the offset in a line.
const FILLER: &[u8; LINE - 8] = b" the quick brown fox jumps over the lazy dog, repeatedly";

/// The shared master.
#[derive(Debug)]
pub struct Texts {
    master: RwLock<Bytes>,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            master: RwLock::new(generate(START_BYTES)),
        }
    }
}

impl Texts {
    /// The first `bytes` of the master; at most [`TEXT_BYTES_MAX`].
    pub fn of(&self, bytes: usize) -> Bytes {
        let bytes = bytes.min(TEXT_BYTES_MAX);
        let have = self
            .master
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        if bytes <= have.len() {
            return have.slice(..bytes);
        }
        let mut master = self
            .master
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if master.len() < bytes {
            *master = generate(bytes.next_power_of_two().min(TEXT_BYTES_MAX));
        }
        master.slice(..bytes)
    }
}

/// Whether `text` is what [`Texts::of`] gives for its length; `Err` has the offset of the first wrong line.
pub fn check(text: &[u8]) -> Result<(), usize> {
    for (n, seen) in text.chunks(LINE).enumerate() {
        if line(n * LINE)[..seen.len()] != *seen {
            return Err(n * LINE);
        }
    }
    Ok(())
}

fn generate(bytes: usize) -> Bytes {
    let mut text = Vec::with_capacity(bytes.next_multiple_of(LINE));
    while text.len() < bytes {
        text.extend_from_slice(&line(text.len()));
    }
    text.truncate(bytes);
    text.into()
}

fn line(offset: usize) -> [u8; LINE] {
    let mut line = [0; LINE];
    for (n, digit) in line[..8].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(offset >> (28 - 4 * n)) & 15];
    }
    line[8..].copy_from_slice(FILLER);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_checks_and_nothing_else_does() {
        let texts = Texts::default();
        for bytes in [0, 1, 63, 64, 65, 296, START_BYTES, START_BYTES + 1, 1 << 20] {
            let text = texts.of(bytes);
            assert_eq!(text.len(), bytes);
            assert_eq!(check(&text), Ok(()));
        }
        let mut wrong = texts.of(1000).to_vec();
        wrong[700] ^= 1;
        assert_eq!(check(&wrong), Err(640));
        assert_eq!(check(&texts.of(1000)[64..]), Err(0));
        assert_eq!(texts.of(usize::MAX).len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn nothing_in_it_needs_an_escape() {
        let text = Texts::default().of(4096);
        assert!(
            text.iter()
                .all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'))
        );
    }
}
