//! The work: what is called, over what, how often. The same bytes go to every proxy of a cell.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};

/// One size and form of answer. A comparison has a table for each.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// About 300 bytes each way.
    Small,
    /// A result of 64 KiB.
    #[value(name = "64k")]
    #[serde(rename = "64k")]
    K64,
    /// A result of 1 MiB.
    #[value(name = "1m")]
    #[serde(rename = "1m")]
    M1,
    /// An event stream: progress notifications, then a small result.
    Sse,
    /// Small, open loop at a fixed rate: what a proxy adds to the latency.
    Rate,
    /// The same with Poisson arrivals.
    Poisson,
}

impl Cell {
    /// As on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::K64 => "64k",
            Self::M1 => "1m",
            Self::Sse => "sse",
            Self::Rate => "rate",
            Self::Poisson => "poisson",
        }
    }

    /// The heading of its table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Small => "Small call: 64 connections, closed loop",
            Self::K64 => "64 KiB result: 64 connections, closed loop",
            Self::M1 => "1 MiB result: 16 connections, closed loop",
            Self::Sse => "Event stream of progress notifications and a result: 64 connections, closed loop",
            Self::Rate => "Small call at 2,000 a second: open loop, constant spacing, 64 connections",
            Self::Poisson => "Small call at 2,000 a second: open loop, Poisson arrivals, 64 connections",
        }
    }

    /// Bytes of text in the result.
    pub fn result_bytes(self) -> usize {
        match self {
            Self::Small | Self::Sse | Self::Rate | Self::Poisson => SMALL_RESULT_BYTES,
            Self::K64 => 64 << 10,
            Self::M1 => 1 << 20,
        }
    }

    /// The tool's arguments, the same size in every cell.
    pub fn arguments(self) -> Value {
        let text: String = ('a'..='z').cycle().take(ARGUMENT_BYTES).collect();
        match self {
            Self::Sse => json!({ "steps": PROGRESS_STEPS, "interval_ms": 0, "text": text }),
            _ => json!({ "text": text }),
        }
    }

    /// Connections held by the generator.
    pub fn connections(self) -> usize {
        if self == Self::M1 { 16 } else { CONNECTIONS }
    }

    /// How calls are spaced.
    pub fn pace(self) -> Pace {
        match self {
            Self::Rate => Pace::Constant(RATE_PER_S),
            Self::Poisson => Pace::Poisson(RATE_PER_S),
            _ => Pace::Closed,
        }
    }
}

/// Keep-alive connections of the usual cells.
pub const CONNECTIONS: usize = 64;
/// Calls a second where latency is what is measured.
pub const RATE_PER_S: f64 = 2_000.0;
/// With what JSON-RPC puts around it, an answer of 296 bytes.
const SMALL_RESULT_BYTES: usize = 200;
/// Of the one string argument; with what JSON-RPC puts around it, a body of about 300 bytes.
const ARGUMENT_BYTES: usize = 151;

/// Notifications before the result of an event stream.
const PROGRESS_STEPS: u32 = 4;

/// How calls are spaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each connection calls again when it has its answer.
    Closed,
    /// So many a second, evenly.
    Constant(f64),
    /// So many a second, each moment as likely as any other.
    Poisson(f64),
    /// As many a second as are borne, which the generator finds out.
    Search,
}

/// An HTTP version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Http {
    /// HTTP/1.1.
    #[default]
    One,
    /// HTTP/2; prior knowledge in clear.
    Two,
}

/// An era of MCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// 2026-07-28: each request stands alone.
    #[default]
    Modern,
    /// 2025-11-25: `initialize` and a session.
    Legacy,
}

impl Era {
    /// As on the load tester's command line, where the older era is whatever older revision a server speaks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        }
    }

    /// The revision that stands for it.
    pub fn revision(self) -> &'static str {
        match self {
            Self::Modern => "2026-07-28",
            Self::Legacy => "2025-11-25",
        }
    }
}

/// What one generator run does.
#[derive(Clone, Debug)]
pub struct Work {
    /// Where to call.
    pub url: String,
    /// Which version to speak.
    pub http: Http,
    /// The certificate authority to trust, where the URL is `https`.
    pub ca: Option<PathBuf>,
    /// Which era's client to be.
    pub era: Era,
    /// The tool's name as the client sees it.
    pub tool: String,
    /// Its arguments.
    pub arguments: Value,
    /// The bearer token sent with every call, to proxies that look at it and those that do not.
    pub key: Option<String>,
    /// Connections held.
    pub connections: usize,
    /// How calls are spaced.
    pub pace: Pace,
    /// How long.
    pub duration: Duration,
}

impl Work {
    /// The whole body of a call with this JSON-RPC id.
    pub fn body(&self, id: u64) -> String {
        let mut params = json!({"name": self.tool, "arguments": self.arguments});
        if self.era == Era::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.era.revision(),
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
    }

    /// The headers of a call, `Host` and the length aside.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json, text/event-stream".to_owned()),
            ("mcp-protocol-version", self.era.revision().to_owned()),
        ];
        if let Some(key) = &self.key {
            headers.push(("authorization", format!("Bearer {key}")));
        }
        if self.era == Era::Modern {
            headers.push(("mcp-method", "tools/call".to_owned()));
            headers.push(("mcp-name", self.tool.clone()));
        }
        headers
    }
}

/// What one generator run saw.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    /// Calls answered rightly.
    pub ok: u64,
    /// Calls that failed, with words for the first kinds.
    pub failed: u64,
    /// What failed, for people; empty when nothing did.
    pub errors: String,
    /// Of those, a second: what came while calls were made, and not what was waited for afterwards.
    pub per_s: f64,
    /// Microseconds; from the due time in open loops.
    pub p50_us: f64,
    /// See `p50_us`.
    pub p99_us: f64,
    /// Whether the generator says that it set the pace itself.
    pub limited: bool,
    /// What a search found besides: `per_s` is the rate that was borne.
    pub search: Option<Searched>,
}

/// See [`Answered::search`].
#[derive(Clone, Debug)]
pub struct Searched {
    /// The highest rate of answers seen at any load.
    pub peak_per_s: f64,
    /// Why it ended, as `ringway-loadtest` names it.
    pub ended: String,
}
