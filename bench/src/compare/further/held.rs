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

/// What is held in one round's turn, by whom.
const HELD: [(&str, &str, usize, usize); 5] = [
    ("nginx", "nothing", 0, 0),
    ("nginx", "10,000 idle connections", CONNECTIONS, 0),
    ("ringway", "nothing", 0, 0),
    ("ringway", "10,000 idle connections", CONNECTIONS, 0),
    ("ringway", "1,000 event streams", 0, STREAMS),
];
/// Where nothing is held, for each of them.
const BASES: [usize; 5] = [0, 0, 2, 2, 2];
/// Figures by which goals are judged.
const FIGURES: [(&str, usize); 3] = [("nginx_idle_ratio", 1), ("idle_ratio", 3), ("streams_ratio", 4)];

/// Measures all, turn by turn.
pub fn measure(bench: &Bench<'_>, rounds: usize) -> Result<Finding> {
    let columns = [
        "row",
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
    let mut samples: [Vec<Sample>; 5] = Default::default();
    for round in 0..rounds {
        for turn in 0..HELD.len() {
            let n = (turn + round) % HELD.len();
            let (id, name, connections, streams) = HELD[n];
            let row = row(id)?;
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
                "held   round {}/{rounds} {id:8} {name:24} {:6.2} µs",
                round + 1,
                sample.cpu_us
            );
            samples[n].push(sample);
        }
    }
    for (((id, name, ..), base), samples_of) in HELD.iter().zip(BASES).zip(&samples) {
        let (Some(cpu), Some(ratio)) = (
            Spread::of(samples_of.iter().map(|s| s.cpu_us)),
            Spread::of(ratios(samples_of, &samples[base])),
        ) else {
            continue;
        };
        finding.lines.push(vec![
            row(id)?.label,
            (*name).to_owned(),
            samples_of.len().to_string(),
            format!("{:.1} / **{:.1}** / {:.1}", cpu.min, cpu.median, cpu.max),
            format!("**{:.2}** ({:.2}, {:.2})", ratio.median, ratio.min, ratio.max),
        ]);
    }
    for (figure, n) in FIGURES {
        if let Some(ratio) = Spread::of(ratios(&samples[n], &samples[BASES[n]])) {
            finding.figures.insert(figure.to_owned(), ratio.median);
        }
    }
    Ok(finding)
}

fn ratios(samples: &[Sample], base: &[Sample]) -> Vec<f64> {
    let pairs = samples.iter().zip(base);
    pairs.map(|(one, other)| one.cpu_us / other.cpu_us).collect()
}
