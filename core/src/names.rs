//! Exposed names: `server__tool`, what clients and models see.
//!
//! The name of one tool depends on its server's and its own name alone, never on what other servers offer, so
//! that adding a server renames nothing. Model interfaces accept `^[a-zA-Z0-9_-]{1,64}$`. A name that fits is
//! used as it is; one that has other characters or is too long gets them replaced by `_` or cut off, and eight
//! hex digits of a hash of both original names, so that `a.b` and `a_b` stay apart.
//!
//! A server's name has no `_`, so the first `__` ends it. Nothing is parsed back all the same: the snapshot has
//! a table.

use crate::limits::{EXPOSED_NAME_CHARS_MAX, SERVER_NAME_CHARS_MAX};
use ring::digest::{SHA256, digest};

/// Between a server's name and a tool's.
pub const SEPARATOR: &str = "__";

/// `_` and eight hex digits.
const SUFFIX_CHARS: usize = 9;

/// The exposed name of a tool or prompt. `server` has passed [`is_server_name`].
pub fn exposed(server: &str, name: &str) -> String {
    let mut out = String::with_capacity(EXPOSED_NAME_CHARS_MAX);
    out.push_str(server);
    out.push_str(SEPARATOR);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let fits =
        !name.is_empty() && out.len() + name.len() <= EXPOSED_NAME_CHARS_MAX && name.chars().all(plain);
    if fits {
        out.push_str(name);
        return out;
    }
    let room = EXPOSED_NAME_CHARS_MAX.saturating_sub(out.len() + SUFFIX_CHARS);
    out.extend(name.chars().map(|c| if plain(c) { c } else { '_' }).take(room));
    let hash = digest(&SHA256, format!("{server}\0{name}").as_bytes());
    out.push('_');
    out.push_str(&hex::encode(&hash.as_ref()[..4]));
    out
}

/// `[a-z0-9][a-z0-9-]*`, at most 32 characters.
pub fn is_server_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= SERVER_NAME_CHARS_MAX
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|b| plain(b) || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_fit_stay() {
        assert_eq!(exposed("github", "create_issue"), "github__create_issue");
        assert_eq!(exposed("a", "_x"), "a___x");
    }

    #[test]
    fn others_get_a_suffix() {
        let dotted = exposed("fs", "read.file");
        assert!(
            dotted.starts_with("fs__read_file_") && dotted.len() == "fs__read_file_".len() + 8,
            "{dotted}"
        );
        assert_ne!(dotted, exposed("fs", "read/file"));
        let long = exposed("github", &"x".repeat(100));
        assert_eq!(long.len(), 64);
        assert_ne!(long, exposed("github", &"x".repeat(101)));
    }

    #[test]
    fn server_names() {
        for good in ["a", "0", "git-hub2", &"a".repeat(32)] {
            assert!(is_server_name(good), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "ä", &"a".repeat(33)] {
            assert!(!is_server_name(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_name_suits_the_strictest_model(server in "[a-z0-9][a-z0-9-]{0,31}", name in ".{0,90}") {
            let e = exposed(&server, &name);
            prop_assert!(e.len() <= EXPOSED_NAME_CHARS_MAX);
            prop_assert!(e.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            prop_assert_eq!(e.split_once(SEPARATOR).map(|(s, _)| s.to_owned()), Some(server.clone()));
            prop_assert_eq!(&e, &exposed(&server, &name));
        }
    }
}
