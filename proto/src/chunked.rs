//! The chunked transfer coding (RFC 9112 §7.1): a decoder that cuts chunks out of the read buffer without copying,
//! and the few bytes an encoder needs.
//!
//! The decoder is as strict as the grammar: sizes are hexadecimal digits and nothing else, lines end in CRLF,
//! extensions and trailers are read past but bounded. Anything looser has been used to make two parsers see two
//! different requests.

use bytes::{Buf as _, Bytes, BytesMut};

/// Longest line holding a chunk's size: 16 hex digits and a modest extension. Nobody sends extensions.
pub const SIZE_LINE_BYTES_MAX: usize = 256;
/// Most extension bytes in one body, so that one-byte chunks cannot carry a thousandfold of overhead.
pub const EXTENSION_BYTES_MAX: usize = 4 * 1024;
/// Most bytes of trailer fields behind the last chunk; they are discarded.
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;

/// Ends a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends the size line of a chunk of `n` bytes; the data and [`CHUNK_END`] follow. A chunk of no bytes would end
/// the body, so for `n == 0` nothing is written, and nothing should follow.
pub fn chunk_head(out: &mut Vec<u8>, n: usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    if n == 0 {
        return;
    }
    let nibbles = (usize::BITS - n.leading_zeros()).div_ceil(4);
    out.extend((0..nibbles).rev().map(|i| HEX[n >> (4 * i) & 15]));
    out.extend_from_slice(CHUNK_END);
}

/// What the decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Some of the body; never empty.
    Data(Bytes),
    /// Nothing more until the buffer has more bytes.
    More,
    /// The body is complete; the buffer holds what follows it.
    End,
}

/// Why a body is not chunked as it should be. The connection cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFault {
    /// A size that is missing, has other characters than hex digits, or does not fit 64 bits.
    #[error("bad chunk size")]
    Size,
    /// A line that does not end in CRLF, or has control characters.
    #[error("bad line in chunked body")]
    Line,
    /// A chunk longer or shorter than its size.
    #[error("chunk does not end where its size says")]
    DataEnd,
    /// A size line or the extensions are beyond their bounds.
    #[error("chunk extensions too long")]
    ExtensionTooLong,
    /// Trailers beyond their bound.
    #[error("trailers too long")]
    TrailerTooLong,
}

/// Decodes one body.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    End,
}

impl Decoder {
    /// Before the first chunk.
    pub fn new() -> Self {
        Self::default()
    }

    /// True once [`Chunk::End`] has been given.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Takes the next piece out of `buf`. Call until it says [`Chunk::More`], then read more bytes.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Chunk, ChunkFault> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = line(buf, SIZE_LINE_BYTES_MAX, ChunkFault::ExtensionTooLong)? else {
                        return Ok(Chunk::More);
                    };
                    let (size, extension) = size_line(&line)?;
                    self.extension_bytes += extension;
                    if self.extension_bytes > EXTENSION_BYTES_MAX {
                        return Err(ChunkFault::ExtensionTooLong);
                    }
                    self.state = if size == 0 {
                        State::Trailer
                    } else {
                        State::Data(size)
                    };
                }
                State::Data(left) => {
                    if buf.is_empty() {
                        return Ok(Chunk::More);
                    }
                    let here = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
                    let left = left - here as u64;
                    self.state = if left == 0 {
                        State::DataEnd
                    } else {
                        State::Data(left)
                    };
                    return Ok(Chunk::Data(buf.split_to(here).freeze()));
                }
                State::DataEnd => {
                    match buf.as_ref() {
                        [b'\r', b'\n', ..] => buf.advance(2),
                        [] | [b'\r'] => return Ok(Chunk::More),
                        _ => return Err(ChunkFault::DataEnd),
                    }
                    self.state = State::Size;
                }
                State::Trailer => {
                    let room = TRAILER_BYTES_MAX - self.trailer_bytes;
                    let Some(line) = line(buf, room, ChunkFault::TrailerTooLong)? else {
                        return Ok(Chunk::More);
                    };
                    self.trailer_bytes += line.len() + CHUNK_END.len();
                    if line.is_empty() {
                        self.state = State::End;
                    } else if !is_field(&line) {
                        return Err(ChunkFault::Line);
                    }
                }
                State::End => return Ok(Chunk::End),
            }
        }
    }
}

/// Takes a line off the buffer, without its CRLF; at most `max` bytes with it.
fn line(buf: &mut BytesMut, max: usize, too_long: ChunkFault) -> Result<Option<BytesMut>, ChunkFault> {
    let seen = &buf[..buf.len().min(max)];
    let Some(at) = memchr::memchr(b'\n', seen) else {
        return if buf.len() >= max { Err(too_long) } else { Ok(None) };
    };
    if !seen[..at].ends_with(b"\r") {
        return Err(ChunkFault::Line);
    }
    let mut line = buf.split_to(at + 1);
    line.truncate(at - 1);
    if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(ChunkFault::Line);
    }
    Ok(Some(line))
}

/// The size a line states, and how many bytes of extension it carries.
fn size_line(line: &[u8]) -> Result<(u64, usize), ChunkFault> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (hex, extension) = line.split_at(digits);
    if hex.is_empty() || !(extension.is_empty() || extension.starts_with(b";")) {
        return Err(ChunkFault::Size);
    }
    let size = std::str::from_utf8(hex)
        .ok()
        .and_then(|hex| u64::from_str_radix(hex, 16).ok());
    Ok((size.ok_or(ChunkFault::Size)?, extension.len()))
}

/// Whether a trailer line could be a field: a name, a colon, anything.
fn is_field(line: &[u8]) -> bool {
    let name = line.split(|b| *b == b':').next().unwrap_or_default();
    name.len() < line.len() && !name.is_empty() && name.iter().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `step` bytes; gives the body and what is left in the buffer.
    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, bool), ChunkFault> {
        let (mut decoder, mut buf, mut body) = (Decoder::new(), BytesMut::new(), Vec::new());
        for piece in input.chunks(step) {
            buf.extend_from_slice(piece);
            while let Chunk::Data(data) = decoder.decode(&mut buf)? {
                body.extend_from_slice(&data);
            }
        }
        Ok((body, buf.to_vec(), decoder.is_done()))
    }

    #[test]
    fn a_body_is_the_same_however_it_arrives() {
        let wire = b"5\r\nhello\r\n1;ext=\"x\"\r\n,\r\n00000006\r\n world\r\n0\r\nExpires: never\r\n\r\nGET / HTTP/1.1\r\n";
        for step in 1..=wire.len() {
            let (body, rest, done) = decode(wire, step).unwrap();
            assert_eq!(
                (body.as_slice(), rest.as_slice(), done),
                (&b"hello, world"[..], &b"GET / HTTP/1.1\r\n"[..], true)
            );
        }
    }

    #[test]
    fn data_is_not_copied() {
        let mut buf = BytesMut::from(&b"a\r\n0123456789\r\n0\r\n\r\n"[..]);
        let at = buf.as_ptr() as usize + 3;
        let Chunk::Data(data) = Decoder::new().decode(&mut buf).unwrap() else {
            panic!("no data")
        };
        assert_eq!((data.as_ptr() as usize, &data[..]), (at, &b"0123456789"[..]));
    }

    #[test]
    fn an_unfinished_body_is_not_done() {
        let wire = b"5\r\nhello\r\n0\r\n\r\n";
        for cut in 0..wire.len() {
            assert!(!decode(&wire[..cut], 3).unwrap().2, "cut at {cut}");
        }
    }

    #[test]
    fn whatever_two_parsers_could_read_differently_is_refused() {
        for (wire, fault) in [
            (&b"\r\n"[..], ChunkFault::Size),
            (b"g\r\n", ChunkFault::Size),
            (b"0x5\r\nhello", ChunkFault::Size),
            (b"+5\r\n", ChunkFault::Size),
            (b"-5\r\n", ChunkFault::Size),
            (b" 5\r\n", ChunkFault::Size),
            (b"5 \r\n", ChunkFault::Size),
            (b"5_0\r\n", ChunkFault::Size),
            (b"10000000000000000\r\n", ChunkFault::Size),
            (b"5\nhello", ChunkFault::Line),
            (b"5\rx\n", ChunkFault::Line),
            (b"5;a\0b\r\n", ChunkFault::Line),
            (b"5;a\rb\r\n", ChunkFault::Line),
            (b"5\r\nhello!\r\n", ChunkFault::DataEnd),
            (b"5\r\nhello\n0\r\n\r\n", ChunkFault::DataEnd),
            (b"0\r\nno field\r\n\r\n", ChunkFault::Line),
            (b"0\r\n: x\r\n\r\n", ChunkFault::Line),
            (b"0\r\n folded: x\r\n\r\n", ChunkFault::Line),
            (b"0\r\nGET / HTTP/1.1\r\n", ChunkFault::Line),
            (b"0\r\n\n", ChunkFault::Line),
        ] {
            for step in 1..=wire.len() {
                assert_eq!(
                    decode(wire, step),
                    Err(fault),
                    "{:?}",
                    String::from_utf8_lossy(wire)
                );
            }
        }
        // The largest size that fits is only a promise; nothing is allocated for it.
        assert_eq!(decode(b"ffffffffffffffff\r\nx", 64).unwrap().0, b"x");
    }

    #[test]
    fn overhead_is_bounded() {
        let long = [b"5;".as_slice(), &vec![b'x'; SIZE_LINE_BYTES_MAX]].concat();
        assert_eq!(decode(&long, 7), Err(ChunkFault::ExtensionTooLong));
        let many = b"1;0123456789\r\nx\r\n".repeat(EXTENSION_BYTES_MAX / 11 + 1);
        assert_eq!(decode(&many, 4096), Err(ChunkFault::ExtensionTooLong));
        let trailers = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1)].concat();
        assert_eq!(decode(&trailers, 5), Err(ChunkFault::TrailerTooLong));
        let one = [b"0\r\na:".as_slice(), &vec![b'x'; TRAILER_BYTES_MAX]].concat();
        assert_eq!(decode(&one, 100), Err(ChunkFault::TrailerTooLong));
    }

    #[test]
    fn what_is_encoded_decodes() {
        let mut wire = Vec::new();
        let mut meant = Vec::new();
        for n in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 4096, 70_000] {
            chunk_head(&mut wire, n);
            if n > 0 {
                wire.resize(wire.len() + n, b'd');
                wire.extend_from_slice(CHUNK_END);
            }
            meant.resize(meant.len() + n, b'd');
        }
        wire.extend_from_slice(LAST_CHUNK);
        assert!(wire.starts_with(b"1\r\nd\r\n9\r\n"));
        assert_eq!(decode(&wire, 1000).unwrap(), (meant, Vec::new(), true));
    }
}
