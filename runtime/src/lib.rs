//! The data plane: everything that touches the kernel on behalf of a tool call.

pub mod http;
pub mod io;
pub mod side;
pub mod upstream;
