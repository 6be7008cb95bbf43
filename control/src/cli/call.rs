//! `ringway call`: one tool call, as an agent would make it.
//!
//! The result goes to stdout, progress and log lines of the server to stderr, and a tool that reports an error
//! ends with its own exit code, so that scripts can tell "the tool said no" from "the call did not work".

use super::{
    exit::{Exit, Stop, note, printable, say},
    gateway::{GatewayArgs, stop},
    tools,
};
use crate::client::{
    Failure, McpClient,
    message::{HEADER_MISMATCH, INVALID_PARAMS, METHOD_NOT_FOUND, raw},
    names::param_headers,
};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::io::{IsTerminal, Read};

/// Arguments read from stdin are bounded like a request body.
const ARGUMENT_BYTES_MAX: u64 = 16 << 20;

/// Call a tool through a running gateway
///
/// The result goes to stdout, progress to stderr. A tool that reports an error ends with exit code 5.
#[derive(Args, Debug)]
pub struct CallArgs {
    /// The tool, as `ringway tools list` shows it: server__tool
    tool: String,
    /// Its arguments as a JSON object; `-` reads them from stdin
    #[arg(default_value = "{}", value_name = "JSON")]
    arguments: String,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Print the whole result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: CallArgs) -> Result<Exit, Stop> {
    let arguments = read_arguments(&args.arguments)?;
    let client = args.gateway.connect().await?;
    let outcome = run_on(&client, &args.tool, &arguments, args.json).await;
    client.close().await;
    outcome
}

/// Calls a tool and shows its result.
pub async fn run_on(client: &McpClient, tool: &str, arguments: &Value, json: bool) -> Result<Exit, Stop> {
    let result = match call(client, tool, arguments, Vec::new()).await {
        Ok(result) => result,
        Err(failure) => again(client, tool, arguments, failure).await?,
    };
    if json {
        say(result.get());
        return Ok(exit_of(&result));
    }
    show(&result, tool)
}

fn read_arguments(text: &str) -> Result<Value, Stop> {
    let mut read = String::new();
    let text = if text == "-" {
        std::io::stdin()
            .take(ARGUMENT_BYTES_MAX)
            .read_to_string(&mut read)
            .map_err(|e| Stop::plain(Exit::Usage, format!("stdin cannot be read: {e}")))?;
        &read
    } else {
        text
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(Value::Object(fields)),
        Ok(_) => Err(Stop::new(
            Exit::Usage,
            "the arguments are JSON, but not an object",
            r#"write {"name": "value"}"#,
        )),
        Err(e) => Err(Stop::new(
            Exit::Usage,
            format!("the arguments are not JSON: {e}"),
            r#"quote them for the shell: '{"name": "value"}'"#,
        )),
    }
}

async fn call(
    client: &McpClient,
    tool: &str,
    arguments: &Value,
    mirrored: Vec<(String, String)>,
) -> Result<Box<RawValue>, Failure> {
    let params =
        raw(&serde_json::json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": 1}}))?;
    client
        .request_with("tools/call", Some(&params), mirrored, &mut heard)
        .await
}

/// A refusal that a second try can mend, arguments to be mirrored into headers, or that a similar name explains.
async fn again(
    client: &McpClient,
    tool: &str,
    arguments: &Value,
    first: Failure,
) -> Result<Box<RawValue>, Stop> {
    let unknown = matches!(first.code(), Some(INVALID_PARAMS | METHOD_NOT_FOUND));
    if !unknown && first.code() != Some(HEADER_MISMATCH) {
        return Err(stop(&first, client.peer()));
    }
    let known = tools::all(client).await?;
    let listed = known.iter().find(|known| known.shown.name == tool);
    if let Some(schema) = listed.and_then(|tool| tool.shown.input_schema.as_deref())
        && let Ok(headers) = param_headers(schema, arguments)
        && !headers.is_empty()
    {
        return call(client, tool, arguments, headers)
            .await
            .map_err(|failure| stop(&failure, client.peer()));
    }
    let mut refusal = stop(&first, client.peer());
    if listed.is_none() {
        let near = nearest(tool, known.iter().map(|known| known.shown.name.as_str()));
        refusal.next = Some(match near {
            Some(near) => format!("there is a tool called {near}; `ringway tools list` shows all of them"),
            None => "`ringway tools list` shows the tools this key may call".to_owned(),
        });
    }
    Err(refusal)
}

/// Progress and log messages, for whoever watches.
fn heard(method: &str, params: Option<&RawValue>) {
    #[derive(Deserialize)]
    struct Heard {
        #[serde(default)]
        progress: Option<f64>,
        #[serde(default)]
        total: Option<f64>,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        level: Option<String>,
        #[serde(default)]
        data: Option<Value>,
    }
    let Some(heard) = params.and_then(|p| serde_json::from_str::<Heard>(p.get()).ok()) else {
        return;
    };
    let text = heard.message.map(|text| printable(&text)).unwrap_or_default();
    match (method, heard.progress, heard.total) {
        ("notifications/progress", Some(progress), Some(total)) => {
            note(format!("… {progress}/{total} {text}").trim_end())
        }
        ("notifications/progress", Some(progress), None) => note(format!("… {progress} {text}").trim_end()),
        ("notifications/message", ..) => {
            let data = heard
                .data
                .map(|data| data.as_str().map_or_else(|| data.to_string(), str::to_owned));
            note(&format!(
                "[{}] {}",
                printable(heard.level.as_deref().unwrap_or("log")),
                printable(&data.unwrap_or_default())
            ));
        }
        _ => {}
    }
}

fn exit_of(result: &RawValue) -> Exit {
    let is_error = serde_json::from_str::<Value>(result.get())
        .ok()
        .and_then(|r| r.get("isError")?.as_bool());
    if is_error == Some(true) {
        Exit::ToolError
    } else {
        Exit::Ok
    }
}

fn show(result: &RawValue, tool: &str) -> Result<Exit, Stop> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outcome {
        #[serde(default)]
        result_type: Option<String>,
        #[serde(default)]
        content: Vec<Value>,
        #[serde(default)]
        structured_content: Option<Value>,
        #[serde(default)]
        is_error: bool,
    }
    let outcome: Outcome = serde_json::from_str(result.get()).map_err(|e| {
        Stop::new(
            Exit::Failure,
            format!("the result of {tool} cannot be read: {e}"),
            "--json prints it as it is",
        )
    })?;
    if outcome.result_type.as_deref() == Some("input_required") {
        return Err(Stop::new(
            Exit::Failure,
            format!("{tool} asks for more input before it goes on"),
            "the command line cannot answer it; call it from an MCP client, or see what it asks with --json",
        ));
    }
    for block in &outcome.content {
        say(&shown(&block_text(block)));
    }
    match (&outcome.structured_content, outcome.content.is_empty()) {
        (Some(structured), true) => say(&structured.to_string()),
        (None, true) => note("the tool answered with nothing"),
        _ => {}
    }
    if outcome.is_error {
        note("error: the tool reported an error");
        return Ok(Exit::ToolError);
    }
    Ok(Exit::Ok)
}

/// Text of a tool as it may reach a terminal: without the sequences that move a cursor or rename a window.
/// Into a file or pipe it goes as it is.
fn shown(text: &str) -> String {
    if !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                ' '
            } else {
                c
            }
        })
        .collect()
}

/// A content block as text: what is text, and a line about what is not.
fn block_text(block: &Value) -> String {
    let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "text" => text("text").to_owned(),
        kind @ ("image" | "audio") => {
            format!(
                "[{kind} {}, {} bytes of base64; --json prints it]",
                text("mimeType"),
                text("data").len()
            )
        }
        "resource_link" => format!("[resource {}]", text("uri")),
        "resource" => {
            let resource = &block["resource"];
            let uri = resource.get("uri").and_then(Value::as_str).unwrap_or_default();
            match resource.get("text").and_then(Value::as_str) {
                Some(inside) => inside.to_owned(),
                None => format!("[resource {uri}; --json prints it]"),
            }
        }
        _ => block.to_string(),
    }
}

/// The most similar name, if one is similar at all: a slip of the pen, other punctuation, or the same tool of
/// another server.
fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str> + Clone) -> Option<&'n str> {
    let plain = |name: &str| {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.collect::<String>().to_lowercase()
    };
    let tool = |name: &str| plain(name.rsplit("__").next().unwrap_or(name));
    let slips_max = (wanted.chars().count() / 4).clamp(1, 3);
    let written_alike = names
        .clone()
        .map(|name| (strsim::damerau_levenshtein(&plain(wanted), &plain(name)), name))
        .filter(|(slips, _)| *slips <= slips_max)
        .min();
    let same_tool = || names.clone().find(|name| tool(name) == tool(wanted));
    written_alike.map(|(_, name)| name).or_else(same_tool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_near_name_is_offered() {
        let names = ["files__read_file", "time__now"];
        assert_eq!(
            nearest("files__readFile", names.into_iter()),
            Some("files__read_file")
        );
        assert_eq!(
            nearest("files__raed_file", names.into_iter()),
            Some("files__read_file")
        );
        assert_eq!(nearest("now", names.into_iter()), Some("time__now"));
        assert_eq!(nearest("weather", names.into_iter()), None);
    }

    #[test]
    fn blocks_that_are_no_text_are_named() {
        assert_eq!(block_text(&json!({"type": "text", "text": "hi"})), "hi");
        assert!(
            block_text(&json!({"type": "image", "mimeType": "image/png", "data": "AAAA"}))
                .contains("image/png")
        );
        assert_eq!(
            block_text(&json!({"type": "resource_link", "uri": "a://b"})),
            "[resource a://b]"
        );
    }

    #[test]
    fn arguments_must_be_an_object() {
        assert!(read_arguments(r#"{"a": 1}"#).is_ok());
        for wrong in ["[1]", "a=1", "7"] {
            assert_eq!(read_arguments(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn only_a_result_that_says_so_is_a_tool_error() {
        let exit = |text: &str| exit_of(&RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(exit(r#"{"content":[],"isError":true}"#), Exit::ToolError);
        assert_eq!(exit(r#"{"content":[]}"#), Exit::Ok);
    }
}
