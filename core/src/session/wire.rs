//! The little binary form inside a seal: numbers as LEB128, text behind its length. Written and read in one
//! order; whatever does not end exactly where it should is refused.

/// Appends.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) out: Vec<u8>,
}

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) -> &mut Self {
        self.out.push(byte);
        self
    }

    pub(super) fn number(&mut self, mut n: u64) -> &mut Self {
        while n >= 0x80 {
            self.out.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.byte(n as u8)
    }

    pub(super) fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64).fixed(bytes)
    }

    pub(super) fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            None => self.byte(0),
            Some(bytes) => self.byte(1).bytes(bytes),
        }
    }
}

/// Takes from the front; `None` once something is not as it should be.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            n |= part << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn bytes(&mut self) -> Option<&'b [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn text(&mut self) -> Option<Box<str>> {
        std::str::from_utf8(self.bytes()?).ok().map(Into::into)
    }

    pub(super) fn optional(&mut self) -> Option<Option<&'b [u8]>> {
        match self.byte()? {
            0 => Some(None),
            1 => self.bytes().map(Some),
            _ => None,
        }
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(n in any::<u64>(), text in ".{0,20}", maybe in prop::option::of(prop::collection::vec(any::<u8>(), 0..200))) {
            let mut w = Writer::default();
            w.number(n).bytes(text.as_bytes()).optional(maybe.as_deref()).fixed(&[1, 2, 3]);
            let mut r = Reader(&w.out);
            prop_assert_eq!(r.number(), Some(n));
            let read = r.text();
            prop_assert_eq!(read.as_deref(), Some(&*text));
            prop_assert_eq!(r.optional(), Some(maybe.as_deref()));
            prop_assert_eq!(r.fixed(), Some([1, 2, 3]));
            prop_assert_eq!(r.end(), Some(()));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(raw in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut r = Reader(&raw);
            while r.optional().is_some() && !r.0.is_empty() {}
            let mut r = Reader(&raw);
            let _ = (r.number(), r.text(), r.fixed::<4>());
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        assert_eq!(Reader(&[0xff; 12]).number(), None);
        assert_eq!(
            Reader(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]).number(),
            None
        );
        assert_eq!(
            Reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).number(),
            Some(u64::MAX)
        );
    }
}
