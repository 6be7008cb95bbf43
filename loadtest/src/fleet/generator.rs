//! A generator: waits for a coordinator, runs its part, reports.

use super::{
    GREETING_MAX, GREETINGS_MAX, MESSAGE_BYTES_MAX, PROGRESS_EVERY, Part, Token,
    frame::{self, FrameError},
    greeting,
    message::{News, Order},
    part::Unpacked,
    token::hex,
};
use crate::{
    engine::StartSignal,
    report::{model::Report, progress::Progress},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

/// After this many failed accepts in a row there is something wrong with the machine, not with a client.
const ACCEPT_FAILURES_MAX: u32 = 100;
/// How long a new coordinator waits for the run before it to end.
const VACANCY_WAIT: Duration = Duration::from_secs(2);
/// Between two failed accepts: descriptors may become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs one part of a load. `Clone + Send`: each run has a thread of its own.
pub trait Engine: Clone + Send + 'static {
    /// Runs `part`, whose files lie in `base`, to its end, and blocks until then. The error is for people.
    fn run(&self, part: &Part, base: &Path, hooks: Hooks) -> Result<Report, String>;
}

/// How an engine is watched, started and ended.
#[derive(Debug)]
pub struct Hooks {
    /// Where it tells how it stands.
    pub progress: watch::Sender<Progress>,
    /// When it begins.
    pub start: StartSignal,
    /// Set when it is to end early.
    pub stop: Arc<AtomicBool>,
}

/// Serves coordinators, one run at a time, until `listener` fails for good.
pub async fn serve(listener: TcpListener, token: Token, engine: impl Engine) -> io::Result<()> {
    let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
    let vacancy = Arc::new(Semaphore::new(1));
    let mut failures = 0;
    loop {
        let place = Arc::clone(&greetings).acquire_owned().await;
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if failures >= ACCEPT_FAILURES_MAX => return Err(error),
            Err(_) => {
                failures += 1;
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        failures = 0;
        let (token, engine, vacancy) = (token.clone(), engine.clone(), Arc::clone(&vacancy));
        tokio::spawn(async move {
            let mut stream = stream;
            let vacant = async {
                // A run that has just reported is still putting its threads away.
                match timeout(VACANCY_WAIT, vacancy.acquire_owned()).await {
                    Ok(Ok(vacancy)) => Ok(vacancy),
                    _ => Err("is busy with another run".to_owned()),
                }
            };
            let greeted = timeout(GREETING_MAX, greeting::welcome(&mut stream, &token, vacant)).await;
            drop(place);
            match greeted {
                Ok(Ok(vacancy)) => {
                    tracing::info!("{from}: a run begins");
                    match attend(stream, engine).await {
                        Ok(()) => tracing::info!("{from}: the run is over"),
                        Err(why) => tracing::warn!("{from}: the run was given up: {why}"),
                    }
                    drop(vacancy);
                }
                Ok(Err(why)) => tracing::warn!("{from}: turned away: {why}"),
                Err(_) => tracing::warn!("{from}: turned away: no greeting in time"),
            }
        });
    }
}

/// One run.
async fn attend(stream: TcpStream, engine: impl Engine) -> Result<(), FrameError> {
    stream.set_nodelay(true)?;
    let (mut read, write) = stream.into_split();
    // The scenario follows the greeting at once.
    let order: Order = frame::read(&mut read, MESSAGE_BYTES_MAX).await?;
    let Order::Prepare(part) = order else {
        return Err(out_of_turn());
    };
    let (news, said) = mpsc::unbounded_channel();
    let (progress, shown) = watch::channel(Progress::default());
    let stop = Arc::new(AtomicBool::new(false));
    let (signal, is_ready, start) = StartSignal::new();
    let hooks = Hooks {
        progress,
        start: signal,
        stop: Arc::clone(&stop),
    };
    let done = news.clone();
    let run = std::thread::Builder::new()
        .name("fleet-run".to_owned())
        .spawn(move || {
            // A generator outlives a run that panics, and says so.
            let worked = catch_unwind(AssertUnwindSafe(|| work(&engine, &part, hooks)));
            let word = match worked {
                Ok(Ok(report)) => News::Done(Box::new(report)),
                Ok(Err(why)) => News::Failed { why },
                Err(_) => News::Failed {
                    why: "its run panicked; its own output says where".to_owned(),
                },
            };
            // The coordinator may have gone.
            let _ = done.send(word);
        })?;
    let readiness = news.clone();
    // Ends with the engine, which holds the other end.
    tokio::spawn(async move {
        if is_ready.await.is_ok() {
            let _ = readiness.send(News::Ready);
        }
    });
    let listening = tokio::spawn(hear(read, news, start, Arc::clone(&stop)));
    let spoken = speak(write, said, shown).await;
    // Whatever ended it: the engine ends too, and with it its thread.
    stop.store(true, Ordering::Relaxed);
    listening.abort();
    // Only then is there a vacancy again. A panic was caught above.
    let _ = tokio::task::spawn_blocking(move || run.join()).await;
    spoken
}

fn work(engine: &impl Engine, part: &Part, hooks: Hooks) -> Result<Report, String> {
    let mut mark = [0; 8];
    SystemRandom::new()
        .fill(&mut mark)
        .map_err(|_| "no randomness".to_owned())?;
    let unpacked =
        Unpacked::new(&part.files, &hex(&mark)).map_err(|e| format!("the scenario's files: {e}"))?;
    engine.run(part, unpacked.base(), hooks)
}

/// Takes orders until the coordinator goes; then the run stops.
async fn hear(
    mut read: OwnedReadHalf,
    news: mpsc::UnboundedSender<News>,
    start: oneshot::Sender<Instant>,
    stop: Arc<AtomicBool>,
) {
    let mut start = Some(start);
    loop {
        // Coordinators are silent for as long as a run takes; that they are gone is seen by the connection's end.
        let order = frame::read_within(&mut read, MESSAGE_BYTES_MAX, Duration::MAX).await;
        match order {
            Ok(Order::Ping) => drop(news.send(News::Pong)),
            Ok(Order::Start { in_us }) => {
                if let Some(start) = start.take() {
                    let _ = start.send(Instant::now() + Duration::from_micros(in_us));
                }
            }
            Ok(Order::Stop) => {
                stop.store(true, Ordering::Relaxed);
                // A run that waits for its start is given up.
                start = None;
            }
            Ok(Order::Prepare(_)) | Err(_) => {
                stop.store(true, Ordering::Relaxed);
                let why = "the coordinator is gone".to_owned();
                let _ = news.send(News::Failed { why });
                return;
            }
        }
    }
}

/// Tells the news as they come, and how the run stands about every second, until there is nothing more to tell.
async fn speak(
    mut write: OwnedWriteHalf,
    mut news: mpsc::UnboundedReceiver<News>,
    shown: watch::Receiver<Progress>,
) -> Result<(), FrameError> {
    let mut every = tokio::time::interval(PROGRESS_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let word = tokio::select! {
            word = news.recv() => word,
            _ = every.tick() => Some(News::Progress(Box::new(shown.borrow().clone()))),
        };
        let Some(word) = word else { return Ok(()) };
        let last = matches!(word, News::Done(_) | News::Failed { .. });
        frame::write(&mut write, &word, MESSAGE_BYTES_MAX).await?;
        if last {
            return Ok(());
        }
    }
}

fn out_of_turn() -> FrameError {
    FrameError::Garbled(<serde_json::Error as serde::de::Error>::custom(
        "an order out of turn",
    ))
}
