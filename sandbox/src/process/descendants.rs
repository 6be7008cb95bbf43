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

use super::{
    orphans,
    proc::{self, Stat},
};
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
    /// What stands in their environment.
    pub marker: Marker,
    /// The leader, whose pid is the group's id. It must not have been waited for yet: until then the kernel gives
    /// its number to nobody else. There is none when the whole gateway is gone.
    pub leader: Option<Pid>,
    /// Found earlier, with their start times.
    pub known: HashSet<(Pid, u64)>,
}

/// An entry of an environment.
#[derive(Clone, Debug)]
pub(super) enum Marker {
    /// Exactly this: the descendants of one process.
    Process(Vec<u8>),
    /// Beginning with this: those of all processes of one gateway.
    Owner(Vec<u8>),
}

impl Marker {
    fn is_on(&self, pid: Pid) -> bool {
        proc::environment_has(pid, |entry| match self {
            Self::Process(whole) => entry == whole,
            Self::Owner(start) => entry.starts_with(start),
        })
    }
}

/// Looks for descendants while their parents still live, and remembers them.
pub(super) async fn remember(signs: &mut Signs) {
    let looked = signs.clone();
    // An error only when the runtime is shutting down.
    signs
        .known
        .extend(spawn_blocking(move || looked.find()).await.unwrap_or_default());
}

/// Ends all descendants, the leader excepted: SIGTERM, `grace` to comply (or until `hurry`), SIGKILL. All that
/// became our children have been waited for afterwards. Returns the number of those that would not die.
pub(super) async fn end(signs: &mut Signs, grace: Duration, hurry: impl Future<Output = ()>) -> usize {
    let mut deadline = Instant::now() + grace;
    let (mut pause, mut killed, mut asked) = (LOOK_AGAIN.0, 0, false);
    tokio::pin!(hurry);
    let mut hurried = false;
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
        tokio::select! {
            () = sleep(pause) => {}
            () = &mut hurry, if !hurried => {
                hurried = true;
                deadline = Instant::now();
            }
        }
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

    /// The living descendants with their start times. Dead ones that their parent has not waited for are only noted,
    /// for the day they become ours.
    fn find(&self) -> Vec<(Pid, u64)> {
        let us = getpid();
        let others = proc::all()
            .into_iter()
            .filter(|pid| *pid != us && Some(*pid) != self.leader);
        let mut rest: HashMap<Pid, Stat> = others.filter_map(|pid| Some((pid, proc::stat(pid)?))).collect();
        let group = self.leader.map(raw);
        let mut found: Vec<(Pid, Stat)> = rest
            .extract_if(|pid, stat| {
                Some(stat.group) == group
                    || self.known.contains(&(*pid, stat.started))
                    || self.marker.is_on(*pid)
            })
            .collect();
        let mut parents: Vec<i32> = found.iter().map(|(pid, _)| raw(*pid)).chain(group).collect();
        while let Some(parent) = parents.pop() {
            for (pid, stat) in rest.extract_if(|_, stat| stat.parent == parent) {
                parents.push(raw(pid));
                found.push((pid, stat));
            }
        }
        for (pid, stat) in &found {
            orphans::note(*pid, stat);
        }
        let living = found.into_iter().filter(|(_, stat)| !stat.zombie);
        living.map(|(pid, stat)| (pid, stat.started)).collect()
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
