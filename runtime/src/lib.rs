//! The data plane: everything that touches the kernel on behalf of a tool call.

pub mod admin;
pub mod downstream;
pub mod gateway;
pub mod http;
pub mod io;
pub mod log;
pub mod mcp;
pub mod random;
pub mod side;
pub mod upstream;
pub mod worker;
