//! A started process: waited for, measured with all its children, and ended when it is dropped.

use super::failure::{Context, Failure, Result};
use nix::time::{ClockId, clock_gettime};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

/// Until a started process accepts connections. Slow ones take seconds on a loaded machine.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Until a process that was asked to end is killed.
const END_WITHIN: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);
/// The unit of times in `/proc/PID/stat`: fixed at 100 Hz for user space on Linux.
const TICK_NS: u64 = 10_000_000;

/// A process and what it was started as.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with its output in `<dir>/<name>.log`.
    pub fn start(name: &str, mut command: Command, dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).map_err(|e| Failure::at(&log, &e))?;
        let same = file.try_clone().map_err(|e| Failure::at(&log, &e))?;
        let child = command
            .stdout(file)
            .stderr(same)
            .spawn()
            .context(format!("start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Waits until it accepts connections.
    pub fn ready(mut self, address: SocketAddr) -> Result<Self> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if TcpStream::connect(address).is_ok() {
                return Ok(self);
            }
            if let Some(status) = self.child.try_wait().context(&self.name)? {
                return Err(self.failed(&format!("ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.failed(&format!("does not listen on {address}")));
            }
            std::thread::sleep(POLL);
        }
    }

    /// The process that was started, then its descendants.
    pub fn pids(&self) -> Vec<u32> {
        let all: Vec<(u32, u32)> = parents();
        let mut family = vec![self.child.id()];
        let mut next = 0;
        while let Some(parent) = family.get(next).copied() {
            family.extend(all.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        family
    }

    /// CPU time used so far by it and its children.
    pub fn cpu(&self) -> Result<CpuTime> {
        let mut sum = CpuTime::default();
        for pid in self.pids() {
            let one = CpuTime::of(pid).map_err(|e| self.failed(&e.to_string()))?;
            sum.total_ns += one.total_ns;
            sum.user_ns += one.user_ns;
            sum.system_ns += one.system_ns;
        }
        Ok(sum)
    }

    /// Resident memory of it and its children; pages they share count for each.
    pub fn rss_bytes(&self) -> u64 {
        self.pids()
            .into_iter()
            .filter_map(|pid| resident(pid, "VmRSS:"))
            .sum()
    }

    /// The most it has held so far, with its children: the sum of each one's most.
    pub fn rss_bytes_max(&self) -> u64 {
        self.pids()
            .into_iter()
            .filter_map(|pid| resident(pid, "VmHWM:"))
            .sum()
    }

    /// What it has printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid(), signal).context(&self.name)
    }

    /// A failure that quotes the end of what it printed.
    pub fn failed(&self, what: &str) -> Failure {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Failure::new(format!("{}: {what}\n{}", self.name, last.join("\n")))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), Signal::TERM);
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        for pid in self.pids().into_iter().rev() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// CPU time used. The sum is the kernel's own nanosecond count; the parts are sampled by it at ticks.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// Both parts.
    pub total_ns: u64,
    /// In user space.
    pub user_ns: u64,
    /// In the kernel on its behalf.
    pub system_ns: u64,
}

impl CpuTime {
    /// Since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            user_ns: self.user_ns.saturating_sub(before.user_ns),
            system_ns: self.system_ns.saturating_sub(before.system_ns),
        }
    }

    fn of(pid: u32) -> Result<Self> {
        let fields = stat(pid).ok_or("has ended").context(format!("process {pid}"))?;
        let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        // Fields 14 and 15 of proc(5), counted from field 3, the first behind the name.
        let (user_ns, system_ns) = (ticks(11) * TICK_NS, ticks(12) * TICK_NS);
        let raw = i32::try_from(pid).context("process id")?;
        let total = ClockId::pid_cpu_clock_id(nix::unistd::Pid::from_raw(raw)).and_then(clock_gettime);
        let total = total.context(format!("CPU clock of process {pid}"))?;
        Ok(Self {
            total_ns: u64::try_from(Duration::from(total).as_nanos()).unwrap_or(u64::MAX),
            user_ns,
            system_ns,
        })
    }
}

/// An address nobody listens on at the moment.
pub fn free_address() -> Result<SocketAddr> {
    let probe = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    probe.local_addr().context("find a free port")
}

/// The fields of `/proc/PID/stat` behind the name, which may hold spaces.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Every process and its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pid = |e: std::fs::DirEntry| e.file_name().to_str()?.parse::<u32>().ok();
    let parent = |pid: u32| stat(pid)?.get(1)?.parse::<u32>().ok();
    entries
        .flatten()
        .filter_map(pid)
        .filter_map(|p| Some((p, parent(p)?)))
        .collect()
}

fn resident(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(field))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}
