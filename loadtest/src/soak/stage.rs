//! What stands around the gateway: two upstreams as processes of their own, the gateway itself, its configuration.

use super::{Options, outcome::Server};
use crate::wire::{Connection, Head, Method, Request, Target, TargetOptions, Want};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a program may take until it serves.
const START_MAX: Duration = Duration::from_secs(60);
/// How long the gateway may take to end: its drain is 5 s here.
const END_MAX: Duration = Duration::from_secs(30);
/// Between two looks at something that tells nobody of its changes.
const LOOK: Duration = Duration::from_millis(50);

/// Why there was nothing to soak, or no way on.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// An option cannot be used.
    #[error("{0}")]
    Input(String),
    /// A program did not start, or ended.
    #[error("{program}: {what}")]
    Program {
        /// Which.
        program: String,
        /// What happened.
        what: String,
    },
    /// Our own files.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A part of the soak failed.
    #[error("{0}")]
    Own(String),
}

impl StageError {
    pub(super) fn task(why: tokio::task::JoinError) -> Self {
        Self::Own(format!("a task of the soak failed: {why}"))
    }

    fn program(program: &str, what: impl Into<String>) -> Self {
        Self::Program {
            program: program.to_owned(),
            what: what.into(),
        }
    }
}

/// A child that is killed when dropped.
#[derive(Debug)]
struct Process {
    child: Child,
}

impl Process {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // One that has ended by itself is as good as signalled.
            _ = kill_process(pid, signal);
        }
    }

    async fn ended(&mut self, within: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + within;
        loop {
            let status = self.child.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already waited for, or beyond help.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// One of the two upstreams.
#[derive(Debug)]
struct Upstream {
    args: &'static [&'static str],
    addr: SocketAddr,
    admin: SocketAddr,
    process: Option<Process>,
}

/// Everything that runs.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    // Removes the directory with it, unless it is to be kept.
    _temporary: Option<Removed>,
    gateway: Mutex<Option<Process>>,
    gateway_pid: u32,
    url: String,
    admin: String,
    old: tokio::sync::Mutex<Upstream>,
    new: tokio::sync::Mutex<Upstream>,
}

#[derive(Debug)]
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // What cannot be removed lies in the temporary directory.
        _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    /// Starts everything; comes back once the gateway says that all servers are up.
    pub async fn set(options: &Options) -> Result<Self, StageError> {
        let (dir, temporary) = match &options.keep {
            Some(dir) => (dir.clone(), None),
            None => {
                let dir = std::env::temp_dir().join(format!("ringway-soak-{}", std::process::id()));
                (dir.clone(), Some(Removed(dir)))
            }
        };
        std::fs::create_dir_all(&dir)?;
        let dir = dir.canonicalize()?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut old = Upstream::new(&["--era", "legacy", "--answer", "sse"], any);
        let mut new = Upstream::new(&["--era", "modern", "--strict"], any);
        old.start().await?;
        new.start().await?;

        let config = dir.join("ringway.yaml");
        std::fs::write(&config, configuration(&dir, old.addr, new.addr, Variant::Plain))?;
        let (gateway, said) = start_gateway(&options.command, &config, &dir).await?;
        let text = |key: &str| {
            let text = said[key].as_str().map(str::to_owned);
            text.ok_or_else(|| {
                StageError::program(&options.command[0], format!("its first line lacks {key}: {said}"))
            })
        };
        let stage = Self {
            url: text("url")?,
            admin: format!("http://{}", text("admin")?),
            gateway_pid: gateway.child.id(),
            gateway: Mutex::new(Some(gateway)),
            dir,
            _temporary: temporary,
            old: tokio::sync::Mutex::new(old),
            new: tokio::sync::Mutex::new(new),
        };
        stage.wait_until_ready().await?;
        Ok(stage)
    }

    /// Where clients connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The gateway's process.
    pub fn gateway_pid(&self) -> u32 {
        self.gateway_pid
    }

    /// `/metrics` as text.
    pub async fn metrics(&self) -> Result<String, String> {
        ask(&self.admin, Method::Get, "/metrics", "")
            .await
            .map(|(_, text)| text)
    }

    /// What the gateway has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("gateway.log")).unwrap_or_default()
    }

    /// Whether the gateway still runs.
    pub fn gateway_lives(&self) -> bool {
        let mut gateway = self.gateway();
        gateway
            .as_mut()
            .is_some_and(|g| matches!(g.child.try_wait(), Ok(None)))
    }

    /// Signals the gateway.
    pub fn signal_gateway(&self, signal: Signal) {
        if let Some(gateway) = self.gateway().as_ref() {
            gateway.signal(signal);
        }
    }

    /// Writes the configuration as editors do, a new file renamed over the old one.
    pub async fn configure(&self, variant: Variant) -> io::Result<()> {
        let (old, new) = (self.old.lock().await.addr, self.new.lock().await.addr);
        let beside = self.dir.join(".ringway.yaml.new");
        std::fs::write(&beside, configuration(&self.dir, old, new, variant))?;
        std::fs::rename(&beside, self.dir.join("ringway.yaml"))
    }

    /// Asks the control endpoint of a server's process.
    pub async fn control(
        &self,
        server: Server,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<String, StageError> {
        let admin = self.upstream(server).lock().await.admin;
        let (status, text) = ask(&format!("http://{admin}"), method, path, body)
            .await
            .map_err(|what| StageError::program("upstream", what))?;
        match status {
            200 => Ok(text),
            _ => Err(StageError::program(
                "upstream",
                format!("{path}: {status} {text}"),
            )),
        }
    }

    /// Ends a server's process, in order or without warning, and starts it again on the same port after a pause.
    pub async fn restart(&self, server: Server, signal: Signal, pause: Duration) -> Result<(), StageError> {
        let mut upstream = self.upstream(server).lock().await;
        if let Some(process) = &mut upstream.process {
            process.signal(signal);
            process.ended(END_MAX).await?;
        }
        upstream.process = None;
        tokio::time::sleep(pause).await;
        upstream.start().await
    }

    /// `/stats` of both, for the report.
    pub async fn upstream_stats(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for server in [Server::Old, Server::New] {
            let stats = self.control(server, Method::Get, "/stats", "").await.ok();
            all.push(
                stats
                    .and_then(|text| serde_json::from_str(&text).ok())
                    .unwrap_or(Value::Null),
            );
        }
        all
    }

    /// Orders the gateway to end; how it did.
    pub async fn end(&self) -> Result<(), String> {
        let Some(mut gateway) = self.gateway().take() else {
            return Err("the gateway was not running".to_owned());
        };
        gateway.signal(Signal::TERM);
        match gateway.ended(END_MAX).await {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(format!("the gateway ended with {status}")),
            Ok(None) => Err(format!("the gateway did not end within {END_MAX:?} of SIGTERM")),
            Err(why) => Err(format!("waiting for the gateway: {why}")),
        }
    }

    fn upstream(&self, server: Server) -> &tokio::sync::Mutex<Upstream> {
        match server {
            Server::Old => &self.old,
            Server::New | Server::NewH2 => &self.new,
        }
    }

    fn gateway(&self) -> MutexGuard<'_, Option<Process>> {
        self.gateway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_until_ready(&self) -> Result<(), StageError> {
        let deadline = Instant::now() + START_MAX;
        loop {
            let said = ask(&self.admin, Method::Get, "/readyz", "").await;
            if let Ok((200, text)) = &said
                && let Ok(said) = serde_json::from_str::<Value>(text)
                && said["servers"]
                    .as_array()
                    .is_some_and(|all| all.iter().all(|server| server["state"] == "up"))
            {
                return Ok(());
            }
            if Instant::now() >= deadline || !self.gateway_lives() {
                return Err(StageError::program(
                    "gateway",
                    format!("not ready: {said:?}; it wrote:\n{}", self.log()),
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Upstream {
    fn new(args: &'static [&'static str], addr: SocketAddr) -> Self {
        Self {
            args,
            addr,
            admin: addr,
            process: None,
        }
    }

    async fn start(&mut self) -> Result<(), StageError> {
        let mut command = Command::new(std::env::current_exe()?);
        let (listen, admin) = (self.addr.to_string(), self.admin.to_string());
        command.args([
            "upstream",
            "--json",
            "--keep-alive",
            "2s",
            "--listen",
            &listen,
            "--admin",
            &admin,
        ]);
        command.args(self.args).stderr(Stdio::null());
        let (process, said) = spawn("upstream", command).await?;
        let addr = |key: &str| {
            let text = said[key].as_str().unwrap_or_default();
            let text = text.trim_start_matches("http://").trim_end_matches("/mcp");
            text.parse()
                .map_err(|why| StageError::program("upstream", format!("{said}: {why}")))
        };
        (self.addr, self.admin) = (addr("url")?, addr("admin")?);
        self.process = Some(process);
        Ok(())
    }
}

/// Which configuration the gateway is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The three servers.
    Plain,
    /// One server more, and one role.
    Extended,
    /// A file that must be refused.
    Broken,
}

fn configuration(dir: &Path, old: SocketAddr, new: SocketAddr, variant: Variant) -> String {
    let mut text = format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nstate_dir: {}\ndrain: 5s\nlog: {{level: warn}}\n\
         gateway: {{interface: list}}\nanonymous: {{roles: [all]}}\nroles:\n  all: {{allow: [\"*\"]}}\n{}\
         servers:\n  old: {{url: \"http://{old}/mcp\"}}\n  new: {{url: \"http://{new}/mcp\"}}\n  \
         newh2: {{url: \"http://{new}/mcp\", http: http2}}\n",
        dir.join("state").display(),
        if variant == Variant::Extended {
            "  reader: {allow: [\"new__echo\"]}\n"
        } else {
            ""
        },
    );
    match variant {
        Variant::Plain => {}
        Variant::Extended => text += &format!("  extra: {{url: \"http://{new}/mcp\"}}\n"),
        Variant::Broken => text += "  new: [this is\n",
    }
    text
}

async fn start_gateway(
    command: &[String],
    config: &Path,
    dir: &Path,
) -> Result<(Process, Value), StageError> {
    let (program, args) = command
        .split_first()
        .ok_or_else(|| StageError::Input("no command that starts the gateway".to_owned()))?;
    let config = config.display().to_string();
    let mut gateway = Command::new(program);
    gateway.args(args.iter().map(|arg| arg.replace("{config}", &config)));
    gateway
        .current_dir(dir)
        .env("NO_COLOR", "1")
        .env_remove("XDG_RUNTIME_DIR");
    gateway.stderr(File::create(dir.join("gateway.log"))?);
    spawn(program, gateway).await
}

/// Starts a program and waits for its first line, which is JSON.
async fn spawn(program: &str, mut command: Command) -> Result<(Process, Value), StageError> {
    let failed = |what: String| StageError::program(program, what);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| failed(format!("does not start: {why}")))?;
    let output = child.stdout.take();
    let process = Process { child };
    let output = output.ok_or_else(|| failed("no output".to_owned()))?;
    let first = tokio::task::spawn_blocking(move || {
        let mut lines = BufReader::new(output).lines();
        let first = lines.next();
        // What it says later is read away, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        first
    });
    let first = tokio::time::timeout(START_MAX, first)
        .await
        .map_err(|_| failed(format!("said nothing within {START_MAX:?}")))?
        .map_err(StageError::task)?;
    let line = first.ok_or_else(|| failed("ended without a word".to_owned()))??;
    let said = serde_json::from_str(&line)
        .map_err(|why| failed(format!("its first line is no JSON ({why}): {line}")))?;
    Ok((process, said))
}

/// One request on a connection of its own.
async fn ask(base: &str, method: Method, path: &str, body: &str) -> Result<(u16, String), String> {
    let target = Target::resolve(base, &TargetOptions::default())
        .await
        .map_err(|e| e.to_string())?;
    let head = Head::with_path(&target, method, path, &[]).map_err(|e| e.to_string())?;
    let mut connection = Connection::open(&target).await.map_err(|e| e.to_string())?;
    let request = Request {
        head: &head,
        extra: &[],
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    let answer = connection
        .exchange(&request, &Want::default())
        .await
        .map_err(|e| e.to_string())?;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}
