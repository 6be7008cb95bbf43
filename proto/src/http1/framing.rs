//! Where a body ends (RFC 9112 §6): the rules that request smuggling lives on.

use super::HeadError;
use crate::http::names::{self, FieldName, NameSet};
use crate::http::{Headers, Place};

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// How a response's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Everything until the connection closes.
    UntilClose,
}

/// What a head's fields say of its host, its body and its connection, gathered as they are passed.
#[derive(Default)]
pub(super) struct Meaning {
    /// Where a request's host stands.
    pub(super) host: Option<Place>,
    /// The client waits for `100 Continue`.
    pub(super) expects_continue: bool,
    length: Option<u64>,
    coding: Coding,
    asks_close: bool,
    asks_keep_alive: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    Chunked,
    /// Another one, or more than one.
    Other,
}

/// Fields with a meaning of this kind.
const TELLING: NameSet = NameSet::of(&[
    names::HOST,
    names::CONTENT_LENGTH,
    names::TRANSFER_ENCODING,
    names::CONNECTION,
    names::EXPECT,
]);

impl Meaning {
    /// Takes notice of a field; `true` for one that is kept out of the list: a request's host.
    #[inline(always)]
    pub(super) fn note(
        &mut self,
        name: FieldName,
        value: &[u8],
        place: Place,
        request: bool,
    ) -> Result<bool, HeadError> {
        if TELLING.has(name) {
            self.read(name, value, place, request)
        } else {
            Ok(false)
        }
    }

    #[inline(never)]
    fn read(
        &mut self,
        name: FieldName,
        value: &[u8],
        place: Place,
        request: bool,
    ) -> Result<bool, HeadError> {
        match name {
            names::HOST if request => {
                if self.host.replace(place).is_some() {
                    return Err(HeadError::Malformed("more than one host"));
                }
                return Ok(true);
            }
            names::CONTENT_LENGTH => {
                let length = content_length(value)?;
                if self.length.replace(length).is_some_and(|before| before != length) {
                    return Err(HeadError::Malformed("content-lengths differ"));
                }
            }
            names::TRANSFER_ENCODING => {
                let chunked = self.coding == Coding::None && value.eq_ignore_ascii_case(b"chunked");
                self.coding = if chunked { Coding::Chunked } else { Coding::Other };
            }
            names::CONNECTION => {
                for option in options(value) {
                    self.asks_close |= option.eq_ignore_ascii_case(b"close");
                    self.asks_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            names::EXPECT => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        Ok(false)
    }

    /// What the two framing fields say together. `None` from them both is left to the caller to interpret.
    pub(super) fn framing(&self, version_minor: u8) -> Result<Framing, HeadError> {
        let why = match (self.coding, self.length) {
            (Coding::None, length) => return Ok(length.map_or(Framing::None, Framing::Length)),
            (_, Some(_)) => "both content-length and transfer-encoding",
            _ if version_minor == 0 => "transfer-encoding in HTTP/1.0",
            (Coding::Other, None) => "transfer-encoding other than chunked",
            (Coding::Chunked, None) => return Ok(Framing::Chunked),
        };
        Err(HeadError::Malformed(why))
    }

    /// Whether the connection may go on after this message (RFC 9112 §9.3).
    pub(super) fn keep_alive(&self, version_minor: u8) -> bool {
        !self.asks_close && (version_minor > 0 || self.asks_keep_alive)
    }
}

fn content_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() {
        return Err(HeadError::Malformed("content-length is not a number"));
    }
    value.iter().try_fold(0_u64, |length, digit| {
        if !digit.is_ascii_digit() {
            return Err(HeadError::Malformed("content-length is not a number"));
        }
        length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(digit - b'0')))
            .ok_or(HeadError::Malformed("content-length does not fit 64 bits"))
    })
}

/// The members of all `Connection` fields.
pub(super) fn connection_options(headers: &Headers) -> impl Iterator<Item = &[u8]> {
    headers.get_all(names::CONNECTION).flat_map(options)
}

fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}
