//! Reports as Markdown, for tickets, pull requests and documents.

use std::fmt::Write as _;

use super::{
    compare::{self, Comparison, Standing},
    figures::{self, NONE, plain},
    model::{Outcome, Report},
};

/// One run, or several side by side.
#[must_use]
pub fn page(reports: &[Report]) -> String {
    match reports {
        [] => String::new(),
        [report] => one(report),
        _ => many(&reports.iter().collect::<Vec<_>>()),
    }
}

fn one(report: &Report) -> String {
    let mut out = format!("### {}\n\n{}\n\n", text(report.name()), facts(report));
    if report.headroom.limited {
        let _ = writeln!(
            out,
            "**✗ The generator set the pace, not the target:** {}\n",
            text(&report.headroom.reason)
        );
    }
    if let Some(found) = &report.saturation {
        let _ = writeln!(
            out,
            "Saturation: **{}** borne, {} at most ({}); borne means {}.\n",
            figures::rate(found.sustained_per_s),
            figures::rate(found.peak_per_s),
            text(&found.ended.replace('_', " ")),
            text(&found.conditions)
        );
    }
    let mut rows = vec![row("all calls", &report.total, report.measured_s)];
    if report.operations.len() > 1 {
        rows.extend(
            report
                .operations
                .iter()
                .map(|o| row(&o.name, &o.outcome, report.measured_s)),
        );
    }
    if report.stages.len() > 1 {
        rows.extend(
            report
                .stages
                .iter()
                .map(|s| row(&s.load, &s.outcome, s.to_s - s.from_s)),
        );
    }
    table(
        &mut out,
        &[
            "", "answered", "rate", "failed", "p50", "p90", "p99", "p99.9", "max",
        ],
        &rows,
    );
    if !report.thresholds.is_empty() {
        let rows: Vec<Vec<String>> = report
            .thresholds
            .iter()
            .map(|judged| {
                let mark = if judged.held { "✓" } else { "✗" };
                vec![format!("{mark} {}", code(&judged.rule)), text(&judged.seen)]
            })
            .collect();
        table(&mut out, &["threshold", "seen"], &rows);
    }
    out
}

fn many(reports: &[&Report]) -> String {
    let mut out = String::new();
    for (letter, report) in ('A'..='Z').zip(reports) {
        let limited = if report.headroom.limited {
            " **✗ limited by the generator**"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "- **{letter}** {}: {}{limited}",
            text(report.name()),
            facts(report)
        );
    }
    out.push('\n');
    let totals = compare::totals(reports);
    compared(&mut out, "all calls", &totals, reports);
    if totals.searched {
        out.push_str("Of a search for saturation, times and failures are those at the load it found.\n\n");
    }
    compared(&mut out, "operation", &compare::operations(reports), reports);
    out
}

fn compared(out: &mut String, head: &str, comparison: &Comparison, reports: &[&Report]) {
    if comparison.rows.is_empty() {
        return;
    }
    let letters = ('A'..='Z')
        .zip(reports)
        .map(|(letter, report)| format!("{letter} {}", text(report.name())));
    let heads: Vec<String> = std::iter::once(head.to_owned()).chain(letters).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let cell = |cell: &compare::Cell| match (cell.ratio, cell.standing) {
        (None, _) => cell.figure.clone(),
        (Some(ratio), Standing::Alike) => format!("{} ({})", cell.figure, figures::ratio(ratio, 1.0)),
        (Some(ratio), _) => format!("{} (**{}**)", cell.figure, figures::ratio(ratio, 1.0)),
    };
    let rows: Vec<Vec<String>> = comparison
        .rows
        .iter()
        .map(|row| {
            std::iter::once(text(&row.name))
                .chain(row.cells.iter().map(cell))
                .collect()
        })
        .collect();
    table(out, &heads, &rows);
}

fn facts(report: &Report) -> String {
    format!(
        "{}, {}, {} measured",
        code(&report.target),
        figures::moment(report.started_unix),
        figures::span(report.measured_s)
    )
}

fn row(name: &str, outcome: &Outcome, seconds: f64) -> Vec<String> {
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
    let failed = match outcome.failed_share() {
        Some(share) if outcome.failed() > 0 => format!("{} ({})", outcome.failed(), figures::percent(share)),
        _ => "0".to_owned(),
    };
    let mut row = vec![text(name), figures::count(outcome.ok), rate, failed];
    row.extend([times.p50, times.p90, times.p99, times.p999, times.max].map(shown));
    row
}

/// A table; its cells are Markdown already.
fn table(out: &mut String, heads: &[&str], rows: &[Vec<String>]) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    out.push_str(&line(
        &heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>(),
    ));
    let rule = |nth| if nth == 0 { "---" } else { "---:" };
    out.push_str(&line(
        &(0..heads.len())
            .map(|nth| rule(nth).to_owned())
            .collect::<Vec<_>>(),
    ));
    for row in rows {
        out.push_str(&line(row));
    }
    out.push('\n');
}

/// Text of others: nothing in it is Markdown or HTML, nor ends its cell or line.
fn text(others: &str) -> String {
    let mut safe = String::with_capacity(others.len());
    for c in plain(others).chars() {
        if matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '#' | '~' | '!' | '@'
        ) {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

/// The same as code; a back-tick cannot be escaped there, so it becomes a quotation mark.
fn code(others: &str) -> String {
    format!("`{}`", plain(others).replace('`', "'").replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_in_its_cell() {
        assert_eq!(text("a|b\n<img>*"), "a\\|b\u{fffd}\\<img\\>\\*");
        assert_eq!(code("`x` | y"), "`'x' \\| y`");
    }
}
