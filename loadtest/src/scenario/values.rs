//! Times, sizes and shares as people write them, and as they are shown.

use std::time::Duration;

/// A year: nothing that is longer was meant.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// `"250ms"`, `"1.5s"`, `"2m"`, `"1h30m"`: numbers with units, largest first. A bare number is refused, because
/// nobody can tell its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("must be a time such as \"10s\", \"250ms\" or \"1m30s\", not \"{text}\"");
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(refuse)?;
        let number: f64 = rest[..digits].parse().map_err(|_| refuse())?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |at| digits + at);
        let unit = match rest[digits..unit_end].trim() {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(refuse()),
        };
        seconds += number * unit;
        rest = &rest[unit_end..];
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time <= DURATION_MAX => Ok(time),
        _ => Err(format!("must be shorter than a year, not \"{text}\"")),
    }
}

/// `"64KiB"`, `"1MB"`, `"512"`.
pub fn size_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// `"0.1%"` or `"0.001"`, not checked against its bounds.
pub fn share(text: &str) -> Option<f64> {
    let text = text.trim();
    match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok().map(|p| p / 100.0),
        None => text.parse().ok(),
    }
}

/// The shortest text that [`duration`] reads back, for scenarios we write ourselves.
pub fn show(time: Duration) -> String {
    let nanos = time.as_nanos();
    for (unit, name) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")] {
        if nanos.is_multiple_of(unit) {
            return format!("{}{name}", nanos / unit);
        }
    }
    format!("{nanos}ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        assert_eq!(duration("80us").unwrap(), Duration::from_micros(80));
        for text in ["", "10", "s", "10 parsecs", "-1s", "1..5s", "9999999h", "1s2"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_shown_as_they_are_read() {
        for text in ["250ms", "10s", "90s", "80us", "1500ns"] {
            assert_eq!(show(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_and_shares() {
        assert_eq!(size_bytes("64KiB"), Some(65_536));
        assert_eq!(size_bytes("512"), Some(512));
        assert_eq!(size_bytes("1 MB"), Some(1_000_000));
        assert_eq!(size_bytes("much"), None);
        assert_eq!(size_bytes("99999999999GiB"), None);
        assert_eq!(share("50%"), Some(0.5));
        assert_eq!(share("0.25"), Some(0.25));
        assert_eq!(share("half"), None);
    }
}
