//! What a connection, a session and a stream cost in resident memory while nothing happens on them.

use super::{Bench, Result, finding, row};
use crate::compare::{
    client::Client,
    proxies::Running,
    results::Finding,
    work::{Cell, Work},
};
use std::time::Duration;

/// Idle connections held; HAProxy's bound at the usual descriptor limit is below 10,000.
const COUNTS: [usize; 2] = [2_000, 9_500];
/// Older-era sessions opened.
const SESSIONS: usize = 4_000;
/// Event streams held.
const STREAMS: usize = 1_000;
/// Results under way at once: bytes, and how many.
const LARGE: [(usize, usize); 2] = [(1 << 20, 64), (16 << 20, 64)];
/// Calls before the first look, so that what is allocated once is there.
const FIRST_CALLS: usize = 200;
/// Until allocators and kernel have given back what they will.
const SETTLE: Duration = Duration::from_millis(1_500);

/// Measures all.
pub fn measure(bench: &Bench<'_>) -> Result<Finding> {
    let columns = ["row", "held", "resident before", "resident while held", "each"];
    let mut finding = finding(bench, "memory", "Resident memory of what is idle", &columns);
    let mut add = |label: &str, held: String, figure: String, before: u64, after: u64, count: usize| {
        let each = (after as f64 - before as f64) / 1024.0 / count as f64;
        finding.lines.push(vec![
            label.to_owned(),
            held,
            format!("{:.1} MiB", before as f64 / f64::from(1 << 20)),
            format!("{:.1} MiB", after as f64 / f64::from(1 << 20)),
            format!("{each:.2} KiB"),
        ]);
        eprintln!("{figure}: {each:.2} KiB");
        finding.figures.insert(figure, each);
    };
    for id in ["nginx", "haproxy", "hyper", "ringway"] {
        let row = row(id)?;
        for count in COUNTS {
            let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&row))?;
            let running = bench.start(Cell::Small, &row, &upstreams, 1)?;
            let work = bench.work(Cell::Small, &row, &running);
            let path = &*row.path;
            let held = hold(&running, &work, path, count, Client::call)?;
            add(
                &row.label,
                format!("{count} connections after a call each"),
                figure(id, "connection", count),
                held.0,
                held.1,
                count,
            );
        }
    }
    let old = row("ringway-old")?;
    let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&old))?;
    let running = bench.start(Cell::Small, &old, &upstreams, 1)?;
    let work = bench.work(Cell::Small, &old, &running);
    let (before, after) = sessions(&running, &work, &old.path)?;
    add(
        &old.label,
        format!("{SESSIONS} more sessions after as many, a call each"),
        "ringway_session_kib".to_owned(),
        before,
        after,
        SESSIONS,
    );

    let new = row("ringway")?;
    let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&new))?;
    let running = bench.start(Cell::Small, &new, &upstreams, 1)?;
    let work = bench.work(Cell::Small, &new, &running);
    let held = hold(&running, &work, &new.path, STREAMS, Client::listen)?;
    add(
        &new.label,
        format!("{STREAMS} event streams (`subscriptions/listen`)"),
        "ringway_stream_kib".to_owned(),
        held.0,
        held.1,
        STREAMS,
    );
    for (bytes, count) in LARGE {
        let upstreams = bench.upstreams(Cell::M1, std::slice::from_ref(&new))?;
        let running = bench.start(Cell::M1, &new, &upstreams, 1)?;
        let small = bench.work(Cell::Small, &new, &running);
        bench.warm_up(&small)?;
        let before = running.process.rss_bytes_max();
        let large = Work {
            arguments: serde_json::json!({ "bytes": bytes }),
            connections: count,
            ..small
        };
        bench.measure(&large, &running, 0)?;
        add(
            &new.label,
            format!("{count} results of {} MiB under way, without end", bytes >> 20),
            format!("ringway_result_kib_of_{}_mib", bytes >> 20),
            before,
            running.process.rss_bytes_max(),
            count,
        );
    }
    finding
        .remarks
        .push("Results under way: the most that was held at any moment.".to_owned());
    finding
        .remarks
        .push("Kernel memory of sockets comes on top, the same for all.".to_owned());
    Ok(finding)
}

/// `ringway_connection_kib` is the figure of the most connections; others have their count in the name.
fn figure(id: &str, what: &str, count: usize) -> String {
    if count == COUNTS[COUNTS.len() - 1] {
        format!("{id}_{what}_kib")
    } else {
        format!("{id}_{what}_kib_at_{count}")
    }
}

/// Resident memory before and while so many connections are open, each after `deed`.
fn hold(
    running: &Running,
    work: &Work,
    path: &str,
    count: usize,
    deed: impl Fn(&mut Client, &str, &Work) -> Result<()>,
) -> Result<(u64, u64)> {
    let mut first = Client::connect(running.address)?;
    for _ in 0..FIRST_CALLS {
        first.call(path, work)?;
    }
    std::thread::sleep(SETTLE);
    let before = running.process.rss_bytes();
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = Client::connect(running.address)?;
        deed(&mut client, path, work)?;
        held.push(client);
    }
    std::thread::sleep(SETTLE);
    Ok((before, running.process.rss_bytes()))
}

/// Resident memory before and after so many sessions were opened over one connection.
fn sessions(running: &Running, work: &Work, path: &str) -> Result<(u64, u64)> {
    let mut client = Client::connect(running.address)?;
    client.open_session(path, work)?;
    for _ in 0..FIRST_CALLS {
        client.call(path, work)?;
    }
    // The first thousands fill caches and the allocator's pages, which are bounded; what sessions cost is what the
    // next ones add.
    for _ in 0..SESSIONS {
        client.open_session(path, work)?;
        client.call(path, work)?;
    }
    std::thread::sleep(SETTLE);
    let before = running.process.rss_bytes();
    for _ in 0..SESSIONS {
        client.open_session(path, work)?;
        client.call(path, work)?;
    }
    std::thread::sleep(SETTLE);
    Ok((before, running.process.rss_bytes()))
}
