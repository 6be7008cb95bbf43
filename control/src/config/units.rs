//! Durations, sizes and moments, as people write them.
//!
//! Own parsers, because each is thirty lines, and a finding should say what to write instead rather than repeat
//! a library's error. A bare number is refused for durations: `idle_stop: 10` means ten of what?

use std::time::Duration;

/// `250ms`, `5s`, `2m`, `1h30m`, `7d`. Whole numbers, each unit once, largest first.
pub fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let usage = || "write a number and a unit: `250ms`, `5s`, `2m`, `1h30m`, `7d`".to_owned();
    let mut rest = text.trim();
    let mut total_ms: u64 = 0;
    let mut allowed = 0;
    if rest.is_empty() {
        return Err(usage());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(usage)?;
        let number: u64 = rest[..digits].parse().map_err(|_| usage())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let unit = UNITS
            .iter()
            .position(|(name, _)| *name == &rest[..letters])
            .ok_or_else(usage)?;
        if unit < allowed {
            return Err("write each unit once, the largest first: `1h30m`".to_owned());
        }
        allowed = unit + 1;
        let part = number.checked_mul(UNITS[unit].1).ok_or_else(usage)?;
        total_ms = total_ms.checked_add(part).ok_or_else(usage)?;
        rest = &rest[letters..];
    }
    Ok(Duration::from_millis(total_ms))
}

/// The shortest text [`duration`] reads back.
pub(crate) fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (name, size) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        if rest >= size {
            out.push_str(&format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    out
}

/// `4096`, `512KiB`, `4MiB`, `1GiB`; `KB`, `MB`, `GB` are powers of a thousand.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let usage = || "write bytes, or a number and a unit: `512KiB`, `4MiB`, `1GB`".to_owned();
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| usage())?;
    let unit = text[digits..].trim_start();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(usage)?;
    number.checked_mul(*factor).ok_or_else(usage)
}

/// An RFC 3339 moment, `2027-01-01T00:00:00Z` or with an offset, as seconds since the epoch.
pub fn moment(text: &str) -> Result<u64, String> {
    parse_moment(text).ok_or_else(|| "write date, time and offset: `2027-01-01T00:00:00Z`".to_owned())
}

fn parse_moment(text: &str) -> Option<u64> {
    if !text.is_ascii() {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            digits.parse().ok()
        } else {
            None
        }
    };
    let sign = |at: usize, signs: &str| text.get(at..=at).filter(|found| signs.contains(*found));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    sign(4, "-")
        .and(sign(7, "-"))
        .and(sign(10, "Tt "))
        .and(sign(13, ":"))
        .and(sign(16, ":"))?;
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    // RFC 3339 allows a leap second; it counts as the one before.
    if !(1..=month_days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    if sign(at, ".").is_some() {
        let fraction = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    let offset = match text.get(at..)? {
        "Z" | "z" => 0,
        rest if rest.len() == 6 => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            sign(at + 3, ":")?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ahead = hours * 3600 + minutes * 60;
            if sign(at, "+").is_some() {
                ahead
            } else {
                sign(at, "-").map(|_| -ahead)?
            }
        }
        _ => return None,
    };
    // Days since 1970-01-01 of a proleptic Gregorian date, counted in 400-year eras that begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second.min(59) - offset).ok()
}

/// Seconds since the epoch as `2027-01-01T00:00:00Z`.
pub fn moment_text(seconds: u64) -> String {
    let days = i64::try_from(seconds / 86_400).unwrap_or(i64::MAX / 2) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write() {
        for (text, ms) in [
            ("5s", 5_000),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("2m", 120_000),
            ("7d", 604_800_000),
        ] {
            let read = duration(text).unwrap();
            assert_eq!(read, Duration::from_millis(ms));
            assert_eq!(duration_text(read), text);
        }
        for text in [
            "",
            "5",
            "5 s",
            "s",
            "1m1h",
            "5s5s",
            "-5s",
            "1.5s",
            "5S",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_know_both_thousands() {
        assert_eq!(size("4MiB"), Ok(4 << 20));
        assert_eq!(size("4 MB"), Ok(4_000_000));
        assert_eq!(size("4096"), Ok(4096));
        for text in ["", "MiB", "4mib", "4.5MiB", "-1", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_read_and_write() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:30:45Z", 951_827_445),
            ("2027-01-01T00:00:00Z", 1_798_761_600),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(moment(text), Ok(seconds), "{text}");
            assert_eq!(moment_text(seconds), text);
        }
        assert_eq!(moment("2027-01-01T02:00:00+02:00"), Ok(1_798_761_600));
        assert_eq!(moment("2026-12-31t19:00:00.25-05:00"), Ok(1_798_761_600));
        for text in [
            "2027-01-01",
            "2027-13-01T00:00:00Z",
            "2027-02-29T00:00:00Z",
            "2027-01-01T24:00:00Z",
            "2027-01-01T00:00:00",
            "1969-12-31T23:59:59Z",
            "2027-01-01T00:00:00.Z",
            "2027-01-01T00:00:00+99:00",
            "٢027-01-01T00:00:00Z",
        ] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
