//! What coordinator and generators say to each other. One JSON object a frame.

use super::Part;
use crate::report::{model::Report, progress::Progress};
use serde::{Deserialize, Serialize};

/// The first word, of the generator. Its fields never change: it is how another version is recognised.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Name and version, for people.
    pub program: String,
    /// Fresh randomness, hexadecimal.
    pub nonce: String,
}

/// The coordinator's answer: the same, and its proof.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claim {
    /// As in [`Hello`].
    pub protocol: u32,
    /// As in [`Hello`].
    pub program: String,
    /// As in [`Hello`].
    pub nonce: String,
    /// Of the token.
    pub proof: String,
}

/// The generator's answer to a claim.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Welcome {
    /// It will work.
    Accepted {
        /// Of the token.
        proof: String,
    },
    /// It will not.
    Refused {
        /// For people.
        why: String,
    },
}

/// What a coordinator says after the greeting.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Make ready to run this.
    Prepare(Box<Part>),
    /// Say [`News::Pong`] at once.
    Ping,
    /// Begin, so long after this arrives.
    Start {
        /// Microseconds.
        in_us: u64,
    },
    /// End early; report what was measured.
    Stop,
}

/// What a generator says after the greeting.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// It stands so.
    Progress(Box<Progress>),
    /// Everything is connected; waiting for the start.
    Ready,
    /// The answer to a ping.
    Pong,
    /// The run is over.
    Done(Box<Report>),
    /// There is no report.
    Failed {
        /// For people.
        why: String,
    },
}
