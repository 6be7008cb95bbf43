//! A value that cannot be printed.
//!
//! Arguments, environment, headers and addresses of servers may all carry tokens, so all of them have this type
//! from the moment they are read. It has no `Display`, its `Debug` says nothing, and it compares by digest: a
//! reload needs to know whether a server's token has changed, never by how much.

use ring::digest::{SHA256, digest};

/// A value that cannot be printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a value out of sight.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one who hands it on.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        digest(&SHA256, self.0.as_bytes()).as_ref() == digest(&SHA256, other.0.as_bytes()).as_ref()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_says_nothing() {
        let shown = format!("{:?}", vec![("Authorization", Secret::new("Bearer hunter2"))]);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
    }
}
