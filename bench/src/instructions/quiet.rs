//! Waits until a process has come to rest, so that its peers speak only when it listens.
//!
//! A simulated worker is fifty times slower than its peers. If they answered as soon as they could, an answer would
//! sometimes lie there when the worker first looks and sometimes not, and each time it would take another way. So
//! before a peer writes, every thread of the process must sleep, and none must have run between two looks.

use super::callgrind::Failure;
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// Between two looks: longer than a thread needs to fall asleep, short against a call under callgrind.
const LOOK: Duration = Duration::from_micros(150);
/// A call takes milliseconds; a process that is busy for this long does not come to rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// A thread as the kernel describes it: asleep or not, and how often it has been switched from and to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thread {
    id: String,
    asleep: bool,
    switches: String,
}

/// Returns when all threads of `process` sleep, and slept through two looks.
pub fn wait(process: u32) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    let mut before = None;
    while Instant::now() < end {
        let now =
            look(process).map_err(|e| Failure::Peer(format!("process {process} cannot be seen: {e}")))?;
        let rests = !now.is_empty() && now.iter().all(|t| t.asleep);
        if rests && before.as_ref() == Some(&now) {
            return Ok(());
        }
        before = Some(now);
        thread::sleep(LOOK);
    }
    Err(Failure::Peer(format!("process {process} does not come to rest")))
}

fn look(process: u32) -> std::io::Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let entry = entry?;
        let status = fs::read_to_string(entry.path().join("status"))?;
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
        threads.push(Thread {
            id: entry.file_name().to_string_lossy().into_owned(),
            asleep: field("State:").is_some_and(|s| s.starts_with('S')),
            switches: format!(
                "{:?} {:?}",
                field("voluntary_ctxt_switches:"),
                field("nonvoluntary_ctxt_switches:")
            ),
        });
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_process_is_at_rest() {
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("starts");
        let rested = wait(sleeper.id());
        sleeper.kill().expect("killed");
        sleeper.wait().expect("reaped");
        rested.expect("at rest");
    }
}
