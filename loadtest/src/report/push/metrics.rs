//! Which metrics there are, and their values. Names are an interface: they are added, never changed; the table in
//! `docs/loadtest.md` is held to this list by a test.

use crate::report::{
    figures,
    latency::BadHistogram,
    model::{Latency, Operation, Report},
    progress::{Buckets, OperationProgress, Phase, Progress},
};

/// Longer values of labels are cut: they come from scenarios and servers, and every receiver has its own bound.
const LABEL_CHARS_MAX: usize = 120;

/// Operations exported; each has some fifty series, and a scenario with more is better read from its report.
const OPERATIONS_MAX: usize = 100;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by time.
    Histogram,
}

macro_rules! metrics {
    ($($name:ident $text:literal $kind:ident $unit:literal $help:literal,)*) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric { $(#[doc = $help] $name,)* }

        impl Metric {
            /// All of them.
            pub const ALL: &[Metric] = &[$(Metric::$name,)*];

            /// Its name for Prometheus.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Metric::$name => concat!("ringway_loadtest_", $text),)* }
            }

            /// What it is.
            #[must_use]
            pub fn kind(self) -> Kind {
                match self { $(Metric::$name => Kind::$kind,)* }
            }

            /// Its unit, in the code that OpenTelemetry uses (UCUM).
            #[must_use]
            pub fn unit(self) -> &'static str {
                match self { $(Metric::$name => $unit,)* }
            }

            /// What it says.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Metric::$name => $help,)* }
            }
        }
    };
}

metrics! {
    CallsDue "calls_due_total" Counter "{call}" "Calls that fell due, by operation",
    CallsOk "calls_ok_total" Counter "{call}" "Calls answered as they should be, by operation",
    CallsFailed "calls_failed_total" Counter "{call}" "Calls that failed, by operation and kind",
    BytesSent "sent_bytes_total" Counter "By" "Bytes of requests, by operation",
    BytesReceived "received_bytes_total" Counter "By" "Bytes of answers, by operation",
    Latency "latency_seconds" Histogram "s" "From the moment a call was due to its last byte, by operation",
    Service "service_seconds" Histogram "s" "From a call's first byte written to its last byte, by operation",
    Running "running" Gauge "1" "1 while calls are made, by phase; 0 at the end",
    Offered "offered_per_second" Gauge "{call}/s" "Calls that fell due in the last second",
    Achieved "achieved_per_second" Gauge "{call}/s" "Good answers that came in the last second",
    InFlight "calls_in_flight" Gauge "{call}" "Calls under way",
    Waiting "calls_waiting" Gauge "{call}" "Calls that are due and wait for a connection",
    Connections "connections" Gauge "{connection}" "Open connections",
    Recent "recent_latency_seconds" Gauge "s" "Latency of the answers of the last second, by quantile (1 is the slowest)",
    Busy "generator_busy_ratio" Gauge "1" "CPU time of the busiest generator thread over the last second, at the end over the run",
    Late "generator_lateness_seconds" Gauge "s" "How late the generator starts calls, 99th percentile",
    Limited "generator_limited" Gauge "1" "1 when the generator, not the target, sets the pace",
    Final "result_latency_seconds" Gauge "s" "Latency of the whole run, by quantile (1 is the slowest); at its end",
    Saturation "result_saturation_per_second" Gauge "{call}/s" "The highest rate borne, of a saturation search; at its end",
    Held "result_threshold_held" Gauge "1" "1 when the threshold held, by rule; at the run's end",
}

/// A metric with its values.
#[derive(Debug)]
pub struct Family {
    /// Which.
    pub metric: Metric,
    /// One for each set of labels.
    pub samples: Vec<Sample>,
}

/// One value.
#[derive(Debug)]
pub struct Sample {
    /// Names and values; values are shortened and cannot steer a terminal.
    pub labels: Vec<(&'static str, String)>,
    /// What was counted.
    pub value: Value,
}

/// A value.
#[derive(Debug)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Number(f64),
    /// Of a histogram.
    Histogram(Box<Buckets>),
}

/// All metrics of a run at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The run's label.
    pub run: String,
    /// By metric, in the order of [`Metric::ALL`]; those without a value are left out.
    pub families: Vec<Family>,
    /// Seconds over which counters have counted.
    pub over_s: f64,
}

struct Gathered {
    run: String,
    families: Vec<Family>,
}

impl Gathered {
    fn new(run: &str) -> Self {
        Self {
            run: value(run),
            families: Vec::new(),
        }
    }

    fn add(&mut self, metric: Metric, labels: Vec<(&'static str, String)>, value: Value) {
        // Every series says which run it is of, so that runs on one dashboard stay apart.
        let labels = std::iter::once(("run", self.run.clone())).chain(labels).collect();
        let sample = Sample { labels, value };
        match self.families.iter_mut().find(|family| family.metric == metric) {
            Some(family) => family.samples.push(sample),
            None => self.families.push(Family {
                metric,
                samples: vec![sample],
            }),
        }
    }

    fn number(&mut self, metric: Metric, number: f64) {
        self.add(metric, Vec::new(), Value::Number(number));
    }

    fn finish(mut self, over_s: f64) -> Snapshot {
        self.families.sort_by_key(|family| family.metric);
        Snapshot {
            run: self.run,
            families: self.families,
            over_s,
        }
    }
}

/// Of a run that goes on.
pub fn of_progress(progress: &Progress) -> Snapshot {
    let mut all = Gathered::new(&progress.label);
    for operation in progress.operations.iter().take(OPERATIONS_MAX) {
        add_operation(&mut all, operation);
    }
    let running = f64::from(u8::from(progress.phase != Phase::Done));
    all.add(
        Metric::Running,
        vec![("phase", progress.phase.word().to_owned())],
        Value::Number(running),
    );
    all.number(Metric::Offered, progress.offered_per_s);
    all.number(Metric::Achieved, progress.achieved_per_s);
    #[expect(clippy::cast_precision_loss, reason = "amounts far below 2^53")]
    let amounts = [progress.in_flight, progress.waiting, progress.connections].map(|amount| amount as f64);
    for (metric, amount) in [Metric::InFlight, Metric::Waiting, Metric::Connections]
        .into_iter()
        .zip(amounts)
    {
        all.number(metric, amount);
    }
    let last = &progress.last;
    if last.count > 0 {
        for (quantile, micros) in [("0.5", last.p50), ("0.99", last.p99), ("1", last.max)] {
            let labels = vec![("quantile", quantile.to_owned())];
            all.add(Metric::Recent, labels, Value::Number(micros / 1e6));
        }
    }
    all.number(Metric::Busy, progress.busiest_thread);
    all.number(Metric::Late, progress.lateness_p99_us / 1e6);
    all.number(Metric::Limited, f64::from(u8::from(progress.limited)));
    all.finish(progress.elapsed_s)
}

/// Of a finished run.
pub fn of_report(report: &Report) -> Snapshot {
    let mut all = Gathered::new(&report.label);
    for operation in report.operations.iter().take(OPERATIONS_MAX) {
        // A report that this program made can be read; of one that cannot, the counts still stand.
        add_operation(&mut all, &as_progress(operation));
    }
    all.add(
        Metric::Running,
        vec![("phase", Phase::Done.word().to_owned())],
        Value::Number(0.0),
    );
    let times = &report.outcome().latency;
    for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
        if let Some(micros) = times.at(quantile) {
            let labels = vec![("quantile", quantile.to_string())];
            all.add(Metric::Final, labels, Value::Number(micros / 1e6));
        }
    }
    all.number(Metric::Busy, report.headroom.busiest_thread);
    all.number(Metric::Late, report.headroom.lateness.p99 / 1e6);
    all.number(Metric::Limited, f64::from(u8::from(report.headroom.limited)));
    if let Some(found) = &report.saturation {
        all.number(Metric::Saturation, found.sustained_per_s);
    }
    for row in &report.thresholds {
        let labels = vec![("rule", value(&row.rule))];
        all.add(Metric::Held, labels, Value::Number(f64::from(u8::from(row.held))));
    }
    all.finish(report.measured_s)
}

fn as_progress(operation: &Operation) -> OperationProgress {
    let outcome = &operation.outcome;
    let buckets = |times: &Latency| -> Result<Buckets, BadHistogram> {
        Ok(times.histogram()?.as_ref().map(Buckets::of).unwrap_or_default())
    };
    OperationProgress {
        name: operation.name.clone(),
        method: operation.method.clone(),
        subject: operation.subject.clone(),
        due: outcome.due,
        ok: outcome.ok,
        errors: outcome.errors.clone(),
        bytes_out: outcome.bytes_out,
        bytes_in: outcome.bytes_in,
        latency: buckets(&outcome.latency).unwrap_or_default(),
        service: buckets(&outcome.service).unwrap_or_default(),
    }
}

fn add_operation(all: &mut Gathered, operation: &OperationProgress) {
    let labels = || {
        let mut labels = vec![
            ("operation", value(&operation.name)),
            ("method", value(&operation.method)),
        ];
        labels.extend(
            operation
                .subject
                .as_deref()
                .map(|subject| ("subject", value(subject))),
        );
        labels
    };
    for (metric, count) in [
        (Metric::CallsDue, operation.due),
        (Metric::CallsOk, operation.ok),
        (Metric::BytesSent, operation.bytes_out),
        (Metric::BytesReceived, operation.bytes_in),
    ] {
        all.add(metric, labels(), Value::Count(count));
    }
    for (kind, count) in &operation.errors {
        let mut labels = labels();
        labels.push(("kind", value(kind)));
        all.add(Metric::CallsFailed, labels, Value::Count(*count));
    }
    all.add(
        Metric::Latency,
        labels(),
        Value::Histogram(Box::new(operation.latency.clone())),
    );
    all.add(
        Metric::Service,
        labels(),
        Value::Histogram(Box::new(operation.service.clone())),
    );
}

fn value(text: &str) -> String {
    figures::shortened(&figures::plain(text), LABEL_CHARS_MAX)
}
