//! What happens at three times the load that can be borne: how much is still served, what a refusal costs, and
//! whether memory stays.
//!
//! Two ways to be saturated. By the upstream: it takes its time for a call, and the bound on its pool is what limits.
//! By the processor: so many callers wait for their answers at once that there is always more to do.

use super::{Bench, Result, finding, row};
use crate::compare::{
    results::{Finding, Sample, Spread},
    rows::{BASE, FLOOR},
    upstream::Wanted,
    work::{Cell, Pace, Work},
};

/// What the upstream takes for a call, and the figure of how much is still served.
const LATENCIES: [(&str, &str); 2] = [("50ms", "goodput_ratio"), ("20ms", "goodput_ratio_at_20ms")];
/// Callers that fill the pool of one server exactly (`UpstreamLimits::pool_open_max`).
const FILLING: usize = 256;
/// Offered, in peaks.
const TIMES: f64 = 3.0;
/// Connections of an overload, and callers at once when the processor is what limits: nearly what one worker takes
/// (`DownstreamLimits::connections_per_worker_max`).
const CROWD: usize = 4_000;
/// A tool that no server has.
const UNKNOWN_TOOL: &str = "up__missing";

/// Measures both.
pub fn measure(bench: &Bench<'_>, rounds: usize) -> Result<Finding> {
    let columns = [
        "upstream takes",
        "round",
        "peak, calls/s",
        "offered",
        "served",
        "served to peak",
        "not served",
        "CPU µs a call: peak / overload",
        "p50 of overload, ms",
        "resident, peak / overload",
    ];
    let mut finding = finding(
        bench,
        "overload",
        "Three times the load that can be borne",
        &columns,
    );
    for (latency, figure) in LATENCIES {
        capacity(bench, rounds, latency, figure, &mut finding)?;
    }
    finding.remarks.push(format!(
        "Its pool holds {FILLING} connections: that and the upstream's time are the peak. {CROWD} callers' calls \
         wait in the pool's line, and the generator's for a free caller; those that found none before the end were \
         not served. None was refused unless a warning says so."
    ));
    processor(bench, rounds, &mut finding)?;
    refusals(bench, rounds, &mut finding)?;
    Ok(finding)
}

fn capacity(
    bench: &Bench<'_>,
    rounds: usize,
    latency: &str,
    figure: &str,
    finding: &mut Finding,
) -> Result<()> {
    let row = row("ringway")?;
    let slow = Wanted {
        latency: Some(latency),
        ahead: true,
        ..Wanted::plain(Cell::Small)
    };
    let upstreams = bench.upstreams_of(slow)?;
    let running = bench.start(Cell::Small, &row, &upstreams, 1)?;
    let usual = Work {
        connections: FILLING,
        ..bench.work(Cell::Small, &row, &running)
    };
    bench.warm_up(&usual)?;
    let mut goodput = Vec::new();
    let mut resident: Vec<u64> = Vec::new();
    for round in 0..rounds {
        let peak = bench.measure(&usual, &running, round)?;
        let flood = Work {
            connections: CROWD,
            pace: Pace::Constant((peak.per_s * TIMES).round()),
            ..usual.clone()
        };
        let over = bench.measure(&flood, &running, round)?;
        goodput.push(over.per_s / peak.per_s);
        resident.push(over.rss_bytes);
        finding.lines.push(vec![
            latency.to_owned(),
            (round + 1).to_string(),
            format!("{:.0}", peak.per_s),
            format!("{:.0}/s", peak.per_s * TIMES),
            format!("{:.0}/s", over.per_s),
            format!("**{:.2}**", over.per_s / peak.per_s),
            over.failed.to_string(),
            format!("{:.1} / {:.1}", peak.cpu_us, over.cpu_us),
            format!("{:.0}", over.p50_us / 1e3),
            format!("{} / {}", mib(&peak), mib(&over)),
        ]);
        eprintln!("overload round {}/{rounds} {:?}", round + 1, finding.lines.last());
    }
    if let Some(spread) = Spread::of(goodput) {
        finding.figures.insert(figure.to_owned(), spread.median);
    }
    if let (Some(first), Some(last)) = (resident.first(), resident.last()) {
        let growth = *last as f64 / (*first).max(1) as f64;
        finding
            .figures
            .entry("memory_growth".to_owned())
            .or_insert(growth);
    }
    Ok(())
}

/// With the processor as the limit, beside a proxy that does not queue and a relay that only copies: a call of many
/// callers finds nothing of its own in the caches, with whoever serves it.
fn processor(bench: &Bench<'_>, rounds: usize, finding: &mut Finding) -> Result<()> {
    for id in ["ringway", BASE, FLOOR] {
        let row = row(id)?;
        let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&row))?;
        let (running, work) = super::warm(bench, &row, &upstreams, 1)?;
        let crowd = Work {
            connections: CROWD,
            ..work.clone()
        };
        let (mut served, mut cost) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let few = bench.measure(&work, &running, round)?;
            let many = bench.measure(&crowd, &running, round)?;
            served.push(many.per_s / few.per_s);
            cost.push(many.cpu_us / few.cpu_us);
            eprintln!(
                "overload round {}/{rounds} {id}: {:.0}/s, crowded {:.0}/s",
                round + 1,
                few.per_s,
                many.per_s
            );
        }
        if let (Some(served), Some(cost)) = (Spread::of(served), Spread::of(cost)) {
            finding.figures.insert(format!("crowd_ratio_{id}"), served.median);
            finding.remarks.push(format!(
                "{}, the processor as the limit: {CROWD} callers at once are served at {:.2} × the rate of {} \
                 ({:.2} to {:.2} by round), a call at {:.2} × the CPU time.",
                row.label, served.median, work.connections, served.min, served.max, cost.median
            ));
        }
    }
    Ok(())
}

/// What a call costs that is judged and refused, beside one that is served.
fn refusals(bench: &Bench<'_>, rounds: usize, finding: &mut Finding) -> Result<()> {
    let row = row("ringway")?;
    let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&row))?;
    let (running, work) = super::warm(bench, &row, &upstreams, 1)?;
    let unknown = Work {
        tool: UNKNOWN_TOOL.to_owned(),
        ..work.clone()
    };
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let served = bench.measure(&work, &running, round)?;
        let refused_us = bench.refused_us(&unknown, &running)?;
        eprintln!(
            "overload round {}/{rounds}: served {:.2} µs, refused {refused_us:.2} µs",
            round + 1,
            served.cpu_us
        );
        ratios.push(refused_us / served.cpu_us);
    }
    if let Some(spread) = Spread::of(ratios) {
        finding.figures.insert("refused_ratio".to_owned(), spread.median);
        finding.remarks.push(format!(
            "A call whose caller is known and whose tool is not is refused at {:.2} × the CPU time of a served one \
             ({:.2} to {:.2} by round).",
            spread.median, spread.min, spread.max
        ));
    }
    Ok(())
}

fn mib(sample: &Sample) -> String {
    format!("{:.1} MiB", sample.rss_bytes as f64 / f64::from(1 << 20))
}
