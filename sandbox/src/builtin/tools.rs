//! What the built-in server can do.

use serde_json::{Number, Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What came of a call.
pub(super) enum Outcome {
    Done(Value),
    Later(Progress),
    Crash,
    Unknown,
}

/// A `progress` call to run.
pub(super) struct Progress {
    pub steps: u64,
    pub delay: Duration,
    pub token: Option<Value>,
    /// Set by the caller: the result carries what the modern era asks for.
    pub modern: bool,
}

/// Calls a tool.
pub(super) fn call(name: &str, arguments: &Value, token: Option<Value>, faults: bool) -> Outcome {
    Outcome::Done(match name {
        "echo" => match arguments["message"].as_str() {
            Some(message) => text(message),
            None => failed("the argument message must be a string"),
        },
        "add" => match (arguments["a"].as_number(), arguments["b"].as_number()) {
            (Some(a), Some(b)) => match sum(a, b) {
                Some(sum) => {
                    let mut result = text(&sum.to_string());
                    result["structuredContent"] = json!({ "sum": sum });
                    result
                }
                None => failed("the sum is too large"),
            },
            _ => failed("the arguments a and b must be numbers"),
        },
        "time" => match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => text(&rfc3339(since.as_secs())),
            Err(_) => failed("the clock stands before 1970"),
        },
        "progress" => match (
            within(&arguments["steps"], 3, 1..=1000),
            within(&arguments["delay_ms"], 100, 0..=60_000),
        ) {
            (Some(steps), Some(delay)) => {
                return Outcome::Later(Progress {
                    steps,
                    delay: Duration::from_millis(delay),
                    token,
                    modern: false,
                });
            }
            (None, _) => failed("the argument steps must be an integer from 1 to 1000"),
            (_, None) => failed("the argument delay_ms must be an integer from 0 to 60000"),
        },
        "crash" if faults => return Outcome::Crash,
        _ => return Outcome::Unknown,
    })
}

/// A result with one piece of text.
pub(super) fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

/// A tool error: shown to the model, unlike a protocol error (specification 2025-11-25, "Error Handling").
pub(super) fn failed(why: &str) -> Value {
    let mut result = text(why);
    result["isError"] = true.into();
    result
}

fn within(value: &Value, default: u64, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    match value {
        Value::Null => Some(default),
        value => value.as_u64().filter(|n| range.contains(n)),
    }
}

/// Exact for integers, as floating point otherwise.
fn sum(a: &Number, b: &Number) -> Option<Number> {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64())
        && let Some(sum) = a.checked_add(b)
    {
        return Some(sum.into());
    }
    Number::from_f64(a.as_f64()? + b.as_f64()?)
}

/// `2026-07-28T12:00:00Z`. Days are turned into a date by counting from 1 March of year 0, so that the leap day
/// comes last (after Howard Hinnant's `civil_from_days`).
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_as_rfc_3339_does() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), date);
        }
    }

    #[test]
    fn adds_exactly_where_it_can() {
        let add = |a: Value, b: Value| match call("add", &json!({ "a": a, "b": b }), None, false) {
            Outcome::Done(result) => result["structuredContent"]["sum"].clone(),
            _ => Value::Null,
        };
        assert_eq!(
            add(json!(9_007_199_254_740_993_i64), json!(1)),
            json!(9_007_199_254_740_994_i64)
        );
        assert_eq!(add(json!(0.5), json!(1)), json!(1.5));
        assert_eq!(add(json!(i64::MAX), json!(1)), json!(9_223_372_036_854_775_808.0));
        assert_eq!(add(json!(f64::MAX), json!(f64::MAX)), Value::Null);
    }
}
