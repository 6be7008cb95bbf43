//! Where processes run: the proxy has one processor for itself, load and upstream share another.
//!
//! A measured second must not be cut up by what else the machine does, so everything measured runs round-robin
//! real-time where that is permitted. Where it is not, the strongest niceness is asked for, and said aloud.

use super::failure::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Descriptors a process may need: HAProxy wants two for each connection it might hold.
const DESCRIPTORS: u64 = 20_000;

/// Under `SCHED_RR`.
const PRIORITY: &str = "1";
/// Goes before [`PRIORITY`].
const PRIORITY_AHEAD: &str = "2";

/// How the kernel is asked to schedule what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheduling {
    /// `SCHED_RR`: nothing of ordinary priority cuts in.
    Rr,
    /// Niceness -20 within the ordinary scheduler.
    Nice,
    /// As everything else.
    Normal,
}

/// The plan for one comparison.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// The proxy's processor.
    pub proxy_cpu: usize,
    /// The generator's and the upstream's.
    pub load_cpu: usize,
    /// Of load and upstream, and of the proxy.
    pub scheduling: Scheduling,
    /// Of the proxy alone.
    pub proxy_scheduling: Scheduling,
    /// The proxy may use every processor, not its own alone.
    pub spread: bool,
}

impl Placement {
    /// What this machine permits, with a word on stderr about what it does not.
    pub fn find(wanted: Scheduling) -> Self {
        raise_descriptors();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        if cpus < 2 {
            eprintln!(
                "WARNING: one processor only; proxy, load and upstream share it, and latencies mean little"
            );
        }
        let mut scheduling = wanted;
        if scheduling == Scheduling::Rr && !permitted("chrt", &["-r", "1"]) {
            eprintln!("WARNING: SCHED_RR is not permitted here; falling back to niceness -20");
            scheduling = Scheduling::Nice;
        }
        if scheduling == Scheduling::Nice && !permitted("nice", &["-n", "-20"]) {
            eprintln!(
                "WARNING: no better priority is permitted here; other work on this machine will cut in"
            );
            scheduling = Scheduling::Normal;
        }
        Self {
            proxy_cpu: 0,
            load_cpu: cpus.min(2) - 1,
            scheduling,
            proxy_scheduling: scheduling,
            spread: false,
        }
    }

    /// A proxy's command, on the given processors (`0`, `0-1`).
    pub fn proxy(&self, cpus: &str, program: &Path) -> Command {
        command(cpus, self.proxy_scheduling, PRIORITY, program)
    }

    /// A command on the proxy's processor.
    pub fn on_proxy_cpu(&self, program: &Path) -> Command {
        self.proxy(&self.proxy_cpu.to_string(), program)
    }

    /// A command on the load's processor.
    pub fn on_load_cpu(&self, program: &Path) -> Command {
        command(&self.load_cpu.to_string(), self.scheduling, PRIORITY, program)
    }

    /// The same, served before what is there in the usual way. A generator that asks for more than it can get never
    /// rests, and an upstream beside it would wait for whole time slices of 100 ms.
    pub fn ahead_on_load_cpu(&self, program: &Path) -> Command {
        command(
            &self.load_cpu.to_string(),
            self.scheduling,
            PRIORITY_AHEAD,
            program,
        )
    }
}

/// The wrappers replace themselves, so the child's process id is the program's.
fn command(cpus: &str, scheduling: Scheduling, priority: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cpus);
    match scheduling {
        Scheduling::Rr => drop(command.args(["chrt", "-r", priority])),
        Scheduling::Nice => drop(command.args(["nice", "-n", "-20"])),
        Scheduling::Normal => {}
    }
    command.arg(program);
    command.stdin(Stdio::null());
    command
}

/// What is started later inherits this.
fn raise_descriptors() {
    let now = getrlimit(Resource::Nofile);
    let wanted = |maximum| Rlimit {
        current: Some(DESCRIPTORS),
        maximum,
    };
    if now.current.is_some_and(|current| current < DESCRIPTORS)
        && setrlimit(Resource::Nofile, wanted(now.maximum))
            .or_else(|_| setrlimit(Resource::Nofile, wanted(Some(DESCRIPTORS))))
            .is_err()
    {
        eprintln!(
            "WARNING: no more than {:?} descriptors are permitted; some proxies refuse to start",
            now.current
        );
    }
}

fn permitted(wrapper: &str, args: &[&str]) -> bool {
    let tried = Command::new(wrapper)
        .args(args)
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    // `nice` warns and runs the command anyway.
    tried.is_ok_and(|o| o.status.success() && o.stderr.is_empty())
}

/// Where a program of the system is, or what to install.
pub fn installed(program: &str) -> Result<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .ok_or("not found; install the distribution's package of that name")
        .context(program)
}
