//! Columns and colours.

use crate::report::figures;

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    pub fn good(self, text: &str) -> String {
        self.wrapped("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.wrapped("31", text)
    }

    pub fn strong(self, text: &str) -> String {
        self.wrapped("1", text)
    }

    pub fn quiet(self, text: &str) -> String {
        self.wrapped("2", text)
    }

    fn wrapped(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A table of plain text: the first column set left, others right, each as wide as its widest cell; the first gives
/// way where all would not fit.
pub fn columns(rows: &[Vec<String>], width_max: usize) -> Vec<String> {
    /// Blanks between columns.
    const GAP: usize = 2;
    /// What the first column keeps at least.
    const FIRST_MIN: usize = 8;
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let mut widths: Vec<usize> = (0..count).map(|column| wide(column).unwrap_or(0)).collect();
    let others: usize = widths.iter().skip(1).map(|width| width + GAP).sum();
    if let Some(first) = widths.first_mut() {
        *first = (*first).min(width_max.saturating_sub(others).max(FIRST_MIN));
    }
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 {
                line.push_str(&format!("{:<width$}", figures::shortened(cell, *width)));
            } else {
                line.push_str(&format!("{:GAP$}{cell:>width$}", ""));
            }
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Words on lines of at most so many characters, all but the first set in. A unit stays with its number.
pub fn wrapped(text: &str, set_in: usize, width_max: usize) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let unit = matches!(
            word.trim_end_matches([',', ';', ':', ')']),
            "ns" | "µs" | "ms" | "s" | "%" | "min" | "h"
        );
        match words.last_mut() {
            Some(number) if unit => number.push_str(&format!(" {word}")),
            _ => words.push(word.to_owned()),
        }
    }
    let mut out = String::new();
    let mut at = 0;
    for word in &words {
        let wide = word.chars().count();
        if at > 0 && set_in + at + 1 + wide > width_max {
            out.push('\n');
            out.push_str(&" ".repeat(set_in));
            at = 0;
        } else if at > 0 {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += wide;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_first_gives_way() {
        let rows = [["operation", "p50"], ["a name that is long", "312 µs"]]
            .map(|row| row.map(String::from).to_vec());
        assert_eq!(
            columns(&rows, 80),
            ["operation               p50", "a name that is long  312 µs"]
        );
        assert_eq!(columns(&rows, 18), ["operation      p50", "a name th…  312 µs"]);
    }

    #[test]
    fn words_wrap_set_in() {
        assert_eq!(wrapped("one two three four", 4, 14), "one two\n    three four");
    }
}
