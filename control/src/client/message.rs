//! JSON-RPC messages, written and read whole. Results stay the bytes they were sent as.
//!
//! Reading is strict where two readers could differ (`serde` refuses a repeated `id` or `result`), and lenient
//! where servers of the field differ harmlessly: key order, a batch in place of one message (2025-03-26).

use super::failure::{Failure, RpcError};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// JSON-RPC "method not found", our answer to every server request but `ping`.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC "invalid params".
pub const INVALID_PARAMS: i64 = -32602;
/// Header and body disagree (2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;
/// A client capability the server needs was not declared (2026-07-28).
pub const CAPABILITY_MISSING: i64 = -32021;
/// The revision is not supported (2026-07-28).
pub const VERSION_UNSUPPORTED: i64 = -32022;

/// One message as a server sent it.
#[derive(Debug, Deserialize)]
pub struct Message {
    /// Absent on notifications.
    #[serde(default)]
    pub id: Option<Box<RawValue>>,
    /// Present on requests and notifications.
    #[serde(default)]
    pub method: Option<String>,
    /// The rest of a request or notification.
    #[serde(default)]
    pub params: Option<Box<RawValue>>,
    /// Present on a good answer.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// Present on a bad one.
    #[serde(default)]
    pub error: Option<RpcError>,
}

/// What a message is to us.
#[derive(Debug)]
pub enum Kind {
    /// The answer to the request of this number.
    Answer(Result<Box<RawValue>, RpcError>),
    /// A request of the server, to be answered under its id.
    Request {
        /// As the server wrote it.
        id: Box<RawValue>,
        /// What it wants.
        method: String,
    },
    /// A notification.
    Notification {
        /// What happened.
        method: String,
        /// To what.
        params: Option<Box<RawValue>>,
    },
    /// An answer to something else, or no message at all.
    Other,
}

impl Message {
    /// Sorts the message, seen by one who waits for the answer to `id`.
    pub fn kind(self, id: u64) -> Kind {
        match (self.method, self.id) {
            (Some(method), Some(id)) => Kind::Request { id, method },
            (Some(method), None) => Kind::Notification {
                method,
                params: self.params,
            },
            (None, Some(theirs)) if theirs.get() == id.to_string() => match (self.result, self.error) {
                (Some(result), None) => Kind::Answer(Ok(result)),
                (None, Some(error)) => Kind::Answer(Err(error)),
                _ => Kind::Other,
            },
            // An error without id answers a request the server could not read: ours, for we have but one.
            (None, None) => match self.error {
                Some(error) => Kind::Answer(Err(error)),
                None => Kind::Other,
            },
            _ => Kind::Other,
        }
    }
}

/// Reads one message, or the messages of a batch.
pub fn read(text: &[u8]) -> Result<Vec<Message>, serde_json::Error> {
    match text.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'[') => serde_json::from_slice(text),
        _ => Ok(vec![serde_json::from_slice(text)?]),
    }
}

/// An object whose values stay raw, to add to without reading the rest.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// Reads `params` as an object; absent means empty.
pub fn fields(params: Option<&RawValue>) -> Result<Fields, Failure> {
    match params {
        None => Ok(Fields::new()),
        Some(raw) => serde_json::from_str(raw.get())
            .map_err(|e| Failure::Protocol(format!("`params` must be a JSON object ({e})"))),
    }
}

/// Any serialisable value as raw JSON.
pub fn raw(value: &impl Serialize) -> Result<Box<RawValue>, Failure> {
    to_raw_value(value).map_err(|e| Failure::Protocol(e.to_string()))
}

/// A request ready to send.
pub fn request(id: u64, method: &str, params: Option<&RawValue>) -> Result<Vec<u8>, Failure> {
    #[derive(Serialize)]
    struct Request<'m> {
        jsonrpc: &'static str,
        id: u64,
        method: &'m str,
        #[serde(skip_serializing_if = "Option::is_none")]
        params: Option<&'m RawValue>,
    }
    bytes(&Request {
        jsonrpc: "2.0",
        id,
        method,
        params,
    })
}

/// A notification ready to send.
pub fn notification(method: &str, params: Option<&RawValue>) -> Result<Vec<u8>, Failure> {
    #[derive(Serialize)]
    struct Notification<'m> {
        jsonrpc: &'static str,
        method: &'m str,
        #[serde(skip_serializing_if = "Option::is_none")]
        params: Option<&'m RawValue>,
    }
    bytes(&Notification {
        jsonrpc: "2.0",
        method,
        params,
    })
}

/// The answer to a request of the server: `ping` is answered, all else refused. A prober has no model to sample
/// with and nobody to ask.
pub fn answer(id: &RawValue, method: &str) -> Result<Vec<u8>, Failure> {
    #[derive(Serialize)]
    struct Refusal<'m> {
        code: i64,
        message: &'m str,
    }
    #[derive(Serialize)]
    struct Answer<'m> {
        jsonrpc: &'static str,
        id: &'m RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<Fields>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Refusal<'m>>,
    }
    let ping = method == "ping";
    bytes(&Answer {
        jsonrpc: "2.0",
        id,
        result: ping.then(Fields::new),
        error: (!ping).then_some(Refusal {
            code: METHOD_NOT_FOUND,
            message: "this client has no such method",
        }),
    })
}

fn bytes(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|e| Failure::Protocol(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Kind {
        let mut messages = read(text.as_bytes()).unwrap();
        assert_eq!(messages.len(), 1);
        messages.remove(0).kind(7)
    }

    #[test]
    fn results_keep_their_bytes_in_whatever_order_the_keys_stand() {
        let Kind::Answer(Ok(result)) = only(r#"{"result":{"a": 1.50,  "b":[]},"jsonrpc":"2.0","id":7}"#)
        else {
            panic!("an answer");
        };
        assert_eq!(result.get(), r#"{"a": 1.50,  "b":[]}"#);
    }

    #[test]
    fn the_id_must_be_ours_to_the_letter() {
        assert!(matches!(only(r#"{"id":"7","result":{}}"#), Kind::Other));
        assert!(matches!(only(r#"{"id":8,"result":{}}"#), Kind::Other));
        assert!(matches!(only(r#"{"id":7,"result":{}}"#), Kind::Answer(Ok(_))));
    }

    #[test]
    fn an_error_without_id_is_about_the_only_request_there_is() {
        assert!(matches!(
            only(r#"{"id":null,"error":{"code":-32000,"message":"no"}}"#),
            Kind::Answer(Err(_))
        ));
    }

    #[test]
    fn a_repeated_key_is_refused() {
        assert!(read(br#"{"id":7,"result":{},"result":{"x":1}}"#).is_err());
    }

    #[test]
    fn a_batch_is_read_as_its_messages() {
        let two = read(br#" [{"method":"notifications/message"},{"id":7,"result":{}}]"#).unwrap();
        assert_eq!(two.len(), 2);
    }

    #[test]
    fn ping_is_answered_and_all_else_refused_under_the_servers_own_id() {
        let id = RawValue::from_string(r#""srv-1""#.to_owned()).unwrap();
        assert_eq!(
            answer(&id, "ping").unwrap(),
            br#"{"jsonrpc":"2.0","id":"srv-1","result":{}}"#
        );
        let no = String::from_utf8(answer(&id, "sampling/createMessage").unwrap()).unwrap();
        assert!(no.contains("-32601") && !no.contains("result"), "{no}");
    }
}
