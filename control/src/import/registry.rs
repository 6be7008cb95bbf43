//! `server.json` of the official registry (schema 2025-12-11) → one server.
//!
//! A document names packages and remotes that all offer the same server. Taken is the first package that can be
//! run here (npm by `npx`, PyPI by `uvx`, over stdio), else the first remote; the others are mentioned. Inputs
//! become environment references where a person has to supply them, and literals where the document does.

use super::{Body, Draft, Variable, placeholder::variable_name};
use crate::config::{
    Code, Cursor, Node, Package, Program, Reader, Value, normal_server_name, npx_package, quote, uvx_package,
};
use std::rc::Rc;

pub(crate) fn drafts(
    reader: &Reader<'_>,
    root: &Cursor,
    variables: &mut Vec<Variable>,
) -> Vec<(Draft, Cursor)> {
    // The registry's own answers wrap the document: {"server": {…}, "_meta": {…}}.
    let document = match root.node.peek("server") {
        Some(server) => root.child("server", server),
        None => root.clone(),
    };
    let Some(full) = document.node.peek("name").and_then(|name| name.text()) else {
        reader.error(
            Code::Missing,
            &document,
            "the document has no `name`",
            "it is `io.github.you/server`",
        );
        return Vec::new();
    };
    let name = normal_server_name(full.rsplit('/').next().unwrap_or(full));
    let mut inputs = Inputs {
        reader,
        server: &name,
        variables,
    };
    let packages = list(reader, &document, "packages");
    let remotes = list(reader, &document, "remotes");
    let total = packages.len() + remotes.len();
    let mut chosen = None;
    for package in packages {
        if let Some(body) = inputs.package(&package) {
            chosen = Some((body, package));
            break;
        }
    }
    if chosen.is_none() {
        chosen = remotes
            .iter()
            .find_map(|remote| Some((inputs.remote(remote)?, remote.clone())));
    }
    let Some((body, at)) = chosen else {
        if !reader.has_errors() {
            let hint = "npm and pypi packages over stdio can be run, and remotes can be reached";
            reader.error(
                Code::Unsupported,
                &document,
                "nothing in this document can be run or reached here",
                hint,
            );
        }
        return Vec::new();
    };
    if total > 1 {
        let message = format!("{} of {total} ways to get this server was taken", quote(&at.path));
        reader.warn(Code::Assumed, &at, message, "the others are left out");
    }
    let comment = document
        .node
        .peek("description")
        .and_then(|text| text.text())
        .map(str::to_owned);
    vec![(
        Draft {
            name,
            comment,
            enabled: true,
            body,
        },
        at,
    )]
}

fn list(reader: &Reader<'_>, at: &Cursor, name: &str) -> Vec<Cursor> {
    at.node
        .peek(name)
        .map(|node| reader.items(&at.child(name, node), name))
        .unwrap_or_default()
}

fn text<'n>(node: &'n Rc<Node>, name: &str) -> Option<&'n str> {
    node.peek(name).and_then(|value| match &value.value {
        Value::Scalar(scalar) => Some(scalar.text.as_str()).filter(|text| *text != "null"),
        _ => None,
    })
}

fn flag(node: &Rc<Node>, name: &str) -> bool {
    text(node, name) == Some("true")
}

struct Inputs<'i, 'w> {
    reader: &'i Reader<'w>,
    server: &'i str,
    variables: &'i mut Vec<Variable>,
}

impl Inputs<'_, '_> {
    fn package(&mut self, at: &Cursor) -> Option<Body> {
        let kind = text(&at.node, "registryType")
            .or_else(|| text(&at.node, "registry_type"))
            .unwrap_or_default();
        let transport = at
            .node
            .peek("transport")
            .and_then(|transport| text(transport, "type"));
        let stdio = transport.is_none_or(|transport| transport == "stdio");
        if !matches!(kind, "npm" | "pypi") || !stdio {
            let message = format!("a package of type {} cannot be run here: skipped", quote(kind));
            let over = format!(
                "a package that serves {} cannot be run here: skipped",
                quote(transport.unwrap_or_default())
            );
            self.reader
                .warn(Code::Unsupported, at, if stdio { message } else { over }, "");
            return None;
        }
        let identifier = text(&at.node, "identifier").unwrap_or_default();
        let split = if kind == "npm" {
            npx_package(identifier)
        } else {
            uvx_package(identifier)
        };
        let Ok((name, written)) = split else {
            self.reader
                .error(Code::BadName, at, "`identifier` is not the name of a package", "");
            return None;
        };
        let version = text(&at.node, "version")
            .filter(|version| *version != "latest")
            .map(str::to_owned);
        let version = written.or(version);
        let mut args: Vec<String> = Vec::new();
        // `npx -y` and `uvx` are how typed packages are run anyway; other flags for the runner need a command.
        let mut runtime: Vec<String> = list(self.reader, at, "runtimeArguments")
            .iter()
            .flat_map(|argument| self.argument(argument))
            .filter(|argument| argument != "-y" && argument != "--yes")
            .collect();
        for argument in list(self.reader, at, "packageArguments") {
            args.extend(self.argument(&argument));
        }
        let mut env = Vec::new();
        for variable in list(self.reader, at, "environmentVariables") {
            env.extend(self.environment(&variable));
        }
        let program = if runtime.is_empty() {
            let package = Package {
                name,
                version,
                run: None,
            };
            if kind == "npm" {
                Program::Npx(package)
            } else {
                Program::Uvx(package)
            }
        } else {
            let pinned = version.map_or(name.clone(), |version| format!("{name}@{version}"));
            let runner = if kind == "npm" { "npx" } else { "uvx" };
            if kind == "npm" {
                runtime.insert(0, "-y".to_owned());
            }
            runtime.push(pinned);
            args.splice(0..0, runtime);
            Program::Command(runner.to_owned())
        };
        Some(Body::Local {
            program,
            args,
            env,
            cwd: None,
        })
    }

    fn remote(&mut self, at: &Cursor) -> Option<Body> {
        let legacy = match text(&at.node, "type").unwrap_or_default() {
            "streamable-http" | "http" => false,
            "sse" => true,
            other => {
                let message = format!("a remote of type {} cannot be reached: skipped", quote(other));
                self.reader.warn(Code::Unsupported, at, message, "");
                return None;
            }
        };
        let Some(url) = text(&at.node, "url") else {
            self.reader
                .error(Code::Missing, at, "the remote has no `url`", "");
            return None;
        };
        let url = self.fill(url, at, "url");
        let mut headers = Vec::new();
        for header in list(self.reader, at, "headers") {
            headers.extend(self.header(&header));
        }
        Some(Body::Remote { legacy, url, headers })
    }

    fn argument(&mut self, at: &Cursor) -> Vec<String> {
        let flag_name = text(&at.node, "name").filter(|_| text(&at.node, "type") == Some("named"));
        let hint = flag_name
            .or_else(|| text(&at.node, "valueHint"))
            .unwrap_or("argument");
        let value = self.value(at, hint, "args");
        match (flag_name, value) {
            (Some(name), Some(value)) => vec![name.to_owned(), value],
            // A named argument without a value is a switch.
            (Some(name), None) if flag(&at.node, "isRequired") || at.node.peek("format").is_none() => {
                vec![name.to_owned()]
            }
            (None, Some(value)) => vec![value],
            _ => Vec::new(),
        }
    }

    fn environment(&mut self, at: &Cursor) -> Option<(String, String)> {
        let name = text(&at.node, "name")?;
        if let Some(value) = text(&at.node, "value") {
            return Some((name.to_owned(), self.fill(value, at, &format!("env.{name}"))));
        }
        let supplied = flag(&at.node, "isRequired") || flag(&at.node, "isSecret");
        match text(&at.node, "default") {
            Some(default) if !flag(&at.node, "isSecret") => Some((name.to_owned(), literal(default))),
            // Optional and without a default: the server does without.
            _ if !supplied => None,
            _ => {
                let reference = self.ask(name.to_owned(), &at.node, &format!("env.{name}"));
                Some((name.to_owned(), reference))
            }
        }
    }

    fn header(&mut self, at: &Cursor) -> Option<(String, String)> {
        let name = text(&at.node, "name")?;
        let hint = if name.eq_ignore_ascii_case("authorization") {
            "token"
        } else {
            name
        };
        let value = self.value(at, hint, &format!("headers.{name}"))?;
        Some((name.to_owned(), value))
    }

    /// The value the document gives, or a reference when a person has to supply it.
    fn value(&mut self, at: &Cursor, hint: &str, key: &str) -> Option<String> {
        if let Some(value) = text(&at.node, "value") {
            return Some(self.fill(value, at, key));
        }
        if let Some(default) = text(&at.node, "default").filter(|_| !flag(&at.node, "isSecret")) {
            return Some(literal(default));
        }
        if !flag(&at.node, "isRequired") && !flag(&at.node, "isSecret") {
            return None;
        }
        let name = format!("{}_{}", variable_name(self.server), variable_name(hint));
        Some(self.ask(name, &at.node, key))
    }

    /// Replaces `{name}` by the variable's value, default, or a reference.
    fn fill(&mut self, value: &str, at: &Cursor, key: &str) -> String {
        let mut out = String::new();
        let mut rest = value;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else {
                break;
            };
            out.push_str(&literal(before));
            let described = at
                .node
                .peek("variables")
                .and_then(|variables| variables.peek(name))
                .cloned();
            let given = described.as_ref().and_then(|variable| {
                let open = (!flag(variable, "isSecret"))
                    .then(|| text(variable, "default"))
                    .flatten();
                text(variable, "value").or(open).map(literal)
            });
            match given {
                Some(given) => out.push_str(&given),
                None => {
                    let node = described.unwrap_or_else(|| Rc::clone(&at.node));
                    out.push_str(&self.ask(variable_name(name), &node, key));
                }
            }
            rest = tail;
        }
        out.push_str(&literal(rest));
        out
    }

    fn ask(&mut self, name: String, node: &Rc<Node>, key: &str) -> String {
        let meaning = text(node, "description")
            .unwrap_or("asked for by the server's document")
            .to_owned();
        if !self.variables.iter().any(|variable| variable.name == name) {
            let path = format!("servers.{}.{key}", self.server);
            self.variables.push(Variable {
                name: name.clone(),
                path,
                meaning,
            });
        }
        format!("${{{name}}}")
    }
}

/// Text of the document that must not be taken for a reference.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}
