//! OTLP/HTTP with JSON (<https://opentelemetry.io/docs/specs/otlp/>, opentelemetry-proto's `metrics.proto`): one
//! resource, one scope, cumulative sums and histograms, gauges. As protobuf's JSON has it, 64-bit whole numbers are
//! strings and enumerations are numbers.

use serde_json::{Value as Json, json};

use super::metrics::{Family, Kind, Sample, Snapshot, Value};
use crate::report::progress::BUCKET_BOUNDS_S;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u32 = 2;

/// When a snapshot was taken.
#[derive(Clone, Copy)]
pub struct When {
    /// Since the Unix epoch, nanoseconds: when its counters began.
    pub start_unix_nanos: u128,
    /// When it was taken.
    pub unix_nanos: u128,
}

/// An `ExportMetricsServiceRequest`.
pub fn write(snapshot: &Snapshot, when: When) -> Json {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "resourceMetrics": [{
            "resource": {
                "attributes": attributes(&[
                    ("service.name", "ringway-loadtest"),
                    ("service.version", version),
                    ("service.instance.id", &snapshot.run),
                ]),
            },
            "scopeMetrics": [{
                "scope": { "name": "ringway-loadtest", "version": version },
                "metrics": snapshot.families.iter().map(|family| metric(family, when)).collect::<Vec<_>>(),
            }],
        }],
    })
}

/// The name that OpenTelemetry's conventions give it: dots, and neither unit nor `total` at its end.
pub fn name(prometheus: &str) -> String {
    let bare = prometheus.strip_prefix("ringway_loadtest_").unwrap_or(prometheus);
    let bare = bare.strip_suffix("_total").unwrap_or(bare);
    let units = ["_seconds", "_bytes", "_ratio"];
    let bare = units
        .iter()
        .find_map(|unit| bare.strip_suffix(unit))
        .unwrap_or(bare);
    format!("ringway.loadtest.{bare}")
}

fn metric(family: &Family, when: When) -> Json {
    // JSON has no infinities; a gauge without a number has nothing to say.
    let says = |sample: &&Sample| !matches!(sample.value, Value::Number(number) if !number.is_finite());
    let points: Vec<Json> = family
        .samples
        .iter()
        .filter(says)
        .map(|sample| point(sample, when))
        .collect();
    let metric = family.metric;
    let mut out = json!({ "name": name(metric.name()), "description": metric.help(), "unit": metric.unit() });
    let (key, data) = match metric.kind() {
        Kind::Gauge => ("gauge", json!({ "dataPoints": points })),
        Kind::Counter => (
            "sum",
            json!({ "aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": points }),
        ),
        Kind::Histogram => (
            "histogram",
            json!({ "aggregationTemporality": CUMULATIVE, "dataPoints": points }),
        ),
    };
    out[key] = data;
    out
}

fn point(sample: &Sample, when: When) -> Json {
    let labels: Vec<(&str, &str)> = sample
        .labels
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut out = json!({
        "attributes": attributes(&labels),
        "startTimeUnixNano": when.start_unix_nanos.to_string(),
        "timeUnixNano": when.unix_nanos.to_string(),
    });
    match &sample.value {
        Value::Count(count) => out["asInt"] = count.to_string().into(),
        Value::Number(number) => out["asDouble"] = json!(number),
        Value::Histogram(buckets) => {
            out["count"] = buckets.count().to_string().into();
            out["sum"] = json!(buckets.sum_s);
            out["bucketCounts"] = buckets
                .counts
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .into();
            out["explicitBounds"] = json!(BUCKET_BOUNDS_S);
        }
    }
    out
}

fn attributes(pairs: &[(&str, &str)]) -> Json {
    let attribute = |(key, value): &(&str, &str)| json!({ "key": key, "value": { "stringValue": value } });
    pairs.iter().map(attribute).collect::<Vec<_>>().into()
}
