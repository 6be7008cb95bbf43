//! Heads as `h2` takes and gives them.
//!
//! What requests to one endpoint have in common is made into `h2`'s types once a connection and cloned: a clone
//! counts references where making parses, checks and copies. The field lists go with their [`Prefix`], of which a
//! snapshot has one for each kind of request.

use super::super::{
    endpoint::Endpoint,
    fault::{Fault, FaultKind},
    request::Request,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::CONTENT_LENGTH, uri::PathAndQuery};
use ringway_proto::{
    http::{
        Headers, Method,
        names::{self, Name},
    },
    http1::Prefix,
};
use std::{cell::RefCell, rc::Rc};

/// Beginnings remembered: one for each kind of request to a server (`mcp::view::Openings`), and as many again while
/// a new snapshot replaces them.
const BEGINNINGS_MAX: usize = 8;

/// The beginnings that requests on one connection had.
#[derive(Default)]
pub(super) struct Beginnings(RefCell<Vec<Beginning>>);

/// A prefix in `h2`'s types.
struct Beginning {
    prefix: Rc<Prefix>,
    uri: Uri,
    fields: HeaderMap,
}

impl Beginnings {
    /// The head of `request`, or why it cannot be sent.
    pub(super) fn head(&self, endpoint: &Endpoint, request: &Request) -> Result<http::Request<()>, Fault> {
        request.check()?;
        let mut head = http::Request::new(());
        *head.version_mut() = http::Version::HTTP_2;
        *head.method_mut() = match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Delete => http::Method::DELETE,
            Method::Options => http::Method::OPTIONS,
            Method::Head => http::Method::HEAD,
            Method::Other => return Err(impossible("the method")),
        };
        match &request.prefix {
            Some(prefix) => {
                (*head.uri_mut(), *head.headers_mut()) = self.begin(endpoint, prefix)?;
            }
            None => *head.uri_mut() = uri(endpoint, request.target.clone())?,
        }
        let fields = head.headers_mut();
        append(fields, &request.headers)?;
        if let Some(length) = request.length() {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(head)
    }

    fn begin(&self, endpoint: &Endpoint, prefix: &Rc<Prefix>) -> Result<(Uri, HeaderMap), Fault> {
        let mut known = self.0.borrow_mut();
        if let Some(begun) = known.iter().find(|begun| Rc::ptr_eq(&begun.prefix, prefix)) {
            return Ok((begun.uri.clone(), begun.fields.clone()));
        }
        let mut fields = HeaderMap::with_capacity(prefix.fields().len() + OWN_FIELDS);
        append(&mut fields, prefix.fields())?;
        let uri = uri(endpoint, Bytes::copy_from_slice(prefix.target()))?;
        if known.len() >= BEGINNINGS_MAX {
            known.remove(0);
        }
        known.push(Beginning {
            prefix: prefix.clone(),
            uri: uri.clone(),
            fields: fields.clone(),
        });
        Ok((uri, fields))
    }
}

/// Fields that come to a prefix: those of the call and its length.
const OWN_FIELDS: usize = 3;

fn uri(endpoint: &Endpoint, target: Bytes) -> Result<Uri, Fault> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(endpoint.uri_scheme());
    parts.authority = Some(endpoint.uri_authority().clone());
    let path = PathAndQuery::from_maybe_shared(target);
    parts.path_and_query = Some(path.map_err(|_| impossible("the target"))?);
    Uri::from_parts(parts).map_err(|_| impossible("the target"))
}

fn append(map: &mut HeaderMap, fields: &Headers) -> Result<(), Fault> {
    const METHOD: HeaderName = HeaderName::from_static("mcp-method");
    const NAME: HeaderName = HeaderName::from_static("mcp-name");
    const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
    const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
    for (name, value) in fields.named() {
        let name = match name {
            Name::Known(names::MCP_METHOD) => METHOD,
            Name::Known(names::MCP_NAME) => NAME,
            Name::Known(names::MCP_PROTOCOL_VERSION) => VERSION,
            Name::Known(names::MCP_SESSION_ID) => SESSION,
            name => HeaderName::from_bytes(name.bytes()).map_err(|_| impossible("a header name"))?,
        };
        let value = HeaderValue::from_bytes(value);
        map.append(name, value.map_err(|_| impossible("a header value"))?);
    }
    Ok(())
}

fn impossible(what: &str) -> Fault {
    Fault::unsent(FaultKind::Protocol, format!("{what} cannot be sent"))
}

/// The fields of an answer, as both HTTP versions give them.
pub(super) fn fields(map: &HeaderMap) -> Headers {
    let mut headers = Headers::with_capacity(map.len());
    for (name, value) in map {
        headers.push_bytes(name.as_str(), value);
    }
    headers
}
