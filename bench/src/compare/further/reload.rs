//! A large snapshot taken up again and again while calls run: does any call wait for it?

use super::{Bench, Result, finding, row};
use crate::compare::{
    failure::Context,
    place::{Placement, Scheduling},
    proxies::{Fleet, Proxy, RingwayOptions, Running},
    results::{Finding, Sample, Spread},
    work::Cell,
};
use rustix::process::Signal;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// 10,000 tools.
const SERVERS: usize = 100;
const TOOLS_EACH: usize = 100;
const ROLES: usize = 1_000;
/// Between two orders to reload.
const EVERY: Duration = Duration::from_millis(1_000);
/// What the gateway says when it has done so.
const DONE: &str = "the snapshot is live";

/// Measures it.
pub fn measure(bench: &Bench<'_>, rounds: usize) -> Result<Finding> {
    let columns = [
        "round",
        "reloads",
        "p50 µs: usual / during",
        "p99 µs: usual / during",
        "p99 during to usual",
    ];
    let mut finding = finding(
        bench,
        "reload",
        "A snapshot of 10,000 tools and 1,000 roles taken up under load",
        &columns,
    );
    // A compilation has to have somewhere to run beside the worker, and must not take the load's place there.
    let bench = Bench {
        placement: Placement {
            spread: true,
            proxy_scheduling: Scheduling::Normal,
            ..bench.placement
        },
        ..bench.clone()
    };
    let mut row = row("ringway")?;
    row.proxy = Proxy::Ringway(RingwayOptions {
        fleet: Fleet {
            servers: SERVERS,
            tools_each: TOOLS_EACH,
            roles: ROLES,
        },
        ..RingwayOptions::default()
    });
    let upstreams = bench.upstreams(Cell::Rate, std::slice::from_ref(&row))?;
    let running = bench.start(Cell::Rate, &row, &upstreams, 1)?;
    let work = bench.work(Cell::Rate, &row, &running);
    bench.warm_up(&work)?;
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let usual = bench.measure(&work, &running, round)?;
        let before = reloads(&running)?;
        let during = with_reloads(&running, || bench.measure(&work, &running, round))?;
        let count = reloads(&running)? - before;
        let ratio = during.p99_us / usual.p99_us;
        ratios.push(ratio);
        let both = |of: fn(&Sample) -> f64| format!("{:.0} / {:.0}", of(&usual), of(&during));
        finding.lines.push(vec![
            (round + 1).to_string(),
            count.to_string(),
            both(|s| s.p50_us),
            both(|s| s.p99_us),
            format!("**{ratio:.2}**"),
        ]);
        eprintln!("reload round {}/{rounds} {:?}", round + 1, finding.lines.last());
    }
    if let Some(spread) = Spread::of(ratios) {
        finding.figures.insert("p99_ratio".to_owned(), spread.median);
    }
    finding.remarks.push(
        "2,000 calls a second, open loop; one worker, and the process may use both processors. Load and upstream go \
         before it on the second; what they leave of it is the compilation's."
            .to_owned(),
    );
    Ok(finding)
}

/// Does the deed while the process is told to reload every second.
fn with_reloads<T>(running: &Running, deed: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let orders = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                running.process.signal(Signal::HUP)?;
                std::thread::park_timeout(EVERY);
            }
            Ok(())
        });
        let outcome = deed();
        done.store(true, Ordering::Relaxed);
        orders.thread().unpark();
        match orders.join() {
            Ok(Ok(())) | Err(_) => outcome,
            Ok(Err(failure)) => Err(failure),
        }
    })
}

/// How often it has said that a snapshot is live.
fn reloads(running: &Running) -> Result<usize> {
    let log = running.process.log();
    let said = std::fs::read(log).context(log.display())?;
    Ok(String::from_utf8_lossy(&said).matches(DONE).count())
}
