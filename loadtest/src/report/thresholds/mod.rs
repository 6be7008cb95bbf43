//! Thresholds: what a run must show to pass.
//!
//! A rule is `[narrowing…] figure comparison bound`, for example
//!
//! ```text
//! p99 < 5ms                   latency of all calls, from the moment each was due
//! service p50 < 300us         from the first byte written
//! first p90 < 50ms            until the first event of a streamed answer
//! p99.95 <= 20ms              any percentile; also min, mean, max
//! errors < 0.1%   errors == 0   errors:timeout <= 3
//! rate >= 1900/s              good answers a second
//! saturation >= 30000/s       what a saturation search found
//! tool:echo p99 < 2ms         calls of one tool; also operation:name, method:tools/list, stage:2
//! p99 <= 1.2x                 how many times the figure of another run, of the same moment and machine
//! ```
//!
//! `parse` reads rules at the edge, all mistakes at once; `judge` holds them against a report. A figure that was not
//! measured never passes, and a run whose pace the generator set fails whatever else it shows.

mod judge;
mod parse;
#[cfg(test)]
mod tests;

/// A run with something of everything, for the tests of other rooms.
#[cfg(test)]
pub(in crate::report) use tests::run as sample_report;

pub use judge::{judge, judge_against};
pub use parse::{BadThreshold, parse, parse_all};

use std::fmt;

/// One rule, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Which calls count.
    pub scope: Scope,
    /// What is looked at.
    pub figure: Figure,
    /// How it must stand to the bound.
    pub comparison: Comparison,
    /// The bound.
    pub bound: Bound,
    /// As written.
    pub rule: String,
}

/// Which calls count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those of the operation of this name.
    Operation(String),
    /// Those of `tools/call` with this tool.
    Tool(String),
    /// Those with this JSON-RPC method.
    Method(String),
    /// Those due in this stage, counted from 1.
    Stage(usize),
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// A point of a distribution of times.
    Time(Clock, Point),
    /// Failures: all, or of one kind.
    Errors(Option<String>),
    /// Good answers a second.
    Rate,
    /// The rate a saturation search found.
    Saturation,
}

/// Where a time begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// From the due time to the last byte.
    Latency,
    /// From the first byte written to the last byte.
    Service,
    /// From the due time to the first event.
    First,
}

/// A point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point {
    /// The smallest.
    Min,
    /// The average.
    Mean,
    /// The largest.
    Max,
    /// A percentile, above 0 and below 100.
    Percentile(f64),
}

/// How a figure must stand to its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    #[allow(missing_docs)]
    Less,
    #[allow(missing_docs)]
    LessOrEqual,
    #[allow(missing_docs)]
    Greater,
    #[allow(missing_docs)]
    GreaterOrEqual,
    #[allow(missing_docs)]
    Equal,
}

impl Comparison {
    /// Whether the figure stands so to the bound.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "`errors == 0` compares whole numbers")]
    pub fn holds(self, figure: f64, bound: f64) -> bool {
        match self {
            Self::Less => figure < bound,
            Self::LessOrEqual => figure <= bound,
            Self::Greater => figure > bound,
            Self::GreaterOrEqual => figure >= bound,
            Self::Equal => figure == bound,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
        }
    }
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Microseconds.
    Time(f64),
    /// A share of the calls that ended, 0 to 1.
    Share(f64),
    /// A number of calls.
    Count(u64),
    /// Calls a second.
    PerSecond(f64),
    /// How many times the same figure of the run compared with.
    Times(f64),
}

/// The rule as this program would write it.
impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::All => {}
            Scope::Operation(name) => write!(f, "operation:{} ", Quoted(name))?,
            Scope::Tool(name) => write!(f, "tool:{} ", Quoted(name))?,
            Scope::Method(name) => write!(f, "method:{} ", Quoted(name))?,
            Scope::Stage(number) => write!(f, "stage:{number} ")?,
        }
        match &self.figure {
            Figure::Time(clock, point) => {
                f.write_str(match clock {
                    Clock::Latency => "",
                    Clock::Service => "service ",
                    Clock::First => "first ",
                })?;
                match point {
                    Point::Min => f.write_str("min")?,
                    Point::Mean => f.write_str("mean")?,
                    Point::Max => f.write_str("max")?,
                    Point::Percentile(percentile) => write!(f, "p{percentile}")?,
                }
            }
            Figure::Errors(None) => f.write_str("errors")?,
            Figure::Errors(Some(kind)) => write!(f, "errors:{}", Quoted(kind))?,
            Figure::Rate => f.write_str("rate")?,
            Figure::Saturation => f.write_str("saturation")?,
        }
        write!(f, " {} ", self.comparison.sign())?;
        match self.bound {
            Bound::Time(micros) => write!(f, "{micros}us"),
            Bound::Share(share) => write!(f, "{}%", share * 100.0),
            Bound::Count(count) => write!(f, "{count}"),
            Bound::PerSecond(rate) => write!(f, "{rate}/s"),
            Bound::Times(times) => write!(f, "{times}x"),
        }
    }
}

/// A name, in quotation marks where it would otherwise end early.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = !self.0.is_empty()
            && !self
                .0
                .contains(|c: char| c.is_whitespace() || parse::ends_a_name(c));
        if plain {
            f.write_str(self.0)
        } else {
            write!(f, "\"{}\"", self.0)
        }
    }
}
