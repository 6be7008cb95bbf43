//! Other people's files → `ringway.yaml`.
//!
//! | file | read by |
//! |---|---|
//! | `mcpServers` JSON of desktop clients, VS Code's `servers` and `inputs` | `desktop.rs` |
//! | `server.json` of the official registry | `registry.rs` |
//!
//! Both become [`Draft`]s; `secrets.rs` takes what looks like a secret out of them and puts references in its
//! place; `emit.rs` writes them down. Nothing is run, fetched or resolved: the text that comes out means the same
//! on any machine, once the variables in the list are set there.
//!
//! A desktop file can also be served from as it is; that way is `serve.rs`.

pub(crate) mod desktop;
mod emit;
mod package;
mod placeholder;
mod registry;
mod secrets;
pub(crate) mod serve;

use crate::config::{
    Code, Cursor, Finding, Findings, Node, Program, Reader, Severity, Surroundings, Value, Written,
    is_ringway, parse, text,
};
use std::{path::Path, rc::Rc};

/// What came of an import.
#[derive(Debug)]
pub struct Import {
    /// The text of a `ringway.yaml`; absent when there was an error.
    pub yaml: Option<String>,
    /// Renamed servers, moved secrets, ignored keys, and errors.
    pub findings: Findings,
    /// What must be set before the file can be used, in the order of the file.
    pub variables: Vec<Variable>,
}

/// An environment variable that the imported file refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where it is used: `servers.github.headers.authorization`.
    pub path: String,
    /// What belongs into it, in words; never its value.
    pub meaning: String,
}

/// One server on its way into the file. Texts are templates (`${NAME}`).
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub name: String,
    pub comment: Option<String>,
    pub enabled: bool,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Local {
        program: Program,
        args: Vec<String>,
        env: Vec<(String, String)>,
        cwd: Option<String>,
    },
    Remote {
        legacy: bool,
        url: String,
        headers: Vec<(String, String)>,
    },
}

/// Imports a file. `source` is how findings call it; `directory` is where it lies, for `${workspaceFolder}`.
pub fn import(bytes: &[u8], source: &str, directory: &Path) -> Import {
    let refused = |findings| Import {
        yaml: None,
        findings,
        variables: Vec::new(),
    };
    let text = match text(bytes) {
        Ok(text) => text,
        Err((code, message)) => {
            let finding = Finding::about_file(Severity::Error, code, source, message);
            return refused(Findings { list: vec![finding] });
        }
    };
    // An import reads nothing but the file itself.
    let world = Written::default();
    let reader = Reader::new(source, text, directory, &world as &dyn Surroundings);
    let root = match parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => {
            let finding = Finding::about_file(Severity::Error, Code::Missing, source, "the file is empty");
            return refused(Findings { list: vec![finding] });
        }
        Err(malformed) => {
            reader.malformed(malformed);
            return refused(reader.finish(None).0);
        }
    };
    let cursor = Cursor::root(Rc::clone(&root));
    let mut variables = Vec::new();
    let drafts = match form(text, &root) {
        Form::Desktop => desktop::drafts(&reader, &cursor, &mut variables),
        Form::Registry => registry::drafts(&reader, &cursor, &mut variables),
        Form::Ringway => {
            let hint = "`ringway check` reads it as it is";
            reader.error(Code::Unsupported, &cursor, "this is a ringway.yaml already", hint);
            Vec::new()
        }
        Form::Other => {
            let hint = "known are `mcpServers`, VS Code's `servers`, and the registry's `server.json`";
            reader.error(
                Code::Unsupported,
                &cursor,
                "this is no file that can be imported",
                hint,
            );
            Vec::new()
        }
    };
    let drafts: Vec<(Draft, Cursor)> = drafts
        .into_iter()
        .map(|(draft, at)| (secrets::take_out(draft, &at, &reader, &mut variables), at))
        .collect();
    let yaml =
        (!reader.has_errors()).then(|| emit::yaml(drafts.iter().map(|(draft, _)| draft), &variables, source));
    let (findings, _) = reader.finish(Some(&root));
    Import {
        yaml,
        findings,
        variables,
    }
}

enum Form {
    Desktop,
    Registry,
    Ringway,
    Other,
}

fn form(text: &str, root: &Node) -> Form {
    let server = root
        .peek("server")
        .filter(|server| matches!(server.value, Value::Map(_)));
    let registry = |node: &Node| node.peek("packages").is_some() || node.peek("remotes").is_some();
    if desktop::servers_of(root).is_some() {
        if is_ringway(text, root) {
            Form::Ringway
        } else {
            Form::Desktop
        }
    } else if registry(root) || server.is_some_and(|server| registry(server)) {
        Form::Registry
    } else {
        Form::Other
    }
}

#[cfg(test)]
mod tests;
