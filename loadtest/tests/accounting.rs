//! The generator against the built-in upstream: what one says went wrong, the other says it did.
//!
//! A call on a connection that the peer had given up before anything of an answer came is sent again once, so the
//! upstream may have seen more calls than the report has; the difference is what the resets cost without being seen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic in a test is its report"
)]

use ringway_loadtest::{
    engine::{Watching, run},
    report::model::{Operation, Report},
    scenario::Scenario,
    upstream::{self, Handle, Options, faults::FaultKind, stats::Counter},
};
use std::{path::Path, thread, time::Duration};

fn up(faults: &[&str], options: Options) -> Handle {
    let faults = faults.iter().map(|rule| rule.parse().unwrap()).collect();
    upstream::serve(Options { faults, ..options }).expect("the upstream starts")
}

fn load(text: &str) -> Report {
    let scenario = Scenario::read(text, Path::new("")).unwrap_or_else(|findings| panic!("{findings}"));
    run(scenario, Watching::default()).unwrap_or_else(|why| panic!("{why}"))
}

fn operation<'r>(report: &'r Report, name: &str) -> &'r Operation {
    report
        .operations
        .iter()
        .find(|operation| operation.name == name)
        .expect("the operation")
}

fn errors(report: &Report, name: &str, kinds: &[&str]) -> u64 {
    let errors = &operation(report, name).outcome.errors;
    let other: Vec<_> = errors
        .keys()
        .filter(|kind| !kinds.contains(&kind.as_str()))
        .collect();
    assert!(other.is_empty(), "{name}: {errors:?}, expected only {kinds:?}");
    errors.values().sum()
}

/// Closed loop, nothing left out at either end.
fn scenario(server: &Handle, target: &str, operations: &str) -> String {
    format!(
        "[target]\nurl = \"{}\"\n{target}\n[load]\nconcurrency = 8\nduration = \"1500ms\"\nwarmup = \"0s\"\n\
         [calls]\ntimeout = \"20s\"\ndrain = \"30s\"\n{operations}",
        server.url()
    )
}

fn call(tool: &str, more: &str) -> String {
    format!(
        "[[operation]]\ncall = \"tools/call\"\ntool = \"{tool}\"\narguments = {{ text = \"{{{{random_text 30}}}}\" }}\n{more}\n"
    )
}

#[test]
fn every_fault_is_seen_as_what_it_was() {
    // One tool for each fault, so that the report tells them apart by operation.
    let server = up(
        &[
            "reset:at=mid,probability=0.2,tool=echo",
            "http_error:status=503,probability=0.3,tool=sized",
            "close:probability=0.3,tool=progress",
            "garbage_json:probability=0.3,tool=github_list_issue",
            "garbage_id:probability=0.3,tool=jira_list_issue",
            "garbage_truncated:probability=0.3,tool=slack_list_issue",
            "garbage_http:probability=0.3,tool=salesforce_list_issue",
            "garbage_length_long:probability=0.3,tool=postgres_list_issue",
            "stall:count=3,tool=kubernetes_list_issue",
            "http_error:status=429,method=tools/list,probability=0.3",
        ],
        Options {
            tools: 10,
            ..Options::default()
        },
    );
    let operations = [
        call("echo", ""),
        call("sized", ""),
        call("progress", ""),
        call("github_list_issue", ""),
        call("jira_list_issue", ""),
        call("slack_list_issue", ""),
        call("salesforce_list_issue", ""),
        call("postgres_list_issue", ""),
        call("kubernetes_list_issue", "timeout = \"2s\""),
        call("fail", "expect_tool_error = true"),
        call("error", ""),
        "[[operation]]\ncall = \"tools/list\"\n".to_owned(),
    ];
    let report = load(&scenario(&server, "revision = \"modern\"", &operations.concat()));
    let stats = server.stats();

    let seen = |name: &str, kinds: &[&str]| errors(&report, name, kinds);
    assert!(
        stats.fault(FaultKind::HttpError) > 0 && stats.faults_total() > 20,
        "{stats:?}"
    );
    assert_eq!(
        seen("sized", &["http_503"]) + seen("tools/list", &["http_429"]),
        stats.fault(FaultKind::HttpError)
    );
    assert_eq!(seen("progress", &["closed"]), stats.fault(FaultKind::Close));
    assert_eq!(
        seen("github_list_issue", &["bad_answer"]),
        stats.fault(FaultKind::GarbageJson)
    );
    assert_eq!(
        seen("jira_list_issue", &["bad_answer"]),
        stats.fault(FaultKind::GarbageId)
    );
    assert_eq!(
        seen("slack_list_issue", &["bad_answer"]),
        stats.fault(FaultKind::GarbageTruncated)
    );
    assert_eq!(
        seen("salesforce_list_issue", &["protocol"]),
        stats.fault(FaultKind::GarbageHttp)
    );
    assert_eq!(
        seen("postgres_list_issue", &["closed"]),
        stats.fault(FaultKind::GarbageLengthLong)
    );
    assert_eq!(
        seen("kubernetes_list_issue", &["timeout"]),
        stats.fault(FaultKind::Stall)
    );
    assert_eq!(stats.fault(FaultKind::Stall), 3);
    assert_eq!(seen("fail", &[]), 0);
    let refused = &operation(&report, "error").outcome;
    assert_eq!(
        (refused.ok, refused.errors["rpc_-32603"]),
        (0, stats.get(Counter::CallsError))
    );

    // A reset may overtake what was sent before it, and then a call on a used connection is sent again.
    let again = stats.get(Counter::CallsEcho) - operation(&report, "echo").outcome.due;
    assert_eq!(seen("echo", &["reset"]) + again, stats.fault(FaultKind::Reset));
    assert_eq!(
        stats.get(Counter::Calls) + stats.get(Counter::ToolLists) - again,
        report.total.due
    );
}

#[test]
fn http2_faults_are_seen_as_what_they_were() {
    let server = up(
        &[
            "rst_stream:probability=0.2,tool=echo",
            "goaway:probability=0.02,tool=sized",
        ],
        Options::default(),
    );
    let target = "revision = \"modern\"\nhttp = \"2\"";
    let report = load(&scenario(
        &server,
        target,
        &(call("echo", "") + &call("sized", "")),
    ));
    let stats = server.stats();
    assert!(
        stats.fault(FaultKind::RstStream) > 0 && stats.fault(FaultKind::Goaway) > 0,
        "{stats:?}"
    );
    assert_eq!(
        errors(&report, "echo", &["reset"]),
        stats.fault(FaultKind::RstStream)
    );
    // A connection that says goodbye answers what it has taken.
    assert_eq!(errors(&report, "sized", &[]), 0);
    assert_eq!(stats.get(Counter::Calls), report.total.due);
}

#[test]
fn a_lost_session_is_seen_by_every_call_that_was_in_it() {
    let server = up(&["session_404:probability=0.05"], Options::default());
    let report = load(&scenario(&server, "revision = \"legacy\"", &call("echo", "")));
    let stats = server.stats();
    let lost = stats.fault(FaultKind::Session404);
    assert!(lost > 0, "{stats:?}");
    assert_eq!(
        errors(&report, "echo", &["http_404"]),
        lost + stats.get(Counter::SessionsUnknown)
    );
    assert_eq!(report.total.ok, stats.get(Counter::CallsAnswered));
    // Each client that lost its session opened another one.
    assert!(stats.get(Counter::SessionsOpened) > 8, "{stats:?}");
}

#[test]
fn a_second_in_which_nothing_is_answered_stands_in_the_histogram() {
    let server = up(&[], Options::default());
    let text = format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[connections]\ncount = 8\n\
         [load]\nrate = 300\nduration = \"3s\"\nwarmup = \"0s\"\n[calls]\ndrain = \"10s\"\n{}",
        server.url(),
        call("echo", "")
    );
    let report = thread::scope(|scope| {
        let loaded = scope.spawn(|| load(&text));
        // Once calls run, so that the stall falls in their middle.
        while server.stats().get(Counter::CallsAnswered) < 200 {
            thread::sleep(Duration::from_millis(5));
        }
        server.stall_all(Duration::from_secs(1));
        loaded.join().unwrap()
    });
    assert_eq!(server.stats().fault(FaultKind::StallAll), 1);
    assert_eq!(
        (report.total.due, report.total.ok),
        (900, 900),
        "{:?}",
        report.total.errors
    );
    let latency = report.total.latency.histogram().unwrap().expect("answers");
    let late = latency.count_between(500_000_000, u64::MAX);
    // 300 calls were due while it stood still; half of them waited for more than half of it.
    assert!(late >= 120, "{late} calls waited for more than 500 ms");
    assert!(
        report.total.latency.max >= 900_000.0,
        "{}",
        report.total.latency.max
    );
    // Whoever counts from the first byte sees no more slow calls than there are connections.
    let service = report.total.service.histogram().unwrap().expect("answers");
    let seen = service.count_between(500_000_000, u64::MAX);
    assert!(seen < late / 2, "{seen} of {late}");
}

#[test]
fn a_search_does_not_find_more_than_there_is() {
    // Four connections and answers that take 10 ms bear 400 calls a second and not one more.
    let latency = vec!["10ms".parse().unwrap()];
    let server = up(
        &[],
        Options {
            latency,
            ..Options::default()
        },
    );
    let report = load(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[connections]\ncount = 4\n[calls]\ndrain = \"5s\"\n\
         [load.search]\nrate_min = 50\nrate_max = 2000\ngrowth = 2.0\nprecision = \"10%\"\nprobe = \"700ms\"\n\
         settle = \"100ms\"\np99_max = \"100ms\"\n{}",
        server.url(),
        call("echo", "")
    ));
    let found = report.saturation.expect("a search");
    assert!(found.sustained_per_s <= 440.0, "{found:?}");
    assert!(found.peak_per_s <= 440.0, "{found:?}");
    assert!(
        found.sustained_per_s > 0.0 || found.ended == "generator_limited",
        "{found:?}"
    );
}
