//! Several runs side by side, as tables.

use super::{
    Run,
    tables::{Cell, even},
};
use crate::report::{
    compare::{self, Comparison, Standing},
    figures,
    model::Report,
};

/// All calls of each run.
pub fn totals(runs: &[Run<'_>]) -> String {
    let comparison = compare::totals(&reports(runs));
    let caption = "Ratios are against the first run, coloured beyond 5 %";
    let of_search = ". Of a search for saturation, times and failures are those at the load it found";
    let caption = format!("{caption}{}", if comparison.searched { of_search } else { "" });
    draw(&caption, "<all calls", runs, &comparison)
}

/// Operations that runs share by name; nothing where no run has more than one.
pub fn operations(runs: &[Run<'_>]) -> Option<String> {
    let comparison = compare::operations(&reports(runs));
    (!comparison.rows.is_empty()).then(|| draw("By operation", "<operation", runs, &comparison))
}

fn reports<'a>(runs: &[Run<'a>]) -> Vec<&'a Report> {
    runs.iter().map(|run| run.report).collect()
}

fn draw(caption: &str, head: &str, runs: &[Run<'_>], comparison: &Comparison) -> String {
    let names: Vec<String> = runs.iter().map(Run::name).collect();
    let heads: Vec<&str> = std::iter::once(head)
        .chain(names.iter().map(String::as_str))
        .collect();
    let rows = comparison.rows.iter().map(|row| {
        let cells = row.cells.iter().map(|cell| Cell {
            text: cell.figure.clone(),
            class: "",
            small: cell
                .ratio
                .map(|ratio| (class(cell.standing), figures::ratio(ratio, 1.0))),
        });
        std::iter::once(Cell::from(row.name.as_str()))
            .chain(cells)
            .collect()
    });
    even(caption, &heads, rows)
}

fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::Alike => "ratio",
        Standing::Better => "ratio better",
        Standing::Worse => "ratio worse",
    }
}
