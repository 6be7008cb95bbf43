//! From document to snapshot. Reads everything, reports everything, and only then decides.
//!
//! [`server`] reads what the operator wrote of a server, [`catalogue`] what the server told the probe; rights come
//! last, because patterns are matched against every name there is.

mod catalogue;
mod server;

use super::{Finding, PermitsIndex, ServerIndex, Snapshot};
use crate::{
    authenticate::Keys,
    authorize::{Pattern, Permits},
    limits::SERVERS_MAX,
    names, search,
};
use ringway_proto::snapshot::{self as document, Document, FORMAT};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How a secret reference is read: `NAME` from the environment, `file:/path` from a file.
pub type Secrets<'s> = &'s dyn Fn(&str) -> Result<String, String>;

impl Snapshot {
    /// Compiles `document`, or says everything that is wrong with it.
    ///
    /// `secrets` gets what stands between `${` and `}` in header values; it is the caller's because reading the
    /// environment or a file is I/O.
    pub fn compile(document: &Document, secrets: Secrets<'_>) -> Result<Self, Vec<Finding>> {
        if document.format != FORMAT {
            let message = format!("this gateway reads format {FORMAT}, not {}", document.format);
            return Err(vec![Finding {
                path: "format".to_owned(),
                message,
            }]);
        }
        let mut build = Build {
            findings: Vec::new(),
            snapshot: empty(document),
            known: HashSet::new(),
        };
        build.gateway(&document.gateway);
        build.servers(&document.servers, secrets);
        build.rights(document);
        if build.findings.is_empty() {
            build.snapshot.search = search::Index::build(&build.snapshot.servers, &build.snapshot.tools);
            Ok(build.snapshot)
        } else {
            Err(build.findings)
        }
    }
}

fn empty(document: &Document) -> Snapshot {
    Snapshot {
        number: document.number,
        gateway: document.gateway.clone(),
        servers: Vec::new(),
        tools: Vec::new(),
        prompts: Vec::new(),
        resources: Vec::new(),
        templates: Vec::new(),
        warnings: Vec::new(),
        server_by_name: Default::default(),
        tool_by_exposed: Default::default(),
        prompt_by_exposed: Default::default(),
        resources_by_uri: Default::default(),
        permits: Vec::new(),
        no_permits: Permits::default(),
        keys: Keys::default(),
        search: search::Index::default(),
    }
}

struct Build<'d> {
    findings: Vec<Finding>,
    snapshot: Snapshot,
    /// Every server's name, also of those that come later.
    known: HashSet<&'d str>,
}

impl<'d> Build<'d> {
    fn finding(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding {
            path: path.into(),
            message: message.into(),
        });
    }

    fn warning(&mut self, path: &str, message: impl Into<String>) {
        self.snapshot.warnings.push(Finding {
            path: path.to_owned(),
            message: message.into(),
        });
    }

    fn gateway(&mut self, gateway: &document::Gateway) {
        for (i, origin) in gateway.allowed_origins.iter().enumerate() {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            if host.is_empty()
                || host.contains(['/', '?', '#', '*', '@'])
                || !origin.bytes().all(|b| b.is_ascii_graphic())
            {
                self.finding(
                    format!("gateway.allowed_origins[{i}]"),
                    "an origin is scheme://host[:port]",
                );
            }
        }
        for (i, host) in gateway.allowed_hosts.iter().enumerate() {
            let plain = !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_graphic())
                && !host.contains(['/', '@', '?', '#']);
            if !plain || (host.contains('*') && host != "*") {
                self.finding(
                    format!("gateway.allowed_hosts[{i}]"),
                    "a host is a name with an optional port, or *",
                );
            }
        }
    }

    fn servers(&mut self, servers: &'d [document::Server], secrets: Secrets<'_>) {
        if servers.len() > SERVERS_MAX {
            self.finding("servers", format!("more than {SERVERS_MAX} servers"));
            return;
        }
        self.known = servers.iter().map(|s| s.name.as_str()).collect();
        for (i, server) in servers.iter().enumerate() {
            let path = format!("servers[{i}]");
            if !names::is_server_name(&server.name) {
                self.finding(
                    format!("{path}.name"),
                    "a server's name is lower-case letters, digits and hyphens, at most 32, and begins with no hyphen",
                );
            }
            // Also for a faulty name: indexes must follow the document.
            let index = ServerIndex(i as u16);
            if self
                .snapshot
                .server_by_name
                .insert(server.name.as_str().into(), index)
                .is_some()
            {
                self.finding(
                    format!("{path}.name"),
                    format!("{} is the name of an earlier server", server.name),
                );
            }
            let compiled = self.server(&path, index, server, secrets);
            self.snapshot.servers.push(compiled);
        }
    }

    fn rights(&mut self, document: &Document) {
        let mut roles: BTreeMap<&str, Permits> = BTreeMap::new();
        for (i, role) in document.roles.iter().enumerate() {
            let mut patterns = Vec::with_capacity(role.allow.len());
            for (j, text) in role.allow.iter().enumerate() {
                match Pattern::parse(text) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(fault) => self.finding(format!("roles[{i}].allow[{j}]"), fault),
                }
            }
            let permits = Permits::of_role(&patterns, &self.snapshot);
            if roles.insert(&role.name, permits).is_some() {
                self.finding(
                    format!("roles[{i}].name"),
                    format!("{} is the name of an earlier role", role.name),
                );
            }
        }
        self.snapshot.no_permits = Permits::of_role(&[], &self.snapshot);

        let mut sets: HashMap<Vec<&str>, PermitsIndex> = HashMap::new();
        let mut keys = Keys::default();
        for (i, key) in document.keys.iter().enumerate() {
            let path = format!("keys[{i}]");
            let permits = self.permits_of(&format!("{path}.roles"), &key.roles, &roles, &mut sets);
            if let Err((field, fault)) = keys.insert(key, permits, self.snapshot.number) {
                self.finding(format!("{path}.{field}"), fault);
            }
        }
        if let Some(anonymous) = &document.anonymous {
            let permits = self.permits_of("anonymous.roles", &anonymous.roles, &roles, &mut sets);
            keys.admit_anonymous(anonymous, permits, self.snapshot.number);
        }
        self.snapshot.keys = keys;
    }

    fn permits_of<'k>(
        &mut self,
        path: &str,
        names: &'k [String],
        roles: &BTreeMap<&str, Permits>,
        sets: &mut HashMap<Vec<&'k str>, PermitsIndex>,
    ) -> PermitsIndex {
        for (i, name) in names.iter().enumerate() {
            if !roles.contains_key(name.as_str()) {
                self.finding(format!("{path}[{i}]"), format!("there is no role {name}"));
            }
        }
        let mut set: Vec<&str> = names.iter().map(String::as_str).collect();
        set.sort_unstable();
        set.dedup();
        if let Some(known) = sets.get(&set) {
            return *known;
        }
        let permits = Permits::union(set.iter().filter_map(|name| roles.get(name)), &self.snapshot);
        let index = PermitsIndex(self.snapshot.permits.len() as u32);
        self.snapshot.permits.push(permits);
        sets.insert(set, index);
        index
    }
}

/// The first `max` bytes of `text`, cut between characters.
pub(crate) fn head_of(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
