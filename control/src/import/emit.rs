//! Drafts → the text of a `ringway.yaml`, as a person would have written it.
//!
//! Scalars stand without quotes where that cannot be misread, and in JSON's quotes otherwise, which are YAML's
//! double quotes as well. A test reads every text back.

use super::{Body, Draft, Variable};
use crate::config::{Package, Program, plain_is_text};
use std::fmt::Write as _;

pub(crate) fn yaml<'d>(
    drafts: impl IntoIterator<Item = &'d Draft>,
    variables: &[Variable],
    source: &str,
) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# Imported from {}.", one_line(source));
    if !variables.is_empty() {
        let _ = writeln!(out, "# Set these before starting:");
        let width = variables
            .iter()
            .map(|variable| variable.name.len())
            .max()
            .unwrap_or(0);
        for variable in variables {
            let _ = writeln!(
                out,
                "#   {:<width$}  {}",
                variable.name,
                one_line(&variable.meaning)
            );
        }
    }
    let _ = writeln!(out, "\nservers:");
    let mut any = false;
    for draft in drafts {
        any = true;
        server(&mut out, draft);
    }
    if !any {
        // A key without a value would be an error.
        out.truncate(out.len() - 1);
        out.push_str(" {}\n");
    }
    out.push_str(
        "\n# Until there are keys, `ringway up` makes one for this machine. Others: narrow the role and give out keys\n\
         # with `ringway keys create NAME --role everyone`.\n\
         roles:\n  everyone: { allow: [\"*\"] }\n",
    );
    out
}

fn server(out: &mut String, draft: &Draft) {
    if let Some(comment) = &draft.comment {
        let _ = writeln!(out, "  # {}", one_line(comment));
    }
    let _ = writeln!(out, "  {}:", scalar(&draft.name));
    match &draft.body {
        Body::Local {
            program,
            args,
            env,
            cwd,
        } => {
            match program {
                Program::Command(command) => line(out, "command", &scalar(command)),
                Program::Npx(found) => package(out, "npx", found),
                Program::Uvx(found) => package(out, "uvx", found),
            }
            if !args.is_empty() {
                let args: Vec<String> = args.iter().map(|arg| flow_scalar(arg)).collect();
                line(out, "args", &format!("[{}]", args.join(", ")));
            }
            map(out, "env", env);
            if let Some(cwd) = cwd {
                line(out, "cwd", &scalar(cwd));
            }
        }
        Body::Remote { legacy, url, headers } => {
            line(out, if *legacy { "sse" } else { "url" }, &scalar(url));
            map(out, "headers", headers);
        }
    }
    if !draft.enabled {
        line(out, "disabled", "true");
    }
}

fn package(out: &mut String, kind: &str, package: &Package) {
    match &package.run {
        None => {
            line(out, kind, &scalar(&package.name));
            if let Some(version) = &package.version {
                line(out, "version", &scalar(version));
            }
        }
        Some(run) => {
            let mut parts = vec![format!("package: {}", flow_scalar(&package.name))];
            parts.extend(
                package
                    .version
                    .as_ref()
                    .map(|version| format!("version: {}", flow_scalar(version))),
            );
            parts.push(format!("run: {}", flow_scalar(run)));
            line(out, kind, &format!("{{ {} }}", parts.join(", ")));
        }
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "    {key}: {value}");
}

fn map(out: &mut String, key: &str, entries: &[(String, String)]) {
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(out, "    {key}:");
    for (name, value) in entries {
        let _ = writeln!(out, "      {}: {}", scalar(name), scalar(value));
    }
}

/// Text on a line of its own.
fn scalar(text: &str) -> String {
    // Truth values of YAML 1.1, which other programs may still read it with.
    let old_truth = matches!(
        text.to_ascii_lowercase().as_str(),
        "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let plain = plain_is_text(text)
        && !old_truth
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with(':')
        && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
        && text.trim() == text
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '$'))
        && !text.starts_with("...")
        && !text.contains(['"', '\'', '\\', '`']);
    if plain { text.to_owned() } else { quoted(text) }
}

/// Text inside `[…]` or `{…}`.
fn flow_scalar(text: &str) -> String {
    if text.contains(['[', ']', '{', '}', ',', '#']) || text.contains(':') {
        quoted(text)
    } else {
        scalar(text)
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn every_scalar_reads_back_as_the_same_text() {
        for text in [
            "a",
            "",
            " a",
            "a ",
            "true",
            "null",
            "~",
            "1",
            "1.10",
            "0x1f",
            "-",
            "--flag",
            "- a",
            "a: b",
            "a:",
            "a #b",
            "#a",
            "@a/b",
            "*",
            "&a",
            "!a",
            "%a",
            "|",
            ">",
            "'a'",
            "\"a\"",
            "a\nb",
            "a\tb",
            "\u{e9}\u{1f600}",
            "[a]",
            "{a}",
            "a,b",
            "${A}",
            "$${",
            "C:\\x",
            "...",
            "---",
            "/data",
            "key=value",
            "`a`",
            "yes",
            "off",
            "a\u{7f}b",
            "\u{85}",
            "\u{feff}x",
            "2026.8.31",
        ] {
            let block = format!("k: {}\n", scalar(text));
            let flow = format!("k: [{}]\n", flow_scalar(text));
            let root = parse(&block).unwrap().unwrap();
            assert_eq!(root.peek("k").unwrap().text(), Some(text), "{block}");
            let root = parse(&flow).unwrap().unwrap();
            let crate::config::Value::List(items) = &root.peek("k").unwrap().value else {
                panic!("{flow}")
            };
            assert_eq!(items[0].text(), Some(text), "{flow}");
        }
    }
}
