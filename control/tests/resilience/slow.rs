//! Agents that hold streams and do not read what they asked for.

use crate::{
    client::{Agent, ERAS, Era},
    gateway::{Gateway, OPEN},
    load::{self, Arguments, Load, Route},
    support::say,
    until,
    upstream::Upstream,
};
use serde_json::json;

/// Idle streams, over both eras.
const STREAMS: usize = 20;
/// Unread answers of each kind: era of the agent × era of the server.
const UNREAD: usize = 5;
const ANSWER_BYTES: usize = 8 << 20;
/// What an unread answer may cost where bytes pass: some reads on the way, and no more however large it is.
const PASSING_KIB_MAX: usize = 1 << 10;
/// And where eras meet: an answer is translated whole, as it came and as it leaves.
const TRANSLATED_KIB_MAX: usize = 3 * (ANSWER_BYTES >> 10);
/// What the rest of the test costs: connections, streams, the allocator's own.
const REST_KIB: usize = 24 << 10;

#[test]
fn those_who_do_not_read_slow_nobody_and_memory_stays_bounded() {
    let (new, old) = (Upstream::start(Era::Modern), Upstream::start(Era::Legacy));
    let configuration = format!(
        "{OPEN}servers:\n  new: {{url: \"{}\"}}\n  old: {{url: \"{}\"}}\n",
        new.url(),
        old.url()
    );
    let gateway = Gateway::up(&configuration);
    let mut routes: Vec<(Route, Arguments)> = Vec::new();
    for era in ERAS {
        for server in ["new", "old"] {
            routes.push((Route::merged(era, server, "echo"), load::echo));
        }
    }
    let load = Load::start(gateway.addr, routes);
    load.goes_on("calls before", 50);
    let before = gateway.holdings();

    let streams: Vec<_> = (0..STREAMS)
        .map(|n| {
            let agent = Agent::connect(gateway.addr, ERAS[n % 2], "/mcp").expect("connected");
            agent.listen().expect("a stream")
        })
        .collect();
    let unread = |same: bool| {
        let mut agents = Vec::new();
        for (era, server) in [
            (Era::Modern, "new"),
            (Era::Legacy, "old"),
            (Era::Modern, "old"),
            (Era::Legacy, "new"),
        ] {
            if ((era == Era::Modern) == (server == "new")) != same {
                continue;
            }
            for _ in 0..UNREAD {
                let mut agent = Agent::connect(gateway.addr, era, "/mcp").expect("connected");
                agent.reads_little();
                agent
                    .send_call(&format!("{server}__large"), json!({"bytes": ANSWER_BYTES}))
                    .expect("sent");
                assert!(agent.hears(), "the answer has begun");
                agents.push(agent);
            }
        }
        agents
    };
    let passing = unread(true);
    load.goes_on("calls beside answers that pass unread", 50);
    let with_passing = gateway.holdings();
    let translated = unread(false);
    load.goes_on("calls beside answers that are translated and unread", 50);
    let with_translated = gateway.holdings();
    let grown = |from: usize, to: usize| to.saturating_sub(from);
    let (first, second) = (
        grown(before.memory_kib, with_passing.memory_kib),
        grown(with_passing.memory_kib, with_translated.memory_kib),
    );
    drop((passing, translated, streams));
    load.goes_on("calls after", 50);
    let ledger = load.stop();
    until("no call is left in flight", || gateway.calls_in_flight() == 0);
    let after = gateway.holdings();
    say(format_args!(
        "{} answers of 8 MiB passing unread cost {first} KiB, as many translated {second} KiB; \
         before {before:?}, after {after:?}; {}",
        2 * UNREAD,
        ledger.summary()
    ));
    ledger.is_spotless();
    assert!(
        first <= 2 * UNREAD * PASSING_KIB_MAX + REST_KIB,
        "{first} KiB for answers that pass"
    );
    assert!(
        second <= 2 * UNREAD * TRANSLATED_KIB_MAX + REST_KIB,
        "{second} KiB for answers that are translated"
    );
}
