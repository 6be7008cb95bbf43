//! Several runs side by side: each figure, and its ratio to the first run's. Pages, Markdown and the terminal draw it.

use super::{
    figures::{self, NONE},
    model::{Outcome, Report},
};

/// A ratio nearer to one than this is noise on any shared machine; none is called better or worse for it.
const NOISE: f64 = 0.05;

/// Figures of several runs.
#[derive(Debug)]
pub struct Comparison {
    /// By figure.
    pub rows: Vec<Row>,
    /// Whether some run searched for saturation; its times are then those at the load it found.
    pub searched: bool,
}

/// One figure of each run.
#[derive(Debug)]
pub struct Row {
    /// `p99`, `echo p50`.
    pub name: String,
    /// In the order of the runs.
    pub cells: Vec<Cell>,
}

/// One figure of one run.
#[derive(Debug)]
pub struct Cell {
    /// As people read it.
    pub figure: String,
    /// How many times the first run's; none for the first, or where one is missing.
    pub ratio: Option<f64>,
    /// What the ratio says.
    pub standing: Standing,
}

/// How a figure stands to the first run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No nearer than noise, or not comparable.
    Alike,
    #[allow(missing_docs)]
    Better,
    #[allow(missing_docs)]
    Worse,
}

/// Which way is better.
#[derive(Clone, Copy)]
enum Better {
    Less,
    More,
}

/// A figure's name, how it is read from a report, how it is spelled, which way is better.
type Figure = (
    &'static str,
    fn(&Report) -> Option<f64>,
    fn(f64) -> String,
    Better,
);

const FIGURES: [Figure; 13] = [
    (
        "answered",
        |r| r.total.rate(r.measured_s),
        figures::rate,
        Better::More,
    ),
    (
        "failed",
        |r| r.outcome().failed_share(),
        figures::percent,
        Better::Less,
    ),
    (
        "p50",
        |r| r.outcome().latency.at(0.5),
        figures::time,
        Better::Less,
    ),
    (
        "p90",
        |r| r.outcome().latency.at(0.9),
        figures::time,
        Better::Less,
    ),
    (
        "p99",
        |r| r.outcome().latency.at(0.99),
        figures::time,
        Better::Less,
    ),
    (
        "p99.9",
        |r| r.outcome().latency.at(0.999),
        figures::time,
        Better::Less,
    ),
    (
        "p99.99",
        |r| r.outcome().latency.at(0.9999),
        figures::time,
        Better::Less,
    ),
    (
        "max",
        |r| r.outcome().latency.at(1.0),
        figures::time,
        Better::Less,
    ),
    ("mean", |r| mean(r.outcome()), figures::time, Better::Less),
    (
        "service p50",
        |r| r.outcome().service.at(0.5),
        figures::time,
        Better::Less,
    ),
    (
        "service p99",
        |r| r.outcome().service.at(0.99),
        figures::time,
        Better::Less,
    ),
    (
        "saturation",
        |r| r.saturation.as_ref().map(|s| s.sustained_per_s),
        figures::rate,
        Better::More,
    ),
    (
        "peak",
        |r| r.saturation.as_ref().map(|s| s.peak_per_s),
        figures::rate,
        Better::More,
    ),
];

fn mean(outcome: &Outcome) -> Option<f64> {
    (outcome.latency.count > 0).then_some(outcome.latency.mean)
}

/// All calls of each run.
#[must_use]
pub fn totals(reports: &[&Report]) -> Comparison {
    let row = |(name, value, shown, better): &Figure| {
        let values: Vec<Option<f64>> = reports.iter().map(|report| value(report)).collect();
        let any = values.iter().any(Option::is_some);
        any.then(|| Row {
            name: (*name).to_owned(),
            cells: cells(&values, *shown, *better),
        })
    };
    Comparison {
        rows: FIGURES.iter().filter_map(row).collect(),
        searched: reports.iter().any(|report| report.borne().is_some()),
    }
}

/// Median and p99 of operations that runs share by name; no rows where no run has more than one operation.
#[must_use]
pub fn operations(reports: &[&Report]) -> Comparison {
    let mut rows = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    if reports.iter().any(|report| report.operations.len() > 1) {
        for operation in reports.iter().flat_map(|report| &report.operations) {
            if !names.contains(&operation.name.as_str()) {
                names.push(&operation.name);
            }
        }
    }
    for name in names {
        for (what, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let value = |report: &&Report| {
                let operation = report
                    .operations
                    .iter()
                    .find(|operation| operation.name == name)?;
                operation.outcome.latency.at(quantile)
            };
            let values: Vec<Option<f64>> = reports.iter().map(value).collect();
            rows.push(Row {
                name: format!("{name} {what}"),
                cells: cells(&values, figures::time, Better::Less),
            });
        }
    }
    Comparison {
        rows,
        searched: false,
    }
}

fn cells(values: &[Option<f64>], shown: fn(f64) -> String, better: Better) -> Vec<Cell> {
    let first = values.first().copied().flatten();
    let cell = |(nth, value): (usize, &Option<f64>)| {
        let ratio = value.zip(first).map(|(value, first)| value / first);
        let ratio = ratio.filter(|ratio| nth > 0 && ratio.is_finite());
        Cell {
            figure: value.map_or_else(|| NONE.to_owned(), shown),
            ratio,
            standing: ratio.map_or(Standing::Alike, |ratio| standing(ratio, better)),
        }
    };
    values.iter().enumerate().map(cell).collect()
}

fn standing(ratio: f64, better: Better) -> Standing {
    let improved = match better {
        Better::Less => ratio < 1.0,
        Better::More => ratio > 1.0,
    };
    match (ratio - 1.0).abs() < NOISE {
        true => Standing::Alike,
        false if improved => Standing::Better,
        false => Standing::Worse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_against_the_first_and_less_time_is_better() {
        let row = cells(
            &[Some(100.0), Some(103.0), Some(250.0), Some(50.0), None],
            figures::time,
            Better::Less,
        );
        let shown: Vec<_> = row.iter().map(|cell| (cell.ratio, cell.standing)).collect();
        assert_eq!(
            shown,
            [
                (None, Standing::Alike),
                (Some(1.03), Standing::Alike),
                (Some(2.5), Standing::Worse),
                (Some(0.5), Standing::Better),
                (None, Standing::Alike),
            ]
        );
        assert_eq!(row[4].figure, NONE);
        let rates = cells(&[Some(100.0), Some(50.0)], figures::rate, Better::More);
        assert_eq!(rates[1].standing, Standing::Worse);
        let of_nothing = cells(&[Some(0.0), Some(0.5)], figures::percent, Better::Less);
        assert_eq!(of_nothing[1].ratio, None);
    }
}
