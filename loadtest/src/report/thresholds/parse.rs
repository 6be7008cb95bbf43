//! Reading rules. A mistake says what was expected, where, and what would be right.

use super::{Bound, Clock, Comparison, Figure, Point, Scope, Threshold};

/// A longer rule is a mistake (a whole file passed as one rule), and errors quote the rule.
const RULE_CHARS_MAX: usize = 400;

/// More rules than this are a mistake too, and each costs a reading of the report's histograms.
pub const RULES_MAX: usize = 200;

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("threshold `{rule}`, column {column}: {reason}")]
pub struct BadThreshold {
    /// As written (shortened when long).
    pub rule: String,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// Reads rules; all mistakes at once.
///
/// # Errors
/// When a rule is not one.
pub fn parse_all<S: AsRef<str>>(rules: &[S]) -> Result<Vec<Threshold>, Vec<BadThreshold>> {
    if rules.len() > RULES_MAX {
        return Err(vec![BadThreshold {
            rule: format!("{} rules", rules.len()),
            column: 1,
            reason: format!("at most {RULES_MAX} thresholds are judged in one run"),
        }]);
    }
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for rule in rules {
        match parse(rule.as_ref()) {
            Ok(threshold) => good.push(threshold),
            Err(reason) => bad.push(reason),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

/// Reads one rule.
///
/// # Errors
/// When it is not one.
pub fn parse(rule: &str) -> Result<Threshold, BadThreshold> {
    let mut reader = Reader { rule, at: 0 };
    read(&mut reader).map_err(|(at, reason)| BadThreshold {
        rule: crate::report::figures::shortened(&crate::report::figures::plain(rule), RULE_CHARS_MAX),
        column: rule[..at].chars().count() + 1,
        reason,
    })
}

/// A reason and the byte where it is seen.
type Wrong = (usize, String);

fn read(reader: &mut Reader<'_>) -> Result<Threshold, Wrong> {
    if reader.rule.chars().count() > RULE_CHARS_MAX {
        return Err((0, format!("a rule has at most {RULE_CHARS_MAX} characters")));
    }
    let scope = reader.scope()?;
    let (figure_at, figure) = (reader.skip_space(), reader.figure()?);
    if scope != Scope::All && figure == Figure::Saturation {
        let reason = "a saturation search has one result; `saturation` takes no narrowing";
        return Err((figure_at, reason.into()));
    }
    let comparison = reader.comparison()?;
    let bound = reader.bound(&figure)?;
    let end = reader.skip_space();
    if end < reader.rule.len() {
        return Err((
            end,
            format!("nothing may follow the bound, found `{}`", &reader.rule[end..]),
        ));
    }
    Ok(Threshold {
        scope,
        figure,
        comparison,
        bound,
        rule: reader.rule.trim().to_owned(),
    })
}

/// Characters that end a name written without quotation marks.
pub(super) fn ends_a_name(c: char) -> bool {
    matches!(c, '<' | '>' | '=' | '"')
}

struct Reader<'a> {
    rule: &'a str,
    /// The byte to be read next.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.rule[self.at..]
    }

    fn skip_space(&mut self) -> usize {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    /// The longest run of characters that are neither space nor a comparison.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest
            .find(|c: char| c.is_whitespace() || ends_a_name(c))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn scope(&mut self) -> Result<Scope, Wrong> {
        let mut scope = Scope::All;
        loop {
            let start = self.skip_space();
            let Some((key, _)) = self.rest().split_once(':') else {
                return Ok(scope);
            };
            if !matches!(key, "tool" | "operation" | "method" | "stage") {
                return Ok(scope);
            }
            if scope != Scope::All {
                let reason =
                    "a rule is narrowed once: a report keeps figures by operation and by stage, not by both";
                return Err((start, reason.into()));
            }
            self.at += key.len() + 1;
            let name_at = self.at;
            let name = self.name()?;
            scope = match key {
                "tool" => Scope::Tool(name),
                "operation" => Scope::Operation(name),
                "method" => Scope::Method(name),
                _ => match name.parse() {
                    Ok(number) if number > 0 => Scope::Stage(number),
                    _ => return Err((name_at, format!("stages are numbered from 1, found `{name}`"))),
                },
            };
        }
    }

    /// A name as it stands, or in quotation marks (which it then cannot contain).
    fn name(&mut self) -> Result<String, Wrong> {
        let start = self.at;
        if let Some(quoted) = self.rest().strip_prefix('"') {
            let Some(end) = quoted.find('"') else {
                return Err((start, "the quotation mark is not closed".into()));
            };
            self.at += end + 2;
            return Ok(quoted[..end].to_owned());
        }
        let name = self.word();
        if name.is_empty() {
            return Err((start, "a name must follow the colon, without a space".into()));
        }
        Ok(name.to_owned())
    }

    fn figure(&mut self) -> Result<Figure, Wrong> {
        let start = self.at;
        let clock = match self.rest().split_whitespace().next() {
            Some("service") => Some(Clock::Service),
            Some("first") => Some(Clock::First),
            Some("latency") => Some(Clock::Latency),
            _ => None,
        };
        if clock.is_some() {
            self.word();
            self.skip_space();
        }
        let word_at = self.at;
        if clock.is_none() && self.rest().starts_with("errors:") {
            self.at += "errors:".len();
            return Ok(Figure::Errors(Some(self.name()?)));
        }
        let word = self.word();
        let point = match word {
            "min" => Some(Point::Min),
            "mean" => Some(Point::Mean),
            "max" => Some(Point::Max),
            _ => word
                .strip_prefix('p')
                .map(|digits| percentile(word_at, digits))
                .transpose()?,
        };
        match (point, clock, word) {
            (Some(point), clock, _) => Ok(Figure::Time(clock.unwrap_or(Clock::Latency), point)),
            (None, None, "errors") => Ok(Figure::Errors(None)),
            (None, None, "rate") => Ok(Figure::Rate),
            (None, None, "saturation") => Ok(Figure::Saturation),
            (None, Some(_), _) => Err((
                word_at,
                format!("a percentile (p50, p99.9), min, mean or max must follow, found `{word}`"),
            )),
            (None, None, "") => Err((
                start,
                "a figure is missing: p99, p99.9, min, mean, max, errors, rate or saturation".into(),
            )),
            (None, None, _) => Err((
                start,
                format!(
                    "`{word}` is no figure; there are p50, p99.9, min, mean, max (after `service` or `first`, if wanted), errors, errors:KIND, rate, saturation"
                ),
            )),
        }
    }

    fn comparison(&mut self) -> Result<Comparison, Wrong> {
        let start = self.skip_space();
        // The longer signs first: `<` begins `<=`.
        let signs = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("==", Comparison::Equal),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (sign, comparison) in signs {
            if self.rest().starts_with(sign) {
                self.at += sign.len();
                return Ok(comparison);
            }
        }
        Err((start, "a comparison is missing here: <, <=, >, >= or ==".into()))
    }

    fn bound(&mut self, figure: &Figure) -> Result<Bound, Wrong> {
        let start = self.skip_space();
        let rest = self.rest();
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
            .unwrap_or(rest.len());
        let number_text = rest[..digits].replace('_', "");
        let number: f64 = number_text.parse().map_err(|_| {
            (
                start,
                format!("a number must follow the comparison, found `{rest}`"),
            )
        })?;
        self.at += digits;
        let unit_at = self.skip_space();
        let unit = self.word();
        if matches!(unit, "x" | "×") {
            return Ok(Bound::Times(number));
        }
        match figure {
            Figure::Time(..) => {
                let micros = match unit {
                    "ns" => 1e-3,
                    "us" | "µs" | "μs" => 1.0,
                    "ms" => 1e3,
                    "s" => 1e6,
                    "" => return Err((unit_at, "a time needs a unit: ns, us, ms or s".into())),
                    _ => {
                        return Err((
                            unit_at,
                            format!("`{unit}` is no unit of time; there are ns, us, ms and s"),
                        ));
                    }
                };
                Ok(Bound::Time(number * micros))
            }
            Figure::Rate | Figure::Saturation => match unit {
                "/s" => Ok(Bound::PerSecond(number)),
                "" => Err((unit_at, "a rate needs its unit: /s".into())),
                _ => Err((unit_at, format!("`{unit}` is no unit of a rate; write /s"))),
            },
            Figure::Errors(_) => match unit {
                "%" if number <= 100.0 => Ok(Bound::Share(number / 100.0)),
                "%" => Err((start, "a share is at most 100%".into())),
                "" => number_text
                    .parse()
                    .map(Bound::Count)
                    .map_err(|_| (start, "a number of failures is whole; a share ends with %".into())),
                _ => Err((
                    unit_at,
                    format!("`{unit}` is no unit of failures; write a whole number or a share with %"),
                )),
            },
        }
    }
}

fn percentile(at: usize, digits: &str) -> Result<Point, Wrong> {
    let shape_is_plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    match digits.parse::<f64>() {
        Ok(percentile) if shape_is_plain && percentile > 0.0 && percentile < 100.0 => {
            Ok(Point::Percentile(percentile))
        }
        Ok(_) if shape_is_plain => Err((
            at,
            format!("a percentile lies between 0 and 100, found `p{digits}`; for 100 write max, for 0 min"),
        )),
        _ => Err((
            at,
            format!("`p{digits}` is no percentile; write p50, p99 or p99.9"),
        )),
    }
}
