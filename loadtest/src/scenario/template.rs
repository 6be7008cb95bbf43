//! Text with blanks that each call fills in anew: `{{seq}}`, `{{random_int 1 100}}`, `{{random_text 151}}`,
//! `{{uuid}}`, `{{pick a b c}}`, `{{client}}`.
//!
//! A template is compiled once from a JSON value into a list of pieces, so a call costs copies and a few random
//! numbers. A string that is nothing but one blank becomes a value of the blank's own type: `"{{seq}}"` is written
//! as the number 7, `"run {{seq}}"` as the string "run 7". `{{text seq}}` keeps it a string. `pick` gives numbers,
//! booleans and null where every choice is one, else strings; a choice with spaces goes in double quotes.

use bytes::{BufMut as _, BytesMut};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{fmt::Write as _, sync::OnceLock};

/// Longest `random_text`: larger than any argument a gateway admits.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Random text is cut from one stretch of this length, at a random place: no random number per letter.
const POOL_BYTES: usize = 1 << 16;
/// Deepest JSON a template may nest; the reader of arguments stops at 128 too.
const DEPTH_MAX: usize = 128;

/// A JSON text with blanks.
#[derive(Clone, Debug, Default)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Fixed(Vec<u8>),
    /// The JSON-RPC id; no blank, for whoever frames the text.
    Id,
    Seq,
    Client,
    RandomInt {
        min: i64,
        max: i64,
    },
    RandomText {
        bytes: usize,
    },
    Uuid,
    Pick(Vec<Vec<u8>>),
}

/// What a call's blanks are filled with.
#[derive(Debug)]
pub struct Values<'r> {
    /// The operation's number in the run.
    pub seq: u64,
    /// The request's JSON-RPC id.
    pub id: u64,
    /// The virtual client that makes it.
    pub client: usize,
    /// The thread's randomness.
    pub random: &'r mut SmallRng,
}

impl Template {
    /// Compiles a JSON value whose strings may hold blanks. The error says which blank is wrong, and why.
    pub fn compile(value: &serde_json::Value) -> Result<Self, String> {
        let mut template = Self::default();
        template.value(value, 0)?;
        Ok(template)
    }

    /// A text without blanks.
    pub fn fixed(text: &str) -> Self {
        let mut template = Self::default();
        template.push_fixed(text.as_bytes());
        template
    }

    /// Puts a fixed text behind what is there.
    pub fn push_fixed(&mut self, text: &[u8]) {
        match self.pieces.last_mut() {
            Some(Piece::Fixed(before)) => before.extend_from_slice(text),
            _ => self.pieces.push(Piece::Fixed(text.to_vec())),
        }
    }

    /// Puts another template behind what is there.
    pub fn push(&mut self, other: Self) {
        for piece in other.pieces {
            match piece {
                Piece::Fixed(text) => self.push_fixed(&text),
                piece => self.pieces.push(piece),
            }
        }
    }

    /// Puts the request's JSON-RPC id behind what is there.
    pub fn push_id(&mut self) {
        self.pieces.push(Piece::Id);
    }

    /// True when nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// True when every call gets the same text.
    pub fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Fixed(_)))
    }

    /// True when the same call would get the same text again.
    pub fn is_repeatable(&self) -> bool {
        let same = |piece: &Piece| matches!(piece, Piece::Fixed(_) | Piece::Seq | Piece::Client);
        self.pieces.iter().all(same)
    }

    /// Writes the text of one call behind `out`.
    pub fn render(&self, out: &mut BytesMut, values: &mut Values<'_>) {
        for piece in &self.pieces {
            match piece {
                Piece::Fixed(text) => out.extend_from_slice(text),
                Piece::Id => push_number(out, values.id),
                Piece::Seq => push_number(out, values.seq),
                Piece::Client => push_number(out, values.client as u64),
                Piece::RandomInt { min, max } => {
                    let number = values.random.random_range(*min..=*max);
                    if number < 0 {
                        out.put_u8(b'-');
                    }
                    push_number(out, number.unsigned_abs());
                }
                Piece::RandomText { bytes } => push_text(out, *bytes, values.random),
                Piece::Uuid => push_uuid(out, values.random),
                Piece::Pick(choices) => {
                    out.extend_from_slice(&choices[values.random.random_range(0..choices.len())]);
                }
            }
        }
    }

    fn value(&mut self, value: &serde_json::Value, depth: usize) -> Result<(), String> {
        use serde_json::Value;
        if depth > DEPTH_MAX {
            return Err(format!("nests deeper than {DEPTH_MAX}"));
        }
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => self.push_fixed(value.to_string().as_bytes()),
            Value::String(text) => self.string(text)?,
            Value::Array(items) => {
                self.push_fixed(b"[");
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.push_fixed(b",");
                    }
                    self.value(item, depth + 1)?;
                }
                self.push_fixed(b"]");
            }
            Value::Object(members) => {
                self.push_fixed(b"{");
                for (at, (key, item)) in members.iter().enumerate() {
                    if at > 0 {
                        self.push_fixed(b",");
                    }
                    self.push_fixed(quoted(key).as_bytes());
                    self.push_fixed(b":");
                    self.value(item, depth + 1)?;
                }
                self.push_fixed(b"}");
            }
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), String> {
        let parts = split(text)?;
        if let [Part::Blank(blank)] = parts.as_slice() {
            let (piece, bare) = blank.piece()?;
            let quote: &[u8] = if bare { b"" } else { b"\"" };
            self.push_fixed(quote);
            self.pieces.push(piece);
            self.push_fixed(quote);
            return Ok(());
        }
        self.push_fixed(b"\"");
        for part in parts {
            match part {
                Part::Text(text) => {
                    let text = quoted(text);
                    self.push_fixed(&text.as_bytes()[1..text.len() - 1]);
                }
                Part::Blank(blank) => {
                    let (piece, _) = blank.piece()?;
                    self.pieces.push(piece);
                }
            }
        }
        self.push_fixed(b"\"");
        Ok(())
    }
}

enum Part<'t> {
    Text(&'t str),
    Blank(Blank),
}

/// What stands between the braces, as words.
struct Blank {
    words: Vec<String>,
    /// `{{text …}}`: a string, whatever it looks like.
    text: bool,
}

impl Blank {
    /// The piece, and whether it is a JSON value of its own rather than text for between quotes.
    fn piece(&self) -> Result<(Piece, bool), String> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let (piece, bare) = match words.as_slice() {
            ["seq"] => (Piece::Seq, true),
            ["client"] => (Piece::Client, true),
            ["uuid"] => (Piece::Uuid, false),
            ["random_int", min, max] => {
                let read = |word: &str| {
                    word.parse::<i64>()
                        .map_err(|_| format!("`{word}` is not a whole number"))
                };
                let (min, max) = (read(min)?, read(max)?);
                if min > max {
                    return Err(format!("random_int {min} {max}: the smaller number comes first"));
                }
                (Piece::RandomInt { min, max }, true)
            }
            ["random_text", bytes] => match bytes.parse::<usize>() {
                Ok(bytes) if bytes <= TEXT_BYTES_MAX => (Piece::RandomText { bytes }, false),
                _ => {
                    return Err(format!(
                        "random_text takes a length up to {TEXT_BYTES_MAX}, not `{bytes}`"
                    ));
                }
            },
            ["pick", choices @ ..] if !choices.is_empty() => {
                let bare = !self.text && choices.iter().all(|choice| is_scalar(choice));
                let encode = |choice: &&str| {
                    let text = quoted(choice);
                    text.as_bytes()[1..text.len() - 1].to_vec()
                };
                (Piece::Pick(choices.iter().map(encode).collect()), bare)
            }
            _ => {
                return Err(format!(
                    "no blank is called `{{{{{}}}}}`; there are: seq, client, uuid, random_int MIN MAX, \
                     random_text LENGTH, pick A B C…, each also behind `text`",
                    words.join(" ")
                ));
            }
        };
        Ok((piece, bare && !self.text))
    }
}

/// A number, boolean or null as JSON writes it.
fn is_scalar(word: &str) -> bool {
    matches!(
        serde_json::from_str(word),
        Ok(serde_json::Value::Number(_) | serde_json::Value::Bool(_) | serde_json::Value::Null)
    )
}

fn split(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let Some(length) = rest[start..].find("}}") else {
            return Err(format!("`{}` has no closing `}}}}`", &rest[start..]));
        };
        if start > 0 {
            parts.push(Part::Text(&rest[..start]));
        }
        parts.push(Part::Blank(blank(&rest[start + 2..start + length])?));
        rest = &rest[start + length + 2..];
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

fn blank(inside: &str) -> Result<Blank, String> {
    let mut words = Vec::new();
    let mut rest = inside.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or_else(|| format!("`{inside}` has a quote that is not closed"))?,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    let text = words.first().is_some_and(|word| word == "text");
    if text {
        words.remove(0);
    }
    Ok(Blank { words, text })
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

fn push_number(out: &mut BytesMut, mut number: u64) {
    /// Digits of the largest u64.
    const DIGITS_MAX: usize = 20;
    let mut digits = [0u8; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn push_text(out: &mut BytesMut, bytes: usize, random: &mut SmallRng) {
    let pool = pool();
    let mut left = bytes;
    while left > 0 {
        let start = random.random_range(0..POOL_BYTES);
        let piece = &pool[start..POOL_BYTES.min(start + left)];
        out.extend_from_slice(piece);
        left -= piece.len();
    }
}

/// Lower-case words: what a model's arguments look like to a compressor or a scanner, and nothing JSON escapes.
fn pool() -> &'static [u8] {
    static POOL: OnceLock<Vec<u8>> = OnceLock::new();
    POOL.get_or_init(|| {
        // Always the same text: two runs with one seed send the same bytes.
        let mut random = SmallRng::seed_from_u64(0x5217);
        let mut text = Vec::with_capacity(POOL_BYTES);
        while text.len() < POOL_BYTES {
            for _ in 0..random.random_range(2..=9) {
                text.push(random.random_range(b'a'..=b'z'));
            }
            text.push(b' ');
        }
        text.truncate(POOL_BYTES);
        text
    })
}

/// A version 4 UUID.
fn push_uuid(out: &mut BytesMut, random: &mut SmallRng) {
    let high = (random.random::<u64>() & !0xf000) | 0x4000;
    let low = (random.random::<u64>() & !(0b11 << 62)) | (0b10 << 62);
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn render(value: Value, seq: u64) -> Value {
        let template = Template::compile(&value).unwrap();
        let mut random = SmallRng::seed_from_u64(1);
        let mut out = BytesMut::new();
        let mut values = Values {
            seq,
            id: 0,
            client: 3,
            random: &mut random,
        };
        template.render(&mut out, &mut values);
        serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)))
    }

    #[test]
    fn a_lone_blank_has_its_own_type() {
        assert_eq!(render(json!({"n": "{{seq}}"}), 7), json!({"n": 7}));
        assert_eq!(render(json!({"n": "{{text seq}}"}), 7), json!({"n": "7"}));
        assert_eq!(
            render(json!({"n": "run {{seq}} of {{client}}"}), 7),
            json!({"n": "run 7 of 3"})
        );
        assert_eq!(render(json!("{{random_int -5 -5}}"), 0), json!(-5));
        assert_eq!(render(json!("{{pick true}}"), 0), json!(true));
        assert_eq!(render(json!("{{pick 4 x}}"), 0).as_str().map(str::len), Some(1));
        assert_eq!(render(json!("{{pick \"two words\"}}"), 0), json!("two words"));
        assert_eq!(render(json!("{{text pick 4}}"), 0), json!("4"));
    }

    #[test]
    fn random_blanks_stay_within_their_bounds() {
        let text = render(json!("{{random_text 151}}"), 0);
        assert_eq!(text.as_str().unwrap().len(), 151);
        let long = render(json!("{{random_text 200000}}"), 0);
        assert_eq!(long.as_str().unwrap().len(), 200_000);
        for seq in 0..50 {
            let number = render(json!("{{random_int 1 3}}"), seq).as_i64().unwrap();
            assert!((1..=3).contains(&number));
        }
        let uuid = render(json!("{{uuid}}"), 0);
        let uuid = uuid.as_str().unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4', "{uuid}");
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
    }

    #[test]
    fn everything_else_is_written_as_it_was() {
        let value = json!({"a": [1, 2.5, null, true, "q\"\n\\ é"], "b": {"c{{": "}}"}, "d": ""});
        assert_eq!(render(value.clone(), 0), value);
        assert!(Template::compile(&value).unwrap().is_fixed());
    }

    #[test]
    fn escapes_hold_beside_blanks() {
        assert_eq!(render(json!("\"{{seq}}\"\n"), 9), json!("\"9\"\n"));
        assert_eq!(render(json!("{{pick \"a\\b\"}}!"), 9), json!("a\\b!"));
    }

    #[test]
    fn what_cannot_be_filled_is_named() {
        for (text, says) in [
            ("{{sequence}}", "sequence"),
            ("{{seq", "closing"),
            ("{{random_int 5 1}}", "smaller"),
            ("{{random_int a b}}", "whole number"),
            ("{{random_text lots}}", "length"),
            ("{{pick}}", "pick"),
            ("{{pick \"a}}", "quote"),
        ] {
            let error = Template::compile(&json!([text])).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
