//! One process from spawn to gone.
//!
//! ```text
//! Running ──(exits)──────────────────────────────► Ended ──(descendants ended, all waited for)──► Gone
//!    └──(stop: stdin closed → SIGTERM → SIGKILL)──────┘
//! ```
//!
//! `Ended` is told at once, so that calls under way can be answered; `Gone` releases the process's place in the
//! caps. Between the two the dead leader is *not* waited for: its zombie keeps its number, and so the number of
//! its group, from being given to anybody else while we signal the group.

use super::{
    descendants::{self, Marker, Signs},
    launch::{Launch, MARKER},
    orphans, owner,
};
use crate::limits::Limits;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::{
    collections::HashSet,
    env, fmt, io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    signal::unix::{Signal as Signals, SignalKind, signal},
    sync::{OwnedSemaphorePermit, watch},
    time::sleep,
};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// Nobody can say.
    Unknown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Signaled(number) => match Signal::from_named_raw(*number) {
                Some(Signal::KILL) => f.write_str("was killed by signal 9 (SIGKILL)"),
                Some(Signal::TERM) => f.write_str("was ended by signal 15 (SIGTERM)"),
                Some(Signal::SEGV) => f.write_str("crashed with signal 11 (SIGSEGV)"),
                Some(Signal::ABORT) => f.write_str("aborted with signal 6 (SIGABRT)"),
                _ => write!(f, "was ended by signal {number}"),
            },
            Self::Unknown => f.write_str("ended in an unknown way"),
        }
    }
}

/// Where in its life a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Ended(End),
    Gone(End),
}

/// What is wanted of a process; never less than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    Run,
    /// End in good order.
    Stop,
    /// End now.
    Kill,
}

/// A supervised process. Dropping the last clone stops it.
#[derive(Clone)]
pub(crate) struct Process {
    pid: u32,
    phase: watch::Receiver<Phase>,
    wish: Arc<watch::Sender<Wish>>,
    last_words: Arc<Mutex<String>>,
}

/// Sees a process's end without keeping it running.
pub(crate) struct Watch(watch::Receiver<Phase>);

impl Watch {
    /// Waits until nothing of the process is left.
    pub(crate) async fn gone(&self) {
        wait_for(&self.0, |phase| matches!(phase, Phase::Gone(_))).await;
    }
}

/// Its ends of the pipes.
pub(crate) struct Pipes {
    pub stdin: ChildStdin,
    pub stdout: ChildStdout,
    /// Tells when stdin is to be closed.
    pub wish: watch::Receiver<Wish>,
}

/// Starts a process. `places` are held until it and all its descendants are gone.
pub(crate) fn spawn(
    launch: &Launch,
    limits: &Limits,
    places: Vec<OwnedSemaphorePermit>,
) -> io::Result<(Process, Pipes)> {
    let id = owner::next_id();
    // Listening begins before the process does, so that no end is missed.
    let ends = signal(SignalKind::child())?;
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(launch.environment(env::vars_os()))
        .env(MARKER, &id)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        // The last resort when the runtime goes down without a shutdown.
        .kill_on_drop(true);
    if let Some(cwd) = &launch.cwd {
        command.current_dir(cwd);
    }
    let (mut child, leader) = orphans::start(|| {
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.ok_or_else(|| io::Error::other("the new process has no id"))?;
        Ok((child, pid))
    })?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("the new process has no pipes"));
    };
    let pid = leader.as_raw_nonzero().get().cast_unsigned();
    tracing::info!(
        server = launch.name,
        pid,
        program = launch.program,
        "local server started"
    );

    let (wish, wished) = watch::channel(Wish::Run);
    let (phase_now, phase) = watch::channel(Phase::Running);
    let last_words = Arc::new(Mutex::new(String::new()));
    let process = Process {
        pid,
        phase,
        wish: Arc::new(wish),
        last_words: last_words.clone(),
    };
    let supervisor = Supervisor {
        name: launch.name.clone(),
        child,
        leader,
        signs: Signs {
            marker: Marker::Process(format!("{MARKER}={id}").into_bytes()),
            leader: Some(leader),
            known: HashSet::new(),
        },
        ends,
        wish: wished.clone(),
        eof_grace: limits.eof_grace,
        term_grace: limits.term_grace,
        phase: phase_now,
        places,
    };
    tokio::spawn(copy_stderr(
        launch.name.clone(),
        stderr,
        limits.stderr_line_bytes_max,
        last_words,
        process.phase.clone(),
    ));
    tokio::spawn(supervisor.run());
    Ok((
        process,
        Pipes {
            stdin,
            stdout,
            wish: wished,
        },
    ))
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// See [`Watch`].
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.phase.clone())
    }

    /// What stops it, without keeping it running.
    pub(crate) fn downgrade(&self) -> Weak<watch::Sender<Wish>> {
        Arc::downgrade(&self.wish)
    }

    /// Begins the stop, or makes it shorter; does not wait.
    pub(crate) fn stop(&self, wish: Wish) {
        self.wish.send_modify(|now| *now = wish.max(*now));
    }

    /// Waits until the process itself has ended.
    pub(crate) async fn ended(&self) -> End {
        wait_for(&self.phase, |phase| {
            matches!(phase, Phase::Ended(_) | Phase::Gone(_))
        })
        .await
    }

    /// Waits until nothing of it is left.
    pub(crate) async fn gone(&self) -> End {
        wait_for(&self.phase, |phase| matches!(phase, Phase::Gone(_))).await
    }

    /// The last line it wrote to stderr: usually the reason of a crash.
    pub(crate) fn last_words(&self) -> String {
        self.last_words
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn wait_for(phase: &watch::Receiver<Phase>, reached: impl FnMut(&Phase) -> bool) -> End {
    let mut phase = phase.clone();
    match phase.wait_for(reached).await.map(|phase| *phase) {
        Ok(Phase::Ended(end) | Phase::Gone(end)) => end,
        // The supervisor is gone with its runtime.
        Ok(Phase::Running) | Err(_) => End::Unknown,
    }
}

/// Owns the process; runs until it is gone.
struct Supervisor {
    name: String,
    child: Child,
    leader: Pid,
    signs: Signs,
    ends: Signals,
    wish: watch::Receiver<Wish>,
    eof_grace: Duration,
    term_grace: Duration,
    phase: watch::Sender<Phase>,
    places: Vec<OwnedSemaphorePermit>,
}

impl Supervisor {
    async fn run(mut self) {
        let leader = self.leader;
        let asked = tokio::select! {
            end = ended(leader, &mut self.ends) => Err(end),
            () = wished(&mut self.wish, Wish::Stop) => Ok(()),
        };
        let end = match asked {
            Ok(()) => self.stop().await,
            Err(end) => end,
        };
        let pid = leader.as_raw_nonzero().get();
        tracing::info!(
            server = self.name,
            pid,
            asked = asked.is_ok(),
            "local server {end}"
        );
        self.phase.send_replace(Phase::Ended(end));

        let mut wish = self.wish.clone();
        let hurry = async { wished(&mut wish, Wish::Kill).await };
        let left = descendants::end(&mut self.signs, self.term_grace, hurry).await;
        if left > 0 {
            tracing::error!(
                server = self.name,
                pid,
                left,
                "processes of a local server do not die"
            );
        }
        if let Err(error) = self.child.wait().await {
            tracing::warn!(server = self.name, pid, %error, "a local server could not be waited for");
        }
        orphans::forget(leader);
        drop(self.places);
        self.phase.send_replace(Phase::Gone(end));
    }

    /// Stdin is closed by the task that writes to it; here each further word is louder than the last.
    async fn stop(&mut self) -> End {
        let leader = self.leader;
        descendants::remember(&mut self.signs).await;
        if let Some(end) = self.ended_within(self.eof_grace).await {
            return end;
        }
        // Before it is waited for, no other process can have its number.
        let _ = kill_process_group(leader, Signal::TERM);
        if let Some(end) = self.ended_within(self.term_grace).await {
            return end;
        }
        tracing::warn!(
            server = self.name,
            "a local server does not end by itself; killing it"
        );
        let _ = kill_process_group(leader, Signal::KILL);
        ended(leader, &mut self.ends).await
    }

    /// `None` when the grace is over, or taken back.
    async fn ended_within(&mut self, grace: Duration) -> Option<End> {
        tokio::select! {
            // Looked at first: what has ended needs no further word.
            biased;
            end = ended(self.leader, &mut self.ends) => Some(end),
            () = wished(&mut self.wish, Wish::Kill) => None,
            () = sleep(grace) => None,
        }
    }
}

/// Waits until at least this is wanted.
async fn wished(wish: &mut watch::Receiver<Wish>, least: Wish) {
    let told = wish.wait_for(|wish| *wish >= least).await.is_ok();
    // Every handle was dropped: that is a stop, and nobody is left to take the grace back.
    if !told && least > Wish::Stop {
        std::future::pending::<()>().await;
    }
}

/// Waits until the process is a zombie, leaving it one.
async fn ended(pid: Pid, ends: &mut Signals) -> End {
    /// Signals coalesce and a runtime can be slow to see one; a look now and then costs nothing.
    const LOOK: Duration = Duration::from_secs(5);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::Pid(pid), options) {
            Ok(None) => {}
            Ok(Some(status)) => {
                return match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => End::Exited(code),
                    (_, Some(signal)) => End::Signaled(signal),
                    _ => End::Unknown,
                };
            }
            Err(rustix::io::Errno::INTR) => continue,
            // Somebody in this process waits for children that are not theirs.
            Err(_) => return End::Unknown,
        }
        tokio::select! {
            _ = ends.recv() => {}
            () = sleep(LOOK) => {}
        }
    }
}

/// Copies stderr to our log, line by line, until it ends or nothing of the process is left.
async fn copy_stderr(
    name: String,
    stderr: impl AsyncRead + Unpin,
    line_max: usize,
    last_words: Arc<Mutex<String>>,
    phase: watch::Receiver<Phase>,
) {
    let lines = async {
        let mut stderr = BufReader::new(stderr);
        let (mut line, mut cut) = (Vec::new(), false);
        while let Ok(chunk) = stderr.fill_buf().await {
            let (taken, ends) = match chunk.iter().position(|b| *b == b'\n') {
                Some(newline) => (newline + 1, true),
                None => (chunk.len(), chunk.is_empty()),
            };
            let room = line_max.saturating_sub(line.len()).min(taken);
            line.extend_from_slice(&chunk[..room]);
            cut |= room < taken;
            let over = chunk.is_empty();
            stderr.consume(taken);
            if ends {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end();
                if !text.is_empty() {
                    tracing::info!(target: "ringway_sandbox::stderr", server = name, cut, "{text}");
                    text.clone_into(&mut last_words.lock().unwrap_or_else(PoisonError::into_inner));
                }
                (line, cut) = (Vec::new(), false);
            }
            if over {
                break;
            }
        }
    };
    tokio::select! {
        () = lines => {}
        _ = wait_for(&phase, |phase| matches!(phase, Phase::Gone(_))) => {}
    }
}
