//! The few facts read from `/proc`. A process can end at any moment, so every answer is an option.

use rustix::process::Pid;
use std::{fs, io};

/// What `/proc/<pid>/stat` says of a process, dead ones that nobody waited for included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub zombie: bool,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// Clock ticks since boot; with the pid it names a process beyond doubt.
    pub started: u64,
}

/// Reads a process's [`Stat`].
pub(super) fn stat(pid: Pid) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

fn parse(stat: &str) -> Option<Stat> {
    // The program's name may hold spaces and brackets; the fields begin behind the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    // From tty_nr (7th) to itrealvalue (21st).
    let started = fields.nth(15)?.parse().ok()?;
    Some(Stat {
        zombie: matches!(state, "Z" | "X"),
        parent,
        group,
        session,
        started,
    })
}

/// Every process there is.
pub(super) fn all() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let name = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    entries.filter_map(name).filter_map(Pid::from_raw).collect()
}

/// Whether the process's environment, as it was at its last exec, has such an entry (`NAME=value`). Processes of
/// other users and dead ones keep theirs to themselves.
pub(super) fn environment_has(pid: Pid, such: impl Fn(&[u8]) -> bool) -> bool {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()))
        .is_ok_and(|environment| environment.split(|b| *b == 0).any(such))
}

/// The children of this process, dead or alive. Asks everybody who their parent is: the list that the kernel keeps
/// per thread (`/proc/self/task/*/children`) leaves some out while others end, as proc(5) warns.
pub(super) fn children() -> Vec<(Pid, Stat)> {
    let us = rustix::process::getpid().as_raw_nonzero().get();
    let stats = all().into_iter().filter_map(|pid| Some((pid, stat(pid)?)));
    stats.filter(|(_, stat)| stat.parent == us).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_with_a_hostile_name() {
        let line = "42 (a) Z (b) R) Z 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 0 0";
        let expected = Stat {
            zombie: true,
            parent: 7,
            group: 8,
            session: 9,
            started: 12345,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("42 (a"), None);
    }

    #[test]
    fn sees_this_process() {
        let us = rustix::process::getpid();
        assert!(all().contains(&us));
        let stat = stat(us).expect("own stat");
        assert!(!stat.zombie && stat.started > 0);
        assert!(!environment_has(us, |entry| entry == b"RINGWAY_NO_SUCH_VARIABLE=1"));
    }

    #[test]
    fn lists_children() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep");
        let pid = Pid::from_child(&child);
        let listed = || children().into_iter().any(|(child, _)| child == pid);
        assert!(listed());
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(!listed());
    }
}
