//! A load tester for MCP servers and gateways, seen from outside.
//!
//! How to read it: `scenario` is what a person writes (TOML) and what it means; `engine` decides when each call
//! starts and keeps what happened; `wire` carries one call over HTTP/1.1 or HTTP/2; `report` is what is printed,
//! written, compared and judged; `upstream` is an MCP server to stand behind whatever is being measured; `fleet`
//! lets several generators act as one. `report::model` is the seam between the engine and everything that shows.

pub mod cli;
pub mod discover;
pub mod engine;
pub mod fleet;
pub mod mcp;
pub mod report;
pub mod scenario;
pub mod soak;
pub mod upstream;
pub mod wire;
