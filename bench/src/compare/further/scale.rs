//! Whether workers get in each other's way: two on two processors against one on one, as CPU time a call.
//!
//! On a machine of two processors load and upstream share them with both workers, so calls a second say nothing
//! here; CPU time a call does.

use super::{Bench, Result, finding, row, warm};
use crate::compare::{
    place::Placement,
    results::{Finding, Sample, Spread},
    work::Cell,
};

/// Rows measured with one worker and with two.
const ROWS: [&str; 2] = ["nginx", "ringway"];

/// Measures all, turn by turn.
pub fn measure(bench: &Bench<'_>, rounds: usize) -> Result<Finding> {
    let columns = [
        "row",
        "1 worker: CPU µs a call",
        "2 workers: CPU µs a call",
        "2 to 1, by round: median (min, max)",
    ];
    let mut finding = finding(
        bench,
        "scale",
        "Two workers on two processors against one on one",
        &columns,
    );
    for id in ROWS {
        let row = row(id)?;
        let mut samples: [Vec<Sample>; 2] = Default::default();
        for round in 0..rounds {
            for turn in 0..2 {
                let n = (turn + round) % 2;
                let upstreams = bench.upstreams(Cell::Small, std::slice::from_ref(&row))?;
                let (running, work) = warm(bench, &row, &upstreams, n + 1)?;
                let sample = bench.measure(&work, &running, round)?;
                eprintln!(
                    "scale  round {}/{rounds} {id} × {}: {:.2} µs",
                    round + 1,
                    n + 1,
                    sample.cpu_us
                );
                samples[n].push(sample);
            }
        }
        let [one, two] = &samples;
        let median =
            |samples: &[Sample]| Spread::of(samples.iter().map(|s| s.cpu_us)).map_or(f64::NAN, |s| s.median);
        let ratios = two.iter().zip(one).map(|(two, one)| two.cpu_us / one.cpu_us);
        let Some(ratio) = Spread::of(ratios) else {
            continue;
        };
        finding.lines.push(vec![
            row.label.clone(),
            format!("{:.1}", median(one)),
            format!("{:.1}", median(two)),
            format!("**{:.2}** ({:.2}, {:.2})", ratio.median, ratio.min, ratio.max),
        ]);
        finding.figures.insert(format!("{id}_ratio"), ratio.median);
    }
    let Placement { load_cpu, .. } = bench.placement;
    finding.remarks.push(format!(
        "Load and upstream run on processor {load_cpu} in both cases; with two workers, one worker shares it with them."
    ));
    Ok(finding)
}
