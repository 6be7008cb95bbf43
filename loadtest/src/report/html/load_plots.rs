//! How the target stood each load: what it answered, and how fast, against what was asked of it.

use super::{
    Run,
    chart::{Axis, Chart, Mark, Series, Size, Stroke},
    latency_plots::tick_time,
    scale::Spread,
    tables,
};
use crate::report::{
    figures,
    model::{Report, Stage},
};

/// The plots over offered rate; none unless some run has several rates.
pub fn all(runs: &[Run<'_>]) -> Vec<Chart> {
    let rates = |report: &Report| {
        report
            .stages
            .iter()
            .filter(|stage| stage.offered_per_s.is_some())
            .count()
    };
    if !runs.iter().any(|run| rates(run.report) > 1) {
        return Vec::new();
    }
    let alone = runs.len() == 1;
    let line = |run: &Run<'_>, what: &str, colour, stroke, value: fn(&Stage) -> f64| Series {
        name: if alone {
            what.to_owned()
        } else if what == "answered" {
            run.name()
        } else {
            format!("{} {what}", run.letter)
        },
        colour,
        stroke,
        points: by_rate(run.report, value),
        shown: true,
        letter: (!alone && stroke != Stroke::Dashed).then_some(run.letter),
    };
    let (mut answered, mut times) = (Vec::new(), Vec::new());
    for (nth, run) in runs.iter().enumerate() {
        answered.push(line(run, "answered", nth, Stroke::Solid, per_second));
        let slow = if alone { 4 } else { nth };
        times.push(line(run, "p99", slow, Stroke::Solid, |stage| {
            at(stage, |times| times.p99)
        }));
        times.push(line(run, "p50", nth, Stroke::Dashed, |stage| {
            at(stage, |times| times.p50)
        }));
    }
    let top = runs
        .iter()
        .flat_map(|run| &run.report.stages)
        .filter_map(|stage| stage.offered_per_s)
        .fold(0.0, f64::max);
    answered.push(Series {
        name: "all of it".into(),
        colour: 5,
        stroke: Stroke::Dotted,
        points: vec![(0.0, 0.0), (top, top)],
        shown: true,
        letter: None,
    });
    let rate = Axis {
        name: "",
        title: "answers a second",
        spread: Spread::Linear,
        from_zero: true,
        tick: figures::number,
        exact: figures::rate,
    };
    let time = Axis {
        name: "",
        title: "time of a call",
        spread: Spread::Log,
        from_zero: false,
        tick: tick_time,
        exact: figures::time,
    };
    let found: Vec<String> = runs
        .iter()
        .filter_map(|run| run.report.saturation.as_ref().map(|found| (run, found)))
        .map(|(run, found)| format!("{} bears {}", run.name(), figures::rate(found.sustained_per_s)))
        .collect();
    let alt = |what: &str| {
        format!(
            "{what} against the rate of calls that fell due. {}.",
            found.join("; ")
        )
    };
    let marks = || {
        let found = runs
            .iter()
            .filter_map(|run| run.report.saturation.as_ref().map(|found| (run, found)));
        let mark = |(run, found): (&Run<'_>, &crate::report::model::Saturation)| Mark {
            at: found.sustained_per_s,
            name: if alone {
                "borne".to_owned()
            } else {
                run.letter.to_string()
            },
        };
        found.map(mark).collect()
    };
    let chart = |id: &str, title: &str, lead: &str, y: Axis, series: Vec<Series>| Chart {
        id: id.into(),
        title: title.into(),
        lead: lead.into(),
        alt: alt(title),
        size: Size::Half,
        x: Axis {
            title: "calls due a second",
            ..rate
        },
        ys: vec![y],
        table: tables::points("due", &series, figures::rate, y.exact),
        series,
        bands: Vec::new(),
        marks: marks(),
        group: "load",
    };
    vec![
        chart(
            "goodput",
            "Answered at each load",
            "A line that leaves the dotted one is a target that no longer answers all it is asked.",
            rate,
            answered,
        ),
        chart(
            "knee",
            "Latency at each load",
            "Where it bends upward, queues begin.",
            time,
            times,
        ),
    ]
}

fn by_rate(report: &Report, value: fn(&Stage) -> f64) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = report
        .stages
        .iter()
        .filter_map(|stage| Some((stage.offered_per_s?, value(stage))))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

#[expect(clippy::cast_precision_loss, reason = "places in a drawing")]
fn per_second(stage: &Stage) -> f64 {
    stage.outcome.ok as f64 / (stage.to_s - stage.from_s)
}

fn at(stage: &Stage, value: fn(&crate::report::model::Latency) -> f64) -> f64 {
    let times = &stage.outcome.latency;
    if times.count == 0 { f64::NAN } else { value(times) }
}
