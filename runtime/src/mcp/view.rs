//! A worker's view of the live snapshot.
//!
//! [`Live`] is what a publication made, shared by all workers; [`View`] is one worker's handle on it with what
//! that worker rendered from it. A call takes a [`View`] once and keeps it: an `Rc`, so that taking it costs no
//! atomic operation that other cores would feel.

use super::aside::Retired;
use crate::upstream::{Endpoint, EndpointError};
use bytes::Bytes;
use ringway_core::{
    catalogue,
    snapshot::{Finding, Server, ServerIndex, Snapshot, ToolIndex, param_value},
};
use ringway_proto::{
    header_value,
    http::{Headers, Method},
    http1::{Prefix, WriteFault},
    json,
    revision::Revision,
    rpc::Message,
    snapshot::Document,
};
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// A publication: the compiled snapshot and how to reach its servers.
pub struct Live {
    /// Every decision.
    pub snapshot: Snapshot,
    endpoints: Vec<Arc<Endpoint>>,
    openings: Vec<Openings<Prefix>>,
}

/// How requests to one server begin, by what they are.
#[derive(Clone)]
pub struct Openings<P> {
    /// A POST of 2026-07-28.
    pub modern_post: P,
    /// A POST up to 2025-11-25.
    pub legacy_post: P,
    /// A GET for a stream.
    pub get: P,
    /// A DELETE.
    pub delete: P,
}

impl Openings<Prefix> {
    /// The server's own static headers, then what the protocol asks for.
    fn render(server: &Server, endpoint: &Endpoint) -> Result<Self, WriteFault> {
        let prefix = |method, fields: &[(&'static str, &'static str)]| {
            let mut headers = Headers::with_capacity(server.headers.len() + fields.len() + 1);
            for (name, value) in &server.headers {
                headers.push_bytes(name.clone(), value.expose().clone());
            }
            headers.push("user-agent", concat!("ringway/", env!("CARGO_PKG_VERSION")));
            for (name, value) in fields {
                headers.push(*name, value);
            }
            Prefix::new(method, endpoint.path(), endpoint.authority(), &headers)
        };
        let json = ("content-type", "application/json");
        let both = ("accept", "application/json, text/event-stream");
        let modern = ("mcp-protocol-version", Revision::NEWEST.as_str());
        Ok(Self {
            modern_post: prefix(Method::Post, &[json, both, modern])?,
            legacy_post: prefix(Method::Post, &[json, both])?,
            get: prefix(Method::Get, &[("accept", "text/event-stream")])?,
            delete: prefix(Method::Delete, &[])?,
        })
    }

    fn local(&self) -> Openings<Rc<Prefix>> {
        let local = |prefix: &Prefix| Rc::new(prefix.clone());
        Openings {
            modern_post: local(&self.modern_post),
            legacy_post: local(&self.legacy_post),
            get: local(&self.get),
            delete: local(&self.delete),
        }
    }
}

impl Live {
    /// Compiles a document. Endpoints that did not change are taken over from `previous`, so that their pools
    /// stay warm. All findings at once.
    pub fn compile(document: &Document, previous: Option<&Self>) -> Result<Self, Vec<Finding>> {
        let snapshot = Snapshot::compile(document, &super::secrets::read)?;
        let mut findings = Vec::new();
        let mut endpoints = Vec::with_capacity(snapshot.servers.len());
        let mut openings = Vec::with_capacity(snapshot.servers.len());
        for (at, server) in snapshot.servers.iter().enumerate() {
            let kept = previous.and_then(|p| p.endpoint_of(server));
            match kept.map_or_else(|| endpoint(server).map(Arc::new), Ok) {
                Ok(endpoint) => {
                    match Openings::render(server, &endpoint) {
                        Ok(opening) => openings.push(opening),
                        Err(fault) => findings.push(Finding {
                            path: format!("servers[{at}].headers"),
                            message: fault.to_string(),
                        }),
                    }
                    endpoints.push(endpoint);
                }
                Err(message) => findings.push(Finding {
                    path: format!("servers[{at}].url"),
                    message,
                }),
            }
        }
        if findings.is_empty() {
            Ok(Self {
                snapshot,
                endpoints,
                openings,
            })
        } else {
            Err(findings)
        }
    }

    /// The endpoint of the same server, if nothing that matters to a connection has changed.
    fn endpoint_of(&self, server: &Server) -> Option<Arc<Endpoint>> {
        let old = self.snapshot.server(&server.name)?;
        let was = self.snapshot.servers.get(old.at())?;
        let same = was.identity == server.identity && was.timeouts == server.timeouts;
        same.then(|| self.endpoints.get(old.at()).cloned()).flatten()
    }

    /// All endpoints of this publication.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

fn endpoint(server: &Server) -> Result<Endpoint, String> {
    let ca = server
        .ca_file
        .as_ref()
        .map(|path| std::fs::read(&**path))
        .transpose();
    let ca = ca.map_err(|e| format!("the authorities' file cannot be read: {e}"))?;
    Endpoint::new(&server.url, server.http, ca.as_deref(), server.timeouts)
        .map_err(|e: EndpointError| e.to_string())
}

/// One worker's handle on a publication.
pub struct View {
    /// The publication.
    pub live: Arc<Live>,
    /// Lists this worker rendered.
    pub lists: RefCell<catalogue::Cache>,
    /// This worker's own copies: counting references to shared ones would be felt by all workers.
    openings: Vec<Openings<Rc<Prefix>>>,
    retired: Retired,
}

impl Drop for View {
    fn drop(&mut self) {
        self.retired.take(&self.live);
    }
}

impl View {
    /// A fresh view with nothing rendered; `retired` takes what it sees when it is over.
    pub fn new(live: Arc<Live>, retired: Retired) -> Self {
        let openings = live.openings.iter().map(Openings::local).collect();
        Self {
            live,
            lists: RefCell::default(),
            openings,
            retired,
        }
    }

    /// A server of this snapshot. Indexes only come from the same snapshot.
    pub fn server(&self, server: ServerIndex) -> &Server {
        &self.live.snapshot.servers[server.at()]
    }

    /// How to reach it.
    pub fn endpoint(&self, server: ServerIndex) -> &Arc<Endpoint> {
        &self.live.endpoints[server.at()]
    }

    /// How requests to it begin.
    pub fn openings(&self, server: ServerIndex) -> &Openings<Rc<Prefix>> {
        &self.openings[server.at()]
    }

    /// Whether a server's capabilities have this key at their root.
    pub fn has_capability(&self, server: ServerIndex, name: &str) -> bool {
        let capabilities = &self.server(server).capabilities;
        json::member(capabilities, json::root(capabilities), name).is_some()
    }

    /// Whether a tool wants any of its arguments repeated in the head.
    pub fn wants_header_params(&self, tool: ToolIndex) -> bool {
        !self.live.snapshot.tools[tool.at()].header_params.is_empty()
    }

    /// What a tool wants repeated, computed from the body, so that the two cannot disagree.
    pub fn header_params(&self, tool: ToolIndex, doc: &Bytes, message: &Message) -> Vec<(Bytes, Bytes)> {
        let arguments = message.params.as_ref().and_then(|p| p.arguments);
        let Some(arguments) = arguments else {
            return Vec::new();
        };
        let wanted = self.live.snapshot.tools[tool.at()].header_params.iter();
        wanted
            .filter_map(|param| {
                let span = param_value(doc, arguments, param)?;
                let value = match json::string(doc, span) {
                    Some(text) => Bytes::copy_from_slice(header_value::encode(&text).as_bytes()),
                    None => doc.slice(span.range()),
                };
                Some((Bytes::copy_from_slice(param.header.as_bytes()), value))
            })
            .collect()
    }
}
