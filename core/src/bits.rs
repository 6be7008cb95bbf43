//! A fixed set of small numbers: which tools, prompts or servers a permit set covers.

/// A bitset whose size is fixed when it is made; asking beyond it answers no.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bits {
    words: Box<[u64]>,
}

impl Bits {
    /// An empty set over `0..size`.
    pub fn new(size: usize) -> Self {
        Self {
            words: vec![0; size.div_ceil(64)].into_boxed_slice(),
        }
    }

    /// Adds `n`; numbers beyond the size are ignored.
    pub fn insert(&mut self, n: usize) {
        if let Some(word) = self.words.get_mut(n / 64) {
            *word |= 1 << (n % 64);
        }
    }

    /// Whether `n` is in the set.
    pub fn contains(&self, n: usize) -> bool {
        self.words
            .get(n / 64)
            .is_some_and(|word| word & (1 << (n % 64)) != 0)
    }

    /// Adds everything in `other`, which has the same size.
    pub fn union(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The numbers in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    at * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(a in prop::collection::btree_set(0usize..300, 0..50), b in prop::collection::btree_set(0usize..300, 0..50)) {
            let make = |s: &BTreeSet<usize>| {
                let mut bits = Bits::new(300);
                s.iter().for_each(|n| bits.insert(*n));
                bits
            };
            let (mut x, y) = (make(&a), make(&b));
            x.union(&y);
            let all: BTreeSet<usize> = a.union(&b).copied().collect();
            prop_assert_eq!(x.count(), all.len());
            prop_assert_eq!(x.iter().collect::<Vec<_>>(), all.iter().copied().collect::<Vec<_>>());
            prop_assert!((0..400).all(|n| x.contains(n) == all.contains(&n)));
        }
    }
}
