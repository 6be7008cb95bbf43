//! The highest rate that is borne, as `ringway-loadtest run --search` finds it: open loop, probe after probe, each
//! at a rate of its own, until errors, lateness or a queue show that a rate is too high.

use super::{Bench, Result, finding, row};
use crate::compare::{
    failure::Failure,
    place::{Placement, Scheduling, installed},
    process::{Process, free_address},
    results::{Finding, Spread},
    rows::{BASE, FLOOR},
    work::{Answered, Cell, Era, Http, Pace, Work},
};
use serde_json::json;
use std::{path::Path, time::Duration};

/// What is searched for, by row: the upstream alone in the proxy's place, then what stands in front of it.
const ROWS: [&str; 5] = ["direct", FLOOR, BASE, "haproxy", "ringway"];
/// How often each.
const SEARCHES: usize = 2;
/// Measured time of a probe.
const PROBE: Duration = Duration::from_secs(2);
/// The reference server, where the peers of the tests are installed (`npm ci` there).
const EVERYTHING: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../control/tests/peers/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
);

/// Measures all.
pub fn measure(bench: &Bench<'_>) -> Result<Finding> {
    let columns = [
        "target",
        "borne, calls/s: min / max",
        "peak of answers, calls/s",
        "search ended",
    ];
    let mut finding = finding(bench, "search", "The highest rate that is borne", &columns);
    // Of a second in which a real-time process does not rest, the kernel takes fifty milliseconds away: near its limit a
    // generator of one processor would never see a good 99th percentile.
    let scheduling = match bench.placement.scheduling {
        Scheduling::Rr => Scheduling::Nice,
        other => other,
    };
    let bench = &Bench {
        placement: Placement {
            scheduling,
            proxy_scheduling: scheduling,
            ..bench.placement
        },
        ..bench.clone()
    };
    finding.origin = bench.origin();
    for id in ROWS {
        let row = row(id)?;
        let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&row))?;
        let running = bench.start(Cell::Small, &row, &upstreams, 1)?;
        let work = Work {
            pace: Pace::Search,
            duration: PROBE,
            ..bench.work(Cell::Small, &row, &running)
        };
        search(bench, id, &row.label, &work, &mut finding)?;
    }
    match everything(bench) {
        Ok((_server, work)) => search(
            bench,
            "everything",
            "server-everything (older era, no proxy)",
            &work,
            &mut finding,
        )?,
        Err(failure) => finding
            .remarks
            .push(format!("Not measured: server-everything: {failure}")),
    }
    finding.remarks.push(format!(
        "64 connections, probes of {} s; generator and upstream on one processor, what is searched on the other.",
        PROBE.as_secs()
    ));
    Ok(finding)
}

fn search(bench: &Bench<'_>, id: &str, label: &str, work: &Work, finding: &mut Finding) -> Result<()> {
    let mut found: Vec<Answered> = Vec::new();
    for _ in 0..SEARCHES {
        let answered = bench.generator.run(work, &bench.placement, &bench.dir)?;
        eprintln!("search {id}: {:.0}/s {:?}", answered.per_s, answered.search);
        found.push(answered);
    }
    let of = |figure: fn(&Answered) -> f64| Spread::of(found.iter().map(figure));
    let peak = |answered: &Answered| answered.search.as_ref().map_or(0.0, |search| search.peak_per_s);
    let (Some(borne), Some(peak)) = (of(|a| a.per_s), of(peak)) else {
        return Ok(());
    };
    let ended: Vec<&str> = found
        .iter()
        .filter_map(|answered| Some(&*answered.search.as_ref()?.ended))
        .collect();
    finding.lines.push(vec![
        label.to_owned(),
        format!("{:.0} / {:.0}", borne.min, borne.max),
        format!("{:.0}", peak.max),
        ended.join(", "),
    ]);
    finding.figures.insert(format!("{id}_per_s"), borne.median);
    Ok(())
}

/// The reference server in the proxy's place.
fn everything(bench: &Bench<'_>) -> Result<(Process, Work)> {
    if !Path::new(EVERYTHING).is_file() {
        return Err(Failure::new("not installed; `npm ci` in control/tests/peers"));
    }
    let address = free_address()?;
    let mut command = bench.placement.on_proxy_cpu(&installed("node")?);
    command.arg(EVERYTHING).arg("streamableHttp");
    command.env("PORT", address.port().to_string());
    let server = Process::start("server-everything", command, &bench.dir)?.ready(address)?;
    let cell = Cell::Small;
    let work = Work {
        url: format!("http://{address}/mcp"),
        http: Http::One,
        ca: None,
        era: Era::Legacy,
        tool: "echo".to_owned(),
        arguments: json!({ "message": cell.arguments()["text"] }),
        key: None,
        connections: cell.connections(),
        pace: Pace::Search,
        duration: PROBE,
    };
    Ok((server, work))
}
