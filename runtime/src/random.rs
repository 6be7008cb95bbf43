//! Random bytes from the operating system, through the one provider of cryptography.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` bytes nobody can guess.
///
/// Aborts the process when the system has none: every secret made after that would be predictable, and there is
/// no way to go on safely.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    if SystemRandom::new().fill(&mut out).is_err() {
        tracing::error!("the operating system gives no random bytes; stopping");
        std::process::abort();
    }
    out
}
