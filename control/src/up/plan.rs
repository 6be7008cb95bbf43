//! Configuration → what the registry keeps: bridges for local servers, references read, rights added, and all of
//! it compiled once as the data plane will compile it.
//!
//! Compiling here is the check, and it is also where header references are resolved: the registry probes with
//! the very headers that the data plane will send.

use super::development;
use crate::{
    config::{Config, LegacySse, LocalServer, Program, Secret, Server, ServerKind, Sharing},
    registry::{Local, Plan, Spec},
};
use ring::digest::{Context, SHA256};
use ringway_core::snapshot::{Finding, Snapshot};
use ringway_proto::snapshot::HttpVersion;
use ringway_sandbox::{
    self as sandbox, Launch, Sandbox, Transport,
    http_client::{AddressError, HttpClient},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// `idle_stop: never`.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Makes a plan of a configuration. Local servers get their bridge here; those that are gone keep theirs until
/// [`retire`], so that calls of the old snapshot still find it.
pub async fn prepare(config: &Config, sandbox: &Sandbox, key: Option<&Secret>) -> Result<Plan, Vec<Finding>> {
    // Bridges are made last: a configuration that is refused must not have touched a running server.
    let mut document = config.document(0, |name| Some(format!("unix:/unmade/{name}.sock")));
    if let Some(key) = key {
        development::admit(&mut document, key);
    }
    let snapshot = Snapshot::compile(&document, &ringway_runtime::mcp::secrets::read)?;
    let entries = std::mem::take(&mut document.servers);
    let mut clients = Clients::default();
    let mut drafts = Vec::with_capacity(entries.len());
    for (entry, compiled) in entries.into_iter().zip(&snapshot.servers) {
        let http = clients
            .fitting(entry.ca_file.as_deref(), entry.http == HttpVersion::Http2)
            .map_err(|e| vec![finding(&entry.name, e)])?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = compiled
            .headers
            .iter()
            .map(|(name, value)| (text(name), text(value.expose())));
        drafts.push((entry, headers.collect(), http));
    }
    let mut servers = Vec::with_capacity(drafts.len());
    for (mut entry, headers, http) in drafts {
        let configured = config
            .servers
            .iter()
            .find(|configured| configured.name == entry.name);
        if let Some(local) = configured.and_then(bridged) {
            entry.url = sandbox
                .ensure(local)
                .await
                .map_err(|e| vec![finding(&entry.name, e.to_string())])?;
        }
        let address = entry
            .url
            .parse()
            .map_err(|e: AddressError| vec![finding(&entry.name, e.reason)])?;
        let local = configured.and_then(|server| local_of(&server.kind));
        servers.push(Spec {
            server: entry,
            address,
            headers,
            http,
            local,
        });
    }
    Ok(Plan { document, servers })
}

/// Takes down the bridges of servers that a configuration no longer has. Their calls finish by themselves.
pub fn retire(config: &Config, sandbox: &Arc<Sandbox>) {
    let kept: BTreeSet<&str> = config.bridged().map(|server| server.name.as_str()).collect();
    for status in sandbox.status() {
        if !kept.contains(status.name.as_str()) {
            // Off the list at once: the next configuration may have a server of this name again.
            tokio::spawn(sandbox.remove(&status.name));
        }
    }
}

/// HTTP clients by whom they trust and whether they speak HTTP/2 only; servers that agree in both share
/// connections.
#[derive(Default)]
struct Clients {
    known: BTreeMap<(Option<String>, bool), HttpClient>,
}

impl Clients {
    fn fitting(&mut self, ca_file: Option<&str>, http2_only: bool) -> Result<HttpClient, String> {
        let key = (ca_file.map(str::to_owned), http2_only);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let client = match ca_file {
            None => HttpClient::new(),
            Some(file) => {
                let pem = std::fs::read(file).map_err(|e| format!("{file} cannot be read: {e}"))?;
                HttpClient::with_ca(&pem).map_err(|e| format!("{file}: {e}"))?
            }
        };
        let client = if http2_only { client.http2_only() } else { client };
        self.known.insert(key, client.clone());
        Ok(client)
    }
}

fn bridged(server: &Server) -> Option<sandbox::LocalServer> {
    let name = server.name.clone();
    match &server.kind {
        ServerKind::Remote(_) => None,
        ServerKind::LegacySse(LegacySse { url, headers, .. }) => {
            let headers = headers
                .iter()
                .map(|(name, value)| (name.clone(), value.expose().to_owned()));
            Some(sandbox::LocalServer::legacy_sse(
                name,
                url.expose(),
                headers.collect(),
            ))
        }
        ServerKind::Local(local) => Some(sandbox::LocalServer {
            transport: Transport::Stdio(launch(&server.name, local)),
            name,
            sharing: match local.sharing {
                Sharing::Session => sandbox::Sharing::PerSession,
                Sharing::Shared => sandbox::Sharing::Shared,
            },
            idle_stop: local.idle_stop.unwrap_or(NEVER),
        }),
    }
}

fn launch(name: &str, local: &LocalServer) -> Launch {
    let (program, args) = local.command_line();
    Launch {
        name: name.to_owned(),
        program,
        args,
        env: local
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
        cwd: local.cwd.clone(),
    }
}

/// What the registry has to know of a server that is bridged. The fingerprint is a hash, because arguments and
/// environment hold secrets.
fn local_of(kind: &ServerKind) -> Option<Local> {
    let mut hash = Context::new(&SHA256);
    let mut add = |text: &str| {
        hash.update(&text.len().to_be_bytes());
        hash.update(text.as_bytes());
    };
    let shared = match kind {
        ServerKind::Remote(_) => return None,
        ServerKind::LegacySse(legacy) => {
            add(legacy.url.expose());
            for (name, value) in &legacy.headers {
                add(name);
                add(value.expose());
            }
            true
        }
        ServerKind::Local(local) => {
            let Launch {
                program,
                args,
                env,
                cwd,
                ..
            } = launch("", local);
            add(&program);
            args.iter().for_each(|arg| add(arg));
            add(&cwd.unwrap_or_default().display().to_string());
            for (name, value) in &env {
                add(name);
                add(value);
            }
            local.sharing == Sharing::Shared
        }
    };
    Some(Local {
        fingerprint: hex::encode(hash.finish()),
        shared,
    })
}

/// Programs that the configured servers are started with, for the doctor.
pub fn programs(config: &Config) -> Vec<&'static str> {
    let mut needed = BTreeSet::new();
    for server in config.bridged() {
        if let ServerKind::Local(local) = &server.kind {
            match &local.program {
                Program::Npx(_) => needed.extend(["node", "npx"]),
                Program::Uvx(_) => needed.extend(["uvx"]),
                Program::Command(command) => match command.as_str() {
                    "npx" | "node" => needed.extend(["node"]),
                    "uvx" => needed.extend(["uvx"]),
                    "python" | "python3" => needed.extend(["python"]),
                    _ => {}
                },
            }
        }
    }
    needed.into_iter().collect()
}

fn finding(server: &str, message: impl Into<String>) -> Finding {
    Finding {
        path: format!("servers.{server}"),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Written, read};
    use std::path::Path;

    fn config(text: &str) -> Config {
        let outcome = read(text.as_bytes(), "test", Path::new("/"), &Written::default());
        outcome
            .config
            .unwrap_or_else(|| panic!("{}", outcome.findings.render_human(false)))
    }

    fn fingerprint(server: &str) -> Local {
        let config = config(&format!("servers:\n  a: {server}\n"));
        local_of(&config.servers[0].kind).unwrap()
    }

    #[test]
    fn a_fingerprint_differs_with_everything_that_is_started_and_shows_none_of_it() {
        let plain = fingerprint("{command: serve, args: [x, y]}");
        assert_eq!(plain, fingerprint("{command: serve, args: [x, y]}"));
        for other in [
            "{command: serve, args: [xy]}",
            "{command: serve, args: [x, y], env: {A: secret-value}}",
            "{command: serve, args: [x, y], cwd: /tmp}",
        ] {
            let other = fingerprint(other);
            assert_ne!(plain, other);
            assert!(!other.fingerprint.contains("secret"));
        }
    }

    #[tokio::test]
    async fn a_configuration_that_is_refused_has_touched_no_server() {
        let scratch = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::new(scratch.path().join("s"), ringway_sandbox::Limits::default()).unwrap();
        let mut config = config("servers:\n  a: {command: serve}\n  b: {url: \"http://127.0.0.1:9/mcp\"}\n");
        if let ServerKind::Remote(remote) = &mut config.servers[1].kind {
            remote.ca_file = Some("/no/such/file.pem".into());
        }
        let findings = prepare(&config, &sandbox, None).await.unwrap_err();
        assert!(findings[0].path.contains('b'), "{findings:?}");
        assert!(sandbox.status().is_empty());
        config.servers.pop();
        let plan = prepare(&config, &sandbox, None).await.unwrap();
        assert!(plan.servers[0].server.url.ends_with("a.sock"));
        assert_eq!(sandbox.status().len(), 1);
    }
}
