//! Proxies of other people, as `bench/others.toml` describes them: those that are installed join the table.
//!
//! ```toml
//! [[proxy]]
//! id = "name"                       # for --proxies and results
//! label = "Name, in this mode"      # for people
//! program = "/usr/bin/name"         # where it is missing, the row is left out and `install` is printed
//! install = "how to get it"
//! args = ["-c", "{dir}/name.conf"]
//! path = "/mcp"
//! tool = "sized"                    # the tool's name there
//! era = "legacy"                    # or modern: what its clients speak
//! cells = ["small", "64k"]          # where it joins by default
//! env = { THREADS = "1" }
//! files = { "name.conf" = "listen {port} upstream {upstream}" }
//! ```
//!
//! In `program`, `args` and `files`, `{root}` is the workspace, `{dir}` a folder of the row's own, `{port}` where to
//! listen on 127.0.0.1, `{admin_port}` another free port, `{upstream}` and `{upstream_port}` what to forward to.

use super::{Leg, Proxy, Row, Surroundings};
use crate::compare::{
    failure::{Context, Failure, Result, write},
    process::free_address,
    work::{Cell, Era, Http},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    proxy: Vec<Other>,
}

/// One description.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Other {
    id: String,
    label: String,
    program: String,
    #[serde(default)]
    install: String,
    #[serde(default)]
    args: Vec<String>,
    path: String,
    tool: String,
    #[serde(default)]
    era: Era,
    #[serde(default = "every_small_cell")]
    cells: Vec<Cell>,
    #[serde(default)]
    http2_upstream: bool,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

fn every_small_cell() -> Vec<Cell> {
    vec![Cell::Small]
}

/// The rows of a file, without those whose program is missing; none when there is no file.
pub fn rows(file: &Path) -> Result<Vec<(Row, Vec<Cell>)>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::at(file, &error)),
    };
    let read: File = toml::from_str(&text).context(file.display())?;
    let mut rows = Vec::new();
    for other in read.proxy {
        if Path::new(&rooted(&other.program)).is_file() {
            rows.push(other.row());
        } else {
            eprintln!(
                "{}: not installed, left out. To have it: {}",
                other.id,
                rooted(&other.install)
            );
        }
    }
    Ok(rows)
}

impl Other {
    fn row(self) -> (Row, Vec<Cell>) {
        let cells = self.cells.clone();
        let leg = |http| Leg {
            http,
            tls: false,
            era: self.era,
        };
        let row = Row {
            id: self.id.clone(),
            label: self.label.clone(),
            path: self.path.clone(),
            tool: self.tool.clone(),
            down: leg(Http::One),
            up: leg(if self.http2_upstream { Http::Two } else { Http::One }),
            proxy: Proxy::Other(Box::new(self)),
        };
        (row, cells)
    }

    /// Writes its files and gives the command.
    pub fn command(&self, around: &Surroundings<'_>, address: SocketAddr) -> Result<Command> {
        let admin = free_address()?;
        let filled = |text: &str| {
            rooted(text)
                .replace("{dir}", &around.dir.display().to_string())
                .replace("{port}", &address.port().to_string())
                .replace("{admin_port}", &admin.port().to_string())
                .replace("{upstream}", &around.upstream.to_string())
                .replace("{upstream_port}", &around.upstream.port().to_string())
        };
        for (name, content) in &self.files {
            write(&around.dir.join(name), &filled(content))?;
        }
        let mut command = super::command(around, &PathBuf::from(filled(&self.program)));
        command.args(self.args.iter().map(|arg| filled(arg)));
        command.envs(&self.env).current_dir(&around.dir);
        Ok(command)
    }
}

fn rooted(text: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    text.replace("{root}", &root.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_file_reads() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("others.toml");
        let read: File = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert!(read.proxy.iter().any(|other| other.id == "envoy-mcp"));
    }
}
