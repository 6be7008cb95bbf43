//! A plot of one table: a bar a row, user and system time one behind the other, with the range of its rounds.

use super::{
    failure::{Context, Result},
    results::{Line, Spread, Table},
    rows::BASE,
    work::Pace,
};
use plotters::{
    backend::SVGBackend,
    drawing::IntoDrawingArea,
    element::{PathElement, Rectangle, Text},
    style::{
        Color, IntoFont, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};
use std::path::Path;

const WIDTH: i32 = 980;
const ROW: i32 = 26;
const BAR: i32 = 16;
const TOP: i32 = 64;
const BOTTOM: i32 = 14;
/// Where bars begin, right of the labels.
const LEFT: i32 = 330;
/// Room for the figures, right of the longest bar.
const RIGHT: i32 = 190;

const INK: RGBColor = RGBColor(33, 37, 41);
const FAINT: RGBColor = RGBColor(120, 127, 134);
const OWN: (RGBColor, RGBColor) = (RGBColor(20, 110, 130), RGBColor(104, 178, 193));
const OTHER: (RGBColor, RGBColor) = (RGBColor(130, 136, 142), RGBColor(190, 195, 200));

/// One bar.
struct Bar<'t> {
    label: &'t str,
    own: bool,
    /// The darker part and the whole, in the plot's unit.
    part: f64,
    whole: Spread,
    figures: String,
}

/// Draws a table into an SVG file.
pub fn draw(table: &Table, file: &Path) -> Result<()> {
    let (bars, unit, legend) = match table.cell.pace() {
        Pace::Closed => (
            bars(table, |line| cpu_bar(table, line)),
            "µs",
            "CPU µs a call: dark in user space, light in the kernel; the line spans the rounds",
        ),
        Pace::Constant(_) | Pace::Poisson(_) | Pace::Search => (
            bars(table, latency_bar),
            "µs",
            "latency in µs: dark to the median, light to the 99th percentile; the line spans the rounds' 99th percentiles",
        ),
    };
    let height = TOP + ROW * i32::try_from(bars.len()).context("bars")? + BOTTOM;
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::new(file, size).into_drawing_area();
    let failed = |e: &dyn std::fmt::Display| super::failure::Failure::new(format!("{}: {e}", file.display()));
    area.fill(&plotters::style::WHITE).map_err(|e| failed(&e))?;
    let longest = bars.iter().map(|bar| bar.whole.max).fold(f64::EPSILON, f64::max);
    let x = |figure: f64| LEFT + (figure / longest * f64::from(WIDTH - LEFT - RIGHT)).round() as i32;
    let text = |content: &str, at: (i32, i32), style: TextStyle<'_>| {
        area.draw(&Text::new(content.to_owned(), at, style))
            .map_err(|e| failed(&e))
    };
    text(table.cell.title(), (12, 20), style(17, INK, HPos::Left))?;
    text(legend, (12, 42), style(12, FAINT, HPos::Left))?;
    for (bar, n) in bars.iter().zip(0..) {
        let middle = TOP + ROW * n + ROW / 2;
        let (from, to) = (middle - BAR / 2, middle + BAR / 2);
        let (dark, light) = if bar.own { OWN } else { OTHER };
        text(bar.label, (LEFT - 10, middle), style(13, INK, HPos::Right))?;
        for (begin, end, colour) in [(0.0, bar.part, dark), (bar.part, bar.whole.median, light)] {
            let corners = [(x(begin), from), (x(end), to)];
            area.draw(&Rectangle::new(corners, colour.filled()))
                .map_err(|e| failed(&e))?;
        }
        let range = vec![(x(bar.whole.min), middle), (x(bar.whole.max), middle)];
        area.draw(&PathElement::new(range, INK.stroke_width(1)))
            .map_err(|e| failed(&e))?;
        let figures = bar.figures.replace("{unit}", unit);
        text(
            &figures,
            (x(bar.whole.max) + 8, middle),
            style(12, INK, HPos::Left),
        )?;
    }
    area.present().map_err(|e| failed(&e))
}

fn bars<'t>(table: &'t Table, bar: impl Fn(&'t Line) -> Option<Bar<'t>>) -> Vec<Bar<'t>> {
    table.rows.iter().filter_map(bar).collect()
}

fn cpu_bar<'t>(table: &Table, line: &'t Line) -> Option<Bar<'t>> {
    let whole = Spread::of(line.samples.iter().map(|s| s.cpu_us))?;
    let ratio = Spread::of(table.ratios(&line.id, BASE));
    Some(Bar {
        label: &line.label,
        own: line.id.starts_with("ringway"),
        part: Spread::of(line.samples.iter().map(|s| s.user_us))?.median,
        whole,
        figures: match ratio {
            Some(r) => format!("{:.1} {{unit}}, {:.2} × nginx", whole.median, r.median),
            None => format!("{:.1} {{unit}}", whole.median),
        },
    })
}

fn latency_bar(line: &Line) -> Option<Bar<'_>> {
    let p50 = Spread::of(line.samples.iter().map(|s| s.p50_us))?.median;
    let whole = Spread::of(line.samples.iter().map(|s| s.p99_us))?;
    Some(Bar {
        label: &line.label,
        own: line.id.starts_with("ringway"),
        part: p50,
        whole,
        figures: format!("{p50:.0} / {:.0} {{unit}}", whole.median),
    })
}

fn style(size: i32, colour: RGBColor, side: HPos) -> TextStyle<'static> {
    ("sans-serif", size)
        .into_font()
        .color(&colour)
        .pos(Pos::new(side, VPos::Center))
}
