//! Remote servers that go away and come back while agents of both eras call them.

use crate::{
    client::{Agent, ERAS, Era, Outcome},
    gateway::{Gateway, OPEN},
    load::{self, Arguments, Load, Route},
    support::say,
    until,
    upstream::{Forgets, Upstream},
};

const RESTARTS: usize = 5;
/// Right answers every agent gets between two restarts.
const BETWEEN: usize = 15;

fn routes(server: &str) -> Vec<(Route, Arguments)> {
    let routes = ERAS.into_iter().flat_map(|era| {
        [
            Route::merged(era, server, "echo"),
            Route::own(era, server, "echo"),
        ]
    });
    routes.map(|route| (route, load::echo as Arguments)).collect()
}

fn restarting(mut upstream: Upstream, forgetful: bool) {
    let gateway = Gateway::up(&format!(
        "{OPEN}servers:\n  remote: {{url: \"{}\"}}\n",
        upstream.url()
    ));
    let load = Load::start(gateway.addr, routes("remote"));
    load.goes_on("calls before the first restart", BETWEEN);
    for _ in 0..RESTARTS {
        upstream.stop();
        let failures = load.failures();
        until("calls find it gone", || load.failures() > failures + 4);
        upstream.start_again(forgetful);
        load.goes_on("calls after a restart", BETWEEN);
    }
    let ledger = load.stop();
    say(format_args!("{RESTARTS} restarts, {}", ledger.summary()));
    ledger.is_honest();
    assert_eq!(upstream.repeated(), [], "calls executed more than once");
    for entry in &ledger.entries {
        let executed = upstream.executed(entry.number);
        assert!(
            executed == 1 || !entry.succeeded(),
            "{entry:?} was executed {executed} times"
        );
    }
    until("no call is left in flight", || gateway.calls_in_flight() == 0);
}

#[test]
fn a_modern_server_restarted_under_load() {
    restarting(Upstream::start(Era::Modern), false);
}

#[test]
fn a_session_server_restarted_under_load_that_kept_its_sessions() {
    restarting(Upstream::start(Era::Legacy), false);
}

#[test]
fn a_session_server_restarted_under_load_that_says_404_to_its_old_sessions() {
    restarting(Upstream::start_that(Era::Legacy, Forgets::NotFound), true);
}

#[test]
fn a_session_server_restarted_under_load_that_says_400_to_its_old_sessions() {
    restarting(Upstream::start_that(Era::Legacy, Forgets::BadRequest), true);
}

/// Sessions lost without any connection being lost: nothing at all may fail.
#[test]
fn a_server_that_forgets_its_sessions_while_it_runs_costs_no_call() {
    for forgets in [Forgets::NotFound, Forgets::BadRequest] {
        let upstream = Upstream::start_that(Era::Legacy, forgets);
        let gateway = Gateway::up(&format!(
            "{OPEN}servers:\n  remote: {{url: \"{}\"}}\n",
            upstream.url()
        ));
        let load = Load::start(gateway.addr, routes("remote"));
        for _ in 0..RESTARTS {
            load.goes_on("calls", BETWEEN);
            upstream.forget();
        }
        load.goes_on("calls after the last loss", BETWEEN);
        let ledger = load.stop();
        say(format_args!("{forgets:?}: {}", ledger.summary()));
        ledger.is_spotless();
        assert_eq!(upstream.repeated(), []);
    }
}

/// Agents that wait for the same dead session must not wait one after the other, and not for it at all when they
/// call somebody else.
#[test]
fn a_server_that_takes_connections_and_never_answers_delays_its_own_calls_once_and_others_not() {
    let (mut silent, well) = (Upstream::start(Era::Legacy), Upstream::start(Era::Legacy));
    let configuration = |patience: &str| {
        let timeouts = format!("{{connect: 2s, header: {patience}, idle: {patience}, total: {patience}}}");
        format!(
            "{OPEN}servers:\n  silent: {{url: \"{}\", timeouts: {timeouts}}}\n  well: {{url: \"{}\"}}\n",
            silent.url(),
            well.url()
        )
    };
    let (short, long) = (configuration("2s"), configuration("10m"));
    let gateway = Gateway::up(&long);
    silent.stop();
    let _port = silent.take_the_port_and_say_nothing();

    // Ten minutes outlast the patience of an agent that would have to wait for them.
    for path in ["/mcp", "/servers/well/mcp"] {
        for era in ERAS {
            let mut agent = Agent::connect(gateway.addr, era, path).expect("a session");
            let tool = if path == "/mcp" { "well__echo" } else { "echo" };
            let (arguments, right) = load::echo(0);
            let outcome = agent.call(tool, arguments);
            assert!(outcome.is(&right), "{era:?} on {path}: {outcome:?}");
        }
    }

    // A hundred waits of two seconds in a row would outlast it too. Modern agents share one session.
    gateway.reload(&short);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let addr = gateway.addr;
            std::thread::spawn(move || {
                let mut agent = Agent::connect(addr, Era::Modern, "/mcp").expect("nothing to open");
                agent.call("silent__echo", load::echo(0).0)
            })
        })
        .collect();
    for call in calls {
        let outcome = call.join().expect("an agent's thread");
        assert!(
            matches!(&outcome, Outcome::Failed { message, .. } if message.contains("silent")),
            "{outcome:?}"
        );
    }
}
