//! Numbers nobody can guess, from the kernel.

use rustix::rand::{GetRandomFlags, getrandom};
use std::{
    fmt::Write,
    hash::{BuildHasher, RandomState},
};

/// 128 random bits as 32 hex digits: session ids (visible ASCII, specification 2025-11-25, "Session Management")
/// and process markers.
pub(crate) fn token() -> String {
    bytes().iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A number from 0 up to 1, for jitter.
pub(crate) fn fraction() -> f64 {
    let [a, b, c, d, ..] = bytes();
    f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

fn bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    // Up to 256 bytes are given whole once the kernel's pool is ready, which it is long before we run.
    if getrandom(&mut bytes, GetRandomFlags::empty()) != Ok(bytes.len()) {
        // A kernel without getrandom: the standard library seeds its hash keys from the best there is.
        let word = || RandomState::new().hash_one(0u8).to_le_bytes();
        bytes[..8].copy_from_slice(&word());
        bytes[8..].copy_from_slice(&word());
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_differ() {
        let (a, b) = (super::token(), super::token());
        assert_eq!((a.len(), b.len()), (32, 32));
        assert_ne!(a, b);
        assert!((0.0..=1.0).contains(&super::fraction()));
    }
}
