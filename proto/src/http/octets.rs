//! Which octets may stand where, and how to ask quickly: a table for single ones, eight at a time for values.

/// A character of a token (RFC 9110 §5.6.2).
pub(crate) const TOKEN: u8 = 1;
/// A token character that is no capital.
pub(crate) const LOWER_TOKEN: u8 = 2;
/// A character of a request target: visible ASCII, and no fragment.
pub(crate) const TARGET: u8 = 4;
/// A character of a host and port, without a user.
pub(crate) const AUTHORITY: u8 = 8;

/// Whether all octets are of this class. True for none.
#[inline]
pub(crate) fn all(text: &[u8], class: u8) -> bool {
    // No early exit: without it four octets go through the table at a time.
    text.iter()
        .fold(class, |left, octet| left & CLASSES[usize::from(*octet)])
        != 0
}

/// Whether an octet is of this class.
#[inline]
pub(crate) fn is(octet: u8, class: u8) -> bool {
    CLASSES[usize::from(octet)] & class != 0
}

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let b = octet as u8;
        if b.is_ascii_alphanumeric() || has(b"!#$%&'*+-.^_`|~", b) {
            classes[octet] |= TOKEN;
            if !b.is_ascii_uppercase() {
                classes[octet] |= LOWER_TOKEN;
            }
        }
        if b.is_ascii_graphic() && b != b'#' {
            classes[octet] |= TARGET;
        }
        if b.is_ascii_alphanumeric() || has(b"-._~%!$&'()*+;=:[]", b) {
            classes[octet] |= AUTHORITY;
        }
        octet += 1;
    }
    classes
};

const fn has(set: &[u8], octet: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == octet {
            return true;
        }
        at += 1;
    }
    false
}

/// Where the first octet stands that no field value may hold: a control character other than tab.
#[inline(always)]
pub(crate) fn control(text: &[u8]) -> Option<usize> {
    let at = unusual(text)?;
    match text[at] {
        b'\t' | 0x80.. => control_behind(text, at),
        _ => Some(at),
    }
}

/// Whether this can be a field's value.
#[inline(always)]
pub(crate) fn is_value(text: &[u8]) -> bool {
    let (words, end) = text.as_chunks();
    // What is left is looked at together with octets before it.
    let last = if end.is_empty() { None } else { text.last_chunk() };
    let plain = words.iter().chain(last).all(|word| unusual_hits(*word) == 0)
        && (last.is_some() || end.iter().all(|b| matches!(b, b' '..=b'~')));
    plain || control_behind(text, 0).is_none()
}

#[cold]
fn control_behind(text: &[u8], from: usize) -> Option<usize> {
    let mut octets = text.iter().enumerate().skip(from);
    octets
        .find(|(_, b)| b.is_ascii_control() && **b != b'\t')
        .map(|(at, _)| at)
}

/// Where the first octet stands that is not visible ASCII or a space.
#[inline(always)]
fn unusual(text: &[u8]) -> Option<usize> {
    let (words, end) = text.as_chunks();
    for (nth, word) in words.iter().enumerate() {
        let hits = unusual_hits(*word);
        if hits != 0 {
            return Some(nth * 8 + lowest(hits));
        }
    }
    Some(words.len() * 8 + end.iter().position(|b| !matches!(b, b' '..=b'~'))?)
}

/// Marks octets that are not visible ASCII or a space. Exact up to the lowest mark: borrows and carries only run
/// upward, from an octet that is marked.
#[inline(always)]
fn unusual_hits(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    (word | word.wrapping_add(repeat(1)) | word.wrapping_sub(repeat(b' '))) & repeat(0x80)
}

/// Where the first colon stands.
#[inline(always)]
pub(crate) fn colon(text: &[u8]) -> Option<usize> {
    let (words, end) = text.as_chunks();
    for (nth, word) in words.iter().enumerate() {
        let colon = u64::from_le_bytes(*word) ^ repeat(b':');
        let hits = colon.wrapping_sub(repeat(1)) & !colon & repeat(0x80);
        if hits != 0 {
            return Some(nth * 8 + lowest(hits));
        }
    }
    Some(words.len() * 8 + end.iter().position(|b| *b == b':')?)
}

#[inline(always)]
fn lowest(hits: u64) -> usize {
    (hits.trailing_zeros() / 8) as usize
}

const fn repeat(octet: u8) -> u64 {
    octet as u64 * 0x0101_0101_0101_0101
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_at_a_time_finds_what_one_at_a_time_finds() {
        let control_slowly = |text: &[u8]| text.iter().position(|b| b.is_ascii_control() && *b != b'\t');
        let colon_slowly = |text: &[u8]| text.iter().position(|b| *b == b':');
        for length in 0..=41 {
            for at in 0..length {
                for octet in 0..=255 {
                    for (fill, beside) in [
                        (b'a', b'a'),
                        (0xff, b'\t'),
                        (b'\t', 0x1f),
                        (b' ', 0x80),
                        (b'9', b';'),
                    ] {
                        let mut text = vec![fill; length];
                        text[at] = octet;
                        if let Some(next) = text.get_mut(at + 1) {
                            *next = beside;
                        }
                        assert_eq!(control(&text), control_slowly(&text), "{text:?}");
                        assert_eq!(is_value(&text), control_slowly(&text).is_none(), "{text:?}");
                        assert_eq!(colon(&text), colon_slowly(&text), "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_classes_are_those_of_the_rfcs() {
        for b in 0..=255_u8 {
            let token = b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            assert_eq!(is(b, TOKEN), token);
            assert_eq!(is(b, LOWER_TOKEN), token && !b.is_ascii_uppercase());
            assert_eq!(is(b, TARGET), b.is_ascii_graphic() && b != b'#');
            let authority = b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&b);
            assert_eq!(is(b, AUTHORITY), authority);
        }
    }
}
