//! The drawing of a plot: SVG that stands without scripts, and what the page's script needs for read-outs.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::{
    chart::{Axis, COLOURS, Chart, Series, Size, Stroke},
    escape::Text,
    scale::{Scale, Spread},
};

/// What the script reads: places in the drawing's own units, and the texts of read-outs.
#[derive(Serialize)]
pub struct Points {
    /// Left, top, width, height of the plotting area.
    area: [f64; 4],
    series: Vec<Read>,
}

#[derive(Serialize)]
struct Read {
    name: String,
    colour: usize,
    x: Vec<f64>,
    /// One list for each vertical axis.
    y: Vec<Vec<Option<f64>>>,
    at: Vec<String>,
    reads: Vec<String>,
}

/// A plot with its scales.
pub struct Drawing<'a> {
    chart: &'a Chart,
    x: Scale,
    /// One for each vertical axis.
    pub ys: Vec<Scale>,
    width: f64,
    height: f64,
}

/// Room around the plotting area, in the drawing's units (CSS pixels at full width).
const LEFT: f64 = 64.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 44.0;

impl<'a> Drawing<'a> {
    /// Scales over all its lines.
    pub fn of(chart: &'a Chart) -> Self {
        let (width, height) = match chart.size {
            Size::Wide => (1080.0, 380.0),
            Size::Low => (1080.0, 230.0),
            Size::Half => (528.0, 250.0),
        };
        let bands = chart.bands.iter().flat_map(|band| [band.from, band.to]);
        let xs = chart
            .series
            .iter()
            .flat_map(|s| s.points.iter().map(|p| p.0))
            .chain(bands);
        let scale = |axis: &Axis| {
            let values = chart.series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
            let scale = Scale::over(axis.spread, values);
            if axis.from_zero {
                scale.based_at_zero()
            } else {
                scale
            }
        };
        let ys = chart.ys.iter().map(scale).collect();
        Self {
            chart,
            x: Scale::over(chart.x.spread, xs),
            ys,
            width,
            height,
        }
    }

    fn area(&self) -> [f64; 4] {
        [LEFT, TOP, self.width - LEFT - RIGHT, self.height - TOP - BOTTOM]
    }

    fn px(&self, value: f64) -> f64 {
        let [left, _, width, _] = self.area();
        tenth(left + self.x.place(value) * width)
    }

    /// None where the point cannot stand on this axis.
    fn py(&self, at: usize, value: f64) -> Option<f64> {
        let [_, top, _, height] = self.area();
        let stands = value.is_finite() && (self.chart.ys[at].spread != Spread::Log || value > 0.0);
        stands.then(|| tenth(top + (1.0 - self.ys[at].place(value)) * height))
    }

    /// What the script reads.
    pub fn points(&self) -> Points {
        let (x_axis, y_axis) = (&self.chart.x, self.chart.ys.first());
        let read = |series: &Series| Read {
            name: series.name.clone(),
            colour: series.colour % COLOURS,
            x: series.points.iter().map(|p| self.px(p.0)).collect(),
            y: (0..self.ys.len())
                .map(|at| series.points.iter().map(|p| self.py(at, p.1)).collect())
                .collect(),
            at: series.points.iter().map(|p| (x_axis.exact)(p.0)).collect(),
            reads: series
                .points
                .iter()
                .map(|p| y_axis.map(|y| (y.exact)(p.1)).unwrap_or_default())
                .collect(),
        };
        Points {
            area: self.area(),
            series: self.chart.series.iter().map(read).collect(),
        }
    }

    /// The drawing with one of the vertical axes; all but the first are hidden until the reader switches.
    pub fn svg(&self, f: &mut fmt::Formatter<'_>, at: usize, scale: &Scale) -> fmt::Result {
        let (id, width, height) = (&self.chart.id, self.width, self.height);
        let hidden = if at == 0 { "" } else { " hidden" };
        write!(
            f,
            "<svg class=\"drawing{hidden}\" data-v=\"{at}\" viewBox=\"0 0 {width} {height}\" role=\"img\" tabindex=\"0\" aria-labelledby=\"{id}-t\" aria-describedby=\"{id}-d{at}\"><desc id=\"{id}-d{at}\">{} Left and right arrow keys read values.</desc>",
            Text(&self.chart.alt)
        )?;
        self.grid(f, at, scale)?;
        let letters = self.letters(at);
        for (place, series) in self.chart.series.iter().enumerate() {
            self.line(f, at, place, series, letters[place])?;
        }
        f.write_str("<g class=\"cursor\"></g></svg>")
    }

    fn grid(&self, f: &mut fmt::Formatter<'_>, at: usize, scale: &Scale) -> fmt::Result {
        let [left, top, width, height] = self.area();
        let (right, bottom) = (left + width, top + height);
        f.write_str("<g class=\"axes\" aria-hidden=\"true\">")?;
        for band in &self.chart.bands {
            let (from, to) = (self.px(band.from), self.px(band.to));
            write!(
                f,
                "<rect class=\"band\" x=\"{from}\" y=\"{top}\" width=\"{}\" height=\"{height}\"/><text class=\"note\" x=\"{}\" y=\"{}\">{}</text>",
                tenth(to - from),
                from + 4.0,
                top + 13.0,
                Text(&band.name)
            )?;
        }
        for tick in scale.ticks() {
            let y = tenth(top + (1.0 - scale.place(tick.value)) * height);
            let class = if tick.labelled { "grid" } else { "grid thin" };
            write!(f, "<path class=\"{class}\" d=\"M{left} {y}H{right}\"/>")?;
            if tick.labelled {
                let label = (self.chart.ys[at].tick)(tick.value);
                write!(
                    f,
                    "<text class=\"tick y\" x=\"{}\" y=\"{}\">{}</text>",
                    left - 8.0,
                    y + 4.0,
                    Text(&label)
                )?;
            }
        }
        for tick in self.x.ticks() {
            let x = self.px(tick.value);
            let class = if tick.labelled { "grid" } else { "grid thin" };
            write!(f, "<path class=\"{class}\" d=\"M{x} {top}V{bottom}\"/>")?;
            if tick.labelled {
                let label = (self.chart.x.tick)(tick.value);
                write!(
                    f,
                    "<text class=\"tick x\" x=\"{x}\" y=\"{}\">{}</text>",
                    bottom + 17.0,
                    Text(&label)
                )?;
            }
        }
        self.marks(f)?;
        write!(f, "<path class=\"axis\" d=\"M{left} {bottom}H{right}\"/>")?;
        write!(
            f,
            "<text class=\"title\" x=\"{}\" y=\"{}\">{}</text><text class=\"title end\" x=\"{right}\" y=\"{}\">{}</text></g>",
            6.0,
            13.0,
            Text(self.chart.ys[at].title),
            self.height - 6.0,
            Text(self.chart.x.title)
        )
    }

    fn marks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [left, top, width, height] = self.area();
        /// Narrower than this, a label would run into the next one or out of the plot.
        const LABEL_ROOM: f64 = 62.0;
        let mut free_from = left;
        for mark in self.chart.marks.iter().filter(|mark| mark.at.is_finite()) {
            let x = self.px(mark.at);
            write!(f, "<path class=\"mark\" d=\"M{x} {top}V{}\"/>", top + height)?;
            if x >= free_from && x + LABEL_ROOM <= left + width {
                write!(
                    f,
                    "<text class=\"note\" x=\"{}\" y=\"{}\">{}</text>",
                    x + 4.0,
                    top + 13.0,
                    Text(&mark.name)
                )?;
                free_from = x + LABEL_ROOM;
            }
        }
        Ok(())
    }

    fn line(
        &self,
        f: &mut fmt::Formatter<'_>,
        at: usize,
        place: usize,
        series: &Series,
        letter_at: Option<(f64, f64)>,
    ) -> fmt::Result {
        let [_, top, _, height] = self.area();
        let off = if series.shown { "" } else { " off" };
        write!(f, "<g class=\"series{off}\" data-s=\"{place}\">")?;
        let stretches = self.stretches(at, series);
        let mut path = String::new();
        for stretch in &stretches {
            for (nth, (x, y)) in stretch.iter().enumerate() {
                write!(path, "{}{x} {y}", if nth == 0 { 'M' } else { 'L' })?;
            }
            // A point alone is a dot: a line of no length with round ends.
            if stretch.len() == 1 {
                path.push_str("h0");
            }
        }
        if series.stroke == Stroke::Filled {
            for stretch in &stretches {
                if let (Some(first), Some(last)) = (stretch.first(), stretch.last()) {
                    let line: String = stretch.iter().map(|(x, y)| format!("L{x} {y}")).collect();
                    let bottom = top + height;
                    write!(
                        f,
                        "<path class=\"area c{}\" d=\"M{} {bottom}{line}L{} {bottom}Z\"/>",
                        series.colour % COLOURS,
                        first.0,
                        last.0
                    )?;
                }
            }
        }
        write!(f, "<path class=\"line {}\" d=\"{path}\"/>", series.classes())?;
        if let (Some(letter), Some((x, y))) = (series.letter, letter_at) {
            let mut buffer = [0; 4];
            write!(
                f,
                "<text class=\"letter c{}\" x=\"{x}\" y=\"{y}\">{}</text>",
                series.colour % COLOURS,
                Text(letter.encode_utf8(&mut buffer))
            )?;
        }
        f.write_str("</g>")
    }

    /// Where the letters at the ends of lines stand, none over another.
    fn letters(&self, at: usize) -> Vec<Option<(f64, f64)>> {
        /// Room for a letter, both ways.
        const LETTER: f64 = 13.0;
        let mut placed = vec![None; self.chart.series.len()];
        let mut ends: Vec<(usize, f64, f64)> = Vec::new();
        for (place, series) in self
            .chart
            .series
            .iter()
            .enumerate()
            .filter(|(_, s)| s.letter.is_some())
        {
            if let Some((x, y)) = self
                .stretches(at, series)
                .last()
                .and_then(|stretch| stretch.last())
            {
                ends.push((place, x + 6.0, y + 4.0));
            }
        }
        // From the bottom up, so that letters pushed apart stay above the axis.
        ends.sort_by(|a, b| b.2.total_cmp(&a.2));
        let mut standing: Vec<(f64, f64)> = Vec::new();
        for (place, x, mut y) in ends {
            let over = |y: f64| {
                standing
                    .iter()
                    .find(|(sx, sy)| (sx - x).abs() < LETTER && (sy - y).abs() < LETTER - 0.05)
            };
            while let Some((_, taken)) = over(y) {
                y = tenth(taken - LETTER);
            }
            standing.push((x, y));
            placed[place] = Some((x, y));
        }
        placed
    }

    /// Unbroken stretches of a line.
    fn stretches(&self, at: usize, series: &Series) -> Vec<Vec<(f64, f64)>> {
        let mut stretches = vec![Vec::new()];
        for (x, y) in &series.points {
            match (self.py(at, *y), stretches.last_mut()) {
                (Some(y), Some(stretch)) => stretch.push((self.px(*x), y)),
                _ => stretches.push(Vec::new()),
            }
        }
        stretches.retain(|stretch| !stretch.is_empty());
        stretches
    }
}

fn tenth(n: f64) -> f64 {
    (n * 10.0).round() / 10.0
}
