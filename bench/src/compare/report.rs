//! The tables, as Markdown for files and for the terminal.

use super::{
    place::Scheduling,
    results::{Finding, Line, Origin, Results, Sample, Spread, Table},
    rows::{BASE, FLOOR},
    work::{Cell, Pace},
};
use std::fmt::Write as _;

/// Above this multiple of the floor's fastest round, a round was in the machine's slow state.
const SLOW: f64 = 1.15;

/// All tables under their headings.
pub fn markdown(results: &Results) -> String {
    let mut text = machine(results);
    for table in &results.cells {
        let _ = write!(text, "\n### {}\n\n{}", table.cell.title(), self::table(table));
    }
    for finding in &results.further {
        let _ = write!(text, "\n### {}\n\n{}", finding.title, self::finding(finding));
    }
    text
}

/// One line on the machine.
pub fn machine(results: &Results) -> String {
    let m = &results.machine;
    format!(
        "{} × {}, {} GiB, Linux {}.\n",
        m.processors, m.processor, m.memory_gib, m.kernel
    )
}

/// One line on how a table came about.
fn origin(origin: &Origin) -> String {
    let scheduling = match origin.scheduling {
        Scheduling::Rr => "`SCHED_RR`",
        Scheduling::Nice => "niceness -20",
        Scheduling::Normal => "ordinary scheduling",
    };
    format!(
        "\nCommit {}, {}, {scheduling}, {} s a measurement.\n",
        origin.commit, origin.generator, origin.measured_s
    )
}

/// One further measurement.
pub fn finding(finding: &Finding) -> String {
    let mut text = format!("| {} |\n|", finding.columns.join(" | "));
    text.push_str(&"---|".repeat(finding.columns.len()));
    text.push('\n');
    for line in &finding.lines {
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
    for remark in &finding.remarks {
        let _ = write!(text, "\n{remark}\n");
    }
    text + &origin(&finding.origin)
}

/// One cell's table.
pub fn table(table: &Table) -> String {
    let mut text = match table.cell.pace() {
        Pace::Closed => cpu_table(table),
        Pace::Constant(_) | Pace::Poisson(_) | Pace::Search => latency_table(table),
    };
    text.push_str(&state(table));
    text.push_str(&origin(&table.origin));
    for line in &table.rows {
        for failure in &line.failures {
            let _ = writeln!(
                text,
                "\nNot measured: {}: {}",
                line.label,
                failure.lines().next().unwrap_or_default()
            );
        }
    }
    text
}

fn cpu_table(table: &Table) -> String {
    let mut text = String::from(
        "| row | n | CPU µs a call: min / median / max | user / system | to nginx, by round: median (min, max) \
         | to the floor: median | calls/s a core | p50 / p99, ms |\n|---|---|---|---|---|---|---|---|\n",
    );
    for line in measured(table) {
        let cpu = of(line, |s| s.cpu_us);
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} / **{:.1}** / {:.1} | {:.1} / {:.1} | {} | {} | {:.0} | {:.2} / {:.2} |",
            line.label,
            line.samples.len(),
            cpu.min,
            cpu.median,
            cpu.max,
            of(line, |s| s.user_us).median,
            of(line, |s| s.system_us).median,
            ratio(&table.ratios(&line.id, BASE), true),
            ratio(&table.ratios(&line.id, FLOOR), false),
            1e6 / cpu.median,
            of(line, |s| s.p50_us).median / 1e3,
            of(line, |s| s.p99_us).median / 1e3,
        );
    }
    text
}

fn latency_table(table: &Table) -> String {
    let mut text = String::from(
        "| row | n | p50 µs: min / median / max | p99 µs: min / median / max | added p50, to nginx's \
         | added p99, to nginx's | CPU µs a call |\n|---|---|---|---|---|---|---|\n",
    );
    for line in measured(table) {
        let (p50, p99) = (of(line, |s| s.p50_us), of(line, |s| s.p99_us));
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} / **{:.0}** / {:.0} | {:.0} / **{:.0}** / {:.0} | {} | {} | {:.1} |",
            line.label,
            line.samples.len(),
            p50.min,
            p50.median,
            p50.max,
            p99.min,
            p99.median,
            p99.max,
            added(table, &line.id, |s| s.p50_us),
            added(table, &line.id, |s| s.p99_us),
            of(line, |s| s.cpu_us).median,
        );
    }
    text
}

/// What a row adds to the direct call, and as a multiple of what nginx adds.
fn added(table: &Table, id: &str, of: impl Fn(&Sample) -> f64) -> String {
    let over_direct = |id| Spread::of(table.paired(id, "direct", |one, direct| of(one) - of(direct)));
    match (over_direct(id), over_direct(BASE)) {
        (Some(own), Some(base)) => format!("{:+.0} ({:.2})", own.median, own.median / base.median),
        _ => "–".to_owned(),
    }
}

/// Which rounds found the machine slow, by the floor.
fn state(table: &Table) -> String {
    let Some(floor) = table.line(FLOOR).filter(|_| table.cell != Cell::Sse) else {
        return String::new();
    };
    let Some(spread) = Spread::of(floor.samples.iter().map(|s| s.cpu_us)) else {
        return String::new();
    };
    let each: Vec<String> = floor.samples.iter().map(|s| format!("{:.1}", s.cpu_us)).collect();
    let slow = floor
        .samples
        .iter()
        .filter(|s| s.cpu_us > spread.min * SLOW)
        .count();
    format!(
        "\nThe floor by round: {} µs; {slow} of {} rounds in the machine's slow state.\n",
        each.join(", "),
        floor.samples.len()
    )
}

fn measured(table: &Table) -> impl Iterator<Item = &Line> {
    table.rows.iter().filter(|line| !line.samples.is_empty())
}

fn of(line: &Line, figure: impl Fn(&Sample) -> f64) -> Spread {
    let none = Spread {
        min: f64::NAN,
        median: f64::NAN,
        max: f64::NAN,
    };
    Spread::of(line.samples.iter().map(figure)).unwrap_or(none)
}

fn ratio(ratios: &[f64], range: bool) -> String {
    match Spread::of(ratios.iter().copied()) {
        Some(r) if range => format!("**{:.2}** ({:.2}, {:.2})", r.median, r.min, r.max),
        Some(r) => format!("{:.2}", r.median),
        None => "–".to_owned(),
    }
}
