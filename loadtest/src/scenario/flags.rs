//! Flags of `run`, written as the TOML they stand for: alone they are a scenario, beside a file they replace what
//! the file says. One reader checks both.

use super::{Findings, Scenario, table::Finding};
use clap::Args;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A scenario in flags. Each stands for the key of the same name; `docs/loadtest.md` explains them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What is called")]
pub struct Flags {
    /// MCP endpoint [target.url]
    #[arg(long)]
    pub url: Vec<String>,
    /// auto, modern, legacy, or a revision's date [target.revision]
    #[arg(long)]
    pub revision: Option<String>,
    /// 1.1 or 2 [target.http]
    #[arg(long)]
    pub http: Option<String>,
    /// A header for every request, `name: value` [target.headers]
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Trust this authority's PEM file [target.tls.ca_file]
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// Trust any certificate [target.tls.insecure]
    #[arg(long)]
    pub insecure: bool,
    /// API key or bearer token [clients.keys]
    #[arg(long = "key", env = "RINGWAY_LOADTEST_KEY", hide_env_values = true)]
    pub keys: Vec<String>,
    /// File with one key a line [clients.keys_file]
    #[arg(long)]
    pub keys_file: Option<PathBuf>,
    /// Header the key travels in; other than authorization: without `Bearer` [clients.header]
    #[arg(long)]
    pub key_header: Option<String>,
    /// Virtual clients [clients.count]
    #[arg(long)]
    pub clients: Option<i64>,
    /// Call this tool
    #[arg(long)]
    pub tool: Option<String>,
    /// Its arguments, JSON, with blanks such as {{seq}} or {{random_text 151}}
    #[arg(long, requires = "tool")]
    pub arguments: Option<String>,
    /// Request this method instead: tools/list, ping, session, …
    #[arg(long, conflicts_with = "tool")]
    pub method: Option<String>,
    /// Its params, JSON
    #[arg(long, requires = "method")]
    pub params: Option<String>,
    /// Judge answers by their status alone: the target is no MCP server [calls.check]
    #[arg(long)]
    pub status_only: bool,
    /// Answers must hold this text
    #[arg(long)]
    pub expect: Option<String>,
    /// Connections [connections.count]
    #[arg(long, help_heading = "Load")]
    pub connections: Option<i64>,
    /// Calls at once on one HTTP/2 connection [connections.streams]
    #[arg(long, help_heading = "Load")]
    pub streams: Option<i64>,
    /// Open loop: calls a second [load.rate]
    #[arg(long, help_heading = "Load")]
    pub rate: Option<f64>,
    /// As independent callers would, instead of evenly spaced [load.arrivals]
    #[arg(long, help_heading = "Load")]
    pub poisson: bool,
    /// Closed loop: callers that wait for their answers [load.concurrency]
    #[arg(long, help_heading = "Load", conflicts_with = "rate")]
    pub concurrency: Option<i64>,
    /// Find the highest rate that is borne [load.search]
    #[arg(long, help_heading = "Load", conflicts_with_all = ["rate", "concurrency", "duration"])]
    pub search: bool,
    /// Bound on the 99th percentile in a search [load.search.p99_max]
    #[arg(long, help_heading = "Load", requires = "search")]
    pub p99_max: Option<String>,
    /// First rate of a search [load.search.rate_min]
    #[arg(long, help_heading = "Load", requires = "search")]
    pub rate_min: Option<f64>,
    /// Highest rate of a search [load.search.rate_max]
    #[arg(long, help_heading = "Load", requires = "search")]
    pub rate_max: Option<f64>,
    /// Measured time of each probe of a search [load.search.probe]
    #[arg(long, help_heading = "Load", requires = "search")]
    pub probe: Option<String>,
    /// Time measured [load.duration]
    #[arg(long, help_heading = "Load")]
    pub duration: Option<String>,
    /// Time before that, not counted [load.warmup]
    #[arg(long, help_heading = "Load")]
    pub warmup: Option<String>,
    /// For each call [calls.timeout]
    #[arg(long, help_heading = "Load")]
    pub timeout: Option<String>,
    /// Event streams held open beside the calls [standing.listen]
    #[arg(long, help_heading = "Load")]
    pub listen: Option<i64>,
    /// Idle connections held open beside the calls [standing.idle]
    #[arg(long, help_heading = "Load")]
    pub idle: Option<i64>,
    /// Generator threads [generator.threads]
    #[arg(long, help_heading = "Generator")]
    pub threads: Option<i64>,
    /// CPUs to pin them to, such as 1,3 [generator.cpus]
    #[arg(long, value_delimiter = ',', help_heading = "Generator")]
    pub cpus: Vec<i64>,
    /// Never sleep: the most exact, and a whole core [generator.busy_poll]
    #[arg(long, help_heading = "Generator")]
    pub busy_poll: bool,
    /// Where randomness starts [generator.seed]
    #[arg(long, help_heading = "Generator")]
    pub seed: Option<i64>,
    /// What must hold, such as `p99 < 5ms` or `errors < 0.1%` [thresholds]
    #[arg(long = "threshold", value_name = "RULE", help_heading = "Report")]
    pub thresholds: Vec<String>,
    /// What the run is called in reports [name]
    #[arg(long, help_heading = "Report")]
    pub label: Option<String>,
}

impl Flags {
    /// The scenario of these flags, over `file` (its text and the folder it lies in) where there is one.
    pub fn scenario(&self, file: Option<(&str, &Path)>) -> Result<Scenario, Findings> {
        let mut table = Table::new();
        let mut base = Path::new("");
        if let Some((text, folder)) = file {
            base = folder;
            if self.is_empty() {
                return Scenario::read(text, base);
            }
            // What is wrong in the file is said with the file's own lines.
            table = match text.parse() {
                Ok(table) => table,
                Err(_) => return Scenario::read(text, base),
            };
        }
        self.write(&mut table).map_err(one)?;
        let text = toml::to_string_pretty(&table).map_err(|e| one(e.to_string()))?;
        Scenario::read(&text, base).map_err(|findings| match file {
            // Lines of the merged text mean nothing to a person.
            _ if file.is_none() => nameless(findings),
            Some((text, base)) => Scenario::read(text, base)
                .err()
                .unwrap_or_else(|| nameless(findings)),
            None => findings,
        })
    }

    fn is_empty(&self) -> bool {
        let mut table = Table::new();
        self.write(&mut table).is_ok() && table.is_empty()
    }

    fn write(&self, table: &mut Table) -> Result<(), String> {
        set(table, &["name"], self.label.clone());
        if !self.thresholds.is_empty() {
            set(table, &["thresholds"], Some(self.thresholds.clone()));
        }
        match self.url.as_slice() {
            [] => {}
            [url] => {
                unset(table, "target", &["urls"]);
                set(table, &["target", "url"], Some(url.clone()));
            }
            urls => {
                unset(table, "target", &["url"]);
                set(table, &["target", "urls"], Some(urls.to_vec()));
            }
        }
        set(table, &["target", "revision"], self.revision.clone());
        set(table, &["target", "http"], self.http.clone());
        for header in &self.headers {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| format!("--header \"{header}\" must be written \"name: value\""))?;
            let name = name.trim().to_ascii_lowercase();
            set(
                table,
                &["target", "headers", &name],
                Some(value.trim().to_owned()),
            );
        }
        set(
            table,
            &["target", "tls", "ca_file"],
            self.ca_file.as_deref().map(absolute),
        );
        set(
            table,
            &["target", "tls", "insecure"],
            self.insecure.then_some(true),
        );
        if !self.keys.is_empty() {
            unset(table, "clients", &["keys_file"]);
            set(table, &["clients", "keys"], Some(self.keys.clone()));
        }
        if let Some(file) = &self.keys_file {
            unset(table, "clients", &["keys"]);
            set(table, &["clients", "keys_file"], Some(absolute(file)));
        }
        set(table, &["clients", "header"], self.key_header.clone());
        set(table, &["clients", "count"], self.clients);
        set(table, &["connections", "count"], self.connections);
        set(table, &["connections", "streams"], self.streams);
        set(table, &["calls", "timeout"], self.timeout.clone());
        set(table, &["calls", "check"], self.status_only.then_some("status"));
        set(table, &["standing", "listen"], self.listen);
        set(table, &["standing", "idle"], self.idle);
        set(table, &["generator", "threads"], self.threads);
        if !self.cpus.is_empty() {
            set(table, &["generator", "cpus"], Some(self.cpus.clone()));
        }
        set(table, &["generator", "busy_poll"], self.busy_poll.then_some(true));
        set(table, &["generator", "seed"], self.seed);
        self.write_load(table);
        self.write_operation(table)
    }

    fn write_load(&self, table: &mut Table) {
        if self.rate.is_some() || self.concurrency.is_some() || self.search {
            unset(table, "load", &["rate", "step", "concurrency", "think"]);
            if !self.search {
                unset(table, "load", &["search"]);
            }
            if self.concurrency.is_some() {
                unset(table, "load", &["arrivals"]);
            }
            if self.search {
                unset(table, "load", &["duration"]);
            }
        }
        set(table, &["load", "rate"], self.rate);
        set(table, &["load", "concurrency"], self.concurrency);
        if self.search {
            set(
                table,
                &["load", "search"],
                Some(Table::new()).filter(|_| !has(table, "load", "search")),
            );
        }
        set(table, &["load", "search", "p99_max"], self.p99_max.clone());
        set(table, &["load", "search", "rate_min"], self.rate_min);
        set(table, &["load", "search", "rate_max"], self.rate_max);
        set(table, &["load", "search", "probe"], self.probe.clone());
        set(table, &["load", "arrivals"], self.poisson.then_some("poisson"));
        set(table, &["load", "duration"], self.duration.clone());
        set(table, &["load", "warmup"], self.warmup.clone());
    }

    fn write_operation(&self, table: &mut Table) -> Result<(), String> {
        let mut operation = Table::new();
        match (&self.tool, &self.method) {
            (Some(tool), _) => {
                set(&mut operation, &["call"], Some("tools/call"));
                set(&mut operation, &["tool"], Some(tool.clone()));
                set(&mut operation, &["arguments"], self.arguments.clone());
            }
            (None, Some(method)) => {
                set(&mut operation, &["call"], Some(method.clone()));
                set(&mut operation, &["params"], self.params.clone());
            }
            (None, None) if self.expect.is_some() => {
                return Err(
                    "--expect needs --tool or --method; in a file, write it beside the operation".to_owned(),
                );
            }
            (None, None) => return Ok(()),
        }
        set(&mut operation, &["expect"], self.expect.clone());
        table.insert(
            "operation".to_owned(),
            Value::Array(vec![Value::Table(operation)]),
        );
        Ok(())
    }
}

fn one(text: String) -> Findings {
    Findings(vec![Finding { line: None, text }])
}

fn nameless(findings: Findings) -> Findings {
    let without = |finding: Finding| Finding {
        line: None,
        ..finding
    };
    Findings(findings.0.into_iter().map(without).collect())
}

/// A file named on the command line is found from here, whatever folder the scenario lies in.
fn absolute(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.display().to_string()
}

fn set(table: &mut Table, path: &[&str], value: Option<impl Into<Value>>) {
    let (Some(value), Some((key, folders))) = (value, path.split_last()) else {
        return;
    };
    let mut inner = table;
    for folder in folders {
        let entry = inner
            .entry((*folder).to_owned())
            .or_insert_with(|| Value::Table(Table::new()));
        if !entry.is_table() {
            *entry = Value::Table(Table::new());
        }
        let Value::Table(next) = entry else { return };
        inner = next;
    }
    inner.insert((*key).to_owned(), value.into());
}

fn unset(table: &mut Table, folder: &str, keys: &[&str]) {
    if let Some(Value::Table(inner)) = table.get_mut(folder) {
        for key in keys {
            inner.remove(*key);
        }
    }
}

fn has(table: &Table, folder: &str, key: &str) -> bool {
    matches!(table.get(folder), Some(Value::Table(inner)) if inner.contains_key(key))
}
