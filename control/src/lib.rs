//! Everything around the data plane: the configuration and its keys, the registry of MCP servers, and the `ringway`
//! command line, whose `up` runs both planes in one process.
//!
//! ```text
//! config, import, keys, state ─► up ─► registry ─► client ─► MCP servers
//!                                 └──► the data plane (ringway-runtime), local servers (ringway-sandbox)
//! cli ─► all of them              doctor ─► the machine
//! ```
//!
//! The data plane serves without any of this; nothing here is asked during a call.

pub mod cli;
pub mod client;
pub mod config;
pub mod doctor;
pub mod import;
pub mod keys;
pub mod registry;
pub mod state;
pub mod up;
