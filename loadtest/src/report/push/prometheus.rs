//! Prometheus' text exposition format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::{self, Write as _};

use super::metrics::{Kind, Sample, Snapshot, Value};
use crate::report::progress::BUCKET_BOUNDS_S;

/// What scrapes and pushes say they hold.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole text.
pub fn write(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    // Writing to a `String` does not fail.
    let _ = families(&mut out, snapshot);
    out
}

fn families(out: &mut String, snapshot: &Snapshot) -> fmt::Result {
    for family in &snapshot.families {
        let (name, kind) = (family.metric.name(), family.metric.kind());
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(
            out,
            "# HELP {name} {}\n# TYPE {name} {kind}",
            family.metric.help()
        )?;
        for sample in &family.samples {
            match &sample.value {
                Value::Count(count) => line(out, name, sample, None, *count)?,
                Value::Number(number) => line(out, name, sample, None, Number(*number))?,
                Value::Histogram(buckets) => {
                    let mut below = 0;
                    let bounds = BUCKET_BOUNDS_S.iter().copied().chain([f64::INFINITY]);
                    for (bound, count) in bounds.zip(&buckets.counts) {
                        below += count;
                        line(out, &format!("{name}_bucket"), sample, Some(bound), below)?;
                    }
                    line(out, &format!("{name}_sum"), sample, None, Number(buckets.sum_s))?;
                    line(out, &format!("{name}_count"), sample, None, buckets.count())?;
                }
            }
        }
    }
    Ok(())
}

fn line(
    out: &mut String,
    name: &str,
    sample: &Sample,
    le: Option<f64>,
    value: impl fmt::Display,
) -> fmt::Result {
    write!(out, "{name}{{")?;
    for (place, (label, text)) in sample.labels.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        write!(out, "{comma}{label}=\"{}\"", Escaped(text))?;
    }
    if let Some(le) = le {
        write!(out, ",le=\"{}\"", Number(le))?;
    }
    writeln!(out, "}} {value}")
}

/// As Go's `ParseFloat` takes it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            nan if nan.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => write!(f, "{number}"),
        }
    }
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
