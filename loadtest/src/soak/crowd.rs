//! The clients: each kind does one thing again and again until it is told to stop.

use super::{
    Scene,
    agent::{Agent, Expected, want},
    outcome::{Outcome, Server},
};
use crate::wire::{Abandon, HttpChoice, Target, TargetOptions, Want};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use ringway_proto::revision::Era;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::Instant};

/// Longest pause between two calls of a client.
const PAUSE_MS_MAX: u64 = 40;
/// After a failure, so that a server that is away is not asked thousands of times.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// How fast a slow reader reads; 1 MiB takes it 2 s.
const SLOW_BYTES_PER_S: u32 = 512 << 10;
/// Tools that every server has.
const TOOLS: [&str; 6] = ["echo", "sized", "sleep", "progress", "fail", "error"];

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Caller,
    Streamer,
    SlowReader,
    Canceller,
    Churner,
    Lister,
    Listener,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Streamer => "streamer",
            Self::SlowReader => "slow reader",
            Self::Canceller => "canceller",
            Self::Churner => "churner",
            Self::Lister => "lister",
            Self::Listener => "listener",
        }
    }
}

/// What client `n` is. Half of any sixteen are plain callers.
fn role(n: usize) -> Kind {
    match n % 16 {
        0..8 => Kind::Caller,
        8 | 9 => Kind::Streamer,
        10 => Kind::SlowReader,
        11 => Kind::Canceller,
        12 | 13 => Kind::Churner,
        14 => Kind::Lister,
        _ => Kind::Listener,
    }
}

/// Runs them all until `stop`.
pub async fn run(scene: Arc<Scene>, clients: usize, stop: watch::Receiver<bool>) {
    let mut all = JoinSet::new();
    for n in 0..clients {
        all.spawn(client(Arc::clone(&scene), n, stop.clone()));
    }
    while let Some(ended) = all.join_next().await {
        if let Err(why) = ended {
            let what = Outcome::Wrong(format!("the soak itself: {why}"));
            scene
                .tally
                .note(&scene.windows, "soak", None, Instant::now(), what);
        }
    }
}

async fn client(scene: Arc<Scene>, n: usize, stop: watch::Receiver<bool>) {
    let mut rng = SmallRng::seed_from_u64(scene.seed.wrapping_add(n as u64));
    let kind = role(n);
    // Both eras, and of the modern one both versions of HTTP, in every kind: which one changes with every sixteen.
    let era = if (n + n / 16).is_multiple_of(2) {
        Era::Modern
    } else {
        Era::Legacy
    };
    let http2 = era == Era::Modern && n % 4 == 2;
    let options = TargetOptions {
        http: if http2 {
            HttpChoice::Http2
        } else {
            HttpChoice::Http1
        },
        ..TargetOptions::default()
    };
    let target = match Target::resolve(scene.stage.url(), &options).await {
        Ok(target) => target,
        Err(why) => {
            let what = Outcome::Broken(why.to_string());
            return scene
                .tally
                .note(&scene.windows, kind.name(), None, Instant::now(), what);
        }
    };
    let mut life = 0u64;
    let mut agent = Agent::new(&target, era, n as u64);
    while !*stop.borrow() {
        let began = Instant::now();
        let mut server = None;
        let mut outcome = agent.open().await;
        if outcome == Outcome::Right {
            let chosen = Server::ALL[rng.random_range(0..Server::ALL.len())];
            (server, outcome) = turn(kind, &mut agent, chosen, &mut rng).await;
        }
        let pause = match outcome {
            Outcome::Right => Duration::from_millis(rng.random_range(0..PAUSE_MS_MAX)),
            _ => AFTER_FAILURE,
        };
        scene
            .tally
            .note(&scene.windows, kind.name(), server, began, outcome);
        if kind == Kind::Churner && rng.random_range(0..5) == 0 {
            let began = Instant::now();
            let outcome = agent.close().await;
            scene
                .tally
                .note(&scene.windows, kind.name(), None, began, outcome);
            life += 1;
            agent = Agent::new(&target, era, (life << 16) + n as u64);
        }
        tokio::time::sleep(pause).await;
    }
}

/// One thing that this kind of client does; which server it was about.
async fn turn(
    kind: Kind,
    agent: &mut Agent,
    server: Server,
    rng: &mut SmallRng,
) -> (Option<Server>, Outcome) {
    let outcome = match kind {
        Kind::Caller | Kind::Churner => call(agent, server, rng).await,
        Kind::Streamer => {
            let text = format!("end of {:016x}", rng.random::<u64>());
            let arguments = json!({ "steps": rng.random_range(1..20), "interval_ms": rng.random_range(0..20), "text": text });
            agent
                .call(server, "progress", arguments, &Expected::Text(text), &want())
                .await
        }
        Kind::SlowReader => {
            let bytes = rng.random_range(64 << 10..1 << 20);
            let slow = Want {
                read_bytes_per_s: Some(SLOW_BYTES_PER_S),
                ..want()
            };
            agent
                .call(
                    server,
                    "sized",
                    json!({ "bytes": bytes }),
                    &Expected::Sized(bytes),
                    &slow,
                )
                .await
        }
        Kind::Canceller => cancel(agent, server, rng).await,
        Kind::Lister => return (None, list(agent, rng).await),
        Kind::Listener => {
            let time = Duration::from_millis(rng.random_range(50..3000));
            return (
                None,
                agent
                    .listen(time)
                    .await
                    .map_or_else(|outcome| outcome, |_| Outcome::Right),
            );
        }
    };
    (Some(server), outcome)
}

async fn call(agent: &mut Agent, server: Server, rng: &mut SmallRng) -> Outcome {
    match rng.random_range(0..100) {
        0..70 => {
            // Some escapes, so that texts are not copied by luck.
            let text = format!(
                "\"{:016x}\" \\ \n\u{e9} {}",
                rng.random::<u64>(),
                "x".repeat(rng.random_range(0..400))
            );
            agent
                .call(
                    server,
                    "echo",
                    json!({ "text": text }),
                    &Expected::Text(text),
                    &want(),
                )
                .await
        }
        70..90 => sized(agent, server, 296).await,
        90..97 => sized(agent, server, 64 << 10).await,
        97 => sized(agent, server, 1 << 20).await,
        98 => {
            agent
                .call(server, "fail", json!({}), &Expected::Failed, &want())
                .await
        }
        _ => {
            agent
                .call(
                    server,
                    "error",
                    json!({ "code": -32050 }),
                    &Expected::Error(-32050),
                    &want(),
                )
                .await
        }
    }
}

async fn sized(agent: &mut Agent, server: Server, bytes: usize) -> Outcome {
    agent
        .call(
            server,
            "sized",
            json!({ "bytes": bytes }),
            &Expected::Sized(bytes),
            &want(),
        )
        .await
}

/// Walks away from a call that waits, or (older era, every other time) says that it is cancelled.
async fn cancel(agent: &mut Agent, server: Server, rng: &mut SmallRng) -> Outcome {
    let (tool, arguments) = match rng.random::<bool>() {
        true => ("sleep", json!({ "ms": 5000 })),
        false => ("progress", json!({ "steps": 500, "interval_ms": 10 })),
    };
    let after = Duration::from_millis(rng.random_range(1..60));
    let mut beside = agent.beside();
    let id = agent.next_id();
    let said = beside.is_open() && agent.is_legacy() && rng.random::<bool>();
    if !said {
        let leaves = Want {
            abandon: Abandon::After(after),
            ..want()
        };
        return agent
            .call(server, tool, arguments, &Expected::Anything, &leaves)
            .await;
    }
    // A gateway that loses the message would let the call run to its end; the client leaves then, too.
    let waits = Want {
        abandon: Abandon::After(Duration::from_secs(8)),
        ..want()
    };
    let saying = async {
        tokio::time::sleep(after).await;
        beside
            .notify("notifications/cancelled", json!({ "requestId": id }))
            .await
    };
    let call = agent.call(server, tool, arguments, &Expected::Anything, &waits);
    match tokio::join!(call, saying) {
        (Outcome::Right, said) => said,
        (called, _) => called,
    }
}

/// Lists must hold every tool of every server at any time: a server that is away stays listed.
async fn list(agent: &mut Agent, rng: &mut SmallRng) -> Outcome {
    let (method, key) = match rng.random_range(0..4) {
        0 => ("resources/list", "resources"),
        1 => ("prompts/list", "prompts"),
        _ => ("tools/list", "tools"),
    };
    let result = match agent.ask(method, json!({})).await {
        Ok(result) => result,
        Err(outcome) => return outcome,
    };
    let Some(listed) = result[key].as_array() else {
        return Outcome::Wrong(format!("{method} without {key}"));
    };
    if key == "tools" {
        let has = |name: &str| listed.iter().any(|tool| tool["name"] == name);
        for server in Server::ALL {
            if let Some(missing) = TOOLS
                .iter()
                .find(|tool| !has(&format!("{}__{tool}", server.name())))
            {
                return Outcome::Wrong(format!("tools/list lacks {}__{missing}", server.name()));
            }
        }
    }
    Outcome::Right
}
