//! From the order to start until the first call is served, with a hundred servers in the snapshot.

use super::{Bench, Result, finding, row};
use crate::compare::{
    client::Client,
    failure::Failure,
    proxies::{Fleet, Proxy, RingwayOptions},
    results::{Finding, Spread},
    work::Cell,
};
use std::time::{Duration, Instant};

/// Servers of ten tools each.
const SERVERS: usize = 100;
const TOOLS_EACH: usize = 10;
/// Starts in each round; one takes a fraction of a second.
const STARTS: usize = 4;
/// Between two tries to connect.
const POLL: Duration = Duration::from_micros(200);
const GIVE_UP: Duration = Duration::from_secs(10);

/// Measures it.
pub fn measure(bench: &Bench<'_>, rounds: usize) -> Result<Finding> {
    let columns = ["row", "starts", "ms to the first served call: min / median / max"];
    let mut finding = finding(bench, "start", "From start to the first served call", &columns);
    let mut row = row("ringway")?;
    row.proxy = Proxy::Ringway(RingwayOptions {
        fleet: Fleet {
            servers: SERVERS,
            tools_each: TOOLS_EACH,
            roles: SERVERS,
        },
        ..RingwayOptions::default()
    });
    let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&row))?;
    let mut times = Vec::new();
    for _ in 0..rounds * STARTS {
        let around = bench.surroundings(Cell::Small, &row, &upstreams, 1);
        let prepared = row.prepare(&around)?;
        let began = Instant::now();
        let running = prepared.launch()?;
        let work = bench.work(Cell::Small, &row, &running);
        let served = loop {
            let called =
                Client::connect(running.address).and_then(|mut client| client.call(&row.path, &work));
            match called {
                Ok(()) => break began.elapsed(),
                Err(failure) if began.elapsed() > GIVE_UP => {
                    return Err(Failure::new(format!("no call was served: {failure}")));
                }
                Err(_) => std::thread::sleep(POLL),
            }
        };
        times.push(served.as_secs_f64() * 1e3);
    }
    let Some(spread) = Spread::of(times.iter().copied()) else {
        return Ok(finding);
    };
    eprintln!("start: {:.1} ms", spread.median);
    finding.lines.push(vec![
        format!("{}, {SERVERS} servers of {TOOLS_EACH} tools", row.label),
        times.len().to_string(),
        format!("{:.1} / **{:.1}** / {:.1}", spread.min, spread.median, spread.max),
    ]);
    finding.figures.insert("first_call_ms".to_owned(), spread.median);
    finding.remarks.push(
        "With the files in the page cache; the wrappers that pin the process are part of the time."
            .to_owned(),
    );
    Ok(finding)
}
