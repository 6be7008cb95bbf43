//! Interface modes: a caller with few tools sees them all; one with many sees two, to search and to execute.
//!
//! A list of a thousand definitions fills a model's context before it has done anything. In search mode `/mcp`
//! lists [`SEARCH_TOOLS`] and [`EXECUTE_TOOL`] alone. This is how tools are presented, not what is permitted:
//! the pipeline unwraps an execution into a plain `tools/call` of the real tool, which then passes every room
//! under its own name, and calling that name at once is as good.

use crate::{
    authorize::Permits,
    limits::{QUERY_BYTES_MAX, SEARCH_BYTES_MAX, SEARCH_RESULTS_DEFAULT, SEARCH_RESULTS_MAX},
    rejection::Rejection,
    search,
    snapshot::{Principal, Scope, Snapshot},
};
use ringway_proto::{
    json::{self, Kind, Span},
    rpc::Message,
    snapshot::Interface,
};
use std::borrow::Cow;

/// Finds tools by words.
pub const SEARCH_TOOLS: &str = "SEARCH_TOOLS";
/// Calls a tool that was found.
pub const EXECUTE_TOOL: &str = "EXECUTE_TOOL";

/// How `/mcp` presents tools to one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shown {
    /// Every tool by name.
    List,
    /// The two tools of this file.
    Search,
}

/// How are tools presented to `principal`? A server's own endpoint always lists them.
pub fn shown(snapshot: &Snapshot, principal: &Principal, scope: Scope) -> Shown {
    if scope != Scope::Merged {
        return Shown::List;
    }
    match principal.interface.unwrap_or(snapshot.gateway.interface) {
        Interface::List => Shown::List,
        Interface::Search => Shown::Search,
        Interface::Auto => {
            let many =
                snapshot.permits(principal).tools_count() > snapshot.gateway.interface_threshold as usize;
            if many { Shown::Search } else { Shown::List }
        }
    }
}

/// The definitions listed in search mode. They depend on nothing, so such a list never changes.
pub const META_TOOLS: [&str; 2] = [
    concat!(
        r#"{"name":"SEARCH_TOOLS","title":"Search tools","description":"Finds tools by what they do. Many tools "#,
        r#"are available here beside the ones in your list; search before you conclude that something cannot be "#,
        r#"done. Describe the task in a few words, such as \"create github issue\". Returns the best matches with "#,
        r#"their full definitions, best first; call one with EXECUTE_TOOL.","inputSchema":{"type":"object","#,
        r#""properties":{"query":{"type":"string","maxLength":1024,"description":"What the tool should do, in a "#,
        r#"few words, or its name. An empty string lists the first tools."},"limit":{"type":"integer","minimum":1,"#,
        r#""maximum":50,"default":8,"description":"How many tools to return at most."}},"required":["query"],"#,
        r#""additionalProperties":false},"outputSchema":{"type":"object","properties":{"tools":{"type":"array","#,
        r#""items":{"type":"object","properties":{"score":{"type":"number"},"tool":{"type":"object"}},"#,
        r#""required":["score","tool"]}},"available":{"type":"integer"}},"required":["tools","available"]},"#,
        r#""annotations":{"readOnlyHint":true,"openWorldHint":false}}"#
    ),
    concat!(
        r#"{"name":"EXECUTE_TOOL","title":"Execute a tool","description":"Calls a tool that SEARCH_TOOLS found. "#,
        r#"Give the tool's exact name and arguments that fit its inputSchema. The result is that of the tool "#,
        r#"itself.","inputSchema":{"type":"object","properties":{"name":{"type":"string","description":"The "#,
        r#"tool's name exactly as SEARCH_TOOLS returned it."},"arguments":{"type":"object","description":"The "#,
        r#"tool's arguments, as its inputSchema asks.","additionalProperties":true}},"required":["name"],"#,
        r#""additionalProperties":false},"annotations":{"readOnlyHint":false,"openWorldHint":true}}"#
    ),
];

/// What an `EXECUTE_TOOL` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution<'d> {
    /// The tool's exposed name.
    pub name: Cow<'d, str>,
    /// Its arguments, an object; `None` when there are none.
    pub arguments: Option<Span>,
}

/// Reads the arguments of an `EXECUTE_TOOL` call. Strict, because what is read here is what gets called: other
/// keys, doubled keys and keys in escapes are refused.
pub fn unwrap_execute<'d>(doc: &'d [u8], message: &Message) -> Result<Execution<'d>, Rejection> {
    let [name, arguments] = members(doc, message, ["name", "arguments"])?;
    let name = name
        .and_then(|n| json::string(doc, n))
        .ok_or_else(|| wrong("arguments.name must be a string"))?;
    let arguments = match arguments.map(|a| (a, json::kind(doc, a))) {
        None | Some((_, Some(Kind::Null))) => None,
        Some((span, Some(Kind::Object))) => Some(span),
        Some(_) => return Err(wrong("arguments.arguments must be an object")),
    };
    Ok(Execution { name, arguments })
}

/// Answers a `SEARCH_TOOLS` call with a whole JSON-RPC message.
pub fn search(
    snapshot: &Snapshot,
    permits: &Permits,
    doc: &[u8],
    message: &Message,
) -> Result<Vec<u8>, Rejection> {
    let [query, limit] = members(doc, message, ["query", "limit"])?;
    let query = query
        .and_then(|q| json::string(doc, q))
        .ok_or_else(|| wrong("arguments.query must be a string"))?;
    if query.len() > QUERY_BYTES_MAX {
        return Err(wrong("arguments.query is too long"));
    }
    let limit = match limit {
        None => SEARCH_RESULTS_DEFAULT,
        Some(span) => {
            let number = std::str::from_utf8(span.of(doc))
                .ok()
                .and_then(|n| n.parse::<usize>().ok());
            number
                .filter(|n| *n > 0)
                .ok_or_else(|| wrong("arguments.limit must be a positive integer"))?
        }
    };
    let hits = search::search(snapshot, permits, &query, limit.min(SEARCH_RESULTS_MAX));
    let (structured, text) = rendered(snapshot, permits, &hits);
    let mut out = Vec::with_capacity(structured.len() + text.len() * 2);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(message.id.map_or(b"null", |id| id.of(doc)));
    out.extend_from_slice(br#","result":{"content":[{"type":"text","text":"#);
    json::write_string(&mut out, &text);
    out.extend_from_slice(br#"}],"structuredContent":"#);
    out.extend_from_slice(&structured);
    // Only requests of the modern era state their revision, and only their results have a type.
    if message.meta().is_some_and(|m| m.protocol_version.is_some()) {
        out.extend_from_slice(br#","resultType":"complete""#);
    }
    out.extend_from_slice(b"}}");
    Ok(out)
}

/// The hits twice: for programs, and for models that are shown text only.
fn rendered(snapshot: &Snapshot, permits: &Permits, hits: &[search::Hit]) -> (Vec<u8>, String) {
    let mut structured = br#"{"tools":["#.to_vec();
    let mut listing = String::new();
    let mut named = 0;
    for hit in hits {
        let definition = &snapshot.tools[hit.tool.at()].exposed_definition;
        // The definition goes out twice. One is always named, however large.
        if named > 0 && structured.len() + listing.len() + 2 * definition.len() > SEARCH_BYTES_MAX {
            break;
        }
        if named > 0 {
            structured.push(b',');
        }
        named += 1;
        structured.extend_from_slice(format!(r#"{{"score":{},"tool":"#, hit.score).as_bytes());
        structured.extend_from_slice(definition);
        structured.push(b'}');
        listing.push('\n');
        listing.push_str(&String::from_utf8_lossy(definition));
    }
    let available = permits.tools_count();
    structured.extend_from_slice(format!(r#"],"available":{available}}}"#).as_bytes());
    let text = if named == 0 {
        format!("None of {available} tools matches. Try other words, or an empty query to list tools.")
    } else {
        format!("{named} of {available} tools, best first. Call one with {EXECUTE_TOOL}.{listing}")
    };
    (structured, text)
}

/// The members of `params.arguments` under these two keys; anything else in there is refused.
fn members(doc: &[u8], message: &Message, keys: [&str; 2]) -> Result<[Option<Span>; 2], Rejection> {
    let arguments = message.params.as_ref().and_then(|p| p.arguments);
    let arguments = arguments.filter(|a| json::kind(doc, *a) == Some(Kind::Object));
    let arguments = arguments.ok_or_else(|| wrong("params.arguments must be an object"))?;
    let mut found = [None, None];
    for (key, value) in json::members(doc, arguments) {
        let Some(at) = keys.iter().position(|k| k.as_bytes() == key.of(doc)) else {
            return Err(wrong(&format!(
                "params.arguments has only the keys {} and {}",
                keys[0], keys[1]
            )));
        };
        if found[at].replace(value).is_some() {
            return Err(wrong(&format!("arguments.{} stands twice", keys[at])));
        }
    }
    Ok(found)
}

fn wrong(text: &str) -> Rejection {
    Rejection::ParamsInvalid(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{document, principal, scope_of, server, snapshot, two_servers};
    use ringway_proto::rpc::scan;
    use serde_json::{Value, json};

    fn call(arguments: &str) -> Vec<u8> {
        format!(r#"{{"jsonrpc":"2.0","id":"q-1","method":"tools/call","params":{{"name":"X","arguments":{arguments}}}}}"#)
            .into_bytes()
    }

    fn scanned(doc: &[u8]) -> Message {
        scan(doc).unwrap()
    }

    #[test]
    fn the_mode_follows_key_gateway_and_threshold() {
        let with = |gateway: Value, key: Option<&str>| {
            let mut d = document(vec![server("fs", &["a", "b", "c"], &[])]);
            d["gateway"] = gateway;
            if let Some(interface) = key {
                d["keys"][0]["interface"] = json!(interface);
            }
            let s = snapshot(d);
            let p = principal(&s, "all");
            assert_eq!(
                shown(&s, &p, scope_of(&s, "fs")),
                Shown::List,
                "a server's own endpoint lists"
            );
            shown(&s, &p, Scope::Merged)
        };
        assert_eq!(with(json!({}), None), Shown::List);
        assert_eq!(with(json!({"interface_threshold": 3}), None), Shown::List);
        assert_eq!(with(json!({"interface_threshold": 2}), None), Shown::Search);
        assert_eq!(with(json!({"interface": "search"}), None), Shown::Search);
        assert_eq!(with(json!({"interface": "search"}), Some("list")), Shown::List);
        assert_eq!(with(json!({"interface": "list"}), Some("search")), Shown::Search);
    }

    #[test]
    fn the_two_definitions_are_sound() {
        for (text, name) in META_TOOLS.iter().zip([SEARCH_TOOLS, EXECUTE_TOOL]) {
            let v: Value = serde_json::from_str(text).unwrap();
            assert_eq!(v["name"], name);
            assert_eq!(v["inputSchema"]["type"], "object");
        }
        let search: Value = serde_json::from_str(META_TOOLS[0]).unwrap();
        assert_eq!(
            search["inputSchema"]["properties"]["limit"]["maximum"],
            SEARCH_RESULTS_MAX
        );
        assert_eq!(
            search["inputSchema"]["properties"]["limit"]["default"],
            SEARCH_RESULTS_DEFAULT
        );
        assert_eq!(
            search["inputSchema"]["properties"]["query"]["maxLength"],
            QUERY_BYTES_MAX
        );
    }

    #[test]
    fn an_execution_is_unwrapped() {
        let doc = call(r#"{"arguments":{"path":"/x"},"name":"fs__re\u0061d_file"}"#);
        let e = unwrap_execute(&doc, &scanned(&doc)).unwrap();
        assert_eq!(e.name, "fs__read_file");
        assert_eq!(e.arguments.unwrap().of(&doc), br#"{"path":"/x"}"#);
        for none in [r#"{"name":"a"}"#, r#"{"name":"a","arguments":null}"#] {
            let doc = call(none);
            assert_eq!(unwrap_execute(&doc, &scanned(&doc)).unwrap().arguments, None);
        }
    }

    #[test]
    fn an_execution_that_could_be_read_two_ways_is_refused() {
        for bad in [
            "null",
            "[]",
            "{}",
            r#"{"name":7}"#,
            r#"{"name":"a","arguments":"{}"}"#,
            r#"{"name":"a","arguments":[]}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","Name":"b"}"#,
            r#"{"name":"a","n\u0061me":"b"}"#,
            r#"{"name":"a","extra":1}"#,
        ] {
            let doc = call(bad);
            let refused = unwrap_execute(&doc, &scanned(&doc)).unwrap_err();
            assert_eq!(refused.reason(), "params_invalid", "{bad}");
        }
    }

    #[test]
    fn a_search_is_answered_as_a_tool_would() {
        let s = two_servers();
        let p = principal(&s, "all");
        let doc = call(r#"{"query":"read file","limit":2}"#);
        let answer = search(&s, s.permits(&p), &doc, &scanned(&doc)).unwrap();
        let v: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(v["id"], "q-1");
        let tools = v["result"]["structuredContent"]["tools"].as_array().unwrap();
        assert_eq!(tools[0]["tool"]["name"], "fs__read_file");
        assert!(tools.len() <= 2 && tools[0]["score"].as_f64().unwrap() > 0.0);
        assert_eq!(v["result"]["structuredContent"]["available"], 4);
        assert!(
            v["result"]["content"][0]["text"]
                .as_str()
                .unwrap()
                .contains("fs__read_file")
        );
        assert!(v["result"].get("resultType").is_none());
    }

    #[test]
    fn a_bad_search_is_refused() {
        let s = two_servers();
        let p = principal(&s, "all");
        for bad in [
            "{}".to_owned(),
            r#"{"query":1}"#.into(),
            r#"{"query":"a","limit":0}"#.into(),
            r#"{"query":"a","limit":-1}"#.into(),
            r#"{"query":"a","limit":1.5}"#.into(),
            r#"{"query":"a","x":1}"#.into(),
            format!(r#"{{"query":"{}"}}"#, "a".repeat(2000)),
        ] {
            let doc = call(&bad);
            assert!(search(&s, s.permits(&p), &doc, &scanned(&doc)).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_stays_within_its_bound() {
        let mut big = server("big", &[], &[]);
        let tool = |n: usize| json!({"name": format!("t{n}"), "description": "word ".repeat(6_000), "inputSchema": {"type": "object"}});
        big["catalogue"]["tools"] = (0..40).map(tool).collect();
        let s = snapshot(document(vec![big]));
        let p = principal(&s, "all");
        let doc = call(r#"{"query":"word","limit":50}"#);
        let answer = search(&s, s.permits(&p), &doc, &scanned(&doc)).unwrap();
        assert!(answer.len() < SEARCH_BYTES_MAX * 5 / 4, "{}", answer.len());
        let v: Value = serde_json::from_slice(&answer).unwrap();
        assert!(
            !v["result"]["structuredContent"]["tools"]
                .as_array()
                .unwrap()
                .is_empty()
        );
    }
}
