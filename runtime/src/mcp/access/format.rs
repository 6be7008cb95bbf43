//! What an access line looks like: byte for byte what the log writes for an event with these fields.
//!
//! Lines of one file are read by one parser, so the test holds this to the log's own writer. Keys are constants and
//! numbers are written without the formatting machinery; that is what makes a line cost less than the call.

use super::Line;
use crate::{downstream::date::civil, log::Format};
use std::{
    io::Write,
    net::IpAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A key with what stands around it, as [`Format`] counts.
type Key = [&'static str; 3];

macro_rules! key {
    ($name:literal) => {
        [
            concat!(",\"", $name, "\":"),
            concat!(" ", $name, "="),
            concat!(" \x1b[3m", $name, "\x1b[0m\x1b[2m=\x1b[0m"),
        ]
    };
}
/// Appends one line, its end included.
pub(super) fn write(out: &mut Vec<u8>, format: Format, stamp: &[u8], line: &Line<'_>) {
    let (before, after): (&[u8], &[u8]) = match format {
        Format::Json => (
            b"{\"timestamp\":\"",
            b"\",\"level\":\"INFO\",\"message\":\"call\"",
        ),
        Format::Plain => (b"", b"  INFO call"),
        Format::Coloured => (b"\x1b[2m", b"\x1b[0m \x1b[32m INFO\x1b[0m call"),
    };
    out.extend_from_slice(before);
    out.extend_from_slice(stamp);
    out.extend_from_slice(after);
    let mut fields = Fields { out, format };
    fields.value(key!("id"), line.id);
    fields.quoted_word(key!("method"), line.method);
    fields.quoted(key!("credential"), line.credential);
    fields.quoted(key!("tenant"), line.tenant);
    fields.value(key!("endpoint"), line.endpoint);
    fields.value(key!("server"), line.server);
    fields.value(key!("tool"), line.tool);
    fields.quoted_word(key!("revision"), line.revision);
    fields.quoted_word(key!("outcome"), line.outcome);
    fields.truth(key!("resumed"), line.resumed);
    fields.address(key!("remote"), line.remote);
    fields.number(key!("bytes_out"), line.bytes_out);
    fields.number(key!("first_byte_us"), micros(line.first_byte));
    fields.number(key!("total_us"), micros(line.total));
    out.extend_from_slice(match format {
        Format::Json => b",\"target\":\"access\"}\n",
        Format::Plain | Format::Coloured => b"\n",
    });
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

struct Fields<'o> {
    out: &'o mut Vec<u8>,
    format: Format,
}

impl Fields<'_> {
    fn key(&mut self, key: Key) {
        let at = match self.format {
            Format::Json => 0,
            Format::Plain => 1,
            Format::Coloured => 2,
        };
        self.out.extend_from_slice(key[at].as_bytes());
    }

    /// A text that people read without quotes.
    fn value(&mut self, key: Key, text: &str) {
        self.key(key);
        match self.format {
            Format::Json => json(self.out, text),
            Format::Plain | Format::Coloured => bare(self.out, text),
        }
    }

    /// A text in quotes.
    fn quoted(&mut self, key: Key, text: &str) {
        self.key(key);
        match self.format {
            Format::Json => json(self.out, text),
            Format::Plain | Format::Coloured => debug(self.out, text),
        }
    }

    /// The same for a word of our own, in which nothing needs escaping.
    fn quoted_word(&mut self, key: Key, word: &'static str) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    fn truth(&mut self, key: Key, truth: bool) {
        self.key(key);
        self.out
            .extend_from_slice(if truth { &b"true"[..] } else { b"false" });
    }

    fn number(&mut self, key: Key, number: u64) {
        self.key(key);
        self.out
            .extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn address(&mut self, key: Key, address: IpAddr) {
        self.key(key);
        let quote = self.format == Format::Json;
        if quote {
            self.out.push(b'"');
        }
        match address {
            IpAddr::V4(v4) => {
                for (n, octet) in v4.octets().into_iter().enumerate() {
                    if n > 0 {
                        self.out.push(b'.');
                    }
                    self.out
                        .extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
                }
            }
            // Writing to a vector cannot fail.
            IpAddr::V6(v6) => _ = write!(self.out, "{v6}"),
        }
        if quote {
            self.out.push(b'"');
        }
    }
}

/// What follows the backslash in place of a byte (RFC 8259 §7); 0 where the byte stands for itself.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x0c] = b'f';
    escapes[b'\t' as usize] = b't';
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

/// A JSON string, escaped where it must be and nowhere else.
fn json(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'0', b'0', high, low]);
        }
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

/// A text for people. Control characters, which could end the line or move a terminal's cursor, are escaped.
fn bare(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| matches!(b, 0x20..0x7f)) {
        return out.extend_from_slice(text.as_bytes());
    }
    for c in text.chars() {
        // Writing to a vector cannot fail.
        _ = if c.is_control() {
            write!(out, "{}", c.escape_default())
        } else {
            write!(out, "{c}")
        };
    }
}

/// A text as Rust shows it, which is how the log shows strings.
fn debug(out: &mut Vec<u8>, text: &str) {
    if text
        .bytes()
        .all(|b| matches!(b, 0x20..0x7f) && b != b'"' && b != b'\\')
    {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing to a vector cannot fail.
        _ = write!(out, "{text:?}");
    }
}

/// The system's clock is asked again after this long, so that a set clock shows in the lines.
const CLOCK_AGAIN: Duration = Duration::from_secs(1);
/// `2026-11-20T14:18:29.123456Z`.
const STAMP_BYTES: usize = 27;
/// Where the microseconds stand in it.
const STAMP_MICROS: std::ops::Range<usize> = 20..26;

/// Moments as text. A line's moment is already known as an [`Instant`], so the wall clock is read once a second, and
/// within a second only the microseconds are written anew.
pub(super) struct Stamp {
    /// One moment on both clocks, the wall's in nanoseconds since 1970: the 26th century is the last it holds.
    both: Option<(Instant, u64)>,
    second: u64,
    text: [u8; STAMP_BYTES],
}

impl Default for Stamp {
    fn default() -> Self {
        Self {
            both: None,
            second: u64::MAX,
            text: *b"0000-00-00T00:00:00.000000Z",
        }
    }
}

impl Stamp {
    /// The text of a moment not long ago.
    pub fn at(&mut self, moment: Instant) -> &[u8] {
        let known = self
            .both
            .filter(|(read, _)| moment.saturating_duration_since(*read) < CLOCK_AGAIN);
        let (read, wall) = known.unwrap_or_else(|| {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            *self.both.insert((Instant::now(), nanos(wall)))
        });
        // A moment can be a little before the reading it made necessary.
        let wall = match moment.checked_duration_since(read) {
            Some(after) => wall.saturating_add(nanos(after)),
            None => wall.saturating_sub(nanos(read - moment)),
        };
        let wall = wall / 1_000;
        let (second, mut rest) = (wall / 1_000_000, wall % 1_000_000);
        if second != self.second {
            self.second = second;
            self.text = date(second);
        }
        for place in self.text[STAMP_MICROS].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &self.text
    }
}

/// RFC 3339 with room for microseconds.
fn date(second: u64) -> [u8; STAMP_BYTES] {
    let (year, month, day) = civil(second / 86_400);
    let time = second % 86_400;
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    let mut text = Stamp::default().text;
    // Year 9999 is the last that fits; a clock set beyond it shows a date cut off.
    _ = write!(
        &mut text[..],
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}."
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_read_as_rfc_3339_has_them() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(date(second), text.as_bytes());
        }
        let (mut stamp, now) = (Stamp::default(), Instant::now());
        let first = stamp.at(now).to_vec();
        let next = stamp.at(now + Duration::from_micros(5)).to_vec();
        let micros = |text: &[u8]| {
            let text = std::str::from_utf8(&text[17..26]).unwrap();
            text.replace('.', "").parse::<u64>().unwrap()
        };
        assert_eq!((micros(&next) + 60_000_000 - micros(&first)) % 60_000_000, 5);
    }

    proptest! {
        #[test]
        fn strings_are_escaped_as_serde_escapes_them(text in any::<String>(), more in "[\\x00-\\x7f\"\\\\é]*") {
            for text in [text, more] {
                let mut ours = Vec::new();
                json(&mut ours, &text);
                prop_assert_eq!(String::from_utf8(ours).unwrap(), serde_json::to_string(&text).unwrap());
            }
        }

        #[test]
        fn no_text_ends_a_line_or_moves_a_cursor(text in any::<String>()) {
            for write in [json, bare, debug] {
                let mut out = Vec::new();
                write(&mut out, &text);
                let out = String::from_utf8(out).unwrap();
                prop_assert!(!out.chars().any(|c| c < ' '), "{out:?}");
            }
        }
    }
}
