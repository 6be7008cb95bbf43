//! The tables of one run, and those beside its plots.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{chart::Series, escape::Text, latency_plots::quantile};
use crate::report::{
    figures::{self, NONE},
    model::{Headroom, Judged, Latency, Operation, Outcome, Report, Stage},
};

/// Rows of the table beside a plot; of more points, every second, third… is shown.
const POINT_ROWS_MAX: usize = 120;

/// A table: its caption, its heads, its rows. The first cell of a row is its head; others are figures, set right,
/// but for columns whose head begins with `<` (that mark is not shown), which hold words.
pub fn table(caption: &str, heads: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    open(caption, "", heads, rows)
}

/// A table no wider than it must be: few columns, or words.
pub fn slim(caption: &str, heads: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    open(caption, " class=\"slim\"", heads, rows)
}

/// A table whose columns have the same width, for figures side by side.
pub fn even(caption: &str, heads: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    open(caption, " class=\"even\"", heads, rows)
}

fn open(caption: &str, class: &str, heads: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let mut out = format!("<table{class}><caption>{}</caption>", Text(caption));
    // A head of nothing but empty cells is no head.
    let headless = heads.iter().all(|head| head.trim_start_matches('<').is_empty());
    out.push_str(if headless {
        "<thead hidden><tr>"
    } else {
        "<thead><tr>"
    });
    for head in heads {
        let (class, head) = match head.strip_prefix('<') {
            Some(head) => ("", head),
            None => (" class=\"n\"", *head),
        };
        let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", Text(head));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (place, cell) in row.iter().enumerate() {
            let words = heads.get(place).is_some_and(|head| head.starts_with('<'));
            let (open, close) = if place == 0 {
                ("th scope=\"row\"", "th")
            } else {
                ("td", "td")
            };
            let class = match (words, cell.class) {
                (true, "") => String::new(),
                (true, class) => format!(" class=\"{class}\""),
                (false, class) => format!(" class=\"n {class}\""),
            };
            let _ = write!(out, "<{open}{class}>{}", Text(&cell.text));
            if let Some((class, small)) = &cell.small {
                let _ = write!(out, " <small class=\"{class}\">{}</small>", Text(small));
            }
            let _ = write!(out, "</{close}>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table>");
    out
}

/// One cell.
#[derive(Default)]
pub struct Cell {
    #[allow(missing_docs)]
    pub text: String,
    /// One of the style sheet's classes.
    pub class: &'static str,
    /// A remark behind the text, with its class.
    pub small: Option<(&'static str, String)>,
}

impl<S: Into<String>> From<S> for Cell {
    fn from(text: S) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

/// Percentiles of several distributions, side by side.
pub fn quantiles(shown: &[f64], columns: &[(String, &Latency)]) -> String {
    let mut heads = vec!["<Share of calls"];
    heads.extend(columns.iter().map(|(name, _)| name.trim_start_matches('<')));
    // A histogram is read once, not once for each row.
    let read: Vec<_> = columns
        .iter()
        .map(|(_, times)| times.histogram().ok().flatten())
        .collect();
    let rows = shown.iter().map(|q| {
        let mut row: Vec<Cell> = vec![quantile(*q).into()];
        for histogram in &read {
            row.push(histogram.as_ref().map_or_else(
                || NONE.into(),
                |h| {
                    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
                    let micros = h.value_at_quantile(*q) as f64 / 1e3;
                    figures::time(micros).into()
                },
            ));
        }
        row
    });
    table("At most so long", &heads, rows)
}

/// The points of a plot, by rising x.
pub fn points(head: &str, series: &[Series], x: fn(f64) -> String, y: fn(f64) -> String) -> String {
    // A map by bits that sort as the numbers do; x is finite in every plot.
    let key = |value: f64| {
        let bits = value.to_bits();
        if value.is_sign_negative() {
            !bits
        } else {
            bits | 1 << 63
        }
    };
    let mut rows: BTreeMap<u64, (f64, Vec<Option<f64>>)> = BTreeMap::new();
    for (place, line) in series.iter().enumerate() {
        for (at, value) in &line.points {
            let row = rows
                .entry(key(*at))
                .or_insert_with(|| (*at, vec![None; series.len()]));
            row.1[place] = Some(*value);
        }
    }
    let every = rows.len().div_ceil(POINT_ROWS_MAX).max(1);
    let caption = if every == 1 {
        "All points".to_owned()
    } else {
        format!("One point of every {every}")
    };
    let head = format!("<{head}");
    let mut heads = vec![head.as_str()];
    heads.extend(series.iter().map(|line| line.name.trim_start_matches('<')));
    let rows = rows.values().step_by(every).map(|(at, values)| {
        let cells = values
            .iter()
            .map(|value| value.map_or_else(|| NONE.to_owned(), y).into());
        std::iter::once(Cell::from(x(*at))).chain(cells).collect()
    });
    table(&caption, &heads, rows)
}

const OUTCOME_HEADS: [&str; 9] = [
    "answered",
    "rate",
    "failed",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "service p50 / p99",
];

fn outcome_cells(outcome: &Outcome, seconds: f64) -> Vec<Cell> {
    let times = &outcome.latency;
    let shown = |micros| {
        if times.count == 0 {
            NONE.to_owned()
        } else {
            figures::time(micros)
        }
    };
    let failed = outcome.failed();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = outcome.ok as f64 / seconds;
    let mut cells: Vec<Cell> = vec![
        figures::count(outcome.ok).into(),
        figures::rate(rate).into(),
        Cell {
            text: figures::count(failed),
            class: if failed > 0 { "bad" } else { "" },
            small: outcome
                .failed_share()
                .filter(|_| failed > 0)
                .map(|share| ("", figures::percent(share))),
        },
    ];
    cells.extend([times.p50, times.p90, times.p99, times.p999, times.max].map(|micros| shown(micros).into()));
    let service = &outcome.service;
    let both = format!("{} / {}", figures::time(service.p50), figures::time(service.p99));
    cells.push(if service.count == 0 {
        NONE.into()
    } else {
        both.into()
    });
    cells
}

/// By operation.
pub fn operations(report: &Report) -> String {
    let row = |operation: &Operation| {
        let mut cells: Vec<Cell> = vec![Cell {
            text: operation.name.clone(),
            small: Some(("quiet", called(&operation.method, operation.subject.as_deref()))),
            ..Cell::default()
        }];
        cells.extend(outcome_cells(&operation.outcome, report.measured_s));
        cells
    };
    let heads: Vec<&str> = std::iter::once("<operation").chain(OUTCOME_HEADS).collect();
    table(
        "By operation; latency counts from the moment a call was due",
        &heads,
        report.operations.iter().map(row),
    )
}

/// By method and tool, where operations share one; else nothing.
pub fn tools(report: &Report) -> Option<String> {
    let mut groups: BTreeMap<(&str, Option<&str>), Outcome> = BTreeMap::new();
    for operation in &report.operations {
        let group = groups
            .entry((&operation.method, operation.subject.as_deref()))
            .or_default();
        group.absorb(&operation.outcome).ok()?;
    }
    let row = |((method, subject), outcome): (&(&str, Option<&str>), &Outcome)| {
        let mut cells: Vec<Cell> = vec![called(method, *subject).into()];
        cells.extend(outcome_cells(outcome, report.measured_s));
        cells
    };
    let heads: Vec<&str> = std::iter::once("<method and tool").chain(OUTCOME_HEADS).collect();
    (groups.len() < report.operations.len())
        .then(|| table("By method and tool", &heads, groups.iter().map(row)))
}

/// `tools/call echo`.
pub fn called(method: &str, subject: Option<&str>) -> String {
    subject.map_or_else(|| method.to_owned(), |subject| format!("{method} {subject}"))
}

/// By stage.
pub fn stages(report: &Report) -> String {
    let row = |(nth, stage): (usize, &Stage)| {
        let mut cells: Vec<Cell> = vec![Cell {
            text: format!("{}. {}", nth + 1, stage.load),
            small: Some((
                "quiet",
                format!("{} – {}", figures::span(stage.from_s), figures::span(stage.to_s)),
            )),
            ..Cell::default()
        }];
        cells.extend(outcome_cells(&stage.outcome, stage.to_s - stage.from_s));
        cells
    };
    let heads: Vec<&str> = std::iter::once("<stage").chain(OUTCOME_HEADS).collect();
    table(
        "By stage of the load",
        &heads,
        report.stages.iter().enumerate().map(row),
    )
}

/// Failures by kind; nothing when there are none.
pub fn errors(report: &Report) -> Option<String> {
    let ended = report.total.ended();
    let mut kinds: Vec<(&String, &u64)> = report
        .total
        .errors
        .iter()
        .filter(|(_, count)| **count > 0)
        .collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let row = |(kind, count): (&String, &u64)| -> Vec<Cell> {
        let share = *count as f64 / ended.max(1) as f64;
        vec![
            kind.as_str().into(),
            figures::count(*count).into(),
            figures::percent(share).into(),
            meaning(kind).into(),
        ]
    };
    let heads = ["<kind", "calls", "of all", "<meaning"];
    (!kinds.is_empty()).then(|| slim("Failures by kind", &heads, kinds.into_iter().map(row)))
}

/// What a kind of failure says about the target.
fn meaning(kind: &str) -> &'static str {
    match kind {
        "connect" => "no connection could be opened",
        "tls" => "the TLS handshake failed",
        "closed" => "the connection was closed before the answer was whole",
        "refused" => "the peer refused the stream",
        "protocol" => "what came is not HTTP",
        "input_required" => "the server asked for input that a load test does not have",
        "unexpected" => "the answer is not what the scenario expects",
        "no_tool_error" => "the scenario expects an error and none came",
        "timeout" => "no whole answer within the call's time",
        "reset" => "the connection ended before the answer did",
        "tool_error" => "the tool answered with isError",
        "bad_answer" => "an answer that is not what the protocol says",
        "not_started" => "due, but the run ended or too many were waiting",
        _ if kind.starts_with("http_") => "an HTTP status that is no success",
        _ if kind.starts_with("rpc_") => "a JSON-RPC error",
        _ => "",
    }
}

/// Thresholds; nothing when there are none.
pub fn thresholds(judged: &[Judged]) -> Option<String> {
    let row = |row: &Judged| -> Vec<Cell> {
        let (text, class) = if row.held {
            ("✓ held", "good whole")
        } else {
            ("✗ failed", "bad whole")
        };
        vec![
            Cell {
                text: row.rule.clone(),
                class: "rule",
                small: None,
            },
            Cell {
                text: text.into(),
                class,
                small: None,
            },
            row.seen.as_str().into(),
        ]
    };
    let heads = ["<threshold", "<", "<seen"];
    (!judged.is_empty()).then(|| {
        slim(
            "What was demanded and what was seen",
            &heads,
            judged.iter().map(row),
        )
    })
}

/// The generator's own state.
pub fn headroom(headroom: &Headroom) -> String {
    let late = &headroom.lateness;
    let lateness = if late.count == 0 {
        NONE.to_owned()
    } else {
        let [p50, p99, max] = [late.p50, late.p99, late.max].map(figures::time);
        format!("p50 {p50}, p99 {p99}, max {max}")
    };
    let verdict = if headroom.limited {
        Cell {
            text: format!("✗ the generator set the pace: {}", headroom.reason),
            class: "bad",
            small: None,
        }
    } else {
        Cell {
            text: "✓ the target set the pace".into(),
            class: "good",
            small: None,
        }
    };
    let rows: Vec<Vec<Cell>> = vec![
        vec!["verdict".into(), verdict],
        vec!["generator threads".into(), headroom.threads.to_string().into()],
        vec![
            "busiest thread".into(),
            format!("{} of its time", figures::percent(headroom.busiest_thread)).into(),
        ],
        vec!["started late by".into(), lateness.into()],
    ];
    slim("The generator's headroom", &["<", "<"], rows.into_iter())
}
