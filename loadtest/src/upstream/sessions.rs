//! Sessions of the older revisions: which are open, and what they agreed on.
//!
//! An id is 128 random bits as 32 hexadecimal digits, so the table's key is a number and looking one up neither
//! allocates nor compares text. The table is cut into parts, each behind its own lock, because every request of
//! every thread passes here.

use rand::Rng;
use ringway_proto::revision::Revision;
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most sessions at once, about 100 MB of table: a run that opens more without ending any has a leak of its own.
pub const SESSIONS_MAX: usize = 1 << 20;

/// Parts of the table; many more than threads.
const PARTS: usize = 64;

/// A session's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// Reads an id as this server writes it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 32 || !text.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The open sessions.
#[derive(Debug)]
pub struct Sessions {
    parts: Vec<Mutex<HashMap<SessionId, Revision>>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Sessions {
    /// A new session; `None` when there are too many.
    pub fn open(&self, revision: Revision, rng: &mut impl Rng) -> Option<SessionId> {
        let id = SessionId(rng.random());
        let mut part = self.part(id);
        if part.len() >= SESSIONS_MAX / PARTS {
            return None;
        }
        part.insert(id, revision);
        Some(id)
    }

    /// What an open session agreed on.
    pub fn find(&self, id: SessionId) -> Option<Revision> {
        self.part(id).get(&id).copied()
    }

    /// Ends a session; false when it is not open.
    pub fn end(&self, id: SessionId) -> bool {
        self.part(id).remove(&id).is_some()
    }

    /// Forgets them all, as a restart does; the number of those that were open.
    pub fn forget_all(&self) -> usize {
        self.parts
            .iter()
            .map(|part| std::mem::take(&mut *locked(part)).len())
            .sum()
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.parts.iter().map(|part| locked(part).len()).sum()
    }

    fn part(&self, id: SessionId) -> MutexGuard<'_, HashMap<SessionId, Revision>> {
        locked(&self.parts[(id.0 as usize) % PARTS])
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::SmallRng};

    #[test]
    fn a_session_lives_from_open_to_end() {
        let sessions = Sessions::default();
        let mut rng = SmallRng::seed_from_u64(3);
        let id = sessions.open(Revision::V2025_06_18, &mut rng).unwrap();
        let read = SessionId::parse(id.to_string().as_bytes()).unwrap();
        assert_eq!(sessions.find(read), Some(Revision::V2025_06_18));
        assert!(sessions.end(read));
        assert!(!sessions.end(read) && sessions.find(read).is_none());
        sessions.open(Revision::V2025_06_18, &mut rng).unwrap();
        assert_eq!((sessions.forget_all(), sessions.count()), (1, 0));
    }

    #[test]
    fn other_peoples_ids_are_not_ours() {
        for text in ["", "abc", "+0000000000000000000000000000001", &"0".repeat(33)] {
            assert_eq!(SessionId::parse(text.as_bytes()), None, "{text}");
        }
    }
}
