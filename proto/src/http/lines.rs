//! Header lines as they are written: text that only grows, the usual amount of it in place.

/// Room for the fields of a usual call: a content type, a date, a name or two.
const USUAL_BYTES: usize = 192;

/// Lines, each ending with CR LF.
#[derive(Clone)]
pub(super) struct Lines {
    in_place: [u8; USUAL_BYTES],
    length: usize,
    /// All of the text, once it does not fit in place.
    grown: Vec<u8>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            in_place: [0; USUAL_BYTES],
            length: 0,
            grown: Vec::new(),
        }
    }
}

impl Lines {
    /// Nothing yet, and room for so much.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut lines = Self::default();
        if bytes > USUAL_BYTES {
            lines.grown.reserve(bytes);
        }
        lines
    }

    pub(super) fn text(&self) -> &[u8] {
        match self.in_place.get(..self.length) {
            Some(text) if self.grown.is_empty() => text,
            _ => &self.grown,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Appends a line; gives where its value begins.
    pub(super) fn push(&mut self, name_and_colon: &[u8], value: &[u8]) -> usize {
        let value_at = self.length + name_and_colon.len();
        let end = value_at + value.len();
        if let Some(room) = self.in_place.get_mut(self.length..end + 2)
            && self.grown.capacity() == 0
        {
            let (name_room, room) = room.split_at_mut(name_and_colon.len());
            let (value_room, line_end) = room.split_at_mut(value.len());
            name_room.copy_from_slice(name_and_colon);
            value_room.copy_from_slice(value);
            line_end.copy_from_slice(b"\r\n");
        } else {
            if self.grown.is_empty() {
                self.grown.extend_from_slice(&self.in_place[..self.length]);
            }
            for piece in [name_and_colon, value, b"\r\n"] {
                self.grown.extend_from_slice(piece);
            }
        }
        self.length = end + 2;
        value_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_in_place_and_grown() {
        for (value, capacity) in [
            (0, 0),
            (10, 0),
            (170, 0),
            (190, 0),
            (1000, 0),
            (10, 1000),
            (1000, 1000),
        ] {
            let (mut lines, mut plain) = (Lines::with_capacity(capacity), Vec::new());
            for name in [&b"a: "[..], b"long-name: ", b"b: "] {
                let value = vec![b'v'; value];
                let at = lines.push(name, &value);
                plain.extend_from_slice(name);
                assert_eq!(at, plain.len());
                plain.extend_from_slice(&value);
                plain.extend_from_slice(b"\r\n");
                assert_eq!((lines.text(), lines.len()), (&plain[..], plain.len()));
            }
        }
    }
}
