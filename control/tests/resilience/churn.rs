//! A thousand connections, sessions, streams and processes come and go; then everything is as it was.
//!
//! `RINGWAY_CHURN_CYCLES` sets another number; tens of thousands show leaks that a thousand hide.

use crate::{
    client::{Agent, Era, Outcome},
    gateway::{Gateway, PROGRAM},
    support::say,
    until,
    upstream::Upstream,
};
use serde_json::json;
use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
};

const CYCLES: &str = "RINGWAY_CHURN_CYCLES";
/// Agents that come and go at the same time.
const AGENTS: usize = 4;
/// Cycles after which memory is first looked at: pools, tables and the allocator have their size by then.
const WARM_UP: usize = 200;
/// What memory may grow by from then on: the allocator's own, mostly. A leak of 24 KB a cycle would be seen in a
/// thousand, one of 1 KB in the long version.
const MEMORY_SLACK_KIB: usize = 24 << 10;
/// Beside it, what workers note of abandoned sessions: below a kilobyte each, and so many at most.
const NOTES_MAX: usize = 20_000;
/// Connections that may still be warm at the end: one a worker to either remote server, for the farewell to its
/// last session. They close within the minute.
const WARM_CONNECTIONS: usize = 4;

/// Processes of abandoned sessions that may be left before one more is abandoned: below what a server may have.
const ABANDONED_MAX: usize = 8;

/// One way to come and go.
fn cycle(gateway: &Gateway, key: &str, kind: usize) -> Result<(), Outcome> {
    let addr = gateway.addr;
    let own = || Agent::connect_as(addr, Era::Legacy, "/servers/own/mcp", Some(key));
    let call = |agent: &mut Agent, tool: &str| match agent.call(tool, json!({"message": "m"})) {
        outcome if outcome.is("m") => Ok(()),
        outcome => Err(outcome),
    };
    match kind {
        // A session, used and ended.
        0 => {
            let mut agent = Agent::connect(addr, Era::Legacy, "/mcp")?;
            call(&mut agent, "old__echo")?;
            agent.delete().map(drop)
        }
        // A session, used and abandoned.
        1 => call(&mut Agent::connect(addr, Era::Legacy, "/mcp")?, "new__echo"),
        // The same where each session has a process.
        2 => {
            let mut agent = own()?;
            call(&mut agent, "echo")?;
            agent.delete().map(drop)
        }
        3 => {
            until("abandoned processes end", || {
                gateway.children("--legacy").len() <= ABANDONED_MAX
            });
            call(&mut own()?, "echo")
        }
        // Streams, opened and dropped.
        4 => Agent::connect(addr, Era::Legacy, "/mcp")?.listen().map(drop),
        5 => Agent::connect(addr, Era::Legacy, "/servers/old/mcp")?
            .listen()
            .map(drop),
        6 => Agent::connect(addr, Era::Modern, "/mcp")?.listen().map(drop),
        7 => Agent::connect(addr, Era::Modern, "/servers/new/mcp")?
            .listen()
            .map(drop),
        8 => Agent::connect(addr, Era::Modern, "/servers/old/mcp")?
            .listen()
            .map(drop),
        // A call nobody waits for.
        9 => {
            let mut agent = Agent::connect(addr, Era::Modern, "/mcp")?;
            agent
                .send_call("local__progress", json!({"steps": 3, "delay_ms": 10}))
                .map(drop)
        }
        // Half a request.
        _ => {
            let sent =
                TcpStream::connect(addr).and_then(|mut s| s.write_all(b"POST /mcp HTTP/1.1\r\nhost: loc"));
            sent.map_err(|error| Outcome::Broken {
                unheard: true,
                why: error.to_string(),
            })
        }
    }
}

const KINDS: usize = 11;

fn cycles(gateway: &Gateway, key: &str, count: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AGENTS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    if n >= count {
                        return;
                    }
                    let done = cycle(gateway, key, n % KINDS);
                    assert!(done.is_ok(), "cycle {n}, kind {}: {:?}", n % KINDS, done.err());
                }
            });
        }
    });
}

#[test]
fn a_thousand_come_and_go_and_nothing_is_left() {
    let count = std::env::var(CYCLES)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000);
    let (new, old) = (Upstream::start(Era::Modern), Upstream::start(Era::Legacy));
    let roles = "anonymous: {roles: [all]}\nroles:\n  all: {allow: [\"new__*\", \"old__*\", \"local__*\"]}\n  \
        own: {allow: [\"own__*\"]}\n";
    let none = format!("{roles}servers: {{}}\n");
    let all = format!(
        "{roles}servers:\n  new: {{url: \"{}\"}}\n  old: {{url: \"{}\"}}\n  \
         local: {{command: {PROGRAM}, args: [builtin-server], sharing: shared, idle_stop: 2s}}\n  \
         own: {{command: {PROGRAM}, args: [builtin-server, --legacy], sharing: session, idle_stop: 2s}}\n",
        new.url(),
        old.url()
    );
    // Sessions on `/mcp` open one at every server they see; those with a process each are seen with a key only.
    let (gateway, key) = Gateway::up_with_key(&none, "own");
    let start = gateway.holdings();
    gateway.reload(&all);
    gateway.answers_for(&["new", "old", "local"]);
    until("sessions with a process each open", || {
        cycle(&gateway, &key, 2).is_ok()
    });
    cycles(&gateway, &key, WARM_UP);
    let warm = gateway.holdings();
    cycles(&gateway, &key, count);

    // With the servers still there: streams and processes go by themselves.
    until("no call is left in flight", || gateway.calls_in_flight() == 0);
    until("streams at servers are closed", || {
        old.streams() <= 1 && new.streams() <= 1
    });
    let used = gateway.holds("processes of abandoned sessions end", |now| now.processes == 0);

    gateway.reload(&none);
    let end = gateway.holds("it holds what it held", |now| {
        now.processes == start.processes && now.descriptors <= start.descriptors + WARM_CONNECTIONS
    });
    say(format_args!(
        "{count} cycles: at first {start:?}, warm {warm:?}, after {used:?}, at last {end:?}"
    ));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let notes_kib = workers * count.min(NOTES_MAX);
    assert!(
        end.memory_kib <= warm.memory_kib + MEMORY_SLACK_KIB + notes_kib,
        "memory grew from {} to {} KiB",
        warm.memory_kib,
        end.memory_kib
    );
}
