//! Conversations with scripted receivers: what arrives is read as they would read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde_json::Value as Json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};

use super::{Kind, Metric, Options, metrics, otlp, prometheus};
use crate::report::progress::{Brief, Buckets, OperationProgress, Phase, Progress};

/// For anything awaited here; a loaded machine needs a small part of it.
const PATIENCE: Duration = Duration::from_secs(30);

fn progress() -> Progress {
    let mut counted = Histogram::<u64>::new(3).expect("three digits");
    for micros in [80u64, 250, 250, 3_000, 20_000_000] {
        counted.record(micros * 1_000).expect("recorded");
    }
    Progress {
        label: "night \"run\"\\".into(),
        phase: Phase::Measuring,
        elapsed_s: 12.5,
        offered_per_s: 2_000.0,
        achieved_per_s: 1_998.5,
        in_flight: 3,
        connections: 64,
        last: Brief {
            count: 5,
            p50: 250.0,
            p99: 3_000.0,
            max: 20_000_000.0,
        },
        operations: vec![OperationProgress {
            name: "echo\nline".into(),
            method: "tools/call".into(),
            subject: Some("echo".into()),
            due: 7,
            ok: 5,
            errors: [("timeout".to_owned(), 2)].into(),
            bytes_out: 700,
            bytes_in: 500,
            latency: Buckets::of(&counted),
            service: Buckets::of(&counted),
        }],
        ..Progress::default()
    }
}

struct Arrived {
    line: String,
    fields: BTreeMap<String, String>,
    body: String,
}

/// A receiver that answers every request with this status and body, and shows what arrived.
async fn receiver(status: &str, body: &str) -> (String, mpsc::UnboundedReceiver<Arrived>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sent, arrived) = mpsc::unbounded_channel();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.expect("answered");
            if sent.send(request).is_err() {
                return;
            }
        }
    });
    (url, arrived)
}

async fn read_request(stream: &mut TcpStream) -> Arrived {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break end;
        }
        assert_ne!(
            stream.read_buf(&mut bytes).await.expect("read"),
            0,
            "the request ended early"
        );
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("text");
    let mut lines = head.split("\r\n");
    let line = lines.next().expect("a request line").to_owned();
    let field = |line: &str| {
        line.split_once(": ")
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
    };
    let fields: BTreeMap<String, String> = lines.filter_map(field).collect();
    let length: usize = fields["content-length"].parse().expect("a length");
    while bytes.len() < head_end + 4 + length {
        assert_ne!(
            stream.read_buf(&mut bytes).await.expect("read"),
            0,
            "the body ended early"
        );
    }
    let body = String::from_utf8(bytes[head_end + 4..].to_vec()).expect("text");
    Arrived { line, fields, body }
}

/// Labels and value.
type Series = (BTreeMap<String, String>, f64);

/// A reader of the exposition format: every series, by name.
fn parse(text: &str) -> BTreeMap<String, Vec<Series>> {
    assert!(text.ends_with('\n'), "the last line has its end");
    let mut series: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    let mut typed = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(
                typed.insert(rest.split(' ').next().expect("a name").to_owned()),
                "{line} twice"
            );
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, rest) = line.split_once('{').expect("labels");
        let (mut labels, mut rest) = (BTreeMap::new(), rest);
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect("a label");
            let (mut value, mut chars) = (String::new(), after.char_indices());
            let end = loop {
                match chars.next().expect("a closing mark") {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next().expect("an escaped character").1 {
                        'n' => value.push('\n'),
                        c @ ('"' | '\\') => value.push(c),
                        c => panic!("\\{c} is no escape"),
                    },
                    (_, c) => value.push(c),
                }
            };
            labels.insert(label.trim_start_matches(',').to_owned(), value);
            rest = &after[end + 1..];
        }
        let number = rest.strip_prefix("} ").expect("a value");
        let number = if number == "+Inf" {
            f64::INFINITY
        } else {
            number.parse().expect("a number")
        };
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        assert!(typed.contains(base) || typed.contains(name), "{name} has no type");
        series.entry(name.to_owned()).or_default().push((labels, number));
    }
    series
}

#[test]
fn the_exposition_reads_back() {
    let series = parse(&prometheus::write(&metrics::of_progress(&progress())));
    let (labels, failed) = &series["ringway_loadtest_calls_failed_total"][0];
    assert_eq!(*failed, 2.0);
    assert_eq!(labels["kind"], "timeout");
    assert_eq!(labels["run"], "night \"run\"\\");
    assert_eq!(labels["operation"], "echo\u{fffd}line");
    let buckets = &series["ringway_loadtest_latency_seconds_bucket"];
    assert!(
        buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
        "buckets are cumulative"
    );
    let at = |le: &str| {
        buckets
            .iter()
            .find(|(labels, _)| labels["le"] == le)
            .expect("the bucket")
            .1
    };
    assert_eq!(
        (at("0.0001"), at("0.0003"), at("0.005"), at("10"), at("+Inf")),
        (1.0, 3.0, 4.0, 4.0, 5.0)
    );
    assert_eq!(series["ringway_loadtest_latency_seconds_count"][0].1, 5.0);
    assert!((series["ringway_loadtest_latency_seconds_sum"][0].1 - 20.003_58).abs() < 0.05);
    assert_eq!(series["ringway_loadtest_recent_latency_seconds"].len(), 3);
}

#[test]
fn otlp_has_the_shape_that_collectors_read() {
    let when = otlp::When {
        start_unix_nanos: 1,
        unix_nanos: 2,
    };
    let body = otlp::write(&metrics::of_progress(&progress()), when);
    let resource = &body["resourceMetrics"][0];
    let attribute = |at: &Json, key: &str| {
        let all = at["attributes"].as_array().expect("attributes");
        let found = all.iter().find(|attribute| attribute["key"] == key);
        found.unwrap_or_else(|| panic!("no {key} in {all:?}"))["value"]["stringValue"].clone()
    };
    assert_eq!(
        attribute(&resource["resource"], "service.name"),
        "ringway-loadtest"
    );
    let metrics = resource["scopeMetrics"][0]["metrics"]
        .as_array()
        .expect("metrics");
    let metric = |name: &str| metrics.iter().find(|metric| metric["name"] == name).expect(name);
    let failed = &metric("ringway.loadtest.calls_failed")["sum"];
    assert_eq!(
        (&failed["aggregationTemporality"], &failed["isMonotonic"]),
        (&2.into(), &true.into())
    );
    let point = &failed["dataPoints"][0];
    assert_eq!(
        (
            &point["asInt"],
            &point["timeUnixNano"],
            &point["startTimeUnixNano"]
        ),
        (&"2".into(), &"2".into(), &"1".into())
    );
    assert_eq!(attribute(point, "kind"), "timeout");
    let latency = metric("ringway.loadtest.latency");
    assert_eq!(latency["unit"], "s");
    let point = &latency["histogram"]["dataPoints"][0];
    let (counts, bounds) = (
        point["bucketCounts"].as_array().expect("counts"),
        point["explicitBounds"].as_array().expect("bounds"),
    );
    assert_eq!(counts.len(), bounds.len() + 1);
    let sum: u64 = counts
        .iter()
        .map(|count| count.as_str().expect("a string").parse::<u64>().expect("whole"))
        .sum();
    assert_eq!(sum.to_string(), point["count"].as_str().expect("a string"));
    assert!(metric("ringway.loadtest.connections")["gauge"]["dataPoints"][0]["asDouble"].is_f64());
}

#[tokio::test]
async fn a_pushgateway_and_a_collector_are_told_while_the_run_goes_on() {
    let (gateway, mut at_gateway) = receiver("200 OK", "").await;
    let (collector, mut at_collector) = receiver("200 OK", "{\"partialSuccess\":{}}").await;
    let options = Options {
        prometheus: Some(gateway),
        otlp: Some(collector),
        headers: vec![("authorization".into(), "Bearer x".into())],
        every: Some(Duration::from_millis(100)),
        ..Options::default()
    };
    let (_engine, feed) = watch::channel(progress());
    let pushing = options.start("night run", feed).await.expect("started");
    for _ in 0..2 {
        let put = timeout(PATIENCE, at_gateway.recv())
            .await
            .expect("in time")
            .expect("a push");
        assert_eq!(
            put.line,
            "PUT /metrics/job/ringway-loadtest/run@base64/bmlnaHQgcnVu HTTP/1.1"
        );
        assert_eq!(put.fields["content-type"], prometheus::CONTENT_TYPE);
        assert_eq!(put.fields["authorization"], "Bearer x");
        assert!(parse(&put.body).contains_key("ringway_loadtest_calls_ok_total"));
        let post = timeout(PATIENCE, at_collector.recv())
            .await
            .expect("in time")
            .expect("a push");
        assert_eq!(post.line, "POST /v1/metrics HTTP/1.1");
        assert_eq!(post.fields["content-type"], "application/json");
        let body: Json = serde_json::from_str(&post.body).expect("JSON");
        assert!(body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].is_array());
    }
    assert_eq!(pushing.finish(None).await, [] as [String; 0]);
}

#[tokio::test]
async fn what_a_receiver_refuses_is_told_at_the_end_and_harms_nothing() {
    let (gateway, mut arrived) = receiver("400 Bad Request", "pushed \u{1b}[31mbad").await;
    let (collector, mut posted) = receiver(
        "200 OK",
        "{\"partialSuccess\":{\"rejectedDataPoints\":\"3\",\"errorMessage\":\"no\"}}",
    )
    .await;
    let options = Options {
        prometheus: Some(format!("{gateway}/metrics/job/mine")),
        otlp: Some(format!("{collector}/otlp")),
        ..Options::default()
    };
    let (_engine, feed) = watch::channel(progress());
    let pushing = options.start("x", feed).await.expect("started");
    let put = timeout(PATIENCE, arrived.recv())
        .await
        .expect("in time")
        .expect("a push");
    assert_eq!(put.line, "PUT /metrics/job/mine HTTP/1.1");
    let post = timeout(PATIENCE, posted.recv())
        .await
        .expect("in time")
        .expect("a push");
    assert_eq!(post.line, "POST /otlp HTTP/1.1");
    // The final push always comes to its end, so its outcome is known.
    let report = crate::report::thresholds::sample_report();
    let complaints = pushing.finish(Some(&report)).await;
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(
        complaints[0].contains("status 400: pushed \u{fffd}[31mbad"),
        "{}",
        complaints[0]
    );
    assert!(complaints[1].contains("taken in part"), "{}", complaints[1]);
}

#[tokio::test]
async fn mistakes_are_found_before_the_run() {
    let (_engine, feed) = watch::channel(progress());
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    for (options, says) in [
        (
            Options {
                prometheus: Some("localhost:9091".into()),
                ..Options::default()
            },
            "http",
        ),
        (
            Options {
                otlp: Some("http://u:p@localhost:1".into()),
                ..Options::default()
            },
            "credentials",
        ),
        (
            Options {
                listen: taken.local_addr().ok(),
                ..Options::default()
            },
            "metrics listener",
        ),
        (
            Options {
                otlp: Some("http://127.0.0.1:1".into()),
                headers: vec![("host".into(), "x".into())],
                ..Options::default()
            },
            "host",
        ),
    ] {
        let wrong = options
            .start("x", feed.clone())
            .await
            .err()
            .expect("refused")
            .to_string();
        assert!(wrong.contains(says), "{wrong}");
    }
}

async fn scrape(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("asked");
    let mut said = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut said))
        .await
        .expect("in time")
        .expect("answered");
    said
}

#[tokio::test]
async fn a_scrape_shows_the_present_and_at_the_end_the_result() {
    let (engine, feed) = watch::channel(progress());
    let options = Options {
        listen: "127.0.0.1:0".parse().ok(),
        ..Options::default()
    };
    let pushing = options.start("x", feed).await.expect("started");
    let address = pushing.listening.expect("listening");
    let said = scrape(address, "GET /metrics?x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (head, body) = said.split_once("\r\n\r\n").expect("a head");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains(prometheus::CONTENT_TYPE),
        "{head}"
    );
    assert_eq!(parse(body)["ringway_loadtest_connections"][0].1, 64.0);
    engine.send_modify(|now| now.connections = 65);
    let said = scrape(address, "GET /metrics HTTP/1.1\r\n\r\n").await;
    assert!(said.contains("} 65\n"));
    assert!(
        scrape(address, "GET / HTTP/1.1\r\n\r\n")
            .await
            .contains("metrics are at /metrics")
    );
    assert!(
        scrape(address, "POST /metrics HTTP/1.1\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 405 ")
    );
    assert!(
        !scrape(address, "HEAD /metrics HTTP/1.1\r\n\r\n")
            .await
            .contains("# TYPE")
    );
    assert!(
        scrape(address, &"x".repeat(9_000))
            .await
            .starts_with("HTTP/1.1 431 ")
    );
    assert_eq!(pushing.finish(None).await, [] as [String; 0]);
}

#[test]
fn a_finished_run_says_its_result() {
    let mut report = crate::report::thresholds::sample_report();
    let rules = crate::report::thresholds::parse_all(&["p99 < 5ms", "errors < 5%"]).expect("rules");
    report.thresholds = crate::report::thresholds::judge(&rules, &report);
    let series = parse(&prometheus::write(&metrics::of_report(&report)));
    let held: Vec<f64> = series["ringway_loadtest_result_threshold_held"]
        .iter()
        .map(|(_, held)| *held)
        .collect();
    assert_eq!(held, [0.0, 1.0]);
    assert_eq!(
        series["ringway_loadtest_result_saturation_per_second"][0].1,
        30_000.0
    );
    assert_eq!(series["ringway_loadtest_running"][0].1, 0.0);
}

#[test]
fn names_say_their_kind_and_the_page_lists_them() {
    let page = include_str!("../../../../docs/loadtest.md");
    for metric in Metric::ALL {
        let name = metric.name();
        assert_eq!(name.ends_with("_total"), metric.kind() == Kind::Counter, "{name}");
        assert!(!metric.help().is_empty() && !metric.unit().is_empty());
        assert!(
            page.contains(&format!("| `{name}` |")),
            "docs/loadtest.md has no row for {name}"
        );
        assert!(
            page.contains(metric.help()),
            "docs/loadtest.md does not say: {}",
            metric.help()
        );
    }
    let rows = page.matches("| `ringway_loadtest_").count();
    assert_eq!(
        rows,
        Metric::ALL.len(),
        "docs/loadtest.md lists a metric that is gone"
    );
}
