//! A finished run in the terminal, and several beside each other.

use super::{
    COLUMNS,
    text::{Paint, columns, wrapped},
};
use crate::report::{
    compare::{self, Comparison},
    figures::{self, NONE, plain, shortened},
    model::{Latency, Outcome, Report},
};

/// Where what follows a word like `headroom` begins.
const SET_IN: usize = 12;

/// Operations, stages and failures listed; the JSON and the page have all.
const ROWS_MAX: usize = 40;

/// One run, ending with a line break.
#[must_use]
pub fn summary(report: &Report, colours: bool) -> String {
    let paint = Paint(colours);
    let mut lines = head(report, paint);
    lines.push(String::new());
    lines.extend(counts(report, paint));
    lines.push(String::new());
    lines.extend(distributions(report, paint));
    if report.operations.len() > 1 {
        let named = report
            .operations
            .iter()
            .map(|o| (plain(&o.name), &o.outcome, report.measured_s));
        lines.push(String::new());
        lines.extend(outcomes("operation", named.collect(), paint));
    }
    if report.stages.len() > 1 {
        let named = report
            .stages
            .iter()
            .map(|s| (plain(&s.load), &s.outcome, s.to_s - s.from_s));
        lines.push(String::new());
        lines.extend(outcomes("stage", named.collect(), paint));
    }
    lines.push(String::new());
    lines.extend(saturation(report));
    lines.extend(headroom(report, paint));
    lines.extend(thresholds(report, paint));
    lines.join("\n") + "\n"
}

/// Several runs, each figure beside its ratio to the first run's.
#[must_use]
pub fn side_by_side(reports: &[&Report], colours: bool) -> String {
    let paint = Paint(colours);
    let mut lines = Vec::new();
    for (letter, report) in ('A'..='Z').zip(reports) {
        let facts = format!("{} · {}", report.target, figures::moment(report.started_unix));
        let name = shortened(&plain(report.name()), figures::NAME_CHARS_MAX);
        lines.push(format!(
            "{letter}  {}  {}",
            paint.strong(&name),
            paint.quiet(&shortened(&plain(&facts), 60))
        ));
    }
    for (head, comparison) in [
        ("all calls", compare::totals(reports)),
        ("operation", compare::operations(reports)),
    ] {
        if !comparison.rows.is_empty() {
            lines.push(String::new());
            lines.extend(compared(head, &comparison, reports.len(), paint));
        }
        if comparison.searched {
            lines.push(
                paint.quiet("of a search for saturation, times and failures are those at the load it found"),
            );
        }
    }
    lines.join("\n") + "\n"
}

/// How one of several runs stood to its thresholds; empty where it had none.
#[must_use]
pub fn verdict(report: &Report, colours: bool) -> String {
    let lines = thresholds(report, Paint(colours));
    match lines.split_first() {
        Some((_, lines)) => format!("\n{}\n{}\n", plain(report.name()), lines.join("\n")),
        None => String::new(),
    }
}

fn compared(head: &str, comparison: &Comparison, runs: usize, paint: Paint) -> Vec<String> {
    let mut heads = vec![head.to_owned(), "A".to_owned()];
    for letter in ('B'..='Z').take(runs.saturating_sub(1)) {
        heads.extend([letter.to_string(), format!("{letter}/A")]);
    }
    let mut rows = vec![heads];
    for row in &comparison.rows {
        let mut cells = vec![plain(&row.name)];
        for (nth, cell) in row.cells.iter().enumerate() {
            cells.push(cell.figure.clone());
            if nth > 0 {
                cells.push(
                    cell.ratio
                        .map_or_else(|| NONE.to_owned(), |ratio| figures::ratio(ratio, 1.0)),
                );
            }
        }
        rows.push(cells);
    }
    with_quiet_head(columns(&rows, COLUMNS), paint)
}

fn head(report: &Report, paint: Paint) -> Vec<String> {
    let warm = match report.warmup_s {
        warm if warm > 0.0 => format!(" after {} of warm-up", figures::span(warm)),
        _ => String::new(),
    };
    let how = if report.is_open_loop() {
        "open loop"
    } else {
        "closed loop"
    };
    let name = shortened(&plain(report.name()), figures::NAME_CHARS_MAX);
    let target = shortened(&plain(&report.target), COLUMNS - figures::NAME_CHARS_MAX - 2);
    vec![
        format!("{}  {target}", paint.strong(&name)),
        paint.quiet(&format!(
            "{}, {} measured{warm}, {how}",
            figures::moment(report.started_unix),
            figures::span(report.measured_s)
        )),
    ]
}

fn counts(report: &Report, paint: Paint) -> Vec<String> {
    let total = &report.total;
    let rate = total
        .rate(report.measured_s)
        .map_or_else(|| NONE.to_owned(), figures::rate);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let due = figures::rate(total.due as f64 / report.measured_s);
    let of_due = if report.is_open_loop() {
        format!(" of {due} due")
    } else {
        String::new()
    };
    let mut lines = vec![
        word(
            "answered",
            &format!("{} calls, {rate}{of_due}", figures::count(total.ok)),
        ),
        word(
            "traffic",
            &format!(
                "{} out, {} in",
                figures::bytes(total.bytes_out),
                figures::bytes(total.bytes_in)
            ),
        ),
    ];
    let mut kinds: Vec<(&String, &u64)> = total.errors.iter().filter(|(_, count)| **count > 0).collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown: Vec<String> = kinds
        .iter()
        .take(ROWS_MAX)
        .map(|(kind, count)| format!("{} {}", shortened(&plain(kind), 40), figures::count(**count)))
        .collect();
    let failed = match total.failed_share() {
        Some(share) if total.failed() > 0 => {
            let count = figures::count(total.failed());
            let all = format!("{count} ({}): {}", figures::percent(share), shown.join(", "));
            paint.bad(&wrapped(&all, SET_IN, COLUMNS))
        }
        Some(_) => "none".to_owned(),
        None => "no call ended".to_owned(),
    };
    lines.insert(1, word("failed", &failed));
    lines
}

fn distributions(report: &Report, paint: Paint) -> Vec<String> {
    let outcome = report.outcome();
    let at = match (&report.saturation, report.borne()) {
        (Some(found), Some(_)) => format!("at {}", figures::rate(found.sustained_per_s)),
        _ => "times".to_owned(),
    };
    let heads = [
        at.as_str(),
        "min",
        "mean",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "p99.99",
        "max",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let mut add = |name: &str, times: &Latency| {
        if times.count > 0 {
            let all = [
                times.min,
                times.mean,
                times.p50,
                times.p90,
                times.p99,
                times.p999,
                times.p9999,
                times.max,
            ];
            rows.push(
                std::iter::once(name.to_owned())
                    .chain(all.map(figures::time))
                    .collect(),
            );
        }
    };
    add("latency, since due", &outcome.latency);
    add("service, since sent", &outcome.service);
    if let Some(first) = &outcome.first_event {
        add("until the first event", first);
    }
    with_quiet_head(columns(&rows, COLUMNS), paint)
}

fn outcomes(what: &str, named: Vec<(String, &Outcome, f64)>, paint: Paint) -> Vec<String> {
    let heads = [
        what, "answered", "rate", "failed", "p50", "p90", "p99", "p99.9", "max",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let more = named.len().saturating_sub(ROWS_MAX);
    for (name, outcome, seconds) in named.into_iter().take(ROWS_MAX) {
        let times = &outcome.latency;
        let shown = |micros| {
            if times.count == 0 {
                NONE.to_owned()
            } else {
                figures::time(micros)
            }
        };
        let rate = outcome
            .rate(seconds)
            .map_or_else(|| NONE.to_owned(), figures::rate);
        let mut row = vec![
            name,
            figures::count(outcome.ok),
            rate,
            figures::count(outcome.failed()),
        ];
        row.extend([times.p50, times.p90, times.p99, times.p999, times.max].map(shown));
        rows.push(row);
    }
    let mut lines = with_quiet_head(columns(&rows, COLUMNS), paint);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    lines
}

fn saturation(report: &Report) -> Vec<String> {
    let Some(found) = &report.saturation else {
        return Vec::new();
    };
    let text = format!(
        "{} borne, {} at most ({}); borne means {}",
        figures::rate(found.sustained_per_s),
        figures::rate(found.peak_per_s),
        plain(&found.ended).replace('_', " "),
        plain(&found.conditions)
    );
    vec![word("saturation", &wrapped(&text, SET_IN, COLUMNS))]
}

fn headroom(report: &Report, paint: Paint) -> Vec<String> {
    let headroom = &report.headroom;
    let late = &headroom.lateness;
    let mut text = format!(
        "{} generator thread{}, the busiest {} of its time",
        headroom.threads,
        if headroom.threads == 1 { "" } else { "s" },
        figures::percent(headroom.busiest_thread)
    );
    if late.count > 0 {
        let [p50, p99, max] = [late.p50, late.p99, late.max].map(figures::time);
        text.push_str(&format!(
            "; started late by {p50} at p50, {p99} at p99, {max} at most"
        ));
    }
    let mut lines = vec![word("headroom", &wrapped(&text, SET_IN, COLUMNS))];
    if headroom.limited {
        let text = format!(
            "✗ the generator set the pace, not the target: {}",
            plain(&headroom.reason)
        );
        lines.push(word("", &paint.bad(&wrapped(&text, SET_IN, COLUMNS))));
    }
    lines
}

fn thresholds(report: &Report, paint: Paint) -> Vec<String> {
    if report.thresholds.is_empty() {
        return Vec::new();
    }
    let rules = report.thresholds.iter().map(|row| plain(&row.rule));
    /// Of longer rules, what was seen begins a little further right.
    const RULE_MAX: usize = 44;
    let wide = rules
        .map(|rule| rule.chars().count())
        .max()
        .unwrap_or(0)
        .min(RULE_MAX);
    let failed = report.thresholds.iter().filter(|row| !row.held).count();
    let verdict = match failed {
        0 => paint.good("all held"),
        _ => paint.bad(&format!("{failed} of {} failed", report.thresholds.len())),
    };
    let mut lines = vec![String::new(), word("thresholds", &verdict)];
    for row in &report.thresholds {
        let mark = if row.held {
            paint.good("✓")
        } else {
            paint.bad("✗")
        };
        let rule = plain(&row.rule);
        let set_in = 6 + wide.max(rule.chars().count());
        lines.push(format!(
            "  {mark} {rule:<wide$}  {}",
            wrapped(&plain(&row.seen), set_in, COLUMNS)
        ));
    }
    lines
}

fn word(word: &str, text: &str) -> String {
    format!("{word:<SET_IN$}{text}")
}

fn with_quiet_head(mut lines: Vec<String>, paint: Paint) -> Vec<String> {
    if let Some(head) = lines.first_mut() {
        *head = paint.quiet(head);
    }
    lines
}
