//! The head of an HTTP/1.1 request, read without allocating: httparse finds the fields, and of them only those an
//! MCP server decides by are kept. Lenient where the gateway must be strict: this peer is for measuring.

use ringway_proto::http::Method;
use std::mem::MaybeUninit;

/// Fields a head may have.
const FIELDS_MAX: usize = 96;

/// Largest head; the gateway allows less.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// How the body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; none is 0.
    Length(usize),
    /// The chunked coding.
    Chunked,
}

/// What is decided by.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// HTTP method.
    pub method: Method,
    /// `MCP-Protocol-Version`.
    pub revision: Option<&'a [u8]>,
    /// `Mcp-Session-Id`.
    pub session: Option<&'a [u8]>,
    /// `Mcp-Method`.
    pub mcp_method: Option<&'a [u8]>,
    /// `Mcp-Name`.
    pub mcp_name: Option<&'a [u8]>,
    /// `Accept`.
    pub accept: Option<&'a [u8]>,
    /// `Content-Type`.
    pub content_type: Option<&'a [u8]>,
    /// Whether it came over HTTP/2.
    pub http2: bool,
}

impl Fields<'_> {
    /// None yet.
    pub fn new(method: Method, http2: bool) -> Self {
        Self {
            method,
            revision: None,
            session: None,
            mcp_method: None,
            mcp_name: None,
            accept: None,
            content_type: None,
            http2,
        }
    }
}

/// A head and where it ends.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The fields.
    pub fields: Fields<'a>,
    /// The request target.
    pub target: &'a str,
    /// Bytes up to and with the blank line.
    pub bytes: usize,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether another request may follow.
    pub keep_alive: bool,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
}

/// Reads the head at the front of `buf`; `None` while it is not whole.
pub fn read(buf: &[u8]) -> Result<Option<Head<'_>>, &'static str> {
    let mut storage = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let bytes = match request.parse_with_uninit_headers(buf, &mut storage) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) if buf.len() > HEAD_BYTES_MAX => return Err("the head is too large"),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("not HTTP/1.1"),
    };
    let method = Method::from_token(request.method.unwrap_or_default().as_bytes());
    let mut head = Head {
        fields: Fields::new(method, false),
        target: request.path.unwrap_or_default(),
        bytes,
        framing: Framing::Length(0),
        keep_alive: request.version == Some(1),
        expects_continue: false,
    };
    for field in request.headers.iter() {
        note(&mut head, field.name.as_bytes(), field.value)?;
    }
    Ok(Some(head))
}

/// The length of a name decides which ones it can be, so most fields cost one comparison.
fn note<'a>(head: &mut Head<'a>, name: &[u8], value: &'a [u8]) -> Result<(), &'static str> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    let slot = match name.len() {
        6 if is(b"accept") => &mut head.fields.accept,
        6 if is(b"expect") => {
            head.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            return Ok(());
        }
        8 if is(b"mcp-name") => &mut head.fields.mcp_name,
        10 if is(b"mcp-method") => &mut head.fields.mcp_method,
        10 if is(b"connection") => {
            head.keep_alive = match value {
                close if close.eq_ignore_ascii_case(b"close") => false,
                keep if keep.eq_ignore_ascii_case(b"keep-alive") => true,
                _ => head.keep_alive,
            };
            return Ok(());
        }
        12 if is(b"content-type") => &mut head.fields.content_type,
        14 if is(b"mcp-session-id") => &mut head.fields.session,
        14 if is(b"content-length") => {
            let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            head.framing = Framing::Length(length.ok_or("content-length is not a number")?);
            return Ok(());
        }
        17 if is(b"transfer-encoding") => {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("a transfer coding other than chunked");
            }
            head.framing = Framing::Chunked;
            return Ok(());
        }
        20 if is(b"mcp-protocol-version") => &mut head.fields.revision,
        _ => return Ok(()),
    };
    *slot = Some(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_case() {
        let text =
            b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-LENGTH: 2\r\nMCP-Protocol-Version: 2025-06-18\r\n\
            mcp-session-id: abc\r\nConnection: Close\r\nExpect: 100-continue\r\n\r\n{}rest";
        let head = read(text).unwrap().unwrap();
        assert_eq!(head.framing, Framing::Length(2));
        assert_eq!(head.fields.revision, Some(&b"2025-06-18"[..]));
        assert_eq!(head.fields.session, Some(&b"abc"[..]));
        assert!(!head.keep_alive && head.expects_continue);
        assert_eq!(&text[head.bytes..], b"{}rest");
        for cut in 1..head.bytes {
            assert!(read(&text[..cut]).unwrap().is_none());
        }
    }

    #[test]
    fn what_cannot_be_framed_is_refused() {
        for text in [
            "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
            "\u{1}\u{2}\r\n\r\n",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
