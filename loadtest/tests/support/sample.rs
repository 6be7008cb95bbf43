//! Reports as runs leave them, made from a seed: what pages, tables and pushes are tried on.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

use std::{collections::BTreeMap, sync::Mutex};

use hdrhistogram::Histogram;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, LogNormal};
use ringway_loadtest::report::{
    model::{FORMAT, Headroom, Judged, Latency, Moment, Operation, Outcome, Report, Saturation, Stage},
    thresholds,
};

/// What the target of a made-up run is like.
#[derive(Clone, Copy)]
pub struct Target {
    pub label: &'static str,
    /// Median of the fast way, µs.
    pub median_us: f64,
    /// Calls a second it can answer.
    pub capacity_per_s: f64,
    /// The second in which it stalls for most of it, if any.
    pub stalls_at: Option<i32>,
    pub seed: u64,
}

pub const RINGWAY: Target = Target {
    label: "ringway",
    median_us: 310.0,
    capacity_per_s: 31_000.0,
    stalls_at: None,
    seed: 1,
};
pub const NGINX: Target = Target {
    label: "nginx, plain reverse proxy",
    median_us: 290.0,
    capacity_per_s: 30_000.0,
    stalls_at: None,
    seed: 2,
};
pub const OTHER: Target = Target {
    label: "another gateway",
    median_us: 1_150.0,
    capacity_per_s: 5_200.0,
    stalls_at: Some(31),
    seed: 3,
};

const WARMUP_S: i32 = 5;
const MEASURED_S: i32 = 60;

struct Counted {
    latency: Histogram<u64>,
    service: Histogram<u64>,
    failed: BTreeMap<String, u64>,
}

impl Counted {
    fn new() -> Self {
        let histogram = || Histogram::<u64>::new(3).expect("three digits");
        Self {
            latency: histogram(),
            service: histogram(),
            failed: BTreeMap::new(),
        }
    }

    fn call(&mut self, latency_us: f64, service_us: f64) {
        self.latency.record((latency_us * 1e3) as u64).expect("recorded");
        self.service.record((service_us * 1e3) as u64).expect("recorded");
    }

    fn outcome(&self) -> Outcome {
        let ok = self.latency.len();
        Outcome {
            due: ok + self.failed.values().sum::<u64>(),
            ok,
            errors: self.failed.clone(),
            bytes_out: ok * 412,
            bytes_in: ok * 655,
            latency: Latency::of(&self.latency),
            service: Latency::of(&self.service),
            first_event: None,
        }
    }
}

fn empty(target: Target) -> Report {
    Report {
        format: FORMAT,
        label: target.label.into(),
        target: "http://127.0.0.1:8080/mcp".into(),
        started_unix: 1_795_183_509.0,
        generator: "ringway-loadtest 0.1.0".into(),
        scenario: "target = \"http://127.0.0.1:8080/mcp\"\nwarmup = \"5s\"\n\n[load]\nrate = \"2000/s\"\nduration = \"60s\"\n\n[[operation]]\nname = \"echo\"\nweight = 8\ncall = \"tools/call\"\ntool = \"echo\"\n".into(),
        warmup_s: f64::from(WARMUP_S),
        measured_s: f64::from(MEASURED_S),
        total: Outcome::default(),
        operations: Vec::new(),
        stages: Vec::new(),
        timeline: Vec::new(),
        saturation: None,
        headroom: Headroom { threads: 1, busiest_thread: 0.34, limited: false, ..Headroom::default() },
        thresholds: Vec::new(),
    }
}

/// A minute at a constant rate, three operations. Made once for each target: a debug build takes seconds over it.
pub fn steady(target: Target) -> Report {
    static MADE: Mutex<BTreeMap<u64, Report>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("no test panics in here");
    made.entry(target.seed)
        .or_insert_with(|| make_steady(target))
        .clone()
}

fn make_steady(target: Target) -> Report {
    const RATE: i32 = 2_000;
    let mut random = SmallRng::seed_from_u64(target.seed);
    let mut report = empty(target);
    let kinds = [
        ("echo", "tools/call", Some("echo"), 1.0, 8),
        ("search", "tools/call", Some("search"), 2.4, 1),
        ("list", "tools/list", None, 0.7, 1),
    ];
    let (mut all, mut each) = (Counted::new(), kinds.map(|_| Counted::new()));
    let mut late = Histogram::<u64>::new(3).expect("three digits");
    for second in -WARMUP_S..MEASURED_S {
        let mut moment = Moment {
            at_s: f64::from(second),
            connections: 64,
            ..Moment::default()
        };
        let mut now = Histogram::<u64>::new(3).expect("three digits");
        let cold = if second < -WARMUP_S + 2 { 3.0 } else { 1.0 };
        for nth in 0..RATE + random.random_range(-30..30) {
            moment.due += 1;
            let kind = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2][random.random_range(0..10usize)];
            let body = LogNormal::new((target.median_us * kinds[kind].3 * cold).ln(), 0.22).expect("a shape");
            let mut service: f64 = body.sample(&mut random);
            if random.random_bool(0.004) {
                service += random.random_range(1_500.0..9_000.0);
            }
            // A stall holds the calls of that second, which end when it does: latency sees it, service only in part.
            let stalled = target.stalls_at == Some(second);
            let waited = if stalled {
                (1_000_000.0 - f64::from(nth) * 1e6 / f64::from(RATE)).max(0.0)
            } else {
                0.0
            };
            let latency = service + waited + random.random_range(2.0..30.0);
            if stalled {
                service += waited.min(180_000.0);
            }
            late.record(random.random_range(1_500..40_000)).expect("recorded");
            if random.random_bool(0.000_2) {
                moment.failed += 1;
                if second >= 0 {
                    let kind_of = if random.random_bool(0.7) {
                        "http_503"
                    } else {
                        "timeout"
                    };
                    *all.failed.entry(kind_of.into()).or_insert(0) += 1;
                    *each[kind].failed.entry(kind_of.into()).or_insert(0) += 1;
                }
                continue;
            }
            moment.ok += 1;
            now.record((latency * 1e3) as u64).expect("recorded");
            if second >= 0 {
                all.call(latency, service);
                each[kind].call(latency, service);
            }
        }
        let brief = Latency::of(&now);
        (moment.p50, moment.p99, moment.max) = (brief.p50, brief.p99, brief.max);
        moment.in_flight = if target.stalls_at == Some(second) {
            1_400
        } else {
            random.random_range(0..4)
        };
        report.timeline.push(moment);
    }
    report.total = all.outcome();
    report.operations = kinds
        .iter()
        .zip(&each)
        .map(|((name, method, subject, ..), counted)| Operation {
            name: (*name).into(),
            method: (*method).into(),
            subject: subject.map(Into::into),
            outcome: counted.outcome(),
        })
        .collect();
    report.stages = vec![Stage {
        answered_per_s: 0.0,
        load: format!("{RATE}/s"),
        offered_per_s: Some(f64::from(RATE)),
        from_s: 0.0,
        to_s: f64::from(MEASURED_S),
        outcome: report.total.clone(),
    }];
    report.headroom.lateness = Latency::of(&late);
    let rules = [
        "p99 < 10ms",
        "service p50 < 2ms",
        "errors < 0.1%",
        "tool:search p50 < 500us",
        "rate >= 1900/s",
    ];
    report.thresholds = thresholds::judge(&thresholds::parse_all(&rules).expect("rules"), &report);
    report
}

/// A search for the highest rate that the target bears.
pub fn search(target: Target) -> Report {
    let mut random = SmallRng::seed_from_u64(target.seed);
    let mut report = empty(target);
    let mut all = Counted::new();
    let shares = [0.1, 0.2, 0.4, 0.6, 0.8, 1.1, 0.95, 1.02, 0.99];
    const STAGE_S: i32 = 10;
    for (nth, share) in shares.into_iter().enumerate() {
        let offered = (target.capacity_per_s * share / 100.0).round() * 100.0;
        let mut stage = Counted::new();
        let (from, over) = (i32::try_from(nth).expect("few") * STAGE_S, share > 1.0);
        let wait = 1.0 / (1.02 - share.min(1.0));
        for second in from..from + STAGE_S {
            let queue = if over {
                f64::from(second - from + 1) * 60_000.0
            } else {
                0.0
            };
            let body = LogNormal::new((target.median_us * (1.0 + wait * 0.08)).ln(), 0.25 + wait * 0.01)
                .expect("a shape");
            let mut now = Histogram::<u64>::new(3).expect("three digits");
            for _ in 0..400 {
                let service: f64 = body.sample(&mut random);
                let latency = service + queue * random.random_range(0.8..1.2);
                now.record((latency * 1e3) as u64).expect("recorded");
                stage.call(latency, service);
                all.call(latency, service);
            }
            let brief = Latency::of(&now);
            report.timeline.push(Moment {
                at_s: f64::from(second),
                due: offered as u64,
                ok: offered.min(target.capacity_per_s) as u64,
                failed: if over { random.random_range(0..90) } else { 0 },
                p50: brief.p50,
                p99: brief.p99,
                max: brief.max,
                in_flight: if over { 900 } else { 12 },
                connections: 64,
            });
        }
        let mut outcome = stage.outcome();
        outcome.due = (offered * f64::from(STAGE_S)) as u64;
        outcome.ok =
            (offered.min(target.capacity_per_s * random.random_range(0.97..1.0)) * f64::from(STAGE_S)) as u64;
        report.stages.push(Stage {
            answered_per_s: 0.0,
            load: format!("{offered}/s"),
            offered_per_s: Some(offered),
            from_s: f64::from(from),
            to_s: f64::from(from + STAGE_S),
            outcome,
        });
    }
    report.measured_s = f64::from(STAGE_S) * shares.len() as f64;
    report.warmup_s = 0.0;
    report.total = all.outcome();
    report.total.due = report.stages.iter().map(|s| s.outcome.due).sum();
    report.total.ok = report.stages.iter().map(|s| s.outcome.ok).sum();
    report.operations = vec![Operation {
        name: "echo".into(),
        method: "tools/call".into(),
        subject: Some("echo".into()),
        outcome: report.total.clone(),
    }];
    report.saturation = Some(Saturation {
        sustained_per_s: (target.capacity_per_s * 0.99 / 100.0).round() * 100.0,
        peak_per_s: target.capacity_per_s,
        conditions: "p99 < 10 ms, failures < 0.1 %, answered ≥ 99 % of due".into(),
        ended: "found".into(),
    });
    report.headroom.busiest_thread = 0.81;
    report
}

/// Everything that comes from elsewhere, written to do harm.
pub fn hostile() -> Report {
    let harm = |n: u32| {
        format!(
            "</script></style></title>\"'><img src=x onerror=\"window.harmed={n}\"><svg/onload=harm()>&lt;\u{202e}|`\n"
        )
    };
    let mut report = steady(RINGWAY);
    report.label = harm(1);
    report.target = harm(2);
    report.generator = harm(3);
    report.scenario = harm(4);
    report.headroom.limited = true;
    report.headroom.reason = harm(5);
    for operation in &mut report.operations {
        operation.name = harm(6);
        operation.method = harm(7);
        operation.subject = Some(harm(8));
    }
    let mut more = report.stages[0].clone();
    more.offered_per_s = Some(3_000.0);
    report.stages.push(more);
    for stage in &mut report.stages {
        stage.load = harm(9);
    }
    report.total.errors.insert(harm(10), 3);
    report.thresholds = vec![Judged {
        rule: harm(11),
        seen: harm(12),
        held: false,
    }];
    report.saturation = Some(Saturation {
        sustained_per_s: f64::NAN,
        peak_per_s: f64::INFINITY,
        conditions: harm(13),
        ended: harm(14),
    });
    report
}
