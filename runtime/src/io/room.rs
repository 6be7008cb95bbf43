//! Memory for an answer of known length, which one worker reads into again and again.
//!
//! Such an answer is read in place and handed on without a copy. Whoever drops its last piece gives the memory back to
//! the worker, which lends what came back last: it is still in the cache. Allocating and returning a hundred kilobytes
//! a call would make the kernel map, clear and unmap them each time.

use bytes::Bytes;
use std::cell::RefCell;

/// Pieces of memory kept by a worker: two megabytes at most.
const KEPT_MAX: usize = 16;
/// Larger ones are given back to the system.
const KEPT_BYTES_MAX: usize = 128 << 10;
/// Smaller ones are not made: what comes next may be larger.
const ROOM_BYTES_MIN: usize = 16 << 10;

thread_local! {
    static KEPT: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Room for so many bytes, filled from the front.
pub struct Room {
    memory: Memory,
    /// How far it is filled.
    filled: usize,
    size: usize,
}

/// Comes back to its worker when it is dropped.
struct Memory(Box<[u8]>);

impl Room {
    /// Empty room for `size` bytes.
    pub fn new(size: usize) -> Self {
        let kept = KEPT.with_borrow_mut(Vec::pop);
        let memory = kept.filter(|kept| kept.len() >= size).unwrap_or_else(|| {
            // Of a few sizes only, so that what was kept fits what comes next.
            vec![0; size.next_power_of_two().max(ROOM_BYTES_MIN)].into()
        });
        Self {
            memory: Memory(memory),
            filled: 0,
            size,
        }
    }

    /// Bytes in it.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Copies in as much of `bytes` as there is room for.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let rest = self.rest();
        let n = bytes.len().min(rest.len());
        rest[..n].copy_from_slice(&bytes[..n]);
        self.filled += n;
        n
    }

    /// The first `length` bytes of what is in it, without a copy.
    pub fn into_bytes(self, length: usize) -> Bytes {
        let length = length.min(self.filled);
        Bytes::from_owner(Full {
            memory: self.memory,
            length,
        })
    }

    /// What is not filled yet.
    pub(super) fn rest(&mut self) -> &mut [u8] {
        &mut self.memory.0[self.filled..self.size]
    }

    /// Says that `n` bytes were written into [`Room::rest`].
    pub(super) fn fill(&mut self, n: usize) {
        self.filled = self.size.min(self.filled + n);
    }

    /// The memory for the kernel to write to, and the place of the rest in it. To be given back.
    pub(super) fn lend(&mut self) -> (Box<[u8]>, std::ops::Range<usize>) {
        (std::mem::take(&mut self.memory.0), self.filled..self.size)
    }

    /// Takes back what was lent.
    pub(super) fn give_back(&mut self, memory: Box<[u8]>) {
        self.memory.0 = memory;
    }
}

/// What [`Room::into_bytes`] shows a part of.
struct Full {
    memory: Memory,
    length: usize,
}

impl AsRef<[u8]> for Full {
    fn as_ref(&self) -> &[u8] {
        &self.memory.0[..self.length]
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.0);
        if (ROOM_BYTES_MIN..=KEPT_BYTES_MAX).contains(&memory.len()) {
            // What a thread leaves behind may be dropped after what it keeps, hence `try_with`.
            let _ = KEPT.try_with(|kept| {
                let mut kept = kept.borrow_mut();
                if kept.len() < KEPT_MAX {
                    kept.push(memory);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_its_last_piece_is_dropped() {
        let mut room = Room::new(70_000);
        assert_eq!(room.put(&[b'x'; 60_000]), 60_000);
        assert_eq!(
            room.put(&[b'y'; 60_000]),
            10_000,
            "no more than there is room for"
        );
        let place = room.rest().as_ptr().wrapping_sub(70_000);
        let whole = room.into_bytes(65_000);
        assert_eq!(
            (whole.len(), whole[60_000], whole.as_ptr()),
            (65_000, b'y', place)
        );
        let piece = whole.slice(5..);
        drop(whole);
        assert_ne!(Room::new(70_000).rest().as_ptr(), place, "it is still held");
        drop(piece);
        let mut again = Room::new(65_000);
        assert_eq!((again.rest().as_ptr(), again.filled()), (place, 0));
        assert_eq!(again.rest().len(), 65_000);
    }

    #[test]
    fn no_more_is_kept_than_the_bounds_say() {
        let many: Vec<Room> = (0..2 * KEPT_MAX).map(|_| Room::new(1)).collect();
        drop(many);
        drop(Room::new(KEPT_BYTES_MAX + 1));
        let kept: Vec<usize> = KEPT.with_borrow(|kept| kept.iter().map(|memory| memory.len()).collect());
        assert_eq!(
            kept.len(),
            KEPT_MAX - 1,
            "the last was too small for what came then"
        );
        assert!(kept.iter().all(|length| *length == ROOM_BYTES_MIN));
    }
}
