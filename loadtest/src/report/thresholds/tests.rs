//! Rules as people write and mistype them, and how runs stand to them.

use hdrhistogram::Histogram;
use proptest::prelude::*;

use super::{
    Bound, Clock, Comparison, Figure, Point, Scope, Threshold, judge, judge_against, parse, parse_all,
};
use crate::report::model::{Headroom, Judged, Latency, Operation, Outcome, Report, Saturation, Stage};

fn outcome(micros: u64, ok: u64, failed: u64) -> Outcome {
    let mut counted = Histogram::<u64>::new(3).expect("three digits");
    counted.record_n(micros * 1_000, ok).expect("recorded");
    let errors = if failed == 0 {
        [].into()
    } else {
        [("timeout".to_owned(), failed)].into()
    };
    Outcome {
        due: ok + failed,
        ok,
        errors,
        latency: Latency::of(&counted),
        service: Latency::of(&counted),
        ..Outcome::default()
    }
}

fn operation(name: &str, method: &str, subject: Option<&str>, outcome: Outcome) -> Operation {
    Operation {
        name: name.into(),
        method: method.into(),
        subject: subject.map(str::to_owned),
        outcome,
    }
}

/// 10 s: 900 fast echoes, 100 slow lists, two failures among the echoes.
pub(in crate::report) fn run() -> Report {
    let operations = vec![
        operation("ask", "tools/call", Some("echo"), outcome(200, 400, 2)),
        operation("ask again", "tools/call", Some("echo"), outcome(400, 500, 0)),
        operation("list", "tools/list", None, outcome(8_000, 100, 0)),
    ];
    let mut total = Outcome::default();
    for one in &operations {
        total.absorb(&one.outcome).expect("readable");
    }
    let stage = |from_s, to_s, outcome| Stage {
        answered_per_s: 0.0,
        load: "100/s".into(),
        offered_per_s: Some(100.0),
        from_s,
        to_s,
        outcome,
    };
    Report {
        format: 1,
        label: "a run".into(),
        target: "http://127.0.0.1/mcp".into(),
        started_unix: 0.0,
        generator: "test".into(),
        scenario: String::new(),
        warmup_s: 0.0,
        measured_s: 10.0,
        total,
        operations,
        stages: vec![
            stage(0.0, 5.0, outcome(300, 500, 0)),
            stage(5.0, 10.0, outcome(500, 500, 2)),
        ],
        timeline: Vec::new(),
        saturation: Some(Saturation {
            sustained_per_s: 30_000.0,
            peak_per_s: 31_000.0,
            conditions: "p99 < 10ms".into(),
            ended: "found".into(),
        }),
        headroom: Headroom::default(),
        thresholds: Vec::new(),
    }
}

fn judged(rule: &str, report: &Report) -> Judged {
    let rules = parse_all(&[rule]).unwrap_or_else(|bad| panic!("{rule}: {}", bad[0]));
    judge(&rules, report).pop().expect("one row")
}

#[test]
fn rules_hold_or_not() {
    let table = [
        ("p50 < 401us", true),
        ("p50 < 0.3 ms", false),
        ("p99 <= 8.1ms", true),
        ("p99.95 < 1ms", false),
        ("max < 1s", true),
        ("min > 100us", true),
        ("mean >= 1 ms", true),
        ("service p50 < 500µs", true),
        ("latency p50 < 500us", true),
        ("errors < 0.2%", true),
        ("errors < 0.1%", false),
        ("errors == 0", false),
        ("errors <= 2", true),
        ("errors:timeout == 2", true),
        ("errors:reset == 0", true),
        ("rate >= 100/s", true),
        ("rate > 1_000/s", false),
        ("saturation >= 30000/s", true),
        ("tool:echo p99 < 500us", true),
        ("tool:echo rate >= 90/s", true),
        ("tool:echo errors == 2", true),
        ("method:tools/list p50 > 7ms", true),
        ("operation:list errors == 0", true),
        ("operation:\"ask again\" min >= 399us", true),
        ("stage:1 errors == 0", true),
        ("stage:2 errors == 0", false),
        ("stage:2 rate >= 100/s", true),
    ];
    let report = run();
    for (rule, held) in table {
        let row = judged(rule, &report);
        assert_eq!(row.held, held, "{rule}: saw {}", row.seen);
        assert_eq!(row.rule, rule);
    }
}

#[test]
fn what_was_not_measured_does_not_hold_and_says_why() {
    let mut report = run();
    report.saturation = None;
    for (rule, why) in [
        ("saturation >= 1/s", "no saturation"),
        ("first p50 < 1s", "no answer streamed"),
        ("tool:ech0 p99 < 1s", "echo"),
        ("method:prompts/list p99 < 1s", "tools/call, tools/list"),
        ("operation:x p99 < 1s", "ask, ask again, list"),
        ("stage:3 p99 < 1s", "2 stages"),
    ] {
        let row = judged(rule, &report);
        assert!(!row.held && row.seen.contains(why), "{rule}: {row:?}");
    }
    report.total = Outcome::default();
    report.measured_s = 0.0;
    for rule in ["p99 < 1s", "errors == 0", "errors < 1%", "rate >= 0/s"] {
        assert!(!judged(rule, &report).held, "{rule} held over nothing");
    }
}

#[test]
fn ratios_are_held_against_another_run() {
    let (first, mut slower) = (run(), run());
    for operation in &mut slower.operations {
        operation.outcome = outcome(600, operation.outcome.ok, 0);
    }
    slower.total = outcome(600, 1_000, 4);
    let held = |rule: &str| {
        let rules = parse_all(&[rule]).expect("a rule");
        judge_against(&rules, &slower, &first).pop().expect("one row")
    };
    for (rule, holds) in [
        ("p50 <= 1.6x", true),
        ("p50 <= 1.4x", false),
        ("p99 < 1x", true),
        ("tool:echo p50 < 1.1×", false),
        ("errors <= 1.5x", false),
        ("errors <= 2.1x", true),
        ("errors:reset <= 1x", true),
        ("rate >= 0.95x", true),
        ("saturation >= 1x", true),
    ] {
        let row = held(rule);
        assert_eq!(row.held, holds, "{rule}: saw {}", row.seen);
        assert!(row.seen.contains(" against "), "{}", row.seen);
    }
    assert!(
        held("p50 <= 1.6x").seen.starts_with("1.50×: "),
        "{}",
        held("p50 <= 1.6x").seen
    );
    let alone = judged("p50 <= 1.6x", &slower);
    assert!(
        !alone.held && alone.seen.contains("report FIRST.json"),
        "{}",
        alone.seen
    );
}

#[test]
fn a_run_that_its_generator_limited_fails_whatever_it_shows() {
    let mut report = run();
    report.headroom.limited = true;
    report.headroom.reason = "a thread was busy 98 % of the time".into();
    let rows = judge(&[], &report);
    assert_eq!(rows.len(), 1);
    assert!(!rows[0].held && rows[0].seen.contains("98 %"), "{rows:?}");
}

#[test]
fn mistakes_say_where_and_what_would_be_right() {
    for (rule, column, says) in [
        ("", 1, "a figure is missing"),
        ("p99", 4, "<, <=, >, >= or =="),
        ("p99 = 5ms", 5, "<, <=, >, >= or =="),
        ("p99 < 5", 8, "ns, us, ms or s"),
        ("p99 < 5m", 8, "`m` is no unit of time"),
        ("p99 < fast", 7, "a number must follow"),
        ("p99 < 5ms please", 11, "nothing may follow"),
        ("p100 < 5ms", 1, "write max"),
        ("p0 < 5ms", 1, "min"),
        ("p9x < 5ms", 1, "no percentile"),
        ("pinf < 5ms", 1, "no percentile"),
        ("latencies < 5ms", 1, "`latencies` is no figure"),
        ("service rate < 5ms", 9, "a percentile"),
        ("errors < 1.5", 10, "whole"),
        ("errors < 101%", 10, "at most 100%"),
        ("errors < 5ms", 11, "no unit of failures"),
        ("rate > 5", 9, "/s"),
        ("rate > 5/m", 9, "write /s"),
        ("tool: p99 < 5ms", 6, "without a space"),
        ("tool:\"a p99 < 5ms", 6, "not closed"),
        ("stage:0 p99 < 5ms", 7, "from 1"),
        ("stage:x p99 < 5ms", 7, "from 1"),
        ("stage:1 tool:a p99 < 5ms", 9, "narrowed once"),
        ("tool:a saturation > 5/s", 8, "no narrowing"),
        ("größe < 5ms", 1, "`größe` is no figure"),
    ] {
        let bad = parse(rule).expect_err(rule);
        assert_eq!(bad.column, column, "{bad}");
        assert!(bad.reason.contains(says), "{bad}");
    }
    let all = parse_all(&["p99 < 5", "p50 < 5ms", "rate > 5"]).expect_err("two mistakes");
    assert_eq!(all.len(), 2);
    assert!(
        parse_all(&vec!["p50 < 5ms"; 201]).expect_err("too many")[0]
            .reason
            .contains("at most")
    );
}

fn scopes() -> impl Strategy<Value = Scope> {
    // Any name but one with a quotation mark can be written; empty names are not names.
    let name = "[^\"]{1,20}";
    prop_oneof![
        Just(Scope::All),
        name.prop_map(Scope::Operation),
        name.prop_map(Scope::Tool),
        name.prop_map(Scope::Method),
        (1usize..1_000).prop_map(Scope::Stage),
    ]
}

fn times() -> impl Strategy<Value = Figure> {
    let clock = prop_oneof![Just(Clock::Latency), Just(Clock::Service), Just(Clock::First)];
    let point = prop_oneof![
        Just(Point::Min),
        Just(Point::Mean),
        Just(Point::Max),
        (1u32..100_000).prop_map(|milli| Point::Percentile(f64::from(milli) / 1_000.0)),
    ];
    (clock, point).prop_map(|(clock, point)| Figure::Time(clock, point))
}

fn demands() -> impl Strategy<Value = (Scope, Figure, Bound)> {
    let kind = proptest::option::of("[a-z_0-9-]{1,12}");
    prop_oneof![
        (scopes(), times(), 0u32..10_000_000).prop_map(|(scope, figure, micros)| (
            scope,
            figure,
            Bound::Time(f64::from(micros) / 8.0)
        )),
        (scopes(), kind, 0u64..1_000_000).prop_map(|(scope, kind, count)| (
            scope,
            Figure::Errors(kind),
            Bound::Count(count)
        )),
        (scopes(), 0u32..1_000_000).prop_map(|(scope, rate)| (
            scope,
            Figure::Rate,
            Bound::PerSecond(f64::from(rate) / 8.0)
        )),
        (0u32..1_000_000).prop_map(|rate| (
            Scope::All,
            Figure::Saturation,
            Bound::PerSecond(f64::from(rate))
        )),
    ]
}

fn comparisons() -> impl Strategy<Value = Comparison> {
    prop_oneof![
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::Equal),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read((scope, figure, bound) in demands(), comparison in comparisons()) {
        let mut meant = Threshold { scope, figure, comparison, bound, rule: String::new() };
        meant.rule = meant.to_string();
        let read = parse(&meant.rule).map_err(|bad| TestCaseError::fail(bad.to_string()))?;
        prop_assert_eq!(read, meant);
    }

    #[test]
    fn any_text_is_a_rule_or_a_mistake_inside_it(text in ".{0,80}") {
        if let Err(bad) = parse(&text) {
            prop_assert!(bad.column >= 1 && bad.column <= text.chars().count() + 1);
        }
    }

    #[test]
    fn nearly_a_rule_is_a_rule_or_a_mistake(text in "(tool:|stage:|method:\"|)[a-z0-9µ\"]{0,4} ?(service |first |)(p9|p99|max|errors|errors:|rate|saturation|)[ .]?(<|<=|==|)[ ]?[0-9._]{0,4}(ms|us|%|/s|µ|)") {
        let _ = parse(&text);
    }
}
