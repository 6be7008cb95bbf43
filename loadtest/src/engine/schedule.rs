//! When each call is due.
//!
//! A schedule is a row of segments, in each of which the rate goes evenly from one value to another. Counting calls
//! along the time gives a curve, N(t) = r₀t + (r₁−r₀)t²/2L within a segment; the n-th call is due where the curve
//! reaches n. Evenly spaced arrivals step n by one, Poisson arrivals by an exponential variate of mean one (a
//! Poisson process of varying rate, by time change). Of T threads each takes every T-th call of an even schedule,
//! and its own share of a Poisson one (which is again Poisson), so threads need not speak to each other.

use crate::{
    report::figures,
    scenario::{Arrivals, Step},
};
use rand::{Rng as _, rngs::SmallRng};
use std::time::Duration;

/// A stretch of time with one ramp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Which of the report's stages its calls belong to; none are not counted.
    pub stage: Option<usize>,
    /// How long.
    pub length: Duration,
    /// Calls a second at its beginning.
    pub from: f64,
    /// Calls a second at its end.
    pub to: f64,
}

/// One thread's part of a schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    segments: Vec<Segment>,
    arrivals: Arrivals,
    /// Calls of all threads that one call of this thread stands for.
    threads: f64,
    /// The segment we are in, where it begins, and how many calls lie before it.
    at: usize,
    begins_s: f64,
    before: f64,
    /// Where on the count the next call lies.
    next: f64,
}

/// A call that is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    /// Since the schedule's beginning.
    pub at: Duration,
    /// As in [`Segment::stage`].
    pub stage: Option<usize>,
}

impl Schedule {
    /// The part of thread number `thread` of `threads`.
    pub fn new(
        segments: Vec<Segment>,
        arrivals: Arrivals,
        thread: usize,
        threads: usize,
        random: &mut SmallRng,
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "threads are few")]
        let (thread, threads) = (thread as f64, threads as f64);
        let mut schedule = Self {
            segments,
            arrivals,
            threads,
            at: 0,
            begins_s: 0.0,
            before: 0.0,
            next: thread,
        };
        if arrivals == Arrivals::Poisson {
            schedule.next = 0.0;
            schedule.step(random);
        }
        schedule
    }

    /// The next call, and moves on; none after the last.
    pub fn next(&mut self, random: &mut SmallRng) -> Option<Due> {
        loop {
            let segment = self.segments.get(self.at)?;
            let (length_s, from, to) = (segment.length.as_secs_f64(), segment.from, segment.to);
            let calls = f64::midpoint(from, to) * length_s;
            let wanted = self.next - self.before;
            if wanted >= calls {
                self.at += 1;
                self.begins_s += length_s;
                self.before += calls;
                continue;
            }
            // r₀t + at²/2 = n, in the form that holds for a = 0 too.
            let slope = (to - from) / length_s;
            let root = (from * from + 2.0 * slope * wanted).max(0.0).sqrt();
            let t = match wanted > 0.0 {
                true => 2.0 * wanted / (from + root),
                false => 0.0,
            };
            let due = Due {
                at: Duration::from_secs_f64(self.begins_s + t.min(length_s)),
                stage: segment.stage,
            };
            self.step(random);
            return Some(due);
        }
    }

    fn step(&mut self, random: &mut SmallRng) {
        self.next += match self.arrivals {
            Arrivals::Even => self.threads,
            // 1 − u lies in (0, 1]: the logarithm is finite.
            Arrivals::Poisson => -(1.0 - random.random::<f64>()).ln() * self.threads,
        };
    }
}

/// The segments of an open load; each step is a stage.
pub fn segments(warmup: Duration, steps: &[Step]) -> Vec<Segment> {
    let mut segments = Vec::new();
    if let Some(first) = steps.first() {
        segments.push(Segment {
            stage: None,
            length: warmup,
            from: first.rate,
            to: first.rate,
        });
    }
    let mut rate = 0.0;
    for (stage, step) in steps.iter().enumerate() {
        let segment = |length, from| Segment {
            stage: Some(stage),
            length,
            from,
            to: step.rate,
        };
        segments.push(segment(step.ramp, rate));
        segments.push(segment(step.duration - step.ramp, step.rate));
        rate = step.rate;
    }
    segments.retain(|segment| !segment.length.is_zero());
    segments
}

/// A step, for people.
pub fn describe(step: &Step) -> String {
    let rate = figures::rate(step.rate);
    match step.ramp.is_zero() {
        true => rate,
        false => format!("to {rate}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn all(segments: &[Segment], arrivals: Arrivals, thread: usize, threads: usize) -> Vec<Due> {
        let mut random = SmallRng::seed_from_u64(7 + thread as u64);
        let mut schedule = Schedule::new(segments.to_vec(), arrivals, thread, threads, &mut random);
        std::iter::from_fn(|| schedule.next(&mut random)).collect()
    }

    fn segment(stage: Option<usize>, seconds: f64, from: f64, to: f64) -> Segment {
        Segment {
            stage,
            length: Duration::from_secs_f64(seconds),
            from,
            to,
        }
    }

    #[test]
    fn an_even_schedule_is_even() {
        let due = all(&[segment(Some(0), 2.0, 1000.0, 1000.0)], Arrivals::Even, 0, 1);
        assert_eq!(due.len(), 2000);
        for (n, due) in due.iter().enumerate() {
            let wanted = n as f64 / 1000.0;
            assert!((due.at.as_secs_f64() - wanted).abs() < 1e-6, "{n}: {:?}", due.at);
        }
    }

    #[test]
    fn threads_share_a_schedule_without_gap_or_overlap() {
        let segments = [
            segment(None, 1.0, 10.0, 300.0),
            segment(Some(0), 2.0, 300.0, 300.0),
        ];
        let whole = all(&segments, Arrivals::Even, 0, 1);
        let mut shared: Vec<Due> = (0..3)
            .flat_map(|t| all(&segments, Arrivals::Even, t, 3))
            .collect();
        shared.sort_by_key(|due| due.at);
        assert_eq!(shared, whole);
    }

    #[test]
    fn a_ramp_calls_as_often_as_its_area_says() {
        let segments = [
            segment(Some(0), 10.0, 0.0, 100.0),
            segment(Some(1), 1.0, 100.0, 50.0),
        ];
        let due = all(&segments, Arrivals::Even, 0, 1);
        let of = |stage| due.iter().filter(|d| d.stage == Some(stage)).count();
        assert_eq!((of(0), of(1)), (500, 75));
        let first_half = due.iter().filter(|d| d.at < Duration::from_secs(5)).count();
        assert!(
            (124..=126).contains(&first_half),
            "a quarter of the area: {first_half}"
        );
        assert!(due.windows(2).all(|pair| pair[0].at <= pair[1].at));
    }

    #[test]
    fn poisson_arrivals_have_their_mean_and_their_spread() {
        let due = all(
            &[segment(Some(0), 100.0, 1000.0, 1000.0)],
            Arrivals::Poisson,
            0,
            1,
        );
        let count = due.len() as f64;
        assert!((count - 100_000.0).abs() < 5.0 * 100_000f64.sqrt(), "{count}");
        let gaps: Vec<f64> = due
            .windows(2)
            .map(|p| (p[1].at - p[0].at).as_secs_f64())
            .collect();
        let long = gaps.iter().filter(|gap| **gap > 0.001).count() as f64 / count;
        assert!(
            (long - (-1f64).exp()).abs() < 0.01,
            "share of gaps beyond the mean: {long}"
        );
    }

    #[test]
    fn an_empty_schedule_is_over() {
        assert!(all(&[], Arrivals::Even, 0, 1).is_empty());
        assert!(all(&[segment(None, 1.0, 0.0, 0.0)], Arrivals::Even, 0, 1).is_empty());
    }
}
