//! The page from top to bottom.

use std::fmt::{self, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    NoPage, RUNS_MAX, Run, compare,
    escape::Text,
    latency_plots, load_plots,
    tables::{self, Cell},
    time_plots,
};
use crate::report::{
    figures::{self, NONE},
    model::Report,
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of these reports; the first is what others are compared with.
///
/// # Errors
/// When there is none, or there are more than can be told apart.
pub fn page(reports: &[Report]) -> Result<String, NoPage> {
    if reports.is_empty() {
        return Err(NoPage::Nothing);
    }
    if reports.len() > RUNS_MAX {
        return Err(NoPage::TooMany(reports.len()));
    }
    let alone = reports.len() == 1;
    let runs: Vec<Run<'_>> = ('A'..='Z')
        .zip(reports)
        .map(|(letter, report)| Run {
            letter,
            report,
            alone,
        })
        .collect();
    let mut out = String::new();
    // Writing to a `String` does not fail.
    let _ = write(&mut out, &runs);
    Ok(out)
}

fn write(out: &mut String, runs: &[Run<'_>]) -> fmt::Result {
    head(out, runs)?;
    match runs {
        [run] => one(out, run)?,
        _ => many(out, runs)?,
    }
    writeln!(
        out,
        "<footer><p>Latency counts from the moment a call was due by the schedule, whether or not it could be started \
         then, so that a target that stalls cannot hide the calls it held up. Service time counts from a call's first \
         byte. Figures of different runs compare only where the runs shared machine and minute.</p><p>Written by \
         {}.</p></footer></main><script>{SCRIPT}</script></body></html>",
        Text(&runs[0].report.generator)
    )
}

fn head(out: &mut String, runs: &[Run<'_>]) -> fmt::Result {
    let title = runs.iter().map(Run::name).collect::<Vec<_>>().join(" · ");
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; \
         form-action 'none'\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta \
         name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\"><title>{} – load \
         test</title><style>{STYLE}</style></head><body><main>",
        sha256(SCRIPT),
        sha256(STYLE),
        Text(&title)
    )
}

fn sha256(text: &str) -> String {
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}

fn one(out: &mut String, run: &Run<'_>) -> fmt::Result {
    let report = run.report;
    write!(
        out,
        "<header><p class=\"kind\">Load test</p><h1>{}</h1>",
        Text(&run.name())
    )?;
    write!(out, "<p class=\"facts\">{}</p></header>", facts(report))?;
    verdict(out, &run_verdict(report))?;
    headline(out, run)?;
    section(
        out,
        "thresholds",
        "Thresholds",
        tables::thresholds(&report.thresholds).as_deref(),
    )?;
    plots(out, std::slice::from_ref(run))?;
    write!(out, "<section id=\"tables\"><h2>Figures</h2>")?;
    details_of(out, report)?;
    write!(out, "</section>")
}

fn many(out: &mut String, runs: &[Run<'_>]) -> fmt::Result {
    write!(
        out,
        "<header><p class=\"kind\">Load tests side by side</p><h1>{} runs compared</h1></header>",
        runs.len()
    )?;
    write!(out, "<section id=\"runs\"><ol class=\"runs\">")?;
    for (colour, run) in runs.iter().enumerate() {
        let label = run.report.name();
        write!(
            out,
            "<li><span class=\"badge c{colour}\"><span>{}</span></span><div><strong>{}</strong><p class=\"facts\">{}</p>",
            run.letter,
            Text(label),
            facts(run.report)
        )?;
        verdict(out, &run_verdict(run.report))?;
        write!(out, "</div></li>")?;
    }
    write!(
        out,
        "</ol></section><section id=\"compare\"><h2>Side by side</h2><div class=\"scroll\">{}</div>",
        compare::totals(runs)
    )?;
    if let Some(table) = compare::operations(runs) {
        write!(out, "<div class=\"scroll\">{table}</div>")?;
    }
    write!(out, "</section>")?;
    plots(out, runs)?;
    write!(out, "<section id=\"tables\"><h2>Each run</h2>")?;
    for run in runs {
        write!(
            out,
            "<details class=\"run\"><summary><h3>{}</h3></summary>",
            Text(&run.name())
        )?;
        if let Some(table) = tables::thresholds(&run.report.thresholds) {
            write!(out, "<div class=\"scroll\">{table}</div>")?;
        }
        details_of(out, run.report)?;
        write!(out, "</details>")?;
    }
    write!(out, "</section>")
}

/// Where, when, how long.
fn facts(report: &Report) -> String {
    let mut facts = format!("<span class=\"target\">{}</span>", Text(&report.target));
    let warm = match report.warmup_s {
        warm if warm > 0.0 => format!(" after {} of warm-up", figures::span(warm)),
        _ => String::new(),
    };
    let _ = write!(
        facts,
        " <span>{}</span> <span>{} measured{warm}</span>",
        figures::moment(report.started_unix),
        figures::span(report.measured_s)
    );
    facts
}

enum Verdict {
    Held(usize),
    Failed(usize, usize),
    Limited(String),
    None,
}

fn run_verdict(report: &Report) -> Verdict {
    let failed = report.thresholds.iter().filter(|row| !row.held).count();
    match report.thresholds.len() {
        _ if report.headroom.limited => Verdict::Limited(report.headroom.reason.clone()),
        0 => Verdict::None,
        all if failed == 0 => Verdict::Held(all),
        all => Verdict::Failed(failed, all),
    }
}

fn verdict(out: &mut String, verdict: &Verdict) -> fmt::Result {
    match verdict {
        Verdict::Limited(reason) => write!(
            out,
            "<p class=\"verdict bad\" role=\"status\"><strong>✗ The generator set the pace, not the target.</strong> {}. \
             These figures say what this generator can do; use more threads or more generators.</p>",
            Text(reason.trim_end_matches('.'))
        ),
        Verdict::Failed(failed, all) => write!(
            out,
            "<p class=\"verdict bad\" role=\"status\"><strong>✗ {failed} of {all} thresholds failed</strong></p>"
        ),
        Verdict::Held(1) => {
            write!(
                out,
                "<p class=\"verdict good\" role=\"status\"><strong>✓ The threshold held</strong></p>"
            )
        }
        Verdict::Held(all) => write!(
            out,
            "<p class=\"verdict good\" role=\"status\"><strong>✓ All {all} thresholds held</strong></p>"
        ),
        Verdict::None => Ok(()),
    }
}

fn headline(out: &mut String, run: &Run<'_>) -> fmt::Result {
    let report = run.report;
    let (total, shown) = (&report.total, run.report.outcome());
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per_second = |calls: u64| figures::rate(calls as f64 / report.measured_s);
    let time = |micros| {
        if shown.latency.count == 0 {
            NONE.to_owned()
        } else {
            figures::time(micros)
        }
    };
    let service = |micros: f64| match (&report.saturation, shown.service.count) {
        (_, 0) => String::new(),
        (Some(found), _) if run.report.borne().is_some() => {
            format!("at {}", figures::rate(found.sustained_per_s))
        }
        _ => format!("{} service", figures::time(micros)),
    };
    let offered = report.stages.iter().any(|stage| stage.offered_per_s.is_some());
    let failed = format!(
        "{} of {} calls",
        figures::count(shown.failed()),
        figures::count(shown.ended())
    );
    let share = shown
        .failed_share()
        .map_or_else(|| NONE.to_owned(), figures::percent);
    let mut cards = Vec::new();
    if let Some(found) = &report.saturation {
        let ended = match found.ended.as_str() {
            "found" => "the highest rate borne",
            "rate_max_reached" => "and more: the search's own limit",
            _ => "and perhaps more: the generator's limit",
        };
        cards.push((
            "saturation",
            figures::rate(found.sustained_per_s),
            ended.to_owned(),
            "",
        ));
        cards.push((
            "peak",
            figures::rate(found.peak_per_s),
            "answered at any load".to_owned(),
            "",
        ));
    } else {
        let of = if offered {
            format!("of {} due", per_second(total.due))
        } else {
            figures::count(total.ok) + " answers"
        };
        cards.push(("answered", per_second(total.ok), of, ""));
    }
    cards.extend([
        ("p50", time(shown.latency.p50), service(shown.service.p50), ""),
        ("p99", time(shown.latency.p99), service(shown.service.p99), ""),
        ("p99.9", time(shown.latency.p999), service(shown.service.p999), ""),
        ("slowest", time(shown.latency.max), service(shown.service.max), ""),
        (
            "failed",
            share,
            failed,
            if shown.failed() > 0 { "bad" } else { "" },
        ),
    ]);
    write!(
        out,
        "<section id=\"headline\" aria-label=\"Headline figures\"><dl class=\"cards\">"
    )?;
    for (name, figure, note, class) in cards {
        let (number, unit) = figure.split_once(' ').unwrap_or((&figure, ""));
        let (number, unit) = number
            .strip_suffix("/s")
            .map_or((number, unit), |number| (number, "/s"));
        write!(
            out,
            "<div class=\"card\"><dt>{name}</dt><dd class=\"{class}\"><b>{}</b> <span>{unit}</span></dd><dd \
             class=\"note\">{}</dd></div>",
            Text(number),
            Text(&note)
        )?;
    }
    write!(out, "</dl></section>")
}

fn plots(out: &mut String, runs: &[Run<'_>]) -> fmt::Result {
    let latency = latency_plots::percentiles(runs)
        .into_iter()
        .chain(latency_plots::density(runs));
    let groups = [
        ("latency", "Latency", latency.collect::<Vec<_>>()),
        ("load", "Under rising load", load_plots::all(runs)),
        ("time", "Over time", time_plots::all(runs)),
    ];
    for (id, title, charts) in groups {
        if charts.is_empty() {
            continue;
        }
        write!(out, "<section id=\"{id}\"><h2>{title}</h2><div class=\"plots\">")?;
        for chart in charts {
            write!(out, "{chart}")?;
        }
        write!(out, "</div></section>")?;
    }
    Ok(())
}

/// All that is not drawn.
fn details_of(out: &mut String, report: &Report) -> fmt::Result {
    let mut all = vec![tables::operations(report)];
    all.extend(tables::tools(report));
    if report.stages.len() > 1 {
        all.push(tables::stages(report));
    }
    all.extend(report.saturation.as_ref().map(saturation));
    all.extend(tables::errors(report));
    all.push(traffic(report));
    all.push(tables::headroom(&report.headroom));
    for table in all {
        write!(out, "<div class=\"scroll\">{table}</div>")?;
    }
    write!(
        out,
        "<details class=\"scenario\"><summary>The scenario, as it was run</summary><pre tabindex=\"0\">{}</pre></details>",
        Text(&report.scenario)
    )
}

fn saturation(found: &crate::report::model::Saturation) -> String {
    let rows: Vec<Vec<Cell>> = vec![
        vec![
            "highest rate borne".into(),
            figures::rate(found.sustained_per_s).into(),
        ],
        vec![
            "most answers at any load".into(),
            figures::rate(found.peak_per_s).into(),
        ],
        vec!["borne means".into(), found.conditions.as_str().into()],
        vec!["the search ended".into(), found.ended.replace('_', " ").into()],
    ];
    tables::slim("Saturation", &["<", "<"], rows.into_iter())
}

fn traffic(report: &Report) -> String {
    let total = &report.total;
    let each = |bytes: u64, calls: u64| format!("{} each", figures::bytes(bytes / calls.max(1)));
    let row = |name: &str, bytes: u64, calls: u64| -> Vec<Cell> {
        vec![
            name.into(),
            figures::bytes(bytes).into(),
            each(bytes, calls).into(),
        ]
    };
    let rows = vec![
        row("sent", total.bytes_out, total.ended()),
        row("received", total.bytes_in, total.ended()),
    ];
    tables::slim(
        "Traffic, heads included, without TLS",
        &["<", "bytes", "a call"],
        rows.into_iter(),
    )
}

fn section(out: &mut String, id: &str, title: &str, body: Option<&str>) -> fmt::Result {
    match body {
        Some(body) => write!(
            out,
            "<section id=\"{id}\"><h2>{title}</h2><div class=\"scroll\">{body}</div></section>"
        ),
        None => Ok(()),
    }
}
