//! What the benchmarks and the instruction counts share: a corpus of real messages ([`corpus`]) and the pieces of
//! work done on it ([`work`]). Side-by-side runs are in the binary; they take the data plane as a black box.

pub mod corpus;
pub mod work;
