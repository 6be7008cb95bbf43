//! What goes wrong, one thing at a time. Each fault says of which server calls may fail while it lasts; many may not
//! let any call fail at all.

use super::{
    Scene,
    outcome::Server,
    stage::{StageError, Variant},
};
use crate::wire::Method;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use rustix::process::Signal;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::watch};

/// How long rules of misbehaviour are in force.
const RULES: Duration = Duration::from_millis(1000);
/// After a fault has ended, until calls must be right again: what was under way may still fail, and the gateway may
/// take a moment to find a restarted server.
const GRACE: Duration = Duration::from_millis(1500);
/// How long slow clients hold their connections.
const HOLD: Duration = Duration::from_millis(1500);
/// Connections of slow clients at once.
const SLOW_CLIENTS: usize = 50;

/// One kind of fault.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The upstream answers by these rules; calls may fail.
    Rules(&'static str, Server, &'static [&'static str]),
    /// The same, but no call may fail: it is slow, or healed.
    Harmless(&'static str, Server, &'static [&'static str]),
    /// The upstream answers nothing for a while.
    StallAll(Server),
    /// Its process is ended and started again.
    Restart(&'static str, Server, Signal),
    /// All its sessions are forgotten.
    ForgetSessions,
    /// Its lists are said to have changed.
    ListChanged(Server),
    /// The gateway's configuration changes.
    Reload(&'static str, Variant),
    /// Clients connect and send half a request.
    SlowClients,
}

/// Every fault, as often as it comes in one round.
const ROUND: &[Fault] = &[
    Fault::Rules(
        "resets",
        Server::Old,
        &["reset:at=mid,probability=0.2", "reset:probability=0.2"],
    ),
    Fault::Rules(
        "resets",
        Server::New,
        &["reset:at=mid,probability=0.2", "reset:probability=0.2"],
    ),
    Fault::Rules(
        "http errors",
        Server::Old,
        &["http_error:status=503,retry_after_s=1,probability=0.4"],
    ),
    Fault::Rules(
        "http errors",
        Server::New,
        &["http_error:status=500,probability=0.4"],
    ),
    Fault::Rules("closed amid bodies", Server::Old, &["close:probability=0.4"]),
    Fault::Rules("closed amid bodies", Server::New, &["close:probability=0.4"]),
    Fault::Rules(
        "garbage",
        Server::Old,
        &[
            "garbage_http:probability=0.1",
            "garbage_json:probability=0.1",
            "garbage_truncated:probability=0.1",
            "garbage_length_long:probability=0.1",
        ],
    ),
    Fault::Rules(
        "garbage",
        Server::New,
        &[
            "garbage_http:probability=0.1",
            "garbage_json:probability=0.1",
            "garbage_truncated:probability=0.1",
            "garbage_length_long:probability=0.1",
        ],
    ),
    Fault::Rules("sessions lost", Server::Old, &["session_404:probability=0.2"]),
    Fault::Rules(
        "streams reset",
        Server::NewH2,
        &["rst_stream:at=mid,probability=0.2", "rst_stream:probability=0.2"],
    ),
    Fault::Harmless("goaway", Server::NewH2, &["goaway:probability=0.05"]),
    Fault::Harmless(
        "slow answers",
        Server::Old,
        &[
            "stall:ms=300,probability=0.3",
            "trickle:bytes=64,ms=5,probability=0.2,tool=echo",
        ],
    ),
    Fault::Harmless(
        "slow answers",
        Server::New,
        &[
            "stall:ms=300,probability=0.3",
            "trickle:bytes=64,ms=5,probability=0.2,tool=echo",
        ],
    ),
    Fault::StallAll(Server::Old),
    Fault::StallAll(Server::New),
    Fault::Restart("kill", Server::Old, Signal::KILL),
    Fault::Restart("kill", Server::New, Signal::KILL),
    Fault::Restart("stop", Server::Old, Signal::TERM),
    Fault::Restart("stop", Server::New, Signal::TERM),
    Fault::ForgetSessions,
    Fault::ListChanged(Server::Old),
    Fault::ListChanged(Server::New),
    Fault::Reload("a server more", Variant::Extended),
    Fault::Reload("a server less", Variant::Plain),
    Fault::Reload("a broken file", Variant::Broken),
    Fault::SlowClients,
    Fault::SlowClients,
];

/// Injects faults until `stop`; how often each kind was.
pub async fn run(
    scene: Arc<Scene>,
    every: Duration,
    mut stop: watch::Receiver<bool>,
) -> Result<BTreeMap<String, u64>, StageError> {
    let mut rng = SmallRng::seed_from_u64(scene.seed);
    let mut counts = BTreeMap::new();
    let mut round: Vec<Fault> = Vec::new();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(counts),
            () = tokio::time::sleep(every) => {}
        }
        if round.is_empty() {
            round = ROUND.to_vec();
            round.shuffle(&mut rng);
        }
        if let Some(fault) = round.pop() {
            let name = fault.name();
            tracing::info!(fault = name, "injected");
            *counts.entry(name).or_default() += 1;
            inject(&scene, fault, &mut rng).await?;
        }
    }
}

impl Fault {
    fn name(self) -> String {
        match self {
            Self::Rules(what, server, _)
            | Self::Harmless(what, server, _)
            | Self::Restart(what, server, _) => {
                format!("{what}, {}", server.name())
            }
            Self::StallAll(server) => format!("stall, {}", server.name()),
            Self::ForgetSessions => "sessions forgotten, old".to_owned(),
            Self::ListChanged(server) => format!("lists changed, {}", server.name()),
            Self::Reload(what, _) => format!("reload: {what}"),
            Self::SlowClients => "slow clients".to_owned(),
        }
    }

    /// Whose calls may fail.
    fn hurts(self) -> Option<Server> {
        match self {
            Self::Rules(_, server, _) | Self::Restart(_, server, _) => Some(server),
            Self::ForgetSessions => Some(Server::Old),
            Self::Harmless(..)
            | Self::StallAll(_)
            | Self::ListChanged(_)
            | Self::Reload(..)
            | Self::SlowClients => None,
        }
    }
}

async fn inject(scene: &Scene, fault: Fault, rng: &mut SmallRng) -> Result<(), StageError> {
    let stage = &scene.stage;
    let window = fault.hurts().map(|server| scene.windows.open(server));
    match fault {
        Fault::Rules(_, server, rules) | Fault::Harmless(_, server, rules) => {
            let rules: Vec<crate::upstream::faults::Rule> = rules
                .iter()
                .map(|rule| rule.parse().map_err(StageError::Own))
                .collect::<Result<_, _>>()?;
            let orders = json!({ "faults": rules }).to_string();
            stage.control(server, Method::Post, "/faults", &orders).await?;
            tokio::time::sleep(RULES).await;
            stage.control(server, Method::Delete, "/faults", "").await?;
        }
        Fault::StallAll(server) => {
            let ms = rng.random_range(200..1500);
            let orders = json!({ "stall_all_ms": ms }).to_string();
            stage.control(server, Method::Post, "/faults", &orders).await?;
        }
        Fault::Restart(_, server, signal) => {
            let pause = Duration::from_millis(rng.random_range(0..500));
            stage.restart(server, signal, pause).await?;
        }
        Fault::ForgetSessions => {
            stage
                .control(Server::Old, Method::Delete, "/sessions", "")
                .await?;
        }
        Fault::ListChanged(server) => {
            let notice = json!({ "method": "notifications/tools/list_changed" }).to_string();
            stage.control(server, Method::Post, "/notify", &notice).await?;
        }
        Fault::Reload(_, variant) => {
            stage.configure(variant).await?;
            stage.signal_gateway(Signal::HUP);
        }
        Fault::SlowClients => slow_clients(scene, rng).await,
    }
    if let Some(window) = window {
        tokio::time::sleep(GRACE).await;
        scene.windows.close(window);
    }
    Ok(())
}

/// Connections that say nothing, half a head, or half a body; they leave without having read anything.
async fn slow_clients(scene: &Scene, rng: &mut SmallRng) {
    let addr = scene
        .stage
        .url()
        .trim_start_matches("http://")
        .trim_end_matches("/mcp");
    let request = concat!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n",
        "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n",
        "Content-Length: 1000\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,",
    );
    let mut held = Vec::new();
    for _ in 0..SLOW_CLIENTS {
        // A gateway that refuses them has a right to.
        if let Ok(mut tcp) = TcpStream::connect(addr).await {
            let part = rng.random_range(0..=request.len());
            _ = tcp.write_all(&request.as_bytes()[..part]).await;
            held.push(tcp);
        }
    }
    tokio::time::sleep(HOLD).await;
}
