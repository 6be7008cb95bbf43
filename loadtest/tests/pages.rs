//! The page as text: one file, nothing from elsewhere, and nothing of a value is ever markup.

#![allow(clippy::expect_used, reason = "a panic in a test is its report")]

mod support;

use ringway_loadtest::report::{html, model::Report};
use support::sample;

fn page(reports: &[Report]) -> String {
    html::page(reports).expect("a page")
}

#[test]
fn a_page_needs_nothing_but_itself() {
    for reports in [
        vec![sample::steady(sample::RINGWAY)],
        vec![sample::steady(sample::RINGWAY), sample::steady(sample::OTHER)],
    ] {
        let page = page(&reports);
        for foreign in [
            "src=",
            "href=",
            "@import",
            "url(",
            "<link",
            "<iframe",
            "fetch(",
            "XMLHttpRequest",
        ] {
            assert!(!page.contains(foreign), "the page has {foreign}");
        }
        assert!(page.contains("default-src 'none'"));
        let kib = page.len() / 1024;
        assert!(kib < 1024, "a page of {kib} KiB is no attachment");
    }
}

#[test]
fn what_others_wrote_is_text() {
    let hostile = sample::hostile();
    for reports in [vec![hostile.clone()], vec![hostile.clone(), hostile]] {
        let page = page(&reports);
        for harm in ["<img", "<svg/", "onerror=\"", "</title>\"", "\u{202e}"] {
            assert!(!page.contains(harm), "the page has {harm}");
        }
        let scripts = page.matches("<script").count();
        assert_eq!(scripts, page.matches("</script>").count());
        // The data of each plot, and the page's own.
        assert_eq!(scripts, page.matches("<figure").count() + 1);
    }
}

#[test]
fn a_run_without_any_answer_has_a_page_too() {
    let mut nothing = sample::steady(sample::RINGWAY);
    nothing.total = Default::default();
    nothing.operations.clear();
    nothing.stages.clear();
    nothing.timeline.clear();
    nothing.measured_s = 0.0;
    let text = page(&[nothing.clone()]);
    assert!(
        text.contains("failed") && !text.contains("NaN") && !text.contains("inf"),
        "{text}"
    );
    page(&[nothing.clone(), nothing]);
}

#[test]
fn tags_are_balanced() {
    let text = page(&[
        sample::steady(sample::RINGWAY),
        sample::search(sample::NGINX),
        sample::hostile(),
    ]);
    for tag in [
        "figure", "section", "table", "tr", "td", "th", "details", "svg", "g", "text", "button", "div", "p",
        "h2", "h3", "main", "dl", "ol", "li", "small", "span",
    ] {
        let opened = text.matches(&format!("<{tag}>")).count() + text.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn too_many_runs_or_none_are_refused() {
    assert!(html::page(&[]).is_err());
    let many = vec![sample::search(sample::RINGWAY); html::RUNS_MAX + 1];
    assert!(
        html::page(&many)
            .expect_err("refused")
            .to_string()
            .contains("at most")
    );
}
