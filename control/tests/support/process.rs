//! A child process whose output can be awaited, and that is gone when the test is.
//!
//! Both of its streams are read line by line into one log. A test waits for a line instead of sleeping; when
//! the line does not come, the panic shows the log. The child leads a process group of its own, so that what it
//! started goes with it.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

/// How long a program may take to say what a test waits for: long enough for a loaded machine, since a test
/// that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a program that was asked to stop may take before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

pub struct Process {
    name: String,
    child: Child,
    /// Once it has been collected.
    status: Option<ExitStatus>,
    log: Arc<Log>,
}

impl Process {
    /// Starts the program with both streams captured and no input.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|reason| panic!("{name} does not start: {reason}"));
        let log = Arc::new(Log::default());
        Log::follow(&log, child.stdout.take());
        Log::follow(&log, child.stderr.take());
        Self {
            name: name.to_owned(),
            child,
            status: None,
            log,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        self.log.state().lines.join("\n")
    }

    /// What `find` makes of the first line it knows; panics with the log when the program ends or says nothing.
    pub fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut read = 0;
        let mut state = self.log.state();
        loop {
            if let Some(found) = state.lines[read..].iter().find_map(|line| find(line)) {
                return found;
            }
            read = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open_streams == 0 || left.is_zero() {
                let why = if state.open_streams == 0 {
                    "ended"
                } else {
                    "was given up on"
                };
                let log = state.lines.join("\n");
                drop(state);
                panic!("{} {why} before {what}; it wrote:\n{log}", self.name);
            }
            state = self
                .log
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Asks it to stop as an operator would, and waits for it; what it left behind in its group is killed.
    pub fn stop(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        let _ = kill_process(self.pid(), Signal::TERM);
        self.wait_for_end(STOP_PATIENCE);
        self.reap()
    }

    /// Waits for its end without asking for it. What it leaves behind is left alone: a test may want to see it.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        self.wait_for_end(patience);
        // Its streams close a moment before it has ended.
        while self.status.is_none() && Instant::now() < deadline {
            self.status = self.child.try_wait().ok().flatten();
            std::thread::sleep(Duration::from_millis(1));
        }
        self.status
    }

    /// Kills the group and collects the program. In this order: until it is collected its id is nobody else's.
    fn reap(&mut self) -> ExitStatus {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let status = self.child.wait().expect("our own child can be waited for");
        self.status = Some(status);
        status
    }

    /// Whether it has ended, without collecting it.
    fn has_ended(&self) -> bool {
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.status.is_some() || matches!(waitid(WaitId::Pid(self.pid()), peek), Ok(Some(_)))
    }

    /// Waits until both streams are closed, which is when the program and all that shares them has ended.
    fn wait_for_end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.log.state();
        while state.open_streams > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self
                .log
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.has_ended();
        let status = if ended && self.status.is_none() {
            self.reap()
        } else {
            self.stop()
        };
        if std::thread::panicking() {
            let how = if ended {
                format!("had ended ({status})")
            } else {
                "was running".to_owned()
            };
            eprintln!(
                "{} {how} when the test failed; it wrote:\n{}",
                self.name,
                self.log()
            );
        }
    }
}

#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    open_streams: usize,
}

impl Log {
    fn follow(log: &Arc<Self>, stream: Option<impl Read + Send + 'static>) {
        let Some(stream) = stream else { return };
        log.state().open_streams += 1;
        let log = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                log.state()
                    .lines
                    .push(String::from_utf8_lossy(&line).trim_end().to_owned());
                log.changed.notify_all();
            }
            log.state().open_streams -= 1;
            log.changed.notify_all();
        });
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
