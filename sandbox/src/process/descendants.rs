//! Ending whatever a process started and left behind.
//!
//! A descendant is known by any of three signs: the marker in its environment (survives `setsid`, a double fork,
//! re-parenting), the process group (survives a cleared environment), or a parent that is a descendant itself
//! (survives both, while the parent lives; hence the look before a stop). A process that cleared its environment,
//! left the group *and* lost its parent before we looked cannot be told from anybody else's; it is then only waited
//! for, by [`super::orphans`].
//!
//! Finding reads all of `/proc`, some 15 µs a process, on a blocking thread. New processes can be started while
//! we look, so looking and killing repeat until a look finds nothing.

use super::{orphans, proc};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal};
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};
use tokio::{task::spawn_blocking, time::sleep};

/// How often killing is repeated; a program that forks faster than this many rounds is beyond signals.
const KILL_ROUNDS_MAX: u32 = 200;
/// Between two looks, doubling from the first to the second.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// What the descendants of one process have in common.
#[derive(Clone, Debug)]
pub(super) struct Signs {
    /// `RINGWAY_PROCESS=<id>`.
    pub marker: Vec<u8>,
    /// The leader, whose pid is the group's id. It must not have been waited for yet: until then the kernel gives
    /// its number to nobody else.
    pub leader: Pid,
    /// Found earlier, with their start times.
    pub known: HashSet<(Pid, u64)>,
}

/// Looks for descendants while their parents still live, and remembers them.
pub(super) async fn remember(signs: &mut Signs) {
    let looked = signs.clone();
    // An error only when the runtime is shutting down.
    signs
        .known
        .extend(spawn_blocking(move || looked.find()).await.unwrap_or_default());
}

/// Ends all descendants, the leader excepted: SIGTERM, `grace` to comply, SIGKILL. All that became our children
/// have been waited for afterwards. Returns the number of those that would not die.
pub(super) async fn end(signs: &mut Signs, grace: Duration) -> usize {
    let deadline = Instant::now() + grace;
    let (mut pause, mut killed, mut asked) = (LOOK_AGAIN.0, 0, false);
    loop {
        let (looked, first) = (signs.clone(), !asked);
        let kill = Instant::now() >= deadline;
        let (found, unwaited) = spawn_blocking(move || {
            let found = looked.find();
            for (pid, started) in &found {
                match (kill, first) {
                    (true, _) => send(*pid, *started, Signal::KILL),
                    (false, true) => send(*pid, *started, Signal::TERM),
                    (false, false) => {}
                }
            }
            orphans::sweep(Instant::now());
            let unwaited = looked.unwaited();
            (found, unwaited)
        })
        .await
        // Only when the runtime is shutting down: nobody is left to look.
        .unwrap_or_default();
        let left = found.len() + unwaited;
        if left == 0 {
            orphans::forget_ended();
            return 0;
        }
        // A process that is about to end has lost its environment before it is a zombie; it is still to be waited for.
        signs.known.extend(found);
        asked = true;
        killed += u32::from(kill);
        if killed > KILL_ROUNDS_MAX {
            return left;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_AGAIN.1);
    }
}

impl Signs {
    /// Those found earlier that are dead children of ours and yet cannot be waited for: a process with several
    /// threads looks like a zombie as soon as its first thread is one.
    fn unwaited(&self) -> usize {
        let us = raw(getpid());
        let dead = |(pid, started): &&(Pid, u64)| {
            proc::stat(*pid).is_some_and(|stat| stat.started == *started && stat.zombie && stat.parent == us)
        };
        self.known.iter().filter(dead).count()
    }

    /// The living descendants with their start times.
    fn find(&self) -> Vec<(Pid, u64)> {
        let us = getpid();
        let mut rest: HashMap<Pid, proc::Stat> = proc::all()
            .into_iter()
            .filter(|pid| *pid != us && *pid != self.leader)
            .filter_map(|pid| Some((pid, proc::stat(pid).filter(|stat| !stat.zombie)?)))
            .collect();
        let group = self.leader.as_raw_nonzero().get();
        let mut found: Vec<(Pid, u64)> = rest
            .iter()
            .filter(|(pid, stat)| {
                stat.group == group
                    || self.known.contains(&(**pid, stat.started))
                    || proc::environment_has(**pid, &self.marker)
            })
            .map(|(pid, stat)| (*pid, stat.started))
            .collect();
        let mut parents: Vec<i32> = std::iter::once(group)
            .chain(found.iter().map(|(pid, _)| raw(*pid)))
            .collect();
        for (pid, _) in &found {
            if let Some(stat) = rest.remove(pid) {
                orphans::note(*pid, &stat);
            }
        }
        while let Some(parent) = parents.pop() {
            let children: Vec<Pid> = rest
                .iter()
                .filter(|(_, stat)| stat.parent == parent)
                .map(|(pid, _)| *pid)
                .collect();
            for pid in children {
                if let Some(stat) = rest.remove(&pid) {
                    orphans::note(pid, &stat);
                    found.push((pid, stat.started));
                    parents.push(raw(pid));
                }
            }
        }
        found
    }
}

/// Signals the process that `find` saw, and no other that got its number since.
fn send(pid: Pid, started: u64, signal: Signal) {
    let handle = pidfd_open(pid, PidfdFlags::empty());
    if proc::stat(pid).is_none_or(|stat| stat.started != started) {
        return;
    }
    // A failure means that it has ended, or is another user's: then the next look sees it again and it counts.
    let _ = match handle {
        Ok(handle) => pidfd_send_signal(handle, signal),
        Err(_) => kill_process(pid, signal),
    };
}

fn raw(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}
