//! What a thread keeps of its calls. Everything here is counted by one thread and merged when it is done, so a call
//! costs no shared memory: four histogram entries of some four nanoseconds each.
//!
//! Histograms count nanoseconds with three significant digits and grow as far as they must.

use crate::{
    mcp::Failing,
    report::{
        model::{Latency, Outcome},
        progress::{BUCKET_BOUNDS_S, Buckets},
    },
};
use hdrhistogram::Histogram;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Significant digits of every histogram.
const DIGITS: u8 = 3;
/// Due, but never started: the bound on waiting calls was met, or the load ended first.
pub const NOT_STARTED: &str = "not_started";

/// How one call ended.
#[derive(Debug)]
pub struct Finished {
    /// Answered as it should be, or why not.
    pub result: Result<(), Failing>,
    /// When its first byte was written; none when it never was.
    pub written: Option<Instant>,
    /// When the first event was here, where the answer is a stream of them.
    pub first_event: Option<Instant>,
    /// When its last byte was here, or it was known to have failed.
    pub last: Instant,
    /// As in the report.
    pub bytes_out: u64,
    /// As in the report.
    pub bytes_in: u64,
}

/// A histogram of times.
pub fn histogram() -> Histogram<u64> {
    // Three digits are always possible; a report without times would still be better than a panic.
    #[expect(clippy::expect_used, reason = "fails only for more than five digits")]
    Histogram::new(DIGITS).expect("three digits")
}

/// Adds a time.
pub fn count(histogram: &mut Histogram<u64>, time: Duration) {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    // It grows by itself; what it refuses lies beyond five centuries.
    let _ = histogram.record(nanos);
}

/// Adds what another thread counted.
pub fn merge(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    // It grows by itself.
    let _ = into.add(from);
}

/// What became of a set of calls.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Fell due.
    pub due: u64,
    /// Were answered.
    pub ok: u64,
    /// Answers that came while the set's own time ran.
    pub ok_within: u64,
    /// Failures.
    pub errors: BTreeMap<Failing, u64>,
    bytes_out: u64,
    bytes_in: u64,
    /// From the due time.
    pub latency: Histogram<u64>,
    service: Histogram<u64>,
    first_event: Option<Histogram<u64>>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            due: 0,
            ok: 0,
            ok_within: 0,
            errors: BTreeMap::new(),
            bytes_out: 0,
            bytes_in: 0,
            latency: histogram(),
            service: histogram(),
            first_event: None,
        }
    }

    /// Adds a call that was due at `due`.
    pub fn add(&mut self, due: Instant, finished: &Finished) {
        self.bytes_out += finished.bytes_out;
        self.bytes_in += finished.bytes_in;
        match &finished.result {
            Ok(()) => {
                self.ok += 1;
                let last = finished.last;
                count(&mut self.latency, last.saturating_duration_since(due));
                let written = finished.written.unwrap_or(due);
                count(&mut self.service, last.saturating_duration_since(written));
                if let Some(first) = finished.first_event {
                    let times = self.first_event.get_or_insert_with(histogram);
                    count(times, first.saturating_duration_since(due));
                }
            }
            Err(why) => self.fail(why, 1),
        }
    }

    /// Adds failures that have no times.
    pub fn fail(&mut self, why: &Failing, times: u64) {
        match self.errors.get_mut(why) {
            Some(count) => *count += times,
            None => {
                self.errors.insert(why.clone(), times);
            }
        }
    }

    /// How many failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Adds another thread's, or another phase's.
    pub fn merge(&mut self, other: &Self) {
        self.due += other.due;
        self.ok += other.ok;
        self.ok_within += other.ok_within;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        for (why, times) in &other.errors {
            self.fail(why, *times);
        }
        merge(&mut self.latency, &other.latency);
        merge(&mut self.service, &other.service);
        if let Some(theirs) = &other.first_event {
            merge(self.first_event.get_or_insert_with(histogram), theirs);
        }
    }

    /// As a report has it.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            due: self.due,
            ok: self.ok,
            errors: self.errors.iter().map(|(why, n)| (why.to_string(), *n)).collect(),
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            latency: Latency::of(&self.latency),
            service: Latency::of(&self.service),
            first_event: self.first_event.as_ref().map(Latency::of),
        }
    }
}

/// An operation's cumulative counts for those who watch the run: fixed buckets, cheap to copy every second.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// As in [`Tally`].
    pub due: u64,
    /// As in [`Tally`].
    pub ok: u64,
    /// As in [`Tally`].
    pub errors: BTreeMap<Failing, u64>,
    /// As in [`Tally`].
    pub bytes_out: u64,
    /// As in [`Tally`].
    pub bytes_in: u64,
    /// As in [`Tally`].
    pub latency: Buckets,
    /// As in [`Tally`].
    pub service: Buckets,
}

impl Counts {
    /// Adds another thread's.
    pub fn merge(&mut self, other: &Self) {
        self.due += other.due;
        self.ok += other.ok;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        for (why, times) in &other.errors {
            *self.errors.entry(why.clone()).or_default() += times;
        }
        for (mine, theirs) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
        ] {
            for (place, count) in mine.counts.iter_mut().zip(theirs.counts) {
                *place += count;
            }
            mine.sum_s += theirs.sum_s;
        }
    }
}

fn bucket(buckets: &mut Buckets, time: Duration) {
    let seconds = time.as_secs_f64();
    let place = BUCKET_BOUNDS_S.partition_point(|bound| *bound < seconds);
    buckets.counts[place] += 1;
    buckets.sum_s += seconds;
}

/// What came within one second.
#[derive(Clone, Debug)]
pub struct Second {
    /// Calls due.
    pub due: u64,
    /// Answers.
    pub ok: u64,
    /// Failures.
    pub failed: u64,
    /// Latencies of the answers.
    pub latency: Histogram<u64>,
    /// The generator's own lateness.
    pub lateness: Histogram<u64>,
}

impl Second {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            due: 0,
            ok: 0,
            failed: 0,
            latency: histogram(),
            lateness: histogram(),
        }
    }

    /// Adds another thread's.
    pub fn merge(&mut self, other: &Self) {
        self.due += other.due;
        self.ok += other.ok;
        self.failed += other.failed;
        merge(&mut self.latency, &other.latency);
        merge(&mut self.lateness, &other.lateness);
    }

    /// Nothing came so far.
    pub fn is_empty(&self) -> bool {
        self.due + self.ok + self.failed == 0
    }

    /// What came so far; begins anew.
    pub fn take(&mut self) -> Self {
        let taken = self.clone();
        self.due = 0;
        self.ok = 0;
        self.failed = 0;
        // `clear` would keep the largest value, and every later second would show it.
        self.latency.reset();
        self.lateness.reset();
        taken
    }
}

/// One thread's record of one phase.
#[derive(Debug)]
pub struct Record {
    /// By operation.
    pub operations: Vec<Tally>,
    /// By stage.
    pub stages: Vec<Tally>,
    /// By operation, for watchers.
    pub counts: Vec<Counts>,
    /// Of counted calls.
    pub lateness: Histogram<u64>,
    /// The present second.
    pub second: Second,
    /// When each stage's time runs, in order.
    windows: Vec<(usize, Instant, Instant)>,
    /// The window that answers come in now.
    window: usize,
}

impl Record {
    /// For so many operations, with these stages.
    pub fn new(operations: usize, windows: Vec<(usize, Instant, Instant)>) -> Self {
        let stages = windows.iter().map(|(stage, ..)| stage + 1).max().unwrap_or(0);
        Self {
            operations: (0..operations).map(|_| Tally::new()).collect(),
            stages: (0..stages).map(|_| Tally::new()).collect(),
            counts: vec![Counts::default(); operations],
            lateness: histogram(),
            second: Second::new(),
            windows,
            window: 0,
        }
    }

    /// A call fell due.
    pub fn due(&mut self, operation: usize, stage: Option<usize>) {
        self.second.due += 1;
        if let Some(stage) = stage {
            self.operations[operation].due += 1;
            self.counts[operation].due += 1;
            self.stages[stage].due += 1;
        }
    }

    /// A call was started, so much later than it could have been.
    pub fn started(&mut self, stage: Option<usize>, late: Duration) {
        count(&mut self.second.lateness, late);
        if stage.is_some() {
            count(&mut self.lateness, late);
        }
    }

    /// A call ended.
    pub fn finished(&mut self, operation: usize, stage: Option<usize>, due: Instant, finished: &Finished) {
        match &finished.result {
            Ok(()) => {
                self.second.ok += 1;
                count(
                    &mut self.second.latency,
                    finished.last.saturating_duration_since(due),
                );
                while self
                    .windows
                    .get(self.window)
                    .is_some_and(|(.., end)| finished.last >= *end)
                {
                    self.window += 1;
                }
                if let Some((within, begin, _)) = self.windows.get(self.window)
                    && finished.last >= *begin
                {
                    self.stages[*within].ok_within += 1;
                }
            }
            Err(_) => self.second.failed += 1,
        }
        let Some(stage) = stage else { return };
        self.operations[operation].add(due, finished);
        self.stages[stage].add(due, finished);
        let counts = &mut self.counts[operation];
        counts.bytes_out += finished.bytes_out;
        counts.bytes_in += finished.bytes_in;
        match &finished.result {
            Ok(()) => {
                counts.ok += 1;
                bucket(&mut counts.latency, finished.last.saturating_duration_since(due));
                let written = finished.written.unwrap_or(due);
                bucket(
                    &mut counts.service,
                    finished.last.saturating_duration_since(written),
                );
            }
            Err(why) => *counts.errors.entry(why.clone()).or_default() += 1,
        }
    }

    /// A call was due and will not be started.
    pub fn not_started(&mut self, operation: usize, stage: Option<usize>) {
        self.second.failed += 1;
        let why = Failing::from(NOT_STARTED);
        if let Some(stage) = stage {
            self.operations[operation].fail(&why, 1);
            self.stages[stage].fail(&why, 1);
            *self.counts[operation].errors.entry(why).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(result: Result<(), Failing>, written: Instant, last: Instant) -> Finished {
        Finished {
            result,
            written: Some(written),
            first_event: None,
            last,
            bytes_out: 10,
            bytes_in: 20,
        }
    }

    #[test]
    fn latency_counts_from_the_due_time_and_service_from_the_first_byte() {
        let due = Instant::now();
        let ms = |n| due + Duration::from_millis(n);
        let mut tally = Tally::new();
        tally.due = 1;
        tally.add(due, &finished(Ok(()), ms(900), ms(1000)));
        let outcome = tally.outcome();
        assert!((outcome.latency.max - 1e6).abs() < 1e3, "{}", outcome.latency.max);
        assert!((outcome.service.max - 1e5).abs() < 1e2, "{}", outcome.service.max);
        assert_eq!((outcome.bytes_out, outcome.bytes_in), (10, 20));
    }

    #[test]
    fn warm_up_shows_in_seconds_and_nowhere_else() {
        let begin = Instant::now();
        let ms = |n| begin + Duration::from_millis(n);
        let mut record = Record::new(1, vec![(0, ms(100), ms(200))]);
        record.due(0, None);
        record.finished(0, None, ms(10), &finished(Ok(()), ms(10), ms(20)));
        record.due(0, Some(0));
        record.finished(0, Some(0), ms(110), &finished(Ok(()), ms(110), ms(120)));
        record.due(0, Some(0));
        record.finished(0, Some(0), ms(190), &finished(Ok(()), ms(190), ms(220)));
        record.due(0, Some(0));
        record.not_started(0, Some(0));
        assert_eq!(
            (record.second.due, record.second.ok, record.second.failed),
            (4, 3, 1)
        );
        let stage = &record.stages[0];
        assert_eq!(
            (stage.due, stage.ok, stage.ok_within, stage.failed()),
            (3, 2, 1, 1)
        );
        assert_eq!(record.operations[0].latency.len(), 2);
        assert_eq!(record.counts[0].latency.count(), 2);
        assert_eq!(record.second.take().ok, 3);
        assert_eq!(record.second.ok, 0);
    }

    #[test]
    fn a_slow_call_is_the_slowest_of_its_own_second_only() {
        let begin = Instant::now();
        let ms = |n| begin + Duration::from_millis(n);
        let mut record = Record::new(1, vec![(0, ms(0), ms(3000))]);
        record.finished(0, Some(0), begin, &finished(Ok(()), begin, ms(900)));
        assert!(record.second.take().latency.max() >= 900_000_000);
        record.finished(0, Some(0), ms(1000), &finished(Ok(()), ms(1000), ms(1001)));
        assert!(record.second.take().latency.max() < 2_000_000);
    }

    #[test]
    fn tallies_of_threads_add_up() {
        let begin = Instant::now();
        let ms = |n| begin + Duration::from_millis(n);
        let mut one = Tally::new();
        one.add(begin, &finished(Ok(()), begin, ms(1)));
        one.add(begin, &finished(Err("timeout".into()), begin, ms(1)));
        let mut two = Tally::new();
        two.add(begin, &finished(Err("timeout".into()), begin, ms(1)));
        two.add(begin, &finished(Ok(()), begin, ms(50_000)));
        one.merge(&two);
        assert_eq!((one.ok, one.failed(), one.latency.len()), (2, 2, 2));
        assert!(one.latency.max() >= 50_000_000_000);
    }
}
