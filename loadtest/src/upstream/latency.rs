//! How long an answer takes: distributions as text (`5ms`, `uniform(1ms,5ms)`, `exp(2ms)`, `lognormal(2ms,0.5)`),
//! for every call or for one tool (`search=exp(20ms)`).
//!
//! `lognormal(m,s)` has the median `m` and the shape `s`: two thirds of all draws lie between `m·e⁻ˢ` and `m·eˢ`.

use rand::Rng;
use rand_distr::{Distribution as _, Exp, LogNormal};
use std::{fmt, str::FromStr, time::Duration};

/// No draw is longer: the tail of a distribution must not hold a connection for days.
pub const LATENCY_MAX: Duration = Duration::from_secs(600);

/// A distribution to draw waits from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Latency {
    /// No wait at all.
    #[default]
    None,
    /// Always the same.
    Constant(Duration),
    /// Every length between the two is as likely.
    Uniform(Duration, Duration),
    /// Exponential with this mean.
    Exponential(Exp<f64>),
    /// Log-normal by its median and shape.
    LogNormal(LogNormal<f64>),
}

impl Latency {
    /// One wait.
    pub fn draw(&self, rng: &mut impl Rng) -> Duration {
        let seconds = match self {
            Self::None => return Duration::ZERO,
            Self::Constant(wait) => return *wait,
            Self::Uniform(least, most) => {
                let spread = most.as_secs_f64() - least.as_secs_f64();
                least.as_secs_f64() + spread * rng.random::<f64>()
            }
            Self::Exponential(exp) => exp.sample(rng),
            Self::LogNormal(log_normal) => log_normal.sample(rng),
        };
        Duration::try_from_secs_f64(seconds).map_or(LATENCY_MAX, |wait| wait.min(LATENCY_MAX))
    }

    /// True when nothing ever waits.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once('(') else {
            let wait = duration(text)?;
            return Ok(if wait.is_zero() {
                Self::None
            } else {
                Self::Constant(wait.min(LATENCY_MAX))
            });
        };
        let arguments: Vec<&str> = rest
            .strip_suffix(')')
            .ok_or_else(|| format!("'{text}': the closing parenthesis is missing"))?
            .split(',')
            .map(str::trim)
            .collect();
        match (name.trim(), arguments.as_slice()) {
            ("uniform", [least, most]) => {
                let (least, most) = (duration(least)?, duration(most)?);
                if least > most {
                    return Err(format!("'{text}': the first bound is above the second"));
                }
                Ok(Self::Uniform(least, most))
            }
            ("exp", [mean]) => {
                let mean = positive(text, duration(mean)?)?;
                Exp::new(mean.recip())
                    .map(Self::Exponential)
                    .map_err(|e| format!("'{text}': {e}"))
            }
            ("lognormal", [median, shape]) => {
                let median = positive(text, duration(median)?)?;
                let shape = shape
                    .parse::<f64>()
                    .ok()
                    .filter(|shape| *shape >= 0.0)
                    .ok_or_else(|| format!("'{text}': the shape '{shape}' is not a number from 0 up"))?;
                LogNormal::new(median.ln(), shape)
                    .map(Self::LogNormal)
                    .map_err(|e| format!("'{text}': {e}"))
            }
            _ => Err(format!(
                "'{text}' is none of 0, 5ms, uniform(1ms,5ms), exp(2ms), lognormal(2ms,0.5)"
            )),
        }
    }
}

/// A distribution, for one tool or for all.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyRule {
    /// Whose calls; `None`: of all tools that have no rule of their own.
    pub tool: Option<String>,
    /// How long they take.
    pub latency: Latency,
}

impl FromStr for LatencyRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tool, latency) = match text.split_once('=') {
            Some((tool, latency)) => (Some(tool.trim().to_owned()), latency),
            None => (None, text),
        };
        Ok(Self {
            tool,
            latency: latency.parse()?,
        })
    }
}

/// A length of time: `0`, `250us`, `5ms`, `1.5s`, `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("'{text}' is not a length of time such as 250us, 5ms, 1.5s or 2m"))?;
    let scale = match unit.trim() {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "" if number == 0.0 => 1.0,
        _ => return Err(format!("'{text}': the unit must be us, ms, s or m")),
    };
    Duration::try_from_secs_f64(number * scale).map_err(|e| format!("'{text}': {e}"))
}

fn positive(text: &str, length: Duration) -> Result<f64, String> {
    if length.is_zero() {
        Err(format!("'{text}': must be longer than 0"))
    } else {
        Ok(length.as_secs_f64())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("0"),
            Self::Constant(wait) => write!(f, "{wait:?}"),
            Self::Uniform(least, most) => write!(f, "uniform({least:?},{most:?})"),
            Self::Exponential(_) => f.write_str("exp"),
            Self::LogNormal(_) => f.write_str("lognormal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::SmallRng};

    fn draws(text: &str) -> Vec<f64> {
        let latency: Latency = text.parse().unwrap();
        let mut rng = SmallRng::seed_from_u64(7);
        let mut all: Vec<f64> = (0..20_000)
            .map(|_| latency.draw(&mut rng).as_secs_f64() * 1e3)
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn mean(all: &[f64]) -> f64 {
        all.iter().sum::<f64>() / all.len() as f64
    }

    #[test]
    fn draws_follow_what_was_written() {
        assert!("0".parse::<Latency>().unwrap().is_none());
        assert!(draws("5ms").iter().all(|ms| *ms == 5.0));
        let uniform = draws("uniform(1ms, 5ms)");
        assert!(uniform[0] >= 1.0 && uniform[uniform.len() - 1] <= 5.0);
        assert!((mean(&uniform) - 3.0).abs() < 0.1);
        assert!((mean(&draws("exp(2ms)")) - 2.0).abs() < 0.1);
        let log_normal = draws("lognormal(2ms,0.5)");
        assert!((log_normal[log_normal.len() / 2] - 2.0).abs() < 0.1);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("fast", "length of time"),
            ("5", "unit"),
            ("5h", "unit"),
            ("uniform(5ms,1ms)", "above"),
            ("uniform(5ms", "parenthesis"),
            ("exp(0)", "longer than 0"),
            ("lognormal(2ms,wide)", "not a number"),
            ("lognormal(2ms,-1)", "from 0 up"),
            ("zipf(2ms)", "none of"),
        ] {
            let said = text.parse::<Latency>().unwrap_err();
            assert!(said.contains(word), "{text}: {said}");
        }
    }

    #[test]
    fn one_tool_can_have_its_own() {
        let rule: LatencyRule = "search=exp(20ms)".parse().unwrap();
        assert_eq!(rule.tool.as_deref(), Some("search"));
        let rule: LatencyRule = "250us".parse().unwrap();
        assert_eq!(rule.tool, None);
        assert_eq!(rule.latency, Latency::Constant(Duration::from_micros(250)));
    }
}
