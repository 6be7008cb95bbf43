//! What to start: program, arguments, directory, and an environment that gives away nothing by accident.
//!
//! The gateway's own environment holds secrets (keys, database addresses), so a server gets only [`INHERITED`],
//! package runners also [`RUNNER_INHERITED`], and on top what the configuration names.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
};

/// Set to a process's id in its environment, and so in that of its descendants: how they are found again when
/// they leave the process group.
pub const MARKER: &str = "RINGWAY_PROCESS";

/// Variables every local server inherits. A name ending in `*` stands for all that begin so.
pub const INHERITED: &[&str] = &[
    // Who and where.
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    // Language and time.
    "LANG",
    "LC_*",
    "TZ",
    // The way out: proxies and authorities.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// Variables that package runners inherit beside [`INHERITED`]: where packages come from and are kept. They may
/// hold a registry's token, which is why other programs do not get them.
pub const RUNNER_INHERITED: &[&str] = &[
    "npm_config_*",
    "NPM_CONFIG_*",
    "NPM_TOKEN",
    "NVM_DIR",
    "VOLTA_HOME",
    "COREPACK_*",
    "UV_*",
    "PIP_*",
    "PIPX_*",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "NETRC",
];

/// Programs (by file name) that are package runners.
pub const PACKAGE_RUNNERS: &[&str] = &[
    "npx", "npm", "pnpm", "pnpx", "yarn", "bunx", "bun", "uvx", "uv", "pipx", "pip", "pip3",
];

/// A program to start as a server.
#[derive(Clone, PartialEq, Eq)]
pub struct Launch {
    /// The server's name, for logs.
    pub name: String,
    /// Path of the program, or a name to look up in `PATH`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Added to the inherited environment, overriding it.
    pub env: Vec<(String, String)>,
    /// Its working directory; this process's when absent.
    pub cwd: Option<PathBuf>,
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments and values may be secrets.
        f.debug_struct("Launch")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("env", &self.env.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .finish()
    }
}

impl Launch {
    /// A program with arguments.
    pub fn command<A: Into<String>>(
        name: impl Into<String>,
        program: impl Into<String>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: None,
        }
    }

    /// `npx -y package[@version] args…`. Installs the package the first time.
    pub fn npx(name: impl Into<String>, package: &str, version: Option<&str>, args: Vec<String>) -> Self {
        let head = ["-y".to_owned(), pinned(package, "@", version)];
        Self::command(name, "npx", head.into_iter().chain(args))
    }

    /// `uvx package[@version] args…`, or, when the command is called otherwise than the package that holds it,
    /// `uvx --from from[==version] package args…`. Installs the package the first time.
    pub fn uvx(
        name: impl Into<String>,
        package: &str,
        version: Option<&str>,
        from: Option<&str>,
        args: Vec<String>,
    ) -> Self {
        let head = match from {
            Some(from) => vec![
                "--from".to_owned(),
                pinned(from, "==", version),
                package.to_owned(),
            ],
            None => vec![pinned(package, "@", version)],
        };
        Self::command(name, "uvx", head.into_iter().chain(args))
    }

    /// The whole environment of the process, out of `ours`, without the marker.
    pub(super) fn environment(
        &self,
        ours: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let runner = Path::new(&self.program)
            .file_name()
            .is_some_and(|file| PACKAGE_RUNNERS.iter().any(|runner| file == OsStr::new(runner)));
        let inherited = ours.filter(|(name, _)| {
            name.to_str()
                .is_some_and(|name| listed(INHERITED, name) || (runner && listed(RUNNER_INHERITED, name)))
        });
        let named = self.env.iter().map(|(name, value)| (name.into(), value.into()));
        inherited.chain(named).collect()
    }
}

fn pinned(package: &str, separator: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{package}{separator}{version}"),
        None => package.to_owned(),
    }
}

fn listed(list: &[&str], name: &str) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *entry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(launch: &Launch) -> Vec<String> {
        let ours = [
            "PATH",
            "LC_ALL",
            "DATABASE_URL",
            "AWS_SECRET_ACCESS_KEY",
            "UV_INDEX_URL",
            "npm_config_registry",
        ];
        let ours = ours.into_iter().map(|name| (name.into(), "v".into()));
        launch
            .environment(ours)
            .into_iter()
            .map(|(name, _)| name.into_string().expect("name"))
            .collect()
    }

    #[test]
    fn a_server_inherits_no_secret_of_ours() {
        assert_eq!(
            names(&Launch::command("a", "/opt/server", ["x"])),
            ["PATH", "LC_ALL"]
        );
        let runner = names(&Launch::command("a", "/usr/bin/uvx", ["x"]));
        assert_eq!(runner, ["PATH", "LC_ALL", "UV_INDEX_URL", "npm_config_registry"]);
        let mut named = Launch::command("a", "server", ["x"]);
        named.env.push(("DATABASE_URL".to_owned(), "theirs".to_owned()));
        assert_eq!(names(&named), ["PATH", "LC_ALL", "DATABASE_URL"]);
    }

    #[test]
    fn package_runners_get_pinned_packages() {
        let args = |launch: Launch| (launch.program, launch.args.join(" "));
        let rest = || vec!["--port".to_owned(), "1".to_owned()];
        let npx = Launch::npx("a", "@scope/server", Some("1.2.3"), rest());
        assert_eq!(
            args(npx),
            ("npx".to_owned(), "-y @scope/server@1.2.3 --port 1".to_owned())
        );
        let uvx = Launch::uvx("a", "mcp-server-time", Some("2026.1.1"), None, rest());
        assert_eq!(
            args(uvx),
            ("uvx".to_owned(), "mcp-server-time@2026.1.1 --port 1".to_owned())
        );
        let from = Launch::uvx("a", "serve", Some("2"), Some("mcp-tools"), rest());
        assert_eq!(
            args(from),
            ("uvx".to_owned(), "--from mcp-tools==2 serve --port 1".to_owned())
        );
    }
}
