//! Field names as numbers. The names that nearly every MCP exchange carries are known at compile time: a head holds
//! them as numbers, compares them as numbers, and says by one bit whether it has them at all.
//!
//! A name is recognised by words of eight octets (its first, its second, its last), through a table whose multiplier
//! the compiler looks for until no two names share a slot.

use std::fmt;

/// A name known at compile time; its constants are in [`names`](self).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FieldName(u8);

/// A name to look for or to write: known, or any other in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'n> {
    /// One of the constants.
    Known(FieldName),
    /// Not one of the constants.
    Other(&'n [u8]),
}

macro_rules! known {
    ($($constant:ident $text:literal)+) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "they number the constants")]
        enum Number { $($constant),+ }
        $(
            #[doc = concat!("`", $text, "`")]
            pub const $constant: FieldName = FieldName(Number::$constant as u8);
        )+
        /// Names as a line begins with them.
        const LINES: [&str; [$($text),+].len()] = [$(concat!($text, ": ")),+];
    };
}

known! {
    ACCEPT "accept"
    ACCEPT_ENCODING "accept-encoding"
    ACCEPT_LANGUAGE "accept-language"
    ALLOW "allow"
    AUTHORIZATION "authorization"
    BAGGAGE "baggage"
    CACHE_CONTROL "cache-control"
    CONNECTION "connection"
    CONTENT_ENCODING "content-encoding"
    CONTENT_LENGTH "content-length"
    CONTENT_TYPE "content-type"
    COOKIE "cookie"
    DATE "date"
    EXPECT "expect"
    FORWARDED "forwarded"
    HOST "host"
    KEEP_ALIVE "keep-alive"
    LAST_EVENT_ID "last-event-id"
    MCP_METHOD "mcp-method"
    MCP_NAME "mcp-name"
    MCP_PROTOCOL_VERSION "mcp-protocol-version"
    MCP_SESSION_ID "mcp-session-id"
    ORIGIN "origin"
    PROXY_CONNECTION "proxy-connection"
    REFERER "referer"
    RETRY_AFTER "retry-after"
    SEC_FETCH_MODE "sec-fetch-mode"
    SERVER "server"
    SET_COOKIE "set-cookie"
    TE "te"
    TRACEPARENT "traceparent"
    TRACESTATE "tracestate"
    TRAILER "trailer"
    TRANSFER_ENCODING "transfer-encoding"
    UPGRADE "upgrade"
    USER_AGENT "user-agent"
    VARY "vary"
    WWW_AUTHENTICATE "www-authenticate"
    X_ACCEL_BUFFERING "x-accel-buffering"
    X_API_KEY "x-api-key"
    X_FORWARDED_FOR "x-forwarded-for"
    X_FORWARDED_PROTO "x-forwarded-proto"
    X_REQUEST_ID "x-request-id"
}

// A set of them is one word.
const _: () = assert!(LINES.len() <= 64);

impl FieldName {
    /// The known name this is, in any case.
    #[inline]
    pub fn find(name: &[u8]) -> Option<Self> {
        let key = Key::of(name);
        let number = SLOTS[key.slot(MULTIPLIER)];
        KEYS.get(usize::from(number))?.is(key).then_some(Self(number))
    }

    /// The name in lower case.
    pub fn text(self) -> &'static str {
        let line = self.line();
        &line[..line.len() - 2]
    }

    /// The name with the colon and the space behind it.
    pub(crate) fn line(self) -> &'static str {
        LINES[usize::from(self.0)]
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// Gives back what [`FieldName::number`] gave.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        (usize::from(number) < LINES.len()).then_some(Self(number))
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl<'n> Name<'n> {
    /// The name's text.
    pub fn bytes(self) -> &'n [u8] {
        match self {
            Self::Known(name) => name.text().as_bytes(),
            Self::Other(text) => text,
        }
    }
}

impl From<FieldName> for Name<'_> {
    fn from(name: FieldName) -> Self {
        Self::Known(name)
    }
}

impl<'n> From<&'n [u8]> for Name<'n> {
    fn from(text: &'n [u8]) -> Self {
        FieldName::find(text).map_or(Self::Other(text), Self::Known)
    }
}

impl<'n> From<&'n str> for Name<'n> {
    fn from(text: &'n str) -> Self {
        text.as_bytes().into()
    }
}

/// Some of the known names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameSet(u64);

impl NameSet {
    pub(crate) const fn of(names: &[FieldName]) -> Self {
        let mut set = 0;
        let mut at = 0;
        while at < names.len() {
            set |= 1 << names[at].0;
            at += 1;
        }
        Self(set)
    }

    pub(crate) const fn and(self, name: FieldName) -> Self {
        Self(self.0 | 1 << name.0)
    }

    pub(crate) const fn has(self, name: FieldName) -> bool {
        self.0 & 1 << name.0 != 0
    }

    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Adds a name; says whether it was there.
    pub(crate) fn add(&mut self, name: FieldName) -> bool {
        let had = self.has(name);
        self.0 |= 1 << name.0;
        had
    }
}

/// What a name is recognised by.
#[derive(Clone, Copy)]
struct Key {
    first: u64,
    last: u64,
    /// The second eight octets of names that the two others do not cover.
    second: u64,
    length: usize,
}

/// A known name's key, and the bits that tell capitals from other letters in it.
#[derive(Clone, Copy)]
struct KnownKey {
    key: Key,
    letters_first: u64,
    letters_last: u64,
    letters_second: u64,
}

/// The bit that tells a capital from its letter, in each octet.
const CASE: u64 = 0x2020_2020_2020_2020;

impl Key {
    #[inline(always)]
    const fn of(name: &[u8]) -> Self {
        let (first, last) = match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => match (name.first_chunk(), name.last_chunk()) {
                (Some(first), Some(last)) => (
                    u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32,
                    0,
                ),
                _ => match *name {
                    [a] => (a as u64, 0),
                    [a, b] => (a as u64 | (b as u64) << 8, 0),
                    [a, b, c] => (a as u64 | (b as u64) << 8 | (c as u64) << 16, 0),
                    _ => (0, 0),
                },
            },
        };
        let second = if name.len() > 16 {
            match name.split_at(8).1.first_chunk() {
                Some(second) => u64::from_le_bytes(*second),
                None => 0,
            }
        } else {
            0
        };
        Self {
            first,
            last,
            second,
            length: name.len(),
        }
    }

    /// The same for any case.
    #[inline(always)]
    const fn slot(self, multiplier: u64) -> usize {
        let mixed = ((self.first | CASE) ^ (self.last | CASE).rotate_left(29)).wrapping_mul(multiplier);
        (mixed >> 56) as usize
    }
}

impl KnownKey {
    /// Whether a name has this key in any case.
    #[inline(always)]
    fn is(&self, key: Key) -> bool {
        self.key.length == key.length
            && self.key.first == key.first | self.letters_first
            && self.key.last == key.last | self.letters_last
            && self.key.second == key.second | self.letters_second
    }
}

static KEYS: [KnownKey; LINES.len()] = {
    let keys = keys();
    let mut known = [KnownKey {
        key: keys[0],
        letters_first: 0,
        letters_last: 0,
        letters_second: 0,
    }; LINES.len()];
    let mut at = 0;
    while at < keys.len() {
        known[at] = KnownKey {
            key: keys[at],
            letters_first: letters(keys[at].first),
            letters_last: letters(keys[at].last),
            letters_second: letters(keys[at].second),
        };
        at += 1;
    }
    known
};

const fn letters(word: u64) -> u64 {
    let octets = word.to_le_bytes();
    let mut letters = [0; 8];
    let mut at = 0;
    while at < 8 {
        letters[at] = if octets[at].is_ascii_lowercase() { 0x20 } else { 0 };
        at += 1;
    }
    u64::from_le_bytes(letters)
}

const fn keys() -> [Key; LINES.len()] {
    let mut keys = [Key {
        first: 0,
        last: 0,
        second: 0,
        length: 0,
    }; LINES.len()];
    let mut at = 0;
    while at < LINES.len() {
        let line = LINES[at].as_bytes();
        keys[at] = Key::of(line.split_at(line.len() - 2).0);
        assert!(keys[at].length <= 24, "three words cover no more");
        at += 1;
    }
    keys
}

const NOBODY: u8 = u8::MAX;
static SLOTS: [u8; 256] = slots(MULTIPLIER).0;
const MULTIPLIER: u64 = {
    let mut multiplier = 0x9e37_79b9_7f4a_7c15;
    while !slots(multiplier).1 {
        multiplier = multiplier.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(2);
    }
    multiplier
};

/// Who sits where, and whether everybody has a slot to himself.
const fn slots(multiplier: u64) -> ([u8; 256], bool) {
    let keys = keys();
    let mut slots = [NOBODY; 256];
    let mut alone = true;
    let mut at = 0;
    while at < keys.len() {
        let slot = keys[at].slot(multiplier);
        alone &= slots[slot] == NOBODY;
        slots[slot] = at as u8;
        at += 1;
    }
    (slots, alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for (number, line) in LINES.iter().enumerate() {
            let text = line.strip_suffix(": ").unwrap();
            let found = FieldName::find(text.as_bytes()).unwrap();
            assert_eq!((usize::from(found.number()), found.text()), (number, text));
            assert_eq!(FieldName::find(text.to_ascii_uppercase().as_bytes()), Some(found));
            assert_eq!(FieldName::from_number(found.number()), Some(found));
        }
        assert_eq!(FieldName::from_number(NOBODY), None);
        assert_eq!(FieldName::find(b"TE"), Some(TE));
    }

    #[test]
    fn a_neighbour_of_a_known_name_is_not_it() {
        for line in LINES {
            let text = line.strip_suffix(": ").unwrap().as_bytes();
            for at in 0..text.len() {
                let found = FieldName::find(&text[..at]).map(FieldName::text);
                assert!(found.is_none_or(|found| found.as_bytes() == &text[..at]));
                for bit in 0..8 {
                    let mut other = text.to_vec();
                    other[at] ^= 1 << bit;
                    let found = FieldName::find(&other).map(FieldName::text);
                    let same = other.eq_ignore_ascii_case(text);
                    assert_eq!(found.is_some(), same, "{}", String::from_utf8_lossy(&other));
                }
            }
        }
        assert_eq!(FieldName::find(b""), None);
    }
}
