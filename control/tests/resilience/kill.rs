//! Local servers killed with SIGKILL while agents of both eras call them, and the gateway itself.

use crate::{
    client::ERAS,
    eventually,
    gateway::{Gateway, OPEN, PROGRAM, kill, lives, with_strays},
    load::{self, Arguments, Load, Route},
    support::say,
    until,
};
use rustix::process::Signal;

/// Kills of one server. The first restart is immediate, later ones wait twice as long each time.
const KILLS: usize = 4;
/// Right answers every agent gets between two kills.
const BETWEEN: usize = 15;

/// Every way to call a server.
fn routes(server: &str) -> Vec<(Route, Arguments)> {
    let mut routes: Vec<(Route, Arguments)> = Vec::new();
    for era in ERAS {
        routes.push((Route::merged(era, server, "echo"), load::echo_only));
        routes.push((Route::own(era, server, "echo"), load::echo_only));
        routes.push((Route::merged(era, server, "progress"), load::steps));
        routes.push((Route::own(era, server, "progress"), load::steps));
    }
    routes
}

/// Kills a process of the server again and again under load.
fn killing(args: &str, sharing: &str) {
    let server = "local";
    let configuration =
        format!("{OPEN}servers:\n  {server}: {{command: {PROGRAM}, args: {args}, sharing: {sharing}}}\n");
    let gateway = Gateway::up(&configuration);
    let load = Load::start(gateway.addr, routes(server));
    load.goes_on("calls before the first kill", BETWEEN);
    let processes = gateway.children("builtin-server").len();
    for _ in 0..KILLS {
        // One with a call under way sooner or later: every process has agents that call it without a pause.
        let victim = eventually("a process to kill", || {
            gateway.children("builtin-server").first().copied()
        });
        kill(victim, Signal::KILL);
        until("it is dead", || !lives(victim));
        load.goes_on("calls after a kill", BETWEEN);
    }
    let ledger = load.stop();
    say(format_args!(
        "{args} {sharing}: {processes} processes, {KILLS} kills, {}",
        ledger.summary()
    ));
    ledger.is_honest();
    until("no call is left in flight", || gateway.calls_in_flight() == 0);
}

#[test]
fn a_modern_server_killed_under_load_costs_the_calls_it_had_and_no_other() {
    killing("[builtin-server]", "shared");
}

#[test]
fn a_shared_session_server_killed_under_load_costs_the_calls_it_had_and_no_other() {
    killing("[builtin-server, --legacy]", "shared");
}

#[test]
fn a_process_of_one_session_killed_under_load_costs_the_calls_it_had_and_no_other() {
    killing("[builtin-server, --legacy]", "session");
}

/// Nobody is left to stop what a killed gateway started, until the next one comes.
#[test]
fn what_a_killed_gateway_left_running_is_ended_by_the_next_one() {
    let configuration = format!("{OPEN}servers:\n  local: {}\n", with_strays());
    let gateway = Gateway::up(&configuration);
    gateway.answers_for(&["local"]);
    let strays: Vec<u32> = gateway.children("sleep 1000");
    assert!(strays.len() >= 2, "{strays:?}");
    let next = gateway.killed_and_started_again();
    until("strays of the killed gateway are gone", || {
        strays.iter().all(|id| !lives(*id))
    });
    next.answers_for(&["local"]);
    assert_eq!(next.sockets(), 1, "directories of sockets");
}
