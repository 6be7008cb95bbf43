//! The reader's questions about single values: text, numbers, choices, durations, and values with references.
//!
//! Two sorts. Harmless values are marked as shown when they are read; values that may hold a secret are not, and
//! whoever reads them gets a [`Secret`] or a [`Template`] rather than text.

use super::{
    finding::{Code, nearest, quote},
    names,
    node::{Kind, Scalar, Value},
    reader::{Cursor, Reader},
    secret::Secret,
    surroundings::reason,
    template::{Template, Unresolved},
    units,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

impl Reader<'_> {
    // ---- scalars that are harmless ----

    /// Text. References are refused: they are not read here.
    pub fn text<'c>(&self, at: &'c Cursor) -> Option<&'c str> {
        self.show(at);
        self.unshown_text(at)
    }

    /// The same, for values that are harmless only if they turn out to be what they should be.
    pub fn unshown_text<'c>(&self, at: &'c Cursor) -> Option<&'c str> {
        let Some(text) = at.node.text() else {
            let hint = match &at.node.value {
                Value::Scalar(scalar) if scalar.kind != Kind::Null => "put it in quotes",
                _ => "",
            };
            self.error(
                Code::WrongType,
                at,
                format!("expected text, found {}", at.node.kind_name()),
                hint,
            );
            return None;
        };
        if text.contains("${") {
            let hint = "references stand in args, env, headers, addresses of servers, and paths";
            self.error(Code::BadReference, at, "a `${…}` is not read here", hint);
            return None;
        }
        Some(text)
    }

    /// Text, or a number or truth value taken as it is written (`version: 1.10`).
    pub fn any_text<'c>(&self, at: &'c Cursor) -> Option<&'c str> {
        match &at.node.value {
            Value::Scalar(Scalar {
                text,
                kind: Kind::Number | Kind::Boolean(_),
            }) => {
                self.show(at);
                Some(text)
            }
            _ => self.text(at),
        }
    }

    pub fn boolean(&self, at: &Cursor) -> Option<bool> {
        self.show(at);
        match &at.node.value {
            Value::Scalar(Scalar {
                kind: Kind::Boolean(value),
                ..
            }) => Some(*value),
            _ => {
                let old_spelling = matches!(at.node.text(), Some("yes" | "no" | "on" | "off" | "Yes" | "No"));
                let hint = if old_spelling {
                    "YAML 1.2 knows `true` and `false` only"
                } else {
                    ""
                };
                let message = format!("expected true or false, found {}", at.node.kind_name());
                self.error(Code::WrongType, at, message, hint);
                None
            }
        }
    }

    pub fn integer(&self, at: &Cursor, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        self.show(at);
        let Value::Scalar(Scalar {
            text,
            kind: Kind::Number,
        }) = &at.node.value
        else {
            self.error(
                Code::WrongType,
                at,
                format!("expected a number, found {}", at.node.kind_name()),
                "",
            );
            return None;
        };
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let hint = format!("a whole number from {} to {}", range.start(), range.end());
                self.error(
                    Code::BadValue,
                    at,
                    format!("{} is out of range", quote(text)),
                    hint,
                );
                None
            }
        }
    }

    pub fn choice<T: Copy>(&self, at: &Cursor, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(at)?;
        let found = choices
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let names = choices.iter().map(|(name, _)| *name);
            let hint = match nearest(text, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of: {}", names.collect::<Vec<_>>().join(", ")),
            };
            self.error(
                Code::BadValue,
                at,
                format!("{} is not known here", quote(text)),
                hint,
            );
        }
        found
    }

    pub fn duration(&self, at: &Cursor, range: std::ops::RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.any_text(at)?;
        match units::duration(text) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(_) => {
                let (from, to) = (
                    units::duration_text(*range.start()),
                    units::duration_text(*range.end()),
                );
                let message = format!("{} is out of range", quote(text));
                self.error(Code::BadValue, at, message, format!("from {from} to {to}"));
                None
            }
            Err(usage) => {
                self.error(
                    Code::BadValue,
                    at,
                    format!("{} is not a duration", quote(text)),
                    usage,
                );
                None
            }
        }
    }

    pub fn size(&self, at: &Cursor, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let text = self.any_text(at)?;
        match units::size(text) {
            Ok(size) if range.contains(&size) => Some(size),
            Ok(_) => {
                let hint = format!("from {} to {} bytes", range.start(), range.end());
                self.error(
                    Code::BadValue,
                    at,
                    format!("{} is out of range", quote(text)),
                    hint,
                );
                None
            }
            Err(usage) => {
                self.error(
                    Code::BadValue,
                    at,
                    format!("{} is not a size", quote(text)),
                    usage,
                );
                None
            }
        }
    }

    // ---- values with references ----

    /// The text of a value that may hold references, hidden. Numbers and truth values are taken as written.
    pub fn hidden_text(&self, at: &Cursor) -> Option<String> {
        match &at.node.value {
            Value::Scalar(Scalar { text, kind }) if *kind != Kind::Null => Some(text.clone()),
            Value::Scalar(_) => {
                self.error(
                    Code::WrongType,
                    at,
                    "this value is empty",
                    "write `\"\"` for an empty text",
                );
                None
            }
            _ => {
                self.error(
                    Code::WrongType,
                    at,
                    format!("expected text, found {}", at.node.kind_name()),
                    "",
                );
                None
            }
        }
    }

    pub fn template(&self, at: &Cursor) -> Option<Template> {
        match Template::parse(&self.hidden_text(at)?) {
            Ok(template) => Some(template),
            Err((message, hint)) => {
                self.error(Code::BadReference, at, message, hint);
                None
            }
        }
    }

    /// Resolves; every reference without a value is a finding.
    pub fn resolve(&self, at: &Cursor, template: &Template) -> Option<Secret> {
        let mut files = Vec::new();
        let resolved = template.resolve(self.surroundings, &self.directory, &mut files);
        self.files.borrow_mut().extend(files);
        let missing = match resolved {
            Ok(value) => return Some(value),
            Err(missing) => missing,
        };
        for reference in missing {
            match reference {
                Unresolved::Unset(name) => {
                    let message = format!("the environment variable `{name}` is not set");
                    let hint = format!("set it before starting, or give a default: `${{{name}:-…}}`");
                    self.error(Code::UnsetVariable, at, message, hint);
                }
                Unresolved::Unreadable { path, reason } => self.unreadable(at, &path, &reason),
            }
        }
        None
    }

    /// An address of a server: checked as written as far as it goes, and again when resolved.
    pub fn address(&self, at: &Cursor, template: &Template, unix: bool) -> Option<Secret> {
        let url = self.resolve(at, template)?;
        if let Err((message, hint)) = names::check_url(url.expose(), unix) {
            self.error(Code::BadUrl, at, message, hint);
            return None;
        }
        let origin = names::origin(url.expose());
        if template.literal_prefix().starts_with(&origin) {
            self.show_prefix(at, origin.chars().count());
        }
        Some(url)
    }

    /// A path, relative ones from the file's directory. Shown: a path is no secret.
    pub fn path(&self, at: &Cursor) -> Option<PathBuf> {
        self.show(at);
        let template = self.template(at)?;
        let path = self.resolve(at, &template)?;
        if path.expose().is_empty() || path.expose().contains('\0') {
            self.error(Code::BadValue, at, "a path cannot be empty", "");
            return None;
        }
        let home = self
            .surroundings
            .variable("HOME")
            .filter(|_| path.expose().starts_with("~/"));
        Some(match home {
            Some(home) => Path::new(&home).join(&path.expose()[2..]),
            None => self.directory.join(path.expose()),
        })
    }

    /// A file that must be readable now, and is watched.
    pub fn readable_file(&self, at: &Cursor, bytes_max: usize) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.path(at)?;
        self.files.borrow_mut().push(path.clone());
        match self.surroundings.read(&path, bytes_max) {
            Ok(bytes) => Some((path, bytes)),
            Err(error) => {
                self.unreadable(at, &path, &reason(&error));
                None
            }
        }
    }

    fn unreadable(&self, at: &Cursor, path: &Path, reason: &str) {
        let message = format!("cannot read {}: {reason}", quote(&path.display().to_string()));
        self.error(Code::UnreadableFile, at, message, "");
    }
}
