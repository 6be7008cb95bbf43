//! `ringway-loadtest report`: draw, compare and judge finished runs.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use super::{Exit, Failure};
use crate::report::{
    file, html, markdown,
    model::{Judged, Report},
    terminal, thresholds,
};

/// Its flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Reports that runs wrote with `--json`; others are compared with the first
    #[arg(required = true, value_name = "REPORT.json")]
    reports: Vec<PathBuf>,
    /// Write one self-contained page
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Print Markdown instead of plain text
    #[arg(long)]
    markdown: bool,
    /// Judge every report by this rule instead of its own, for example 'p99 < 5ms', or 'p99 <= 1.2x' against the
    /// first report; may be repeated
    #[arg(long = "threshold", value_name = "RULE")]
    thresholds: Vec<String>,
    /// Names for the reports, in their order, instead of those they carry
    #[arg(long = "label", value_name = "NAME")]
    labels: Vec<String>,
}

/// Does it.
///
/// # Errors
/// When a report, a rule or a place to write is wrong.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let input = |reason: &dyn std::fmt::Display| Failure::Input(reason.to_string());
    let rules = thresholds::parse_all(&args.thresholds).map_err(|wrong| {
        let all: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        Failure::Input(all.join("\n       "))
    })?;
    if args.labels.len() > args.reports.len() {
        return Err(Failure::Input("there are more labels than reports".to_owned()));
    }
    let mut reports: Vec<Report> = Vec::new();
    for path in &args.reports {
        reports.push(file::read(path).map_err(|reason| input(&reason))?);
    }
    for (report, label) in reports.iter_mut().zip(args.labels) {
        report.label = label;
    }
    if let (false, Some(first)) = (rules.is_empty(), reports.first().cloned()) {
        for report in &mut reports {
            report.thresholds = thresholds::judge_against(&rules, report, &first);
        }
    }
    if let Some(path) = &args.html {
        let page = html::page(&reports).map_err(|reason| input(&reason))?;
        file::write_whole(path, page.as_bytes()).map_err(|reason| input(&reason))?;
    }
    let shown = if args.markdown {
        markdown::page(&reports)
    } else {
        plain(&reports)
    };
    io::stdout()
        .write_all(shown.as_bytes())
        .map_err(|reason| Failure::Input(format!("standard output: {reason}")))?;
    // A report's own thresholds were its own run's matter, and that run has told; here only what was asked for counts.
    let failed = |row: &Judged| !row.held;
    let all_held = rules.is_empty() || !reports.iter().flat_map(|report| &report.thresholds).any(failed);
    Ok(if all_held {
        Exit::Success
    } else {
        Exit::ThresholdsFailed
    })
}

fn plain(reports: &[Report]) -> String {
    let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match reports {
        [report] => terminal::summary(report, colours),
        _ => {
            let mut shown = terminal::side_by_side(&reports.iter().collect::<Vec<_>>(), colours);
            for report in reports {
                shown.push_str(&terminal::verdict(report, colours));
            }
            shown
        }
    }
}
