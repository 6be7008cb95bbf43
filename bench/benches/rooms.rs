//! The rooms of the pipeline one by one, all of them in a row, and what a snapshot costs to compile and to list, at
//! the size of a fleet: 100 servers, 10,000 tools, 1,000 roles. Names are those of the instruction counts.

#![allow(missing_docs, reason = "criterion_group makes a public function")]
#![allow(clippy::expect_used, reason = "a benchmark that fails must not be timed")]

mod common;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway_bench::{
    corpus::documents,
    work::{self, Fixture},
};
use ringway_core::{
    authenticate,
    catalogue::{self, List, View},
    limits::Limits,
    search,
    snapshot::{Scope, Snapshot},
};
use ringway_proto::{http::Headers, revision::Era};
use std::hint::black_box;

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = as_counted, lists, fleet
}
criterion_main!(benches);

fn as_counted(c: &mut Criterion) {
    for work in work::all().filter(|w| w.name.starts_with("core.")) {
        let mut once = (work.prepare)();
        c.bench_function(work.name, |b| b.iter(&mut once));
    }
}

/// A list of 27 tools: out of the worker's cache, or rendered for each request.
fn lists(c: &mut Criterion) {
    let f = Fixture::new();
    let (limits, mut cache) = (Limits::default(), catalogue::Cache::new());
    let view = || View {
        snapshot: &f.snapshot,
        principal: &f.principal,
        scope: Scope::Merged,
        era: Era::Legacy,
    };
    c.bench_function("list_27/cached", |b| {
        b.iter(|| black_box(cache.list(view(), List::Tools, None, &limits).is_ok()));
    });
    c.bench_function("list_27/rendered", |b| {
        b.iter(|| black_box(catalogue::list(view(), List::Tools, None, &limits).is_ok()));
    });
}

fn fleet(c: &mut Criterion) {
    let document = documents::fleet(100, 100, 1_000);
    let compile = || Snapshot::compile(&document, &|_| Err("no secrets here".to_owned())).expect("compiles");
    let mut group = c.benchmark_group("fleet_10k");
    // One takes about a second.
    group.sample_size(10);
    group.bench_function("compile", |b| b.iter(|| black_box(compile().tools.len())));
    let snapshot = compile();
    let mut headers = Headers::default();
    headers.push("x-api-key", documents::key_text(0));
    let principal = authenticate::principal(&snapshot, &headers, false, || 0).expect("known");
    group.bench_function("search", |b| {
        let permits = snapshot.permits(&principal);
        b.iter(|| black_box(search::search(&snapshot, permits, "create an issue in the tracker", 8).len()));
    });
    group.finish();
}
