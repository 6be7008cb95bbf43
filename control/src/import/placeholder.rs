//! Placeholders of desktop clients → references of ours.
//!
//! | theirs | ours |
//! |---|---|
//! | `${env:NAME}`, `${NAME}`, `${NAME:-default}` | `${NAME}`, `${NAME:-default}` |
//! | `${input:some-id}` (VS Code asks a person) | `${SOME_ID}` |
//! | `${workspaceFolder}`, `${workspaceFolderBasename}` | the directory of the file, its name |
//! | `${userHome}` | `${HOME}` |
//! | `${pathSeparator}`, `${/}` | `/` |
//!
//! Anything else has no meaning outside the editor and is refused.

use crate::config::is_variable_name;
use std::path::Path;

/// A value in our own spelling.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    pub text: String,
    /// Ids of `${input:…}` with the variable that takes their place.
    pub inputs: Vec<(String, String)>,
    /// All variables it refers to.
    pub variables: Vec<String>,
}

/// Translates, or says which placeholder has no meaning here.
pub(crate) fn translate(text: &str, directory: &Path) -> Result<Translated, String> {
    let mut out = Translated {
        text: String::new(),
        inputs: Vec::new(),
        variables: Vec::new(),
    };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.text.push_str(&rest[..at]);
        let Some(close) = rest[at..].find('}') else {
            // Not a placeholder to any client.
            out.text.push_str("$${");
            rest = &rest[at + 2..];
            continue;
        };
        let inside = &rest[at + 2..at + close];
        out.one(inside, directory)?;
        rest = &rest[at + close + 1..];
    }
    out.text.push_str(rest);
    Ok(out)
}

impl Translated {
    fn one(&mut self, inside: &str, directory: &Path) -> Result<(), String> {
        let workspace = workspace(directory);
        match inside {
            "workspaceFolder" | "workspaceRoot" => self.text.push_str(&workspace.display().to_string()),
            "workspaceFolderBasename" => {
                let name = workspace
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned());
                self.text.push_str(&name.unwrap_or_default());
            }
            "userHome" => self.variable("HOME", ""),
            "pathSeparator" | "/" => self.text.push('/'),
            _ => {
                if let Some(id) = inside.strip_prefix("input:") {
                    let name = variable_name(id);
                    self.inputs.push((id.to_owned(), name.clone()));
                    self.variable(&name, "");
                    return Ok(());
                }
                let plain = inside.strip_prefix("env:").unwrap_or(inside);
                let (name, default) = match plain.find(":-") {
                    Some(at) => plain.split_at(at),
                    None => (plain, ""),
                };
                if !is_variable_name(name) {
                    // A word of the editor; what follows it could be anything.
                    let end = inside
                        .find(|c: char| !c.is_ascii_alphanumeric())
                        .unwrap_or(inside.len());
                    return Err(format!(
                        "`${{{}…}}` has a meaning inside an editor only",
                        &inside[..end]
                    ));
                }
                self.variable(name, default);
            }
        }
        Ok(())
    }

    fn variable(&mut self, name: &str, default: &str) {
        self.text.push_str(&format!("${{{name}{default}}}"));
        if default.is_empty() {
            self.variables.push(name.to_owned());
        }
    }
}

/// Editors keep their file in a directory of their own inside the workspace.
fn workspace(directory: &Path) -> &Path {
    match directory.file_name().and_then(|name| name.to_str()) {
        Some(".vscode" | ".cursor" | ".gemini" | ".kiro") => directory.parent().unwrap_or(directory),
        _ => directory,
    }
}

/// `github-token` → `GITHUB_TOKEN`.
pub(crate) fn variable_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_uppercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    match name.chars().next() {
        None => "INPUT".to_owned(),
        Some(c) if c.is_ascii_digit() => format!("INPUT_{name}"),
        Some(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(theirs: &str) -> String {
        translate(theirs, Path::new("/home/me/project/.vscode"))
            .unwrap()
            .text
    }

    #[test]
    fn placeholders_become_references() {
        assert_eq!(text("Bearer ${env:TOKEN}"), "Bearer ${TOKEN}");
        assert_eq!(text("${TOKEN:-none}"), "${TOKEN:-none}");
        assert_eq!(text("${workspaceFolder}/a"), "/home/me/project/a");
        assert_eq!(text("${workspaceFolderBasename}"), "project");
        assert_eq!(text("${userHome}${/}x"), "${HOME}/x");
        assert_eq!(text("costs ${"), "costs $${");
        let input = translate("${input:github-token}", Path::new("/")).unwrap();
        assert_eq!(input.text, "${GITHUB_TOKEN}");
        assert_eq!(
            input.inputs,
            [("github-token".to_owned(), "GITHUB_TOKEN".to_owned())]
        );
    }

    #[test]
    fn what_only_an_editor_knows_is_refused() {
        for theirs in [
            "${command:pick.secret}",
            "${config:a.b}",
            "x${1}",
            "${selected text}",
            "${}",
        ] {
            assert!(translate(theirs, Path::new("/")).is_err(), "{theirs}");
        }
        let message = translate("${command:sk-123}", Path::new("/")).unwrap_err();
        assert!(!message.contains("sk-123"), "{message}");
    }

    #[test]
    fn variable_names_are_made_of_anything() {
        assert_eq!(variable_name("github-token"), "GITHUB_TOKEN");
        assert_eq!(variable_name("3d api"), "INPUT_3D_API");
        assert_eq!(variable_name("日本"), "INPUT");
    }
}
