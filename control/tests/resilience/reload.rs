//! The configuration changes, breaks and is mended, and keys come and go, while agents call.

use crate::{
    client::{Agent, ERAS, Era, Outcome, Stream},
    gateway::{Gateway, OPEN, PROGRAM},
    load::{self, Arguments, Load, Route},
    support::say,
    until,
    upstream::Upstream,
};
use serde_json::json;

/// Right answers every agent gets between two changes.
const BETWEEN: usize = 5;

/// `/mcp` and the own endpoint of these servers, in both eras, with a key.
fn routes(servers: &[&str], key: &str) -> Vec<(Route, Arguments)> {
    let mut routes: Vec<(Route, Arguments)> = Vec::new();
    for server in servers {
        let arguments: Arguments = if *server == "local" {
            load::echo_only
        } else {
            load::echo
        };
        for era in ERAS {
            routes.push((Route::merged(era, server, "echo").with_key(key), arguments));
            routes.push((Route::own(era, server, "echo").with_key(key), arguments));
        }
    }
    routes
}

/// Calls `echo` of a server on `/mcp` anew until the outcome is as wanted.
fn until_a_call(
    what: &str,
    gateway: &Gateway,
    server: &str,
    key: Option<&str>,
    wanted: impl Fn(&Outcome) -> bool,
) {
    let mut last = None;
    until(what, || {
        let agent = Agent::connect_as(gateway.addr, Era::Modern, "/mcp", key);
        let outcome = agent.map_or_else(
            |outcome| outcome,
            |mut a| a.call(&format!("{server}__echo"), json!({"message": "m"})),
        );
        let is = wanted(&outcome);
        last = Some(outcome);
        is
    });
}

fn works(outcome: &Outcome) -> bool {
    outcome.is("m")
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed { message, .. } if message.contains("Unknown tool"))
}

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed { status: 401, .. })
}

#[test]
fn changes_do_not_disturb_those_they_do_not_concern() {
    let (new, old, third) = (
        Upstream::start(Era::Modern),
        Upstream::start(Era::Legacy),
        Upstream::start(Era::Legacy),
    );
    let roles = |guest: &str| {
        format!(
            "roles:\n  worker: {{allow: [\"new__*\", \"old__*\", \"local__*\"]}}\n  guest: {{allow: [{guest}]}}\n"
        )
    };
    let servers = |timeouts: &str, more: &str| {
        format!(
            "servers:\n  new: {{url: \"{}\", timeouts: {{total: {timeouts}}}}}\n  old: {{url: \"{}\", timeouts: {{total: {timeouts}}}}}\n  \
             local: {{command: {PROGRAM}, args: [builtin-server], sharing: shared}}\n{more}",
            new.url(),
            old.url()
        )
    };
    let more = |name: &str| format!("  {name}: {{url: \"{}\"}}\n", third.url());
    let (gateway, worker) = Gateway::up_with_key(
        &format!("{}{}", servers("120s", ""), roles("\"third__*\"")),
        "worker",
    );
    let (guest, _) = gateway.create_key("second", "guest");
    let guest = Some(guest.as_str());
    until_a_call("the new key is known", &gateway, "third", guest, is_unknown);
    let load = Load::start(gateway.addr, routes(&["new", "old", "local"], &worker));
    let step = |what: &str| load.goes_on(what, BETWEEN);
    step("before any change");

    gateway.reload(&format!(
        "{}{}",
        servers("120s", &more("third")),
        roles("\"third__*\"")
    ));
    until_a_call("the added server works", &gateway, "third", guest, works);
    step("after a server was added");

    gateway.reload(&format!(
        "{}{}",
        servers("120s", &more("third")),
        roles("\"else__*\"")
    ));
    until_a_call("its role lost the tool", &gateway, "third", guest, is_unknown);
    step("after a role changed");

    gateway.reload(&format!(
        "{}{}",
        servers("120s", &more("renamed")),
        roles("\"*\"")
    ));
    until_a_call("the old name is gone", &gateway, "third", guest, is_unknown);
    until_a_call("the renamed server works", &gateway, "renamed", guest, works);
    step("after a server was renamed");

    // The servers under load themselves, in what does not change their tools.
    gateway.reload(&format!("{}{}", servers("90s", &more("renamed")), roles("\"*\"")));
    step("after the servers' deadlines changed");

    gateway.and_wait_for("the configuration has errors", || {
        gateway.write("servers: [1, 2]\nroles: 5\n")
    });
    until_a_call(
        "the last good configuration serves",
        &gateway,
        "renamed",
        guest,
        works,
    );
    step("after the file broke");

    gateway.and_wait_for("the configuration has errors", || {
        gateway.write_raw("\tnot yaml: [\n")
    });
    step("after the file broke differently");

    gateway.reload(&format!("{}{}", servers("90s", ""), roles("\"*\"")));
    until_a_call(
        "the removed server is gone",
        &gateway,
        "renamed",
        guest,
        is_unknown,
    );
    step("after the file was mended");

    let ledger = load.stop();
    say(ledger.summary());
    ledger.is_spotless();
    assert_eq!(new.repeated(), []);
    assert_eq!(old.repeated(), []);
}

#[test]
fn calls_under_way_at_a_removed_server_finish() {
    let upstreams = [
        ("new", Upstream::start(Era::Modern)),
        ("old", Upstream::start(Era::Legacy)),
    ];
    let mut servers = format!("  local: {{command: {PROGRAM}, args: [builtin-server], sharing: shared}}\n");
    servers.push_str(&format!(
        "  own: {{command: {PROGRAM}, args: [builtin-server, --legacy], sharing: session}}\n"
    ));
    for (name, upstream) in &upstreams {
        servers.push_str(&format!("  {name}: {{url: \"{}\"}}\n", upstream.url()));
    }
    let stays = Upstream::start(Era::Modern);
    let rest = format!("  stays: {{url: \"{}\"}}\n", stays.url());
    let gateway = Gateway::up(&format!("{OPEN}servers:\n{servers}{rest}"));

    let mut calls = Vec::new();
    let mut begin = |mut agent: Agent, tool: &str, arguments, right: String| {
        let id = agent.send_call(tool, arguments).expect("sent");
        calls.push((agent, id, right));
    };
    for era in ERAS {
        for (name, _) in &upstreams {
            let (arguments, right) = load::echo(calls_number());
            let own = Agent::connect(gateway.addr, era, &format!("/servers/{name}/mcp")).expect("connected");
            begin(own, "gate", arguments, right);
            let (arguments, right) = load::echo(calls_number());
            let merged = Agent::connect(gateway.addr, era, "/mcp").expect("connected");
            begin(merged, &format!("{name}__gate"), arguments, right);
        }
        for name in ["local", "own"] {
            let own = Agent::connect(gateway.addr, era, &format!("/servers/{name}/mcp")).expect("connected");
            begin(
                own,
                "progress",
                json!({"steps": 40, "delay_ms": 50}),
                "40 steps done".to_owned(),
            );
            let merged = Agent::connect(gateway.addr, era, "/mcp").expect("connected");
            begin(
                merged,
                &format!("{name}__progress"),
                json!({"steps": 40, "delay_ms": 50}),
                "40 steps done".to_owned(),
            );
        }
    }
    for (_, upstream) in &upstreams {
        upstream.waits_for_gate(4);
    }
    until("all calls are under way", || gateway.calls_in_flight() >= 16);

    gateway.reload(&format!("{OPEN}servers:\n{rest}"));
    for name in ["new", "old", "local", "own"] {
        until_a_call("the removed server is unknown", &gateway, name, None, is_unknown);
    }
    for (_, upstream) in &upstreams {
        upstream.open_gate();
    }
    for (mut agent, id, right) in calls {
        let outcome = agent.answer_to(id);
        assert!(outcome.is(&right), "{outcome:?} instead of {right:?}");
    }
    until("the removed servers' processes are gone", || {
        gateway.children("builtin-server").is_empty()
    });
    until_a_call("the server that stays serves", &gateway, "stays", None, works);
}

/// Numbers for calls that no load makes.
fn calls_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

/// Every kind of stream that belongs to no call.
fn streams(gateway: &Gateway, key: &str) -> Vec<(String, Stream)> {
    let mut open = Vec::new();
    for era in ERAS {
        for path in ["/mcp", "/servers/new/mcp", "/servers/old/mcp", "/servers/own/mcp"] {
            let what = format!("{era:?} {path}");
            let agent = Agent::connect_as(gateway.addr, era, path, Some(key)).expect("connected");
            open.push((
                what.clone(),
                agent
                    .listen()
                    .unwrap_or_else(|outcome| panic!("{what}: {outcome:?}")),
            ));
        }
    }
    open
}

#[test]
fn a_revoked_key_is_refused_and_its_streams_end() {
    let (new, old) = (Upstream::start(Era::Modern), Upstream::start(Era::Legacy));
    let configuration = format!(
        "roles: {{all: {{allow: [\"*\"]}}}}\nservers:\n  new: {{url: \"{}\"}}\n  old: {{url: \"{}\"}}\n  \
         own: {{command: {PROGRAM}, args: [builtin-server, --legacy], sharing: session}}\n",
        new.url(),
        old.url()
    );
    let (gateway, first) = Gateway::up_with_key(&configuration, "all");
    let (second, id) = gateway.create_key("second", "all");
    until_a_call("the second key works", &gateway, "new", Some(&second), works);
    let kept = streams(&gateway, &first);
    let ended = streams(&gateway, &second);
    let mut under_way =
        Agent::connect_as(gateway.addr, Era::Modern, "/mcp", Some(&second)).expect("connected");
    let call = under_way
        .send_call("new__gate", json!({"message": "late"}))
        .expect("sent");
    new.waits_for_gate(1);

    gateway.revoke_key(&id);
    until_a_call(
        "the revoked key is refused",
        &gateway,
        "new",
        Some(&second),
        is_refused,
    );
    let session = Agent::connect_as(gateway.addr, Era::Legacy, "/mcp", Some(&second));
    assert!(session.as_ref().is_err_and(is_refused), "no session any more");
    let endings: Vec<_> = ended
        .into_iter()
        .map(|(what, stream)| std::thread::spawn(move || (what, stream.ends_in_order())))
        .collect();
    let endings: Vec<_> = endings
        .into_iter()
        .map(|ending| ending.join().expect("a thread"))
        .collect();
    let wrong: Vec<_> = endings
        .iter()
        .filter(|(_, in_order)| !in_order)
        .map(|(what, _)| what)
        .collect();
    assert!(
        wrong.is_empty(),
        "streams of the revoked key that did not end in good order: {wrong:?}"
    );
    for (what, stream) in kept {
        assert!(stream.goes_on(), "{what} of the other key ended");
    }
    new.open_gate();
    let outcome = under_way.answer_to(call);
    assert!(outcome.is("late"), "a call under way is finished: {outcome:?}");
    until_a_call("the first key goes on", &gateway, "old", Some(&first), works);
}

#[test]
fn keys_come_and_go_while_the_file_is_broken() {
    let new = Upstream::start(Era::Modern);
    let configuration = format!(
        "roles: {{all: {{allow: [\"*\"]}}}}\nservers:\n  new: {{url: \"{}\"}}\n",
        new.url()
    );
    let (gateway, first) = Gateway::up_with_key(&configuration, "all");
    gateway.and_wait_for("the configuration has errors", || gateway.write("servers: 1\n"));
    let (second, id) = gateway.create_key("second", "all");
    until_a_call(
        "a key made meanwhile works",
        &gateway,
        "new",
        Some(&second),
        works,
    );
    gateway.revoke_key(&id);
    until_a_call(
        "a key revoked meanwhile is refused",
        &gateway,
        "new",
        Some(&second),
        is_refused,
    );
    until_a_call("the first key goes on", &gateway, "new", Some(&first), works);
    gateway.reload(&configuration);
    until_a_call(
        "the first key goes on in the mended file",
        &gateway,
        "new",
        Some(&first),
        works,
    );
}
