//! How a server is doing, for `/readyz`, the command line and the log.

use super::Entry;
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not been asked yet.
    Pending,
    /// It answered the last time.
    Up {
        /// Since when it has.
        since: SystemTime,
    },
    /// It did not.
    Down {
        /// Since when it has not.
        since: SystemTime,
        /// Why not, the last time.
        reason: String,
        /// How often in a row.
        failures: u32,
    },
}

/// One server's line.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// `pending`, `up` or `down`.
    pub state: &'static str,
    /// Seconds since the epoch at which that began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True for a process of ours.
    pub local: bool,
    /// Whether a catalogue is served for it, be it an older one.
    pub listed: bool,
    /// Tools in that catalogue.
    pub tools: usize,
    /// Resources and resource templates in it.
    pub resources: usize,
    /// Prompts in it.
    pub prompts: usize,
    /// Eras the server speaks.
    pub eras: Vec<&'static str>,
    /// What was left out of its catalogue, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Entry {
    pub(super) fn status(&self) -> Status {
        let (state, since, reason) = match &self.standing {
            Standing::Pending => ("pending", None, None),
            Standing::Up { since } => ("up", Some(*since), None),
            Standing::Down { since, reason, .. } => ("down", Some(*since), Some(reason.clone())),
        };
        let catalogue = self.catalogue.as_deref();
        let mut eras = Vec::new();
        if catalogue.is_some_and(|c| c.modern) {
            eras.push("modern");
        }
        if catalogue.is_some_and(|c| c.legacy_revision.is_some()) {
            eras.push("legacy");
        }
        Status {
            name: self.spec.server.name.clone(),
            state,
            since: since
                .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
                .map(|d| d.as_secs()),
            reason,
            local: self.spec.local.is_some(),
            listed: catalogue.is_some(),
            tools: catalogue.map_or(0, |c| c.tools.len()),
            resources: catalogue.map_or(0, |c| c.resources.len() + c.resource_templates.len()),
            prompts: catalogue.map_or(0, |c| c.prompts.len()),
            eras,
            notes: self.notes.clone(),
        }
    }
}
