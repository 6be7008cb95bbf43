//! One plot as it stands on the page: heading, legend, the drawing (`drawing`), and its figures as a table.
//!
//! Lines differ in colour and in stroke, and lines of compared runs end in the run's letter, so that colour alone
//! never tells them apart. Colours are classes (`c0` to `c7`), so that light and dark are the style sheet's matter.

use std::fmt;

use super::{
    drawing::Drawing,
    escape::{Text, json},
    scale::Spread,
};

/// Colours that the style sheet has.
pub const COLOURS: usize = 8;

/// A plot.
pub struct Chart {
    /// Unique on the page; letters, digits and dashes.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// One sentence on how to read it.
    pub lead: String,
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// Full or half width.
    pub size: Size,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis; where there are several, the reader switches.
    pub ys: Vec<Axis>,
    /// The lines.
    pub series: Vec<Series>,
    /// Stretches behind the lines.
    pub bands: Vec<Band>,
    /// Moments across the lines.
    pub marks: Vec<Mark>,
    /// Plots of one group share the cursor.
    pub group: &'static str,
    /// The same figures as an HTML table.
    pub table: String,
}

/// How large a plot is.
#[derive(Clone, Copy, PartialEq)]
pub enum Size {
    /// All the page's width.
    Wide,
    /// All its width, and flat.
    Low,
    /// Half its width.
    Half,
}

/// An axis' meaning.
#[derive(Clone, Copy)]
pub struct Axis {
    /// On the switch between several.
    pub name: &'static str,
    /// At its end.
    pub title: &'static str,
    /// How values are spread.
    pub spread: Spread,
    /// Whether a linear one begins at zero.
    pub from_zero: bool,
    /// A value on a tick.
    pub tick: fn(f64) -> String,
    /// A value in a read-out.
    pub exact: fn(f64) -> String,
}

/// A line.
pub struct Series {
    /// In the legend and read-outs.
    pub name: String,
    /// Which colour.
    pub colour: usize,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Its points, by rising x; a point without a number breaks the line.
    pub points: Vec<(f64, f64)>,
    /// Whether it is shown at first.
    pub shown: bool,
    /// At its end, where runs are compared.
    pub letter: Option<char>,
}

/// How a line is drawn.
#[derive(Clone, Copy, PartialEq)]
pub enum Stroke {
    #[allow(missing_docs)]
    Solid,
    #[allow(missing_docs)]
    Dashed,
    #[allow(missing_docs)]
    Dotted,
    /// Solid, with the area below it tinted.
    Filled,
}

/// A stretch of the horizontal axis.
pub struct Band {
    #[allow(missing_docs)]
    pub from: f64,
    #[allow(missing_docs)]
    pub to: f64,
    #[allow(missing_docs)]
    pub name: String,
}

/// A place on the horizontal axis.
pub struct Mark {
    #[allow(missing_docs)]
    pub at: f64,
    #[allow(missing_docs)]
    pub name: String,
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drawing = Drawing::of(self);
        let (id, wide) = (&self.id, if self.size == Size::Half { "half" } else { "wide" });
        write!(
            f,
            "<figure class=\"plot {wide}\" id=\"{id}\" data-group=\"{}\">",
            self.group
        )?;
        write!(
            f,
            "<figcaption><h3 id=\"{id}-t\">{}</h3><p>{}</p></figcaption><div class=\"controls\">",
            Text(&self.title),
            Text(&self.lead)
        )?;
        self.legend(f)?;
        self.switch(f)?;
        f.write_str("</div><div class=\"canvas\">")?;
        for (at, scale) in drawing.ys.iter().enumerate() {
            drawing.svg(f, at, scale)?;
        }
        f.write_str("</div><output class=\"sr\" aria-live=\"polite\"></output>")?;
        write!(
            f,
            "<script type=\"application/json\">{}</script>",
            json(&drawing.points())
        )?;
        if !self.table.is_empty() {
            write!(
                f,
                "<details class=\"figures\"><summary>The figures of this plot as a table</summary><div class=\"scroll\">{}</div></details>",
                self.table
            )?;
        }
        f.write_str("</figure>\n")
    }
}

impl Chart {
    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<div class=\"legend\" role=\"group\" aria-label=\"Lines of: {}\">",
            Text(&self.title)
        )?;
        for (at, series) in self.series.iter().enumerate() {
            write!(
                f,
                "<button type=\"button\" data-s=\"{at}\" aria-pressed=\"{}\"><svg class=\"swatch\" viewBox=\"0 0 22 8\" aria-hidden=\"true\"><path class=\"line {}\" d=\"M1 4H21\"/></svg>{}</button>",
                series.shown,
                series.classes(),
                Text(&series.name)
            )?;
        }
        f.write_str("</div>")
    }

    fn switch(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ys.len() < 2 {
            return Ok(());
        }
        f.write_str("<div class=\"switch\" role=\"group\" aria-label=\"Scale\">")?;
        for (at, axis) in self.ys.iter().enumerate() {
            write!(
                f,
                "<button type=\"button\" data-v=\"{at}\" aria-pressed=\"{}\">{}</button>",
                at == 0,
                Text(axis.name)
            )?;
        }
        f.write_str("</div>")
    }
}

impl Series {
    pub(super) fn classes(&self) -> String {
        let stroke = match self.stroke {
            Stroke::Solid | Stroke::Filled => "",
            Stroke::Dashed => " dashed",
            Stroke::Dotted => " dotted",
        };
        format!("c{}{stroke}", self.colour % COLOURS)
    }
}
