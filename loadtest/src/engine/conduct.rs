//! The conductor: starts the threads, gives them phases, hears their ticks, tells the watchers, and decides what
//! comes next in a search.

use super::{
    RunError, Watching,
    assemble::{self, Facts, Finding, StageFacts},
    meter::{Spent, Strain},
    phase::{Done, Phase, PhaseKind, Tick, Word},
    plan::Plan,
    record::{Counts, Tally, histogram, merge},
    schedule::{Segment, describe, segments},
    search::{Ended, Probe, Searcher, bears},
    standing::Held,
    thread::{self, Setup},
    timeline::{Timeline, Whole, seconds_between},
};
use crate::{
    report::{
        figures,
        model::Report,
        progress::{Brief, OperationProgress, Phase as Where, Progress},
    },
    scenario::{Arrivals, Load, Search},
};
use hdrhistogram::Histogram;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Between the order and the beginning of a phase, so that all threads begin together.
const LEAD: Duration = Duration::from_millis(20);

/// Runs a plan on as many threads as it asks for.
pub async fn conduct(plan: Arc<Plan>, watching: Watching) -> Result<Report, RunError> {
    let threads = plan.scenario.generator.threads;
    let (words, heard) = unbounded_channel();
    let mut orders = Vec::new();
    let mut handles = Vec::new();
    for thread in 0..threads {
        let (order, phases) = unbounded_channel();
        orders.push(order);
        let setup = Setup {
            plan: Arc::clone(&plan),
            thread,
            threads,
            words: words.clone(),
            phases,
            stop: Arc::clone(&watching.stop),
        };
        let handle = std::thread::Builder::new()
            .name(format!("generator-{thread}"))
            .spawn(move || thread::run(setup));
        handles.push(handle.map_err(|e| RunError::Generator(format!("no thread: {e}")))?);
    }
    drop(words);
    let mut conductor = Conductor {
        words: heard,
        orders,
        threads,
        operations: plan.operations.iter().map(|_| Tally::new()).collect(),
        stages: Vec::new(),
        lateness: histogram(),
        used: vec![Spent::default(); threads],
        timeline: Timeline::new(threads),
        before: vec![Counts::default(); plan.operations.len()],
        shown: Progress::default(),
        measures_from: Instant::now(),
        started: SystemTime::now(),
        watching,
        plan,
    };
    let saturation = conductor.play().await?;
    conductor.orders.clear();
    let mut held = Vec::new();
    while let Some(word) = conductor.words.recv().await {
        if let Word::Held(share) = word {
            held.push(*share);
        }
    }
    for handle in handles {
        handle
            .join()
            .map_err(|_| RunError::Generator("a thread panicked".to_owned()))?;
    }
    conductor.shown.phase = Where::Done;
    conductor.publish();
    Ok(conductor.report(saturation, &held))
}

struct Conductor {
    plan: Arc<Plan>,
    watching: Watching,
    words: UnboundedReceiver<Word>,
    orders: Vec<UnboundedSender<Phase>>,
    threads: usize,
    operations: Vec<Tally>,
    stages: Vec<StageFacts>,
    lateness: Histogram<u64>,
    used: Vec<Spent>,
    timeline: Timeline,
    /// Counts of the phases before this one.
    before: Vec<Counts>,
    shown: Progress,
    measures_from: Instant,
    started: SystemTime,
}

/// What one phase showed, over all threads.
struct Shown {
    stages: Vec<Tally>,
    lateness: Histogram<u64>,
    strain: Strain,
}

impl Conductor {
    async fn play(&mut self) -> Result<Option<Finding>, RunError> {
        let plan = Arc::clone(&self.plan);
        let scenario = &plan.scenario;
        let load = &scenario.load;
        self.shown = Progress {
            label: scenario.name.clone(),
            target: scenario.target.urls.join(" "),
            phase: Where::Preparing,
            planned_s: load.measured().map(|time| (time + load.warmup()).as_secs_f64()),
            stages: match load {
                Load::Open { steps, .. } => Some(steps.len()),
                Load::Closed { .. } => Some(1),
                Load::Search { .. } => None,
            },
            ..Progress::default()
        };
        self.publish();
        self.prepared().await?;
        let began = match self.watching.start.take() {
            None => Instant::now() + LEAD,
            Some(signal) => signal
                .wait()
                .await
                .ok_or_else(|| RunError::Generator("the run was given up before it began".to_owned()))?,
        };
        self.measures_from = began + load.warmup();
        let ahead = self.measures_from.saturating_duration_since(Instant::now());
        self.started = SystemTime::now() + ahead;
        match load {
            Load::Open {
                arrivals,
                warmup,
                steps,
            } => {
                let loads = steps
                    .iter()
                    .map(|step| (describe(step), Some(step.rate)))
                    .collect();
                let phase = Phase {
                    began,
                    segments: segments(*warmup, steps),
                    kind: PhaseKind::Open(*arrivals),
                };
                self.phase(phase, loads).await?;
                Ok(None)
            }
            Load::Closed {
                concurrency,
                think,
                warmup,
                duration,
            } => {
                let segment = |stage, length| Segment {
                    stage,
                    length,
                    from: 0.0,
                    to: 0.0,
                };
                let phase = Phase {
                    began,
                    segments: vec![segment(None, *warmup), segment(Some(0), *duration)],
                    kind: PhaseKind::Closed(*concurrency, *think),
                };
                self.phase(phase, vec![(format!("{concurrency} callers"), None)])
                    .await?;
                Ok(None)
            }
            Load::Search {
                arrivals,
                warmup,
                search,
            } => self.search(began, *arrivals, *warmup, search).await.map(Some),
        }
    }

    async fn search(
        &mut self,
        began: Instant,
        arrivals: Arrivals,
        warmup: Duration,
        search: &Search,
    ) -> Result<Finding, RunError> {
        let mut searcher = Searcher::new(search.clone());
        let mut began = began;
        let mut settle = warmup;
        let mut peak_per_s = 0.0f64;
        let mut limited = String::new();
        while let Some(rate) = searcher.next() {
            let stage = self.stages.len();
            let segment = |stage, length| Segment {
                stage,
                length,
                from: rate,
                to: rate,
            };
            // Stages are numbered within their phase.
            let phase = Phase {
                began,
                segments: vec![segment(None, settle), segment(Some(0), search.probe)],
                kind: PhaseKind::Open(arrivals),
            };
            let shown = self.phase(phase, vec![(figures::rate(rate), Some(rate))]).await?;
            if self.watching.stop.load(Ordering::Relaxed) {
                break;
            }
            let answered_per_s = self.stages[stage].answered_per_s();
            peak_per_s = peak_per_s.max(answered_per_s);
            let tally = &shown.stages[0];
            let held = bears(search, rate, answered_per_s, tally);
            let generator = assemble::limits(&self.plan.scenario, &shown.lateness, shown.strain, true);
            searcher.note(match (held, generator.is_empty()) {
                // Lateness shows in the latency: a rate that was borne in spite of it was borne.
                (true, _) => Probe::Borne,
                (false, true) => Probe::Failed,
                (false, false) => {
                    limited = generator;
                    Probe::Limited
                }
            });
            settle = search.settle;
            began = Instant::now() + LEAD;
        }
        let ended = searcher.ended();
        Ok(Finding {
            sustained_per_s: searcher.borne(),
            peak_per_s,
            ended,
            limited: if ended == Ended::GeneratorLimited {
                limited
            } else {
                String::new()
            },
        })
    }

    /// Waits for every thread to be connected.
    async fn prepared(&mut self) -> Result<(), RunError> {
        let mut failures = Vec::new();
        let mut connected = 0;
        for _ in 0..self.threads {
            match self.words.recv().await {
                Some(Word::Ready {
                    connected: n,
                    failure,
                }) => {
                    connected += n;
                    failures.extend(failure);
                }
                Some(Word::Broken(why)) => return Err(RunError::Generator(why)),
                _ => return Err(RunError::Generator("a thread ended before it began".to_owned())),
            }
        }
        match failures.into_iter().next() {
            Some(why) if connected == 0 => {
                Err(RunError::Unreachable(format!("{}: {why}", self.shown.target)))
            }
            Some(why) => {
                tracing::warn!("not everything is connected or greeted before the load begins: {why}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Runs one phase and adds it to everything counted.
    async fn phase(&mut self, phase: Phase, loads: Vec<(String, Option<f64>)>) -> Result<Shown, RunError> {
        let windows = phase.windows();
        let closed = matches!(phase.kind, PhaseKind::Closed(..));
        let end = phase.end();
        for order in &self.orders {
            order
                .send(phase.clone())
                .map_err(|_| RunError::Generator("a thread is gone".to_owned()))?;
        }
        let mut shown = Shown {
            stages: windows.iter().map(|_| Tally::new()).collect(),
            lateness: histogram(),
            strain: Strain::default(),
        };
        let mut done = 0;
        while done < self.threads {
            match self.words.recv().await {
                Some(Word::Tick(tick)) => self.hear(*tick, &windows, &loads, end),
                Some(Word::Done(share)) => {
                    self.add(&share, &mut shown);
                    done += 1;
                }
                Some(Word::Broken(why)) => return Err(RunError::Generator(why)),
                Some(Word::Ready { .. } | Word::Held(_)) => {}
                None => {
                    return Err(RunError::Generator(
                        "a thread ended in the middle of a phase".to_owned(),
                    ));
                }
            }
        }
        self.timeline.flush(self.measures_from);
        merge(&mut self.lateness, &shown.lateness);
        let since = |at: Instant| seconds_between(self.measures_from, at);
        let ran_until = Instant::now();
        for ((tally, (_, from, to)), (load, offered_per_s)) in shown.stages.iter().zip(&windows).zip(loads) {
            self.stages.push(StageFacts {
                load,
                offered_per_s: offered_per_s.filter(|_| !closed),
                from_s: since(*from),
                // A run that was stopped has shorter stages, or none of a stage at all.
                to_s: since((*to).min(ran_until)).max(since(*from)),
                tally: tally.clone(),
            });
        }
        Ok(shown)
    }

    fn add(&mut self, share: &Done, shown: &mut Shown) {
        for (all, own) in self.operations.iter_mut().zip(&share.record.operations) {
            all.merge(own);
        }
        for (all, own) in shown.stages.iter_mut().zip(&share.record.stages) {
            all.merge(own);
        }
        for (all, own) in self.before.iter_mut().zip(&share.record.counts) {
            all.merge(own);
        }
        merge(&mut shown.lateness, share.lateness());
        shown.strain = shown.strain.worse(share.spent.strain());
        if let Some(used) = self.used.get_mut(share.thread) {
            used.add(share.spent);
        }
    }

    /// Adds one thread's second; when all have told of it, keeps and shows it.
    fn hear(
        &mut self,
        tick: Tick,
        windows: &[(usize, Instant, Instant)],
        loads: &[(String, Option<f64>)],
        end: Instant,
    ) {
        let Some((at, second)) = self.timeline.hear(&tick, self.measures_from) else {
            return;
        };
        let now = at + Duration::from_secs(1);
        let stage = windows
            .iter()
            .position(|(_, from, to)| (*from..*to).contains(&at));
        self.shown.phase = match stage {
            Some(_) => Where::Measuring,
            None if now > end => Where::Draining,
            None => Where::Warmup,
        };
        let load = stage
            .or(windows.len().checked_sub(1))
            .and_then(|stage| loads.get(stage));
        self.shown.load = load.map(|(load, _)| load.clone()).unwrap_or_default();
        self.shown.stage = stage.map_or(0, |stage| self.stages.len() + stage + 1);
        self.show(&second, now);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "calls of one second lie far below 2^53"
    )]
    fn show(&mut self, pending: &Whole, now: Instant) {
        let plan = Arc::clone(&self.plan);
        let began = self.measures_from.checked_sub(plan.scenario.load.warmup());
        let shown = &mut self.shown;
        shown.elapsed_s = began.map_or(0.0, |began| seconds_between(began, now));
        shown.offered_per_s = pending.second.due as f64;
        shown.achieved_per_s = pending.second.ok as f64;
        shown.in_flight = pending.in_flight;
        shown.waiting = pending.waiting;
        shown.connections = pending.connections;
        shown.last = Brief::of(&pending.second.latency);
        // Of finished phases exactly; of the one that runs, its last second stands for it.
        let mut overall = pending.second.latency.clone();
        for operation in &self.operations {
            merge(&mut overall, &operation.latency);
        }
        shown.overall = Brief::of(&overall);
        shown.busiest_thread = pending.strain.busy;
        let open = !matches!(plan.scenario.load, Load::Closed { .. });
        shown.limited =
            !assemble::limits(&plan.scenario, &pending.second.lateness, pending.strain, open).is_empty();
        shown.operations = plan
            .scenario
            .operations
            .iter()
            .zip(self.before.iter().zip(&pending.counts))
            .map(|(operation, (before, own))| {
                let mut counts = before.clone();
                counts.merge(own);
                OperationProgress {
                    name: operation.name.clone(),
                    method: operation.action.method().to_owned(),
                    subject: operation.action.subject().map(str::to_owned),
                    due: counts.due,
                    ok: counts.ok,
                    errors: counts
                        .errors
                        .iter()
                        .map(|(why, n)| (why.to_string(), *n))
                        .collect(),
                    bytes_out: counts.bytes_out,
                    bytes_in: counts.bytes_in,
                    latency: counts.latency,
                    service: counts.service,
                }
            })
            .collect();
        self.publish();
    }

    fn publish(&self) {
        self.watching.progress.send_replace(self.shown.clone());
    }

    fn report(self, saturation: Option<Finding>, held: &[Held]) -> Report {
        let unix = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        assemble::report(Facts {
            scenario: &self.plan.scenario,
            revision: &self.plan.dialect.revision,
            started_unix: unix.as_secs_f64(),
            operations: &self.operations,
            stages: &self.stages,
            timeline: self.timeline.into_moments(),
            lateness: &self.lateness,
            strain: self
                .used
                .iter()
                .fold(Strain::default(), |worst, used| worst.worse(used.strain())),
            saturation,
            held,
        })
    }
}
