//! The coordinator: gives each generator its part, has them begin together, and makes one report of theirs.

use super::{
    File, GENERATORS_MAX, GREETING_MAX, MESSAGE_BYTES_MAX, MergeError, PINGS, Part, START_LEAD, STOP_MAX,
    Token,
    frame::{self, FrameError},
    greeting::{self, Unwelcome},
    live::together,
    merge,
    message::{News, Order},
};
use crate::report::{model::Report, progress::Progress};
use futures_util::future::{join_all, try_join_all};
use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::timeout,
};

/// A distributed run.
#[derive(Debug)]
pub struct Orders {
    /// `host:port` of each generator.
    pub generators: Vec<String>,
    /// What they know too.
    pub token: Token,
    /// TOML, and the files it names; see [`super::parcel`].
    pub scenario: String,
    /// See `scenario`.
    pub files: Vec<File>,
    /// Generator n begins n times this later: evenly spaced calls of all generators then fall between each other
    /// rather than together. One call's gap at the whole rate.
    pub stagger: Duration,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The orders themselves.
    #[error("{0}")]
    Orders(String),
    /// Generators that cannot be reached, or that refuse; before anything was called.
    #[error("{}", lines(.0))]
    Refused(Vec<Problem>),
    /// One that could not run its part.
    #[error("generator {0}")]
    Failed(Problem),
    /// One that was lost on the way. What the others measured is not the load that was asked for.
    #[error("generator {0}; the run is void, the other generators were stopped")]
    Lost(Problem),
    /// Their reports do not fit together.
    #[error("{0}")]
    Merge(#[from] MergeError),
}

/// What happened to which generator.
#[derive(Clone, Debug)]
pub struct Problem {
    /// As given.
    pub generator: String,
    /// For people.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.generator, self.what)
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("generator {problem}"))
        .collect();
    lines.join("\n")
}

/// Drives generators through one run. `stop`: set to end it early; what was measured until then is reported.
pub async fn coordinate(
    orders: &Orders,
    progress: &watch::Sender<Progress>,
    stop: &AtomicBool,
) -> Result<Report, FleetError> {
    check(&orders.generators)?;
    let mut peers = greet_all(orders).await?;
    let board = Board::new(peers.len(), progress);
    try_join_all(peers.iter_mut().map(|peer| peer.prepare(orders, &board, stop))).await?;
    let trips = try_join_all(peers.iter_mut().map(|peer| peer.round_trip(&board))).await?;
    // Measured from one moment, so that the order in which they are told does not matter.
    let at = Instant::now() + START_LEAD;
    let begun = peers.iter_mut().zip(trips).map(|(peer, trip)| {
        let at = at + orders.stagger * u32::try_from(peer.index).unwrap_or_default();
        peer.start(at, trip)
    });
    try_join_all(begun).await?;
    let reports = try_join_all(peers.iter_mut().map(|peer| peer.finish(&board, stop))).await?;
    Ok(merge(&reports)?)
}

fn check(generators: &[String]) -> Result<(), FleetError> {
    let twice = generators
        .iter()
        .enumerate()
        .find(|(at, name)| generators[..*at].contains(name));
    let wrong = match (generators.len(), twice) {
        (0, _) => "no generators are given".to_owned(),
        (n, _) if n > GENERATORS_MAX => format!("{n} generators are given; {GENERATORS_MAX} is the most"),
        (_, Some((_, name))) => format!("generator {name} is given twice"),
        _ => return Ok(()),
    };
    Err(FleetError::Orders(wrong))
}

async fn greet_all(orders: &Orders) -> Result<Vec<Peer>, FleetError> {
    let greeted = join_all(orders.generators.iter().map(|name| greet(name, &orders.token))).await;
    let mut peers = Vec::new();
    let mut problems = Vec::new();
    for (index, (name, greeted)) in orders.generators.iter().zip(greeted).enumerate() {
        match greeted {
            Ok(stream) => {
                let (read, write) = stream.into_split();
                peers.push(Peer {
                    name: name.clone(),
                    index,
                    read,
                    write,
                });
            }
            Err(what) => problems.push(Problem {
                generator: name.clone(),
                what,
            }),
        }
    }
    match problems.is_empty() {
        true => Ok(peers),
        false => Err(FleetError::Refused(problems)),
    }
}

async fn greet(name: &str, token: &Token) -> Result<TcpStream, String> {
    let late = |doing: &str| format!("{doing} took longer than {} s", GREETING_MAX.as_secs());
    let mut stream = timeout(GREETING_MAX, TcpStream::connect(name))
        .await
        .map_err(|_| late("connecting"))?
        .map_err(|e| format!("cannot be reached: {e}"))?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    match timeout(GREETING_MAX, greeting::claim(&mut stream, token)).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(Unwelcome::Frame(FrameError::TooLarge { .. } | FrameError::Garbled(_)))) => {
            Err("is no generator: it speaks something else".to_owned())
        }
        Ok(Err(why)) => Err(why.to_string()),
        Err(_) => Err(late("the greeting")),
    }
}

/// How all generators stand.
struct Board<'p> {
    latest: Mutex<Vec<Progress>>,
    shown: &'p watch::Sender<Progress>,
}

impl<'p> Board<'p> {
    fn new(peers: usize, shown: &'p watch::Sender<Progress>) -> Self {
        Self {
            latest: Mutex::new(vec![Progress::default(); peers]),
            shown,
        }
    }

    fn note(&self, index: usize, progress: Progress) {
        // A panic while it was held leaves at worst an old state.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = latest.get_mut(index) {
            *place = progress;
        }
        let _ = self.shown.send_replace(together(&latest));
    }
}

/// One generator, greeted.
struct Peer {
    name: String,
    index: usize,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
}

impl Peer {
    /// Gives it its part and waits until it is ready.
    async fn prepare(
        &mut self,
        orders: &Orders,
        board: &Board<'_>,
        stop: &AtomicBool,
    ) -> Result<(), FleetError> {
        let part = Part {
            scenario: orders.scenario.clone(),
            files: orders.files.clone(),
            index: self.index,
            of: orders.generators.len(),
        };
        self.say(&Order::Prepare(Box::new(part))).await?;
        loop {
            if stop.load(Ordering::Relaxed) {
                let what = "the run was stopped before it began".to_owned();
                return Err(FleetError::Orders(what));
            }
            match self.hear(board).await? {
                None => {}
                Some(News::Ready) => return Ok(()),
                Some(other) => return Err(self.unexpected(other)),
            }
        }
    }

    /// The shortest of some round trips.
    async fn round_trip(&mut self, board: &Board<'_>) -> Result<Duration, FleetError> {
        let mut shortest = Duration::MAX;
        for _ in 0..PINGS {
            let asked = Instant::now();
            self.say(&Order::Ping).await?;
            loop {
                match self.hear(board).await? {
                    None => {}
                    Some(News::Pong) => break,
                    Some(other) => return Err(self.unexpected(other)),
                }
            }
            shortest = shortest.min(asked.elapsed());
        }
        Ok(shortest)
    }

    /// Has it begin at `at`.
    async fn start(&mut self, at: Instant, round_trip: Duration) -> Result<(), FleetError> {
        let left = at
            .saturating_duration_since(Instant::now())
            .saturating_sub(round_trip / 2);
        let in_us = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        self.say(&Order::Start { in_us }).await
    }

    /// Waits for its report.
    async fn finish(&mut self, board: &Board<'_>, stop: &AtomicBool) -> Result<(String, Report), FleetError> {
        let mut stopping: Option<Instant> = None;
        loop {
            if stopping.is_none() && stop.load(Ordering::Relaxed) {
                self.say(&Order::Stop).await?;
                stopping = Some(Instant::now() + STOP_MAX);
            }
            if stopping.is_some_and(|until| Instant::now() > until) {
                return Err(self.lost("did not stop when told to".to_owned()));
            }
            // It speaks every second, so an order to stop is seen as often.
            match self.hear(board).await? {
                None => {}
                Some(News::Done(report)) => return Ok((self.name.clone(), *report)),
                Some(other) => return Err(self.unexpected(other)),
            }
        }
    }

    async fn say(&mut self, order: &Order) -> Result<(), FleetError> {
        let said = frame::write(&mut self.write, order, MESSAGE_BYTES_MAX).await;
        said.map_err(|why| match why {
            FrameError::TooLarge { .. } => {
                FleetError::Orders(format!("the scenario with its files is {why}"))
            }
            why => self.lost(format!("was lost: {why}")),
        })
    }

    /// The next news; none where it was how it stands, which is noted.
    async fn hear(&mut self, board: &Board<'_>) -> Result<Option<News>, FleetError> {
        match frame::read(&mut self.read, MESSAGE_BYTES_MAX).await {
            Ok(News::Progress(progress)) => {
                board.note(self.index, *progress);
                Ok(None)
            }
            Ok(news) => Ok(Some(news)),
            Err(why) => Err(self.lost(format!("was lost: {why}"))),
        }
    }

    /// What came instead of what was waited for.
    fn unexpected(&self, news: News) -> FleetError {
        match news {
            News::Failed { why } => FleetError::Failed(Problem {
                generator: self.name.clone(),
                what: why,
            }),
            _ => self.lost("spoke out of turn".to_owned()),
        }
    }

    fn lost(&self, what: String) -> FleetError {
        FleetError::Lost(Problem {
            generator: self.name.clone(),
            what,
        })
    }
}
