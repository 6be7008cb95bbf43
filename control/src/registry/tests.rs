//! The registry among servers that are dead, slow, changing, odd.

use super::*;
use crate::client::testing::{Answer, Scripted, Seen, discovered, initialized};
use ringway_proto::snapshot::{FORMAT, Gateway};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(20);

/// A pace at which a schedule can be waited for.
fn brisk() -> Pace {
    Pace {
        interval: Duration::from_millis(100),
        retry_min: Duration::from_millis(20),
        retry_max: Duration::from_millis(50),
        local_look: Duration::from_millis(20),
        ..Pace::default()
    }
}

/// A pace at which nothing happens by itself.
fn patient() -> Pace {
    Pace {
        interval: Duration::from_secs(3600),
        ..Pace::default()
    }
}

fn spec(name: &str, url: &str) -> Spec {
    let server = serde_json::from_value(json!({"name": name, "url": url})).unwrap();
    Spec {
        server,
        address: url.parse().unwrap(),
        headers: Vec::new(),
        http: HttpClient::new(),
        local: None,
    }
}

fn plan(servers: Vec<Spec>) -> Plan {
    let document = Document {
        format: FORMAT,
        number: 0,
        gateway: Gateway::default(),
        servers: Vec::new(),
        roles: Vec::new(),
        keys: Vec::new(),
        anonymous: None,
    };
    Plan { document, servers }
}

fn registry(pace: Pace, servers: Vec<Spec>) -> Registry {
    let registry = Registry::start(pace, None, Arc::new(|_, _| false));
    registry.set(plan(servers));
    registry
}

/// A legacy server with the given tools.
fn legacy(seen: &Seen, capabilities: Value, tools: Value) -> Answer {
    match seen.method() {
        "server/discover" => Answer::error(400, seen, -32000, "no session"),
        "initialize" => Answer::result(seen, initialized(capabilities)).with_header("mcp-session-id: s"),
        "notifications/initialized" => Answer::empty(202),
        "tools/list" => Answer::result(seen, json!({"tools": tools})),
        _ => Answer::error(200, seen, -32601, "unknown"),
    }
}

fn tools(document: &Document, server: &str) -> Option<Vec<String>> {
    let server = document.servers.iter().find(|s| s.name == server).unwrap();
    let name = |t: &str| {
        serde_json::from_str::<Value>(t).unwrap()["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    server
        .catalogue
        .as_ref()
        .map(|c| c.tools.iter().map(|t| name(t.get())).collect())
}

#[test]
fn revisions_we_do_not_know_by_name_count_as_the_nearest_older_one() {
    for (agreed, recorded) in [
        ("2024-11-05", "2025-03-26"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-08-01", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2027-01-01", "2025-11-25"),
    ] {
        assert_eq!(probe::nearest_legacy(agreed).as_str(), recorded);
    }
}

/// Waits until the status of the first server is as wanted.
async fn until(registry: &Registry, wanted: impl Fn(&Status) -> bool) -> Status {
    timeout(SOON, async {
        loop {
            let status = registry.status().remove(0);
            if wanted(&status) {
                return status;
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the status came about")
}

#[tokio::test]
async fn a_dead_and_a_slow_server_do_not_keep_the_good_one_from_being_listed() {
    let good = Scripted::start(|seen| legacy(seen, json!({"tools": {}}), json!([{"name": "a"}]))).await;
    let slow = Scripted::start(|_| Answer::Silence).await;
    let registry = registry(
        patient(),
        vec![
            spec("dead", "http://127.0.0.1:9/mcp"),
            spec("slow", &slow.address.to_string()),
            spec("good", &good.address.to_string()),
        ],
    );
    assert!(
        !registry.first_round(Duration::from_millis(500)).await,
        "the slow one has not answered"
    );
    let document = registry.document().unwrap();
    assert_eq!(document.number, 1);
    assert_eq!(tools(&document, "good"), Some(vec!["a".to_owned()]));
    assert_eq!(tools(&document, "dead"), None);
    assert_eq!(tools(&document, "slow"), None);
    let states: Vec<_> = registry.status().iter().map(|s| s.state).collect();
    assert_eq!(states, ["down", "pending", "up"]);
    assert!(
        registry.status()[0]
            .reason
            .as_ref()
            .unwrap()
            .contains("cannot connect")
    );
}

#[tokio::test]
async fn a_change_that_is_told_is_published_and_one_that_is_none_is_not() {
    let grown = Arc::new(AtomicBool::new(false));
    let (opened, mut streams) = mpsc::unbounded_channel();
    let state = grown.clone();
    let server = Scripted::start(move |seen| match seen.method() {
        "GET" => {
            let (pieces, stream) = mpsc::unbounded_channel();
            opened.send(pieces).unwrap();
            Answer::Stream(stream)
        }
        _ => {
            let tools = if state.load(SeqCst) {
                json!([{"name": "a"}, {"name": "b"}])
            } else {
                json!([{"name": "a"}])
            };
            legacy(seen, json!({"tools": {"listChanged": true}}), tools)
        }
    })
    .await;
    let registry = registry(patient(), vec![spec("s", &server.address.to_string())]);
    assert!(registry.first_round(SOON).await);
    assert_eq!(registry.document().unwrap().number, 1);
    let mut documents = registry.documents();
    let tell = streams.recv().await.unwrap();
    let event = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    grown.store(true, SeqCst);
    // Many at once are one change.
    for _ in 0..5 {
        tell.send(format!("data: {event}\n\n")).unwrap();
    }
    let newer = timeout(
        SOON,
        documents.wait_for(|d| d.as_ref().is_some_and(|d| d.number == 2)),
    )
    .await
    .unwrap();
    assert_eq!(tools(newer.unwrap().as_ref().unwrap(), "s").unwrap(), ["a", "b"]);
    let methods = server.methods();
    assert_eq!(
        methods.iter().filter(|m| *m == "initialize").count(),
        1,
        "listed in the same session: {methods:?}"
    );
    registry.shutdown(SOON).await;
    assert_eq!(server.methods().last().unwrap(), "DELETE");
}

#[tokio::test]
async fn a_server_that_reports_a_change_in_every_session_is_not_asked_in_circles() {
    let server = Scripted::start(move |seen| match seen.method() {
        "GET" => {
            let (pieces, stream) = mpsc::unbounded_channel();
            let event = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
            pieces.send(format!("data: {event}\n\n")).unwrap();
            tokio::spawn(async move { pieces.closed().await });
            Answer::Stream(stream)
        }
        _ => legacy(
            seen,
            json!({"tools": {"listChanged": true}}),
            json!([{"name": "a"}]),
        ),
    })
    .await;
    let other = Scripted::start(|seen| legacy(seen, json!({"tools": {}}), json!([]))).await;
    let registry = registry(
        patient(),
        vec![
            spec("s", &server.address.to_string()),
            spec("other", &other.address.to_string()),
        ],
    );
    assert!(registry.first_round(SOON).await);
    // The told change is answered by one list in the same session...
    timeout(SOON, async {
        while server.methods().iter().filter(|m| *m == "tools/list").count() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    // ...and in the time of ten further probes of another, nothing more is asked.
    for round in 1..=10 {
        registry.probe_now("other");
        while other.methods().iter().filter(|m| *m == "initialize").count() < round {
            sleep(Duration::from_millis(2)).await;
        }
    }
    let methods = server.methods();
    assert_eq!(
        methods.iter().filter(|m| *m == "initialize").count(),
        1,
        "{methods:?}"
    );
    assert_eq!(
        methods.iter().filter(|m| *m == "tools/list").count(),
        2,
        "{methods:?}"
    );
}

#[tokio::test]
async fn a_server_that_fails_keeps_its_catalogue_says_why_and_comes_back() {
    let broken = Arc::new(AtomicBool::new(false));
    let state = broken.clone();
    let server = Scripted::start(move |seen| match state.load(SeqCst) {
        true => Answer::Whole(503, "text/plain", String::new(), "in maintenance".to_owned()),
        false => legacy(seen, json!({"tools": {}}), json!([{"name": "a"}])),
    })
    .await;
    let registry = registry(brisk(), vec![spec("s", &server.address.to_string())]);
    assert!(registry.first_round(SOON).await);
    let number = registry.document().unwrap().number;
    broken.store(true, SeqCst);
    let down = until(&registry, |s| s.state == "down").await;
    assert!(down.reason.unwrap().contains("in maintenance"));
    assert!(down.listed && down.since.is_some());
    let document = registry.document().unwrap();
    assert_eq!(document.number, number, "nothing to publish");
    assert_eq!(tools(&document, "s").unwrap(), ["a"]);
    broken.store(false, SeqCst);
    until(&registry, |s| s.state == "up").await;
    assert_eq!(registry.document().unwrap().number, number);
}

#[tokio::test]
async fn both_eras_are_recorded_where_both_are_really_had() {
    /// What the server does about `initialize` while it is a modern one.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Old {
        Speaks,
        RefusesBy404,
        RefusesByVersion,
        Echoes,
        IsPolite,
    }
    for old in [
        Old::Speaks,
        Old::RefusesBy404,
        Old::RefusesByVersion,
        Old::Echoes,
        Old::IsPolite,
    ] {
        let server = Scripted::start(move |seen| match (seen.method(), seen.modern(), old) {
            ("server/discover", ..) => Answer::result(seen, discovered(json!({"tools": {}}))),
            ("tools/list", true, _) => {
                Answer::result(seen, json!({"resultType": "complete", "tools": [{"name": "m"}]}))
            }
            (_, _, Old::Speaks) => legacy(seen, json!({"tools": {}}), json!([{"name": "l"}])),
            ("initialize", _, Old::RefusesByVersion) => Answer::error(400, seen, -32022, "2026-07-28 only"),
            ("initialize", _, Old::Echoes) => Answer::result(seen, seen.body["params"].clone()),
            ("initialize" | "notifications/initialized", _, Old::IsPolite) => {
                legacy(seen, json!({"tools": {}}), json!([]))
            }
            _ => Answer::error(404, seen, -32601, "unknown"),
        })
        .await;
        let registry = registry(patient(), vec![spec("s", &server.address.to_string())]);
        assert!(registry.first_round(SOON).await);
        let document = registry.document().unwrap();
        let catalogue = document.servers[0].catalogue.as_ref().unwrap();
        assert!(catalogue.modern, "{old:?}");
        assert_eq!(catalogue.legacy_revision.is_some(), old == Old::Speaks, "{old:?}");
        assert_eq!(tools(&document, "s").unwrap(), ["m"], "{old:?}");
    }
}

#[tokio::test]
async fn entries_that_are_no_definitions_are_left_out_and_reported() {
    let server = Scripted::start(|seen| match seen.method() {
        "tools/list" => {
            let huge = "x".repeat(300 << 10);
            let list = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"tools":[{{"name":"a", "n":1.0}},7,{{}},{{"name":"a"}},{{"name":"h","description":"{huge}"}}]}}}}"#,
                seen.body["id"]
            );
            Answer::Whole(200, "application/json", String::new(), list)
        }
        "resources/list" => Answer::error(200, seen, -32603, "out of order"),
        _ => legacy(seen, json!({"tools": {}, "resources": {}, "prompts": {}}), json!([])),
    })
    .await;
    let registry = registry(patient(), vec![spec("s", &server.address.to_string())]);
    assert!(registry.first_round(SOON).await);
    let document = registry.document().unwrap();
    let listed = &document.servers[0].catalogue.as_ref().unwrap().tools;
    assert_eq!(
        listed.iter().map(|t| t.get()).collect::<Vec<_>>(),
        [r#"{"name":"a", "n":1.0}"#]
    );
    let status = registry.status().remove(0);
    assert_eq!(status.state, "up");
    assert_eq!(status.notes.len(), 5, "{:?}", status.notes);
}

#[tokio::test]
async fn a_new_configuration_keeps_what_it_does_not_touch() {
    let kept = Scripted::start(|seen| legacy(seen, json!({"tools": {}}), json!([{"name": "a"}]))).await;
    let gone = Scripted::start(|seen| legacy(seen, json!({"tools": {}}), json!([{"name": "b"}]))).await;
    let (kept_url, gone_url) = (kept.address.to_string(), gone.address.to_string());
    let registry = registry(patient(), vec![spec("kept", &kept_url), spec("gone", &gone_url)]);
    assert!(registry.first_round(SOON).await);
    let asked = kept.seen().len();
    let moved = Spec {
        headers: vec![("x-token".to_owned(), "t".to_owned())],
        ..spec("new", &gone_url)
    };
    registry.set(plan(vec![moved, spec("kept", &kept_url)]));
    assert!(registry.first_round(SOON).await);
    let document = registry.document().unwrap();
    assert_eq!(
        document
            .servers
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>(),
        ["new", "kept"]
    );
    assert_eq!(tools(&document, "kept").unwrap(), ["a"]);
    assert_eq!(kept.seen().len(), asked, "its task and catalogue went on");
    assert_eq!(gone.seen().last().unwrap().header("x-token"), Some("t"));
    registry.set(plan(vec![spec("kept", &gone_url)]));
    assert!(registry.first_round(SOON).await);
    assert_eq!(
        tools(&registry.document().unwrap(), "kept").unwrap(),
        ["b"],
        "reached elsewhere, asked anew"
    );
}

#[tokio::test]
async fn a_local_server_is_probed_and_listened_to_only_while_somebody_uses_it() {
    let (opened, mut streams) = mpsc::unbounded_channel();
    let local = Scripted::start(move |seen| match seen.method() {
        "GET" => {
            let (pieces, stream) = mpsc::unbounded_channel();
            opened.send(pieces).unwrap();
            Answer::Stream(stream)
        }
        _ => legacy(
            seen,
            json!({"tools": {"listChanged": true}}),
            json!([{"name": "a"}]),
        ),
    })
    .await;
    let remote = Scripted::start(|seen| legacy(seen, json!({"tools": {}}), json!([]))).await;
    let used = Arc::new(AtomicBool::new(false));
    let says = used.clone();
    let registry = Registry::start(brisk(), None, Arc::new(move |_, _| says.load(SeqCst)));
    let process = Local {
        fingerprint: "npx something".to_owned(),
        shared: true,
    };
    let process = Spec {
        local: Some(process),
        ..spec("local", &local.address.to_string())
    };
    registry.set(plan(vec![process, spec("remote", &remote.address.to_string())]));
    let times = |server: &Scripted, method| server.methods().iter().filter(|m| *m == method).count();
    // Nobody uses it: the first probe's session ends, and the schedule passes it over.
    let first = streams.recv().await.unwrap();
    timeout(SOON, first.closed()).await.unwrap();
    while times(&remote, "initialize") < 4 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(times(&local, "initialize"), 1);
    assert_eq!(times(&local, "DELETE"), 1);
    // Somebody does: it is asked again, and heard.
    used.store(true, SeqCst);
    let stream = timeout(SOON, streams.recv()).await.unwrap().unwrap();
    used.store(false, SeqCst);
    timeout(SOON, stream.closed()).await.unwrap();
}

#[tokio::test]
async fn an_earlier_run_is_remembered_until_its_servers_are_reached() {
    let probes = Arc::new(AtomicUsize::new(0));
    let counted = probes.clone();
    let server = Scripted::start(move |_| {
        counted.fetch_add(1, SeqCst);
        Answer::Silence
    })
    .await;
    let url = server.address.to_string();
    let mut last = plan(Vec::new()).document;
    last.number = 41;
    last.servers = vec![
        serde_json::from_value(
            json!({"name": "s", "url": url, "catalogue": {"capabilities": {}, "tools": [{"name": "old"}]}}),
        )
        .unwrap(),
    ];
    let registry = Registry::start(patient(), Some(last.clone()), Arc::new(|_, _| false));
    registry.set(plan(vec![spec("s", &url)]));
    let document = registry.document().unwrap();
    assert_eq!(document.number, 42);
    assert_eq!(tools(&document, "s").unwrap(), ["old"]);
    assert_eq!(registry.status()[0].state, "pending");
    // A server of that name elsewhere is another server.
    let registry = Registry::start(patient(), Some(last), Arc::new(|_, _| false));
    registry.set(plan(vec![spec("s", "http://127.0.0.1:9/mcp")]));
    assert_eq!(tools(&registry.document().unwrap(), "s"), None);
}
