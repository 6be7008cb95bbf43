//! Large buffers of one worker that are read into again.
//!
//! A long answer that came whole is passed on while its connection serves the next call, so the connection needs another
//! buffer and this one comes free when the client has it. Allocating and returning a hundred kilobytes a call would make
//! the kernel map, clear and unmap them each time.

use bytes::{Bytes, BytesMut};
use std::cell::RefCell;

/// Buffers kept by a worker: two megabytes at most.
const KEPT_MAX: usize = 16;
/// Larger ones are given back to the system.
const KEPT_BYTES_MAX: usize = 128 << 10;

thread_local! {
    static KEPT: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the memory of `used` for [`recycled`], if nobody else holds a piece of it.
pub fn recycle(used: Bytes) {
    let Ok(mut free) = used.try_into_mut() else { return };
    free.clear();
    if free.capacity() <= KEPT_BYTES_MAX {
        KEPT.with_borrow_mut(|kept| {
            if kept.len() < KEPT_MAX {
                kept.push(free);
            }
        });
    }
}

/// An empty buffer with room for `room` bytes; one that was used before, if there is one of that size.
pub fn recycled(room: usize) -> BytesMut {
    let kept = KEPT.with_borrow_mut(Vec::pop);
    // Reclaiming gets the memory back that stood before the piece.
    kept.and_then(|mut buf| buf.try_reclaim(room).then_some(buf))
        .unwrap_or_else(|| BytesMut::with_capacity(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_whole_and_only_when_nobody_holds_it() {
        let mut buf = BytesMut::with_capacity(100_000);
        buf.resize(70_000, b'x');
        let place = buf.as_ptr();
        let head = buf.split_to(100).freeze();
        let body = buf.split_to(69_900).freeze();
        drop(buf);
        recycle(body.clone());
        assert_ne!(recycled(100_000).as_ptr(), place, "it is still held");
        drop(head);
        recycle(body);
        let again = recycled(100_000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= 100_000);
    }

    #[test]
    fn no_more_are_kept_than_the_bound() {
        let many: Vec<Bytes> = (0..2 * KEPT_MAX)
            .map(|_| BytesMut::zeroed(20_000).freeze())
            .collect();
        many.into_iter().for_each(recycle);
        recycle(BytesMut::zeroed(KEPT_BYTES_MAX + 1).freeze());
        assert_eq!(KEPT.with_borrow(Vec::len), KEPT_MAX);
    }
}
