//! `ringway tools`: what a caller with this key can see.

use super::{
    exit::{Exit, Stop, note, printable, say, say_json},
    gateway::{GatewayArgs, stop},
};
use crate::client::{ListBounds, McpClient, message::raw};
use clap::{Args, Subcommand};
use ringway_core::{interface::SEARCH_TOOLS, limits::SEARCH_RESULTS_MAX};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// List and search the tools of a running gateway
#[derive(Args, Debug)]
pub struct ToolsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the tools this key may see
    List {
        #[command(flatten)]
        gateway: GatewayArgs,
        /// Print the definitions as JSON
        #[arg(long)]
        json: bool,
    },
    /// Find tools by words in their name and description
    Search {
        /// The words
        #[arg(required = true)]
        query: Vec<String>,
        #[command(flatten)]
        gateway: GatewayArgs,
        /// At most so many
        #[arg(long, default_value_t = 10, value_name = "N")]
        limit: usize,
        /// Print the definitions as JSON
        #[arg(long)]
        json: bool,
    },
}

/// What of a definition is shown.
#[derive(Deserialize)]
pub struct Shown {
    /// Its exposed name.
    pub name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    /// The schema of its arguments.
    #[serde(default, rename = "inputSchema")]
    pub input_schema: Option<Box<RawValue>>,
}

/// A tool as listed, and what of it is shown.
pub struct Tool {
    /// The definition.
    pub raw: Box<RawValue>,
    /// Its readable part.
    pub shown: Shown,
}

impl Tool {
    fn read(raw: Box<RawValue>) -> Option<Self> {
        Some(Self {
            shown: serde_json::from_str(raw.get()).ok()?,
            raw,
        })
    }
}

/// Runs the command.
pub async fn run(args: ToolsArgs) -> Result<Exit, Stop> {
    let (gateway, query, limit, json) = match args.command {
        Command::List { gateway, json } => (gateway, None, usize::MAX, json),
        Command::Search {
            query,
            gateway,
            limit,
            json,
        } => (gateway, Some(query.join(" ")), limit, json),
    };
    let client = gateway.connect().await?;
    let outcome = show(&client, query.as_deref(), limit, json).await;
    client.close().await;
    outcome
}

async fn show(client: &McpClient, query: Option<&str>, limit: usize, json: bool) -> Result<Exit, Stop> {
    let mut tools = all(client).await?;
    if tools.iter().any(|tool| tool.shown.name == SEARCH_TOOLS) {
        // This key sees many tools, so the gateway lists two that find the others.
        let (found, available) = search(client, query.unwrap_or_default(), limit).await?;
        if found.len() < available && query.is_none() {
            note(&format!(
                "{} of {available} tools; `ringway tools search` finds the others",
                found.len()
            ));
        }
        tools = found;
    } else if let Some(query) = query {
        tools = ranked(tools, query);
    }
    tools.truncate(limit);
    if json {
        let raw: Vec<_> = tools.iter().map(|tool| &*tool.raw).collect();
        say_json(&Listing { tools: raw })?;
        return Ok(Exit::Ok);
    }
    let width = tools
        .iter()
        .map(|tool| tool.shown.name.len())
        .max()
        .unwrap_or(0)
        .min(40);
    for tool in &tools {
        say(format!("{:width$}  {}", printable(&tool.shown.name), summary(&tool.shown)).trim_end());
    }
    if tools.is_empty() {
        note(match query {
            Some(_) => "no tool matches; `ringway tools list` shows all of them",
            None => "no tools: no server is up, or this key's roles allow none; the gateway's log says which",
        });
    }
    Ok(Exit::Ok)
}

/// Asks the gateway's own search; an empty query lists. Also how many tools there are in all.
async fn search(client: &McpClient, query: &str, limit: usize) -> Result<(Vec<Tool>, usize), Stop> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        structured_content: Found,
    }
    #[derive(Deserialize)]
    struct Found {
        tools: Vec<Hit>,
        available: usize,
    }
    #[derive(Deserialize)]
    struct Hit {
        tool: Box<RawValue>,
    }
    let arguments = serde_json::json!({"query": query, "limit": limit.clamp(1, SEARCH_RESULTS_MAX)});
    let params = raw(&serde_json::json!({"name": SEARCH_TOOLS, "arguments": arguments}));
    let answer = match params {
        Ok(params) => client.request("tools/call", Some(&params)).await,
        Err(failure) => Err(failure),
    };
    let answer = answer.map_err(|failure| stop(&failure, client.peer()))?;
    let answer: Answer = serde_json::from_str(answer.get()).map_err(|e| {
        Stop::plain(
            Exit::Failure,
            format!("the answer of {SEARCH_TOOLS} cannot be read: {e}"),
        )
    })?;
    let found = answer.structured_content;
    Ok((
        found
            .tools
            .into_iter()
            .filter_map(|hit| Tool::read(hit.tool))
            .collect(),
        found.available,
    ))
}

#[derive(Serialize)]
struct Listing<'t> {
    tools: Vec<&'t RawValue>,
}

/// Every tool the gateway lists for us.
pub async fn all(client: &McpClient) -> Result<Vec<Tool>, Stop> {
    let listed = client
        .list("tools/list", "tools", ListBounds::default())
        .await
        .map_err(|failure| stop(&failure, client.peer()))?;
    Ok(listed.entries.into_iter().filter_map(Tool::read).collect())
}

/// The first sentence or line of what a tool says of itself.
fn summary(tool: &Shown) -> String {
    const CHARS_MAX: usize = 100;
    let text = tool
        .description
        .as_deref()
        .or(tool.title.as_deref())
        .unwrap_or_default()
        .trim();
    let line = text.lines().next().unwrap_or_default();
    let line = printable(line);
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

/// Tools that match a word of the query, best first: a word in the name counts three times one in the text.
fn ranked(tools: Vec<Tool>, query: &str) -> Vec<Tool> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let score = |tool: &Tool| {
        let name = tool.shown.name.to_lowercase();
        let text = format!(
            "{} {}",
            tool.shown.title.as_deref().unwrap_or_default(),
            tool.shown.description.as_deref().unwrap_or_default()
        )
        .to_lowercase();
        words
            .iter()
            .map(|word| {
                3 * usize::from(name.contains(word.as_str())) + usize::from(text.contains(word.as_str()))
            })
            .sum::<usize>()
    };
    let mut scored: Vec<_> = tools
        .into_iter()
        .map(|tool| (score(&tool), tool))
        .filter(|(s, _)| *s > 0)
        .collect();
    scored.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.shown.name.cmp(&y.shown.name)));
    scored.into_iter().map(|(_, tool)| tool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(json: &str) -> Tool {
        Tool::read(RawValue::from_string(json.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn a_word_in_the_name_weighs_more_than_one_in_the_text() {
        let tools = vec![
            tool(r#"{"name":"a__note","description":"Read a file aloud"}"#),
            tool(r#"{"name":"fs__read_file","description":"From disk"}"#),
            tool(r#"{"name":"b__other"}"#),
        ];
        let names: Vec<_> = ranked(tools, "Read FILE")
            .into_iter()
            .map(|t| t.shown.name)
            .collect();
        assert_eq!(names, ["fs__read_file", "a__note"]);
    }

    #[test]
    fn a_summary_is_one_printable_line() {
        let long = format!(
            r#"{{"name":"a","description":"First\u001b[2J line {}\nsecond"}}"#,
            "x".repeat(200)
        );
        let line = summary(&tool(&long).shown);
        assert!(
            !line.contains('\u{1b}') && !line.contains("second") && line.chars().count() <= 101,
            "{line}"
        );
    }
}
