//! Conversations with small scripted servers: what is measured is what happened.

mod server;

use super::*;
use crate::report::model::{Operation, Report};
use server::{Script, Server};
use std::path::Path;

fn scenario(text: &str) -> Scenario {
    Scenario::read(text, Path::new("")).unwrap_or_else(|findings| panic!("{findings}"))
}

fn run_text(text: &str) -> Report {
    run(scenario(text), Watching::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn operation<'r>(report: &'r Report, name: &str) -> &'r Operation {
    let found = report.operations.iter().find(|operation| operation.name == name);
    found.unwrap_or_else(|| panic!("no operation {name}"))
}

const ECHO: &str = "[[operation]]\ncall = \"tools/call\"\ntool = \"echo\"\narguments = { message = \"{{random_text 20}}\", n = \"{{seq}}\" }\n";

/// How many of the counted times lie above so many microseconds.
fn above(latency: &crate::report::model::Latency, micros: u64) -> u64 {
    let histogram = latency.histogram().unwrap().expect("something was counted");
    histogram.count_between(micros * 1_000, u64::MAX)
}

#[test]
fn a_stalled_server_cannot_hide_the_calls_it_held_up() {
    // The server stands still for one second in the middle of three. At 400 calls/s, 400 calls fall due while it
    // does; those due in its first half wait longer than half a second.
    let server = Server::start(Script {
        stall: Some((Duration::from_millis(1200), Duration::from_millis(1000))),
        ..Script::default()
    });
    let report = run_text(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[connections]\ncount = 8\n[load]\nrate = 400\nduration = \"3s\"\nwarmup = \"100ms\"\n[calls]\ndrain = \"5s\"\n{ECHO}",
        server.url()
    ));
    let total = &report.total;
    assert_eq!(total.due, 1200);
    assert_eq!(total.ok, 1200, "{:?}", total.errors);
    let late = above(&total.latency, 500_000);
    assert!(
        (150..=320).contains(&late),
        "about half the rate waited over 500 ms: {late}"
    );
    assert!(
        total.latency.max > 900_000.0,
        "the first of them nearly the whole second: {}",
        total.latency.max
    );
    // Seen from the first byte, as a tool does that forgets when calls were due, only those on the wire were slow.
    let seen = above(&total.service, 500_000);
    assert!(
        (1..=16).contains(&seen),
        "no more than there are connections, give or take: {seen}"
    );
    assert!(report.total.latency.p99 > 700_000.0 && report.total.service.p50 < 300_000.0);
}

#[test]
fn a_closed_loop_sees_the_same_stall_as_a_few_slow_calls() {
    let server = Server::start(Script {
        stall: Some((Duration::from_millis(600), Duration::from_millis(1000))),
        ..Script::default()
    });
    let report = run_text(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[load]\nconcurrency = 4\nduration = \"2s\"\nwarmup = \"100ms\"\n{ECHO}",
        server.url()
    ));
    let slow = above(&report.total.latency, 500_000);
    assert!((1..=8).contains(&slow), "{slow}");
    assert_eq!(report.total.failed(), 0, "{:?}", report.total.errors);
    assert!(report.total.ok > 100, "{}", report.total.ok);
    assert_eq!(
        report.headroom.lateness.count, 0,
        "nothing is ever late in a closed loop"
    );
}

#[test]
fn both_eras_are_spoken_and_found_out() {
    for (modern, spoken) in [(true, "2026-07-28"), (false, "2025-06-18")] {
        let server = Server::start(Script {
            modern,
            ..Script::default()
        });
        let session = if modern {
            ""
        } else {
            "[[operation]]\ncall = \"session\"\ncalls = 2\n"
        };
        let report = run_text(&format!(
            "[target]\nurl = \"{}\"\n[clients]\ncount = 6\nkeys = [\"k1\", \"k2\", \"k3\"]\n[connections]\ncount = 3\n[load]\nrate = 200\nduration = \"1s\"\nwarmup = \"0s\"\n{ECHO}[[operation]]\ncall = \"ping\"\n{session}",
            server.url()
        ));
        assert!(report.generator.contains(spoken), "{}", report.generator);
        assert_eq!(report.total.failed(), 0, "{:?}", report.total.errors);
        assert_eq!(report.total.ok, 200);
        assert!(operation(&report, "echo").outcome.ok > 20);
        assert!(operation(&report, "ping").outcome.ok > 20);
        let seen = server.seen();
        assert_eq!(
            Vec::from_iter(&seen.credentials),
            ["Bearer k1", "Bearer k2", "Bearer k3"],
            "every tenant calls"
        );
        assert!(seen.ids_are_unique, "no id is given twice");
        if !modern {
            assert!(operation(&report, "session").outcome.ok > 20);
            assert!(seen.initialized > 26, "{}", seen.initialized);
            assert_eq!(seen.initialized, seen.deleted, "every session is ended");
        }
        assert!(!report.scenario.contains("k1"), "no key in a report");
    }
}

#[test]
fn failures_are_counted_by_their_kind() {
    let server = Server::start(Script {
        answers: vec![
            (
                200,
                r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32000,"message":"no"}}"#,
            ),
            (
                200,
                r#"{"jsonrpc":"2.0","id":ID,"result":{"isError":true,"content":[]}}"#,
            ),
            (503, ""),
            (200, r#"{"jsonrpc":"2.0","id":0,"result":{}}"#),
        ],
        ..Script::default()
    });
    let report = run_text(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[connections]\ncount = 1\n[load]\nrate = 100\nduration = \"1s\"\nwarmup = \"0s\"\n{ECHO}",
        server.url()
    ));
    let errors = &report.total.errors;
    for kind in ["rpc_-32000", "tool_error", "http_503", "bad_answer"] {
        assert_eq!(errors.get(kind), Some(&25), "{kind}: {errors:?}");
    }
    assert_eq!(report.total.due, 100);
    assert_eq!(report.total.ok, 0);
    assert_eq!(report.total.failed(), 100, "every call has an end: {errors:?}");
}

#[test]
fn a_server_that_hangs_up_is_called_once_more_and_then_counted() {
    let server = Server::start(Script {
        answers: vec![(200, "CLOSE")],
        ..Script::default()
    });
    let report = run_text(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[connections]\ncount = 2\n[load]\nrate = 50\nduration = \"1s\"\nwarmup = \"0s\"\n{ECHO}",
        server.url()
    ));
    let errors = &report.total.errors;
    assert_eq!(report.total.failed(), 50, "{errors:?}");
    assert!(
        errors
            .keys()
            .all(|kind| ["closed", "reset"].contains(&kind.as_str())),
        "{errors:?}"
    );
}

#[test]
fn calls_that_time_out_and_calls_that_never_start_are_told_apart() {
    let server = Server::start(Script {
        stall: Some((Duration::ZERO, Duration::from_secs(30))),
        ..Script::default()
    });
    let report = run_text(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[connections]\ncount = 2\n[load]\nrate = 100\nduration = \"1s\"\nwarmup = \"0s\"\n[calls]\ntimeout = \"300ms\"\ndrain = \"0s\"\nwaiting_max = 20\n{ECHO}",
        server.url()
    ));
    let errors = &report.total.errors;
    assert!(
        errors.get("timeout").is_some_and(|n| (2..=20).contains(n)),
        "{errors:?}"
    );
    assert!(errors.get("not_started").is_some_and(|n| *n >= 70), "{errors:?}");
    assert_eq!(report.total.failed() + report.total.ok, report.total.due);
}

#[test]
fn events_are_awaited_cancelled_and_timed() {
    let server = Server::start(Script {
        events: 3,
        ..Script::default()
    });
    let report = run_text(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[connections]\ncount = 4\n[load]\nrate = 50\nduration = \"1s\"\nwarmup = \"0s\"\n\
         [[operation]]\nname = \"whole\"\ncall = \"tools/call\"\ntool = \"echo\"\nprogress = true\n\
         [[operation]]\nname = \"left\"\ncall = \"tools/call\"\ntool = \"echo\"\nprogress = true\ncancel_at_first_event = true\n",
        server.url()
    ));
    assert_eq!(report.total.failed(), 0, "{:?}", report.total.errors);
    let whole = &operation(&report, "whole").outcome;
    let first = whole.first_event.as_ref().expect("answers streamed");
    assert_eq!(first.count, whole.ok);
    assert!(
        first.p50 < whole.latency.p50,
        "{} {}",
        first.p50,
        whole.latency.p50
    );
    assert!(operation(&report, "left").outcome.ok > 5);
    assert!(server.seen().broken_off > 5, "the server sees them leave");
}

#[test]
fn old_calls_are_cancelled_by_a_notification() {
    let server = Server::start(Script {
        modern: false,
        stall: Some((Duration::ZERO, Duration::from_secs(30))),
        ..Script::default()
    });
    let report = run_text(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"legacy\"\n[connections]\ncount = 4\n[load]\nconcurrency = 4\nduration = \"1s\"\nwarmup = \"0s\"\n\
         [[operation]]\ncall = \"tools/call\"\ntool = \"echo\"\ncancel_after = \"20ms\"\n",
        server.url()
    ));
    assert_eq!(report.total.failed(), 0, "{:?}", report.total.errors);
    assert!(report.total.ok >= 4);
    assert!(server.seen().cancelled >= 4);
}

#[test]
fn what_is_held_open_is_held_open() {
    for modern in [true, false] {
        let server = Server::start(Script {
            modern,
            ..Script::default()
        });
        let report = run_text(&format!(
            "[target]\nurl = \"{}\"\n[connections]\ncount = 2\n[load]\nrate = 20\nduration = \"1s\"\nwarmup = \"0s\"\n[standing]\nlisten = 5\nidle = 3\n{ECHO}",
            server.url()
        ));
        let streams = &operation(&report, "held streams").outcome;
        assert_eq!((streams.due, streams.ok), (5, 5), "{:?}", streams.errors);
        assert_eq!(streams.latency.count, 5, "each was acknowledged");
        assert_eq!(operation(&report, "held idle connections").outcome.ok, 3);
        assert_eq!(report.total.due, 20);
        let connections = report.timeline.last().map(|moment| moment.connections);
        assert_eq!(connections, Some(7), "calls and streams");
    }
}

#[test]
fn threads_share_the_load_and_steps_are_stages() {
    let server = Server::start(Script::default());
    let report = run_text(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[connections]\ncount = 5\n[generator]\nthreads = 2\n[load]\nwarmup = \"500ms\"\n\
         [[load.step]]\nrate = 100\nduration = \"1s\"\n[[load.step]]\nrate = 200\nduration = \"1s\"\nramp = \"1s\"\n{ECHO}",
        server.url()
    ));
    assert_eq!(report.headroom.threads, 2);
    assert_eq!(report.total.due, 250);
    assert_eq!(report.total.ok, 250, "{:?}", report.total.errors);
    assert_eq!(report.stages.len(), 2);
    assert_eq!(
        (report.stages[0].outcome.due, report.stages[1].outcome.due),
        (100, 150)
    );
    assert!((report.stages[1].from_s - 1.0).abs() < 1e-6 && (report.stages[1].to_s - 2.0).abs() < 1e-6);
    let due: u64 = report.timeline.iter().map(|moment| moment.due).sum();
    assert_eq!(due, 300, "warm-up shows in the timeline");
    assert!(report.timeline[0].at_s < 0.0);
    assert!(server.seen().ids_are_unique);
}

#[test]
fn a_search_finds_a_server_that_gives_way() {
    // One connection, 5 ms an answer: 200 calls/s and no more.
    let server = Server::start(Script {
        answer_after: Duration::from_millis(5),
        ..Script::default()
    });
    let report = run_text(&format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[connections]\ncount = 1\n[calls]\ndrain = \"0s\"\n[generator]\nlateness_p99_max = \"1s\"\n[load]\nwarmup = \"100ms\"\n\
         [load.search]\nrate_min = 20\nprobe = \"500ms\"\nsettle = \"100ms\"\np99_max = \"400ms\"\nprecision = \"30%\"\nerrors_max = \"50%\"\nachieved_min = \"80%\"\n{ECHO}",
        server.url()
    ));
    let found = report.saturation.expect("a search");
    assert_eq!(found.ended, "found");
    assert!((20.0..=260.0).contains(&found.sustained_per_s), "{found:?}");
    assert!(found.peak_per_s <= 220.0, "{found:?}");
    assert!(report.stages.len() > 4);
}

#[test]
fn a_run_ends_when_it_is_told_to() {
    let server = Server::start(Script::default());
    let stop = Arc::new(AtomicBool::new(false));
    let watching = Watching {
        stop: Arc::clone(&stop),
        ..Watching::default()
    };
    let mut watched = watching.progress.subscribe();
    let text = format!(
        "[target]\nurl = \"{}\"\nrevision = \"modern\"\n[load]\nrate = 50\nduration = \"1h\"\nwarmup = \"0s\"\n{ECHO}",
        server.url()
    );
    let running = std::thread::spawn(move || run(scenario(&text), watching));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        while watched.borrow_and_update().ok() == 0 {
            watched.changed().await.unwrap();
        }
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let report = running.join().unwrap().unwrap();
    assert!(report.total.ok > 0);
    assert!(report.measured_s < 60.0, "{}", report.measured_s);
}

#[test]
fn targets_that_cannot_be_called_are_told_apart() {
    let text = |url: &str, revision: &str| {
        format!(
            "[target]\nurl = \"{url}\"\nrevision = \"{revision}\"\n[load]\nrate = 1\nduration = \"1s\"\n{ECHO}"
        )
    };
    let attempt = |text: String| run(scenario(&text), Watching::default()).map(|_| ());
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for revision in ["auto", "modern"] {
        let refused = attempt(text(&format!("http://{free}/mcp"), revision));
        assert!(matches!(refused, Err(RunError::Unreachable(_))), "{refused:?}");
    }
    let server = Server::start(Script {
        status: Some(401),
        ..Script::default()
    });
    let Err(RunError::Input(said)) = attempt(text(&server.url(), "auto")) else {
        panic!("401 is our mistake");
    };
    assert!(said.contains("401") && said.contains("--key"), "{said}");
    let server = Server::start(Script::default());
    let sessions = text(&server.url(), "modern").replace(
        "call = \"tools/call\"\ntool = \"echo\"\narguments",
        "call = \"session\"\nparams",
    );
    let sessions = sessions
        .lines()
        .filter(|line| !line.starts_with("params"))
        .collect::<Vec<_>>()
        .join("\n");
    let Err(RunError::Input(said)) = attempt(sessions) else {
        panic!("no sessions in the modern era");
    };
    assert!(said.contains("session"), "{said}");
}
