//! The soak: a gateway under mixed load while everything around it fails, and proof at the end that nothing leaked
//! and no answer was wrong.
//!
//! ```text
//! stage   two upstreams (children of ours), the gateway (the command given), its configuration
//!   ├ crowd    clients of both eras; every answer is verified
//!   ├ chaos    every few seconds one thing goes wrong; each says for how long calls of which server may fail
//!   └ vitals   memory, descriptors, threads and gauges of the gateway, every second
//! verdict all of it judged
//! ```
//!
//! A wrong answer (another's id, text or progress) is never allowed. A failure is allowed while a fault lasts that
//! explains it, and only for the server that the fault is about.

mod agent;
mod chaos;
mod crowd;
mod outcome;
mod stage;
mod verdict;
mod vitals;

use outcome::{Tally, Windows};
use stage::{Stage, StageError};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
pub use verdict::Verdict;
use vitals::Vitals;

/// After the last fault, clients call on for so long: nothing may fail any more.
const QUIET: Duration = Duration::from_secs(5);
/// How long the gateway may take to let go of everything once nobody calls: it keeps idle connections to servers for
/// 45 s.
const SETTLE_MAX: Duration = Duration::from_secs(90);

/// What a soak is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How long to load the gateway, in minutes.
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// Clients that call all the time.
    #[arg(long, default_value_t = 32)]
    pub clients: usize,
    /// Seconds between two faults.
    #[arg(long, default_value_t = 4.0)]
    pub fault_every_s: f64,
    /// Seed of all that is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// By how much resident memory may have grown between the first minute after warm-up and the last.
    #[arg(long, default_value_t = 16)]
    pub rss_growth_mib_max: u64,
    /// Keep configuration and logs in this directory.
    #[arg(long)]
    pub keep: Option<PathBuf>,
    /// Write the report as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// The command that starts the gateway, as `ringway up --json {config}` does: `{config}` becomes the path of
    /// the configuration, and its first line of output must be JSON with `url` and `admin`.
    #[arg(last = true, default_values = ["ringway", "up", "--json", "{config}"])]
    pub command: Vec<String>,
}

/// What all parts share.
struct Scene {
    stage: Stage,
    tally: Tally,
    windows: Windows,
    seed: u64,
}

/// Runs it; an error only when there was nothing to soak.
pub async fn run(options: &Options) -> Result<Verdict, StageError> {
    let time = Duration::try_from_secs_f64(options.minutes * 60.0)
        .map_err(|why| StageError::Input(format!("--minutes {}: {why}", options.minutes)))?;
    let every = Duration::try_from_secs_f64(options.fault_every_s)
        .map_err(|why| StageError::Input(format!("--fault-every-s {}: {why}", options.fault_every_s)))?;
    let scene = Arc::new(Scene {
        stage: Stage::set(options).await?,
        tally: Tally::default(),
        windows: Windows::default(),
        seed: options.seed,
    });
    let mut vitals = Vitals::begin(&scene).await?;
    eprintln!(
        "soak: {} for {time:?}; at the start {}",
        scene.stage.url(),
        vitals.first()
    );

    let began = Instant::now();
    let (stop_crowd, crowd_stops) = watch::channel(false);
    let (stop_chaos, chaos_stops) = watch::channel(false);
    let crowd = tokio::spawn(crowd::run(Arc::clone(&scene), options.clients, crowd_stops));
    let chaos = tokio::spawn(chaos::run(Arc::clone(&scene), every, chaos_stops));
    vitals.watch_until(&scene, began + time).await;

    stop_chaos.send_replace(true);
    let faults = chaos.await.map_err(StageError::task)??;
    scene.windows.quiet_from_now();
    vitals.watch_until(&scene, Instant::now() + QUIET).await;
    let loaded = began.elapsed();
    stop_crowd.send_replace(true);
    crowd.await.map_err(StageError::task)?;
    eprintln!("soak: the load has stopped; waiting until the gateway lets go of what it holds");
    vitals.settle(&scene, SETTLE_MAX).await;

    let upstreams = scene.stage.upstream_stats().await;
    let ended = scene.stage.end().await;
    Ok(Verdict::reach(
        &scene, options, vitals, faults, upstreams, ended, loaded,
    ))
}
