//! Holding rules against a report. What cannot be seen does not hold, and says why.

use super::{Bound, Clock, Figure, Point, Scope, Threshold};
use crate::report::{
    figures,
    model::{Judged, Latency, Outcome, Report},
};

/// The row that a run limited by its generator fails.
const GENERATOR_RULE: &str = "the target set the pace, not the generator";

/// Names listed in a message that says which there are.
const NAMES_SHOWN: usize = 6;

/// Judges every rule; a run that the generator limited fails with a row of its own, first. Rules about ratios do not
/// hold, because there is no run to compare with.
#[must_use]
pub fn judge(thresholds: &[Threshold], report: &Report) -> Vec<Judged> {
    judged(thresholds, report, None)
}

/// The same, with another run for rules about ratios.
#[must_use]
pub fn judge_against(thresholds: &[Threshold], report: &Report, first: &Report) -> Vec<Judged> {
    judged(thresholds, report, Some(first))
}

fn judged(thresholds: &[Threshold], report: &Report, first: Option<&Report>) -> Vec<Judged> {
    let headroom = &report.headroom;
    let limited = headroom.limited.then(|| Judged {
        rule: GENERATOR_RULE.to_owned(),
        seen: if headroom.reason.is_empty() {
            "limited by the generator".to_owned()
        } else {
            headroom.reason.clone()
        },
        held: false,
    });
    limited
        .into_iter()
        .chain(
            thresholds
                .iter()
                .map(|threshold| judge_one(threshold, report, first)),
        )
        .collect()
}

fn judge_one(threshold: &Threshold, report: &Report, first: Option<&Report>) -> Judged {
    let looked = look(threshold, report).and_then(|(figure, seen)| match threshold.bound {
        Bound::Times(times) => against(threshold, figure, &seen, times, first),
        Bound::Time(bound) | Bound::Share(bound) | Bound::PerSecond(bound) => Ok((figure, bound, seen)),
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
        Bound::Count(bound) => Ok((figure, bound as f64, seen)),
    });
    let (seen, held) = match looked {
        Ok((figure, bound, seen)) => (seen, threshold.comparison.holds(figure, bound)),
        Err(why) => (why, false),
    };
    Judged {
        rule: threshold.rule.clone(),
        seen,
        held,
    }
}

/// Figure and bound of a rule about a ratio. The bound is multiplied rather than the figure divided, so that nothing
/// against nothing is `<= 1x`.
fn against(
    threshold: &Threshold,
    figure: f64,
    seen: &str,
    times: f64,
    first: Option<&Report>,
) -> Result<(f64, f64, String), String> {
    let first =
        first.ok_or("a ratio needs a run to compare with: `ringway-loadtest report FIRST.json THIS.json`")?;
    let (of_first, seen_first) = look(threshold, first).map_err(|why| format!("the first run: {why}"))?;
    let ratio = figures::ratio(figure, of_first);
    Ok((
        figure,
        of_first * times,
        format!("{ratio}: {seen} against {seen_first}"),
    ))
}

/// The figure in the bound's unit, and as people read it; or why there is none.
fn look(threshold: &Threshold, report: &Report) -> Result<(f64, String), String> {
    if threshold.figure == Figure::Saturation {
        let found = report
            .saturation
            .as_ref()
            .ok_or("this run searched for no saturation")?;
        return Ok((found.sustained_per_s, figures::rate(found.sustained_per_s)));
    }
    let (outcome, seconds) = narrow(&threshold.scope, report)?;
    match &threshold.figure {
        Figure::Time(clock, point) => {
            let times = clocked(&outcome, *clock)?;
            let micros =
                at(times, *point).ok_or("the report keeps no histogram to read this percentile from")?;
            Ok((micros, figures::time(micros)))
        }
        Figure::Errors(kind) => errors(&outcome, kind.as_deref(), &threshold.bound),
        Figure::Rate | Figure::Saturation => {
            if seconds <= 0.0 {
                return Err("no time was measured".into());
            }
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let rate = outcome.ok as f64 / seconds;
            Ok((rate, figures::rate(rate)))
        }
    }
}

/// The calls a rule is about, and the seconds in which they fell due.
fn narrow(scope: &Scope, report: &Report) -> Result<(Outcome, f64), String> {
    let seconds = report.measured_s;
    let operations = &report.operations;
    let chosen: Vec<&Outcome> = match scope {
        Scope::All => return Ok((report.total.clone(), seconds)),
        Scope::Stage(number) => {
            let stages = &report.stages;
            let none = || format!("the run had {} stages", stages.len());
            let stage = stages.get(number - 1).ok_or_else(none)?;
            return Ok((stage.outcome.clone(), stage.to_s - stage.from_s));
        }
        Scope::Operation(name) => operations
            .iter()
            .filter(|o| o.name == *name)
            .map(|o| &o.outcome)
            .collect(),
        Scope::Tool(name) => operations
            .iter()
            .filter(|o| o.method == "tools/call" && o.subject.as_deref() == Some(name))
            .map(|o| &o.outcome)
            .collect(),
        Scope::Method(name) => operations
            .iter()
            .filter(|o| o.method == *name)
            .map(|o| &o.outcome)
            .collect(),
    };
    let mut sum = Outcome::default();
    for outcome in &chosen {
        sum.absorb(outcome).map_err(|reason| reason.to_string())?;
    }
    if chosen.is_empty() {
        let names: Vec<&str> = match scope {
            Scope::Tool(_) => operations
                .iter()
                .filter(|o| o.method == "tools/call")
                .filter_map(|o| o.subject.as_deref())
                .collect(),
            Scope::Method(_) => operations.iter().map(|o| o.method.as_str()).collect(),
            _ => operations.iter().map(|o| o.name.as_str()).collect(),
        };
        return Err(format!("none of that name; the run had {}", listed(names)));
    }
    Ok((sum, seconds))
}

fn listed(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    names.truncate(NAMES_SHOWN);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

fn clocked(outcome: &Outcome, clock: Clock) -> Result<&Latency, String> {
    let times = match clock {
        Clock::Latency => Some(&outcome.latency),
        Clock::Service => Some(&outcome.service),
        Clock::First => outcome.first_event.as_ref(),
    };
    match times {
        Some(times) if times.count > 0 => Ok(times),
        Some(_) => Err("no call was answered".into()),
        None => Err("no answer streamed".into()),
    }
}

fn at(times: &Latency, point: Point) -> Option<f64> {
    match point {
        Point::Min => Some(times.min),
        Point::Mean => Some(times.mean),
        Point::Max => Some(times.max),
        Point::Percentile(percentile) => times.at(percentile / 100.0),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share; counts far below 2^53")]
fn errors(outcome: &Outcome, kind: Option<&str>, bound: &Bound) -> Result<(f64, String), String> {
    let ended = outcome.ended();
    if ended == 0 {
        return Err("no call ended".into());
    }
    let failed = match kind {
        Some(kind) => outcome.errors.get(kind).copied().unwrap_or(0),
        None => outcome.failed(),
    };
    let share = failed as f64 / ended as f64;
    let seen = format!(
        "{} of {} ({})",
        figures::count(failed),
        figures::count(ended),
        figures::percent(share)
    );
    Ok((
        if matches!(bound, Bound::Share(_) | Bound::Times(_)) {
            share
        } else {
            failed as f64
        },
        seen,
    ))
}
