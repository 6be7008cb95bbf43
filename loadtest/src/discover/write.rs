//! Writes the scenario: what may be called first, what must be looked at commented out behind it.

use super::{Found, arguments::arguments};
use crate::{
    scenario::{OPERATIONS_MAX, Scenario},
    wire::{HttpChoice, Trust},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write as _, path::Path};

/// Operations written to be called; the others are commented out, like dangerous ones.
const CALLED_MAX: usize = OPERATIONS_MAX / 2;
/// Resources read; the lists of some servers are endless, and one is like the other.
const RESOURCES_MAX: usize = 5;
/// Characters of a description that are worth a line.
const DESCRIPTION_CHARS: usize = 100;
const RATE: u32 = 50;

/// First words of tools that only look, where a server says nothing about them.
const LOOKING: [&str; 24] = [
    "get",
    "list",
    "read",
    "search",
    "find",
    "echo",
    "describe",
    "show",
    "status",
    "count",
    "fetch",
    "query",
    "lookup",
    "ping",
    "time",
    "sum",
    "add",
    "calculate",
    "convert",
    "validate",
    "check",
    "view",
    "info",
    "help",
];
/// Words of tools that do something, wherever they stand.
const DOING: [&str; 24] = [
    "delete", "remove", "drop", "destroy", "create", "write", "update", "set", "send", "post", "put",
    "patch", "execute", "run", "exec", "kill", "stop", "start", "deploy", "move", "rename", "insert",
    "merge", "purge",
];

/// What may be done with a tool by a load test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its server says that it only reads.
    ReadOnly,
    /// Nothing is said, and its name is that of a tool that looks.
    LooksHarmless,
    /// Nothing is said, or it changes something.
    Unknown,
    /// Its server says that it destroys.
    Dangerous,
}

/// How a tool stands, by its annotations and, where there are none, by its name.
pub fn standing(tool: &Value) -> Standing {
    let hint = |name: &str| {
        tool.get("annotations")
            .and_then(|hints| hints.get(name)?.as_bool())
    };
    match (hint("readOnlyHint"), hint("destructiveHint")) {
        (Some(true), _) => Standing::ReadOnly,
        (_, Some(true)) => Standing::Dangerous,
        (Some(false), _) | (_, Some(false)) => Standing::Unknown,
        (None, None) => {
            let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
            let words = words(name);
            let does = words.iter().any(|word| DOING.contains(&word.as_str()));
            let looks = words.iter().any(|word| LOOKING.contains(&word.as_str()));
            match looks && !does {
                true => Standing::LooksHarmless,
                false => Standing::Unknown,
            }
        }
    }
}

/// The words of `listOpenIssues`, `list_open_issues` and `server__list-open-issues`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let begins = !c.is_alphanumeric() || (c.is_uppercase() && was_lower);
        if begins {
            words.push(String::new());
        }
        was_lower = c.is_lowercase();
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// One `[[operation]]`.
struct Entry {
    called: bool,
    remarks: Vec<String>,
    lines: Vec<(&'static str, String)>,
}

/// The scenario's text. `head` is what stands before the operations.
pub fn write(found: &Found, head: &str) -> String {
    let mut tools: Vec<(Standing, &Value)> = found.tools.iter().map(|tool| (standing(tool), tool)).collect();
    tools.sort_by_key(|(standing, _)| *standing as u8);
    let mut entries = vec![plain("tools/list", &[])];
    entries.extend(
        tools
            .into_iter()
            .filter_map(|(standing, tool)| tool_entry(standing, tool)),
    );
    entries.extend(found.prompts.iter().filter_map(prompt_entry));
    entries.extend(
        found
            .resources
            .iter()
            .take(RESOURCES_MAX)
            .filter_map(resource_entry),
    );
    let mut names = BTreeSet::new();
    let mut called = 0;
    let mut text = head.to_owned();
    for mut entry in entries {
        let name = entry
            .lines
            .iter()
            .find(|(key, _)| matches!(*key, "tool" | "prompt" | "uri"));
        let name = name.map_or("tools/list".to_owned(), |(_, value)| value.clone());
        if !names.insert(name.clone()) {
            // A prompt may be called like a tool; two tools of one name are one.
            if entry.lines.iter().any(|(key, _)| *key == "tool") {
                continue;
            }
            entry
                .lines
                .insert(0, ("name", quoted(&format!("another {}", names.len()))));
        }
        entry.called &= called < CALLED_MAX;
        called += usize::from(entry.called);
        write_entry(&mut text, &entry);
    }
    text
}

/// What stands before the operations: everything about the target that is no secret.
pub fn head(found: &Found, scenario: &Scenario) -> String {
    let mut text = String::new();
    let target = &scenario.target;
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "# Written by `ringway-loadtest discover` from what the server says of itself: {} tools, {} prompts, {} resources.\n\
         # What is commented out may change or destroy something, or says nothing of itself. Prune, set the load, run.\n\
         name = {}\nthresholds = [\"errors < 1%\"]\n\n[target]\nurl = {}\nrevision = {}\n",
        found.tools.len(),
        found.prompts.len(),
        found.resources.len(),
        quoted("discovered"),
        quoted(&target.urls[0]),
        quoted(&found.revision),
    );
    if target.http == HttpChoice::Http2 {
        text.push_str("http = \"2\"\n");
    }
    match &target.trust {
        Trust::Public => {}
        Trust::Anyone => text.push_str("\n[target.tls]\ninsecure = true\n"),
        Trust::CaFile(file) => {
            let _ = write!(
                text,
                "\n[target.tls]\nca_file = {}\n",
                quoted(&file.display().to_string())
            );
        }
    }
    if !scenario.clients.keys.is_empty() {
        let _ = write!(
            text,
            "\n[clients]\n# Give the key as --key or --keys-file, or name a file here.\nheader = {}\nprefix = {}\n",
            quoted(&scenario.clients.header),
            quoted(&scenario.clients.prefix)
        );
    }
    let _ = write!(
        text,
        "\n[load]\nrate = {RATE}\nduration = \"30s\"\nwarmup = \"2s\"\n"
    );
    text
}

fn write_entry(text: &mut String, entry: &Entry) {
    text.push('\n');
    for remark in &entry.remarks {
        let _ = writeln!(text, "# {remark}");
    }
    let mark = if entry.called { "" } else { "#" };
    let _ = writeln!(text, "{mark}[[operation]]");
    for (key, value) in &entry.lines {
        let _ = writeln!(text, "{mark}{key} = {value}");
    }
}

fn plain(call: &str, lines: &[(&'static str, String)]) -> Entry {
    let mut all = vec![("call", quoted(call))];
    all.extend_from_slice(lines);
    Entry {
        called: true,
        remarks: Vec::new(),
        lines: all,
    }
}

fn tool_entry(standing: Standing, tool: &Value) -> Option<Entry> {
    let name = tool.get("name")?.as_str()?;
    let schema = tool.get("inputSchema").unwrap_or(&Value::Null);
    let (mut arguments, remarks) = arguments(schema);
    let mirrors = mirror(schema, &mut arguments);
    let mut entry = plain(
        "tools/call",
        &[
            ("tool", quoted(name)),
            ("arguments", quoted(&arguments.to_string())),
        ],
    );
    if !mirrors.is_empty() {
        entry.lines.push(("param_headers", mirrors));
    }
    entry.called = matches!(standing, Standing::ReadOnly | Standing::LooksHarmless) && remarks.is_empty();
    entry.remarks.extend(described(tool));
    match standing {
        Standing::ReadOnly => {}
        Standing::LooksHarmless => entry
            .remarks
            .push("says nothing of itself; its name is that of a reader".to_owned()),
        Standing::Unknown => entry.remarks.push("may change something".to_owned()),
        Standing::Dangerous => entry.remarks.push("DANGEROUS by its own account".to_owned()),
    }
    entry.remarks.extend(remarks);
    Some(entry)
}

/// Arguments that must be repeated in a header (`x-mcp-header`) get a value that can be, and the table that says so.
fn mirror(schema: &Value, arguments: &mut Value) -> String {
    let mut pairs = Vec::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (key, property) in properties.into_iter().flatten() {
        let header = property.get("x-mcp-header").and_then(Value::as_str);
        let (Some(header), Some(value)) = (header, arguments.get_mut(key)) else {
            continue;
        };
        if value.as_str().is_some_and(|text| text.contains("{{")) {
            *value = match property.get("type").and_then(Value::as_str) {
                Some("boolean") => json!(true),
                Some("integer" | "number") => json!(1),
                _ => json!("load-test"),
            };
        }
        pairs.push(format!("{} = {}", quoted(header), quoted(key)));
    }
    match pairs.is_empty() {
        true => String::new(),
        false => format!("{{ {} }}", pairs.join(", ")),
    }
}

fn prompt_entry(prompt: &Value) -> Option<Entry> {
    let name = prompt.get("name")?.as_str()?;
    let listed = prompt.get("arguments").and_then(Value::as_array);
    let required = listed
        .into_iter()
        .flatten()
        .filter(|a| a.get("required") == Some(&json!(true)));
    let arguments: serde_json::Map<String, Value> = required
        .filter_map(|argument| {
            Some((
                argument.get("name")?.as_str()?.to_owned(),
                json!("{{random_text 12}}"),
            ))
        })
        .collect();
    let arguments = Value::Object(arguments).to_string();
    let mut entry = plain(
        "prompts/get",
        &[("prompt", quoted(name)), ("arguments", quoted(&arguments))],
    );
    entry.remarks.extend(described(prompt));
    Some(entry)
}

fn resource_entry(resource: &Value) -> Option<Entry> {
    let uri = resource.get("uri")?.as_str()?;
    Some(plain("resources/read", &[("uri", quoted(uri))]))
}

/// The first line of a description, harmless in a comment.
fn described(item: &Value) -> Option<String> {
    let text = item
        .get("description")?
        .as_str()?
        .lines()
        .find(|line| !line.trim().is_empty())?;
    let text: String = text
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(DESCRIPTION_CHARS)
        .collect();
    Some(text)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Reads what was written, so that nobody is handed a file that does not run.
pub fn check(text: &str) -> Result<(), String> {
    Scenario::read(text, Path::new(""))
        .map(|_| ())
        .map_err(|findings| findings.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_speak_first_and_names_last() {
        let tool = |name: &str, hints: Value| standing(&json!({"name": name, "annotations": hints}));
        assert_eq!(
            tool("delete_all", json!({"readOnlyHint": true})),
            Standing::ReadOnly
        );
        assert_eq!(tool("get", json!({"destructiveHint": true})), Standing::Dangerous);
        assert_eq!(
            tool("get", json!({"readOnlyHint": false, "destructiveHint": false})),
            Standing::Unknown
        );
        for (name, meant) in [
            ("listOpenIssues", Standing::LooksHarmless),
            ("server__get-sum", Standing::LooksHarmless),
            ("get_and_delete", Standing::Unknown),
            ("frobnicate", Standing::Unknown),
            ("getaway", Standing::Unknown),
        ] {
            assert_eq!(standing(&json!({"name": name})), meant, "{name}");
        }
    }

    #[test]
    fn what_is_written_can_be_run_and_calls_nothing_dangerous() {
        let found = Found {
            revision: "2026-07-28".into(),
            tools: vec![
                json!({"name": "wipe", "annotations": {"destructiveHint": true}, "description": "Wipes\nall"}),
                json!({"name": "read it's \"it\"", "annotations": {"readOnlyHint": true},
                       "inputSchema": {"required": ["p"], "properties": {"p": {"enum": ["a b", "c'd"]}}}}),
                json!({"name": "echo", "inputSchema": {"required": ["m"], "properties": {"m": {"type": "string", "pattern": "x"}}}}),
                json!({"name": "mirrored", "annotations": {"readOnlyHint": true}, "inputSchema": {"required": ["where"],
                       "properties": {"where": {"type": "string", "x-mcp-header": "Region"}}}}),
                json!({"nameless": true}),
            ],
            prompts: vec![
                json!({"name": "wipe", "arguments": [{"name": "who", "required": true}, {"name": "opt"}]}),
            ],
            resources: vec![json!({"uri": "test://a"}), json!({"uri": "test://b"})],
        };
        let flags = crate::scenario::flags::Flags {
            url: vec!["http://127.0.0.1:1/mcp".into()],
            keys: vec!["s3cret".into()],
            method: Some("ping".into()),
            rate: Some(1.0),
            ..Default::default()
        };
        let text = write(&found, &head(&found, &flags.scenario(None).unwrap()));
        check(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert!(!text.contains("s3cret"), "{text}");
        let scenario = Scenario::read(&text, Path::new("")).unwrap();
        let called: Vec<&str> = scenario
            .operations
            .iter()
            .filter_map(|o| o.action.subject())
            .collect();
        assert_eq!(
            called,
            ["read it's \"it\"", "mirrored", "wipe", "test://a", "test://b"],
            "{text}"
        );
        assert!(text.contains("#tool = \"wipe\""), "{text}");
        assert!(text.contains("must match x"), "{text}");
    }
}
