//! ringway-sandbox: supervised local MCP servers, and the bridge that presents them as HTTP.

pub mod http_client;
pub mod limits;
pub mod process;
mod random;
