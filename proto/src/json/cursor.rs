//! The scanner itself: one index moving over the bytes, checking the grammar of RFC 8259 as it goes.
//!
//! Two things make it fast. Strings are skipped eight bytes at a time (and 32 at a time once they prove long, in a
//! loop the compiler turns into vector code), and containers are followed with one bit per level instead of a call
//! per level, which also means that no document can exhaust the stack.

use super::{DEPTH_MAX, Fault, Kind, Span, What, narrow};

/// A position in a document.
pub(crate) struct Cursor<'d> {
    doc: &'d [u8],
    at: usize,
    depth_max: u32,
}

/// A string just passed.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    /// Its content, without the quotes.
    pub content: Span,
    /// Whether the content has a backslash in it.
    pub escaped: bool,
}

impl Text {
    /// The string with its quotes.
    pub(crate) fn quoted(self) -> Span {
        Span {
            start: self.content.start - 1,
            end: self.content.end + 1,
        }
    }
}

impl<'d> Cursor<'d> {
    /// Starts on a document nobody has looked at yet: length and UTF-8 are settled here for all of it.
    #[inline]
    pub(crate) fn open(doc: &'d [u8], depth_max: u32) -> Result<Self, Fault> {
        if u32::try_from(doc.len()).is_err() {
            return Err(Fault {
                at: u32::MAX,
                what: What::TooLong,
            });
        }
        if simdutf8::basic::from_utf8(doc).is_err() {
            // The fast check does not say where; nobody minds a slower second look at a bad document.
            let at = std::str::from_utf8(doc).map_or_else(|e| e.valid_up_to(), str::len);
            return Err(Fault::new(narrow(at), What::Utf8));
        }
        if doc.starts_with(b"\xef\xbb\xbf") {
            return Err(Fault {
                at: 0,
                what: What::ByteOrderMark,
            });
        }
        Ok(Self {
            doc,
            at: 0,
            depth_max: depth_max.min(DEPTH_MAX),
        })
    }

    /// Starts inside a document already checked, for the walkers; sees nothing beyond `span`.
    pub(crate) fn within(doc: &'d [u8], span: Span) -> Self {
        let end = (span.end as usize).min(doc.len());
        Self {
            doc: &doc[..end],
            at: span.start as usize,
            depth_max: DEPTH_MAX,
        }
    }

    /// The byte ahead, or NUL at the end. NUL never stands outside a string, so no caller takes it for content.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u8 {
        self.doc.get(self.at).copied().unwrap_or(0)
    }

    /// The present offset.
    #[inline(always)]
    pub(crate) fn at(&self) -> u32 {
        // Documents longer than a u32 are refused before a cursor exists.
        self.at as u32
    }

    /// Passes one byte that the caller has peeked at.
    #[inline(always)]
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// Passes whitespace.
    #[inline(always)]
    pub(crate) fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// A fault at the present byte: `End` when there is none, `what` otherwise.
    #[inline(always)]
    pub(crate) fn fault(&self, what: What) -> Fault {
        fault(self.doc.len(), self.at, what)
    }

    /// After the value: whitespace and nothing else.
    #[inline]
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at == self.doc.len() {
            Ok(())
        } else {
            Err(self.fault(What::Trailing))
        }
    }

    /// Passes one value of any kind; `outer` containers are open around it.
    #[inline]
    pub(crate) fn skip(&mut self, outer: u32) -> Result<Span, Fault> {
        let start = self.at();
        match self.peek() {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.container(outer)?,
            _ => self.scalar()?,
        }
        Ok(Span {
            start,
            end: self.at(),
        })
    }

    /// Passes an object whose members `each` reads: it is called behind the colon and must pass the value. Depth
    /// is the caller's business.
    #[inline(always)]
    pub(crate) fn object<E: From<Fault>>(
        &mut self,
        mut each: impl FnMut(&mut Self, Text) -> Result<(), E>,
    ) -> Result<Span, E> {
        let start = self.at();
        if self.peek() != b'{' {
            return Err(self.fault(What::Unexpected).into());
        }
        self.step();
        self.space();
        if self.peek() == b'}' {
            self.step();
            return Ok(Span {
                start,
                end: self.at(),
            });
        }
        loop {
            let key = self.key()?;
            each(self, key)?;
            self.space();
            match self.peek() {
                b',' => {
                    self.step();
                    self.space();
                }
                b'}' => {
                    self.step();
                    return Ok(Span {
                        start,
                        end: self.at(),
                    });
                }
                _ => return Err(self.fault(What::Unexpected).into()),
            }
        }
    }

    /// Passes a key, the colon, and the whitespace around it.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Result<Text, Fault> {
        if self.peek() != b'"' {
            return Err(self.fault(What::Unexpected));
        }
        let key = self.string()?;
        self.space();
        if self.peek() != b':' {
            return Err(self.fault(What::Unexpected));
        }
        self.step();
        self.space();
        Ok(key)
    }

    /// Passes a string; the caller has seen its opening quote.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Result<Text, Fault> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = stop(self.doc, at);
            match self.doc.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += escape(self.doc, at).ok_or(Fault::new(narrow(at), What::Escape))?;
                }
                Some(_) => {
                    return Err(Fault::new(narrow(at), What::Control));
                }
                None => {
                    return Err(Fault::new(narrow(self.doc.len()), What::End));
                }
            }
        }
        self.at = at + 1;
        Ok(Text {
            content: Span {
                start: start as u32,
                end: at as u32,
            },
            escaped,
        })
    }

    /// Passes a number; true when it is written as an integer (no fraction, no exponent).
    #[inline(always)]
    pub(crate) fn number(&mut self) -> Result<bool, Fault> {
        let bad = Fault::new(self.at(), What::Number);
        if self.peek() == b'-' {
            self.step();
        }
        match self.peek() {
            b'0' => self.step(),
            b'1'..=b'9' => self.digits(),
            _ => return Err(bad),
        }
        let mut integer = true;
        if self.peek() == b'.' {
            integer = false;
            self.step();
            if !self.peek().is_ascii_digit() {
                return Err(bad);
            }
            self.digits();
        }
        if matches!(self.peek(), b'e' | b'E') {
            integer = false;
            self.step();
            if matches!(self.peek(), b'+' | b'-') {
                self.step();
            }
            if !self.peek().is_ascii_digit() {
                return Err(bad);
            }
            self.digits();
        }
        Ok(integer)
    }

    #[inline(always)]
    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    /// Passes a number or one of the three words.
    #[inline(always)]
    fn scalar(&mut self) -> Result<(), Fault> {
        let word: &[u8] = match self.peek() {
            b'-' | b'0'..=b'9' => return self.number().map(|_| ()),
            b't' => b"true",
            b'f' => b"false",
            b'n' => b"null",
            _ => return Err(self.fault(What::Unexpected)),
        };
        if self.doc[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.fault(What::Unexpected))
        }
    }

    /// Passes an object or array and everything in it, without recursion: bit `n` of `objects` says whether the
    /// `n`th container opened here is an object.
    fn container(&mut self, outer: u32) -> Result<(), Fault> {
        // A copy the compiler can keep in registers.
        let mut here = Self { ..*self };
        let mut objects: u128 = 0;
        let mut open = 0u32;
        'opened: loop {
            if outer + open >= here.depth_max {
                return Err(here.fault(What::Depth));
            }
            let mut object = here.peek() == b'{';
            objects = (objects << 1) | u128::from(object);
            open += 1;
            here.step();
            here.space();
            let mut empty = here.peek() == closing(object);
            loop {
                if !empty {
                    if object {
                        here.key()?;
                    }
                    match here.peek() {
                        b'"' => {
                            here.string()?;
                        }
                        b'{' | b'[' => continue 'opened,
                        _ => here.scalar()?,
                    }
                }
                // Behind a value: a comma leads to the next one, a bracket closes and makes its container the
                // value just passed.
                loop {
                    here.space();
                    let next = here.peek();
                    if next == b',' && !empty {
                        here.step();
                        here.space();
                        break;
                    }
                    if next != closing(object) {
                        return Err(here.fault(What::Unexpected));
                    }
                    empty = false;
                    here.step();
                    open -= 1;
                    if open == 0 {
                        self.at = here.at;
                        return Ok(());
                    }
                    objects >>= 1;
                    object = objects & 1 == 1;
                }
            }
        }
    }

    /// The kind of the value ahead.
    #[inline(always)]
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::from_first(self.peek())
    }
}

/// Out of line and by value, so that the cursor of a hot loop can live in registers.
#[cold]
#[inline(never)]
fn fault(length: usize, at: usize, what: What) -> Fault {
    let what = if at >= length { What::End } else { what };
    Fault::new(narrow(at.min(length)), what)
}

#[inline(always)]
fn closing(object: bool) -> u8 {
    if object { b'}' } else { b']' }
}

/// Length of the escape at `at` (which holds the backslash), or `None` when it is not one.
fn escape(doc: &[u8], at: usize) -> Option<usize> {
    match doc.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => doc
            .get(at + 2..at + 6)?
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(6),
        _ => None,
    }
}

/// Strings at least this long go on in chunks instead of words.
const LONG: usize = 32;

/// The offset of the first quote, backslash or control character at or behind `at`, or the document's length.
#[inline(always)]
fn stop(doc: &[u8], mut at: usize) -> usize {
    let short = at + LONG;
    while at < short {
        let Some(word) = word(doc, at) else {
            return stop_bytes(doc, at);
        };
        let hit = special(word);
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    stop_long(doc, at)
}

#[inline(never)]
fn stop_long(doc: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = doc[at..].first_chunk::<64>() {
        if !clean(chunk) {
            break;
        }
        at += 64;
    }
    while let Some(word) = word(doc, at) {
        let hit = special(word);
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    stop_bytes(doc, at)
}

fn stop_bytes(doc: &[u8], at: usize) -> usize {
    let rest = doc.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|b| matches!(b, b'"' | b'\\' | 0..0x20))
        .unwrap_or(rest.len())
}

#[inline(always)]
fn word(doc: &[u8], at: usize) -> Option<u64> {
    doc.get(at..at + 8)?
        .first_chunk::<8>()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

/// The top bit of each byte that is a quote, a backslash or below 0x20. A borrow can raise a false bit only above a
/// true one, so the lowest bit set is always right, and that is the one read.
#[inline(always)]
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & TOPS
}

/// Whether no byte of the chunk ends or interrupts a string. Written without an early exit for the vectoriser.
#[inline(always)]
fn clean(chunk: &[u8; 64]) -> bool {
    let mut dirty = false;
    for byte in chunk {
        dirty |= (*byte == b'"') | (*byte == b'\\') | (*byte < 0x20);
    }
    !dirty
}
