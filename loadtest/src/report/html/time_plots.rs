//! How the run went over time: rates, latency, failures, calls under way.

use super::{
    Run,
    chart::{Axis, Band, Chart, Mark, Series, Size, Stroke},
    latency_plots::tick_time,
    scale::Spread,
    tables,
};
use crate::report::{
    figures,
    model::{Moment, Report},
};

/// Points a line has at most; seconds of longer runs are drawn together.
const POINTS_MAX: usize = 600;

/// Stage starts drawn at most; a search with more would hide the lines behind them.
const MARKS_MAX: usize = 24;

/// Some seconds as one point.
struct Slot {
    at_s: f64,
    due: f64,
    ok: f64,
    failed: f64,
    p50: f64,
    p99: f64,
    max: f64,
    in_flight: f64,
    connections: f64,
}

/// The plots over time.
pub fn all(runs: &[Run<'_>]) -> Vec<Chart> {
    let longest = runs
        .iter()
        .map(|run| run.report.timeline.len())
        .max()
        .unwrap_or(0);
    if longest == 0 {
        return Vec::new();
    }
    let seconds = longest.div_ceil(POINTS_MAX);
    let slots: Vec<Vec<Slot>> = runs
        .iter()
        .map(|run| gather(&run.report.timeline, seconds))
        .collect();
    match (runs, slots.as_slice()) {
        ([run], [slots]) => of_one(run, slots, seconds),
        _ => of_many(runs, &slots, seconds),
    }
}

fn of_one(run: &Run<'_>, slots: &[Slot], seconds: usize) -> Vec<Chart> {
    let line = |name: &str, colour, stroke, value: fn(&Slot) -> f64| Series {
        name: name.into(),
        colour,
        stroke,
        points: slots.iter().map(|slot| (slot.at_s, value(slot))).collect(),
        shown: true,
        letter: None,
    };
    let times = vec![
        line("p50", 0, Stroke::Solid, |s| s.p50),
        line("p99", 4, Stroke::Solid, |s| s.p99),
        line("max", 1, Stroke::Dotted, |s| s.max),
    ];
    let rates = vec![
        line("answered", 0, Stroke::Filled, |s| s.ok),
        line("due", 5, Stroke::Dashed, |s| s.due),
    ];
    let failures = vec![line("failed", 1, Stroke::Filled, |s| s.failed)];
    let flight = vec![
        line("calls under way or waiting", 2, Stroke::Filled, |s| s.in_flight),
        line("open connections", 5, Stroke::Dashed, |s| s.connections),
    ];
    let slowest = slots
        .iter()
        .filter(|s| s.max.is_finite())
        .max_by(|a, b| a.max.total_cmp(&b.max));
    let worst = slowest.map_or_else(String::new, |slot| {
        format!(
            " The slowest answer, {}, came at {}.",
            figures::time(slot.max),
            figures::span(slot.at_s)
        )
    });
    let mut charts = vec![
        plot(
            "rate",
            "Rate",
            "Calls that fell due and answers that came.",
            "calls a second",
            RATE,
            rates,
            Size::Low,
        ),
        plot(
            "times",
            "Latency over time",
            "Of the answers that came in each second, from the moment each call was due.",
            "time of a call",
            TIME,
            times,
            Size::Low,
        ),
        plot(
            "failures",
            "Failures",
            "Calls that failed.",
            "failures a second",
            RATE,
            failures,
            Size::Half,
        ),
        plot(
            "flight",
            "Under way",
            "At the end of each second.",
            "calls, connections",
            AMOUNT,
            flight,
            Size::Half,
        ),
    ];
    for chart in &mut charts {
        chart.marks = stages(run.report);
        chart.bands = warmup(run.report, slots);
        if chart.id == "times" {
            chart.alt.push_str(&worst);
        }
    }
    with_step(charts, seconds)
}

fn of_many(runs: &[Run<'_>], slots: &[Vec<Slot>], seconds: usize) -> Vec<Chart> {
    let lines = |value: fn(&Slot) -> f64| -> Vec<Series> {
        let each = runs.iter().zip(slots).enumerate();
        each.map(|(colour, (run, slots))| Series {
            name: run.name(),
            colour,
            stroke: Stroke::Solid,
            points: slots.iter().map(|slot| (slot.at_s, value(slot))).collect(),
            shown: true,
            letter: Some(run.letter),
        })
        .collect()
    };
    let charts = vec![
        plot(
            "rate",
            "Rate",
            "Answers that came.",
            "answers a second",
            RATE,
            lines(|s| s.ok),
            Size::Half,
        ),
        plot(
            "p50",
            "Median over time",
            "Of the answers of each second.",
            "p50",
            TIME,
            lines(|s| s.p50),
            Size::Half,
        ),
        plot(
            "p99",
            "p99 over time",
            "Of the answers of each second.",
            "p99",
            TIME,
            lines(|s| s.p99),
            Size::Half,
        ),
        plot(
            "max",
            "Slowest over time",
            "The slowest answer of each second.",
            "max",
            TIME,
            lines(|s| s.max),
            Size::Half,
        ),
        plot(
            "failures",
            "Failures",
            "Calls that failed.",
            "failures a second",
            RATE,
            lines(|s| s.failed),
            Size::Half,
        ),
        plot(
            "flight",
            "Under way",
            "Calls under way or waiting.",
            "calls",
            AMOUNT,
            lines(|s| s.in_flight),
            Size::Half,
        ),
    ];
    with_step(charts, seconds)
}

const RATE: Axis = Axis {
    name: "",
    title: "",
    spread: Spread::Linear,
    from_zero: true,
    tick: figures::number,
    exact: figures::rate,
};
const AMOUNT: Axis = Axis {
    name: "",
    title: "",
    spread: Spread::Linear,
    from_zero: true,
    tick: figures::number,
    exact: figures::number,
};
const TIME: Axis = Axis {
    name: "",
    title: "",
    spread: Spread::Log,
    from_zero: false,
    tick: tick_time,
    exact: figures::time,
};

fn plot(
    id: &str,
    title: &str,
    lead: &str,
    y: &'static str,
    axis: Axis,
    series: Vec<Series>,
    size: Size,
) -> Chart {
    let top = |series: &Series| {
        let finite = series.points.iter().map(|p| p.1).filter(|y| y.is_finite());
        let top = finite.fold(f64::NAN, f64::max);
        format!("{} reaches {}", series.name, (axis.exact)(top))
    };
    let alt = format!(
        "{title} over time: {}.",
        series.iter().map(top).collect::<Vec<_>>().join("; ")
    );
    Chart {
        id: id.into(),
        title: title.into(),
        lead: lead.into(),
        alt,
        size,
        x: Axis {
            name: "",
            title: "time since measuring began",
            spread: Spread::Linear,
            from_zero: false,
            tick: figures::span,
            exact: figures::span,
        },
        ys: vec![Axis { title: y, ..axis }],
        table: tables::points("at", &series, figures::span, axis.exact),
        series,
        bands: Vec::new(),
        marks: Vec::new(),
        group: "time",
    }
}

fn with_step(mut charts: Vec<Chart>, seconds: usize) -> Vec<Chart> {
    if seconds > 1 {
        for chart in &mut charts {
            chart
                .lead
                .push_str(&format!(" Each point stands for {seconds} s."));
        }
    }
    charts
}

/// Where stages began, but for the first.
fn stages(report: &Report) -> Vec<Mark> {
    let stages = report
        .stages
        .iter()
        .skip(1)
        .filter(|_| report.stages.len() <= MARKS_MAX);
    stages
        .map(|stage| Mark {
            at: stage.from_s,
            name: figures::shortened(&stage.load, 10),
        })
        .collect()
}

fn warmup(report: &Report, slots: &[Slot]) -> Vec<Band> {
    let from = slots.first().map_or(0.0, |slot| slot.at_s);
    let warm = report.warmup_s > 0.0 && from < 0.0;
    warm.then(|| Band {
        from,
        to: 0.0,
        name: "warm-up".into(),
    })
    .into_iter()
    .collect()
}

/// Seconds taken together: rates are averaged, medians weighted by their answers, the slow ends kept.
#[expect(clippy::cast_precision_loss, reason = "places in a drawing")]
fn gather(timeline: &[Moment], seconds: usize) -> Vec<Slot> {
    let slot = |moments: &[Moment]| {
        let per_second = |value: fn(&Moment) -> u64| {
            moments.iter().map(|m| value(m) as f64).sum::<f64>() / moments.len().max(1) as f64
        };
        let answered = || moments.iter().filter(|m| m.ok > 0);
        let top = |value: fn(&Moment) -> f64| answered().map(value).fold(f64::NAN, f64::max);
        let weight: f64 = answered().map(|m| m.ok as f64).sum();
        Slot {
            at_s: moments.first().map_or(0.0, |m| m.at_s),
            due: per_second(|m| m.due),
            ok: per_second(|m| m.ok),
            failed: per_second(|m| m.failed),
            // Nothing over nothing is no number, and a gap in the line.
            p50: answered().map(|m| m.p50 * m.ok as f64).sum::<f64>() / weight,
            p99: top(|m| m.p99),
            max: top(|m| m.max),
            in_flight: moments.iter().map(|m| m.in_flight).max().unwrap_or(0) as f64,
            connections: moments.iter().map(|m| m.connections).max().unwrap_or(0) as f64,
        }
    };
    timeline.chunks(seconds.max(1)).map(slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_taken_together_keep_their_worst_and_seconds_without_answers_are_gaps() {
        let moment = |at_s: f64, ok, p99| Moment {
            at_s,
            due: 10,
            ok,
            p50: 100.0,
            p99,
            max: p99,
            ..Moment::default()
        };
        let timeline = [
            moment(0.0, 10, 200.0),
            moment(1.0, 20, 900.0),
            moment(2.0, 0, 0.0),
            moment(3.0, 0, 0.0),
        ];
        let slots = gather(&timeline, 2);
        assert_eq!(slots.len(), 2);
        assert!((slots[0].ok - 15.0).abs() < 1e-9 && (slots[0].p99 - 900.0).abs() < 1e-9);
        assert!(slots[1].p50.is_nan() && slots[1].max.is_nan());
    }
}
