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
use ringway_sandbox::{self as sandbox, Launch, Sandbox, Transport, http_client::HttpClient};
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
    let mut bridges = BTreeMap::new();
    for server in config.bridged() {
        let Some(local) = bridged(server) else { continue };
        match sandbox.ensure(local).await {
            Ok(address) => drop(bridges.insert(server.name.clone(), address)),
            Err(error) => return Err(vec![finding(&server.name, error.to_string())]),
        }
    }
    let mut document = config.document(0, |name| bridges.get(name).cloned());
    if let Some(key) = key {
        development::admit(&mut document, key);
    }
    let snapshot = Snapshot::compile(&document, &ringway_runtime::mcp::secrets::read)?;
    let mut clients = Clients::default();
    let mut servers = Vec::with_capacity(document.servers.len());
    for (server, compiled) in std::mem::take(&mut document.servers)
        .into_iter()
        .zip(&snapshot.servers)
    {
        let name = server.name.clone();
        let address = server
            .url
            .parse()
            .map_err(|e: sandbox::http_client::AddressError| vec![finding(&name, e.reason)])?;
        let http = clients
            .trusting(server.ca_file.as_deref())
            .map_err(|e| vec![finding(&name, e)])?;
        let headers = compiled.headers.iter().map(|(name, value)| {
            (
                String::from_utf8_lossy(name).into_owned(),
                String::from_utf8_lossy(value.expose()).into_owned(),
            )
        });
        let kind = config
            .servers
            .iter()
            .find(|configured| configured.name == name)
            .map(|server| &server.kind);
        servers.push(Spec {
            server,
            address,
            headers: headers.collect(),
            http,
            local: kind.and_then(local_of),
        });
    }
    Ok(Plan { document, servers })
}

/// Takes down the bridges of servers that a configuration no longer has. Their calls finish by themselves.
pub fn retire(config: &Config, sandbox: &Arc<Sandbox>) {
    let kept: BTreeSet<&str> = config.bridged().map(|server| server.name.as_str()).collect();
    for status in sandbox.status() {
        if !kept.contains(status.name.as_str()) {
            let sandbox = sandbox.clone();
            tokio::spawn(async move { sandbox.remove(&status.name).await });
        }
    }
}

/// HTTP clients by whom they trust; servers that trust alike share connections.
#[derive(Default)]
struct Clients {
    public: Option<HttpClient>,
    own: BTreeMap<String, HttpClient>,
}

impl Clients {
    fn trusting(&mut self, ca_file: Option<&str>) -> Result<HttpClient, String> {
        let Some(file) = ca_file else {
            return Ok(self.public.get_or_insert_default().clone());
        };
        if let Some(known) = self.own.get(file) {
            return Ok(known.clone());
        }
        let pem = std::fs::read(file).map_err(|e| format!("{file} cannot be read: {e}"))?;
        let client = HttpClient::with_ca(&pem).map_err(|e| format!("{file}: {e}"))?;
        self.own.insert(file.to_owned(), client.clone());
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
