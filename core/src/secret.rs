//! A secret has a type that cannot be printed, serialised, cloned by accident or compared in variable time
//! (DESIGN invariant 11).

use bytes::Bytes;
use std::{fmt, hint::black_box};

/// Bytes that only [`Secret::expose`] shows. Search for that word to see every place a secret goes.
///
/// They are held as `Bytes` because a header list takes its values so; the price is that they cannot be zeroed
/// when the last holder lets go.
pub struct Secret(Bytes);

impl Secret {
    /// Takes the bytes in.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes themselves, for the one place that sends them.
    pub fn expose(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for Secret {}

/// Compares in time that depends on the lengths alone. Lengths are not secret here: all we compare are hashes
/// and values an operator wrote.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let difference = a.iter().zip(b).fold(0u8, |acc, (x, y)| black_box(acc | (x ^ y)));
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let s = Secret::new("hunter2");
        assert_eq!(format!("{s:?}"), "Secret(…)");
        assert_eq!(s.expose().as_ref(), b"hunter2");
    }

    #[test]
    fn comparison_is_plain_equality() {
        assert!(equal(b"", b"") && equal(b"abc", b"abc"));
        assert!(!equal(b"abc", b"abd") && !equal(b"abc", b"ab") && !equal(b"bbc", b"abc"));
        assert_eq!(Secret::new("a"), Secret::new("a"));
    }
}
