//! One generator thread: a runtime of its own, its share of lanes and clients, and the phases it is told to run.

use super::{
    client::Client,
    flow::Flow,
    lane::{Common, Lane, Order},
    line::Line,
    meter::{Meter, Usage},
    pace::Pace,
    phase::{Done, Phase, PhaseKind, Word},
    plan::Plan,
    record::Record,
    schedule::Schedule,
    standing,
    tell::{Teller, Ticks},
};
use crate::{mcp::Failing, scenario::Arrivals, wire::HttpChoice};
use rand::{SeedableRng as _, rngs::SmallRng};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    task::spawn_local,
};

/// Tasks polled between two looks at the sockets: a call on its way shall not wait behind sixty others.
const EVENT_INTERVAL: u32 = 16;
/// What goodbyes may take, all together: the run is over and somebody waits.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// After an order to stop, calls under way get this long.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// A lane of a closed loop whose call could not even connect pauses so long: a dead target is not to be hammered.
const BACK_OFF: Duration = Duration::from_millis(20);

/// What a thread is made of.
#[derive(Debug)]
pub struct Setup {
    /// What all threads share.
    pub plan: Arc<Plan>,
    /// Its number.
    pub thread: usize,
    /// How many there are.
    pub threads: usize,
    /// What it says, and to whom.
    pub words: UnboundedSender<Word>,
    /// What it is told; closed when there is nothing more.
    pub phases: UnboundedReceiver<Phase>,
    /// Set when the run is to end early.
    pub stop: Arc<AtomicBool>,
}

/// The thread's life.
pub fn run(setup: Setup) {
    let words = setup.words.clone();
    if let Err(why) = live(setup) {
        // Nobody listens any more only when the run is given up.
        let _ = words.send(Word::Broken(why));
    }
}

fn live(setup: Setup) -> Result<(), String> {
    pin(&setup)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build_local(LocalOptions::default())
        .map_err(|e| format!("no runtime: {e}"))?;
    runtime.block_on(async {
        let mut setup = setup;
        let thread = Thread::new(&setup)?;
        let (connected, failure) = thread.prepare().await;
        let standing = standing::Standing::open(&thread.common, setup.thread, setup.threads).await;
        let _ = setup.words.send(Word::Ready { connected, failure });
        while let Some(phase) = setup.phases.recv().await {
            let done = thread
                .phase(phase, &setup)
                .await
                .map_err(|e| format!("the pacing timer failed: {e}"))?;
            let _ = setup.words.send(Word::Done(Box::new(done)));
        }
        let _ = setup.words.send(Word::Held(Box::new(standing.close())));
        let _ = tokio::time::timeout(FAREWELL_MAX, thread.farewells()).await;
        Ok(())
    })
}

fn pin(setup: &Setup) -> Result<(), String> {
    let cpus = &setup.plan.scenario.generator.cpus;
    if cpus.is_empty() {
        return Ok(());
    }
    let cpu = cpus[setup.thread % cpus.len()];
    if cpu >= rustix::thread::CpuSet::MAX_CPU {
        return Err(format!("there is no CPU {cpu}"));
    }
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).map_err(|e| format!("CPU {cpu} cannot be had: {e}"))
}

struct Thread {
    common: Rc<Common>,
    flow: Rc<Flow>,
    record: Rc<RefCell<Record>>,
    lanes: Vec<Rc<tokio::sync::Mutex<Lane>>>,
    clients: Rc<Vec<Client>>,
    pace: Rc<Pace>,
}

impl Thread {
    fn new(setup: &Setup) -> Result<Self, String> {
        let plan = &setup.plan;
        let scenario = &plan.scenario;
        let (thread, threads) = (setup.thread, setup.threads);
        let common = Rc::new(Common {
            plan: Arc::clone(plan),
            random: RefCell::new(SmallRng::seed_from_u64(
                scenario.generator.seed.wrapping_add(thread as u64),
            )),
            // Ids begin at 1: some servers take 0 for none.
            next_id: Cell::new(thread as u64 + 1),
            id_step: threads as u64,
            connections: Cell::new(0),
        });
        let streams = match scenario.target.http {
            HttpChoice::Http2 => scenario.connections.streams,
            HttpChoice::Http1 | HttpChoice::Auto => 1,
        };
        let mut lines = Vec::new();
        for number in (thread..scenario.connections.count).step_by(threads) {
            let target = number % plan.targets.len();
            lines.push(Rc::new(Line::new(plan.targets[target].clone(), target)));
        }
        // Stream by stream over all lines, so that the idle lanes in front lie on different connections.
        let lanes: Vec<_> = (0..streams)
            .flat_map(|_| &lines)
            .map(|line| {
                Rc::new(tokio::sync::Mutex::new(Lane::new(
                    Rc::clone(&common),
                    Rc::clone(line),
                )))
            })
            .collect();
        let count = scenario.client_count().max(threads);
        let clients = (thread..count)
            .step_by(threads)
            .map(|number| Client::new(number, &scenario.clients, plan.dialect.era))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| e.to_string())?;
        let flow = Flow::new(
            lanes.len(),
            scenario.calls.waiting_max,
            thread as u64,
            threads as u64,
        );
        Ok(Self {
            flow: Rc::new(flow),
            record: Rc::new(RefCell::new(Record::new(scenario.operations.len(), Vec::new()))),
            lanes,
            clients: Rc::new(clients),
            pace: Rc::new(Pace::new(scenario.generator.busy_poll).map_err(|e| format!("no timer: {e}"))?),
            common,
        })
    }

    /// Connects every lane, greets for every client, and starts the lanes. Nothing of it is counted.
    async fn prepare(&self) -> (usize, Option<String>) {
        let failure = Rc::new(RefCell::new(None));
        let mut tasks = Vec::new();
        for (at, lane) in self.lanes.iter().enumerate() {
            let (lane, failure) = (Rc::clone(lane), Rc::clone(&failure));
            let (clients, lanes) = (Rc::clone(&self.clients), self.lanes.len());
            tasks.push(spawn_local(async move {
                let mut lane = lane.lock().await;
                if let Err(fault) = lane.connect().await {
                    failure.borrow_mut().get_or_insert(fault.to_string());
                    return;
                }
                for client in clients.iter().skip(at).step_by(lanes) {
                    if let Err(why) = lane.ensure_greeted(client).await {
                        failure.borrow_mut().get_or_insert(format!("initialize: {why}"));
                        return;
                    }
                }
            }));
        }
        for task in tasks {
            let _ = task.await;
        }
        for (at, lane) in self.lanes.iter().enumerate() {
            spawn_local(self.drive(at, Rc::clone(lane)));
        }
        let connected = usize::try_from(self.common.connections.get()).unwrap_or(usize::MAX);
        (connected, failure.take())
    }

    /// A lane's life: take a call, make it, note it.
    fn drive(&self, at: usize, lane: Rc<tokio::sync::Mutex<Lane>>) -> impl Future<Output = ()> + 'static {
        let (common, flow) = (Rc::clone(&self.common), Rc::clone(&self.flow));
        let (record, clients) = (Rc::clone(&self.record), Rc::clone(&self.clients));
        let lanes = self.lanes.len();
        async move {
            let plan = Arc::clone(&common.plan);
            let mut free = Instant::now();
            let mut turn = at;
            loop {
                let job = flow.take(at, free, &plan, &record, &common.random).await;
                let started = Instant::now();
                record
                    .borrow_mut()
                    .started(job.stage, started.saturating_duration_since(job.due.max(free)));
                let order = Order {
                    operation: job.operation,
                    seq: job.seq,
                    client: &clients[turn % clients.len()],
                };
                turn += lanes;
                let finished = lane.lock().await.call(order).await;
                let backs_off = finished.result.is_err() && finished.written.is_none();
                free = finished.last;
                record
                    .borrow_mut()
                    .finished(job.operation, job.stage, job.due, &finished);
                flow.ended();
                if backs_off && flow.is_closed_loop() {
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    async fn phase(&self, phase: Phase, setup: &Setup) -> std::io::Result<Done> {
        let windows = phase.windows();
        let operations = self.common.plan.operations.len();
        *self.record.borrow_mut() = Record::new(operations, windows.clone());
        let ticks = Rc::new(Ticks {
            began: phase.began,
            next: Cell::new(0),
            used: Cell::new(Usage::now(&self.pace)),
            words: setup.words.clone(),
        });
        let ticker = spawn_local(self.tick(Rc::clone(&ticks)));
        let counted = windows.first().zip(windows.last());
        let meter = Meter::start(
            counted.map(|(first, last)| (first.1, last.2)),
            Rc::clone(&self.pace),
        );
        tokio::time::sleep_until(phase.began.into()).await;
        match phase.kind {
            PhaseKind::Open(arrivals) => self.open(&phase, arrivals, setup).await?,
            PhaseKind::Closed(concurrency, think) => {
                // Lanes are dealt to threads in turn.
                let lanes = (setup.thread..concurrency).step_by(setup.threads).count();
                // The time before the first stage is called in, too, and counted by none.
                let first = windows.first().map_or(phase.began, |(_, begin, _)| *begin);
                let mut all = vec![(None, phase.began, first)];
                all.extend(
                    windows
                        .iter()
                        .map(|(stage, begin, end)| (Some(*stage), *begin, *end)),
                );
                self.flow.closed(lanes, think, all);
                self.until(phase.end(), &setup.stop).await;
            }
        }
        self.settle(setup).await;
        ticker.abort();
        let rest = !self.record.borrow().second.is_empty();
        if rest {
            self.teller().tell(&ticks);
        }
        let spent = meter.stop();
        let record = std::mem::replace(
            &mut *self.record.borrow_mut(),
            Record::new(operations, Vec::new()),
        );
        Ok(Done {
            thread: setup.thread,
            record,
            spent,
        })
    }

    /// Follows the schedule to its end.
    async fn open(&self, phase: &Phase, arrivals: Arrivals, setup: &Setup) -> std::io::Result<()> {
        let (plan, random) = (&self.common.plan, &self.common.random);
        let segments = phase.segments.clone();
        let schedule = Schedule::new(
            segments,
            arrivals,
            setup.thread,
            setup.threads,
            &mut random.borrow_mut(),
        );
        self.flow.open(schedule, phase.began, random);
        while let Some(due) = self.flow.next_due() {
            if setup.stop.load(Ordering::Relaxed) {
                break;
            }
            if due > Instant::now() {
                self.pace.towards(due, &self.flow.work).await?;
            } else {
                tokio::task::yield_now().await;
            }
            self.flow.advance(Instant::now(), plan, &self.record, random);
        }
        self.until(phase.end(), &setup.stop).await;
        Ok(())
    }

    /// Lets calls that wait start for a while yet, then those under way end.
    async fn settle(&self, setup: &Setup) {
        let stopped = setup.stop.load(Ordering::Relaxed);
        let drain = self.common.plan.scenario.calls.drain;
        let until = Instant::now() + if stopped { Duration::ZERO } else { drain };
        while self.flow.waiting() > 0 && Instant::now() < until {
            let _ = tokio::time::timeout_at(until.into(), self.flow.settled.notified()).await;
        }
        self.flow.rest(&self.record);
        // Each call has its timeout, so this ends by itself; a person who stops the run does not wait for it.
        let mut grace = None;
        while self.flow.under_way() > 0 {
            if setup.stop.load(Ordering::Relaxed) {
                let until = *grace.get_or_insert_with(|| Instant::now() + STOP_GRACE);
                if Instant::now() >= until {
                    break;
                }
            }
            let look = Duration::from_millis(100);
            let _ = tokio::time::timeout(look, self.flow.settled.notified()).await;
        }
    }

    async fn until(&self, end: Instant, stop: &AtomicBool) {
        let look = Duration::from_millis(50);
        while Instant::now() < end && !stop.load(Ordering::Relaxed) {
            tokio::time::sleep_until(end.min(Instant::now() + look).into()).await;
        }
        self.flow.stopped.set(stop.load(Ordering::Relaxed));
    }

    /// Tells of each second.
    fn tick(&self, ticks: Rc<Ticks>) -> impl Future<Output = ()> + 'static {
        let teller = self.teller();
        async move {
            loop {
                let next = ticks.began + Duration::from_secs(ticks.next.get() + 1);
                tokio::time::sleep_until(next.into()).await;
                teller.tell(&ticks);
            }
        }
    }

    fn teller(&self) -> Teller {
        Teller {
            common: Rc::clone(&self.common),
            flow: Rc::clone(&self.flow),
            record: Rc::clone(&self.record),
            pace: Rc::clone(&self.pace),
        }
    }

    /// Ends the sessions that were opened.
    async fn farewells(&self) {
        let mut tasks = Vec::new();
        for (at, lane) in self.lanes.iter().enumerate() {
            let (lane, clients) = (Rc::clone(lane), Rc::clone(&self.clients));
            let lanes = self.lanes.len();
            tasks.push(spawn_local(async move {
                let mut lane = lane.lock().await;
                for client in clients.iter().skip(at).step_by(lanes).filter(|c| c.has_session()) {
                    // The run is counted already; a server that will not hear of it has a clock of its own.
                    let _: Result<(), Failing> = lane.bid_farewell(client).await;
                }
            }));
        }
        for task in tasks {
            let _ = task.await;
        }
    }
}
