//! The gateway is told to stop while it has much to do.

use crate::{
    client::{Agent, ERAS, Era, Outcome, Stream},
    gateway::{Gateway, OPEN, PROGRAM, lives, with_strays},
    load::{self, Arguments, Load, Route},
    support::{counting, say},
    until,
    upstream::Upstream,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Right answers every agent gets before the order to stop.
const BEFORE: usize = 5;

/// Two remote servers and two local ones.
struct Scene {
    new: Upstream,
    old: Upstream,
    gateway: Gateway,
}

impl Scene {
    fn new() -> Self {
        let (new, old) = (Upstream::start(Era::Modern), Upstream::start(Era::Legacy));
        let configuration = format!(
            "drain: 30s\n{OPEN}servers:\n  new: {{url: \"{}\"}}\n  old: {{url: \"{}\"}}\n  \
             local: {}\n  \
             own: {{command: {PROGRAM}, args: [builtin-server, --legacy], sharing: session}}\n",
            new.url(),
            old.url(),
            with_strays(),
        );
        Self {
            gateway: Gateway::up(&configuration),
            new,
            old,
        }
    }

    fn load(&self) -> Load {
        let mut routes: Vec<(Route, Arguments)> = Vec::new();
        for era in ERAS {
            routes.push((Route::merged(era, "new", "echo"), load::echo));
            routes.push((Route::own(era, "new", "echo"), load::echo));
            routes.push((Route::merged(era, "old", "echo"), load::echo));
            routes.push((Route::own(era, "old", "echo"), load::echo));
            routes.push((Route::merged(era, "local", "echo"), load::echo_only));
            routes.push((Route::own(era, "own", "echo"), load::echo_only));
        }
        let load = Load::start(self.gateway.addr, routes);
        load.goes_on("calls before the order to stop", BEFORE);
        load
    }

    /// Calls that wait at a server until the gate is opened, or take a while.
    fn under_way(&self) -> Vec<(Agent, u64, String)> {
        let mut calls = Vec::new();
        let mut begin = |era, path: &str, tool: &str, arguments: Value, right: &str| {
            let mut agent = Agent::connect(self.gateway.addr, era, path).expect("connected");
            let id = agent.send_call(tool, arguments).expect("sent");
            calls.push((agent, id, right.to_owned()));
        };
        for era in ERAS {
            for server in ["new", "old"] {
                begin(
                    era,
                    "/mcp",
                    &format!("{server}__gate"),
                    json!({"message": "one"}),
                    "one",
                );
                begin(
                    era,
                    &format!("/servers/{server}/mcp"),
                    "gate",
                    json!({"message": "two"}),
                    "two",
                );
            }
            let slow = json!({"steps": 60, "delay_ms": 20});
            begin(era, "/mcp", "local__progress", slow.clone(), "60 steps done");
            begin(era, "/servers/own/mcp", "progress", slow, "60 steps done");
        }
        self.new.waits_for_gate(4);
        self.old.waits_for_gate(4);
        until("the calls are under way", || {
            self.gateway.calls_in_flight() >= calls.len() as u64
        });
        calls
    }

    fn streams(&self) -> Vec<(String, Stream)> {
        let mut open = Vec::new();
        for era in ERAS {
            for path in ["/mcp", "/servers/new/mcp", "/servers/old/mcp", "/servers/own/mcp"] {
                let agent = Agent::connect(self.gateway.addr, era, path).expect("connected");
                let stream = agent
                    .listen()
                    .unwrap_or_else(|outcome| panic!("{era:?} {path}: {outcome:?}"));
                open.push((format!("{era:?} {path}"), stream));
            }
        }
        open
    }

    fn processes(&self) -> Vec<u32> {
        let all: Vec<_> = counting::descendants(self.gateway.process.id());
        assert_eq!(
            all.iter().filter(|(_, name)| name == "sleep").count(),
            2,
            "the strays are there: {all:?}"
        );
        all.into_iter().map(|(id, _)| id).collect()
    }

    /// Agents may find the door closed, but nothing may be done for them that they do not hear of.
    fn nothing_is_lost(&self, load: Load) {
        let ledger = load.stop();
        say(ledger.summary());
        for entry in ledger.failed() {
            let executed = self.new.executed(entry.number) + self.old.executed(entry.number);
            let told = matches!(&entry.outcome, Outcome::Failed { message, .. } if message.contains("shutting down"));
            let unheard = matches!(&entry.outcome, Outcome::Broken { unheard: true, .. });
            assert!(
                executed == 0 && (told || unheard),
                "{:?}: {entry:?}, executed {executed} times",
                ledger.routes[entry.route]
            );
        }
    }
}

#[test]
fn one_order_lets_every_call_finish_and_leaves_nothing_behind() {
    let mut scene = Scene::new();
    let load = scene.load();
    let calls = scene.under_way();
    let idle: Vec<_> = ERAS
        .map(|era| Agent::connect(scene.gateway.addr, era, "/mcp").expect("connected"))
        .into();
    let streams = scene.streams();
    let processes = scene.processes();

    scene
        .gateway
        .and_wait_for("draining", || scene.gateway.signal(Signal::TERM));
    for (what, stream) in streams {
        assert!(stream.ends_in_order(), "{what} was cut");
    }
    scene.new.open_gate();
    scene.old.open_gate();
    for (mut agent, id, right) in calls {
        let outcome = agent.answer_to(id);
        assert!(outcome.is(&right), "{outcome:?} instead of {right:?}");
        assert!(
            agent.is_let_go(),
            "the answer {right:?} neither said connection: close nor ended its connection"
        );
    }
    let status = scene.gateway.ended();
    scene.nothing_is_lost(load);
    drop(idle);
    let log = scene.gateway.process.log();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        !log.contains("still under way") && !log.contains("did not stop in time"),
        "{log}"
    );
    let left: Vec<_> = processes.into_iter().filter(|id| lives(*id)).collect();
    assert!(left.is_empty(), "processes {left:?} are left; it wrote:\n{log}");
}

#[test]
fn a_second_order_ends_it_at_once_and_leaves_nothing_behind() {
    let mut scene = Scene::new();
    let load = scene.load();
    let _never_answered = scene.under_way();
    let processes = scene.processes();

    scene
        .gateway
        .and_wait_for("draining", || scene.gateway.signal(Signal::TERM));
    scene
        .gateway
        .and_wait_for("second signal", || scene.gateway.signal(Signal::TERM));
    let status = scene.gateway.ended();
    let log = scene.gateway.process.log();
    assert_eq!(status.code(), Some(1), "{log}");
    drop(load.stop());
    let left: Vec<_> = processes.into_iter().filter(|id| lives(*id)).collect();
    assert!(left.is_empty(), "processes {left:?} are left; it wrote:\n{log}");
}

/// The start waits for servers for a while; an order to stop must not find nobody to take it.
#[test]
fn an_order_during_the_start_leaves_nothing_behind() {
    let mut silent = Upstream::start(Era::Legacy);
    silent.stop();
    let _port = silent.take_the_port_and_say_nothing();
    let configuration = format!(
        "{OPEN}servers:\n  silent: {{url: \"{}\"}}\n  local: {}\n",
        silent.url(),
        with_strays(),
    );
    let mut starting = Gateway::starting(&configuration);
    let process = &mut starting.process;
    let strays = || {
        counting::descendants(process.id())
            .into_iter()
            .filter(|(_, name)| name == "sleep")
            .count()
    };
    until("the local server runs", || strays() == 2);
    let processes: Vec<u32> = counting::descendants(process.id())
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    crate::gateway::kill(process.id(), Signal::TERM);
    let status = process.ended(crate::PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", process.log());
    let left: Vec<_> = processes.into_iter().filter(|id| lives(*id)).collect();
    assert!(
        left.is_empty(),
        "processes {left:?} are left; it wrote:\n{}",
        process.log()
    );
}
