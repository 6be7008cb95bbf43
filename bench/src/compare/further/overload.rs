//! What happens at three times the load that can be borne: how much is still served, what a refusal costs, and
//! whether memory stays.
//!
//! Three ways to be saturated. By capacity: the upstream takes 50 ms a call, so the bound on its pool is what limits, and
//! calls beyond pool and queue are refused. By both: it takes 20 ms, and to serve what can be served and refuse the rest
//! needs the whole processor. By processor alone: callers without number wait for their answers.

use super::{Bench, Result, finding, row};
use crate::compare::{
    results::{Finding, Sample, Spread},
    upstream::Wanted,
    work::{Cell, Pace, Work},
};

/// What the upstream takes for a call, and the figure of how much is still served.
const LATENCIES: [(&str, &str); 2] = [("50ms", "goodput_ratio"), ("20ms", "goodput_ratio_at_20ms")];
/// Callers that fill the pool of one server exactly (`UpstreamLimits::pool_open_max`).
const FILLING: usize = 256;
/// Offered, in peaks.
const TIMES: f64 = 3.0;
/// Connections of an overload: pool, queue and refused ones all find a free one.
const CONNECTIONS: usize = 3_000;
/// Callers at once when the processor is what limits.
const CROWD: usize = 1_024;

/// Measures both.
pub fn measure(bench: &Bench<'_>, rounds: usize) -> Result<Finding> {
    let columns = [
        "upstream takes",
        "round",
        "peak, calls/s",
        "offered",
        "served",
        "served to peak",
        "refused",
        "CPU µs a served call",
        "a refused one",
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
    processor(bench, rounds, &mut finding)?;
    finding.remarks.push(format!(
        "Its pool holds {FILLING} connections: that and the upstream's time are the peak. A refused call's cost is \
         what the CPU time of the overload leaves when every served call is taken at its cost at the peak."
    ));
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
        ..Wanted::plain(Cell::Small)
    };
    let upstreams = bench.upstreams_of(slow)?;
    let running = bench.start(Cell::Small, &row, &upstreams, 1)?;
    let usual = Work {
        connections: FILLING,
        ..bench.work(Cell::Small, &row, &running)
    };
    bench.warm_up(&usual)?;
    let (mut goodput, mut refused) = (Vec::new(), Vec::new());
    let mut resident: Vec<u64> = Vec::new();
    for round in 0..rounds {
        let peak = bench.measure(&usual, &running, round)?;
        let flood = Work {
            connections: CONNECTIONS,
            pace: Pace::Constant((peak.per_s * TIMES).round()),
            ..usual.clone()
        };
        let over = bench.measure(&flood, &running, round)?;
        let all_us = over.cpu_us * over.calls as f64;
        let refused_us = (all_us - peak.cpu_us * over.calls as f64) / over.failed.max(1) as f64;
        goodput.push(over.per_s / peak.per_s);
        refused.push(refused_us / peak.cpu_us);
        resident.push(over.rss_bytes);
        finding.lines.push(vec![
            latency.to_owned(),
            (round + 1).to_string(),
            format!("{:.0}", peak.per_s),
            format!("{:.0}/s", peak.per_s * TIMES),
            format!("{:.0}/s", over.per_s),
            format!("**{:.2}**", over.per_s / peak.per_s),
            over.failed.to_string(),
            format!("{:.1}", peak.cpu_us),
            format!("{refused_us:.1}"),
            format!("{} / {}", mib(&peak), mib(&over)),
        ]);
        eprintln!("overload round {}/{rounds} {:?}", round + 1, finding.lines.last());
    }
    if let Some(spread) = Spread::of(goodput) {
        finding.figures.insert(figure.to_owned(), spread.median);
    }
    // The first latency is the clean case, in which the processor has room.
    if let Some(spread) = Spread::of(refused) {
        finding
            .figures
            .entry("refused_ratio".to_owned())
            .or_insert(spread.median);
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

fn processor(bench: &Bench<'_>, rounds: usize, finding: &mut Finding) -> Result<()> {
    let row = row("ringway")?;
    let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&row))?;
    let (running, work) = super::warm(bench, &row, &upstreams, 1)?;
    let crowd = Work {
        connections: CROWD,
        ..work.clone()
    };
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let few = bench.measure(&work, &running, round)?;
        let many = bench.measure(&crowd, &running, round)?;
        eprintln!(
            "overload round {}/{rounds}: {:.0}/s, crowded {:.0}/s",
            round + 1,
            few.per_s,
            many.per_s
        );
        ratios.push(many.per_s / few.per_s);
    }
    if let Some(spread) = Spread::of(ratios) {
        finding.figures.insert("crowd_ratio".to_owned(), spread.median);
        finding.remarks.push(format!(
            "With the processor as the limit: {CROWD} callers at once are served at {:.2} × the rate of {} ({:.2} to {:.2} by round).",
            spread.median, work.connections, spread.min, spread.max
        ));
    }
    Ok(())
}

fn mib(sample: &Sample) -> String {
    format!("{:.1} MiB", sample.rss_bytes as f64 / f64::from(1 << 20))
}
