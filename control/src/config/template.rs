//! References inside values: `${NAME}`, `${NAME:-default}`, `${file:/path}`.
//!
//! Read in arguments, environment values, header values, addresses of servers, and paths; everywhere else a
//! `${` is a finding. `$${` stands for a literal `${`. A file's content loses one final line end.
//!
//! A template has two outcomes. [`Template::resolve`] gives the value, for what this process hands on itself.
//! [`Template::document`] gives the text for the snapshot document, in which references stay references (the
//! data plane resolves them when it compiles), so that no secret is written to disk; only defaults are decided.

use super::{
    bounds::REFERENCE_BYTES_MAX,
    secret::Secret,
    surroundings::{Surroundings, reason},
};
use std::path::{Path, PathBuf};

/// A value with references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Variable { name: String, default: Option<String> },
    File(String),
}

impl std::fmt::Debug for Part {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(_) => out.write_str("Literal(…)"),
            Self::Variable { name, .. } => write!(out, "Variable({name})"),
            Self::File(path) => write!(out, "File({path})"),
        }
    }
}

/// Why a reference has no value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    Unset(String),
    Unreadable { path: PathBuf, reason: String },
}

impl Template {
    /// Splits a value. The error is what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let Some(close) = rest[at..].find('}') else {
                return Err((
                    "`${` is not closed by `}`".to_owned(),
                    "write `${NAME}`, or `$${` for a literal `${`".to_owned(),
                ));
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(reference(&rest[at + 2..at + close])?);
            rest = &rest[at + close + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The literal text before the first reference.
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// The value, or every reference that has none.
    pub fn resolve(
        &self,
        surroundings: &dyn Surroundings,
        directory: &Path,
        files: &mut Vec<PathBuf>,
    ) -> Result<Secret, Vec<Unresolved>> {
        let mut value = String::new();
        let mut missing = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => value.push_str(text),
                Part::Variable { name, default } => match (surroundings.variable(name), default) {
                    (Some(set), None) => value.push_str(&set),
                    (Some(set), Some(_)) if !set.is_empty() => value.push_str(&set),
                    (_, Some(default)) => value.push_str(default),
                    (None, None) => missing.push(Unresolved::Unset(name.clone())),
                },
                Part::File(path) => {
                    let path = directory.join(path);
                    files.push(path.clone());
                    match read_reference(surroundings, &path) {
                        Ok(content) => value.push_str(&content),
                        Err(reason) => missing.push(Unresolved::Unreadable { path, reason }),
                    }
                }
            }
        }
        if missing.is_empty() {
            Ok(Secret::new(value))
        } else {
            Err(missing)
        }
    }

    /// The text for the snapshot document; `None` when it holds a literal `${`, which the document cannot say.
    pub fn document(&self, surroundings: &dyn Surroundings, directory: &Path) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) if literal.contains("${") => return None,
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable { name, default: None } => text.push_str(&format!("${{{name}}}")),
                Part::Variable {
                    name,
                    default: Some(default),
                } => match surroundings.variable(name) {
                    Some(set) if !set.is_empty() => text.push_str(&format!("${{{name}}}")),
                    _ if default.contains("${") => return None,
                    _ => text.push_str(default),
                },
                Part::File(path) => text.push_str(&format!("${{file:{}}}", directory.join(path).display())),
            }
        }
        Some(text)
    }
}

fn reference(inside: &str) -> Result<Part, (String, String)> {
    let usage = || "write `${NAME}`, `${NAME:-default}` or `${file:/path}`".to_owned();
    if let Some(path) = inside.strip_prefix("file:") {
        if path.is_empty() {
            return Err(("`${file:}` names no file".to_owned(), usage()));
        }
        return Ok(Part::File(path.to_owned()));
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (inside, None),
    };
    if !is_variable_name(name) {
        return Err((
            "what stands in `${…}` is not the name of an environment variable".to_owned(),
            usage(),
        ));
    }
    Ok(Part::Variable {
        name: name.to_owned(),
        default,
    })
}

/// POSIX: letters, digits and `_`, not beginning with a digit.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn read_reference(surroundings: &dyn Surroundings, path: &Path) -> Result<String, String> {
    let bytes = surroundings
        .read(path, REFERENCE_BYTES_MAX)
        .map_err(|error| reason(&error))?;
    let mut text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::surroundings::Written;
    use super::*;

    fn world() -> Written {
        Written {
            variables: [("TOKEN", "t0"), ("EMPTY", "")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            files: [(PathBuf::from("/etc/ringway/pass"), b"hunter2\r\n".to_vec())].into(),
            now: 0,
        }
    }

    fn resolve(text: &str) -> Result<String, Vec<Unresolved>> {
        let template = Template::parse(text).unwrap();
        let value = template.resolve(&world(), Path::new("/etc/ringway"), &mut Vec::new());
        value.map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn references_resolve() {
        assert_eq!(resolve("Bearer ${TOKEN}").unwrap(), "Bearer t0");
        assert_eq!(resolve("${file:/etc/ringway/pass}!").unwrap(), "hunter2!");
        assert_eq!(resolve("${file:pass}").unwrap(), "hunter2");
        assert_eq!(resolve("${EMPTY:-x}${EMPTY}${NONE:-}${TOKEN:-y}").unwrap(), "xt0");
        assert_eq!(resolve("cost $5 $${TOKEN} $").unwrap(), "cost $5 ${TOKEN} $");
        assert_eq!(resolve("").unwrap(), "");
    }

    #[test]
    fn every_missing_reference_is_named() {
        let missing = resolve("${A}${TOKEN}${B}${file:/nope}").unwrap_err();
        assert_eq!(missing.len(), 3);
        assert_eq!(missing[0], Unresolved::Unset("A".to_owned()));
        assert!(
            matches!(&missing[2], Unresolved::Unreadable { reason, .. } if reason == "it does not exist")
        );
    }

    #[test]
    fn malformed_references_say_what_to_write() {
        for text in ["${", "${}", "${1A}", "${file:}", "${a b}", "${env:X}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_document_keeps_references_and_decides_defaults() {
        let document = |text: &str| {
            Template::parse(text)
                .unwrap()
                .document(&world(), Path::new("/etc/ringway"))
        };
        assert_eq!(document("Bearer ${TOKEN}").as_deref(), Some("Bearer ${TOKEN}"));
        assert_eq!(document("${TOKEN:-x}").as_deref(), Some("${TOKEN}"));
        assert_eq!(document("${NONE:-x}").as_deref(), Some("x"));
        assert_eq!(
            document("${file:pass}").as_deref(),
            Some("${file:/etc/ringway/pass}")
        );
        assert_eq!(document("$${x}"), None);
    }

    #[test]
    fn debug_of_a_template_shows_no_literal() {
        let shown = format!("{:?}", Template::parse("sk-123 ${A:-sk-456}").unwrap());
        assert!(!shown.contains("sk-"), "{shown}");
    }
}
