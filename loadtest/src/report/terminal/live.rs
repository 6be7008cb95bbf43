//! The run while it goes on.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{COLUMNS, text::Paint};
use crate::report::{
    figures::{self, plain, shortened},
    progress::{Brief, Phase, Progress},
};

/// Where nobody looks at a terminal, a line this often: a log of an hour stays readable.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Drawing oftener costs the generator's core and shows a person nothing.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// The width of the bar.
const BAR: usize = 30;

/// Kinds of failure shown while the run goes on.
const KINDS_MAX: usize = 4;

/// How a run is shown while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A block that is drawn again in place.
    Block,
    /// A line now and then.
    Lines,
    /// Not at all.
    Silent,
}

impl Style {
    /// A block where standard error is a terminal, else lines.
    #[must_use]
    pub fn detect() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if io::stderr().is_terminal() && !dumb {
            Self::Block
        } else {
            Self::Lines
        }
    }
}

/// Shows progress on standard error until the run is done or the engine is gone.
pub async fn follow(feed: watch::Receiver<Progress>, style: Style) {
    match style {
        Style::Silent => {}
        Style::Block => follow_block(feed).await,
        Style::Lines => follow_lines(feed, |line| eprintln!("{line}")).await,
    }
}

async fn follow_block(mut feed: watch::Receiver<Progress>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // A template without anything to parse but the message cannot fail; the default would show less, and still run.
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    let paint = Paint(std::env::var_os("NO_COLOR").is_none());
    loop {
        let (drawn, done) = {
            let progress = feed.borrow_and_update();
            (block(&progress, paint).join("\n"), progress.phase == Phase::Done)
        };
        bar.set_message(drawn);
        let drawn_at = Instant::now();
        if done || feed.changed().await.is_err() {
            break;
        }
        sleep_until(drawn_at + DRAW_EVERY).await;
    }
    // The summary follows, and says all of this again.
    bar.finish_and_clear();
}

async fn follow_lines(mut feed: watch::Receiver<Progress>, mut say: impl FnMut(String)) {
    let mut last_phase = None;
    let mut next = Instant::now();
    loop {
        let (phase, shown) = {
            let progress = feed.borrow_and_update();
            (progress.phase, line(&progress))
        };
        let turned = last_phase.is_some_and(|last| last != phase);
        // Before the first second there is nothing to say.
        if phase != Phase::Preparing && (turned || last_phase.is_none() || Instant::now() >= next) {
            say(shown);
            next = Instant::now() + LINE_EVERY;
            last_phase = Some(phase);
        }
        if phase == Phase::Done || feed.changed().await.is_err() {
            return;
        }
    }
}

/// The block, line by line.
fn block(progress: &Progress, paint: Paint) -> Vec<String> {
    let label = shortened(&plain(&progress.label), figures::NAME_CHARS_MAX);
    let target = shortened(&plain(&progress.target), COLUMNS - figures::NAME_CHARS_MAX - 4);
    let mut lines = vec![
        format!("{}  {}", paint.strong(&label), paint.quiet(&target)),
        where_it_is(progress),
    ];
    if progress.phase == Phase::Preparing {
        return lines;
    }
    lines.push(format!(
        "rate        due {}   answered {}   under way {}   waiting {}   connections {}",
        figures::rate(progress.offered_per_s),
        figures::rate(progress.achieved_per_s),
        figures::count(progress.in_flight),
        figures::count(progress.waiting),
        figures::count(progress.connections)
    ));
    lines.push(format!("last second {}", brief(&progress.last)));
    lines.push(format!(
        "overall     {}   {} answered",
        brief(&progress.overall),
        figures::count(progress.ok())
    ));
    let failed = failed(progress);
    lines.push(format!(
        "failed      {}",
        if failed == "none" {
            failed
        } else {
            paint.bad(&failed)
        }
    ));
    let busy = format!(
        "generator   busiest thread {}   starts late by {} at p99",
        figures::percent(progress.busiest_thread),
        figures::time(progress.lateness_p99_us)
    );
    lines.push(if progress.limited {
        paint.bad(&format!("{busy}   ✗ it sets the pace"))
    } else {
        paint.quiet(&busy)
    });
    lines
}

fn where_it_is(progress: &Progress) -> String {
    let elapsed = figures::span(progress.elapsed_s.floor());
    let stage = match (progress.stage, progress.stages) {
        (0, _) => String::new(),
        (stage, Some(stages)) if stages > 1 => format!("   stage {stage}/{stages}"),
        (_, Some(_)) => String::new(),
        (stage, None) => format!("   probe {stage}"),
    };
    let load = shortened(&plain(&progress.load), figures::NAME_CHARS_MAX);
    let (bar, of) = match progress.planned_s {
        Some(planned) if planned > 0.0 => (
            format!("{} ", bar(progress.elapsed_s / planned)),
            format!(" of {}", figures::span(planned)),
        ),
        _ => (String::new(), String::new()),
    };
    format!("{bar}{elapsed}{of}   {}{stage}   {load}", progress.phase.word())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to BAR"
)]
fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn brief(brief: &Brief) -> String {
    if brief.count == 0 {
        return "no answer".to_owned();
    }
    let [p50, p99, max] = [brief.p50, brief.p99, brief.max].map(figures::time);
    format!("p50 {p50:>7}   p99 {p99:>7}   max {max:>7}")
}

/// `http_503 12, timeout 3`, most frequent first.
fn failed(progress: &Progress) -> String {
    let mut kinds: Vec<(String, u64)> = progress
        .errors()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more: u64 = kinds.iter().skip(KINDS_MAX).map(|(_, count)| count).sum();
    let mut shown: Vec<String> = kinds
        .iter()
        .take(KINDS_MAX)
        .map(|(kind, count)| format!("{} {}", shortened(&plain(kind), 16), figures::count(*count)))
        .collect();
    if more > 0 {
        shown.push(format!("others {}", figures::count(more)));
    }
    if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ")
    }
}

/// All of it on one line.
fn line(progress: &Progress) -> String {
    format!(
        "[{}] {} {}: due {}, answered {}, {}, under way {}, failed {}{}",
        figures::span(progress.elapsed_s.floor()),
        progress.phase.word(),
        shortened(&plain(&progress.load), figures::NAME_CHARS_MAX),
        figures::rate(progress.offered_per_s),
        figures::rate(progress.achieved_per_s),
        brief(&progress.last)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        figures::count(progress.in_flight),
        failed(progress),
        if progress.limited {
            ", the generator sets the pace"
        } else {
            ""
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::progress::OperationProgress;

    fn progress() -> Progress {
        Progress {
            label: "nightly\u{1b}[31m".into(),
            target: "http://127.0.0.1:8080/mcp".into(),
            phase: Phase::Measuring,
            elapsed_s: 23.2,
            planned_s: Some(65.0),
            stage: 2,
            stages: Some(5),
            load: "2000/s".into(),
            offered_per_s: 2_000.0,
            achieved_per_s: 1_998.0,
            in_flight: 3,
            connections: 64,
            last: Brief {
                count: 1_998,
                p50: 310.0,
                p99: 1_070.0,
                max: 9_700.0,
            },
            overall: Brief {
                count: 45_000,
                p50: 312.0,
                p99: 1_100.0,
                max: 12_700.0,
            },
            operations: vec![OperationProgress {
                ok: 45_000,
                errors: ["http_503", "timeout", "reset", "a", "b", "none_of_these"]
                    .into_iter()
                    .zip([12, 3, 2, 1, 1, 0])
                    .map(|(kind, count)| (kind.to_owned(), count))
                    .collect(),
                ..OperationProgress::default()
            }],
            busiest_thread: 0.34,
            lateness_p99_us: 39.0,
            ..Progress::default()
        }
    }

    #[test]
    fn a_block_says_where_the_run_is_and_how_it_goes() {
        let lines = block(&progress(), Paint(false));
        let all = lines.join("\n");
        for part in [
            "nightly\u{fffd}[31m  http://127.0.0.1:8080/mcp",
            "23 s of 1 min 05 s   measuring   stage 2/5   2000/s",
            "due 2,000/s   answered 1,998/s   under way 3",
            "last second p50  310 µs   p99 1.07 ms   max 9.70 ms",
            "45,000 answered",
            "failed      http_503 12, timeout 3, reset 2, a 1, others 1",
            "busiest thread 34 %",
        ] {
            assert!(all.contains(part), "no {part:?} in\n{all}");
        }
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{all}");
        let mut limited = progress();
        limited.limited = true;
        assert!(
            block(&limited, Paint(false))
                .join("\n")
                .contains("it sets the pace")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn lines_come_now_and_then_and_at_every_turn() {
        let mut at = progress();
        at.phase = Phase::Warmup;
        let (engine, feed) = watch::channel(Progress::default());
        let (sent, mut said) = tokio::sync::mpsc::unbounded_channel();
        let shown = tokio::spawn(follow_lines(feed, move |line| drop(sent.send(line))));
        for second in 0..12 {
            at.elapsed_s = f64::from(second);
            if second == 3 {
                at.phase = Phase::Measuring;
            }
            engine.send_replace(at.clone());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        at.phase = Phase::Done;
        engine.send_replace(at);
        shown.await.expect("it ends with the run");
        let mut lines = Vec::new();
        while let Some(line) = said.recv().await {
            lines.push(line);
        }
        let times: Vec<&str> = lines.iter().filter_map(|line| line.split(']').next()).collect();
        assert_eq!(times, ["[0 s", "[3 s", "[8 s", "[11 s"], "{lines:#?}");
        assert!(
            lines[1].contains(
                "measuring 2000/s: due 2,000/s, answered 1,998/s, p50 310 µs p99 1.07 ms max 9.70 ms"
            )
        );
    }

    #[tokio::test]
    async fn a_vanished_engine_ends_the_show() {
        let (engine, feed) = watch::channel(progress());
        drop(engine);
        follow_lines(feed, |_| {}).await;
    }
}
