//! `ringway-loadtest discover`: write a scenario from a server's own tools.

use super::{Exit, Failure};
use crate::{
    discover,
    scenario::{Scenario, flags::Flags},
};
use std::path::PathBuf;

/// Its flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// MCP endpoint
    url: String,
    /// auto, modern, legacy, or a revision's date
    #[arg(long)]
    revision: Option<String>,
    /// 1.1 or 2
    #[arg(long)]
    http: Option<String>,
    /// A header for every request, `name: value`
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// API key or bearer token
    #[arg(long, env = "RINGWAY_LOADTEST_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Header the key travels in; other than authorization: without `Bearer`
    #[arg(long)]
    key_header: Option<String>,
    /// Trust this authority's PEM file
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long)]
    insecure: bool,
    /// Write here instead of to the terminal
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Does it.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let scenario = scenario(&args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Input(format!("no runtime: {e}")))?;
    let found = runtime.block_on(discover::look(&scenario))?;
    let text = discover::write(&found, &discover::head(&found, &scenario));
    discover::check(&text)
        .map_err(|why| Failure::Input(format!("what was found makes no scenario: {why}")))?;
    match &args.output {
        None => print!("{text}"),
        Some(path) => {
            std::fs::write(path, &text).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?;
            eprintln!(
                "{}: {} tools, {} prompts, {} resources",
                path.display(),
                found.tools.len(),
                found.prompts.len(),
                found.resources.len()
            );
        }
    }
    Ok(Exit::Success)
}

/// A scenario that says how the server is reached; its load is never made.
fn scenario(args: &Args) -> Result<Scenario, Failure> {
    let flags = Flags {
        url: vec![args.url.clone()],
        revision: args.revision.clone(),
        http: args.http.clone(),
        headers: args.headers.clone(),
        keys: args.key.iter().cloned().collect(),
        key_header: args.key_header.clone(),
        ca_file: args.ca_file.clone(),
        insecure: args.insecure,
        method: Some("ping".to_owned()),
        rate: Some(1.0),
        ..Flags::default()
    };
    flags
        .scenario(None)
        .map_err(|findings| Failure::Input(findings.to_string()))
}
