//! The keys of the three envelope objects: which are known, which are refused.
//!
//! A known key is found by exact comparison and its second coming by one bit. Only an unknown key costs more: it
//! must be plain, must not be a known key in other letters, and must differ from every unknown one before it.

use super::{KEYS_MAX, Level, ScanFault};
use crate::json::{Span, Text};

/// Unknown keys kept without allocating; more go to the heap, up to [`KEYS_MAX`].
const INLINE: usize = 8;

/// The keys seen so far in one object.
pub(super) struct Keys<'d> {
    doc: &'d [u8],
    level: Level,
    known: &'static [&'static str],
    seen: u32,
    few: [Span; INLINE],
    many: Vec<Span>,
    count: usize,
}

impl<'d> Keys<'d> {
    /// None yet. `known` must not have more than 32 names.
    #[inline(always)]
    pub(super) fn new(doc: &'d [u8], level: Level, known: &'static [&'static str]) -> Self {
        Self {
            doc,
            level,
            known,
            seen: 0,
            few: [Span { start: 0, end: 0 }; INLINE],
            many: Vec::new(),
            count: 0,
        }
    }

    /// A known key, by its place in the table.
    #[inline(always)]
    pub(super) fn known(&mut self, key: Text, place: u32) -> Result<(), ScanFault> {
        let bit = 1u32 << place;
        if self.seen & bit != 0 {
            return Err(ScanFault::DuplicateKey {
                level: self.level,
                at: key.content.start,
            });
        }
        self.seen |= bit;
        Ok(())
    }

    /// Any other key.
    #[inline(never)]
    pub(super) fn unknown(&mut self, key: Text) -> Result<(), ScanFault> {
        let Self { doc, level, .. } = *self;
        let at = key.content.start;
        let text = key.content.of(doc);
        if key.escaped {
            return Err(ScanFault::EscapedKey { level, at });
        }
        if !text.is_ascii() {
            if level != Level::Meta {
                return Err(ScanFault::NonAsciiKey { level, at });
            }
            if let Some(known) = self.known.iter().find(|known| folds_to(text, known.as_bytes())) {
                return Err(ScanFault::CaseVariant { level, at, known });
            }
        } else if let Some(known) = self
            .known
            .iter()
            .find(|known| text.eq_ignore_ascii_case(known.as_bytes()))
        {
            return Err(ScanFault::CaseVariant { level, at, known });
        }
        let inline = self.few.iter().take(self.count.min(INLINE));
        if inline.chain(&self.many).any(|before| before.of(doc) == text) {
            return Err(ScanFault::DuplicateKey { level, at });
        }
        if self.count >= KEYS_MAX {
            return Err(ScanFault::TooManyKeys { level, at });
        }
        match self.few.get_mut(self.count) {
            Some(free) => *free = key.content,
            None => self.many.push(key.content),
        }
        self.count += 1;
        Ok(())
    }
}

/// Whether a key with non-ASCII characters becomes `known` (ASCII) under simple case folding. Three characters
/// outside ASCII fold or upper-case into it: long s (U+017F), the Kelvin sign (U+212A), dotless i (U+0131); and the
/// dotted capital I (U+0130) lower-cases to an i (with a combining dot that some readers drop).
fn folds_to(key: &[u8], known: &[u8]) -> bool {
    let Ok(key) = std::str::from_utf8(key) else {
        return false;
    };
    let folded = key.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(known.iter().map(|b| char::from(b.to_ascii_lowercase())))
}
