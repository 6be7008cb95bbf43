//! The text of an API key: `rwk_`, 43 characters of secret, 6 of checksum.
//!
//! ```text
//! rwk_ 003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf 11GVUe
//! │    │                                           └ CRC-32 of all before it, base 62
//! │    └ 256 random bits, base 62
//! └ what a scanner looks for
//! ```
//!
//! The alphabet is base 62 because such a key is one word everywhere: a double click takes all of it, no shell or
//! URL changes it, and `\brwk_[0-9A-Za-z]{49}\b` finds it in a leaked file. The checksum has no cryptographic use.
//! It tells a typing mistake or a scanner's false find from a key without asking anybody, and lets the data plane
//! drop random guesses before it hashes them.
//!
//! Here is only the format: no randomness, no hash. Random bytes are passed in; what is stored of a key is
//! `sha256:` of the whole text, computed where there is a digest.

use std::fmt;

/// What every key begins with.
pub const PREFIX: &str = "rwk_";
/// How scanners recognise a key; the checksum of a find can then be verified with [`parse`].
pub const REGEX: &str = r"\brwk_[0-9A-Za-z]{49}\b";
/// Characters of the secret: 62^43 is the first power of 62 above 2^256.
pub const SECRET_CHARS: usize = 43;
/// Characters of the checksum: 62^6 is the first power of 62 above 2^32.
pub const CHECKSUM_CHARS: usize = 6;
/// Characters of a key.
pub const KEY_CHARS: usize = PREFIX.len() + SECRET_CHARS + CHECKSUM_CHARS;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A text that has the form of a key. It says nothing about whether such a key was ever created.
#[derive(Clone, Copy)]
pub struct KeyText<'t>(&'t str);

impl<'t> KeyText<'t> {
    /// The whole text, which is what is hashed.
    pub fn expose(self) -> &'t str {
        self.0
    }
}

impl fmt::Debug for KeyText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyText(rwk_…)")
    }
}

/// Why a text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Another kind of credential, perhaps.
    #[error("the text does not begin with `rwk_`")]
    Prefix,
    /// Cut short, or pasted with something around it.
    #[error("a key has {KEY_CHARS} characters")]
    Length,
    /// Letters and digits only.
    #[error("a key has letters and digits only")]
    Alphabet,
    /// A typing mistake, or never a key.
    #[error("the checksum is wrong: the key was changed on its way")]
    Checksum,
}

/// Writes a key out of 256 random bits.
pub fn format(random: &[u8; 32]) -> String {
    let mut text = String::with_capacity(KEY_CHARS);
    text.push_str(PREFIX);
    // Long division of the 256-bit number by 62, most significant digit last; then turned around.
    let mut number = *random;
    let mut digits = [0u8; SECRET_CHARS];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = remainder as u8;
    }
    text.extend(
        digits
            .iter()
            .map(|digit| char::from(ALPHABET[usize::from(*digit)])),
    );
    let checksum = checksum(text.as_bytes());
    text.extend(checksum.iter().map(|byte| char::from(*byte)));
    text
}

/// Reads a text as a key; the checksum is verified. Runs in time that depends on the text's form only, which is
/// not secret; the secret part is never compared here.
pub fn parse(text: &[u8]) -> Result<KeyText<'_>, Malformed> {
    if !text.starts_with(PREFIX.as_bytes()) {
        return Err(Malformed::Prefix);
    }
    if text.len() != KEY_CHARS {
        return Err(Malformed::Length);
    }
    if !text[PREFIX.len()..].iter().all(u8::is_ascii_alphanumeric) {
        return Err(Malformed::Alphabet);
    }
    let (body, given) = text.split_at(PREFIX.len() + SECRET_CHARS);
    if checksum(body) != given {
        return Err(Malformed::Checksum);
    }
    // All bytes were found to be ASCII.
    std::str::from_utf8(text)
        .map(KeyText)
        .map_err(|_| Malformed::Alphabet)
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32fast::hash(body);
    let mut digits = [0u8; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_format_is_fixed_for_ever() {
        // Computed with another program (big integers and zlib's CRC-32).
        let counting = std::array::from_fn(|index| index as u8);
        assert_eq!(
            format(&[0; 32]),
            "rwk_00000000000000000000000000000000000000000000UJNc0"
        );
        assert_eq!(
            format(&[0xff; 32]),
            "rwk_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp13FEusK"
        );
        assert_eq!(
            format(&counting),
            "rwk_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf11GVUe"
        );
    }

    #[test]
    fn what_is_not_a_key_says_why() {
        let key = format(&[7; 32]);
        assert_eq!(parse(b"sk-123").unwrap_err(), Malformed::Prefix);
        assert_eq!(parse(b"").unwrap_err(), Malformed::Prefix);
        assert_eq!(parse(&key.as_bytes()[..50]).unwrap_err(), Malformed::Length);
        assert_eq!(
            parse(format!("{key} ").as_bytes()).unwrap_err(),
            Malformed::Length
        );
        assert_eq!(
            parse(key.replace(&key[10..11], "-").as_bytes()).unwrap_err(),
            Malformed::Alphabet
        );
        assert_eq!(
            parse(key.to_lowercase().as_bytes()).unwrap_err(),
            Malformed::Checksum
        );
    }

    #[test]
    fn debug_hides_the_key() {
        let key = format(&[7; 32]);
        assert_eq!(format!("{:?}", parse(key.as_bytes()).unwrap()), "KeyText(rwk_…)");
    }

    proptest! {
        #[test]
        fn every_key_reads_back(random: [u8; 32]) {
            let key = format(&random);
            prop_assert_eq!(key.len(), KEY_CHARS);
            prop_assert_eq!(parse(key.as_bytes()).map(KeyText::expose), Ok(key.as_str()));
        }

        #[test]
        fn one_changed_character_is_noticed(random: [u8; 32], at in 4..KEY_CHARS, to in 0..62usize) {
            let mut key = format(&random).into_bytes();
            prop_assume!(key[at] != ALPHABET[to]);
            key[at] = ALPHABET[to];
            prop_assert_eq!(parse(&key).map(KeyText::expose), Err(Malformed::Checksum));
        }

        #[test]
        fn no_bytes_make_it_panic(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
