//! Axes: from a value to a place between 0 and 1, and where ticks stand.

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Evenly.
    Linear,
    /// By their logarithm; values are above zero.
    Log,
    /// Quantiles (0 to below 1) by the logarithm of 1/(1-q), so that each nine takes the same room.
    Nines,
}

/// One axis with its range.
#[derive(Clone, Debug)]
pub struct Scale {
    spread: Spread,
    /// In the spread's own measure.
    from: f64,
    to: f64,
}

/// A place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// The value there.
    pub value: f64,
    /// Whether it has a label; else it is only a thin line.
    pub labelled: bool,
}

/// Labelled ticks that an axis aims at; more would touch each other on the narrow plots.
const TICKS_AIM: f64 = 5.0;

/// Decades over which a logarithmic axis labels 1, 2 and 5 of each; over more, only the powers of ten.
const DECADES_WITH_STEPS: f64 = 3.2;

impl Scale {
    /// A scale over these values; not finite ones, and on a logarithmic one those not above zero, are left out.
    #[must_use]
    pub fn over(spread: Spread, values: impl Iterator<Item = f64>) -> Self {
        let usable = |value: &f64| value.is_finite() && (spread != Spread::Log || *value > 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(usable) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (if spread == Spread::Log { 1.0 } else { 0.0 }, 1.0);
        }
        match spread {
            Spread::Linear => Self {
                spread,
                from: low,
                to: if high > low { high } else { low + 1.0 },
            },
            Spread::Log => {
                let (from, to) = (snap(low, Down), snap(high, Up));
                let to = if to > from { to } else { from * 10.0 };
                Self {
                    spread,
                    from: from.log10(),
                    to: to.log10(),
                }
            }
            Spread::Nines => Self {
                spread,
                from: 0.0,
                to: nines(high).max(2.0),
            },
        }
    }

    /// The same scale, beginning at zero and ending at a round number; for linear axes of amounts.
    #[must_use]
    pub fn based_at_zero(mut self) -> Self {
        if self.spread == Spread::Linear {
            self.from = self.from.min(0.0);
            let step = step_of(self.to - self.from);
            self.to = (self.to / step).ceil() * step;
        }
        self
    }

    /// Where a value stands, 0 at the axis' beginning and 1 at its end; beyond them, at the nearer end.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let measured = match self.spread {
            Spread::Linear => value,
            Spread::Log => value.max(f64::MIN_POSITIVE).log10(),
            Spread::Nines => nines(value),
        };
        ((measured - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    /// Where ticks stand, rising.
    #[must_use]
    pub fn ticks(&self) -> Vec<Tick> {
        match self.spread {
            Spread::Linear => self.linear_ticks(),
            Spread::Log => self.log_ticks(),
            Spread::Nines => self.nines_ticks(),
        }
    }

    fn linear_ticks(&self) -> Vec<Tick> {
        let step = step_of(self.to - self.from);
        let mut ticks = Vec::new();
        let mut place = (self.from / step - 1e-9).ceil();
        while place * step <= self.to + step * 1e-9 {
            // Adding zero turns -0 into 0.
            ticks.push(Tick {
                value: place * step + 0.0,
                labelled: true,
            });
            place += 1.0;
        }
        ticks
    }

    fn log_ticks(&self) -> Vec<Tick> {
        let with_steps = self.to - self.from <= DECADES_WITH_STEPS;
        let mut ticks = Vec::new();
        let mut decade = self.from.floor();
        while decade <= self.to {
            for digit in 1..10u32 {
                let value = 10f64.powf(decade) * f64::from(digit);
                if value.log10() < self.from - 1e-9 || value.log10() > self.to + 1e-9 {
                    continue;
                }
                ticks.push(Tick {
                    value,
                    labelled: digit == 1 || (with_steps && matches!(digit, 2 | 5)),
                });
            }
            decade += 1.0;
        }
        ticks
    }

    fn nines_ticks(&self) -> Vec<Tick> {
        let mut ticks = vec![0.0, 0.5, 0.75];
        let mut share = 0.1;
        while -f64::log10(share) <= self.to + 1e-9 {
            ticks.push(1.0 - share);
            share /= 10.0;
        }
        let labelled = |value: f64| (value - 0.75).abs() > 1e-9;
        ticks
            .into_iter()
            .map(|value| Tick {
                value,
                labelled: labelled(value),
            })
            .collect()
    }
}

/// 0 for the smallest, 1 for 90 %, 2 for 99 % and so on.
fn nines(quantile: f64) -> f64 {
    /// Beyond nine nines no run has calls.
    const SHARE_MIN: f64 = 1e-9;
    -(1.0 - quantile).clamp(SHARE_MIN, 1.0).log10()
}

/// The round step that gives about [`TICKS_AIM`] ticks.
fn step_of(range: f64) -> f64 {
    let raw = (range / TICKS_AIM).max(f64::MIN_POSITIVE);
    let magnitude = 10f64.powf(raw.log10().floor());
    let lead = raw / magnitude;
    let round = [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .find(|round| *round >= lead - 1e-9)
        .unwrap_or(10.0);
    round * magnitude
}

#[derive(Clone, Copy, PartialEq)]
enum Toward {
    Down,
    Up,
}
use Toward::{Down, Up};

/// The nearest of 1, 2, 5 times a power of ten in that direction.
fn snap(value: f64, toward: Toward) -> f64 {
    let magnitude = 10f64.powf(value.log10().floor());
    let lead = value / magnitude;
    let rounds = [1.0, 2.0, 5.0, 10.0];
    let found = match toward {
        Down => rounds.into_iter().rev().find(|round| *round <= lead + 1e-9),
        Up => rounds.into_iter().find(|round| *round >= lead - 1e-9),
    };
    found.unwrap_or(1.0) * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<f64> {
        scale
            .ticks()
            .iter()
            .filter(|t| t.labelled)
            .map(|t| (t.value * 1e6).round() / 1e6)
            .collect()
    }

    #[test]
    fn linear_ticks_are_round_and_few() {
        assert_eq!(
            labels(&Scale::over(Spread::Linear, [0.0, 1_950.0].into_iter()).based_at_zero()),
            [0.0, 500.0, 1_000.0, 1_500.0, 2_000.0]
        );
        assert_eq!(
            labels(&Scale::over(Spread::Linear, [-5.0, 60.0].into_iter())),
            [0.0, 20.0, 40.0, 60.0]
        );
        assert_eq!(
            labels(&Scale::over(Spread::Linear, [0.0, 0.0].into_iter()).based_at_zero()),
            [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        );
    }

    #[test]
    fn log_ticks_snap_to_one_two_five() {
        assert_eq!(
            labels(&Scale::over(Spread::Log, [230.0, 4_100.0].into_iter())),
            [200.0, 500.0, 1_000.0, 2_000.0, 5_000.0]
        );
        assert_eq!(
            labels(&Scale::over(Spread::Log, [0.0, 12.0, 1_200_000.0].into_iter())),
            [10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0]
        );
    }

    #[test]
    fn nines_take_equal_room() {
        let scale = Scale::over(Spread::Nines, [0.0, 0.9999].into_iter());
        let places = [0.0, 0.9, 0.99, 0.999, 0.9999].map(|q| (scale.place(q) * 1_000.0).round());
        assert_eq!(places, [0.0, 250.0, 500.0, 750.0, 1_000.0]);
        assert_eq!(labels(&scale), [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999]);
    }

    #[test]
    fn a_scale_over_nothing_or_nonsense_still_places() {
        for spread in [Spread::Linear, Spread::Log, Spread::Nines] {
            let scale = Scale::over(spread, [f64::NAN, f64::INFINITY].into_iter());
            assert!((0.0..=1.0).contains(&scale.place(0.5)));
            assert!(scale.ticks().len() < 40);
        }
    }
}
