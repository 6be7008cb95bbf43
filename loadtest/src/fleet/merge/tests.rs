//! Merging: the percentiles of the whole are those of all calls together.

use super::*;
use crate::report::model::{Latency, Outcome};
use hdrhistogram::Histogram;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

const QUANTILES: [f64; 7] = [0.0, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0];

fn histogram(values: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds");
    for value in values {
        histogram.record(*value).expect("in bounds");
    }
    histogram
}

fn outcome(values: &[u64], errors: &[(&str, u64)]) -> Outcome {
    let latency = Latency::of(&histogram(values));
    Outcome {
        due: values.len() as u64 + errors.iter().map(|(_, n)| n).sum::<u64>(),
        ok: values.len() as u64,
        errors: errors.iter().map(|(kind, n)| ((*kind).to_owned(), *n)).collect(),
        bytes_out: 10,
        bytes_in: 20,
        service: latency.clone(),
        latency,
        first_event: None,
    }
}

pub(in crate::fleet) fn report(values: &[u64], errors: &[(&str, u64)]) -> Report {
    let outcome = outcome(values, errors);
    let json = serde_json::json!({
        "format": FORMAT, "label": "test", "target": "http://a/mcp", "started_unix": 1000.0,
        "generator": "ringway-loadtest 0", "scenario": "", "warmup_s": 1.0, "measured_s": 10.0,
        "total": outcome,
        "operations": [{ "name": "echo", "method": "tools/call", "subject": "echo", "outcome": outcome }],
        "stages": [{ "load": "500/s", "offered_per_s": 500.0, "answered_per_s": 490.0, "from_s": 0.0, "to_s": 10.0, "outcome": outcome }],
        "timeline": [
            { "at_s": 0.001, "due": 5, "ok": 4, "failed": 1, "p50": 100.0, "p99": 200.0, "max": 300.0,
              "in_flight": 2, "connections": 8 },
        ],
        "headroom": {
            "threads": 2, "busiest_thread": 0.5, "lateness": Latency::of(&histogram(values)), "limited": false,
            "reason": "",
        },
    });
    serde_json::from_value(json).expect("a report")
}

/// Latencies of very different generators: one fast, one slow, one with a long tail.
fn samples() -> Vec<Vec<u64>> {
    let mut random = SmallRng::seed_from_u64(3);
    let mut draw = |n: usize, from: u64, to: u64| -> Vec<u64> {
        (0..n).map(|_| random.random_range(from..to)).collect()
    };
    let mut tail = draw(500, 50_000, 90_000);
    tail.extend(draw(20, 1_000_000_000, 3_000_000_000));
    vec![
        draw(5_000, 100_000, 400_000),
        draw(900, 2_000_000, 9_000_000),
        tail,
    ]
}

#[test]
fn merged_percentiles_are_those_of_all_calls_together() {
    let samples = samples();
    let parts: Vec<(String, Report)> = samples
        .iter()
        .enumerate()
        .map(|(n, values)| (format!("g{n}:1"), report(values, &[("timeout", 2)])))
        .collect();
    let all = merge(&parts).expect("merges");
    let union = histogram(&samples.concat());
    let merged = [
        &all.total.latency,
        &all.total.service,
        &all.operations[0].outcome.latency,
        &all.stages[0].outcome.latency,
        &all.headroom.lateness,
    ];
    for latency in merged {
        assert_eq!(latency.count, union.len());
        let histogram = latency.histogram().expect("readable").expect("not empty");
        for quantile in QUANTILES {
            assert_eq!(
                histogram.value_at_quantile(quantile),
                union.value_at_quantile(quantile),
                "{quantile}"
            );
        }
        let figures = Latency::of(&union);
        assert_eq!(
            (
                latency.p50,
                latency.p90,
                latency.p99,
                latency.p999,
                latency.min,
                latency.max
            ),
            (
                figures.p50,
                figures.p90,
                figures.p99,
                figures.p999,
                figures.min,
                figures.max
            )
        );
        assert!((latency.mean - figures.mean).abs() < 1e-6 * figures.mean);
    }
    assert_eq!(
        (all.total.ok, all.total.failed(), all.total.bytes_in),
        (union.len(), 6, 60)
    );
    assert_eq!((all.headroom.threads, all.headroom.limited), (6, false));
    assert_eq!(all.stages[0].offered_per_s, Some(1500.0));
    assert!((all.stages[0].answered_per_s - 1470.0).abs() < 1e-9);
    assert_eq!(all.stages[0].load, figures::rate(1500.0));
    assert_eq!(all.generator, "ringway-loadtest 0 × 3 generators");
}

#[test]
fn seconds_are_added_by_their_place_and_a_limited_generator_is_named() {
    let mut one = report(&[1_000], &[]);
    let mut two = report(&[2_000], &[]);
    two.timeline[0].at_s = -0.02;
    two.timeline[0].p50 = 400.0;
    two.timeline[0].ok = 12;
    let mut late = two.timeline[0].clone();
    late.at_s = 1.01;
    two.timeline.push(late);
    two.headroom.limited = true;
    two.headroom.reason = "its core was full".to_owned();
    one.stages[0].offered_per_s = None;
    two.stages[0].offered_per_s = None;
    one.stages[0].load = "32 callers".to_owned();
    two.stages[0].load = "31 callers".to_owned();
    let all = merge(&[("a:1".to_owned(), one), ("b:1".to_owned(), two)]).expect("merges");
    assert_eq!(all.timeline.len(), 2);
    let first = &all.timeline[0];
    assert_eq!(
        (first.due, first.ok, first.failed, first.connections),
        (10, 16, 2, 16)
    );
    assert!((first.p50 - 325.0).abs() < 1e-9, "{}", first.p50);
    assert!(all.headroom.limited);
    assert_eq!(all.headroom.reason, "b:1: its core was full");
    assert_eq!(all.stages[0].load, "63 callers");
}

#[test]
fn one_report_stays_as_it_is() {
    let one = report(&samples()[0], &[("reset", 1)]);
    let all = merge(&[("a:1".to_owned(), one.clone())]).expect("merges");
    assert_eq!(
        serde_json::to_value(&all).expect("JSON"),
        serde_json::to_value(&one).expect("JSON")
    );
    assert!(matches!(merge(&[]), Err(MergeError::None)));
}

#[test]
fn reports_of_different_runs_are_not_one() {
    let one = report(&[1], &[]);
    let mut renamed = one.clone();
    renamed.operations[0].name = "other".to_owned();
    let mut staged = one.clone();
    staged.stages.clear();
    let mut newer = one.clone();
    newer.format = FORMAT + 1;
    let mut torn = one.clone();
    torn.total.latency.hdr = "!".to_owned();
    for (other, word) in [
        (renamed, "operations"),
        (staged, "stages"),
        (newer, "formats"),
        (torn, "base64"),
    ] {
        let why = merge(&[("a:1".to_owned(), one.clone()), ("b:1".to_owned(), other)]).expect_err(word);
        assert!(
            why.to_string().contains("b:1") && why.to_string().contains(word),
            "{why}"
        );
    }
}

#[test]
fn runs_after_each_other_keep_their_places_and_all_their_calls() {
    let samples = samples();
    let runs: Vec<Report> = samples
        .iter()
        .enumerate()
        .map(|(n, values)| Report {
            started_unix: 1000.0 + 12.0 * n as f64,
            ..report(values, &[])
        })
        .collect();
    let all = concatenate(runs).expect("one after another");
    let places: Vec<(f64, f64)> = all
        .stages
        .iter()
        .map(|stage| (stage.from_s, stage.to_s))
        .collect();
    assert_eq!(places, [(0.0, 10.0), (12.0, 22.0), (24.0, 34.0)]);
    assert!((all.timeline[2].at_s - 24.001).abs() < 1e-9 && (all.measured_s - 30.0).abs() < 1e-9);
    let union = histogram(&samples.concat());
    assert_eq!(
        all.total
            .latency
            .histogram()
            .expect("readable")
            .expect("not empty"),
        union
    );
    assert!(matches!(concatenate(Vec::new()), Err(MergeError::None)));
}
