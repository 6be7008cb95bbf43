//! What the operator wrote of one server. Every fault here is a finding.

use super::{Build, Secrets};
use crate::{
    secret::Secret,
    snapshot::{Address, Features, Server, ServerIndex, Transport, header_params},
};
use bytes::Bytes;
use ring::digest::{Context, SHA256};
use ringway_proto::snapshot as document;
use std::collections::BTreeMap;

impl Build<'_> {
    pub(super) fn server(
        &mut self,
        path: &str,
        index: ServerIndex,
        server: &document::Server,
        secrets: Secrets<'_>,
    ) -> Server {
        let address = Address::parse(&server.url).unwrap_or_else(|fault| {
            self.finding(format!("{path}.url"), fault);
            // Never served: the finding refuses the document.
            Address {
                transport: Transport::Unix("".into()),
                authority: Bytes::new(),
                path: Bytes::new(),
            }
        });
        let t = server.timeouts;
        if [t.connect_ms, t.header_ms, t.idle_ms, t.total_ms].contains(&0) {
            self.finding(
                format!("{path}.timeouts"),
                "a deadline of 0 ms would refuse every call",
            );
        }
        let headers = self.headers(path, &server.headers, secrets);
        let mut compiled = Server {
            name: server.name.as_str().into(),
            url: server.url.as_str().into(),
            identity: identity(server, &headers),
            address,
            http: server.http,
            ca_file: server.ca_file.as_deref().map(Into::into),
            timeouts: t,
            headers,
            revision_legacy: None,
            modern: false,
            ready: false,
            capabilities: Bytes::from_static(b"{}"),
            features: Features::default(),
            server_info: None,
            instructions: None,
            tools: 0..0,
            prompts: 0..0,
            resources: 0..0,
            templates: 0..0,
            tool_by_name: Default::default(),
            prompt_by_name: Default::default(),
        };
        // Ranges stand where they would be even when nothing has been found yet.
        if let Some(catalogue) = &server.catalogue {
            self.catalogue(&format!("{path}.catalogue"), index, catalogue, &mut compiled);
        }
        compiled
    }

    fn headers(
        &mut self,
        path: &str,
        headers: &BTreeMap<String, String>,
        secrets: Secrets<'_>,
    ) -> Vec<(Bytes, Secret)> {
        let mut out: Vec<(Bytes, Secret)> = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            let path = format!("{path}.headers.{name}");
            let lower = name.to_ascii_lowercase();
            if !header_params::is_token(lower.as_bytes()) {
                self.finding(&path, "not a header name");
                continue;
            }
            if OURS.contains(&lower.as_str()) || lower.starts_with("mcp-") {
                self.finding(&path, "this header is the gateway's own to set");
                continue;
            }
            if out.iter().any(|(n, _)| n.as_ref() == lower.as_bytes()) {
                self.finding(&path, "the header stands twice, in different case");
                continue;
            }
            match expand(value, secrets) {
                Ok(value) if is_header_value(&value) => out.push((lower.into(), Secret::new(value))),
                Ok(_) => self.finding(
                    &path,
                    "the value is empty, or has characters that no header may have",
                ),
                Err(fault) => self.finding(&path, fault),
            }
        }
        out
    }
}

/// Headers that describe the exchange itself; an operator's value would contradict it.
const OURS: [&str; 14] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn is_header_value(value: &str) -> bool {
    !value.is_empty()
        && value.trim_ascii() == value
        && value
            .bytes()
            .all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic())
}

/// Replaces each `${reference}`; `$${` stands for `${`. The error never shows a value.
fn expand(text: &str, secrets: Secrets<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let (reference, after) = from[2..].split_once('}').ok_or("a ${ is not closed")?;
        let value = secrets(reference).map_err(|fault| format!("${{{reference}}}: {fault}"))?;
        // Files end with a line break that nobody means.
        out.push_str(value.trim_end_matches(['\n', '\r']));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// What connections to a server may be shared by. Parts are counted, so that no two lists of them look alike.
fn identity(server: &document::Server, headers: &[(Bytes, Secret)]) -> u64 {
    let mut hash = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(server.url.as_bytes());
    part(match server.http {
        document::HttpVersion::Auto => b"auto",
        document::HttpVersion::Http1 => b"http1",
        document::HttpVersion::Http2 => b"http2",
    });
    part(server.ca_file.as_deref().unwrap_or_default().as_bytes());
    for (name, value) in headers {
        part(name);
        part(value.expose());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finish().as_ref()[..8]);
    u64::from_le_bytes(first)
}
