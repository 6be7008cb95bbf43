//! Waiting for processes that became ours: the kernel hands a subreaper every orphan below it, and one that nobody
//! waits for stays a zombie until this process ends.
//!
//! Only what the sandbox caused may be waited for: the same process may have other children (`ringway up` has the
//! data plane), and whoever started those needs their exit status. The kernel does not say whether a child was
//! started or adopted, so the rules are, in this order:
//! 1. a process we started and still hold is not ours to wait for here;
//! 2. one in the group of such a process, or seen before with its marker, is: at once;
//! 3. one outside our own process group that has been a zombie for [`STRANGER_AGE`] is: it left its server's group
//!    and died unseen, and code that starts children waits for them sooner than that;
//! 4. all others are somebody else's.
//!
//! Children belong to the process, not to a [`Sandbox`](crate::Sandbox), hence the one static table.

use super::proc::{self, Stat};
use rustix::process::{
    Pid, WaitId, WaitIdOptions, WaitOptions, getpgrp, set_child_subreaper, waitid, waitpid,
};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// See rule 3 of the module.
pub(crate) const STRANGER_AGE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Table {
    /// Leaders started here and not yet waited for. Each is also its group's id.
    leaders: HashSet<i32>,
    /// Descendants found by marker, with their start time.
    marked: HashSet<(i32, u64)>,
    /// When a zombie of unknown origin was first seen.
    strangers: HashMap<(i32, u64), Instant>,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

fn table() -> MutexGuard<'static, Table> {
    // Each change is one insertion or removal, so a panic elsewhere leaves nothing half done.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this process the one that adopts its orphaned descendants.
pub(crate) fn adopt() {
    if let Err(error) = set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::warn!(%error, "not a subreaper: a server's stray processes cannot be waited for");
    }
}

/// Starts a leader. The table is held meanwhile, so that no sweep sees the process before the table does.
pub(super) fn start<C>(spawn: impl FnOnce() -> io::Result<(C, Pid)>) -> io::Result<(C, Pid)> {
    let mut table = table();
    let (child, pid) = spawn()?;
    table.leaders.insert(raw(pid));
    Ok((child, pid))
}

/// A leader has been waited for, and nothing of its group is left.
pub(super) fn forget(leader: Pid) {
    table().leaders.remove(&raw(leader));
}

/// A descendant was found by its marker: once it is an orphan and dead, it is ours to wait for.
pub(super) fn note(pid: Pid, stat: &Stat) {
    table().marked.insert((raw(pid), stat.started));
}

/// Waits for every dead child that the rules say is ours. True when there is one of unknown origin, so that a
/// later sweep should look again.
pub(crate) fn sweep(now: Instant) -> bool {
    let mut table = table();
    // One system call tells whether there is anything to do at all.
    let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(waitid(WaitId::All, any), Ok(Some(_))) {
        table.strangers.clear();
        return false;
    }
    let own_group = raw(getpgrp());
    let mut unknown = HashMap::new();
    for (pid, stat) in proc::children() {
        if table.leaders.contains(&raw(pid)) || !stat.zombie {
            continue;
        }
        let key = (raw(pid), stat.started);
        if !table.leaders.contains(&stat.group) && !table.marked.contains(&key) {
            if stat.group == own_group {
                continue;
            }
            let since = table.strangers.get(&key).copied().unwrap_or(now);
            if now.duration_since(since) < STRANGER_AGE {
                unknown.insert(key, since);
                continue;
            }
        }
        // `None`: its first thread is dead, others are still ending; a signal tells when they have. An error: its
        // starter was faster, and nothing is lost.
        if !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) {
            table.marked.remove(&key);
        }
    }
    let pending = !unknown.is_empty();
    table.strangers = unknown;
    pending
}

/// Forgets marked processes that have ended without becoming our children.
pub(super) fn forget_ended() {
    table().marked.retain(|(pid, started)| {
        Pid::from_raw(*pid)
            .and_then(proc::stat)
            .is_some_and(|stat| stat.started == *started)
    });
}

fn raw(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}
