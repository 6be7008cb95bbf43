//! One HTML page that holds a report, or compares several: no other file, no network, no foreign script.
//!
//! How to read it: `page` is the page from top to bottom. `escape` is the only way of foreign text into it; `scale`,
//! `chart` and `drawing` draw any plot; `latency_plots`, `time_plots` and `load_plots` say which; `tables` and
//! `compare` hold the figures. `page.css` has the colours of light and dark, `page.js` the read-outs and legends;
//! without it, plots and tables stand all the same. A policy in the head lets the page's own script and style run and
//! nothing else, so that even a hole in the escaping would not run a server's text.

mod chart;
mod compare;
mod drawing;
mod escape;
mod latency_plots;
mod load_plots;
mod page;
mod scale;
mod tables;
mod time_plots;

pub use page::page;

use super::{figures, model::Report};

/// Runs on one page: as many as there are colours that stay apart for all eyes.
pub const RUNS_MAX: usize = chart::COLOURS;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum NoPage {
    /// None given.
    #[error("a page needs at least one report")]
    Nothing,
    /// More than [`RUNS_MAX`].
    #[error("{0} reports on one page; at most {RUNS_MAX} can be told apart")]
    TooMany(usize),
}

/// A run among others.
struct Run<'a> {
    letter: char,
    report: &'a Report,
    alone: bool,
}

impl Run<'_> {
    /// Short and unique on the page.
    fn name(&self) -> String {
        let label = figures::shortened(self.report.name(), figures::NAME_CHARS_MAX);
        if self.alone {
            label
        } else {
            format!("{} {label}", self.letter)
        }
    }
}
