//! The MCP layer of a worker: both eras on both sides.
//!
//! Reading order: `worker` takes a request in; `modern` and `legacy` answer it; both hand what needs a server to
//! the pipeline (`ringway_core::pipeline`), which comes back as an authorised call; `outbound` sends it, `answer`
//! reads what came, and a `relay` translates where the eras differ. `party` knows sessions at legacy servers,
//! `streams` what belongs to no request, `sealed` every text that leaves us and must come back unchanged.

pub mod access;
pub mod answer;
pub mod aside;
pub mod calls;
pub mod inbox;
pub mod legacy;
pub mod lists;
pub mod modern;
pub mod outbound;
pub mod outcome;
pub mod party;
pub mod record;
pub mod relay;
pub mod reply;
pub mod sealed;
pub mod secrets;
pub mod shared;
pub mod stats;
pub mod streams;
pub mod view;
pub mod worker;
