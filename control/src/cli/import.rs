//! `ringway import`: other people's files into a `ringway.yaml`.
//!
//! Secrets of the source never reach the output: they become `${NAME}` references, and what has to be set is
//! listed on stderr.

use super::exit::{Exit, Stop, note, say, say_json};
use crate::import::import;
use clap::Args;
use std::{
    fs::OpenOptions,
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

/// A file of more than this is refused by the reader anyway; one byte more tells it so.
const SOURCE_BYTES_MAX: u64 = (1 << 20) + 1;

/// Turn a desktop client's mcpServers file or a registry's server.json into a configuration
///
/// Reads the files of Claude Desktop, Claude Code, Cursor and VS Code, and server.json of the MCP registry.
/// Nothing is run or fetched.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// The file to read; `-` reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write the configuration [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the output file if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Print findings, variables and configuration as JSON
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

/// Runs the command.
pub fn run(args: &ImportArgs) -> Result<Exit, Stop> {
    let (bytes, source, directory) = read(&args.file)?;
    let imported = import(&bytes, &source, &directory);
    let variables: Vec<_> = imported
        .variables
        .iter()
        .map(|v| serde_json::json!({"name": v.name, "path": v.path, "meaning": v.meaning}))
        .collect();
    if args.json {
        say_json(&serde_json::json!({
            "yaml": imported.yaml,
            "variables": variables,
            "findings": imported.findings.list,
        }))?;
        return Ok(if imported.yaml.is_some() {
            Exit::Ok
        } else {
            Exit::Config
        });
    }
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let findings = imported.findings.render_human(colour);
    if !findings.is_empty() {
        note(findings.trim_end());
    }
    let Some(yaml) = imported.yaml else {
        return Ok(Exit::Config);
    };
    match &args.output {
        None => say(yaml.trim_end()),
        Some(output) => {
            write(output, &yaml, args.force)?;
            note(&format!(
                "wrote {}; check it with `ringway check {0}`",
                output.display()
            ));
        }
    }
    if !imported.variables.is_empty() {
        note("set before starting the gateway:");
        for variable in &imported.variables {
            note(&format!(
                "  {}  {} ({})",
                variable.name, variable.meaning, variable.path
            ));
        }
    }
    Ok(Exit::Ok)
}

fn read(file: &Path) -> Result<(Vec<u8>, String, PathBuf), Stop> {
    let mut bytes = Vec::new();
    let here = || std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    if file == Path::new("-") {
        std::io::stdin()
            .take(SOURCE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(|e| Stop::plain(Exit::Failure, format!("stdin cannot be read: {e}")))?;
        return Ok((bytes, "stdin".to_owned(), here()));
    }
    std::fs::File::open(file)
        .and_then(|open| open.take(SOURCE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|e| Stop::plain(Exit::Failure, format!("{} cannot be read: {e}", file.display())))?;
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    Ok((
        bytes,
        file.display().to_string(),
        whole.parent().map_or_else(here, Path::to_owned),
    ))
}

fn write(output: &Path, yaml: &str, force: bool) -> Result<(), Stop> {
    let opened = match force {
        true => OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(output),
        false => OpenOptions::new().write(true).create_new(true).open(output),
    };
    opened
        .and_then(|mut file| file.write_all(yaml.as_bytes()))
        .map_err(|e| {
            let next = match e.kind() {
                std::io::ErrorKind::AlreadyExists => "--force replaces it",
                _ => "name another file with -o",
            };
            Stop::new(
                Exit::Failure,
                format!("{} cannot be written: {e}", output.display()),
                next,
            )
        })
}
