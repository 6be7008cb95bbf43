//! A server that misbehaves on demand. Tests start it with arguments that say how it behaves and call tools that
//! say what it does next.
//!
//! | argument | effect |
//! |---|---|
//! | `modern` | speaks 2026-07-28 only; legacy otherwise |
//! | `exit-on-discover`, `mute-on-discover`, `confused-by-discover` | what a first message it does not know does to it |
//! | `late-discover FILE` | is modern, but answers its first probe (FILE does not exist yet) only when something else follows |
//! | `noise` | writes lines that are no messages before it reads anything |
//! | `exit-at-start` | says why on stderr and ends with code 7 |
//! | `fail-once FILE` | ends at start unless FILE exists, which it then makes |
//! | `mute` | reads everything and never says a word |
//! | `keep-on` | ignores the end of stdin and SIGTERM |
//! | `sleeper HOW` | is not a server at all, but a process that such a server leaves behind |

use rustix::process::setsid;
use serde_json::{Map, Value, json};
use std::{
    env, fs,
    io::{self, BufRead, Write},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// Processes left behind end by themselves after this, should a test fail to.
const SLEEP: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Server {
    args: Vec<String>,
    /// Every message received, in order.
    seen: Vec<Value>,
    /// Calls of `hold`.
    held: Vec<Value>,
    /// Our requests: id and the call that waits for the answer.
    asked: Map<String, Value>,
    /// Ids of listens.
    listens: Vec<Value>,
    discovered: Option<Value>,
}

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "sleeper") {
        return sleeper(args.get(1).map_or("", String::as_str));
    }
    let has = |name: &str| args.iter().any(|arg| arg == name);
    if has("exit-at-start") {
        eprintln!("no licence found");
        std::process::exit(7);
    }
    if has("noise") {
        println!("Welcome to the server!\n{{\"almost\": json\n");
    }
    let keep_on = has("keep-on");
    if keep_on {
        ignore_sigterm();
    }
    let mut server = Server {
        args,
        ..Server::default()
    };
    if server.first_time("fail-once") {
        std::process::exit(8);
    }
    for line in io::stdin().lock().lines() {
        if let Ok(message) = serde_json::from_str(&line?) {
            server.message(message);
        }
    }
    if keep_on {
        thread::sleep(SLEEP);
    }
    Ok(())
}

impl Server {
    fn has(&self, name: &str) -> bool {
        self.args.iter().any(|arg| arg == name)
    }

    /// Whether the argument `name FILE` is there and FILE is not; makes it.
    fn first_time(&self, name: &str) -> bool {
        let at = self.args.iter().position(|arg| arg == name);
        at.and_then(|at| self.args.get(at + 1))
            .is_some_and(|file| fs::File::create_new(file).is_ok())
    }

    fn message(&mut self, message: Value) {
        self.seen.push(message.clone());
        if self.has("mute") {
            return;
        }
        let (id, params) = (&message["id"], &message["params"]);
        let Some(method) = message["method"].as_str() else {
            if let Some(call) = self.asked.remove(&id.to_string()) {
                answer(&call, text(&message.to_string()));
            }
            return;
        };
        if let Some(probe) = self.discovered.take() {
            answer(&probe, discovered());
        }
        match method {
            "server/discover" if self.has("exit-on-discover") => std::process::exit(9),
            "server/discover" if self.has("mute-on-discover") => {}
            "server/discover" if self.first_time("late-discover") => self.discovered = Some(id.clone()),
            "server/discover" if self.has("modern") || self.has("late-discover") => answer(id, discovered()),
            "initialize" if self.has("modern") => error(id, -32601, "there is no initialize"),
            "initialize" if self.has("confused-by-discover") && self.seen.len() > 1 => {
                error(id, -32600, "I am confused");
            }
            "initialize" => answer(
                id,
                json!({
                    "protocolVersion": "2025-06-18",
                    "capabilities": { "tools": {}, "logging": {}, "resources": { "subscribe": true } },
                    "serverInfo": { "name": "scripted", "version": "1" },
                }),
            ),
            "tools/call" => self.call(id, params["name"].as_str().unwrap_or_default(), params),
            "subscriptions/listen" => {
                self.listens.push(id.clone());
                let params = json!({ "notifications": params["notifications"] });
                self.publish("notifications/subscriptions/acknowledged", params);
            }
            "resources/subscribe" if params["uri"] == "bad:" => error(id, -32602, "no such resource"),
            "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" => answer(id, json!({})),
            _ if id.is_null() => {}
            _ => error(id, -32601, "no such method"),
        }
    }

    fn call(&mut self, id: &Value, tool: &str, params: &Value) {
        let arguments = &params["arguments"];
        match tool {
            "exit" => std::process::exit(3),
            "abort" => std::process::abort(),
            "never" => {}
            // Says so, and reads nothing any more.
            "deafen" => {
                answer(id, text("done"));
                thread::sleep(SLEEP);
            }
            "hold" => {
                self.held.push(id.clone());
                // Shows the caller that the call has arrived.
                let token = &params["_meta"]["progressToken"];
                if !token.is_null() {
                    let params = json!({ "progressToken": token, "progress": 1 });
                    send(&json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }));
                }
            }
            "release" => {
                for held in self.held.drain(..) {
                    answer(&held, text("released"));
                }
                answer(id, text("done"));
            }
            "twice" => {
                answer(id, text("first"));
                answer(id, text("second"));
            }
            "huge" => answer(
                id,
                text(&"x".repeat(arguments["bytes"].as_u64().unwrap_or_default() as usize)),
            ),
            "raw" => {
                raw(arguments["line"].as_str().unwrap_or_default());
                answer(id, text("done"));
            }
            // An answer under the right id that is no acceptable message.
            "ambiguous" => raw(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{}},"result":{{}}}}"#
            )),
            "notify" => {
                send(
                    &json!({ "jsonrpc": "2.0", "method": arguments["method"], "params": arguments["params"] }),
                );
                answer(id, text("done"));
            }
            "progress" => {
                for step in 1..=arguments["steps"].as_u64().unwrap_or(3) {
                    let params =
                        json!({ "progressToken": params["_meta"]["progressToken"], "progress": step });
                    send(&json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }));
                }
                answer(id, text("done"));
            }
            "ask" => {
                let number = arguments.get("id").cloned().unwrap_or_else(|| json!("q"));
                self.asked.insert(number.to_string(), id.clone());
                let (method, params) = (
                    &arguments["method"],
                    arguments.get("params").cloned().unwrap_or(json!({})),
                );
                send(&json!({ "jsonrpc": "2.0", "id": number, "method": method, "params": params }));
            }
            "publish" => {
                let method = arguments["method"].as_str().unwrap_or_default();
                for _ in 0..arguments["count"].as_u64().unwrap_or(1) {
                    self.publish(method, arguments["params"].clone());
                }
                answer(id, text("done"));
            }
            "unlisten" => {
                for listen in self.listens.drain(..) {
                    let params = json!({ "requestId": listen });
                    send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
                }
                answer(id, text("done"));
            }
            "seen" => answer(id, text(&Value::from(self.seen.clone()).to_string())),
            "env" => {
                let all: Map<String, Value> = env::vars().map(|(name, value)| (name, value.into())).collect();
                answer(id, text(&Value::from(all).to_string()));
            }
            "descriptors" => answer(id, text(&descriptors().join(" "))),
            "pid" => answer(id, text(&std::process::id().to_string())),
            "fork" => {
                let pid = fork(arguments["how"].as_str().unwrap_or_default());
                answer(id, text(&pid));
            }
            _ => error(id, -32602, "no such tool"),
        }
    }

    fn publish(&self, method: &str, params: Value) {
        for listen in &self.listens {
            let mut params = params.clone();
            params["_meta"]["io.modelcontextprotocol/subscriptionId"] = listen.clone();
            send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
        }
    }
}

fn discovered() -> Value {
    json!({
        "supportedVersions": ["2026-07-28"],
        "capabilities": { "tools": {} },
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
    })
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

fn answer(id: &Value, result: Value) {
    send(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
}

fn error(id: &Value, code: i64, message: &str) {
    send(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }));
}

fn send(message: &Value) {
    raw(&message.to_string());
}

fn raw(line: &str) {
    let mut out = io::stdout().lock();
    // A closed pipe means that nobody listens: this server does not care.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Open descriptors beyond the three standard ones and the one that lists them.
fn descriptors() -> Vec<String> {
    let list = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let links = list.filter_map(|fd| fs::read_link(fd.path()).ok());
    links
        .map(|link| link.display().to_string())
        .filter(|link| !link.ends_with("/fd"))
        .collect()
}

/// Leaves a process behind; gives its pid. Ways to hide: `group` stays in the group, `session` leaves it, `orphan`
/// leaves it and loses its parent, `bare` leaves it and clears its environment.
fn fork(how: &str) -> String {
    let Ok(program) = env::current_exe() else {
        return String::new();
    };
    let mut command = Command::new(program);
    command
        .args(["sleeper", how])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if how == "bare" {
        command.env_clear();
    }
    let Ok(mut child) = command.spawn() else {
        return String::new();
    };
    let mut pid = String::new();
    if let Some(out) = child.stdout.take() {
        let _ = io::BufReader::new(out).read_line(&mut pid);
    }
    pid.trim().to_owned()
}

fn sleeper(how: &str) -> io::Result<()> {
    ignore_sigterm();
    match how {
        "orphan" => {
            println!("{}", fork("session"));
            return Ok(());
        }
        "session" | "bare" => {
            setsid()?;
        }
        // Ends at once, after its parent: a zombie for whoever adopts it.
        "brief" => {
            setsid()?;
            println!("{}", std::process::id());
            thread::sleep(Duration::from_millis(50));
            return Ok(());
        }
        _ => {}
    }
    println!("{}", std::process::id());
    thread::sleep(SLEEP);
    Ok(())
}

/// A handler that does nothing, installed by the runtime's signal driver.
fn ignore_sigterm() {
    let (ready, installed) = std::sync::mpsc::channel();
    thread::spawn(move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut terminations = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            let _ = ready.send(());
            while terminations.recv().await.is_some() {}
            Ok(())
        })
    });
    let _ = installed.recv();
}
