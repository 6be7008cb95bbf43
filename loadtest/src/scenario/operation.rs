//! What is called: the `[[operation]]` tables.

use super::{table::Section, template::Template};
use serde_json::{Value, json};
use std::time::Duration;

/// Most requests one session of `call = "session"` makes.
const SESSION_CALLS_MAX: u64 = 10_000;
const READ_RATE_MAX: u64 = u32::MAX as u64;

/// One thing to call, and how often among the others.
#[derive(Clone, Debug)]
pub struct Operation {
    /// In reports.
    pub name: String,
    /// Its share of the calls, over the sum of all weights.
    pub weight: f64,
    /// What it does.
    pub action: Action,
    /// Instead of the scenario's.
    pub timeout: Option<Duration>,
    /// The answer's bytes must hold this text.
    pub expect: Option<String>,
    /// The answer's bytes must be so many.
    pub expect_bytes_min: u64,
    /// So many events must come before the answer's end, the answer itself among them.
    pub expect_events_min: u64,
    /// Failures of the tool itself (`isError`) are what is wanted.
    pub expect_tool_error: bool,
    /// Ask for progress, and count the events that come before the answer.
    pub progress: bool,
    /// Take the answer no faster than this.
    pub read_bytes_per_s: Option<u32>,
    /// Walk away before the answer.
    pub cancel: Option<Cancel>,
}

/// What an operation does.
#[derive(Clone, Debug)]
pub enum Action {
    /// One request.
    Call(Call),
    /// Two: a search, and the execution of a tool.
    Pair(Call, Call),
    /// A whole old-era session: `initialize`, `notifications/initialized`, so many requests, `DELETE`.
    Session {
        /// What is requested in between.
        call: Call,
        /// How often.
        calls: u64,
    },
    /// What the era has for a sign of life: `ping`, or `server/discover`.
    Ping,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// JSON-RPC method.
    pub method: String,
    /// `params` without `_meta`: an object's members, without its braces.
    pub members: Template,
    /// What `Mcp-Name` says: the tool, prompt or resource.
    pub subject: Option<String>,
    /// `Mcp-Param-` headers (without that prefix) and the top-level argument each one mirrors.
    pub mirrored: Vec<(String, String, Template)>,
}

/// When a caller walks away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// So long after the call began.
    After(Duration),
    /// As soon as the first event or the first byte of the answer's body is there.
    AtFirstEvent,
}

impl Call {
    /// A request without params.
    pub fn bare(method: &str) -> Self {
        Self {
            method: method.to_owned(),
            members: Template::default(),
            subject: None,
            mirrored: Vec::new(),
        }
    }
}

impl Action {
    /// The method reports show.
    pub fn method(&self) -> &str {
        match self {
            Self::Call(call) => &call.method,
            Self::Pair(_, call) => &call.method,
            Self::Session { .. } => "session",
            Self::Ping => "ping",
        }
    }

    /// The tool, prompt or resource.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Call(call) | Self::Pair(_, call) => call.subject.as_deref(),
            Self::Session { .. } | Self::Ping => None,
        }
    }
}

impl Operation {
    /// Reads one table; `None` after a finding.
    pub(super) fn read(section: Section<'_, '_>) -> Option<Self> {
        let weight = section.positive("weight").unwrap_or(1.0);
        let action = read_action(&section);
        let name = section.string("name").or_else(|| {
            let action = action.as_ref()?;
            Some(action.subject().unwrap_or(action.method()).to_owned())
        });
        let cancel = match (
            section.duration("cancel_after"),
            section.boolean("cancel_at_first_event"),
        ) {
            (Some(_), Some(true)) => {
                section.bad("cancel_after", "and `cancel_at_first_event` exclude each other");
                None
            }
            (Some(time), _) => Some(Cancel::After(time)),
            (None, Some(true)) => Some(Cancel::AtFirstEvent),
            (None, _) => None,
        };
        if cancel.is_some() && !matches!(action, Some(Action::Call(_)) | None) {
            section.wrong("can cancel single calls only");
        }
        let timeout = section.duration("timeout");
        if timeout.is_some_and(|time| time.is_zero()) {
            section.bad("timeout", "must be above zero");
        }
        let rate = section
            .has("read_bytes_per_s")
            .then(|| section.size_bytes("read_bytes_per_s"))
            .flatten();
        let read_bytes_per_s = rate.and_then(|rate| match rate {
            1..=READ_RATE_MAX => u32::try_from(rate).ok(),
            _ => {
                section.bad("read_bytes_per_s", "must lie between 1 and 4294967295");
                None
            }
        });
        let operation = Some(()).and_then(|()| {
            Some(Self {
                name: name?,
                weight,
                action: action?,
                timeout,
                expect: section.string("expect"),
                expect_bytes_min: section.size_bytes("expect_bytes_min").unwrap_or(0),
                expect_events_min: section.integer("expect_events_min", 0..u64::MAX).unwrap_or(0),
                expect_tool_error: section.boolean("expect_tool_error").unwrap_or(false),
                progress: section.boolean("progress").unwrap_or(false),
                read_bytes_per_s,
                cancel,
            })
        });
        if operation.is_some() {
            section.finish();
        }
        operation
    }
}

fn read_action(section: &Section<'_, '_>) -> Option<Action> {
    let Some(call) = section.string("call") else {
        if !section.has("call") {
            section.wrong(
                "needs `call`: a method such as \"tools/call\", \"search+execute\", \"session\" or \"ping\"",
            );
        }
        return None;
    };
    match call.as_str() {
        "ping" | "server/discover" => Some(Action::Ping),
        "tools/call" => {
            let tool = needed(section, "tool")?;
            let arguments = arguments(section)?;
            let mirrored = mirrored(section, &arguments);
            let mut call = tool_call(section, &tool, arguments)?;
            call.mirrored = mirrored?;
            Some(Action::Call(call))
        }
        "search+execute" => {
            let tool = needed(section, "tool")?;
            let query = section.string("query").unwrap_or_else(|| tool.clone());
            let search = section
                .string("search_tool")
                .unwrap_or_else(|| "SEARCH_TOOLS".to_owned());
            let execute = section
                .string("execute_tool")
                .unwrap_or_else(|| "EXECUTE_TOOL".to_owned());
            let inner = json!({"name": tool, "arguments": arguments(section)?});
            Some(Action::Pair(
                tool_call(section, &search, json!({"query": query}))?,
                tool_call(section, &execute, inner)?,
            ))
        }
        "resources/read" => {
            let uri = needed(section, "uri")?;
            named(section, "resources/read", "uri", uri, json!({}))
        }
        "prompts/get" => {
            let prompt = needed(section, "prompt")?;
            let arguments = arguments(section)?;
            named(
                section,
                "prompts/get",
                "name",
                prompt,
                json!({"arguments": arguments}),
            )
        }
        "session" => {
            let calls = section.integer("calls", 0..SESSION_CALLS_MAX + 1).unwrap_or(1);
            let call = match section.string("tool") {
                Some(tool) => tool_call(section, &tool, arguments(section)?)?,
                None => plain(section, "tools/list", json!({}))?,
            };
            Some(Action::Session { call, calls })
        }
        "initialize" | "subscriptions/listen" => {
            section.bad(
                "call",
                "is made by `call = \"session\"` and by `[standing] listen`",
            );
            None
        }
        "" => {
            section.bad("call", "must name a method");
            None
        }
        method => {
            let params = section.json("params").unwrap_or_else(|| json!({}));
            if section.has("tool") {
                section.bad(
                    "tool",
                    "belongs to `call = \"tools/call\"`, \"search+execute\" and \"session\"",
                );
                return None;
            }
            Some(Action::Call(plain(section, method, params)?))
        }
    }
}

/// A string that the call cannot do without.
fn needed(section: &Section<'_, '_>, key: &'static str) -> Option<String> {
    let text = section.string(key).filter(|text| !text.is_empty());
    if text.is_none() {
        section.bad(key, "must be given for this call");
    }
    text
}

/// `arguments`, an object; empty when absent, `None` after a finding.
fn arguments(section: &Section<'_, '_>) -> Option<Value> {
    if !section.has("arguments") {
        return Some(json!({}));
    }
    let value = section.json("arguments")?;
    if !value.is_object() {
        section.bad("arguments", "must be a table, or a JSON object in a string");
        return None;
    }
    Some(value)
}

fn mirrored(section: &Section<'_, '_>, arguments: &Value) -> Option<Vec<(String, String, Template)>> {
    let mut found = Vec::new();
    for (header, argument) in section.pairs("param_headers") {
        let Some(value) = arguments.get(&argument) else {
            section.bad(
                "param_headers",
                &format!("mirrors `{argument}`, which is not among the arguments"),
            );
            return None;
        };
        let template = match Template::compile(value) {
            // A header cannot be filled with the same random value a second time.
            Ok(template) if template.is_repeatable() => template,
            Ok(_) => {
                section.bad(
                    "param_headers",
                    &format!("`{argument}` is random; only fixed text, seq and client can be mirrored"),
                );
                return None;
            }
            Err(why) => {
                section.bad("arguments", &why);
                return None;
            }
        };
        found.push((header, argument, template));
    }
    Some(found)
}

fn tool_call(section: &Section<'_, '_>, tool: &str, arguments: Value) -> Option<Call> {
    let mut call = plain(
        section,
        "tools/call",
        json!({"name": tool, "arguments": arguments}),
    )?;
    call.subject = Some(tool.to_owned());
    Some(call)
}

fn named(
    section: &Section<'_, '_>,
    method: &str,
    key: &str,
    subject: String,
    mut params: Value,
) -> Option<Action> {
    params[key] = Value::String(subject.clone());
    let mut call = plain(section, method, params)?;
    call.subject = Some(subject);
    Some(Action::Call(call))
}

/// A request with these params.
fn plain(section: &Section<'_, '_>, method: &str, params: Value) -> Option<Call> {
    let Value::Object(params) = params else {
        section.bad("params", "must be a table, or a JSON object in a string");
        return None;
    };
    if params.contains_key("_meta") {
        section.bad("params", "must not hold `_meta`: the era's own stands there");
        return None;
    }
    let mut members = Template::default();
    for (at, (key, value)) in params.iter().enumerate() {
        let separator = if at > 0 { "," } else { "" };
        members.push_fixed(format!("{separator}{}:", Value::String(key.clone())).as_bytes());
        match Template::compile(value) {
            Ok(template) => members.push(template),
            Err(why) => {
                let at = if section.has("arguments") {
                    "arguments"
                } else {
                    "params"
                };
                section.bad(at, &format!("cannot be filled in: {why}"));
                return None;
            }
        }
    }
    Some(Call {
        method: method.to_owned(),
        members,
        subject: None,
        mirrored: Vec::new(),
    })
}
