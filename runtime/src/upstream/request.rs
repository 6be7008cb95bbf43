//! A request toward a server, and what it must not contain.
//!
//! The MCP layer decides every header; we add `host` (or `:authority`) and `content-length` and nothing else.
//! Fields that steer the connection are ours alone: one of them slipped in could make the server see another
//! request than the one that was authorised, so such a request is refused before anything is written.

use super::{
    endpoint::is_visible,
    fault::{Fault, FaultKind},
};
use bytes::Bytes;
use ringway_proto::{
    http::{Headers, Method},
    http1::{Prefix, WriteFault, any_steers},
};
use std::rc::Rc;

/// A request with its whole body.
#[derive(Clone, Debug)]
pub struct Request {
    /// Anything but [`Method::Other`].
    pub method: Method,
    /// Path and query, beginning with `/`.
    pub target: Bytes,
    /// Fields in lower case, without those that we add or that steer the connection.
    pub headers: Headers,
    /// May be empty; a POST then says `content-length: 0`.
    pub body: Bytes,
    /// An event stream that may stay open for hours: no total deadline, the idle one only.
    pub long_lived: bool,
    /// What every request to the endpoint begins with; it says method and target again. `headers` then holds the
    /// fields that are this request's own.
    pub prefix: Option<Rc<Prefix>>,
}

impl Request {
    /// A request that begins as its endpoint's requests do.
    pub fn new(prefix: Rc<Prefix>, target: Bytes, headers: Headers, body: Bytes, long_lived: bool) -> Self {
        Self {
            method: prefix.method(),
            target,
            headers,
            body,
            long_lived,
            prefix: Some(prefix),
        }
    }

    /// Refuses what could be read as something else on the wire.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let refuse = |what: String| Err(Fault::unsent(FaultKind::Protocol, what));
        if self.method == Method::Other {
            return refuse("the method has no token".to_owned());
        }
        // A fragment would be sent by one HTTP version and dropped by the other.
        if self.target.first() != Some(&b'/') || !is_visible(&self.target) || self.target.contains(&b'#') {
            return refuse("the target must begin with / and hold visible ASCII without # only".to_owned());
        }
        if let Some(fault) = self.headers.fault() {
            return refuse(WriteFault::from(fault).to_string());
        }
        if any_steers(&self.headers) {
            return refuse(WriteFault::Steering.to_string());
        }
        Ok(())
    }

    /// The `content-length` to send, if any. RFC 9110 §8.6: a method that expects content says even 0.
    pub(super) fn length(&self) -> Option<usize> {
        let expected = self.method == Method::Post || !self.body.is_empty();
        expected.then_some(self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields that belong to the connection or to us (RFC 9110 §7.6.1, RFC 9113 §8.2.2).
    const OURS: [&str; 10] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
        "trailer",
        // We never wait for `100 Continue`.
        "expect",
    ];

    fn request(name: &'static [u8], value: &'static [u8]) -> Request {
        let mut headers = Headers::default();
        headers.push("accept", "*/*");
        headers.push_bytes(Bytes::from_static(name), Bytes::from_static(value));
        let (target, body) = (Bytes::from_static(b"/mcp"), Bytes::from_static(b"{}"));
        Request {
            method: Method::Post,
            target,
            headers,
            body,
            long_lived: false,
            prefix: None,
        }
    }

    #[test]
    fn usual_requests_pass() {
        for (name, value) in [
            (&b"authorization"[..], &b"Bearer abc"[..]),
            (b"mcp-session-id", b"0a::1"),
            (b"x-name", "gr\u{fc}n".as_bytes()),
            (b"x-empty", b""),
        ] {
            request(name, value).check().expect("passes");
        }
    }

    #[test]
    fn what_would_split_or_steer_the_connection_is_refused_unsent() {
        let mut bad: Vec<Request> = [
            (&b"x"[..], &b"a\r\nhost: evil"[..]),
            (b"x", b"a\0"),
            (b"x y", b"a"),
            (b"x:", b"a"),
            (b"", b"a"),
        ]
        .into_iter()
        .map(|(name, value)| request(name, value))
        .collect();
        bad.extend(OURS.iter().map(|name| request(name.as_bytes(), b"1")));
        let good = request(b"x", b"a");
        for target in ["", "mcp", "http://h/mcp", "/a b", "/a#b", "/a\r\nx: y"] {
            bad.push(Request {
                target: Bytes::from_static(target.as_bytes()),
                ..good.clone()
            });
        }
        bad.push(Request {
            method: Method::Other,
            ..good
        });
        for request in bad {
            let fault = request.check().expect_err("is refused");
            assert_eq!((fault.kind, fault.sent), (FaultKind::Protocol, false), "{fault}");
        }
    }
}
