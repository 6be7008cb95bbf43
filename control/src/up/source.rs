//! Where the configuration comes from: a file, or, with none, the built-in server.

use super::UpArgs;
use crate::{
    cli::{
        exit::{Exit, Stop},
        place::config_file,
    },
    config::{Loader, Surroundings, System},
    state::State,
};
use std::{io, path::Path, sync::Arc};

/// How findings and logs call the configuration that is no file.
const BUILT_IN: &str = "built-in configuration";

/// A configuration to load, again and again.
#[derive(Clone, Debug)]
pub struct Source {
    loader: Loader,
}

impl Source {
    /// The file that was named, else `ringway.yaml`, else the built-in server: this very program once more, as a
    /// supervised MCP server on stdio.
    pub fn of(args: &UpArgs) -> Result<Self, Stop> {
        if let Some(file) = config_file(args.config.as_deref()) {
            return Ok(Self {
                loader: Loader::new(file),
            });
        }
        let program = std::env::current_exe().map_err(|e| {
            Stop::new(
                Exit::Failure,
                format!("this program cannot find itself: {e}"),
                "write a ringway.yaml",
            )
        })?;
        // As YAML: a JSON text that holds servers alone counts as a desktop client's file, which needs no key.
        let program = serde_json::json!(program);
        let text =
            format!("servers:\n  builtin: {{command: {program}, args: [builtin-server], sharing: shared}}\n");
        let built_in = BuiltIn {
            text: text.into_bytes(),
        };
        Ok(Self {
            loader: Loader::new(BUILT_IN).with_surroundings(Arc::new(built_in)),
        })
    }

    /// Loads the configuration without the key store, whose place it may name.
    pub fn alone(&self) -> &Loader {
        &self.loader
    }

    /// The configuration with the keys of this state directory.
    pub fn with_keys(self, state: &State) -> Loader {
        self.loader.with_keys(state.keys_path())
    }
}

/// The process's surroundings with one file more.
#[derive(Debug)]
struct BuiltIn {
    text: Vec<u8>,
}

impl Surroundings for BuiltIn {
    fn variable(&self, name: &str) -> Option<String> {
        System.variable(name)
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        match path == Path::new(BUILT_IN) {
            true => Ok(self.text.clone()),
            false => System.read(path, bytes_max),
        }
    }

    fn now(&self) -> u64 {
        System.now()
    }
}
