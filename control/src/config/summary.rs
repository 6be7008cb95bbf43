//! What `ringway check` prints when there is nothing to complain about: the file as it was understood.
//!
//! Short, aligned, and without anything secret: of an address only its origin, of arguments and environment only
//! how many there are.

use super::{
    finding::{Findings, Severity},
    model::{Config, Server, ServerKind, Sharing},
    read::Outcome,
    units::moment_text,
};
use std::fmt::Write as _;

impl Outcome {
    /// The whole of `ringway check`: findings, then the file as it was understood.
    pub fn render_check(&self, file: &str, colour: bool) -> String {
        let mut out = self.findings.render_human(colour);
        match &self.config {
            Some(config) => {
                if !out.is_empty() {
                    out.push('\n');
                }
                out.push_str(&config.summary(&self.findings));
            }
            None => {
                let _ = writeln!(out, "{file} is refused");
            }
        }
        out
    }
}

impl Config {
    /// The file as it was understood.
    pub fn summary(&self, findings: &Findings) -> String {
        let mut out = String::new();
        let warnings = findings.count(Severity::Warning);
        let verdict = if warnings == 0 {
            "is good".to_owned()
        } else {
            format!("is usable, {}", findings.totals())
        };
        let _ = writeln!(out, "{} {verdict}", self.file);
        for (name, value) in self.settings.lines() {
            let _ = writeln!(out, "  {name:<10}{value}");
        }
        let _ = writeln!(out, "  {:<10}{}", "servers", self.servers.len());
        let width = self
            .servers
            .iter()
            .map(|server| server.name.len())
            .max()
            .unwrap_or(0);
        for server in &self.servers {
            let _ = writeln!(out, "    {:<width$}  {}", server.name, describe(server));
        }
        let _ = writeln!(out, "  {:<10}{}", "roles", self.roles.len());
        for role in &self.roles {
            let _ = writeln!(out, "    {}  {}", role.name, role.allow.join(" "));
        }
        let _ = writeln!(out, "  {:<10}{}", "keys", self.keys.len());
        for key in &self.keys {
            let until = key
                .expires_at
                .map(|at| format!(", until {}", moment_text(at)))
                .unwrap_or_default();
            let _ = writeln!(
                out,
                "    {}  {} in tenant {}{until}",
                key.id,
                key.roles.join(" "),
                key.tenant
            );
        }
        let anonymous = match &self.anonymous {
            None if self.keys.is_empty() => {
                "refused; while there are no keys, `ringway up` makes one".to_owned()
            }
            None => "refused".to_owned(),
            Some(anonymous) => {
                let place = if anonymous.allow_on_public_listeners {
                    "everywhere"
                } else {
                    "on loopback"
                };
                format!("{} {place}", anonymous.roles.join(" "))
            }
        };
        let _ = writeln!(out, "  {:<10}{anonymous}", "no key");
        out
    }
}

fn describe(server: &Server) -> String {
    let mut text = match &server.kind {
        ServerKind::Remote(remote) => {
            let headers = count(remote.headers.len(), "header");
            format!("{}{headers}", remote.origin)
        }
        ServerKind::LegacySse(legacy) => {
            format!(
                "{} over HTTP+SSE{}",
                legacy.origin,
                count(legacy.headers.len(), "header")
            )
        }
        ServerKind::Local(local) => {
            let shared = if local.sharing == Sharing::Session {
                ", one process per session"
            } else {
                ""
            };
            let args = count(local.args.len(), "argument");
            let env = count(local.env.len(), "variable");
            format!("{}{args}{env}{shared}", local.program)
        }
    };
    if !server.enabled {
        text.push_str(" (disabled)");
    }
    text
}

fn count(number: usize, noun: &str) -> String {
    match number {
        0 => String::new(),
        1 => format!(", 1 {noun}"),
        _ => format!(", {number} {noun}s"),
    }
}
