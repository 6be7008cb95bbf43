//! Summaries and Markdown of realistic runs: they fit, they say what matters, and text of servers steers nothing.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod support;

use ringway_loadtest::report::{markdown, terminal};
use support::sample;

fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(
            line.chars().count() <= terminal::COLUMNS,
            "{} columns: {line}",
            line.chars().count()
        );
    }
}

#[test]
fn a_summary_fits_and_says_what_matters() {
    let text = terminal::summary(&sample::steady(sample::RINGWAY), false);
    println!("{text}");
    assert_fits(&text);
    for part in [
        "ringway  http://",
        "1 min measured after 5 s of warm-up, open loop",
        "of 1,998/s due",
        "http_503",
        "latency, since due",
        "search",
        "busiest 34 %",
        "✓ p99 < 10ms",
        "✗ tool:search p50 < 500us",
    ] {
        assert!(text.contains(part), "no {part:?}");
    }
    let search = terminal::summary(&sample::search(sample::RINGWAY), false);
    println!("{search}");
    assert_fits(&search);
    assert!(search.contains("saturation  30,700/s borne, 31,000/s at most (found)"));
    assert!(
        search.contains("at 30,700/s "),
        "times at the load that was found"
    );
}

#[test]
fn several_runs_stand_side_by_side() {
    let reports = [sample::RINGWAY, sample::NGINX, sample::OTHER].map(sample::steady);
    let text = terminal::side_by_side(&reports.iter().collect::<Vec<_>>(), false);
    println!("{text}");
    assert_fits(&text);
    assert!(text.contains("B/A") && text.contains("C  another gateway"));
    let markdown = markdown::page(&reports);
    println!("{markdown}");
    assert!(
        markdown.contains("| all calls | A ringway | B nginx, plain reverse proxy | C another gateway |")
    );
    assert!(markdown.contains("×**)"));
}

#[test]
fn hostile_text_neither_steers_the_terminal_nor_leaves_its_cell() {
    let hostile = sample::hostile();
    let shown = [
        terminal::summary(&hostile, false),
        terminal::side_by_side(&[&hostile, &hostile], false),
    ]
    .concat();
    assert!(
        !shown
            .chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
        "{shown}"
    );
    assert!(!shown.contains("\n`") && shown.lines().all(|line| !line.starts_with('|')));
    let markdown = markdown::page(std::slice::from_ref(&hostile));
    assert!(
        !markdown.contains("\u{202e}") && !markdown.replace("\\<", "").replace("`<", "").contains("*<img")
    );
    let heads = markdown
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.replace("\\|", "").matches('|').count());
    let widths: std::collections::BTreeSet<usize> = heads.collect();
    assert!(widths.len() <= 2, "a cell was left: {widths:?}\n{markdown}");
}

#[test]
fn colours_only_where_they_are_wanted() {
    let report = sample::steady(sample::RINGWAY);
    assert!(!terminal::summary(&report, false).contains('\u{1b}'));
    assert!(terminal::summary(&report, true).contains("\u{1b}[31m✗"));
}
