//! Programs that are run here: `command`, `npx` and `uvx` with what belongs to them.

use super::{
    bounds::DURATION_MAX,
    finding::{Code, quote},
    model::{LocalServer, Package, Program, Sharing},
    node::Value,
    reader::{Cursor, Fields, Reader},
    secret::Secret,
    template::{Template, is_variable_name},
};
use std::time::Duration;

pub(crate) const PACKAGE_KEYS: &[&str] = &["package", "version", "run"];
/// Installed packages start slowly; an editor's restart of its session is within this.
pub(crate) const IDLE_STOP: Duration = Duration::from_secs(600);

pub(crate) fn local(reader: &Reader<'_>, fields: &Fields, kind: &str, at: &Cursor) -> Option<LocalServer> {
    let program = match kind {
        "command" => command(reader, at),
        "npx" => package(reader, fields, at, npx_package).map(Program::Npx),
        _ => package(reader, fields, at, uvx_package).map(Program::Uvx),
    };
    let mut args = Vec::new();
    for item in fields
        .get("args")
        .map(|at| reader.items(at, "`args`"))
        .unwrap_or_default()
    {
        args.extend(argument(reader, &item));
    }
    let env = environment(reader, fields);
    let cwd = fields.get("cwd").and_then(|at| reader.path(at));
    let sharings = [("session", Sharing::Session), ("shared", Sharing::Shared)];
    let sharing = fields
        .get("sharing")
        .and_then(|at| reader.choice(at, &sharings))
        .unwrap_or_default();
    let idle_stop = match fields.get("idle_stop") {
        Some(at) if at.node.text() == Some("never") => {
            reader.show(at);
            None
        }
        Some(at) => reader.duration(at, Duration::from_secs(1)..=7 * DURATION_MAX),
        None => Some(IDLE_STOP),
    };
    Some(LocalServer {
        program: program?,
        args,
        env,
        cwd,
        sharing,
        idle_stop,
    })
}

pub(crate) fn command(reader: &Reader<'_>, at: &Cursor) -> Option<Program> {
    // Not shown until it is known to be a name: people paste whole command lines here, tokens included.
    let text = reader.unshown_text(at)?;
    let advice = if text.trim().is_empty() {
        "name the program to run"
    } else if !text.contains('/') && text.contains(char::is_whitespace) {
        "the command is the program alone; what follows it belongs into `args: [...]`"
    } else if text.contains('\0') {
        "a program's name has no NUL"
    } else {
        reader.show(at);
        // A relative path is relative to the file, as every other path in it.
        let relative = text.contains('/') && !text.starts_with('/');
        let below = text.strip_prefix("./").unwrap_or(text);
        let command = if relative {
            reader.directory.join(below).display().to_string()
        } else {
            text.to_owned()
        };
        return Some(Program::Command(command));
    };
    reader.error(Code::BadValue, at, "this is not the name of a program", advice);
    None
}

fn argument(reader: &Reader<'_>, at: &Cursor) -> Option<Secret> {
    let template = reader.template(at)?;
    passed_on(reader, at, &template)
}

/// A value as a program receives it.
pub(crate) fn passed_on(reader: &Reader<'_>, at: &Cursor, template: &Template) -> Option<Secret> {
    let value = reader.resolve(at, template)?;
    if value.expose().contains('\0') {
        reader.error(
            Code::BadValue,
            at,
            "the value contains NUL, which no program can receive",
            "",
        );
        return None;
    }
    Some(value)
}

fn environment(reader: &Reader<'_>, fields: &Fields) -> Vec<(String, Secret)> {
    let Some(at) = fields.get("env") else {
        return Vec::new();
    };
    if let Value::List(_) = at.node.value {
        reader.error(
            Code::WrongType,
            at,
            "expected a map, found a list",
            "write `NAME: value` rather than `NAME=value`",
        );
        return Vec::new();
    }
    let Some(fields) = reader.fields(at, "`env`", &[]) else {
        return Vec::new();
    };
    let mut env = Vec::new();
    for field in &fields.list {
        if !is_variable_name(&field.name) {
            let message = format!("{} cannot name an environment variable", quote(&field.name));
            reader.error(
                Code::BadName,
                &field.key,
                message,
                "letters, digits and `_`, not beginning with a digit",
            );
        }
        if let Some(value) = argument(reader, &field.value) {
            env.push((field.name.clone(), value));
        }
    }
    env
}

/// Splits a package as written into name and version; the error is advice.
type Split = fn(&str) -> Result<(String, Option<String>), &'static str>;

fn package(reader: &Reader<'_>, outer: &Fields, at: &Cursor, split: Split) -> Option<Package> {
    let (at, inner) = match &at.node.value {
        Value::Map(_) => {
            let inner = reader.fields(at, "a package", PACKAGE_KEYS)?;
            (
                reader.required(&inner, "package", "a package")?.clone(),
                Some(inner),
            )
        }
        _ => (at.clone(), None),
    };
    let version_at = [inner.as_ref(), Some(outer)]
        .into_iter()
        .flatten()
        .find_map(|fields| fields.get("version"));
    let version = version_at.and_then(|at| version(reader, at));
    let run = inner
        .as_ref()
        .and_then(|fields| fields.get("run"))
        .and_then(|at| reader.text(at).map(str::to_owned));
    let (name, written) = match split(reader.unshown_text(&at)?) {
        Ok(parts) => {
            reader.show(&at);
            parts
        }
        Err(hint) => {
            reader.error(Code::BadName, &at, "this is not the name of a package", hint);
            return None;
        }
    };
    if let (Some(_), Some(version_at)) = (&written, version_at) {
        reader.error(
            Code::Conflict,
            version_at,
            "the version stands twice",
            "the package's name has one already",
        );
    }
    Some(Package {
        name,
        version: written.or(version),
        run,
    })
}

fn version(reader: &Reader<'_>, at: &Cursor) -> Option<String> {
    let text = reader.any_text(at)?;
    let fits = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-+_!".contains(&b));
    if !fits {
        let hint = "write the exact version: `1.2.3`; ranges would change under you";
        reader.error(
            Code::BadValue,
            at,
            format!("{} is not a version", quote(text)),
            hint,
        );
        return None;
    }
    Some(text.to_owned())
}

/// `name`, `@scope/name`, either with `@version`.
pub(crate) fn npx_package(text: &str) -> Result<(String, Option<String>), &'static str> {
    const USAGE: &str = "write `name` or `@scope/name`; arguments belong into `args: [...]`";
    let at = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| *c == '@')
        .map(|(at, _)| at);
    let (name, version) = at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    let word = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    let fits = match name.strip_prefix('@') {
        Some(scoped) => scoped
            .split_once('/')
            .is_some_and(|(scope, name)| word(scope) && word(name)),
        None => word(name),
    };
    if !fits || version.is_some_and(|version| !exact(version)) {
        return Err(USAGE);
    }
    Ok((name.to_owned(), version.map(str::to_owned)))
}

/// `name`, `name[extra]`, either with `==version` or `@version`; `git+https://…` as it is.
pub(crate) fn uvx_package(text: &str) -> Result<(String, Option<String>), &'static str> {
    const USAGE: &str = "write `name` or `name[extra]`; arguments belong into `args: [...]`";
    if let Some(source) = text.strip_prefix("git+") {
        // A password before the host would be shown wherever the package is.
        let host = source
            .strip_prefix("https://")
            .and_then(|rest| rest.split('/').next());
        let fits = host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
            && !source.contains(char::is_whitespace);
        return if fits {
            Ok((text.to_owned(), None))
        } else {
            Err("write `git+https://host/path`")
        };
    }
    let (name, version) = match text.split_once("==").or_else(|| text.split_once('@')) {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let (base, extras) = name
        .split_once('[')
        .map_or((name, None), |(base, rest)| (base, Some(rest)));
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    let extras_fit = extras.is_none_or(|rest| {
        rest.strip_suffix(']')
            .is_some_and(|list| list.split(',').all(|e| word(e.trim())))
    });
    if !word(base) || !extras_fit || version.is_some_and(|version| !exact(version)) {
        return Err(USAGE);
    }
    Ok((name.to_owned(), version.map(str::to_owned)))
}

fn exact(version: &str) -> bool {
    !version.is_empty()
        && version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-+_!".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_split_into_name_and_version() {
        let split = |f: Split, text: &str| {
            f(text)
                .ok()
                .map(|(name, version)| (name, version.unwrap_or_default()))
        };
        let pair = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
        assert_eq!(split(npx_package, "@a/b@1.2.3"), pair("@a/b", "1.2.3"));
        assert_eq!(split(npx_package, "@a/b"), pair("@a/b", ""));
        assert_eq!(split(npx_package, "a@latest"), pair("a", "latest"));
        assert_eq!(split(uvx_package, "a[cli]==1.0"), pair("a[cli]", "1.0"));
        assert_eq!(split(uvx_package, "a@1.0"), pair("a", "1.0"));
        assert_eq!(
            split(uvx_package, "git+https://h/p@v1"),
            pair("git+https://h/p@v1", "")
        );
        for bad in ["", "a b", "-y", "@a", "@/b", "a@", "../x", "a;b"] {
            assert_eq!(split(npx_package, bad), None, "{bad}");
        }
        for bad in ["", "a b", "--from", "a[", "a==", "git+ssh://x"] {
            assert_eq!(split(uvx_package, bad), None, "{bad}");
        }
    }
}
