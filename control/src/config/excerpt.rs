//! The line under a finding, with everything masked that could be a secret.
//!
//! The rule is default deny: of a line we show keys, YAML's own signs, and the values that the reader has
//! understood as harmless (a name, a duration, a command). All else — values it never read because the key above
//! them was misspelt, comments, tokens — becomes `•••`, whatever its length. In masked text the names of
//! `${REFERENCES}` stay readable: they are what the finding is usually about.

use super::node::Position;
use std::collections::BTreeMap;

/// Wider lines are cut around the caret, so that one line of minified JSON does not fill a terminal.
const WIDTH_MAX: usize = 110;

/// A masked line and the carets under it.
#[derive(Clone, Debug)]
pub struct Excerpt {
    /// The line as it may be shown.
    pub text: String,
    /// Blanks and `^`, aligned with `text`.
    pub carets: String,
}

/// What may be shown of a file.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    /// False when the text could not be parsed: then words before a colon are taken for keys.
    pub parsed: bool,
    /// Start → end of what is shown.
    shown: BTreeMap<Position, Position>,
    /// Start → end of scalars that are hidden unless also shown.
    hidden: BTreeMap<Position, Position>,
}

impl Mask {
    pub fn show(&mut self, start: Position, end: Position) {
        let widest = self.shown.entry(start).or_insert(end);
        *widest = end.max(*widest);
    }

    pub fn hide(&mut self, start: Position, end: Position) {
        self.hidden.insert(start, end);
    }

    fn covers(spans: &BTreeMap<Position, Position>, at: Position) -> bool {
        // Scalars do not nest, so the nearest start decides.
        spans.range(..=at).next_back().is_some_and(|(_, end)| at < *end)
    }

    /// The line at `start`, with carets to `end` where that is on the same line.
    pub fn excerpt(&self, line: &str, start: Position, end: Position) -> Excerpt {
        let source: Vec<char> = line.trim_end_matches(['\r', '\n']).chars().collect();
        let visible = self.visible(&source, start.line);
        let first = (start.column as usize).saturating_sub(1).min(source.len());
        let last = if end.line == start.line {
            (end.column as usize).saturating_sub(1)
        } else {
            source.len()
        };
        let last = last.clamp(first, source.len());

        let mut text = Vec::new();
        // Where each source column went, so that carets follow the masked text.
        let mut places = Vec::with_capacity(source.len() + 1);
        let mut masking = false;
        for (index, c) in source.iter().enumerate() {
            // A new run of dots begins where the marked part begins, so that carets stay under it alone.
            if visible[index] || index == first || index == last {
                masking = false;
            }
            if visible[index] {
                places.push(text.len());
                text.push(if *c == '\t' { ' ' } else { printable(*c) });
            } else {
                if !masking {
                    text.extend(['•', '•', '•']);
                    masking = true;
                }
                places.push(text.len() - 3);
            }
        }
        places.push(text.len());
        let from = places[first];
        let to = places[last].max(from + 1);
        cut(&text, from, to)
    }

    fn visible(&self, source: &[char], line: u32) -> Vec<bool> {
        let column = |index: usize| u32::try_from(index + 1).unwrap_or(u32::MAX);
        let mut visible: Vec<bool> = source
            .iter()
            .enumerate()
            .map(|(index, c)| {
                let at = Position {
                    line,
                    column: column(index),
                };
                if Self::covers(&self.shown, at) {
                    true
                } else if Self::covers(&self.hidden, at) {
                    false
                } else {
                    c.is_whitespace() || "{}[],:-\"'#&*".contains(*c)
                }
            })
            .collect();
        // A block of text hides its lines; how far they are indented is no secret.
        let indent = source.iter().take_while(|c| c.is_whitespace()).count();
        visible[..indent].fill(true);
        if !self.parsed {
            reveal_words_before_colons(source, &mut visible);
        }
        reveal_references(source, &mut visible);
        visible
    }
}

fn printable(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// In text that is not YAML: `  headers: …` keeps its key, and nothing else.
fn reveal_words_before_colons(source: &[char], visible: &mut [bool]) {
    let begin = source
        .iter()
        .position(|c| !matches!(c, ' ' | '\t' | '-' | '"' | '\''))
        .unwrap_or(source.len());
    let end = source[begin..]
        .iter()
        .position(|c| !is_word(*c))
        .map_or(source.len(), |length| begin + length);
    let colon = if matches!(source.get(end), Some('"' | '\'')) {
        end + 1
    } else {
        end
    };
    let ends_key = matches!(source.get(colon + 1), None | Some(' ' | '\t'));
    if source.get(colon) == Some(&':') && ends_key {
        visible[begin..end].fill(true);
    }
}

/// `${NAME`, `${env:NAME` and `${input:NAME`, with the brace when it follows at once.
fn reveal_references(source: &[char], visible: &mut [bool]) {
    let mut index = 0;
    while index + 1 < source.len() {
        if source[index] == '$' && source[index + 1] == '{' {
            let name = index + 2;
            let run = |from: usize, fits: fn(char) -> bool| {
                source[from..]
                    .iter()
                    .position(|c| !fits(*c))
                    .map_or(source.len(), |length| from + length)
            };
            let variable = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let mut end = run(name, variable);
            let prefix: String = source[name..end].iter().collect();
            // An id has dashes; in a variable one would begin a shell's `${NAME-default}`.
            end = match (prefix.as_str(), source.get(end)) {
                ("env", Some(':')) => run(end + 1, variable),
                ("input", Some(':')) => run(end + 1, is_word),
                _ => end,
            };
            if source.get(end) == Some(&'}') {
                end += 1;
            }
            visible[index..end].fill(true);
            index = end;
        } else {
            index += 1;
        }
    }
}

fn cut(text: &[char], from: usize, to: usize) -> Excerpt {
    let carets = |indent: usize, width: usize| format!("{}{}", " ".repeat(indent), "^".repeat(width.max(1)));
    if text.len() <= WIDTH_MAX {
        return Excerpt {
            text: text.iter().collect(),
            carets: carets(from, to - from),
        };
    }
    let begin = from.saturating_sub(WIDTH_MAX / 3);
    let end = (begin + WIDTH_MAX).min(text.len());
    let mut shown: String = text[begin..end].iter().collect();
    let mut indent = from - begin;
    if begin > 0 {
        shown.insert(0, '…');
        indent += 1;
    }
    if end < text.len() {
        shown.push('…');
    }
    Excerpt {
        text: shown,
        carets: carets(indent, to.min(end) - from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(column: u32) -> Position {
        Position { line: 1, column }
    }

    #[test]
    fn what_nobody_read_is_masked_whatever_its_length() {
        let mut mask = Mask {
            parsed: true,
            ..Mask::default()
        };
        mask.show(at(1), at(6)); // the key
        mask.hide(at(8), at(40));
        let excerpt = mask.excerpt(
            "heder: Bearer sk-12345-very,secret: x y # old: sk-9",
            at(1),
            at(6),
        );
        assert_eq!(excerpt.text, "heder: ••• # •••: •••-•••");
        assert_eq!(excerpt.carets, "^^^^^");
    }

    #[test]
    fn references_stay_readable_and_their_defaults_do_not() {
        let mut mask = Mask {
            parsed: true,
            ..Mask::default()
        };
        mask.show(at(1), at(2));
        mask.hide(at(4), at(60));
        let excerpt = mask.excerpt("k: Bearer ${TOKEN} and ${OTHER:-hunter2}", at(4), at(41));
        assert_eq!(excerpt.text, "k: •••${TOKEN}•••${OTHER•••");
        assert!(excerpt.carets.starts_with("   ^"));
    }

    #[test]
    fn text_that_is_not_yaml_shows_its_first_key_only() {
        let excerpt = Mask::default().excerpt("  headers: {Authorization: \"Bearer x\"", at(12), at(13));
        assert_eq!(excerpt.text, "  headers: {•••: \"••• •••\"");
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let mut mask = Mask {
            parsed: true,
            ..Mask::default()
        };
        mask.show(at(1), at(5000));
        let excerpt = mask.excerpt(&"a".repeat(4000), at(2000), at(2003));
        assert!(excerpt.text.chars().count() <= WIDTH_MAX + 2);
        let caret = excerpt.carets.find('^').unwrap();
        assert!(caret < WIDTH_MAX);
        assert!(excerpt.carets.ends_with("^^^"));
    }

    #[test]
    fn a_place_beyond_the_line_does_not_panic() {
        let excerpt = Mask::default().excerpt("", at(9), Position { line: 3, column: 1 });
        assert_eq!(excerpt.carets, "^");
    }
}
