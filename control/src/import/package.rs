//! `npx …` and `uvx …` as people type them → typed packages.
//!
//! Only command lines that mean exactly what the typed server means are recognised; one unknown flag and the
//! command stays a command, which is always right, if less pretty.

use crate::config::{Package, Program, npx_package, uvx_package};

/// The typed program and how many of the arguments it took.
pub(crate) fn recognise(command: &str, args: &[String]) -> Option<(Program, usize)> {
    match file_name(command) {
        // Windows clients need a shell in front.
        "cmd" | "cmd.exe" if args.first().is_some_and(|arg| arg.eq_ignore_ascii_case("/c")) => {
            let (program, taken) = recognise(args.get(1)?, args.get(2..)?)?;
            Some((program, taken + 2))
        }
        "npx" | "npx.cmd" => npx(args),
        "uvx" | "uvx.exe" => uvx(args, 0),
        "uv" | "uv.exe" if args.len() > 2 && args[0] == "tool" && args[1] == "run" => uvx(args, 2),
        _ => None,
    }
}

fn file_name(command: &str) -> &str {
    command.rsplit(['/', '\\']).next().unwrap_or(command)
}

fn npx(args: &[String]) -> Option<(Program, usize)> {
    let mut at = 0;
    let mut from: Option<&str> = None;
    loop {
        let arg = args.get(at)?.as_str();
        at += 1;
        match arg {
            "-y" | "--yes" | "-q" | "--quiet" => {}
            "-p" | "--package" => {
                from = Some(args.get(at)?);
                at += 1;
            }
            "--" => {}
            _ if arg.starts_with("--package=") => from = arg.split_once('=').map(|(_, package)| package),
            _ if arg.starts_with('-') => return None,
            _ => {
                let (name, version) = npx_package(from.unwrap_or(arg)).ok()?;
                let run = from.map(|_| arg.to_owned());
                return Some((Program::Npx(Package { name, version, run }), at));
            }
        }
    }
}

fn uvx(args: &[String], skip: usize) -> Option<(Program, usize)> {
    let mut at = skip;
    let mut from: Option<&str> = None;
    loop {
        let arg = args.get(at)?.as_str();
        at += 1;
        match arg {
            "-q" | "--quiet" => {}
            "--from" => {
                from = Some(args.get(at)?);
                at += 1;
            }
            _ if arg.starts_with("--from=") => from = arg.split_once('=').map(|(_, package)| package),
            _ if arg.starts_with('-') => return None,
            _ => {
                let (name, version) = uvx_package(from.unwrap_or(arg)).ok()?;
                let run = from.map(|_| arg.to_owned());
                return Some((Program::Uvx(Package { name, version, run }), at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Option<(String, usize)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        recognise(&words[0], &words[1..]).map(|(program, taken)| (format!("{program:?}"), taken))
    }

    #[test]
    fn command_lines_are_recognised_or_left_alone() {
        for (line, part, taken) in [
            (
                "npx -y @a/b@1.2 /data",
                "Npx(Package { name: \"@a/b\", version: Some(\"1.2\"), run: None })",
                2,
            ),
            ("/usr/bin/npx --package=a -- b x", "run: Some(\"b\")", 3),
            ("cmd /c npx -y a", "Npx(Package { name: \"a\"", 4),
            (
                "uvx mcp-server-git --repository x",
                "Uvx(Package { name: \"mcp-server-git\"",
                1,
            ),
            (
                "uvx --from a==1.0 b",
                "Uvx(Package { name: \"a\", version: Some(\"1.0\"), run: Some(\"b\") })",
                3,
            ),
            ("uv tool run a", "Uvx(Package { name: \"a\"", 3),
        ] {
            let (shown, count) = typed(line).unwrap_or_else(|| panic!("{line}"));
            assert!(shown.contains(part), "{line}: {shown}");
            assert_eq!(count, taken, "{line}");
        }
        for line in [
            "npx",
            "npx -c x",
            "uvx --python 3.12 a",
            "node a.js",
            "uv run a",
            "npx ${PKG}",
            "uvx --from",
        ] {
            assert_eq!(typed(line), None, "{line}");
        }
    }
}
