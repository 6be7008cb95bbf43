//! Figures for people: the same spelling in the terminal, in Markdown and on the page.
//!
//! Three significant digits at most, one unit per magnitude, thousands set apart; what is not a number is a dash.

/// Names longer than this are shortened in plots and terminals; tables of pages wrap them.
pub const NAME_CHARS_MAX: usize = 28;

/// Shown where there is nothing to show.
pub const NONE: &str = "–";

/// A time given in microseconds: `412 µs`, `3.21 ms`, `1.20 s`.
#[must_use]
pub fn time(micros: f64) -> String {
    if !micros.is_finite() {
        return NONE.to_owned();
    }
    // The unit is chosen after rounding to three digits, so that 999.9 µs becomes 1.00 ms and not 1000 µs.
    let (scaled, unit) = match micros.abs() {
        0.0 => return "0 µs".to_owned(),
        small if small < 0.9995 => (micros * 1e3, "ns"),
        small if small < 999.5 => (micros, "µs"),
        middle if middle < 999_500.0 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(scaled))
}

/// A span given in seconds: `45 s`, `3 min`, `12 min 05 s`, `2 h 03 min`.
#[must_use]
pub fn span(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NONE.to_owned();
    }
    if seconds.abs() < 10.0 && seconds.fract().abs() > 0.05 {
        return format!("{seconds:.1} s");
    }
    let sign = if seconds <= -0.5 { "-" } else { "" };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; positive by abs"
    )]
    let whole = seconds.abs().round() as u64;
    match whole {
        0..60 => format!("{sign}{whole} s"),
        60..3600 if whole.is_multiple_of(60) => format!("{sign}{} min", whole / 60),
        60..3600 => format!("{sign}{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{sign}{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A count: `1,234,567`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut apart = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// Something a second: `1,999/s`, `12.5/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if !per_second.is_finite() {
        return NONE.to_owned();
    }
    format!("{}/s", number(per_second))
}

/// A number of any size: whole above a hundred, three digits below.
#[must_use]
pub fn number(n: f64) -> String {
    if !n.is_finite() {
        return NONE.to_owned();
    }
    if n.abs() < 99.95 {
        let short = three_digits(n);
        return if short.contains('.') {
            short.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            short
        };
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; positive by abs"
    )]
    let whole = count(n.abs().round() as u64);
    if n < 0.0 { format!("-{whole}") } else { whole }
}

/// A share of one: `0 %`, `0.013 %`, `12.5 %`, `100 %`. Never rounds something to nothing, nor nearly all to all.
#[must_use]
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return NONE.to_owned();
    }
    let percent = share * 100.0;
    if percent == 0.0 {
        "0 %".to_owned()
    } else if percent.abs() < 0.001 {
        "<0.001 %".to_owned()
    } else if percent < 100.0 && percent > 99.9 {
        format!("{:.3} %", (percent * 1e3).floor() / 1e3)
    } else {
        let short = three_digits(percent);
        let short = if short.contains('.') {
            short.trim_end_matches('0').trim_end_matches('.')
        } else {
            &short
        };
        format!("{short} %")
    }
}

/// Bytes in powers of 1024: `512 B`, `1.5 KiB`, `2.34 MiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(n: u64) -> String {
    let mut scaled = n as f64;
    if n < 1024 {
        return format!("{n} B");
    }
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if scaled < 1023.5 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    format!("{} {unit}", three_digits(scaled))
}

/// How many times the first: `1.08×`.
#[must_use]
pub fn ratio(of: f64, to: f64) -> String {
    let ratio = of / to;
    if !ratio.is_finite() {
        return NONE.to_owned();
    }
    if ratio < 9.995 {
        format!("{ratio:.2}×")
    } else {
        format!("{}×", number(ratio))
    }
}

/// A moment given in seconds since the Unix epoch, UTC: `2026-11-20 14:05:09 UTC`.
#[must_use]
pub fn moment(unix: f64) -> String {
    /// The year 9999; later moments are nonsense in a file.
    const UNIX_MAX: f64 = 253_402_300_799.0;
    if !(0.0..=UNIX_MAX).contains(&unix) {
        return NONE.to_owned();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded above"
    )]
    let seconds = unix as u64;
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        of_day / 3600,
        of_day % 3600 / 60,
        of_day % 60
    )
}

/// Year, month and day of a number of days since 1970-01-01, counted in eras of 400 years that begin on 1 March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

fn three_digits(n: f64) -> String {
    match n.abs() {
        small if small < 0.0995 => format!("{n:.3}"),
        small if small < 9.995 => format!("{n:.2}"),
        middle if middle < 99.95 => format!("{n:.1}"),
        _ => format!("{n:.0}"),
    }
}

/// Text of others on one line of a terminal: control and direction characters become a visible mark.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Whether a character moves or hides what stands around it, rather than showing something.
#[must_use]
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// At most so many characters; what is left out is marked.
#[must_use]
pub fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_the_unit_of_their_size() {
        let shown = [
            0.0,
            0.25,
            7.0,
            412.3,
            999.9,
            3_214.0,
            45_600.0,
            999_900.0,
            1_200_000.0,
            f64::NAN,
        ]
        .map(time);
        assert_eq!(
            shown,
            [
                "0 µs", "250 ns", "7.00 µs", "412 µs", "1.00 ms", "3.21 ms", "45.6 ms", "1.00 s", "1.20 s",
                NONE
            ]
        );
    }

    #[test]
    fn spans_counts_rates_and_bytes_read_well() {
        assert_eq!(
            [0.0, 1.5, 45.0, 180.0, 725.0, 7_400.0].map(span),
            ["0 s", "1.5 s", "45 s", "3 min", "12 min 05 s", "2 h 03 min"]
        );
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([0.0, 12.5, 1_999.4].map(rate), ["0/s", "12.5/s", "1,999/s"]);
        assert_eq!(
            [0, 1_023, 1_536, 5 << 20].map(bytes),
            ["0 B", "1023 B", "1.50 KiB", "5.00 MiB"]
        );
    }

    #[test]
    fn a_share_is_never_rounded_to_none_or_all() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_000_1), "<0.001 %");
        assert_eq!(percent(0.000_13), "0.013 %");
        assert_eq!(percent(0.125), "12.5 %");
        assert_eq!(percent(0.999_999), "99.999 %");
        assert_eq!(percent(1.0), "100 %");
    }

    #[test]
    fn moments_are_civil() {
        assert_eq!(moment(0.0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(951_782_400.0), "2000-02-29 00:00:00 UTC");
        assert_eq!(moment(1_795_183_509.9), "2026-11-20 14:05:09 UTC");
        assert_eq!(moment(f64::INFINITY), NONE);
    }

    #[test]
    fn text_of_others_cannot_steer_a_terminal() {
        assert_eq!(
            plain("a\u{1b}[31mb\nc\u{202e}"),
            "a\u{fffd}[31mb\u{fffd}c\u{fffd}"
        );
        assert_eq!(shortened("abcdef", 4), "abc…");
    }
}
