//! How long calls took: by percentile, as HdrHistogram's plots have it, and as a density.

use hdrhistogram::Histogram;

use super::{
    Run,
    chart::{Axis, COLOURS, Chart, Series, Size, Stroke},
    scale::Spread,
    tables,
};
use crate::report::{figures, model::Latency};

/// Points that a percentile line has for each nine: enough that steps of single buckets are seen, few enough to draw.
const POINTS_PER_NINE: u32 = 32;

/// Bins of the density in each decade of time; a bin is then 12 % wide, ten buckets of a three-digit histogram.
const BINS_PER_DECADE: u32 = 20;

/// Percentiles in the table beside the plot.
const TABLE: [f64; 11] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 1.0];

/// Lines of operations beside that of all calls; the busiest, one for each colour left.
const OPERATIONS_MAX: usize = COLOURS - 1;

/// Latency by percentile, of all runs or of one run's operations.
pub fn percentiles(runs: &[Run<'_>]) -> Option<Chart> {
    let lines = if let [run] = runs {
        of_operations(run)
    } else {
        of_runs(runs)
    };
    let (mut series, mut columns) = (Vec::new(), Vec::new());
    for line in lines {
        let Some(histogram) = line.times.histogram().ok().flatten() else {
            continue;
        };
        columns.push((line.name.clone(), line.times));
        series.push(Series {
            name: line.name,
            colour: line.colour,
            stroke: if line.service {
                Stroke::Dashed
            } else {
                Stroke::Solid
            },
            points: by_quantile(&histogram),
            shown: line.shown,
            letter: line.letter,
        });
    }
    let first = columns.first()?;
    let alt = format!(
        "Latency by percentile. {}: {} at the median, {} at 99 %, {} at most.",
        first.0,
        figures::time(first.1.p50),
        figures::time(first.1.p99),
        figures::time(first.1.max)
    );
    let value = |name, spread| Axis {
        name,
        title: "time of a call",
        spread,
        from_zero: true,
        tick: tick_time,
        exact: figures::time,
    };
    Some(Chart {
        id: "percentiles".into(),
        title: "Latency by percentile".into(),
        lead: "Each nine takes the same room, so the slowest calls are seen as well as the median. Solid: from the \
               moment a call was due; dashed: from its first byte written. The gap between them is time that calls \
               had to wait before they could be sent."
            .to_owned()
            + of_search(runs),
        alt,
        size: Size::Wide,
        x: Axis {
            name: "",
            title: "share of calls that took at most so long",
            spread: Spread::Nines,
            from_zero: true,
            tick: quantile,
            exact: quantile,
        },
        ys: vec![value("log", Spread::Log), value("linear", Spread::Linear)],
        series,
        bands: Vec::new(),
        marks: Vec::new(),
        group: "percentiles",
        table: tables::quantiles(&TABLE, &columns),
    })
}

/// What share of the calls took about so long.
pub fn density(runs: &[Run<'_>]) -> Option<Chart> {
    let lines = if let [run] = runs {
        of_operations(run)
    } else {
        of_runs(runs)
    };
    let mut series = Vec::new();
    let mut modes = Vec::new();
    for line in lines.into_iter().filter(|line| !line.service || runs.len() == 1) {
        let Some(histogram) = line.times.histogram().ok().flatten() else {
            continue;
        };
        let points = by_time(&histogram);
        if let Some(top) = points.iter().max_by(|a, b| a.1.total_cmp(&b.1)) {
            modes.push(format!(
                "{} most often takes about {}",
                line.name,
                figures::time(top.0)
            ));
        }
        series.push(Series {
            name: line.name,
            colour: line.colour,
            stroke: if line.service {
                Stroke::Dashed
            } else {
                Stroke::Filled
            },
            points,
            shown: line.shown,
            letter: line.letter,
        });
    }
    let alt = format!("Density of latency. {}.", modes.first()?);
    Some(Chart {
        id: "density".into(),
        title: "Where the calls lie".into(),
        lead:
            "Share of the calls in each twentieth of a decade of time; two humps are two ways a call can go."
                .into(),
        alt,
        size: Size::Low,
        x: Axis {
            name: "",
            title: "time of a call",
            spread: Spread::Log,
            from_zero: false,
            tick: tick_time,
            exact: figures::time,
        },
        ys: vec![Axis {
            name: "",
            title: "share of calls",
            spread: Spread::Linear,
            from_zero: true,
            tick: figures::percent,
            exact: figures::percent,
        }],
        table: tables::points("about", &series, figures::time, figures::percent),
        series,
        bands: Vec::new(),
        marks: Vec::new(),
        group: "density",
    })
}

fn of_search(runs: &[Run<'_>]) -> &'static str {
    match runs.iter().any(|run| run.report.borne().is_some()) {
        true => " Of a search for saturation: the calls at the load it found.",
        false => "",
    }
}

struct Line<'a> {
    name: String,
    times: &'a Latency,
    colour: usize,
    service: bool,
    shown: bool,
    letter: Option<char>,
}

fn of_runs<'a>(runs: &[Run<'a>]) -> Vec<Line<'a>> {
    let both = |(colour, run): (usize, &Run<'a>)| {
        let total = run.report.outcome();
        let line = |name, times, service| Line {
            name,
            times,
            colour,
            service,
            shown: true,
            letter: (!service).then_some(run.letter),
        };
        [
            line(run.name(), &total.latency, false),
            line(format!("{} service", run.letter), &total.service, true),
        ]
    };
    runs.iter().enumerate().flat_map(both).collect()
}

fn of_operations<'a>(run: &Run<'a>) -> Vec<Line<'a>> {
    let total = run.report.outcome();
    let line = |name: String, times, colour, service, shown| Line {
        name,
        times,
        colour,
        service,
        shown,
        letter: None,
    };
    let mut lines = vec![
        line("All calls, latency".into(), &total.latency, 0, false, true),
        line("All calls, service".into(), &total.service, 0, true, true),
    ];
    // One operation is the same line again; a search keeps operations over all its loads only.
    if run.report.operations.len() > 1 && run.report.borne().is_none() {
        let mut busiest: Vec<_> = run.report.operations.iter().collect();
        busiest.sort_by_key(|operation| std::cmp::Reverse(operation.outcome.ok));
        for (nth, operation) in busiest.into_iter().take(OPERATIONS_MAX).enumerate() {
            let name = figures::shortened(&operation.name, figures::NAME_CHARS_MAX);
            lines.push(line(name, &operation.outcome.latency, nth + 1, false, true));
        }
    }
    lines
}

/// Quantile and microseconds, denser toward the slow end, up to the slowest call.
#[expect(clippy::cast_precision_loss, reason = "places in a drawing")]
fn by_quantile(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let calls = histogram.len() as f64;
    let nines_max = calls.log10();
    let mut points = Vec::new();
    let mut step = 0;
    loop {
        let nines = f64::from(step) / f64::from(POINTS_PER_NINE);
        if nines >= nines_max {
            break;
        }
        let quantile = 1.0 - 10f64.powf(-nines);
        points.push((quantile, histogram.value_at_quantile(quantile) as f64 / 1e3));
        step += 1;
    }
    points.push((1.0 - 1.0 / calls, histogram.max() as f64 / 1e3));
    points
}

/// The middle of each bin in microseconds, and the share of calls in it; a bin beside the outermost ones is empty.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "places in a drawing"
)]
fn by_time(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let bin = |nanos: u64| ((nanos.max(1) as f64).log10() * f64::from(BINS_PER_DECADE)).floor() as i64;
    let (first, last) = (bin(histogram.min()), bin(histogram.max()));
    // At most 20 decades of a u64: 400 bins.
    let mut counts = vec![0u64; usize::try_from(last - first + 3).unwrap_or(3)];
    for step in histogram.iter_recorded() {
        let place = (bin(step.value_iterated_to()) - first).clamp(0, last - first) + 1;
        if let Some(count) = usize::try_from(place)
            .ok()
            .and_then(|place| counts.get_mut(place))
        {
            *count += step.count_since_last_iteration();
        }
    }
    let calls = histogram.len() as f64;
    let middle = |place: usize| {
        let nanos = 10f64.powf((first as f64 + place as f64 - 0.5) / f64::from(BINS_PER_DECADE));
        nanos / 1e3
    };
    counts
        .iter()
        .enumerate()
        .map(|(place, count)| (middle(place), *count as f64 / calls))
        .collect()
}

/// A percentile as people write it.
pub fn quantile(quantile: f64) -> String {
    if quantile >= 1.0 {
        return "100 %".into();
    }
    // Two digits behind the nines are enough to tell points apart.
    let digits = (-(1.0 - quantile).log10()).floor().max(0.0);
    let places = if digits >= 2.0 { digits as usize } else { 1 };
    let text = format!("{:.places$}", quantile * 100.0);
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text} %")
}

/// A time on a tick: no digits that say nothing.
pub fn tick_time(micros: f64) -> String {
    let text = figures::time(micros);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_reaches_the_slowest_call() {
        let mut counted = Histogram::<u64>::new(3).expect("three digits");
        counted.record_n(200_000, 999).expect("recorded");
        counted.record(1_000_000_000).expect("recorded");
        let points = by_quantile(&counted);
        let (quantile, micros) = *points.last().expect("points");
        assert!(
            (quantile - 0.999).abs() < 1e-9 && micros > 999_000.0,
            "{quantile} {micros}"
        );
        assert!(
            points
                .windows(2)
                .all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1)
        );
    }

    #[test]
    fn a_density_holds_every_call() {
        let mut counted = Histogram::<u64>::new(3).expect("three digits");
        for nanos in [0, 1, 250_000, 251_000, 3_000_000_000] {
            counted.record(nanos).expect("recorded");
        }
        let sum: f64 = by_time(&counted).iter().map(|p| p.1).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn percentiles_are_written_as_people_do() {
        let shown = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.684, 1.0].map(quantile);
        assert_eq!(
            shown,
            [
                "0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "68.4 %", "100 %"
            ]
        );
        assert_eq!(
            [1_000.0, 2_500.0, 200.0, 100_000.0].map(tick_time),
            ["1 ms", "2.5 ms", "200 µs", "100 ms"]
        );
    }
}
