//! Servers that crash, lie, say nothing, say too much, or will not end.

use crate::support::*;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

fn alive(pid: &str) -> bool {
    test_kill_process(to_pid(pid)).is_ok()
}

fn to_pid(pid: &str) -> Pid {
    Pid::from_raw(pid.parse().expect("a pid")).expect("a pid")
}

#[tokio::test]
async fn a_crash_fails_its_calls_and_the_next_call_works() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &[])).await;
    let session = server.initialize(json!({})).await;
    let crashed = session.call("exit", json!({})).await;
    assert_eq!((crashed.status, crashed.reason()), (200, "server_ended"));
    let text = crashed.message["error"]["message"].as_str().expect("text");
    assert!(text.contains("server s exited with code 3"), "{text}");
    assert_eq!(crashed.message["id"], "call");
    assert_eq!(
        session.call("pid", json!({})).await.status,
        200,
        "the session outlives the process"
    );
    let status = gateway.status("s");
    assert_eq!(
        (status.failures, status.last_error.as_deref()),
        (1, Some("exited with code 3"))
    );
    gateway.stop().await;
}

#[tokio::test]
async fn kill_9_during_calls() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let pid = server
        .modern("tools/call", json!({"name": "pid"}))
        .await
        .text()
        .to_owned();
    let calls = futures_util::future::join_all(
        (0..20).map(|_| server.modern("tools/call", json!({"name": "never"}))),
    );
    let kill = async {
        gateway.until("s", |status| status.calls == 20).await;
        kill_process(to_pid(&pid), Signal::KILL).expect("kill");
    };
    let (answers, ()) = tokio::join!(calls, kill);
    for answer in answers {
        assert_eq!(answer.reason(), "server_ended");
        let text = answer.message["error"]["message"].as_str().expect("text");
        assert!(text.contains("signal 9 (SIGKILL)"), "{text}");
    }
    assert_ne!(
        server.modern("tools/call", json!({"name": "pid"})).await.text(),
        pid
    );
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_written_before_a_crash_still_counts() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["modern"])).await;
    server.modern("tools/call", json!({"name": "pid"})).await;
    // The answer of `release` and the end of the process race through pipe and signal.
    let (held, crashed) = tokio::join!(
        async {
            let held = server.modern("tools/call", json!({"name": "hold"}));
            let release = async {
                gateway.until("s", |status| status.calls == 1).await;
                server.modern("tools/call", json!({"name": "release"})).await
            };
            tokio::join!(held, release).0
        },
        async {
            gateway.until("s", |status| status.calls == 0).await;
        }
    );
    assert_eq!(held.text(), "released");
    let () = crashed;
    gateway.stop().await;
}

#[tokio::test]
async fn repeated_failures_back_off_and_say_when_to_retry() {
    let limits = Limits {
        backoff_min: Duration::from_secs(20),
        ..quick()
    };
    let gateway = Gateway::with(limits);
    let server = gateway.serve(scripted("s", &["exit-at-start"])).await;
    // The first failure may be tried again at once, the second may not.
    let first = server.modern("tools/list", json!({})).await;
    assert_eq!((first.status, first.reason()), (503, "start_failed"));
    let text = first.message["error"]["message"].as_str().expect("text");
    assert!(
        text.contains("exited with code 7") && !text.contains("licence"),
        "{text}"
    );
    server.modern("tools/list", json!({})).await;
    let third = server.modern("tools/list", json!({})).await;
    assert_eq!((third.status, third.reason()), (503, "backing_off"));
    let seconds: u64 = third
        .header("retry-after")
        .and_then(|s| s.parse().ok())
        .expect("seconds");
    assert!((1..=20).contains(&seconds), "{seconds}");
    let status = gateway.status("s");
    assert!(
        matches!(status.state, ServerState::BackingOff { .. }),
        "{status:?}"
    );
    assert!(
        status
            .last_error
            .as_deref()
            .is_some_and(|e| e.contains("no licence found")),
        "{status:?}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_missing_program_is_said_plainly() {
    let gateway = Gateway::new();
    let server = gateway
        .serve(LocalServer::stdio(Launch::command(
            "s",
            "/no/such/program",
            [""; 0],
        )))
        .await;
    let refused = server.modern("tools/list", json!({})).await;
    assert_eq!(refused.status, 503);
    let text = refused.message["error"]["message"].as_str().expect("text");
    assert!(
        text.contains("/no/such/program") && text.contains("install"),
        "{text}"
    );
    assert_eq!(
        server.modern("tools/list", json!({})).await.reason(),
        "cannot_start"
    );
    assert!(matches!(gateway.status("s").state, ServerState::Failed { .. }));
    gateway.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_once_is_tried_again() {
    let gateway = Gateway::new();
    let flag = gateway.directory.path().join("flag");
    let server = gateway
        .serve(scripted(
            "s",
            &["modern", "fail-once", flag.to_str().expect("text")],
        ))
        .await;
    // The probe takes an end for a legacy server's and starts it again, which is as good as a retry.
    let first = server.modern("tools/call", json!({"name": "pid"})).await;
    let second = server.modern("tools/call", json!({"name": "pid"})).await;
    assert!(
        first.status == 503 && second.status == 200 || first.status == 200,
        "{first:?} {second:?}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn odd_lines_are_passed_over() {
    let gateway = Gateway::with(Limits {
        line_bytes_max: 100_000,
        ..quick()
    });
    let server = gateway.serve(scripted("s", &["modern", "noise"])).await;
    for line in [
        "plain text",
        "{\"broken\": ",
        "[]",
        "42",
        r#"{"jsonrpc":"2.0","id":999999,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":999,"progress":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}"#,
    ] {
        let answer = server
            .modern("tools/call", json!({"name": "raw", "arguments": {"line": line}}))
            .await;
        assert_eq!((answer.text(), answer.events.is_none()), ("done", true), "{line}");
    }
    let twice = server.modern("tools/call", json!({"name": "twice"})).await;
    assert_eq!(twice.text(), "first");
    let huge = server
        .modern(
            "tools/call",
            json!({"name": "huge", "arguments": {"bytes": 99_000}}),
        )
        .await;
    assert_eq!(huge.text().len(), 99_000);
    let huge = server
        .modern(
            "tools/call",
            json!({"name": "huge", "arguments": {"bytes": 5_000_000}}),
        )
        .await;
    assert_eq!(huge.reason(), "answer_too_large");
    let ambiguous = server.modern("tools/call", json!({"name": "ambiguous"})).await;
    assert_eq!(ambiguous.reason(), "bad_answer");
    assert_eq!(gateway.status("s").failures, 0);
    gateway.stop().await;
}

#[tokio::test]
async fn requests_are_bounded_too() {
    let gateway = Gateway::with(Limits {
        line_bytes_max: 10_000,
        ..quick()
    });
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let refused = server
        .modern("tools/call", json!({"name": "x".repeat(20_000)}))
        .await;
    assert_eq!(refused.status, 413);
    gateway.stop().await;
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_deadline() {
    let gateway = Gateway::with(Limits {
        call_deadline: Duration::from_millis(50),
        ..quick()
    });
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let late = server.modern("tools/call", json!({"name": "never"})).await;
    assert_eq!(late.reason(), "deadline_exceeded");
    let heard = seen(&server.modern("tools/call", json!({"name": "seen"})).await);
    assert!(heard.iter().any(|m| m["method"] == "notifications/cancelled"));
    gateway.stop().await;
}

#[tokio::test]
async fn every_descendant_is_ended_however_it_hides() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["modern", "keep-on"])).await;
    let mut pids = vec![
        server
            .modern("tools/call", json!({"name": "pid"}))
            .await
            .text()
            .to_owned(),
    ];
    for how in ["group", "session", "orphan", "bare"] {
        let answer = server
            .modern("tools/call", json!({"name": "fork", "arguments": {"how": how}}))
            .await;
        pids.push(answer.text().to_owned());
    }
    assert!(pids.iter().all(|pid| alive(pid)), "{pids:?}");
    gateway.sandbox.remove("s").await;
    let left: Vec<_> = pids.iter().filter(|pid| alive(pid)).collect();
    assert!(left.is_empty(), "{left:?} of {pids:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_crash_takes_the_descendants_along() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let mut pids = Vec::new();
    for how in ["group", "session", "orphan"] {
        let answer = server
            .modern("tools/call", json!({"name": "fork", "arguments": {"how": how}}))
            .await;
        pids.push(answer.text().to_owned());
    }
    assert_eq!(
        server
            .modern("tools/call", json!({"name": "abort"}))
            .await
            .reason(),
        "server_ended"
    );
    let began = Instant::now();
    while pids.iter().any(|pid| alive(pid)) {
        assert!(began.elapsed() < SOON, "{pids:?} are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.stop().await;
}

/// What a child of ours would find open: descriptors without close-on-exec.
fn inheritable() -> Vec<String> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").expect("descriptors").flatten() {
        let info = std::path::Path::new("/proc/self/fdinfo").join(entry.file_name());
        let info = std::fs::read_to_string(info).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        if flags.is_some_and(|flags| flags & CLOSE_ON_EXEC == 0) {
            found.extend(std::fs::read_link(entry.path()).map(|link| link.display().to_string()));
        }
    }
    found
}

#[tokio::test]
async fn a_server_gets_only_what_it_should() {
    let inherited = inheritable();
    let gateway = Gateway::new();
    let mut spec = scripted("s", &["modern"]);
    if let Transport::Stdio(launch) = &mut spec.transport {
        launch.env.push(("TOKEN".to_owned(), "t".to_owned()));
        launch.cwd = Some("/".into());
    }
    let server = gateway.serve(spec).await;
    // Beyond the three pipes it may have what this very process was given open by whoever started it (cargo leaves
    // its job server), and nothing that we opened.
    let open = server.modern("tools/call", json!({"name": "descriptors"})).await;
    let ours: Vec<&str> = open
        .text()
        .split(' ')
        .filter(|link| !inherited.iter().any(|i| i == link))
        .collect();
    assert!(
        ours.len() <= 3 && ours.iter().all(|link| link.starts_with("pipe:")),
        "{ours:?} beside {inherited:?}"
    );
    let env = server.modern("tools/call", json!({"name": "env"})).await;
    let env: serde_json::Map<String, Value> = serde_json::from_str(env.text()).expect("map");
    assert_eq!(env["TOKEN"], "t");
    assert!(env.contains_key("PATH") && env.contains_key("RINGWAY_PROCESS"));
    assert!(env.keys().all(|name| !name.starts_with("CARGO")), "{env:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_replaced_server_finishes_its_calls_first() {
    let gateway = Gateway::new();
    let spec = scripted("s", &["modern"]);
    let server = gateway.serve(spec.clone()).await;
    let old = server
        .modern("tools/call", json!({"name": "pid"}))
        .await
        .text()
        .to_owned();
    let held = server
        .open_modern(
            json!(1),
            "tools/call",
            json!({"name": "hold", "_meta": {"progressToken": 1}}),
        )
        .await;
    gateway.serve(spec.clone()).await;
    assert_eq!(
        server.modern("tools/call", json!({"name": "pid"})).await.text(),
        old,
        "unchanged: left alone"
    );

    let mut changed = spec;
    changed.idle_stop *= 2;
    gateway.serve(changed).await;
    let new = server.modern("tools/call", json!({"name": "pid"})).await;
    assert_ne!(new.text(), old);
    assert!(alive(&old), "the call under way keeps the old process");
    // Nobody can release it in the old process any more; its client gives up, and then it goes.
    drop(held);
    let began = Instant::now();
    while alive(&old) {
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_removed_server_is_gone_with_its_socket() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["modern"])).await;
    let pid = server
        .modern("tools/call", json!({"name": "pid"}))
        .await
        .text()
        .to_owned();
    gateway.sandbox.remove("s").await;
    assert!(!alive(&pid));
    assert!(gateway.sandbox.status().is_empty());
    assert!(!gateway.directory.path().join("s/s.sock").exists());
    gateway.serve(scripted("s", &["modern"])).await;
    assert_eq!(
        server.modern("tools/call", json!({"name": "pid"})).await.status,
        200
    );
    gateway.stop().await;
}

#[tokio::test]
async fn names_and_directories_are_checked() {
    let gateway = Gateway::new();
    for name in ["", "-a", "A", "a/b", "../a", "a b", &"x".repeat(65)] {
        assert!(
            gateway.sandbox.ensure(scripted(name, &[])).await.is_err(),
            "{name:?}"
        );
    }
    let open = gateway.directory.path().join("open");
    std::fs::create_dir(&open).expect("directory");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    assert!(Sandbox::new(open, quick()).is_err());
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_killed_gateway_left_running_is_ended_by_the_next() {
    let directory = tempfile::tempdir().expect("directory");
    let sockets = directory.path().join("s");
    let mut gateway = std::process::Command::new(example("bridge"))
        .arg(&sockets)
        .args([&example("scripted_server"), "modern", "keep-on"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("gateway");
    let mut address = String::new();
    let mut out = std::io::BufReader::new(gateway.stdout.take().expect("output"));
    std::io::BufRead::read_line(&mut out, &mut address).expect("address");
    let server = Client::new(address.trim());
    let pid = server
        .modern("tools/call", json!({"name": "pid"}))
        .await
        .text()
        .to_owned();
    let claimed = Sandbox::new(sockets.clone(), quick()).err().expect("in use");
    assert!(claimed.to_string().contains("another gateway"), "{claimed}");
    gateway.kill().expect("kill");
    gateway.wait().expect("wait");
    assert!(alive(&pid), "it ignores the end of its stdin");

    let next = Sandbox::new(sockets, quick()).expect("sandbox");
    let began = Instant::now();
    while alive(&pid) {
        assert!(began.elapsed() < SOON, "{pid} is left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    next.shutdown(SOON).await;
}

#[tokio::test]
async fn a_server_that_reads_nothing_holds_nobody_beyond_the_deadline() {
    let limits = Limits {
        call_deadline: Duration::from_millis(100),
        outgoing_queue_max: 1,
        ..quick()
    };
    let gateway = Gateway::with(limits);
    let server = gateway.serve(scripted("s", &["modern"])).await;
    server.modern("tools/call", json!({"name": "deafen"})).await;
    // More than its pipe and our queue hold.
    let big = json!({"name": "never", "arguments": {"big": "x".repeat(200_000)}});
    for answer in
        futures_util::future::join_all((0..8).map(|_| server.modern("tools/call", big.clone()))).await
    {
        assert_eq!(answer.reason(), "deadline_exceeded");
    }
    gateway.sandbox.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_start_under_way_is_given_up_when_its_server_is_removed() {
    let gateway = Gateway::new();
    let server = gateway.serve(scripted("s", &["mute"])).await;
    let waiting = server.modern("tools/list", json!({}));
    let remove = async {
        gateway
            .until("s", |status| status.state == ServerState::Starting)
            .await;
        gateway.sandbox.remove("s").await;
    };
    let (answer, ()) = tokio::join!(waiting, remove);
    assert_eq!(answer.status, 503, "{answer:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_shutdown_ends_stubborn_servers_within_its_deadline() {
    let limits = Limits {
        eof_grace: SOON,
        term_grace: SOON,
        ..Limits::default()
    };
    let gateway = Gateway::with(limits);
    let server = gateway.serve(scripted("s", &["modern", "keep-on"])).await;
    let mut pids = vec![
        server
            .modern("tools/call", json!({"name": "pid"}))
            .await
            .text()
            .to_owned(),
    ];
    for how in ["group", "session", "orphan", "bare"] {
        let answer = server
            .modern("tools/call", json!({"name": "fork", "arguments": {"how": how}}))
            .await;
        pids.push(answer.text().to_owned());
    }
    gateway.sandbox.shutdown(Duration::from_secs(2)).await;
    assert!(pids.iter().all(|pid| !alive(pid)), "{pids:?}");
}
