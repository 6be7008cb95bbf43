//! A search for saturation by several generators: each probe is a distributed run of its own, judged by the
//! coordinator over what all of them saw.
//!
//! Connections and sessions are opened anew for each probe, so a search takes a little longer than on one generator.

use super::{FleetError, Orders, coordinate, merge::concatenate};
use crate::{
    engine::{
        self,
        search::{Ended, Probe, Searcher},
    },
    report::{
        model::{Report, Saturation},
        progress::Progress,
    },
    scenario::{Search, values::show},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::sync::watch;

/// Leads a search. `orders.scenario` has the `[load.search]` that was read as `search`; `warmup` stands before the
/// first probe.
pub async fn lead(
    orders: &Orders,
    search: &Search,
    warmup: Duration,
    progress: &watch::Sender<Progress>,
    stop: &AtomicBool,
) -> Result<Report, FleetError> {
    let mut searcher = Searcher::new(search.clone());
    let mut settle = warmup;
    let mut probes: Vec<Report> = Vec::new();
    let mut peak_per_s = 0.0f64;
    let mut limited = String::new();
    while let Some(rate) = searcher.next() {
        let probe = Orders {
            generators: orders.generators.clone(),
            token: orders.token.clone(),
            scenario: at_rate(&orders.scenario, rate, settle, search.probe).map_err(FleetError::Orders)?,
            files: orders.files.clone(),
            stagger: Duration::from_secs_f64(1.0 / rate),
        };
        let mut report = coordinate(&probe, progress, stop).await?;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let answered_per_s = report.stages.iter().map(|stage| stage.answered_per_s).sum();
        peak_per_s = peak_per_s.max(answered_per_s);
        let headroom = std::mem::take(&mut report.headroom.reason);
        let limits = std::mem::take(&mut report.headroom.limited);
        searcher.note(match (bears(search, rate, answered_per_s, &report), limits) {
            // As on one generator: what was borne in spite of lateness was borne.
            (true, _) => Probe::Borne,
            (false, false) => Probe::Failed,
            (false, true) => {
                limited = headroom;
                Probe::Limited
            }
        });
        probes.push(report);
        settle = search.settle;
    }
    let mut all = concatenate(probes)?;
    let ended = searcher.ended();
    if ended == Ended::GeneratorLimited {
        all.headroom.limited = true;
        all.headroom.reason = limited;
    }
    all.saturation = Some(Saturation {
        sustained_per_s: searcher.borne(),
        peak_per_s,
        conditions: engine::conditions(search),
        ended: ended.as_str().to_owned(),
    });
    Ok(all)
}

/// The scenario with one constant rate in place of its search.
fn at_rate(scenario: &str, rate: f64, warmup: Duration, duration: Duration) -> Result<String, String> {
    let mut table: toml::Table = scenario.parse().map_err(|e| format!("the scenario: {e}"))?;
    let load = table.get_mut("load").and_then(toml::Value::as_table_mut);
    let load = load.ok_or("the scenario has no `[load]`")?;
    load.remove("search");
    load.insert("rate".to_owned(), rate.into());
    load.insert("warmup".to_owned(), show(warmup).into());
    load.insert("duration".to_owned(), show(duration).into());
    toml::to_string_pretty(&table).map_err(|e| format!("the scenario: {e}"))
}

/// Whether a probe met every condition.
fn bears(search: &Search, rate: f64, answered_per_s: f64, report: &Report) -> bool {
    let total = &report.total;
    #[expect(clippy::cast_precision_loss, reason = "calls of one probe lie far below 2^53")]
    let failed = total.failed() as f64 / total.due.max(1) as f64;
    total.ok > 0
        && total.latency.p99 <= search.p99_max.as_secs_f64() * 1e6
        && failed <= search.errors_max
        && answered_per_s >= rate * search.achieved_min
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Load, Scenario};
    use std::path::Path;

    #[test]
    fn a_probe_is_the_scenario_at_one_rate() {
        let text = "[target]\nurl = \"http://a/\"\n[load]\narrivals = \"poisson\"\n[load.search]\nprobe = \"2s\"\n\
                    [[operation]]\ncall = \"ping\"\n";
        let probe =
            at_rate(text, 1234.5, Duration::from_millis(1500), Duration::from_secs(2)).expect("writes");
        let scenario = Scenario::read(&probe, Path::new("")).expect("reads");
        let Load::Open { warmup, steps, .. } = scenario.load else {
            panic!("open")
        };
        assert_eq!(
            (warmup, steps[0].duration),
            (Duration::from_millis(1500), Duration::from_secs(2))
        );
        assert!((steps[0].rate - 1234.5).abs() < 1e-9);
    }
}
