//! Walking the tree: every question a section asks of a value, answered with the value or a finding.
//!
//! No answer ends the walk: a section asks all its questions, keeps what it got, and whether the whole is usable
//! is decided once, by whether an error was found. The reader also remembers which values were understood as
//! harmless, so that the excerpts can show those and nothing else (`excerpt.rs`).

use super::{
    bounds::FINDINGS_MAX,
    excerpt::Mask,
    finding::{Code, Finding, Findings, Severity, nearest, quote},
    node::{Entry, Kind, Malformed, Node, Position, Scalar, Value},
    surroundings::Surroundings,
};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    rc::Rc,
};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub node: Rc<Node>,
    pub path: String,
}

impl Cursor {
    pub fn root(node: Rc<Node>) -> Self {
        Self {
            node,
            path: String::new(),
        }
    }

    pub fn child(&self, key: &str, node: &Rc<Node>) -> Self {
        let plain = !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-$@/".contains(c));
        let step = if plain {
            key.to_owned()
        } else {
            quote(key).replace('`', "\"")
        };
        let path = if self.path.is_empty() {
            step
        } else {
            format!("{}.{step}", self.path)
        };
        Self {
            node: Rc::clone(node),
            path,
        }
    }

    pub fn item(&self, index: usize, node: &Rc<Node>) -> Self {
        Self {
            node: Rc::clone(node),
            path: format!("{}[{index}]", self.path),
        }
    }
}

/// One key of a map.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub name: String,
    /// The key itself, for findings about the key.
    pub key: Cursor,
    pub value: Cursor,
}

/// The keys of a map, each name once.
#[derive(Debug)]
pub(crate) struct Fields {
    pub at: Cursor,
    pub list: Vec<Field>,
}

impl Fields {
    pub fn get(&self, name: &str) -> Option<&Cursor> {
        self.field(name).map(|field| &field.value)
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.list.iter().find(|field| field.name == name)
    }
}

pub(crate) struct Reader<'w> {
    pub file: String,
    pub text: String,
    pub surroundings: &'w dyn Surroundings,
    /// What relative paths in the file are relative to.
    pub directory: PathBuf,
    findings: RefCell<Vec<(Position, Position, Finding)>>,
    mask: RefCell<Mask>,
    pub files: RefCell<Vec<PathBuf>>,
}

impl<'w> Reader<'w> {
    pub fn new(file: &str, text: &str, directory: &Path, surroundings: &'w dyn Surroundings) -> Self {
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            surroundings,
            directory: directory.to_owned(),
            findings: RefCell::default(),
            mask: RefCell::default(),
            files: RefCell::default(),
        }
    }

    // ---- findings ----

    pub fn report(&self, severity: Severity, code: Code, at: &Cursor, message: String, hint: Option<String>) {
        let single = matches!(at.node.value, Value::Scalar(_));
        let end = if single { at.node.end } else { at.node.start };
        self.report_span(severity, code, (at.node.start, end), &at.path, message, hint);
    }

    pub fn error(&self, code: Code, at: &Cursor, message: impl Into<String>, hint: impl Into<String>) {
        self.report(
            Severity::Error,
            code,
            at,
            message.into(),
            Some(hint.into()).filter(|hint| !hint.is_empty()),
        );
    }

    pub fn warn(&self, code: Code, at: &Cursor, message: impl Into<String>, hint: impl Into<String>) {
        self.report(
            Severity::Warning,
            code,
            at,
            message.into(),
            Some(hint.into()).filter(|hint| !hint.is_empty()),
        );
    }

    pub fn malformed(&self, malformed: Malformed) {
        let code = if malformed.too_large {
            Code::TooLarge
        } else {
            Code::Syntax
        };
        let span = (malformed.at, malformed.at);
        self.report_span(Severity::Error, code, span, "", malformed.message, malformed.hint);
    }

    fn report_span(
        &self,
        severity: Severity,
        code: Code,
        (start, end): (Position, Position),
        path: &str,
        message: String,
        hint: Option<String>,
    ) {
        let mut finding = Finding::about_file(severity, code, &*self.file, message);
        finding.line = start.line;
        finding.column = start.column;
        finding.path = path.to_owned();
        finding.hint = hint;
        self.findings.borrow_mut().push((start, end, finding));
    }

    pub fn has_errors(&self) -> bool {
        self.findings
            .borrow()
            .iter()
            .any(|(_, _, finding)| finding.severity == Severity::Error)
    }

    /// Ends the walk: findings in the order of the file with their excerpts, and the files that were read.
    pub fn finish(self, root: Option<&Rc<Node>>) -> (Findings, Vec<PathBuf>) {
        let mut mask = self.mask.into_inner();
        if let Some(root) = root {
            mask.parsed = true;
            outline(root, &mut mask);
        }
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|(start, _, _)| *start);
        let dropped = findings.len().saturating_sub(FINDINGS_MAX);
        if dropped > 0 {
            // Errors are what refuses the file, so they are the last to be dropped.
            findings.sort_by_key(|(start, _, finding)| (finding.severity, *start));
            findings.truncate(FINDINGS_MAX);
            findings.sort_by_key(|(start, _, _)| *start);
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let list = findings.into_iter().map(|(start, end, mut finding)| {
            let line = lines.get((start.line as usize).wrapping_sub(1));
            finding.excerpt = line.map(|line| mask.excerpt(line, start, end));
            finding
        });
        let mut findings = Findings { list: list.collect() };
        if dropped > 0 {
            let message = format!("{dropped} more findings are not shown");
            findings.push(Finding::about_file(
                Severity::Warning,
                Code::TooLarge,
                self.file,
                message,
            ));
        }
        let mut files = self.files.into_inner();
        files.sort();
        files.dedup();
        (findings, files)
    }

    // ---- what may be shown ----

    /// The value is harmless.
    pub fn show(&self, at: &Cursor) {
        if let Value::Scalar(_) = at.node.value {
            self.mask.borrow_mut().show(at.node.start, at.node.end);
        }
    }

    /// The first `characters` of the value are harmless (the origin of an address).
    pub fn show_prefix(&self, at: &Cursor, characters: usize) {
        let (start, end) = (at.node.start, at.node.end);
        let line = self
            .text
            .lines()
            .nth((start.line as usize).wrapping_sub(1))
            .unwrap_or("");
        let quoted = line
            .chars()
            .nth((start.column as usize).wrapping_sub(1))
            .is_some_and(|c| c == '"' || c == '\'');
        let width = u32::try_from(characters + usize::from(quoted)).unwrap_or(0);
        let until = Position {
            line: start.line,
            column: start.column.saturating_add(width),
        };
        self.mask.borrow_mut().show(start, until.min(end));
    }

    // ---- maps and lists ----

    /// The keys of a map. Keys outside `known` are findings; an empty `known` allows any.
    pub fn fields(&self, at: &Cursor, what: &str, known: &[&str]) -> Option<Fields> {
        let Value::Map(entries) = &at.node.value else {
            let hint = format!("{what} is written as a map: `key: value`");
            self.error(
                Code::WrongType,
                at,
                format!("expected a map, found {}", at.node.kind_name()),
                hint,
            );
            return None;
        };
        let mut list: Vec<Field> = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(begin) = begin_of_broken_key(entry) {
                let key = at.child(&begin, &entry.key);
                let hint = format!("write `{begin}: value`, with a colon and a blank");
                self.error(
                    Code::Syntax,
                    &key,
                    format!("the key {} and its value run together", quote(&begin)),
                    hint,
                );
                continue;
            }
            let Some(name) = self.key_name(at, &entry.key) else {
                continue;
            };
            let key = at.child(&name, &entry.key);
            if let Some(first) = list.iter().find(|field| field.name == name) {
                let line = first.key.node.start.line;
                let hint = format!("it stands in line {line} already; keep one");
                self.error(
                    Code::DuplicateKey,
                    &key,
                    format!("the key {} stands twice", quote(&name)),
                    hint,
                );
                continue;
            }
            if !known.is_empty() && !known.contains(&name.as_str()) {
                self.unknown_key(&key, &name, what, known);
                continue;
            }
            let value = at.child(&name, &entry.value);
            list.push(Field { name, key, value });
        }
        Some(Fields { at: at.clone(), list })
    }

    fn key_name(&self, at: &Cursor, key: &Rc<Node>) -> Option<String> {
        match &key.value {
            Value::Scalar(Scalar {
                text,
                kind: Kind::Text,
            }) => Some(text.clone()),
            Value::Scalar(Scalar { text, kind }) if *kind != Kind::Null => {
                let key = Cursor {
                    node: Rc::clone(key),
                    path: at.path.clone(),
                };
                let message = format!("this key is {}, not text", key.node.kind_name());
                self.error(
                    Code::NonStringKey,
                    &key,
                    message,
                    format!("put it in quotes: `\"{text}\"`"),
                );
                None
            }
            _ => {
                let key = Cursor {
                    node: Rc::clone(key),
                    path: at.path.clone(),
                };
                let message = format!("a key cannot be {}", key.node.kind_name());
                self.error(Code::NonStringKey, &key, message, "keys are plain text");
                None
            }
        }
    }

    fn unknown_key(&self, key: &Cursor, name: &str, what: &str, known: &[&str]) {
        let message = format!("{} is not a key of {what}", quote(name));
        let meant = misnomer(name).filter(|meant| known.contains(meant));
        let hint = match meant.or_else(|| nearest(name, known.iter().copied())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys: {}", known.join(", ")),
        };
        self.error(Code::UnknownKey, key, message, hint);
    }

    pub fn required<'f>(&self, fields: &'f Fields, name: &str, what: &str) -> Option<&'f Cursor> {
        let found = fields.get(name);
        if found.is_none() {
            self.error(
                Code::Missing,
                &fields.at,
                format!("{what} needs the key `{name}`"),
                "",
            );
        }
        found
    }

    pub fn items(&self, at: &Cursor, what: &str) -> Vec<Cursor> {
        match &at.node.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(i, item)| at.item(i, item))
                .collect(),
            _ => {
                let message = format!("expected a list, found {}", at.node.kind_name());
                self.error(
                    Code::WrongType,
                    at,
                    message,
                    format!("{what} is written as a list: `[a, b]`"),
                );
                Vec::new()
            }
        }
    }
}

/// `{NAME=value}`, `{NAME value}` and `{NAME:value}` are keys without a value to YAML, with a secret in them as
/// likely as not. The word they begin with, for those; `None` for a key that is one.
fn begin_of_broken_key(entry: &Entry) -> Option<String> {
    let name = entry.key.text()?;
    let has_value = !matches!(entry.value.value, Value::Scalar(Scalar { kind: Kind::Null, .. }));
    let end = name.find(|c: char| !(c.is_alphanumeric() || "_-.@/$".contains(c)))?;
    (!has_value || name.contains('=')).then(|| name[..end].to_owned())
}

/// What the keys of other tools are called here.
fn misnomer(name: &str) -> Option<&'static str> {
    Some(match name {
        "environment" | "envs" => "env",
        "cmd" | "exec" | "run" => "command",
        "arguments" | "argv" => "args",
        "endpoint" | "uri" | "address" | "httpUrl" | "serverUrl" => "url",
        "timeout" => "timeouts",
        "header" => "headers",
        "dir" | "directory" | "workdir" | "working_dir" => "cwd",
        "mcpServers" | "mcp_servers" | "targets" | "backends" => "servers",
        "api_keys" | "apiKeys" => "keys",
        "port" | "bind" | "binds" | "listeners" => "listen",
        "logging" => "log",
        "threads" => "workers",
        "package_version" | "tag" => "version",
        "cert" | "certificate_file" | "cert_file" | "crt" => "certificate",
        "key_file" | "private_key" => "key",
        "rules" | "permissions" | "tools" => "allow",
        "expiry" | "expires_at" | "expiration" => "expires",
        _ => return None,
    })
}

/// Keys are shown, scalar values are hidden (unless shown otherwise). Aliased parts are visited once.
fn outline(root: &Rc<Node>, mask: &mut Mask) {
    let mut seen = std::collections::HashSet::new();
    let mut open = vec![Rc::clone(root)];
    while let Some(node) = open.pop() {
        if !seen.insert(Rc::as_ptr(&node)) {
            continue;
        }
        match &node.value {
            Value::Scalar(_) => mask.hide(node.start, node.end),
            Value::List(items) => open.extend(items.iter().cloned()),
            Value::Map(entries) => {
                for entry in entries {
                    match &entry.key.value {
                        Value::Scalar(_) if begin_of_broken_key(entry).is_none() => {
                            mask.show(entry.key.start, entry.key.end);
                        }
                        _ => open.push(Rc::clone(&entry.key)),
                    }
                    open.push(Rc::clone(&entry.value));
                }
            }
        }
    }
}
