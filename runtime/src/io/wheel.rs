//! A hierarchical timing wheel (Varghese and Lauck, 1987, scheme 7): filing, moving and removing a deadline cost a
//! few instructions whatever their number, because most deadlines of a gateway are removed before they are due.
//!
//! Time is a number of ticks and comes from outside. Level 0 has a slot for each of the next 64 ticks, each level
//! above one for 64 slots of the level below; a deadline is filed in the lowest level that tells it from now, and
//! moves down as its slot comes up. Entries live in one slab and are linked by index, so that nothing is allocated
//! once the slab is as large as the largest number of deadlines at one time.

/// Slots of a level: one bit each in a word.
const SLOTS: u64 = 64;
const SLOT_BITS: u32 = 6;
/// 64⁵ milliseconds are twelve days; what lies beyond waits at the edge and is filed again from there.
const LEVELS: usize = 5;
const SPAN: u64 = 1 << (SLOT_BITS * LEVELS as u32);
/// No entry.
const NONE: u32 = u32::MAX;

/// Names an entry until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u32);

/// Deadlines with what to hand out when they are due.
pub(super) struct Wheel<T> {
    entries: Vec<Entry<T>>,
    /// First of the unused entries, linked by `next`.
    free: u32,
    /// Everything before this tick has been handed out.
    now: u64,
    /// One bit for each slot that has entries.
    occupied: [u64; LEVELS],
    heads: [[u32; SLOTS as usize]; LEVELS],
}

struct Entry<T> {
    due: u64,
    /// Taken when due.
    value: Option<T>,
    prev: u32,
    next: u32,
    /// Where it is linked; `None` once it was handed out, or while it is free.
    place: Option<(u8, u8)>,
}

impl<T> Wheel<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            now: 0,
            occupied: [0; LEVELS],
            heads: [[NONE; SLOTS as usize]; LEVELS],
        }
    }

    /// Files a deadline. One that is not in the future is due at the next tick.
    pub(super) fn insert(&mut self, due: u64, value: T) -> Key {
        let entry = Entry {
            due,
            value: Some(value),
            prev: NONE,
            next: NONE,
            place: None,
        };
        let index = self.free;
        let index = if index == NONE {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            self.free = self.entries[index as usize].next;
            self.entries[index as usize] = entry;
            index
        };
        self.link(index);
        Key(index)
    }

    /// What will be handed out, as long as it has not been.
    pub(super) fn value_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entries[key.0 as usize].value.as_mut()
    }

    /// Takes an entry out, with its value if it was not handed out.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.unlink(key.0);
        let entry = &mut self.entries[key.0 as usize];
        entry.next = std::mem::replace(&mut self.free, key.0);
        entry.value.take()
    }

    /// The tick at which there is something to do next: something due, or a slot to be spread over the level below.
    pub(super) fn next(&self) -> Option<u64> {
        let levels = self.occupied.iter().enumerate();
        let ticks = levels.filter_map(|(level, &bits)| {
            let shift = SLOT_BITS * level as u32;
            let current = (self.now >> shift) & (SLOTS - 1);
            let ahead = bits.rotate_right(current as u32);
            (ahead != 0).then(|| {
                let slots = u64::from(ahead.trailing_zeros());
                (((self.now >> shift) + slots) << shift).max(self.now)
            })
        });
        ticks.min()
    }

    /// Goes on to `now` and hands out what is due by then, in order of ticks.
    pub(super) fn advance(&mut self, now: u64, mut due: impl FnMut(T)) {
        while let Some(tick) = self.next().filter(|tick| *tick <= now) {
            self.now = tick;
            for level in (0..LEVELS).rev() {
                let slot = (tick >> (SLOT_BITS * level as u32)) & (SLOTS - 1);
                // A slot above the lowest comes up with its first tick.
                let begins = tick & ((1 << (SLOT_BITS * level as u32)) - 1) == 0;
                if !begins || self.occupied[level] & (1 << slot) == 0 {
                    continue;
                }
                self.occupied[level] &= !(1 << slot);
                let mut index = std::mem::replace(&mut self.heads[level][slot as usize], NONE);
                while index != NONE {
                    let entry = &mut self.entries[index as usize];
                    let next = entry.next;
                    (entry.prev, entry.next, entry.place) = (NONE, NONE, None);
                    if entry.due > tick {
                        self.link(index);
                    } else if let Some(value) = entry.value.take() {
                        due(value);
                    }
                    index = next;
                }
            }
        }
        // What is due *at* this tick has been handed out, what is filed for it from now on is due at the next.
        self.now = self.now.max(now + 1);
    }

    fn link(&mut self, index: u32) {
        let (level, slot) = self.place_of(self.entries[index as usize].due);
        let head = std::mem::replace(&mut self.heads[level as usize][slot as usize], index);
        if head != NONE {
            self.entries[head as usize].prev = index;
        }
        self.occupied[level as usize] |= 1 << slot;
        let entry = &mut self.entries[index as usize];
        (entry.prev, entry.next, entry.place) = (NONE, head, Some((level, slot)));
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let Some((level, slot)) = entry.place.take() else {
            return;
        };
        let (prev, next) = (entry.prev, entry.next);
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if prev != NONE {
            self.entries[prev as usize].next = next;
            return;
        }
        self.heads[level as usize][slot as usize] = next;
        if next == NONE {
            self.occupied[level as usize] &= !(1 << slot);
        }
    }

    /// The lowest level whose slots tell `due` from now.
    fn place_of(&self, due: u64) -> (u8, u8) {
        let due = due.clamp(self.now, self.now + SPAN / 2);
        let differs = (due ^ self.now) | (SLOTS - 1);
        let level = ((u64::BITS - 1 - differs.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1);
        let slot = (due >> (SLOT_BITS * level)) & (SLOTS - 1);
        (level as u8, slot as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_due_is_handed_out_once_and_never_early() {
        let mut wheel = Wheel::new();
        for due in [0, 1, 63, 64, 65, 4_095, 4_096, 300_000, 5] {
            wheel.insert(due, due);
        }
        let mut seen = Vec::new();
        for now in (0..=300_000).step_by(7).chain([300_000]) {
            wheel.advance(now, |due| {
                assert!(due <= now, "{due} came at {now}");
                seen.push(due);
            });
        }
        assert_eq!(seen, [0, 1, 5, 63, 64, 65, 4_095, 4_096, 300_000]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_removed_entry_is_never_handed_out_and_its_place_is_used_again() {
        let mut wheel = Wheel::new();
        let keys: Vec<Key> = (0..100).map(|n| wheel.insert(10 + n % 3, n)).collect();
        for key in &keys[1..] {
            assert!(wheel.remove(*key).is_some());
        }
        let mut seen = Vec::new();
        wheel.advance(50, |n| seen.push(n));
        assert_eq!(seen, [0]);
        assert_eq!(wheel.remove(keys[0]), None, "it was handed out");
        for n in 0..100 {
            wheel.insert(60, n);
        }
        assert_eq!(wheel.entries.len(), 100);
    }

    #[test]
    fn the_far_future_waits_at_the_edge() {
        let mut wheel = Wheel::new();
        wheel.insert(3 * SPAN, ());
        let mut handed_out = 0;
        while let Some(tick) = wheel.next().filter(|tick| *tick < 3 * SPAN) {
            wheel.advance(tick, |()| handed_out += 1);
        }
        assert_eq!(handed_out, 0);
        wheel.advance(3 * SPAN, |()| handed_out += 1);
        assert_eq!(handed_out, 1);
    }

    /// A long random life beside a sorted map: the same deadlines at the same advances.
    #[test]
    fn it_agrees_with_a_sorted_map() {
        let mut random = 88_172_645_463_325_252_u64;
        let mut draw = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let (mut wheel, mut sorted) = (Wheel::new(), BTreeMap::new());
        let mut now = 0;
        for id in 0..20_000_u64 {
            let within = [3, 70, 5_000, 400_000, 20_000_000][draw(5) as usize];
            let due = now + 1 + draw(within);
            sorted.insert((due, id), wheel.insert(due, (due, id)));
            if draw(3) == 0
                && let Some((&at, _)) = sorted.iter().nth(draw(64) as usize)
                && let Some(key) = sorted.remove(&at)
            {
                assert_eq!(wheel.remove(key), Some(at));
            }
            if draw(4) == 0 {
                let within = [2, 50, 3_000, 1_000_000][draw(4) as usize];
                now += draw(within);
                assert!(
                    wheel
                        .next()
                        .is_none_or(|next| sorted.keys().all(|(due, _)| next <= *due))
                );
                let mut due = Vec::new();
                wheel.advance(now, |at| due.push(at));
                due.sort_unstable();
                let later = sorted.split_off(&(now + 1, 0));
                let expected: Vec<_> = std::mem::replace(&mut sorted, later).into_iter().collect();
                assert_eq!(due, expected.iter().map(|(at, _)| *at).collect::<Vec<_>>());
                for (_, key) in expected {
                    assert_eq!(wheel.remove(key), None);
                }
            }
        }
    }
}
