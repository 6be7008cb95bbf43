//! The rounds: every row once a round, in an order that turns, each freshly started, warmed up, then measured.

use super::{
    failure::{Failure, Result},
    generator::Generator,
    place::Placement,
    process::CpuTime,
    proxies::{Built, Proxy, Row, Running, Surroundings, key},
    results::{Line, Origin, Sample, Table},
    rows,
    upstream::{Identity, Kind, Upstream, Wanted},
    work::{Answered, Cell, Pace, Work},
};
use std::{
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

/// What all measurements share.
#[derive(Clone)]
pub struct Bench<'b> {
    /// Makes the calls.
    pub generator: &'b dyn Generator,
    /// Answers them.
    pub upstream: Kind,
    /// Where processes run.
    pub placement: Placement,
    /// Programs to run.
    pub built: Built,
    /// For everything under TLS.
    pub identity: Identity,
    /// For configurations, logs and reports.
    pub dir: PathBuf,
    /// Before measuring, with the same work.
    pub warmup: Duration,
    /// Measured.
    pub duration: Duration,
}

/// The upstreams of one cell: in clear, and under TLS when a row wants it.
pub struct Upstreams {
    clear: Upstream,
    tls: Option<Upstream>,
}

impl Bench<'_> {
    /// Measures a cell.
    pub fn table(&self, cell: Cell, rows: &[Row], rounds: usize) -> Result<Table> {
        let upstreams = self.upstreams(cell, rows)?;
        let line = |row: &Row| Line {
            id: row.id.clone(),
            label: row.label.clone(),
            samples: Vec::new(),
            failures: Vec::new(),
        };
        let mut table = Table {
            cell,
            origin: self.origin(),
            rows: rows.iter().map(line).collect(),
        };
        for round in 0..rounds {
            for place in 0..rows.len() {
                // Each round begins one row later, so that no row always follows the same moment of the round.
                let n = (place + round) % rows.len();
                let row = &rows[n];
                match self.sample(cell, row, &upstreams, round) {
                    Ok(sample) => {
                        eprintln!("{}", told(cell, row, round, rounds, &sample));
                        table.rows[n].samples.push(sample);
                    }
                    Err(failure) => {
                        eprintln!(
                            "{:6} round {}/{rounds} {}: {failure}",
                            cell.name(),
                            round + 1,
                            row.id
                        );
                        table.rows[n].failures.push(failure.to_string());
                    }
                }
            }
        }
        Ok(table)
    }

    /// Says how what begins now comes about.
    pub fn origin(&self) -> Origin {
        Origin::now(self.generator.name(), self.placement.scheduling, self.duration)
    }

    /// Starts what the rows need to stand behind them.
    pub fn upstreams(&self, cell: Cell, rows: &[Row]) -> Result<Upstreams> {
        let start = |tls| {
            let wanted = Wanted {
                tls,
                ..Wanted::plain(cell)
            };
            self.upstream.start(wanted, &self.placement, &self.dir)
        };
        Ok(Upstreams {
            clear: start(None)?,
            tls: match rows.iter().any(|row| row.up.tls) {
                true => Some(start(Some(&self.identity))?),
                false => None,
            },
        })
    }

    /// One upstream in clear, as wanted.
    pub fn upstreams_of(&self, wanted: Wanted<'_>) -> Result<Upstreams> {
        Ok(Upstreams {
            clear: self.upstream.start(wanted, &self.placement, &self.dir)?,
            tls: None,
        })
    }

    /// Starts a row's proxy in front of the upstream it wants.
    pub fn start(&self, cell: Cell, row: &Row, upstreams: &Upstreams, workers: usize) -> Result<Running> {
        if matches!(row.proxy, Proxy::Direct) {
            let wanted = Wanted {
                on_proxy_cpu: true,
                ..Wanted::plain(cell)
            };
            let upstream = self.upstream.start(wanted, &self.placement, &self.dir)?;
            return Ok(upstream.into());
        }
        row.start(&self.surroundings(cell, row, upstreams, workers))
    }

    /// What a row's proxy is started with.
    pub fn surroundings(
        &self,
        cell: Cell,
        row: &Row,
        upstreams: &Upstreams,
        workers: usize,
    ) -> Surroundings<'_> {
        let upstream = match (&upstreams.tls, row.up.tls) {
            (Some(tls), true) => tls,
            _ => &upstreams.clear,
        };
        Surroundings {
            placement: self.placement,
            upstream: upstream.address,
            identity: &self.identity,
            built: &self.built,
            in_batches: cell.pace() == Pace::Closed,
            workers,
            dir: self.dir.join(&row.id),
        }
    }

    /// The calls of a row in a cell.
    pub fn work(&self, cell: Cell, row: &Row, running: &Running) -> Work {
        let scheme = if row.down.tls { "https" } else { "http" };
        Work {
            url: format!("{scheme}://{}{}", running.address, row.path),
            http: row.down.http,
            ca: row.down.tls.then(|| self.identity.certificate.clone()),
            era: row.down.era,
            tool: if cell == Cell::Sse {
                row.tool.replace("sized", "progress")
            } else {
                row.tool.clone()
            },
            arguments: cell.arguments(),
            key: row.proxy.wants_key().then(key),
            connections: cell.connections(),
            pace: cell.pace(),
            duration: self.duration,
        }
    }

    /// The work, unmeasured.
    pub fn warm_up(&self, work: &Work) -> Result<()> {
        let warm = Work {
            duration: self.warmup,
            ..work.clone()
        };
        self.generator.run(&warm, &self.placement, &self.dir)?;
        Ok(())
    }

    fn sample(&self, cell: Cell, row: &Row, upstreams: &Upstreams, round: usize) -> Result<Sample> {
        let _turn = Turn::wait()?;
        let running = self.start(cell, row, upstreams, 1)?;
        let work = self.work(cell, row, &running);
        self.warm_up(&work)?;
        self.measure(&work, &running, round)
    }

    /// Runs the work once and divides the proxy's CPU time by what was answered.
    pub fn measure(&self, work: &Work, running: &Running, round: usize) -> Result<Sample> {
        let Seen {
            answered,
            cpu,
            passed,
        } = self.watch(work, running)?;
        if answered.ok == 0 {
            return Err(running
                .process
                .failed(&format!("no call was answered ({})", answered.errors)));
        }
        if answered.failed > 0 {
            eprintln!("WARNING: {} calls failed: {}", answered.failed, answered.errors);
        }
        let by_call = |ns: u64| ns as f64 / 1e3 / answered.ok as f64;
        let sampled = (cpu.user_ns + cpu.system_ns).max(1) as f64;
        // The kernel samples the parts by ticks; their proportion is better than their sum.
        let share = |ns: u64| by_call(cpu.total_ns) * ns as f64 / sampled;
        Ok(Sample {
            round,
            cpu_us: by_call(cpu.total_ns),
            user_us: share(cpu.user_ns),
            system_us: share(cpu.system_ns),
            calls: answered.ok,
            failed: answered.failed,
            per_s: answered.per_s,
            busy: cpu.total_ns as f64 / passed.as_nanos() as f64,
            p50_us: answered.p50_us,
            p99_us: answered.p99_us,
            rss_bytes: running.process.rss_bytes(),
            limited: answered.limited,
            log_dropped: running.log_dropped(),
        })
    }

    /// CPU microseconds of a call that is refused, where all are.
    pub fn refused_us(&self, work: &Work, running: &Running) -> Result<f64> {
        let Seen { answered, cpu, .. } = self.watch(work, running)?;
        if answered.ok > 0 || answered.failed == 0 {
            let what = format!("{} calls were served that should be refused", answered.ok);
            return Err(Failure::new(what));
        }
        Ok(cpu.total_ns as f64 / 1e3 / answered.failed as f64)
    }

    fn watch(&self, work: &Work, running: &Running) -> Result<Seen> {
        let (before, began) = (running.process.cpu()?, Instant::now());
        let answered = self.generator.run(work, &self.placement, &self.dir)?;
        Ok(Seen {
            answered,
            cpu: running.process.cpu()?.since(before),
            passed: began.elapsed(),
        })
    }
}

/// One run of the generator, and what the proxy took for it.
struct Seen {
    answered: Answered,
    cpu: CpuTime,
    passed: Duration,
}

/// This machine's processors for one measurement: two comparisons at once take turns instead of halves.
#[expect(dead_code, reason = "the lock is held as long as the file is open")]
struct Turn(File);

impl Turn {
    fn wait() -> Result<Self> {
        let path = std::env::temp_dir().join("ringway-bench.lock");
        let file = File::create(&path).map_err(|e| Failure::at(&path, &e))?;
        file.lock().map_err(|e| Failure::at(&path, &e))?;
        Ok(Self(file))
    }
}

fn told(cell: Cell, row: &Row, round: usize, rounds: usize, sample: &Sample) -> String {
    format!(
        "{:6} round {}/{rounds} {:20} {:7.2} µs ({:5.2} user) {:8.0}/s  busy {:.2}  p50 {:.0} p99 {:.0} µs{}",
        cell.name(),
        round + 1,
        row.id,
        sample.cpu_us,
        sample.user_us,
        sample.per_s,
        sample.busy,
        sample.p50_us,
        sample.p99_us,
        if sample.log_dropped > 0 {
            format!("  {} access lines dropped", sample.log_dropped)
        } else {
            String::new()
        } + if row.id == rows::FLOOR {
            "  <- the machine's state"
        } else {
            ""
        },
    )
}
