//! wrk from the distribution's packages: closed loop, HTTP/1.1, current revision. The second witness.

use super::{
    super::{
        failure::{Context, Failure, Result, write},
        place::{Placement, installed},
        work::{Answered, Era, Http, Pace, Work},
    },
    Generator,
};
use std::{fmt::Write as _, path::Path};

/// wrk, with a script of ours.
pub struct Wrk;

impl Generator for Wrk {
    fn name(&self) -> &'static str {
        "wrk"
    }

    fn run(&self, work: &Work, placement: &Placement, dir: &Path) -> Result<Answered> {
        if work.http != Http::One || work.era != Era::Modern || work.pace != Pace::Closed || work.ca.is_some()
        {
            return Err(Failure::new(
                "wrk can call in closed loop, over HTTP/1.1 in clear, without sessions; this row needs more",
            ));
        }
        let script = dir.join("wrk.lua");
        write(&script, &lua(work))?;
        let output = placement
            .on_load_cpu(&installed("wrk")?)
            .args(["-t1", "-c", &work.connections.to_string()])
            .args(["-d", &format!("{}s", work.duration.as_secs().max(1))])
            .arg("-s")
            .args([script.as_os_str(), work.url.as_ref()])
            .output()
            .context("run wrk")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().find_map(|l| l.strip_prefix("RESULT "));
        let line = line.ok_or_else(|| {
            Failure::new(format!(
                "wrk gave no result: {said}{}",
                String::from_utf8_lossy(&output.stderr)
            ))
        })?;
        let numbers: Vec<f64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [requests, errors, micros, p50_us, p99_us] = numbers[..] else {
            return Err(Failure::new(format!("wrk's result is not five numbers: {line}")));
        };
        Ok(Answered {
            ok: (requests - errors).max(0.0) as u64,
            failed: errors as u64,
            errors: if errors > 0.0 {
                format!("{errors} errors")
            } else {
                String::new()
            },
            per_s: (requests - errors).max(0.0) / (micros / 1e6).max(f64::EPSILON),
            p50_us,
            p99_us,
            limited: false,
            search: None,
        })
    }
}

fn lua(work: &Work) -> String {
    let mut script = format!("wrk.method = 'POST'\nwrk.body = [==[{}]==]\n", work.body(1));
    for (name, value) in work.headers() {
        let _ = writeln!(script, "wrk.headers['{name}'] = '{value}'");
    }
    script.push_str(
        "done = function(summary, latency, requests)\n\
         local e = summary.errors\n\
         print(string.format('RESULT %d %d %d %d %d', summary.requests,\n\
         e.connect + e.read + e.write + e.status + e.timeout, summary.duration,\n\
         latency:percentile(50), latency:percentile(99)))\nend\n",
    );
    script
}
