//! Reading and writing messages, each way beside its alternatives of the design card: our scanner, sonic-rs,
//! simd-json and serde_json on the envelope; our heads, bare httparse and httparse into `http`'s map; our events and
//! lines in turn; our splice and a tree that is written again.
//!
//! The readers do the same work: protocol, id, method, `params.name` and the progress token, with everything behind
//! them validated. What they refuse differs (`proto/tests/oracle.rs`), and that, not speed, is why ours is used.

#![allow(missing_docs, reason = "criterion_group makes a public function")]
#![allow(clippy::expect_used, reason = "a benchmark that fails must not be timed")]

mod common;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_bench::{
    corpus::{self, Client, documents},
    work,
};
use ringway_proto::{http1, rpc, sse};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, hint::black_box};

criterion_group! {
    name = benches;
    config = common::criterion();
    targets = envelope, request_head, events, rename, as_counted
}
criterion_main!(benches);

/// The envelope for sonic-rs: values that are not needed stay text.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is not used further")]
struct SonicEnvelope<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<sonic_rs::LazyValue<'a>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<SonicParams<'a>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is not used further")]
struct SonicParams<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<sonic_rs::LazyValue<'a>>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<sonic_rs::LazyValue<'a>>,
}

/// The same for serde_json.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is not used further")]
struct RawEnvelope<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<RawParams<'a>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what is read is not used further")]
struct RawParams<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

fn envelope(c: &mut Criterion) {
    let documents = [
        ("call_legacy", corpus::CALL_LEGACY.to_vec()),
        ("call_modern", corpus::CALL_MODERN.to_vec()),
        ("call_nested", corpus::CALL_NESTED.to_vec()),
        ("list_answer", corpus::LIST_FILES.to_vec()),
        ("text_64k", corpus::text_call(64 << 10)),
        ("rows_64k", corpus::rows_call(64 << 10)),
        ("text_1m", corpus::text_call(1 << 20)),
    ];
    let mut group = c.benchmark_group("envelope");
    for (name, doc) in &documents {
        group.throughput(Throughput::Bytes(doc.len() as u64));
        group.bench_with_input(BenchmarkId::new("ours", name), doc, |b, doc| {
            b.iter(|| black_box(rpc::scan(black_box(doc)).is_ok()));
        });
        group.bench_with_input(BenchmarkId::new("sonic_struct", name), doc, |b, doc| {
            b.iter(|| black_box(sonic_rs::from_slice::<SonicEnvelope<'_>>(black_box(doc)).is_ok()));
        });
        group.bench_with_input(BenchmarkId::new("serde_json_raw", name), doc, |b, doc| {
            b.iter(|| black_box(serde_json::from_slice::<RawEnvelope<'_>>(black_box(doc)).is_ok()));
        });
        // It reads in place, so a message that is to be passed on must be copied first.
        group.bench_with_input(BenchmarkId::new("simd_json_tape", name), doc, |b, doc| {
            let (mut copy, mut buffers) = (Vec::with_capacity(doc.len()), simd_json::Buffers::new(doc.len()));
            b.iter(|| {
                copy.clear();
                copy.extend_from_slice(black_box(doc));
                black_box(simd_json::to_tape_with_buffers(&mut copy, &mut buffers).is_ok())
            });
        });
        group.bench_with_input(BenchmarkId::new("serde_json_tree", name), doc, |b, doc| {
            b.iter(|| black_box(serde_json::from_slice::<serde_json::Value>(black_box(doc)).is_ok()));
        });
    }
    group.finish();
}

fn request_head(c: &mut Criterion) {
    let mut group = c.benchmark_group("request_head");
    for (name, client) in Client::ALL {
        let head = client.request(&documents::key_text(0), &"s".repeat(300), 285);
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_with_input(BenchmarkId::new("ours", name), &head, |b, head| {
            b.iter_batched_ref(
                || BytesMut::from(&head[..]),
                |buffer| black_box(http1::parse_request(buffer, http1::HeadLimits::default()).is_ok()),
                BatchSize::SmallInput,
            );
        });
        // Finds the pieces; decides nothing, lowers nothing, keeps nothing.
        group.bench_with_input(BenchmarkId::new("httparse_alone", name), &head, |b, head| {
            b.iter(|| {
                let mut fields = [httparse::EMPTY_HEADER; 64];
                black_box(httparse::Request::new(&mut fields).parse(black_box(head)).is_ok())
            });
        });
        // As hyper keeps a head.
        group.bench_with_input(BenchmarkId::new("httparse_into_map", name), &head, |b, head| {
            b.iter_batched(
                || Bytes::copy_from_slice(head),
                |head| black_box(into_map(&head).len()),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn into_map(head: &Bytes) -> http::HeaderMap {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head).expect("sound");
    let mut map = http::HeaderMap::with_capacity(request.headers.len());
    for field in request.headers.iter() {
        let name = http::HeaderName::from_bytes(field.name.as_bytes()).expect("a name");
        let value = http::HeaderValue::from_maybe_shared(head.slice_ref(field.value)).expect("a value");
        map.append(name, value);
    }
    map
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("events");
    let streams: [(&str, &'static [u8]); 2] = [("lf", corpus::PROGRESS_LF), ("crlf", corpus::PROGRESS_CRLF)];
    for (name, stream) in streams {
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(BenchmarkId::new("ours", name), |b| {
            b.iter(|| {
                let mut parser = sse::Parser::new(64 << 10);
                parser.push(Bytes::from_static(black_box(stream)));
                std::iter::from_fn(|| parser.next()).filter(Result::is_ok).count()
            });
        });
        // Each line an owned string, the data of an event joined: what most clients do.
        group.bench_function(BenchmarkId::new("lines_joined", name), |b| {
            b.iter(|| lines_joined(black_box(stream)));
        });
    }
    group.finish();
}

fn lines_joined(stream: &[u8]) -> usize {
    let (mut events, mut data) = (0, Vec::new());
    for line in String::from_utf8_lossy(stream).lines().map(str::to_owned) {
        if line.is_empty() && !data.is_empty() {
            black_box(std::mem::take(&mut data).join("\n"));
            events += 1;
        } else if let Some(text) = line.strip_prefix("data:") {
            data.push(text.trim_start().to_owned());
        }
    }
    events
}

/// A call under the name its server knows: one edit over the bytes, or a tree read, changed and written.
fn rename(c: &mut Criterion) {
    let mut group = c.benchmark_group("rename");
    let documents = [
        ("call_legacy", corpus::CALL_LEGACY.to_vec()),
        ("rows_64k", corpus::rows_call(64 << 10)),
    ];
    for (name, doc) in &documents {
        group.throughput(Throughput::Bytes(doc.len() as u64));
        let message = rpc::scan(doc).expect("sound");
        group.bench_with_input(BenchmarkId::new("splice", name), doc, |b, doc| {
            b.iter(|| {
                black_box(ringway_core::translate::request::renamed(doc, &message, corpus::TOOL).is_ok())
            });
        });
        group.bench_with_input(BenchmarkId::new("serde_json_tree", name), doc, |b, doc| {
            b.iter(|| {
                let mut tree: serde_json::Value = serde_json::from_slice(doc).expect("sound");
                tree["params"]["name"] = corpus::TOOL.into();
                black_box(serde_json::to_vec(&tree).is_ok())
            });
        });
        group.bench_with_input(BenchmarkId::new("sonic_tree", name), doc, |b, doc| {
            b.iter(|| {
                use sonic_rs::JsonValueMutTrait as _;
                let mut tree: sonic_rs::Value = sonic_rs::from_slice(doc).expect("sound");
                if let Some(name) = tree.pointer_mut(["params", "name"]) {
                    *name = sonic_rs::Value::copy_str(corpus::TOOL);
                }
                black_box(sonic_rs::to_vec(&tree).is_ok())
            });
        });
    }
    group.finish();
}

/// What has no alternative here, under the names of the instruction counts.
fn as_counted(c: &mut Criterion) {
    for work in work::all().filter(|w| w.name.starts_with("proto.")) {
        let mut once = (work.prepare)();
        c.bench_function(work.name, |b| b.iter(&mut once));
    }
}
