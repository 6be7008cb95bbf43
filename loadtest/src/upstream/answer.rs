//! A JSON-RPC answer as pieces: static text, the request's id, a text that may be large and shared.
//!
//! Small answers are copied into the connection's output once; large ones are written from where they lie.

use bytes::{BufMut as _, Bytes, BytesMut};
use ringway_proto::json;
use std::borrow::Cow;

const BEGIN: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":";
const EVENT: &[u8] = b"event: message\ndata: ";
const EVENT_END: &[u8] = b"\n\n";

/// A variable text amid an answer.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// Bytes of the request or of something static.
    Slice(&'a [u8]),
    /// Bytes that are kept for all.
    Shared(Bytes),
}

impl Text<'_> {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Slice(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// The id as it was written in the request; `null` when it could not be read.
    pub id: &'a [u8],
    /// Between the id and the text.
    pub open: &'static [u8],
    /// The text.
    pub text: Text<'a>,
    /// Behind the text.
    pub close: Cow<'static, [u8]>,
}

impl<'a> Answer<'a> {
    /// An answer whose end is rendered already (from `,"result":` on).
    pub fn rendered(id: &'a [u8], rest: Bytes) -> Self {
        Self {
            status: 200,
            id,
            open: b"",
            text: Text::Shared(rest),
            close: Cow::Borrowed(b""),
        }
    }

    /// The same from fresh text.
    pub fn made(id: &'a [u8], rest: String) -> Self {
        Self {
            status: 200,
            id,
            open: b"",
            text: Text::Slice(b""),
            close: Cow::Owned(rest.into_bytes()),
        }
    }

    /// A JSON-RPC error, with `data` as rendered JSON.
    pub fn error(status: u16, id: Option<&'a [u8]>, code: i64, message: &str, data: Option<&str>) -> Self {
        let mut rest = format!(",\"error\":{{\"code\":{code},\"message\":").into_bytes();
        json::write_string(&mut rest, message);
        if let Some(data) = data {
            rest.extend_from_slice(b",\"data\":");
            rest.extend_from_slice(data.as_bytes());
        }
        rest.extend_from_slice(b"}}");
        Self {
            status,
            id: id.unwrap_or(b"null"),
            open: b"",
            text: Text::Slice(b""),
            close: Cow::Owned(rest),
        }
    }

    /// Length of the message.
    pub fn bytes(&self) -> usize {
        BEGIN.len() + self.id.len() + self.open.len() + self.text.bytes().len() + self.close.len()
    }

    /// Length of the message as an event.
    pub fn event_bytes(&self) -> usize {
        EVENT.len() + self.bytes() + EVENT_END.len()
    }

    /// Everything before the text, with an event's beginning if it is to be one.
    pub fn write_before(&self, out: &mut Vec<u8>, event: bool) {
        if event {
            out.extend_from_slice(EVENT);
        }
        out.extend_from_slice(BEGIN);
        out.extend_from_slice(self.id);
        out.extend_from_slice(self.open);
    }

    /// Everything behind the text.
    pub fn write_after(&self, out: &mut Vec<u8>, event: bool) {
        out.extend_from_slice(&self.close);
        if event {
            out.extend_from_slice(EVENT_END);
        }
    }

    /// The whole message or event.
    pub fn write(&self, out: &mut Vec<u8>, event: bool) {
        self.write_before(out, event);
        out.extend_from_slice(self.text.bytes());
        self.write_after(out, event);
    }

    /// The whole in pieces for a writer that takes `Bytes`; a shared text above `copy_bytes_max` is not copied.
    pub fn pieces(&self, event: bool, copy_bytes_max: usize) -> Vec<Bytes> {
        match &self.text {
            Text::Shared(text) if text.len() > copy_bytes_max => {
                let (mut before, mut after) = (Vec::new(), Vec::new());
                self.write_before(&mut before, event);
                self.write_after(&mut after, event);
                vec![before.into(), text.clone(), after.into()]
            }
            _ => vec![self.whole(event)],
        }
    }

    /// The whole in one piece.
    pub fn whole(&self, event: bool) -> Bytes {
        let mut out = Vec::with_capacity(self.event_bytes());
        self.write(&mut out, event);
        out.into()
    }
}

/// `message` as an event.
pub fn event(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(EVENT.len() + message.len() + EVENT_END.len());
    out.put_slice(EVENT);
    out.put_slice(message);
    out.put_slice(EVENT_END);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_what_is_written() {
        let answer = Answer {
            status: 200,
            id: b"\"a\"",
            open: b",\"result\":{\"t\":\"",
            text: Text::Shared(Bytes::from_static(b"xyz")),
            close: Cow::Borrowed(b"\"}}"),
        };
        let whole = answer.whole(false);
        assert_eq!(&whole[..], br#"{"jsonrpc":"2.0","id":"a","result":{"t":"xyz"}}"#);
        assert_eq!(whole.len(), answer.bytes());
        assert_eq!(answer.whole(true).len(), answer.event_bytes());
        assert_eq!(answer.pieces(true, 0).concat(), answer.whole(true));
        assert_eq!(answer.whole(true), event(&whole));
    }

    #[test]
    fn errors_are_json() {
        let error = Answer::error(400, None, -32600, "a \"quoted\" word", Some("{\"x\":1}"));
        let said: serde_json::Value = serde_json::from_slice(&error.whole(false)).unwrap();
        assert_eq!(said["error"]["message"], "a \"quoted\" word");
        assert_eq!(
            (said["error"]["data"]["x"].as_u64(), said["id"].is_null()),
            (Some(1), true)
        );
    }
}
