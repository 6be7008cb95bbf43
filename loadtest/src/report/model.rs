//! The report of one run: what `--json` writes, what pages are drawn from, what thresholds judge, and what several
//! generators merge.
//!
//! Times are microseconds unless the name says otherwise. `latency` counts from the moment a call was due by the
//! schedule, whether or not the generator could start it then (so a stalled server cannot hide the calls it held
//! up); `service` counts from the moment its first byte was written. In closed-loop runs the two start together.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Written as `format`; a reader refuses a number it does not know.
pub const FORMAT: u32 = 1;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// What the run is called in comparisons: the scenario's name, or `--label`.
    pub label: String,
    /// The URL that was called, without credentials.
    pub target: String,
    /// When measuring began, seconds since the Unix epoch.
    pub started_unix: f64,
    /// Name and version of the program.
    pub generator: String,
    /// The scenario as it was run (TOML), so that the run can be repeated.
    pub scenario: String,
    /// Seconds before measuring, whose calls are not counted.
    pub warmup_s: f64,
    /// Seconds measured.
    pub measured_s: f64,
    /// All operations together.
    pub total: Outcome,
    /// By operation, in the scenario's order.
    pub operations: Vec<Operation>,
    /// By stage of the load; one for constant load, one for each probe of a saturation search.
    pub stages: Vec<Stage>,
    /// By second, warm-up included (`at_s` is negative there).
    pub timeline: Vec<Moment>,
    /// What a saturation search found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Saturation>,
    /// Whether the numbers are the target's or the generator's own.
    pub headroom: Headroom,
    /// What was demanded and whether it held.
    #[serde(default)]
    pub thresholds: Vec<Judged>,
}

/// What became of a set of calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Calls that the schedule called for in the time measured.
    pub due: u64,
    /// Calls answered as they should be.
    pub ok: u64,
    /// Calls that failed, by kind: `connect`, `timeout`, `reset`, `http_503`, `rpc_-32000`, `tool_error`,
    /// `bad_answer`, `not_started` (due, but the run ended or the bound on waiting calls was met first)…
    pub errors: BTreeMap<String, u64>,
    /// Bytes of requests and of answers, heads included, without TLS.
    pub bytes_out: u64,
    /// See `bytes_out`.
    pub bytes_in: u64,
    /// From the due time to the last byte of the answer; answered calls only.
    pub latency: Latency,
    /// From the first byte written to the last byte of the answer.
    pub service: Latency,
    /// From the due time to the first byte of the answer's body or first event; only where answers stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_event: Option<Latency>,
}

/// A distribution of times.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Microseconds.
    pub min: f64,
    /// Microseconds.
    pub mean: f64,
    /// Microseconds, as the others below.
    pub p50: f64,
    #[allow(missing_docs)]
    pub p90: f64,
    #[allow(missing_docs)]
    pub p99: f64,
    #[allow(missing_docs)]
    pub p999: f64,
    #[allow(missing_docs)]
    pub p9999: f64,
    #[allow(missing_docs)]
    pub max: f64,
    /// The whole distribution in nanoseconds: HdrHistogram V2 deflate-less encoding (`V2Serializer`), base64. Empty when
    /// nothing was counted.
    pub hdr: String,
}

/// One operation of the scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// Its name in the scenario.
    pub name: String,
    /// The JSON-RPC method.
    pub method: String,
    /// The tool, prompt or resource, where the method has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What became of its calls.
    pub outcome: Outcome,
}

/// A stretch of the run with one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// What the load was, for people: `2000/s`, `64 connections`.
    pub load: String,
    /// Calls a second that the schedule asked for at the stage's end; none in a closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_per_s: Option<f64>,
    /// Good answers a second that came while the stage ran, whichever stage their calls were due in.
    #[serde(default)]
    pub answered_per_s: f64,
    /// Seconds from the start of measuring.
    pub from_s: f64,
    /// See `from_s`.
    pub to_s: f64,
    /// What became of the calls due in it.
    pub outcome: Outcome,
}

/// One second of the run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Moment {
    /// Its start, seconds from the start of measuring.
    pub at_s: f64,
    /// Calls due in it.
    pub due: u64,
    /// Answers that came in it.
    pub ok: u64,
    /// Failures that came in it.
    pub failed: u64,
    /// Of the answers that came in it, microseconds; zero when none came.
    pub p50: f64,
    #[allow(missing_docs)]
    pub p99: f64,
    #[allow(missing_docs)]
    pub max: f64,
    /// Calls under way and waiting at its end.
    pub in_flight: u64,
    /// Open connections at its end.
    pub connections: u64,
}

/// The highest load that was borne.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saturation {
    /// The highest offered rate at which every condition held; zero when none did.
    pub sustained_per_s: f64,
    /// The highest rate of answers seen at any load.
    pub peak_per_s: f64,
    /// The conditions, for people.
    pub conditions: String,
    /// Why the search ended: `found`, `rate_max_reached`, `generator_limited`.
    pub ended: String,
}

/// The generator's own state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Headroom {
    /// Generator threads, over all generators.
    pub threads: u32,
    /// CPU time of the busiest generator thread over the time measured, 0 to 1.
    pub busiest_thread: f64,
    /// How late the generator started calls that were due and had a free connection (the generator's own lateness).
    pub lateness: Latency,
    /// Whether the generator, not the target, set the pace; such a run fails its thresholds.
    pub limited: bool,
    /// Why, for people; empty when not limited.
    pub reason: String,
}

/// A threshold and whether it held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// As written: `p99 < 5ms`, `errors < 0.1%`, `rate >= 1900/s`, `tool:echo p50 < 1ms`.
    pub rule: String,
    /// What was seen, for people.
    pub seen: String,
    /// Whether it held.
    pub held: bool,
}
