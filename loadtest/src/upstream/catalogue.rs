//! What the server lists: built-in tools, synthetic tools, resources, one prompt. Everything is rendered once, for
//! each era, as the part of a JSON-RPC answer that follows the id.
//!
//! Synthetic tools look like those of real servers: a product, a verb and a noun, a description of one to three
//! sentences, three to seven properties with descriptions, enumerations, bounds, arrays and nested objects; about
//! 1 KB each. They are a function of their number, so two servers with as many tools list the same ones.

use bytes::Bytes;
use ringway_proto::revision::{Era, Revision};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// The server's name, as it states it.
pub const NAME: &str = "ringway-loadtest";

/// How long lists may be kept by a client of the modern era, and by a gateway for everyone.
const TTL_MS: u64 = 60_000;

/// The built-in tools by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Gives its argument `text` back.
    Echo,
    /// Gives `bytes` of text.
    Sized,
    /// Waits `ms`.
    Sleep,
    /// Reports progress `steps` times, `interval_ms` apart, on an event stream.
    Progress,
    /// Fails as a tool (`isError`).
    Fail,
    /// Fails as a request (JSON-RPC error).
    Error,
    /// One of the synthetic catalogue.
    Synthetic,
}

/// Rendered lists.
#[derive(Debug)]
pub struct Catalogue {
    names: HashSet<String>,
    legacy: Lists,
    modern: Lists,
    resources: usize,
}

#[derive(Debug)]
struct Lists {
    tools: Vec<Bytes>,
    resources: Bytes,
    templates: Bytes,
    prompts: Bytes,
    discover: Bytes,
}

impl Catalogue {
    /// Renders everything. `page`: tools on one page, 0 for all.
    pub fn new(synthetic: usize, page: usize, resources: usize, revisions: &[Revision]) -> Self {
        let tools: Vec<Value> = built_in()
            .into_iter()
            .chain((0..synthetic).map(synthetic_tool))
            .collect();
        let page = if page == 0 { tools.len() } else { page };
        let names = tools
            .iter()
            .filter_map(|tool| tool["name"].as_str().map(str::to_owned));
        let lists = |era| Lists {
            tools: pages(&tools, page, era),
            resources: rendered(era, &[("resources", (0..resources).map(resource).collect())]),
            templates: rendered(era, &[("resourceTemplates", json!([template()]))]),
            prompts: rendered(era, &[("prompts", json!([prompt()]))]),
            discover: rendered(
                era,
                &[
                    (
                        "supportedVersions",
                        revisions.iter().map(|r| r.as_str()).collect(),
                    ),
                    ("capabilities", capabilities()),
                    ("instructions", json!("Answers quickly, or as it is told to.")),
                ],
            ),
        };
        let (legacy, modern) = (lists(Era::Legacy), lists(Era::Modern));
        Self {
            names: names.skip(built_in().len()).collect(),
            legacy,
            modern,
            resources,
        }
    }

    /// The tool with this name.
    pub fn tool(&self, name: &str) -> Option<Tool> {
        Some(match name {
            "echo" => Tool::Echo,
            "sized" => Tool::Sized,
            "sleep" => Tool::Sleep,
            "progress" => Tool::Progress,
            "fail" => Tool::Fail,
            "error" => Tool::Error,
            other if self.names.contains(other) => Tool::Synthetic,
            _ => return None,
        })
    }

    /// One page of `tools/list`, from `,"result":` to the end of the message.
    pub fn tools(&self, era: Era, page: usize) -> Option<&Bytes> {
        self.lists(era).tools.get(page)
    }

    /// `resources/list`.
    pub fn resources(&self, era: Era) -> &Bytes {
        &self.lists(era).resources
    }

    /// `resources/templates/list`.
    pub fn templates(&self, era: Era) -> &Bytes {
        &self.lists(era).templates
    }

    /// `prompts/list`.
    pub fn prompts(&self, era: Era) -> &Bytes {
        &self.lists(era).prompts
    }

    /// `server/discover`.
    pub fn discover(&self) -> &Bytes {
        &self.modern.discover
    }

    /// Whether a resource with this URI exists; the template makes every number one.
    pub fn has_resource(&self, uri: &str) -> bool {
        let number = uri.strip_prefix(RESOURCES).and_then(|n| n.parse::<usize>().ok());
        self.resources > 0 && number.is_some()
    }

    fn lists(&self, era: Era) -> &Lists {
        match era {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        }
    }
}

/// What all resources' URIs begin with.
pub const RESOURCES: &str = "loadtest://item/";

/// Who answers.
pub fn server_info() -> Value {
    json!({ "name": NAME, "version": env!("CARGO_PKG_VERSION") })
}

/// What the server can.
pub fn capabilities() -> Value {
    json!({
        "tools": { "listChanged": true },
        "resources": { "subscribe": true, "listChanged": true },
        "prompts": { "listChanged": true },
        "completions": {},
        "logging": {},
    })
}

/// `,"result":{…}}` with the members every complete result of a list has in this era.
fn rendered(era: Era, members: &[(&str, Value)]) -> Bytes {
    let mut result: Map<String, Value> = members
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect();
    if era == Era::Modern {
        result.insert("resultType".into(), "complete".into());
        result.insert("ttlMs".into(), TTL_MS.into());
        result.insert("cacheScope".into(), "public".into());
        result.insert(
            "_meta".into(),
            json!({ "io.modelcontextprotocol/serverInfo": server_info() }),
        );
    }
    format!(",\"result\":{}}}", Value::Object(result)).into()
}

fn pages(tools: &[Value], page: usize, era: Era) -> Vec<Bytes> {
    let count = tools.len().div_ceil(page);
    tools
        .chunks(page)
        .enumerate()
        .map(|(n, tools)| {
            let mut members = vec![("tools", json!(tools))];
            if n + 1 < count {
                members.push(("nextCursor", json!((n + 1).to_string())));
            }
            rendered(era, &members)
        })
        .collect()
}

fn built_in() -> Vec<Value> {
    let tool = |name: &str, description: &str, properties: Value, required: &[&str]| {
        json!({
            "name": name,
            "description": description,
            "inputSchema": { "type": "object", "properties": properties, "required": required },
        })
    };
    let whole = |description: &str| json!({ "type": "integer", "minimum": 0, "description": description });
    vec![
        tool(
            "echo",
            "Gives its text back.",
            json!({ "text": { "type": "string" } }),
            &["text"],
        ),
        tool(
            "sized",
            "Gives a text of as many bytes as asked for.",
            json!({ "bytes": whole("Length of the text") }),
            &[],
        ),
        tool(
            "sleep",
            "Answers after a while.",
            json!({ "ms": whole("How long, in milliseconds") }),
            &["ms"],
        ),
        tool(
            "progress",
            "Reports progress on an event stream, then answers.",
            json!({
                "steps": whole("How many reports"),
                "interval_ms": whole("Milliseconds between two of them"),
                "text": { "type": "string", "description": "What to answer in the end" },
            }),
            &[],
        ),
        tool(
            "fail",
            "Fails as a tool: the result says isError.",
            json!({}),
            &[],
        ),
        tool(
            "error",
            "Fails as a request: a JSON-RPC error.",
            json!({ "code": { "type": "integer" } }),
            &[],
        ),
    ]
}

fn resource(n: usize) -> Value {
    json!({
        "uri": format!("{RESOURCES}{n}"),
        "name": format!("item-{n}"),
        "description": "A text that never changes",
        "mimeType": "text/plain",
    })
}

fn template() -> Value {
    json!({ "uriTemplate": format!("{RESOURCES}{{n}}"), "name": "item", "mimeType": "text/plain" })
}

fn prompt() -> Value {
    json!({
        "name": "greeting",
        "description": "Asks to greet somebody",
        "arguments": [{ "name": "name", "description": "Whom", "required": true }],
    })
}

const PRODUCTS: [&str; 16] = [
    "github",
    "jira",
    "slack",
    "salesforce",
    "postgres",
    "kubernetes",
    "grafana",
    "stripe",
    "notion",
    "s3",
    "zendesk",
    "hubspot",
    "pagerduty",
    "snowflake",
    "gitlab",
    "linear",
];
const VERBS: [&str; 12] = [
    "list", "get", "create", "update", "delete", "search", "archive", "assign", "export", "validate",
    "merge", "watch",
];
const NOUNS: [&str; 20] = [
    "issue",
    "comment",
    "project",
    "user",
    "team",
    "dashboard",
    "alert",
    "query",
    "deployment",
    "invoice",
    "customer",
    "document",
    "page",
    "branch",
    "release",
    "incident",
    "channel",
    "report",
    "permission",
    "webhook",
];

fn synthetic_tool(n: usize) -> Value {
    let (product, verb) = (
        PRODUCTS[n % PRODUCTS.len()],
        VERBS[n / PRODUCTS.len() % VERBS.len()],
    );
    let around = n / (PRODUCTS.len() * VERBS.len());
    let noun = NOUNS[around % NOUNS.len()];
    let name = match around / NOUNS.len() {
        0 => format!("{product}_{verb}_{noun}"),
        more => format!("{product}_{verb}_{noun}_v{}", more + 1),
    };
    let mut properties = Map::new();
    let mut add = |name: &str, schema: Value| {
        properties.insert(name.to_owned(), schema);
    };
    add(
        &format!("{noun}_id"),
        json!({ "type": "string", "description": format!("Identifier of the {noun}, as {product} shows it in its address bar"), "minLength": 1, "maxLength": 128 }),
    );
    add(
        "workspace",
        json!({ "type": "string", "description": "Workspace or organisation to act in; the caller's own when absent", "pattern": "^[a-z0-9-]+$" }),
    );
    add(
        "limit",
        json!({ "type": "integer", "description": format!("Most {noun}s to return"), "minimum": 1, "maximum": 100, "default": 20 }),
    );
    if !n.is_multiple_of(2) {
        add(
            "state",
            json!({ "type": "string", "enum": ["open", "closed", "draft", "any"], "default": "open", "description": "Only those in this state" }),
        );
    }
    if n.is_multiple_of(3) {
        add(
            "labels",
            json!({ "type": "array", "items": { "type": "string" }, "maxItems": 20, "description": "Labels that all must be present" }),
        );
    }
    if n.is_multiple_of(5) {
        add(
            "filter",
            json!({
                "type": "object",
                "description": "Narrows the selection",
                "properties": {
                    "created_after": { "type": "string", "format": "date-time" },
                    "created_before": { "type": "string", "format": "date-time" },
                    "author": { "type": "string" },
                },
                "additionalProperties": false,
            }),
        );
    }
    if n.is_multiple_of(7) {
        add(
            "dry_run",
            json!({ "type": "boolean", "default": false, "description": "Say what would happen and change nothing" }),
        );
    }
    let sentences = [
        format!("{verb}s a {noun} in {product}."),
        format!(
            " Use this when the person asks about a {noun} by name or identifier; for free text use {product}_search_{noun} instead."
        ),
        " Rate limits of the service apply, and partial results say so.".to_owned(),
    ];
    json!({
        "name": name,
        "title": format!("{product}: {verb} {noun}"),
        "description": sentences[..1 + n % 3].concat(),
        "inputSchema": {
            "type": "object",
            "properties": properties,
            "required": [format!("{noun}_id")],
            "additionalProperties": false,
        },
        "annotations": { "readOnlyHint": matches!(verb, "list" | "get" | "search" | "watch"), "destructiveHint": verb == "delete" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_tools_have_ten_thousand_names() {
        let tools: Vec<Value> = (0..10_000).map(synthetic_tool).collect();
        let names: HashSet<&str> = tools.iter().filter_map(|t| t["name"].as_str()).collect();
        assert_eq!(names.len(), tools.len());
        assert!(names.iter().all(|name| name.len() <= 48));
        let bytes = tools.iter().map(|t| t.to_string().len()).sum::<usize>() / tools.len();
        assert!((500..2000).contains(&bytes), "{bytes} bytes a tool");
    }

    #[test]
    fn pages_hold_every_tool_once_and_lead_to_the_next() {
        let catalogue = Catalogue::new(25, 10, 3, &Revision::ALL);
        let mut seen = 0;
        let pages = catalogue.modern.tools.len();
        for page in 0..pages {
            let text = catalogue.tools(Era::Modern, page).unwrap();
            let message = format!("{{\"id\":1{}", std::str::from_utf8(text).unwrap());
            let message: Value = serde_json::from_str(&message).unwrap();
            seen += message["result"]["tools"].as_array().unwrap().len();
            let next = message["result"]["nextCursor"].as_str().map(str::to_owned);
            let expected = (page + 1 < pages).then(|| (page + 1).to_string());
            assert_eq!(next, expected);
            assert_eq!(message["result"]["cacheScope"], "public");
        }
        assert_eq!(seen, 25 + built_in().len());
        assert!(catalogue.tools(Era::Modern, pages).is_none());
        assert_eq!(catalogue.tool("github_list_issue"), Some(Tool::Synthetic));
        assert_eq!(catalogue.tool("nothing"), None);
        assert!(catalogue.has_resource("loadtest://item/2") && !catalogue.has_resource("file:///2"));
    }
}
