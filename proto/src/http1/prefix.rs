//! The part of a request's head that is the same for every call to one endpoint: checked and rendered once, then
//! copied. A call adds its own few fields and the length of its body.
//!
//! Unlike [`write_request_head`](super::write_request_head), which passes over what is left of the other side's
//! framing, nothing here has another side: a field that steers the connection is a fault.

use super::write::{write_field, write_framing, write_lines};
use super::{Framing, WriteFault, any_steers, is_authority, is_origin_form};
use crate::http::names::{self, NameSet};
use crate::http::{Headers, Method};
use std::fmt;

/// Request line, host and fixed fields of one endpoint. Holds credentials: prints none of its fields.
#[derive(Clone)]
pub struct Prefix {
    rendered: Box<[u8]>,
    method: Method,
    target: Box<[u8]>,
    authority: Box<[u8]>,
    fields: Headers,
}

impl Prefix {
    /// Checks and renders. `fixed` may hold none that [steers](super::steers).
    pub fn new(method: Method, target: &[u8], authority: &[u8], fixed: &Headers) -> Result<Self, WriteFault> {
        if method == Method::Other {
            return Err(WriteFault::Method);
        }
        if !is_origin_form(target) {
            return Err(WriteFault::Target);
        }
        if !is_authority(authority) {
            return Err(WriteFault::Authority);
        }
        let mut out = Vec::new();
        out.extend_from_slice(method.token().as_bytes());
        out.push(b' ');
        out.extend_from_slice(target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        write_field(&mut out, names::HOST, authority);
        write_own(&mut out, fixed)?;
        Ok(Self {
            rendered: out.into(),
            method,
            target: target.into(),
            authority: authority.into(),
            fields: fixed.clone(),
        })
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Path and query.
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// What `host` says.
    pub fn authority(&self) -> &[u8] {
        &self.authority
    }

    /// The fixed fields, without `host`, for HTTP/2.
    pub fn fields(&self) -> &Headers {
        &self.fields
    }

    /// How long the rendered part is, for who makes room.
    pub fn len_bytes(&self) -> usize {
        self.rendered.len()
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        f.debug_struct("Prefix")
            .field("method", &self.method)
            .field("target", &text(&self.target))
            .field("authority", &text(&self.authority))
            .field("fields", &self.fields.len())
            .finish()
    }
}

/// Appends a request's head: the prefix, the call's own fields (none that [steers](super::steers)), and how long its body is.
pub fn write_request(
    out: &mut Vec<u8>,
    prefix: &Prefix,
    own: &Headers,
    body: Framing,
) -> Result<(), WriteFault> {
    let before = out.len();
    out.extend_from_slice(&prefix.rendered);
    if let Err(fault) = write_own(out, own) {
        out.truncate(before);
        return Err(fault);
    }
    write_framing(out, body);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn write_own(out: &mut Vec<u8>, fields: &Headers) -> Result<(), WriteFault> {
    if any_steers(fields) {
        return Err(WriteFault::Steering);
    }
    write_lines(out, fields, NameSet::default())
}
