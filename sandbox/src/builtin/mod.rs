//! A small MCP server on stdin and stdout: what `ringway up` shows when nothing is configured, and what tests talk to.
//!
//! It speaks both eras, each message deciding for itself: `_meta` with a revision is modern, everything else legacy.
//! Messages are read and answered one after the other; only the `progress` tool, which takes time, has a thread per
//! call. Blocking I/O throughout: it is a process of its own.
//!
//! Read [`Server::message`] for what it understands, [`tools`] for what it can do, [`catalogue`] for how it says so.

mod catalogue;
mod tools;

use ringway_proto::revision::Revision;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{self, BufRead, Read, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
};

/// One message; more than any of the tools can use.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// `progress` calls at once. Beyond it they are refused with a tool error.
const RUNNING_MAX: usize = 64;
/// Revisions that open with `initialize`, newest first. The last is older than the gateway's own list: stdio clients
/// of that age exist.
const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const VERSION_UNSUPPORTED: i64 = -32022;

/// Serves until stdin ends. The argument `--faults` adds the tool `crash`; `--legacy` takes the modern era away, so
/// that what is particular to servers with sessions can be tried without anything installed.
pub fn serve_stdio() -> io::Result<()> {
    let said = |flag: &str| std::env::args().any(|arg| arg == flag);
    let server = Server {
        legacy_only: said("--legacy"),
        ..Server::new(said("--faults"), io::stdout())
    };
    let mut stdin = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        if (&mut stdin).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            // Calls still running end with the process, as a client that closed stdin expects.
            return Ok(());
        }
        server.line(&line)?;
    }
}

/// The server, whatever it writes to.
struct Server<W> {
    faults: bool,
    legacy_only: bool,
    out: Arc<Mutex<W>>,
    running: Arc<Mutex<HashMap<String, mpsc::Sender<()>>>>,
}

/// What a message asks for.
enum Reaction {
    Nothing,
    Result(Value),
    Error(i64, String, Option<Value>),
    /// Answered later, by its own thread.
    Later(tools::Progress),
    /// First this notification, then nothing until cancelled.
    Listen(Value),
    Crash,
}

impl<W: Write + Send + 'static> Server<W> {
    fn new(faults: bool, out: W) -> Self {
        Self {
            faults,
            legacy_only: false,
            out: Arc::new(Mutex::new(out)),
            running: Arc::default(),
        }
    }

    /// Reads one line and writes what it asks for.
    fn line(&self, line: &[u8]) -> io::Result<()> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            return self.write(&error(&Value::Null, PARSE_ERROR, "not JSON", None));
        };
        let id = &message["id"];
        let reaction = self.message(&message);
        match (id, reaction) {
            (_, Reaction::Crash) => std::process::exit(3),
            (_, Reaction::Nothing) => Ok(()),
            (_, Reaction::Listen(acknowledgement)) => self.write(&acknowledgement),
            (Value::Null, _) => Ok(()),
            (id, Reaction::Result(result)) => {
                self.write(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
            }
            (id, Reaction::Error(code, text, data)) => self.write(&error(id, code, &text, data)),
            (id, Reaction::Later(progress)) => self.later(id.clone(), progress),
        }
    }

    fn message(&self, message: &Value) -> Reaction {
        let Some(method) = message["method"].as_str() else {
            let answer = message.get("result").is_some() || message.get("error").is_some();
            return if answer {
                Reaction::Nothing
            } else {
                invalid_request("no method")
            };
        };
        let params = &message["params"];
        if message.get("id").is_none() {
            if method == "notifications/cancelled" {
                self.running().remove(&params["requestId"].to_string());
            }
            return Reaction::Nothing;
        }
        if !(message["id"].is_string() || message["id"].is_i64() || message["id"].is_u64()) {
            return invalid_request("the id must be a string or an integer");
        }
        if self.legacy_only {
            return self.legacy_request(method, params);
        }
        match modern(method, params) {
            Err(refusal) => refusal,
            Ok(true) => match self.modern_request(method, params, &message["id"]) {
                Reaction::Result(result) => Reaction::Result(catalogue::modernised(method, result)),
                Reaction::Later(progress) => Reaction::Later(tools::Progress {
                    modern: true,
                    ..progress
                }),
                other => other,
            },
            Ok(false) => self.legacy_request(method, params),
        }
    }

    fn modern_request(&self, method: &str, params: &Value, id: &Value) -> Reaction {
        match method {
            "server/discover" => Reaction::Result(catalogue::discovered()),
            "subscriptions/listen" => {
                // Nothing here ever changes, so nothing is promised.
                let meta = json!({ "io.modelcontextprotocol/subscriptionId": id });
                Reaction::Listen(json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/subscriptions/acknowledged",
                    "params": { "_meta": meta, "notifications": {} },
                }))
            }
            _ => self.common_request(method, params),
        }
    }

    fn legacy_request(&self, method: &str, params: &Value) -> Reaction {
        match method {
            "initialize" => {
                let Some(asked) = params["protocolVersion"].as_str() else {
                    return invalid_params("protocolVersion is missing");
                };
                let agreed = LEGACY
                    .into_iter()
                    .find(|known| *known == asked)
                    .unwrap_or(LEGACY[0]);
                Reaction::Result(catalogue::initialized(agreed))
            }
            "ping" => Reaction::Result(json!({})),
            _ => self.common_request(method, params),
        }
    }

    fn common_request(&self, method: &str, params: &Value) -> Reaction {
        match method {
            "tools/list" => Reaction::Result(json!({ "tools": catalogue::tools(self.faults) })),
            "tools/call" => {
                let name = params["name"].as_str().unwrap_or_default();
                let token = params["_meta"].get("progressToken").cloned();
                match tools::call(name, &params["arguments"], token, self.faults) {
                    tools::Outcome::Done(result) => Reaction::Result(result),
                    tools::Outcome::Later(progress) => match self.running().len() < RUNNING_MAX {
                        true => Reaction::Later(progress),
                        false => Reaction::Result(tools::failed("too many calls of progress at once")),
                    },
                    tools::Outcome::Crash => Reaction::Crash,
                    tools::Outcome::Unknown => invalid_params(&format!("there is no tool {name:?}")),
                }
            }
            "resources/list" => Reaction::Result(json!({ "resources": catalogue::resources() })),
            "resources/templates/list" => Reaction::Result(json!({ "resourceTemplates": [] })),
            "resources/read" => match params["uri"].as_str() {
                Some(catalogue::ABOUT) => Reaction::Result(catalogue::about()),
                Some(uri) => {
                    // -32002 until 2025-11-25; both eras accept -32602 with the URI.
                    Reaction::Error(
                        INVALID_PARAMS,
                        "there is no such resource".to_owned(),
                        Some(json!({ "uri": uri })),
                    )
                }
                None => invalid_params("uri is missing"),
            },
            "prompts/list" => Reaction::Result(json!({ "prompts": catalogue::prompts() })),
            "prompts/get" => match (params["name"].as_str(), params["arguments"]["name"].as_str()) {
                (Some("greet"), Some(name)) => Reaction::Result(catalogue::greeting(name)),
                (Some("greet"), None) => invalid_params("the argument name is missing"),
                _ => invalid_params("there is no such prompt"),
            },
            _ => Reaction::Error(METHOD_NOT_FOUND, format!("there is no method {method:?}"), None),
        }
    }

    /// Runs a `progress` call: a step, a notification when one was asked for, until done or cancelled.
    fn later(&self, id: Value, progress: tools::Progress) -> io::Result<()> {
        let key = id.to_string();
        let (cancel, cancelled) = mpsc::channel();
        self.running().insert(key.clone(), cancel);
        let (out, running) = (self.out.clone(), self.running.clone());
        let modern = progress.modern;
        thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || {
                for step in 1..=progress.steps {
                    // Dropping the sender is how a cancellation arrives.
                    if cancelled.recv_timeout(progress.delay) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    if let Some(token) = &progress.token {
                        let note = json!({
                            "jsonrpc": "2.0",
                            "method": "notifications/progress",
                            "params": { "progressToken": token, "progress": step, "total": progress.steps },
                        });
                        let _ = write(&out, &note);
                    }
                }
                if running
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&key)
                    .is_some()
                {
                    let result = tools::text(&format!("{} steps done", progress.steps));
                    let result = if modern {
                        catalogue::modernised("tools/call", result)
                    } else {
                        result
                    };
                    let _ = write(&out, &json!({ "jsonrpc": "2.0", "id": id, "result": result }));
                }
            })?;
        Ok(())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, message: &Value) -> io::Result<()> {
        write(&self.out, message)
    }
}

/// One line, whole: several threads write.
fn write(out: &Mutex<impl Write>, message: &Value) -> io::Result<()> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    out.write_all(&line)?;
    out.flush()
}

/// Whether a request is modern; an error when it is, but not as it must be.
fn modern(method: &str, params: &Value) -> Result<bool, Reaction> {
    let meta = &params["_meta"];
    let named = meta.get("io.modelcontextprotocol/protocolVersion");
    match named.map(Value::as_str) {
        None if method == "server/discover" || method == "subscriptions/listen" => Err(invalid_params(
            "_meta must name io.modelcontextprotocol/protocolVersion",
        )),
        None => Ok(false),
        Some(Some(revision)) if revision == Revision::NEWEST.as_str() => {
            match meta["io.modelcontextprotocol/clientCapabilities"].is_object() {
                true => Ok(true),
                false => Err(invalid_params(
                    "_meta must have io.modelcontextprotocol/clientCapabilities",
                )),
            }
        }
        Some(Some(revision)) => {
            let data = json!({ "supported": [Revision::NEWEST.as_str()], "requested": revision });
            Err(Reaction::Error(
                VERSION_UNSUPPORTED,
                "this revision is not supported".to_owned(),
                Some(data),
            ))
        }
        Some(None) => Err(invalid_params(
            "io.modelcontextprotocol/protocolVersion must be a string",
        )),
    }
}

fn invalid_request(text: &str) -> Reaction {
    Reaction::Error(INVALID_REQUEST, text.to_owned(), None)
}

fn invalid_params(text: &str) -> Reaction {
    Reaction::Error(INVALID_PARAMS, text.to_owned(), None)
}

fn error(id: &Value, code: i64, text: &str, data: Option<Value>) -> Value {
    let mut error = json!({ "code": code, "message": text });
    if let Some(data) = data {
        error["data"] = data;
    }
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

#[cfg(test)]
mod tests;
