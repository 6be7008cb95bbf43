//! Whether what is idle slows what is busy: CPU a call while thousands of connections and streams are held.

use super::{Bench, Result, finding, row, warm};
use crate::compare::{
    client::Client,
    results::{Finding, Sample, Spread},
    work::Cell,
};

/// Idle connections held.
const CONNECTIONS: usize = 10_000;
/// Event streams held.
const STREAMS: usize = 1_000;

/// What is held in one round's turn.
const HELD: [(&str, usize, usize); 3] = [
    ("nothing", 0, 0),
    ("10,000 idle connections", CONNECTIONS, 0),
    ("1,000 event streams", 0, STREAMS),
];

/// Measures all, turn by turn.
pub fn measure(bench: &Bench<'_>, rounds: usize) -> Result<Finding> {
    let columns = [
        "held",
        "n",
        "CPU µs a call: min / median / max",
        "to nothing held, by round: median (min, max)",
    ];
    let mut finding = finding(
        bench,
        "held",
        "Small calls while connections and streams are held",
        &columns,
    );
    let row = row("ringway")?;
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for round in 0..rounds {
        for turn in 0..HELD.len() {
            let n = (turn + round) % HELD.len();
            let (name, connections, streams) = HELD[n];
            let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&row))?;
            let (running, work) = warm(bench, &row, &upstreams, 1)?;
            let mut held = Vec::with_capacity(connections + streams);
            for i in 0..connections + streams {
                let mut client = Client::connect(running.address)?;
                if i < connections {
                    client.call(&row.path, &work)?;
                } else {
                    client.listen(&row.path, &work)?;
                }
                held.push(client);
            }
            let sample = bench.measure(&work, &running, round)?;
            eprintln!(
                "held   round {}/{rounds} {name:24} {:6.2} µs",
                round + 1,
                sample.cpu_us
            );
            samples[n].push(sample);
        }
    }
    let [nothing, idle, open] = &samples;
    for ((name, ..), samples) in HELD.iter().zip(&samples) {
        let (Some(cpu), Some(ratio)) = (
            Spread::of(samples.iter().map(|s| s.cpu_us)),
            Spread::of(ratios(samples, nothing)),
        ) else {
            continue;
        };
        finding.lines.push(vec![
            (*name).to_owned(),
            samples.len().to_string(),
            format!("{:.1} / **{:.1}** / {:.1}", cpu.min, cpu.median, cpu.max),
            format!("**{:.2}** ({:.2}, {:.2})", ratio.median, ratio.min, ratio.max),
        ]);
    }
    for (figure, samples) in [("idle_ratio", idle), ("streams_ratio", open)] {
        if let Some(ratio) = Spread::of(ratios(samples, nothing)) {
            finding.figures.insert(figure.to_owned(), ratio.median);
        }
    }
    Ok(finding)
}

fn ratios(samples: &[Sample], base: &[Sample]) -> Vec<f64> {
    let pairs = samples.iter().zip(base);
    pairs.map(|(one, other)| one.cpu_us / other.cpu_us).collect()
}
