//! State that calls share, each kind beside its alternatives: where a key is looked up, where the snapshot hangs,
//! where the time comes from, where a duration goes.
//!
//! `alone` is one thread; `beside` has a second thread doing the same all the time, which is what a shared structure
//! costs on a machine with more than one worker. A worker's own structure has no `beside`: nobody else is there.

#![allow(missing_docs, reason = "criterion_group makes a public function")]
#![allow(clippy::expect_used, reason = "a benchmark that fails must not be timed")]

mod common;

use arc_swap::{ArcSwap, Cache};
use criterion::{Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use hdrhistogram::Histogram;
use std::{
    cell::Cell,
    collections::HashMap,
    hint::black_box,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Instant, SystemTime},
};

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = keys, snapshot, clock, histogram
}
criterion_main!(benches);

/// Keys of a busy worker; a power of two, so that taking the next one costs nothing.
const KEYS: usize = 1_024;

/// As a digest's first bytes are: spread over the whole range.
fn key(n: usize) -> u64 {
    (n as u64 % KEYS as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Times `look` alone, and with another thread doing the same.
fn alone_and_beside(c: &mut Criterion, name: &str, look: impl Fn(usize) -> bool + Sync) {
    let timed = |c: &mut Criterion, how: &str| {
        let mut n = 0;
        c.bench_function(&format!("{name}/{how}"), |b| {
            b.iter(|| {
                n += 1;
                black_box(look(n))
            });
        });
    };
    timed(c, "alone");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = KEYS / 2;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                black_box(look(n));
            }
        });
        timed(c, "beside");
        stop.store(true, Ordering::Relaxed);
    });
}

/// Finding a principal by the digest of its key. The snapshot's table is a `HashMap` that nobody writes.
fn keys(c: &mut Criterion) {
    let entries = || (0..KEYS).map(|n| (key(n), Arc::new(n)));
    let table: HashMap<u64, Arc<usize>> = entries().collect();
    alone_and_beside(c, "keys/snapshot_hashmap", |n| table.contains_key(&key(n)));
    let moka: moka::sync::Cache<u64, Arc<usize>> = moka::sync::Cache::new(4 * KEYS as u64);
    entries().for_each(|(key, value)| moka.insert(key, value));
    moka.run_pending_tasks();
    alone_and_beside(c, "keys/moka", |n| moka.get(&key(n)).is_some());
    let dash: DashMap<u64, Arc<usize>> = entries().collect();
    alone_and_beside(c, "keys/dashmap", |n| dash.get(&key(n)).is_some());
    let locked = RwLock::new(entries().collect::<HashMap<_, _>>());
    alone_and_beside(c, "keys/rwlock_hashmap", |n| {
        locked.read().expect("sound").contains_key(&key(n))
    });
}

/// Reaching the live snapshot. A worker has a cache of its own; the others are what a shared one would cost.
fn snapshot(c: &mut Criterion) {
    let live = Arc::new(ArcSwap::from_pointee([7usize; 32]));
    let mut cache = Cache::new(Arc::clone(&live));
    let mut n = 0;
    c.bench_function("snapshot/arc_swap_cache", |b| {
        b.iter(|| {
            n += 1;
            black_box(cache.load()[n % 32])
        });
    });
    alone_and_beside(c, "snapshot/arc_swap_load", |n| live.load()[n % 32] == 7);
    alone_and_beside(c, "snapshot/arc_swap_load_full", |n| {
        live.load_full()[n % 32] == 7
    });
    let mutex = Mutex::new(live.load_full());
    alone_and_beside(c, "snapshot/mutex_clone", |n| {
        let live = mutex.lock().expect("sound").clone();
        live[n % 32] == 7
    });
}

fn clock(c: &mut Criterion) {
    c.bench_function("clock/std_instant", |b| b.iter(|| black_box(Instant::now())));
    c.bench_function("clock/std_system_time", |b| {
        b.iter(|| black_box(SystemTime::now()))
    });
    let quanta = quanta::Clock::new();
    c.bench_function("clock/quanta", |b| b.iter(|| black_box(quanta.now())));
    // Read once a turn of the loop, kept in a cell.
    let turn = Cell::new(Instant::now());
    c.bench_function("clock/of_the_turn", |b| b.iter(|| black_box(&turn).get()));
}

fn histogram(c: &mut Criterion) {
    // Microseconds up to an hour, as the data plane keeps them.
    let mut own = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 2).expect("bounds");
    let mut n = 0u64;
    c.bench_function("histogram/hdr_own", |b| {
        b.iter(|| {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            own.saturating_record(black_box(n >> 44));
        });
    });
    let buckets: Vec<AtomicU64> = (0..1_024).map(|_| AtomicU64::new(0)).collect();
    alone_and_beside(c, "histogram/shared_atomics", |n| {
        let value = n as u64 & 0xF_FFFF | 1;
        let (magnitude, below) = (value.ilog2() as usize, value << value.leading_zeros() >> 59 & 15);
        buckets[magnitude * 16 + below as usize].fetch_add(1, Ordering::Relaxed) < u64::MAX
    });
    let locked = Mutex::new(own.clone());
    alone_and_beside(c, "histogram/hdr_mutex", |n| {
        locked
            .lock()
            .expect("sound")
            .record(n as u64 & 0xF_FFFF | 1)
            .is_ok()
    });
}
