//! Builds what is compared, with the profile that images use, by asking cargo.

use super::{
    failure::{Context, Failure, Result},
    proxies::Built,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The profile of `Cargo.toml` that images and benchmarks use.
pub const PROFILE: &str = "dist";

/// A line of `cargo build --message-format=json` that says where a program lies.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the gateway, the load tester and the peers.
pub fn everything(profile: &str) -> Result<(Built, PathBuf)> {
    let wanted = [
        ("ringway-runtime", "ringway-gateway"),
        ("ringway-loadtest", "ringway-loadtest"),
        ("ringway-bench", "ringway-bench"),
    ];
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--profile",
        profile,
        "--message-format=json-render-diagnostics",
    ]);
    for (package, binary) in wanted {
        command.args(["-p", package, "--bin", binary]);
    }
    eprintln!(
        "building {} with the {profile} profile",
        wanted.map(|w| w.1).join(", ")
    );
    let output = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo build")?;
    if !output.status.success() {
        return Err(Failure::new("cargo build failed; what it said is above"));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let found: BTreeMap<String, PathBuf> = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter_map(|artifact| Some((artifact.target.name, artifact.executable?)))
        .collect();
    let at = |name: &str| {
        found
            .get(name)
            .cloned()
            .ok_or("cargo did not say where it is")
            .context(name)
    };
    let built = Built {
        gateway: at("ringway-gateway")?,
        bench: at("ringway-bench")?,
    };
    Ok((built, at("ringway-loadtest")?))
}
