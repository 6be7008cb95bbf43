//! Search: which of the tools a caller may use fit these words?
//!
//! BM25 over weighted fields. A snapshot holds one inverted index over all its tools ([`Index`]), built when it
//! is compiled; a search walks the postings of the query's terms and counts only what the caller may use. How
//! rare a term is and how long a definition is on average are taken among those tools too, so that scores tell
//! nothing about tools the caller cannot see.
//!
//! Equal input gives equal scores and order: sums run in the order of the query's terms, ties break by the
//! tool's place in the snapshot.

mod words;

use crate::{
    authorize::Permits,
    limits::{QUERY_EXPANSIONS_MAX, QUERY_TERMS_MAX},
    snapshot::{Server, Snapshot, Tool, ToolIndex},
};
use ringway_proto::json::{self, Span};
use std::{collections::HashMap, ops::Range};

/// One tool found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Which.
    pub tool: ToolIndex,
    /// Higher fits better. Comparable within one answer.
    pub score: f64,
}

/// The best `limit` tools for `query` among those `permits` allow, best first. A query without a usable word
/// gives the first tools in order of the list.
pub fn search(snapshot: &Snapshot, permits: &Permits, query: &str, limit: usize) -> Vec<Hit> {
    let mut terms: Vec<String> = Vec::new();
    words::each(query, |term| {
        if terms.len() < QUERY_TERMS_MAX && !terms.iter().any(|t| t == term) {
            terms.push(term.to_owned());
        }
    });
    if terms.is_empty() {
        let all = permits.tools.iter().take(limit);
        return all
            .map(|at| Hit {
                tool: ToolIndex(at as u32),
                score: 0.0,
            })
            .collect();
    }
    let mut hits = snapshot.search.score(permits, &terms);
    for hit in &mut hits {
        let tool = &snapshot.tools[hit.tool.at()];
        let named = [&*tool.exposed, &*tool.name]
            .iter()
            .any(|n| n.eq_ignore_ascii_case(query.trim()));
        if named {
            hit.score += NAMED;
        }
        // Three decimals are what is printed; rounding first keeps order and print in agreement.
        hit.score = (hit.score * 1000.0).round() / 1000.0;
    }
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.tool.cmp(&b.tool)));
    hits.truncate(limit);
    hits
}

/// Added when the query is a tool's very name: above any sum of terms in practice.
const NAMED: f64 = 100.0;

/// How much a word counts in each field: a name says what a tool is, an argument's description only what it takes.
const NAME: f32 = 4.0;
const TITLE: f32 = 3.0;
const SERVER: f32 = 1.5;
const DESCRIPTION: f32 = 1.0;
const ARGUMENT: f32 = 1.0;
const ARGUMENT_DESCRIPTION: f32 = 0.4;
/// What a word counts for when only its beginning was asked for.
const PREFIX: f64 = 0.5;
/// Below this length a beginning says nothing.
const PREFIX_CHARS_MIN: usize = 3;
/// BM25: how soon repetition stops to count; how much length is held against a definition.
const K1: f64 = 1.2;
const B: f64 = 0.6;
/// Levels of nested arguments that are indexed.
const ARGUMENT_DEPTH_MAX: usize = 4;

/// The inverted index of a snapshot's tools.
#[derive(Debug, Default)]
pub struct Index {
    /// Sorted; each with its range in `postings`.
    terms: Vec<(Box<str>, Range<u32>)>,
    /// Tool and weighted count, by term, tools ascending.
    postings: Vec<(u32, f32)>,
    /// Weighted words of each tool.
    lengths: Vec<f32>,
}

impl Index {
    pub(crate) fn build(servers: &[Server], tools: &[Tool]) -> Self {
        let mut ids: HashMap<Box<str>, u32> = HashMap::new();
        // By term: (tool, weight). Tools come in order, so a tool's words are together at the end.
        let mut lists: Vec<Vec<(u32, f32)>> = Vec::new();
        let mut lengths = Vec::with_capacity(tools.len());
        for (at, tool) in tools.iter().enumerate() {
            let mut length = 0.0;
            let mut field = |text: &str, weight: f32| {
                words::each(text, |term| {
                    length += weight.min(1.0);
                    let id = match ids.get(term) {
                        Some(id) => *id,
                        None => {
                            ids.insert(term.into(), lists.len() as u32);
                            lists.push(Vec::new());
                            lists.len() as u32 - 1
                        }
                    };
                    match lists[id as usize].last_mut() {
                        Some((last, sum)) if *last == at as u32 => *sum += weight,
                        _ => lists[id as usize].push((at as u32, weight)),
                    }
                });
            };
            field(&tool.name, NAME);
            field(&servers[tool.server.at()].name, SERVER);
            fields_of(&tool.definition, &mut field);
            lengths.push(length);
        }
        let mut sorted: Vec<(Box<str>, u32)> = ids.into_iter().collect();
        sorted.sort_unstable();
        let mut index = Self {
            terms: Vec::with_capacity(sorted.len()),
            postings: Vec::new(),
            lengths,
        };
        for (term, id) in sorted {
            let from = index.postings.len() as u32;
            index.postings.append(&mut lists[id as usize]);
            index.terms.push((term, from..index.postings.len() as u32));
        }
        index
    }

    fn score(&self, permits: &Permits, terms: &[String]) -> Vec<Hit> {
        let visible = permits.tools_count() as f64;
        let total: f64 = permits
            .tools
            .iter()
            .map(|t| self.lengths.get(t).copied().map_or(0.0, f64::from))
            .sum();
        let average = (total / visible.max(1.0)).max(1.0);
        // Per tool: the sum over terms, and how many of them it has. Tables of all tools and not of those found: the
        // sum above has looked at every tool already, and the order of hits does not depend on a hash.
        let mut sums = vec![(0.0, 0_u32); self.lengths.len()];
        let mut best = vec![0.0_f64; self.lengths.len()];
        let mut found: Vec<u32> = Vec::new();
        for term in terms {
            for (postings, factor) in self.matching(term) {
                let seen = || {
                    postings
                        .iter()
                        .filter(|(tool, _)| permits.tools.contains(*tool as usize))
                };
                let df = seen().count() as f64;
                let idf = (1.0 + (visible - df + 0.5) / (df + 0.5)).ln();
                for (tool, weight) in seen() {
                    let tf = f64::from(*weight);
                    let length = self.lengths.get(*tool as usize).copied().map_or(0.0, f64::from);
                    let score = factor * idf * tf * (K1 + 1.0) / (tf + K1 * (1.0 - B + B * length / average));
                    let Some(held) = best.get_mut(*tool as usize) else {
                        continue;
                    };
                    if *held == 0.0 {
                        found.push(*tool);
                    }
                    *held = held.max(score);
                }
            }
            for tool in found.drain(..) {
                let sum = &mut sums[tool as usize];
                sum.0 += std::mem::take(&mut best[tool as usize]);
                sum.1 += 1;
            }
        }
        // A tool that has every word beats one that has a single word very often.
        let covered = |count: u32| 0.5 + 0.5 * f64::from(count) / terms.len() as f64;
        (0..)
            .zip(sums)
            .filter(|(_, (_, n))| *n > 0)
            .map(|(t, (sum, n))| Hit {
                tool: ToolIndex(t),
                score: sum * covered(n),
            })
            .collect()
    }

    /// The postings of `term`, and at a discount those of terms that begin with it.
    fn matching<'i>(&'i self, term: &'i str) -> impl Iterator<Item = (&'i [(u32, f32)], f64)> {
        let from = self.terms.partition_point(|(t, _)| **t < *term);
        let longer = if term.chars().count() >= PREFIX_CHARS_MIN {
            QUERY_EXPANSIONS_MAX
        } else {
            0
        };
        self.terms[from..]
            .iter()
            .take_while(move |(t, _)| t.starts_with(term))
            .filter(move |(t, _)| longer > 0 || **t == *term)
            .take(1 + longer)
            .map(move |(t, range)| {
                let postings = self
                    .postings
                    .get(range.start as usize..range.end as usize)
                    .unwrap_or_default();
                (postings, if **t == *term { 1.0 } else { PREFIX })
            })
    }
}

/// Calls `field` with each text of a tool's definition that is searched.
fn fields_of(doc: &[u8], field: &mut impl FnMut(&str, f32)) {
    let root = json::root(doc);
    for (key, weight) in [("title", TITLE), ("description", DESCRIPTION)] {
        if let Some(text) = json::member(doc, root, key).and_then(|v| json::string(doc, v)) {
            field(&text, weight);
        }
    }
    if let Some(schema) = json::member(doc, root, "inputSchema") {
        arguments_of(doc, schema, 0, field);
    }
}

fn arguments_of(doc: &[u8], schema: Span, depth: usize, field: &mut impl FnMut(&str, f32)) {
    let Some(properties) = json::member(doc, schema, "properties") else {
        return;
    };
    for (name, property) in json::members(doc, properties) {
        if let Some(name) = json::unescape(doc, name) {
            field(&name, ARGUMENT);
        }
        for key in ["title", "description"] {
            if let Some(text) = json::member(doc, property, key).and_then(|v| json::string(doc, v)) {
                field(&text, ARGUMENT_DESCRIPTION);
            }
        }
        if depth < ARGUMENT_DEPTH_MAX {
            arguments_of(doc, property, depth + 1, field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{document, principal, server, snapshot};
    use serde_json::json;

    fn fleet() -> Snapshot {
        let mut github = server("github", &[], &[]);
        github["catalogue"]["tools"] = json!([
            {"name": "create_issue", "description": "Create a new issue in a repository", "inputSchema": {"type": "object",
                "properties": {"title": {"type": "string"}, "labels": {"type": "array", "description": "labels to attach"}}}},
            {"name": "listPullRequests", "description": "List pull requests of a repository", "inputSchema": {"type": "object"}},
            {"name": "delete_repository", "description": "Delete a repository for ever", "inputSchema": {"type": "object"}},
        ]);
        let mut fs = server("fs", &[], &[]);
        fs["catalogue"]["tools"] = json!([
            {"name": "read_file", "title": "Read a file", "description": "Reads the contents of a file", "inputSchema": {"type": "object"}},
            {"name": "issue_report", "description": "Prints a report about files", "inputSchema": {"type": "object"}},
        ]);
        snapshot(document(vec![github, fs]))
    }

    fn found(s: &Snapshot, who: &str, query: &str) -> Vec<String> {
        let permits = s.permits(&principal(s, who)).clone();
        search(s, &permits, query, 10)
            .iter()
            .map(|h| s.tools[h.tool.at()].exposed.to_string())
            .collect()
    }

    #[test]
    fn the_fitting_tool_comes_first() {
        let s = fleet();
        for (query, first) in [
            ("creating issues", "github__create_issue"),
            ("pull request", "github__listPullRequests"),
            ("pulls", "github__listPullRequests"),
            ("labels", "github__create_issue"),
            ("read files", "fs__read_file"),
            ("repo delete", "github__delete_repository"),
            ("github__create_issue", "github__create_issue"),
            ("issue_report", "fs__issue_report"),
        ] {
            assert_eq!(
                found(&s, "all", query).first().map(String::as_str),
                Some(first),
                "{query}"
            );
        }
        assert!(found(&s, "all", "zebra").is_empty());
    }

    #[test]
    fn only_permitted_tools_are_found_and_scores_ignore_the_rest() {
        let s = fleet();
        assert_eq!(found(&s, "fs", "issue"), ["fs__issue_report"]);
        assert_eq!(found(&s, "read", "file repository issue"), ["fs__read_file"]);
        // The same caller, with and without tools that it cannot see.
        let mut alone = server("fs", &[], &[]);
        alone["catalogue"]["tools"] = json!([
            {"name": "read_file", "title": "Read a file", "description": "Reads the contents of a file", "inputSchema": {"type": "object"}},
            {"name": "issue_report", "description": "Prints a report about files", "inputSchema": {"type": "object"}},
        ]);
        let alone = snapshot(document(vec![alone]));
        let scores = |s: &Snapshot| {
            let permits = s.permits(&principal(s, "fs")).clone();
            search(s, &permits, "file report", 10)
                .iter()
                .map(|h| h.score)
                .collect::<Vec<_>>()
        };
        assert_eq!(scores(&s), scores(&alone));
    }

    #[test]
    fn no_words_give_the_list() {
        let s = fleet();
        assert_eq!(found(&s, "fs", " the * "), ["fs__read_file", "fs__issue_report"]);
        let permits = s.permits(&principal(&s, "all")).clone();
        assert_eq!(search(&s, &permits, "", 2).len(), 2);
    }

    #[test]
    fn equal_questions_get_equal_answers() {
        let (a, b) = (fleet(), fleet());
        let hits = |s: &Snapshot| {
            search(
                s,
                s.permits(&principal(s, "all")),
                "repository issue file report",
                10,
            )
        };
        assert_eq!(hits(&a), hits(&b));
    }
}
