//! What the built-in upstream can be told at its start; the command line and tests fill the same struct.

use super::{faults::Rule, latency};
use clap::ValueEnum;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::latency::LatencyRule;

/// Options of the built-in upstream.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct Options {
    /// Address to serve MCP on; port 0 takes a free one. Any path is the endpoint.
    #[arg(long, default_value = "127.0.0.1:8900")]
    pub listen: SocketAddr,
    /// Address of the control endpoint: GET /stats, GET, POST and DELETE /faults, POST /notify, DELETE /sessions.
    #[arg(long)]
    pub admin: Option<SocketAddr>,
    /// Which revisions to speak: 2026-07-28, those before it, or both.
    #[arg(long, value_enum, default_value = "both")]
    pub era: EraChoice,
    /// Threads, each with a listener of its own.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Pin thread n to the nth of these processors.
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// Never sleep: ask the kernel for news again and again. Costs one whole processor a thread.
    #[arg(long)]
    pub busy_poll: bool,
    /// PEM file of the certificate; with it only TLS is spoken, HTTP/2 or HTTP/1.1 by ALPN.
    #[arg(long, requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// How tools/call is answered.
    #[arg(long, value_enum, default_value = "json")]
    pub answer: AnswerKind,
    /// How long calls take: 0, 5ms, uniform(1ms,5ms), exp(2ms), lognormal(2ms,0.5); TOOL=... for one tool. Repeatable.
    #[arg(long, value_name = "[TOOL=]LATENCY")]
    pub latency: Vec<LatencyRule>,
    /// Bytes of text in the results of `sized` without an argument, of synthetic tools and of resources.
    #[arg(long = "size", default_value_t = SIZE_BYTES)]
    pub size_bytes: usize,
    /// Synthetic tools in the catalogue, beside the built-in ones.
    #[arg(long, default_value_t = 0)]
    pub tools: usize,
    /// Tools on one page of tools/list; 0: all on one.
    #[arg(long, default_value_t = PAGE_TOOLS)]
    pub page_size: usize,
    /// Resources.
    #[arg(long, default_value_t = RESOURCES)]
    pub resources: usize,
    /// Serve the older revisions without sessions.
    #[arg(long)]
    pub stateless: bool,
    /// Check what the specification demands of requests: headers against the body, Accept, Content-Type.
    #[arg(long)]
    pub strict: bool,
    /// A fault to inject, KIND or KIND:key=value,...; see docs/loadtest.md. Repeatable.
    #[arg(long = "fault", value_name = "RULE")]
    pub faults: Vec<Rule>,
    /// Between two notifications on every held event stream; 0: none.
    #[arg(long, value_parser = latency::duration, default_value = "0")]
    pub notify_every: Duration,
    /// Between two keep-alive comments on every held event stream; 0: none.
    #[arg(long, value_parser = latency::duration, default_value = "15s")]
    pub keep_alive: Duration,
    /// Concurrent streams an HTTP/2 connection may have.
    #[arg(long, default_value_t = STREAMS)]
    pub http2_streams: u32,
    /// Seed of all that is drawn, so that a run can be repeated.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The result size of the published comparisons.
const SIZE_BYTES: usize = 296;
/// Tools a page: a page of realistic schemas is then about 1 MB.
const PAGE_TOOLS: usize = 1000;
const RESOURCES: usize = 10;
/// More than any client opens on one connection by itself.
const STREAMS: u32 = 4096;

/// Revisions spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EraChoice {
    /// Every request by what it says of itself.
    #[default]
    Both,
    /// 2026-07-28 only.
    Modern,
    /// 2025-03-26, 2025-06-18 and 2025-11-25.
    Legacy,
}

impl EraChoice {
    /// Whether 2026-07-28 is spoken.
    pub fn modern(self) -> bool {
        self != Self::Legacy
    }

    /// Whether the revisions with `initialize` are spoken.
    pub fn legacy(self) -> bool {
        self != Self::Modern
    }
}

/// The form of a call's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AnswerKind {
    /// One JSON document.
    #[default]
    Json,
    /// An event stream of one message.
    Sse,
}

impl Default for Options {
    /// The command line's defaults on a free loopback port.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: None,
            era: EraChoice::Both,
            threads: 1,
            cpus: Vec::new(),
            busy_poll: false,
            tls_certificate: None,
            tls_key: None,
            answer: AnswerKind::Json,
            latency: Vec::new(),
            size_bytes: SIZE_BYTES,
            tools: 0,
            page_size: PAGE_TOOLS,
            resources: RESOURCES,
            stateless: false,
            strict: false,
            faults: Vec::new(),
            notify_every: Duration::ZERO,
            keep_alive: Duration::from_secs(15),
            http2_streams: STREAMS,
            seed: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn defaults_agree() {
        let line = Line::parse_from(["upstream", "--listen", "127.0.0.1:0"]);
        assert_eq!(line.options, Options::default());
    }

    #[test]
    fn a_full_line_is_read() {
        let line = Line::parse_from([
            "upstream",
            "--era=legacy",
            "--cpus=0,1",
            "--latency=exp(2ms)",
            "--latency=echo=0",
            "--fault=reset:at=mid,probability=0.5",
            "--keep-alive=500ms",
        ]);
        assert_eq!(line.options.cpus, [0, 1]);
        assert_eq!(line.options.latency.len(), 2);
        assert_eq!(line.options.faults[0].probability, 0.5);
        assert!(Line::try_parse_from(["upstream", "--fault=explode"]).is_err());
    }
}
