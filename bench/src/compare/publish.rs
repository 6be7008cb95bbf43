//! `compare --publish`: writes what was measured into the marked sections of `docs/performance.md`.
//!
//! A section lies between `<!-- compare: NAME -->` and `<!-- /compare -->`; what stands outside is prose and stays.
//! Names are cells (`small`), further measurements (`memory`), `machine` and `goals`.

use super::{
    failure::{Context, Failure, Result, write},
    goals, plot, report,
    results::{Finding, Results, Table},
};
use std::path::Path;

const OPEN: &str = "<!-- compare: ";
const OPEN_END: &str = " -->";
const CLOSE: &str = "<!-- /compare -->";

/// Rewrites the page and draws its plots beside it.
pub fn page(results: &Results, page: &Path) -> Result<()> {
    let text = std::fs::read_to_string(page).map_err(|e| Failure::at(page, &e))?;
    let filled = fill(&text, |name| section(results, page, name))?;
    write(page, &filled)
}

fn section(results: &Results, page: &Path, name: &str) -> Result<Option<String>> {
    let table = |table: &&Table| table.cell.name() == name;
    let finding = |finding: &&Finding| finding.id == name;
    if name == "machine" {
        return Ok(Some(report::machine(results)));
    }
    if name == "goals" {
        return Ok(Some(goals::table(results)));
    }
    if let Some(table) = results.cells.iter().find(table) {
        let file = format!("performance-{name}.svg");
        let folder = page.parent().ok_or("has no folder").context(page.display())?;
        plot::draw(table, &folder.join(&file))?;
        return Ok(Some(format!(
            "![{}]({file})\n\n{}",
            table.cell.title(),
            report::table(table)
        )));
    }
    let finding = results.further.iter().find(finding);
    Ok(finding.map(report::finding))
}

/// Replaces what stands in marked sections; a section without news keeps what it has.
fn fill(text: &str, news: impl Fn(&str) -> Result<Option<String>>) -> Result<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        let (before, section) = rest.split_at(at);
        let head_end = section
            .find(OPEN_END)
            .ok_or("a mark that does not end")
            .context(OPEN)?;
        let name = &section[OPEN.len()..head_end];
        let close = section
            .find(CLOSE)
            .ok_or(format!("no {CLOSE} follows"))
            .context(name)?;
        let head = &section[..head_end + OPEN_END.len()];
        let old = &section[head.len()..close];
        filled.push_str(before);
        filled.push_str(head);
        match news(name)? {
            Some(new) => filled.push_str(&format!("\n{}\n", new.trim_end())),
            None => filled.push_str(old),
        }
        filled.push_str(CLOSE);
        rest = &section[close + CLOSE.len()..];
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_stays_and_sections_without_news_too() {
        let text = "Before.\n<!-- compare: a -->\nold\n<!-- /compare -->\nBetween.\n<!-- compare: b -->\nkept\n<!-- /compare -->\nAfter.\n";
        let filled = fill(text, |name| Ok((name == "a").then(|| "new\n\n".to_owned()))).unwrap();
        assert_eq!(
            filled,
            "Before.\n<!-- compare: a -->\nnew\n<!-- /compare -->\nBetween.\n<!-- compare: b -->\nkept\n<!-- /compare -->\nAfter.\n"
        );
    }

    #[test]
    fn a_section_that_does_not_end_is_said() {
        assert!(fill("<!-- compare: a -->\n", |_| Ok(None)).is_err());
    }
}
