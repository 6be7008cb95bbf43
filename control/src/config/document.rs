//! Configuration → the snapshot document that the data plane serves from.
//!
//! The document knows HTTP servers only. A local or legacy server takes part under the address of its bridge,
//! which whoever runs the bridge passes in; one without a bridge is left out, and so is a disabled one.
//! Catalogues are absent: the registry fills them in.

use super::model::{Config, Server, ServerKind};
use ringway_proto::snapshot::{self, Document, FORMAT, HttpVersion};

impl Config {
    /// The document without catalogues. `bridge` gives the address at which a server that is not plain
    /// Streamable HTTP is bridged, by name.
    pub fn document(&self, number: u64, bridge: impl Fn(&str) -> Option<String>) -> Document {
        let servers = self.servers.iter().filter(|server| server.enabled);
        Document {
            format: FORMAT,
            number,
            gateway: self.gateway.clone(),
            servers: servers
                .filter_map(|server| document_server(server, &bridge))
                .collect(),
            roles: self.roles.clone(),
            keys: self.keys.clone(),
            anonymous: self.anonymous.clone(),
        }
    }

    /// Enabled servers that must be run or bridged here.
    pub fn bridged(&self) -> impl Iterator<Item = &Server> {
        self.servers
            .iter()
            .filter(|server| server.enabled && !matches!(server.kind, ServerKind::Remote(_)))
    }
}

fn document_server(server: &Server, bridge: impl Fn(&str) -> Option<String>) -> Option<snapshot::Server> {
    let mut out = snapshot::Server {
        name: server.name.clone(),
        url: String::new(),
        http: HttpVersion::Auto,
        ca_file: None,
        headers: Default::default(),
        timeouts: server.timeouts,
        catalogue: None,
    };
    match &server.kind {
        ServerKind::Remote(remote) => {
            out.url = remote.url.expose().to_owned();
            out.http = remote.http;
            out.ca_file = remote.ca_file.as_ref().map(|path| path.display().to_string());
            let headers = remote.headers.iter();
            out.headers = headers
                .map(|(name, value)| (name.clone(), value.expose().to_owned()))
                .collect();
        }
        ServerKind::Local(_) | ServerKind::LegacySse(_) => out.url = bridge(&server.name)?,
    }
    Some(out)
}
