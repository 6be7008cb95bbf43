//! The data plane as `up` uses it: settings in its terms, and its blocking calls off our threads.

use crate::{
    cli::exit::{Exit, Stop},
    config::{Settings, Workers},
    registry::Status,
    state::State,
};
use ringway_core::{
    limits::{DnsLimits, DownstreamLimits, UpstreamLimits},
    seal::SealKey,
    snapshot::Finding,
};
use ringway_proto::snapshot::Document;
use ringway_runtime::{
    admin::{Health, ServerHealth},
    downstream::tls::ServerTls,
    gateway::{self, Gateway, StartError},
    io::Driver,
    worker::Listener,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// The running data plane.
pub struct Plane {
    gateway: Arc<Gateway>,
}

impl Plane {
    /// Starts workers and listeners with a document live.
    pub async fn start(settings: &Settings, state: &State, document: &Arc<Document>) -> Result<Self, Stop> {
        let keys = state.session_keys().map_err(|e| {
            Stop::new(
                Exit::Failure,
                format!("the session keys cannot be used: {e}"),
                "mend or remove the file; sessions then begin anew",
            )
        })?;
        let settings = gateway::Settings {
            listeners: listeners(settings)?,
            admin: settings.admin,
            workers: match settings.workers {
                Workers::Auto => 0,
                Workers::Count(count) => count.get(),
            },
            driver: Driver::Auto,
            limits: settings.limits.limits(),
            downstream: DownstreamLimits::default(),
            upstream: UpstreamLimits::default(),
            dns: DnsLimits::default(),
            session_keys: keys
                .keys
                .into_iter()
                .map(|key| SealKey {
                    id: key.id,
                    bytes: key.secret,
                })
                .collect(),
        };
        let document = document.clone();
        let started = tokio::task::spawn_blocking(move || Gateway::start(settings, &document)).await;
        match started {
            Ok(Ok(gateway)) => Ok(Self {
                gateway: Arc::new(gateway),
            }),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(Stop::plain(
                Exit::Failure,
                "the data plane died while it started; its last words are above",
            )),
        }
    }

    /// Makes a document live. Compiles, so it takes a thread of its own.
    pub async fn publish(&self, document: Arc<Document>) -> Result<(), Vec<Finding>> {
        let gateway = self.gateway.clone();
        let published = tokio::task::spawn_blocking(move || gateway.publish(&document)).await;
        published.unwrap_or_else(|_| {
            Err(vec![Finding {
                path: "document".to_owned(),
                message: "compiling it failed".to_owned(),
            }])
        })
    }

    /// What `/readyz` tells of the servers.
    pub fn set_health(&self, probed: bool, servers: &[Status]) {
        let line = |status: &Status| ServerHealth {
            name: status.name.clone(),
            state: if status.state == "pending" {
                "probing"
            } else {
                status.state
            },
            detail: status.reason.clone(),
            tools: status.tools,
        };
        self.gateway.set_health(Health {
            probed,
            servers: servers.iter().map(line).collect(),
        });
    }

    /// Reads certificates again.
    pub fn reload_certificates(&self) {
        for error in self.gateway.reload_certificates() {
            tracing::error!(%error, "a certificate could not be read again; the one before is served");
        }
    }

    /// The addresses clients can connect to, with real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.gateway.addresses()
    }

    /// The admin address, with its real port.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.gateway.admin_address()
    }

    /// Stops accepting, lets calls under way finish, and ends.
    pub async fn drain(self, deadline: Duration) {
        // Publishing is over when this is called, so nobody else holds the gateway.
        if let Some(gateway) = Arc::into_inner(self.gateway) {
            match tokio::task::spawn_blocking(move || gateway.drain(deadline)).await {
                Ok(drained) if drained.cut > 0 => {
                    tracing::warn!(
                        connections = drained.cut,
                        "calls were still under way at the end of the drain"
                    );
                }
                Ok(_) => {}
                Err(_) => tracing::error!("the data plane died while it drained"),
            }
        }
    }
}

fn listeners(settings: &Settings) -> Result<Vec<Listener>, Stop> {
    let listener = |configured: &crate::config::Listener| {
        let tls = configured
            .tls
            .as_ref()
            .map(|files| ServerTls::load(&files.certificate, &files.key))
            .transpose();
        let tls = tls.map_err(|e| {
            Stop::new(
                Exit::Config,
                e.to_string(),
                "`listen` names certificate and key as PEM files",
            )
        })?;
        Ok(Listener {
            addr: configured.address,
            tls: tls.map(Arc::new),
        })
    };
    settings.listeners.iter().map(listener).collect()
}

fn refused(error: StartError) -> Stop {
    match error {
        StartError::Document(findings) => {
            let list: Vec<_> = findings.iter().map(ToString::to_string).collect();
            Stop::new(
                Exit::Config,
                format!("the configuration cannot be served: {}", list.join("; ")),
                "`ringway check` says more",
            )
        }
        StartError::Keys(fault) => Stop::new(
            Exit::Failure,
            format!("the session keys cannot be used: {fault}"),
            "mend or remove the file; sessions then begin anew",
        ),
        other => Stop::new(
            Exit::Failure,
            format!("the data plane did not start: {other}"),
            "`ringway doctor` looks at ports, limits and io_uring; --listen takes another address",
        ),
    }
}
