//! The goals beside their figures, met or not.

use super::{
    results::{Results, Spread},
    rows::{BASE, FLOOR},
    work::Cell,
};
use std::fmt::Write as _;

/// One goal.
struct Goal {
    /// What is asked, for people.
    text: &'static str,
    /// Its bound.
    bound: Bound,
    /// What was seen; none when it was not measured.
    seen: fn(&Results) -> Option<f64>,
    /// Behind the figure.
    unit: &'static str,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Smaller than this.
    Below(f64),
}

const GOALS: &[Goal] = &[
    Goal {
        text: "CPU a call of `/mcp` with everything on, to nginx",
        bound: Bound::AtMost(1.0),
        seen: |r| ratio(r, Cell::Small, "ringway", BASE),
        unit: "×",
    },
    Goal {
        text: "the same, to the bare relay",
        bound: Bound::AtMost(1.35),
        seen: |r| ratio(r, Cell::Small, "ringway", FLOOR),
        unit: "×",
    },
    Goal {
        text: "the same, agentgateway's MCP path to it",
        bound: Bound::AtLeast(6.5),
        seen: |r| ratio(r, Cell::Small, "agentgateway", "ringway"),
        unit: "×",
    },
    Goal {
        text: "the same, Envoy's MCP router to it",
        bound: Bound::AtLeast(5.5),
        seen: |r| ratio(r, Cell::Small, "envoy-mcp", "ringway"),
        unit: "×",
    },
    Goal {
        text: "HTTP/2 to the upstream, to its own HTTP/1.1 figure",
        bound: Bound::Below(1.0),
        seen: |r| ratio(r, Cell::Small, "ringway-h2-up", "ringway"),
        unit: "×",
    },
    Goal {
        text: "user-space time of a small call",
        bound: Bound::AtMost(3.0),
        seen: |r| {
            let line = r.table(Cell::Small)?.line("ringway")?;
            Some(Spread::of(line.samples.iter().map(|s| s.user_us))?.median)
        },
        unit: " µs",
    },
    Goal {
        text: "added p50 at 2,000 calls/s, to nginx's (even spacing)",
        bound: Bound::AtMost(1.1),
        seen: |r| added(r, Cell::Rate, |s| s.p50_us),
        unit: "×",
    },
    Goal {
        text: "added p99 at 2,000 calls/s, to nginx's (even spacing)",
        bound: Bound::AtMost(1.2),
        seen: |r| added(r, Cell::Rate, |s| s.p99_us),
        unit: "×",
    },
    Goal {
        text: "added p50 at 2,000 calls/s, to nginx's (Poisson)",
        bound: Bound::AtMost(1.1),
        seen: |r| added(r, Cell::Poisson, |s| s.p50_us),
        unit: "×",
    },
    Goal {
        text: "added p99 at 2,000 calls/s, to nginx's (Poisson)",
        bound: Bound::AtMost(1.2),
        seen: |r| added(r, Cell::Poisson, |s| s.p99_us),
        unit: "×",
    },
    Goal {
        text: "CPU of a 64 KiB result, to nginx",
        bound: Bound::AtMost(1.1),
        seen: |r| ratio(r, Cell::K64, "ringway", BASE),
        unit: "×",
    },
    Goal {
        text: "the same over an HTTP/2 upstream, to nginx over HTTP/1.1",
        bound: Bound::AtMost(1.2),
        seen: |r| ratio(r, Cell::K64, "ringway-h2-up", BASE),
        unit: "×",
    },
    Goal {
        text: "resident memory of an idle connection",
        bound: Bound::AtMost(2.0),
        seen: |r| r.figure("memory", "ringway_connection_kib"),
        unit: " KiB",
    },
    Goal {
        text: "resident memory of an older-era session",
        bound: Bound::AtMost(0.05),
        seen: |r| r.figure("memory", "ringway_session_kib"),
        unit: " KiB",
    },
    Goal {
        text: "CPU a call with 10,000 idle connections held, to without",
        bound: Bound::AtMost(1.05),
        seen: |r| r.figure("held", "idle_ratio"),
        unit: "×",
    },
    Goal {
        text: "CPU a call with 1,000 event streams held, to without",
        bound: Bound::AtMost(1.05),
        seen: |r| r.figure("held", "streams_ratio"),
        unit: "×",
    },
    Goal {
        text: "CPU a call of 2 workers on 2 cores, to 1 on 1",
        bound: Bound::AtMost(1.1),
        seen: |r| r.figure("scale", "ringway_ratio"),
        unit: "×",
    },
    Goal {
        text: "goodput at 3 × saturation of an upstream of 50 ms, to the peak",
        bound: Bound::AtLeast(0.95),
        seen: |r| r.figure("overload", "goodput_ratio"),
        unit: "×",
    },
    Goal {
        text: "the same with an upstream of 20 ms",
        bound: Bound::AtLeast(0.95),
        seen: |r| r.figure("overload", "goodput_ratio_at_20ms"),
        unit: "×",
    },
    Goal {
        text: "the same with the processor saturated by 4,000 callers, to 64",
        bound: Bound::AtLeast(0.95),
        seen: |r| r.figure("overload", "crowd_ratio_ringway"),
        unit: "×",
    },
    Goal {
        text: "memory after repeated overload, to after the first",
        bound: Bound::AtMost(1.05),
        seen: |r| r.figure("overload", "memory_growth"),
        unit: "×",
    },
    Goal {
        text: "CPU of a refused call, to a served one",
        bound: Bound::AtMost(0.5),
        seen: |r| r.figure("overload", "refused_ratio"),
        unit: "×",
    },
    Goal {
        text: "start to the first served call, 100 servers",
        bound: Bound::Below(50.0),
        seen: |r| r.figure("start", "first_call_ms"),
        unit: " ms",
    },
    Goal {
        text: "p99 while a snapshot of 10,000 tools and 1,000 roles is taken up, to the usual p99",
        bound: Bound::AtMost(1.0),
        seen: |r| r.figure("reload", "p99_ratio"),
        unit: "×",
    },
];

/// All goals.
pub fn table(results: &Results) -> String {
    let mut text = String::from("| goal | wanted | measured | met |\n|---|---|---|---|\n");
    for goal in GOALS {
        let unit = goal.unit;
        let wanted = match goal.bound {
            Bound::AtMost(n) => format!("≤ {n}{unit}"),
            Bound::AtLeast(n) => format!("≥ {n}{unit}"),
            Bound::Below(n) => format!("< {n}{unit}"),
        };
        let seen = (goal.seen)(results);
        let (figure, met) = match seen {
            Some(seen) if goal.bound.holds(seen) => (format!("{seen:.2}{unit}"), "yes"),
            Some(seen) => (format!("{seen:.2}{unit}"), "**no**"),
            None => ("not measured".to_owned(), "–"),
        };
        let _ = writeln!(text, "| {} | {wanted} | {figure} | {met} |", goal.text);
    }
    text
}

impl Bound {
    fn holds(self, seen: f64) -> bool {
        match self {
            Self::AtMost(n) => seen <= n,
            Self::AtLeast(n) => seen >= n,
            Self::Below(n) => seen < n,
        }
    }
}

fn ratio(results: &Results, cell: Cell, id: &str, base: &str) -> Option<f64> {
    Some(Spread::of(results.table(cell)?.ratios(id, base))?.median)
}

/// What Ringway adds to the direct call by what nginx adds, each the median over rounds.
fn added(results: &Results, cell: Cell, of: fn(&super::results::Sample) -> f64) -> Option<f64> {
    let table = results.table(cell)?;
    let over = |id| Spread::of(table.paired(id, "direct", |one, direct| of(one) - of(direct)));
    Some(over("ringway")?.median / over(BASE)?.median)
}
