//! Several runs side by side, each figure beside its ratio to the first run's.

use super::{
    Run,
    tables::{Cell, even},
};
use crate::report::{
    figures::{self, NONE},
    model::Outcome,
};

/// A ratio nearer to one than this is noise on any shared machine, and is not coloured.
const NOISE: f64 = 0.05;

/// Which way is better.
#[derive(Clone, Copy)]
enum Better {
    Less,
    More,
}

/// One row: what it says, how to read it from a run, how to write it, which way is better.
struct Row {
    name: &'static str,
    value: fn(&Run<'_>) -> Option<f64>,
    shown: fn(f64) -> String,
    better: Better,
}

const ROWS: [Row; 13] = [
    Row {
        name: "answered",
        value: |r| rate(&r.report.total, r.report.measured_s),
        shown: figures::rate,
        better: Better::More,
    },
    Row {
        name: "failed",
        value: |r| r.outcome().failed_share(),
        shown: figures::percent,
        better: Better::Less,
    },
    Row {
        name: "p50",
        value: |r| r.outcome().latency.at(0.5),
        shown: figures::time,
        better: Better::Less,
    },
    Row {
        name: "p90",
        value: |r| r.outcome().latency.at(0.9),
        shown: figures::time,
        better: Better::Less,
    },
    Row {
        name: "p99",
        value: |r| r.outcome().latency.at(0.99),
        shown: figures::time,
        better: Better::Less,
    },
    Row {
        name: "p99.9",
        value: |r| r.outcome().latency.at(0.999),
        shown: figures::time,
        better: Better::Less,
    },
    Row {
        name: "p99.99",
        value: |r| r.outcome().latency.at(0.9999),
        shown: figures::time,
        better: Better::Less,
    },
    Row {
        name: "max",
        value: |r| r.outcome().latency.at(1.0),
        shown: figures::time,
        better: Better::Less,
    },
    Row {
        name: "mean",
        value: |r| mean(r.outcome()),
        shown: figures::time,
        better: Better::Less,
    },
    Row {
        name: "service p50",
        value: |r| r.outcome().service.at(0.5),
        shown: figures::time,
        better: Better::Less,
    },
    Row {
        name: "service p99",
        value: |r| r.outcome().service.at(0.99),
        shown: figures::time,
        better: Better::Less,
    },
    Row {
        name: "saturation",
        value: sustained,
        shown: figures::rate,
        better: Better::More,
    },
    Row {
        name: "peak",
        value: peak,
        shown: figures::rate,
        better: Better::More,
    },
];

fn sustained(run: &Run<'_>) -> Option<f64> {
    run.report.saturation.as_ref().map(|found| found.sustained_per_s)
}

fn peak(run: &Run<'_>) -> Option<f64> {
    run.report.saturation.as_ref().map(|found| found.peak_per_s)
}

fn mean(outcome: &Outcome) -> Option<f64> {
    (outcome.latency.count > 0).then_some(outcome.latency.mean)
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(outcome: &Outcome, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| outcome.ok as f64 / seconds)
}

/// All calls of each run.
pub fn totals(runs: &[Run<'_>]) -> String {
    let names = names(runs);
    let heads: Vec<&str> = std::iter::once("<all calls")
        .chain(names.iter().map(String::as_str))
        .collect();
    let rows = ROWS.iter().filter_map(|row| {
        let values: Vec<Option<f64>> = runs.iter().map(|run| (row.value)(run)).collect();
        let any = values.iter().any(Option::is_some);
        any.then(|| cells(row.name.to_owned(), &values, row.shown, row.better))
    });
    let searched = runs.iter().any(|run| run.borne().is_some());
    let caption = "Ratios are against the first run, coloured beyond 5 %";
    let of_search = ". Of a search for saturation, times and failures are those at the load it found";
    even(
        &format!("{caption}{}", if searched { of_search } else { "" }),
        &heads,
        rows,
    )
}

/// Operations that runs share by name; nothing where no run has more than one.
pub fn operations(runs: &[Run<'_>]) -> Option<String> {
    if runs.iter().all(|run| run.report.operations.len() < 2) {
        return None;
    }
    let mut shared: Vec<&str> = Vec::new();
    for operation in runs.iter().flat_map(|run| &run.report.operations) {
        if !shared.contains(&operation.name.as_str()) {
            shared.push(&operation.name);
        }
    }
    let names = names(runs);
    let heads: Vec<&str> = std::iter::once("<operation")
        .chain(names.iter().map(String::as_str))
        .collect();
    let mut rows = Vec::new();
    for name in shared {
        for (what, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let of = |run: &Run<'_>| {
                let operation = run.report.operations.iter().find(|o| o.name == name)?;
                operation.outcome.latency.at(quantile)
            };
            let values: Vec<Option<f64>> = runs.iter().map(of).collect();
            rows.push(cells(
                format!("{name} {what}"),
                &values,
                figures::time,
                Better::Less,
            ));
        }
    }
    Some(even("By operation", &heads, rows.into_iter()))
}

/// How a run's figure stands to the first run's.
pub fn ratio(value: Option<f64>, first: Option<f64>) -> Option<f64> {
    let ratio = value? / first?;
    ratio.is_finite().then_some(ratio)
}

fn names(runs: &[Run<'_>]) -> Vec<String> {
    runs.iter().map(Run::name).collect()
}

fn cells(name: String, values: &[Option<f64>], shown: fn(f64) -> String, better: Better) -> Vec<Cell> {
    let first = values.first().copied().flatten();
    let cell = |(nth, value): (usize, &Option<f64>)| Cell {
        text: value.map_or_else(|| NONE.to_owned(), shown),
        class: "",
        small: ratio(*value, first)
            .filter(|_| nth > 0)
            .map(|ratio| (class(ratio, better), figures::ratio(ratio, 1.0))),
    };
    std::iter::once(Cell::from(name))
        .chain(values.iter().enumerate().map(cell))
        .collect()
}

fn class(ratio: f64, better: Better) -> &'static str {
    let improved = match better {
        Better::Less => ratio < 1.0,
        Better::More => ratio > 1.0,
    };
    match (ratio - 1.0).abs() < NOISE {
        true => "ratio",
        false if improved => "ratio better",
        false => "ratio worse",
    }
}
