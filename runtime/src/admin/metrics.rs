//! Metrics in the Prometheus text format: every name is in [`METRICS`], and `docs/metrics.md` lists the same.

use super::Health;
use crate::mcp::{
    shared::Shared,
    stats::{Latency, Series, Stats, Upstream},
};
use std::fmt::Write;

/// One metric's name and meaning.
pub struct Metric {
    /// As exposed.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Labels, in order.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

const CALL_LABELS: &[&str] = &["method", "server", "tool", "tenant", "status"];

macro_rules! metrics {
    ($($konst:ident = $name:literal, $kind:literal, $labels:expr, $help:literal;)*) => {
        $(const $konst: Metric = Metric { name: $name, kind: $kind, labels: $labels, help: $help };)*
        /// Every metric there is.
        pub const METRICS: &[Metric] = &[$($konst),*];
    };
}

metrics! {
    BUILD = "ringway_build_info", "gauge", &["version"], "Always 1; the version is the label.";
    SNAPSHOT = "ringway_snapshot_number", "gauge", &[], "Number of the live snapshot.";
    DRAINING = "ringway_draining", "gauge", &[], "1 once a drain has begun.";
    WORKERS = "ringway_workers", "gauge", &[], "Workers of the data plane.";
    SILENT = "ringway_workers_silent", "gauge", &[], "Workers that gave no numbers for this scrape; theirs are missing from it.";
    IN_FLIGHT = "ringway_calls_in_flight", "gauge", &[], "Requests whose answer has not ended.";
    CALLS = "ringway_call_duration_seconds", "histogram", CALL_LABELS, "Requests from their head to the last byte of their answer.";
    HEADS = "ringway_heads_refused_total", "counter", &["reason"], "Requests whose HTTP head could not be read.";
    LINES_DROPPED = "ringway_access_lines_dropped_total", "counter", &[], "Access lines lost because stderr was not read fast enough, or not at all.";
    SERVER_UP = "ringway_server_up", "gauge", &["server"], "1 when the last probe of the server succeeded.";
    SERVER_TOOLS = "ringway_server_tools", "gauge", &["server"], "Tools in the server's catalogue.";
    UP_OPEN = "ringway_upstream_connections", "gauge", &["server"], "Open connections to the server, idle ones included.";
    UP_IDLE = "ringway_upstream_connections_idle", "gauge", &["server"], "Idle HTTP/1.1 connections to the server.";
    UP_WAITING = "ringway_upstream_calls_waiting", "gauge", &["server"], "Calls waiting for a connection to the server.";
    UP_DIALLED = "ringway_upstream_dials_total", "counter", &["server"], "Connections opened to the server.";
    UP_REUSED = "ringway_upstream_reuses_total", "counter", &["server"], "Calls over a connection that had been opened before.";
    UP_RETRIED = "ringway_upstream_retries_total", "counter", &["server"], "Calls sent a second time because the first had certainly not been processed.";
    RESIDENT = "ringway_resident_memory_bytes", "gauge", &[], "Resident memory of the process.";
    DESCRIPTORS = "ringway_open_descriptors", "gauge", &[], "Open file descriptors of the process.";
}

/// Upper bounds of the latency buckets, in seconds: fine around a millisecond, where the gateway's own share
/// lies, and up to the longest call.
const BUCKETS_S: [f64; 18] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0,
];

/// All metrics as text.
pub fn render(stats: &Stats, shared: &Shared, health: &Health, silent: usize) -> String {
    let mut out = String::with_capacity(16 << 10);
    single(&mut out, &BUILD, &[env!("CARGO_PKG_VERSION")], 1);
    single(&mut out, &SNAPSHOT, &[], shared.live.load().snapshot.number);
    single(&mut out, &DRAINING, &[], u64::from(shared.is_draining()));
    single(&mut out, &WORKERS, &[], shared.boxes.len() as u64);
    single(&mut out, &SILENT, &[], silent as u64);
    single(&mut out, &IN_FLIGHT, &[], stats.in_flight);
    head(&mut out, &CALLS);
    let mut series: Vec<_> = stats.series().collect();
    series.sort_by_key(|(series, _)| *series);
    for (series, latency) in series {
        histogram(&mut out, series, latency);
    }
    head(&mut out, &HEADS);
    let mut refused: Vec<_> = stats.heads_refused.iter().collect();
    refused.sort();
    for (reason, count) in refused {
        sample(&mut out, HEADS.name, HEADS.labels, &[reason], &count.to_string());
    }
    single(&mut out, &LINES_DROPPED, &[], shared.lines.dropped());
    head(&mut out, &SERVER_UP);
    for server in &health.servers {
        let up = if server.state == "up" { "1" } else { "0" };
        sample(&mut out, SERVER_UP.name, SERVER_UP.labels, &[&server.name], up);
    }
    head(&mut out, &SERVER_TOOLS);
    for server in &health.servers {
        sample(
            &mut out,
            SERVER_TOOLS.name,
            SERVER_TOOLS.labels,
            &[&server.name],
            &server.tools.to_string(),
        );
    }
    upstreams(&mut out, stats);
    if let Some(bytes) = resident_bytes() {
        single(&mut out, &RESIDENT, &[], bytes);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        single(&mut out, &DESCRIPTORS, &[], open.count() as u64);
    }
    out
}

fn upstreams(out: &mut String, stats: &Stats) {
    let mut servers: Vec<(&String, &Upstream)> = stats.upstream.iter().collect();
    servers.sort_by_key(|(name, _)| *name);
    type Number = fn(&Upstream) -> u64;
    let metrics: [(&Metric, Number); 6] = [
        (&UP_OPEN, |u| u.open),
        (&UP_IDLE, |u| u.idle),
        (&UP_WAITING, |u| u.waiting),
        (&UP_DIALLED, |u| u.dialled),
        (&UP_REUSED, |u| u.reused),
        (&UP_RETRIED, |u| u.retried),
    ];
    for (metric, number) in metrics {
        head(out, metric);
        for (name, upstream) in &servers {
            sample(
                out,
                metric.name,
                metric.labels,
                &[name],
                &number(upstream).to_string(),
            );
        }
    }
}

fn head(out: &mut String, metric: &Metric) {
    // Writing to a String cannot fail.
    _ = writeln!(
        out,
        "# HELP {} {}\n# TYPE {} {}",
        metric.name, metric.help, metric.name, metric.kind
    );
}

fn single(out: &mut String, metric: &Metric, values: &[&str], value: u64) {
    head(out, metric);
    sample(out, metric.name, metric.labels, values, &value.to_string());
}

fn sample(out: &mut String, name: &str, labels: &[&str], values: &[&str], value: &str) {
    out.push_str(name);
    if !labels.is_empty() {
        out.push('{');
        for (n, (label, text)) in labels.iter().zip(values).enumerate() {
            if n > 0 {
                out.push(',');
            }
            _ = write!(out, "{label}=\"{}\"", escaped(text));
        }
        out.push('}');
    }
    _ = writeln!(out, " {value}");
}

/// Label values escape backslash, quote and line feed (Prometheus exposition format).
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

fn histogram(out: &mut String, series: Series<'_>, latency: &Latency) {
    let Series {
        method,
        server,
        tool,
        tenant,
        status,
    } = series;
    let values = [method, server, tool, tenant, status];
    let mut labels = CALL_LABELS.to_vec();
    labels.push("le");
    let bucket = format!("{}_bucket", CALLS.name);
    for bound in BUCKETS_S {
        let below = latency.histogram.count_between(0, (bound * 1e6) as u64);
        let bound = bound.to_string();
        let values: Vec<&str> = values.iter().copied().chain([bound.as_str()]).collect();
        sample(out, &bucket, &labels, &values, &below.to_string());
    }
    let values_inf: Vec<&str> = values.iter().copied().chain(["+Inf"]).collect();
    sample(out, &bucket, &labels, &values_inf, &latency.count.to_string());
    let sum = latency.sum.as_secs_f64().to_string();
    sample(out, &format!("{}_sum", CALLS.name), CALL_LABELS, &values, &sum);
    sample(
        out,
        &format!("{}_count", CALLS.name),
        CALL_LABELS,
        &values,
        &latency.count.to_string(),
    );
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_page_and_the_table_agree() {
        let page = include_str!("../../../docs/metrics.md");
        for metric in METRICS {
            let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
            let row = format!(
                "| `{}` | {} | {} | {} |",
                metric.name,
                metric.kind,
                labels.join(", "),
                metric.help
            );
            assert!(page.contains(&row), "docs/metrics.md lacks the row\n{row}");
        }
        let rows = page.lines().filter(|l| l.starts_with("| `ringway_")).count();
        assert_eq!(
            rows,
            METRICS.len(),
            "docs/metrics.md lists a metric that does not exist"
        );
    }

    #[test]
    fn buckets_are_cumulative_and_labels_escaped() {
        let mut stats = Stats::default();
        let series = Series {
            method: "tools/call",
            server: "s",
            tool: "a\"b",
            tenant: "t",
            status: "ok",
        };
        stats.finished(series, Duration::from_micros(700));
        stats.finished(series, Duration::from_millis(40));
        let mut out = String::new();
        let (series, latency) = stats.series().next().unwrap();
        histogram(&mut out, series, latency);
        let line = |le: &str| {
            out.lines()
                .find(|l| l.contains(&format!("le=\"{le}\"")))
                .unwrap()
                .to_owned()
        };
        assert!(line("0.0005").ends_with(" 0"));
        assert!(line("0.001").ends_with(" 1"));
        assert!(line("0.05").ends_with(" 2"));
        assert!(line("+Inf").ends_with(" 2"));
        assert!(out.contains(r#"tool="a\"b""#));
    }
}
